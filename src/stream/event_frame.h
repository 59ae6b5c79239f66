// What the server does around a DDL command that we carry out in its place, so that event triggers,
// everybody's, see it as the server's own.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "commands/event_trigger.h"
}

#include "pg/guard.h"

namespace ke::stream {

// body: plain server code; calls EventTriggerCollectSimpleCommand or EventTriggerSQLDrop itself.
template <class F>
void with_event_triggers(Node* statement, F body)
{
    pg::entry([&] {
        const bool began = pg::call([] { return EventTriggerBeginCompleteQuery(); });
        try {
            pg::call([&] {
                EventTriggerDDLCommandStart(statement);
                body();
                EventTriggerDDLCommandEnd(statement);
            });
        } catch (...) {
            if (began)
                EventTriggerEndCompleteQuery();
            throw;
        }
        if (began)
            EventTriggerEndCompleteQuery();
    });
}

} // namespace ke::stream
