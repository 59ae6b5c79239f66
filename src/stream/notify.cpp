// The wake at commit: what a transaction changed is told to supervisor and launcher once it can be
// seen, never before, and not at all after a rollback. Any backend; one flag per process.
#include "stream/registry.h"

extern "C" {
#include "access/xact.h"
}

#include "stream/shmem.h"

namespace ke::stream {

namespace {

bool told; // this transaction wants it; a subtransaction's rollback leaves it: one wake too many
bool listening;

void at_end(XactEvent event, void*)
{
    if (event == XACT_EVENT_COMMIT && told)
        bump_database(MyDatabaseId);
    if (event == XACT_EVENT_COMMIT || event == XACT_EVENT_ABORT || event == XACT_EVENT_PREPARE)
        told = false;
}

} // namespace

// What a prepared transaction changed is told by its COMMIT PREPARED (stream/hook).
void notify_at_commit()
{
    if (!listening) {
        RegisterXactCallback(at_end, nullptr);
        listening = true;
    }
    told = true;
}

} // namespace ke::stream
