#include "stream/after_commit.h"

extern "C" {
#include "access/xact.h"
#include "utils/resowner.h"
}

namespace ke::stream {

namespace {

enum class outcome : char { none, committed, other };

outcome ended;
void (*listeners[4])(bool);
int count;

void at_end(XactEvent event, void*)
{
    switch (event) {
    case XACT_EVENT_COMMIT:
        ended = outcome::committed;
        break;
    case XACT_EVENT_ABORT:
    case XACT_EVENT_PREPARE:
        ended = outcome::other;
        break;
    default:
        break;
    }
}

// Once for each resource owner of the transaction; the first after its end will do.
void at_release(ResourceReleasePhase phase, bool, bool top_level, void*)
{
    if (phase != RESOURCE_RELEASE_AFTER_LOCKS || !top_level || ended == outcome::none)
        return;
    const bool committed = ended == outcome::committed;
    ended = outcome::none;
    for (int i = 0; i < count; i++)
        listeners[i](committed);
}

} // namespace

void after_transactions(void (*fn)(bool committed))
{
    for (int i = 0; i < count; i++)
        if (listeners[i] == fn)
            return;
    Assert(count < 4);
    if (count == 0) {
        RegisterXactCallback(at_end, nullptr);
        RegisterResourceReleaseCallback(at_release, nullptr);
    }
    listeners[count++] = fn;
}

} // namespace ke::stream
