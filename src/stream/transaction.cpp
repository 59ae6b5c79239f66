#include "stream/transaction.h"

extern "C" {
#include "access/xact.h"
#include "utils/snapmgr.h"
}

#include "pg/errors.h"

namespace ke::stream {

void begin_transaction()
{
    SetCurrentStatementStartTimestamp();
    StartTransactionCommand();
    PushActiveSnapshot(GetTransactionSnapshot());
}

void commit_transaction()
{
    if (ActiveSnapshotSet())
        PopActiveSnapshot();
    CommitTransactionCommand();
}

void abort_transaction()
{
    AbortCurrentTransaction();
}

problem problem_of(const pg::pg_error& e)
{
    const ErrorData* d = e.data();
    problem p{d->sqlerrcode, d->message ? d->message : "unknown error"};
    if (d->detail)
        p.message += std::string(" (") + d->detail + ")";
    return p;
}

problem problem_of(const fault& f)
{
    problem p{pg::sqlstate_of(f.kind), f.message};
    if (!f.detail.empty())
        p.message += " (" + f.detail + ")";
    return p;
}

} // namespace ke::stream
