// The supervisor's knowledge of where topics end, refreshed every few seconds for kafka.lag, for views
// that are paused too. Asks on the hub's threads and picks the answers up when they are there: no call
// here waits. Supervisor's process, its only thread.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "datatype/timestamp.h"
}

#include <memory>
#include <string>
#include <vector>

#include "ingest/hub.h"
#include "topic/topic.h"

namespace ke::stream {

class end_watch {
  public:
    // The topic tables of all registered views, each with the login of one view's owner.
    void want(std::vector<topic::topic_table>);

    // Picks up answers and asks anew; the time to look again, 0: never.
    TimestampTz step(TimestampTz now);

    // What it asks with, and others in this process may use: made when first needed; null where there
    // is no memory for it.
    ingest::hub* hub();

    // An answer is there.
    bool ready() const;

    // Rung when an answer is there; null while nothing was ever asked.
    doorbell* bell() { return hub_ ? &hub_->bell() : nullptr; }

  private:
    struct group; // topics asked of one client together
    void take_layout(group&, TimestampTz now);
    void take_marks(group&);
    void ask(group&, TimestampTz now);

    std::unique_ptr<ingest::hub> hub_;
    std::vector<std::shared_ptr<group>> groups_;
};

} // namespace ke::stream
