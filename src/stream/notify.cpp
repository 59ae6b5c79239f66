// The wake at commit: what a transaction changed is told to supervisor and launcher once it can be
// seen, never before, and not at all after a rollback. Any backend; one flag per process.
#include "stream/registry.h"

#include "stream/after_commit.h"
#include "stream/shmem.h"

namespace ke::stream {

namespace {

bool told; // this transaction wants it; a subtransaction's rollback leaves it: one wake too many

void at_end(bool committed)
{
    if (committed && told)
        bump_database(MyDatabaseId);
    told = false;
}

} // namespace

// What a prepared transaction changed is told by its COMMIT PREPARED (stream/hook).
void notify_at_commit()
{
    after_transactions(at_end);
    told = true;
}

} // namespace ke::stream
