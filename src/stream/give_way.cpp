// A batch gives way: where a user waits for a lock that a worker's open batch holds, the batch is
// cancelled and applied again later. Looked for here, in the supervisor, since the worker is in the
// middle of a query then. Supervisor's process.
#include "stream/pool.h"

extern "C" {
#include "storage/lock.h"
#include "utils/timestamp.h"
}

#include <csignal>

namespace ke::stream {

namespace {

constexpr TimestampTz millisecond = 1000;
constexpr TimestampTz long_batch = 140 * millisecond;
constexpr TimestampTz long_wait = 120 * millisecond; // and a look each 40 ms: 200 ms at most
constexpr TimestampTz between_looks = 40 * millisecond;

struct open_batch {
    pid_t pid;
    int slot;
    std::int64_t began_at;
};

// With the lock held: whether the process is one of our workers. Two of them that wait for each other
// are left to the server's deadlock detector, which picks one of the two.
bool is_worker(int pid)
{
    for (int i = 0; i < shared->workers; i++)
        if (shared->worker[i].process.pid == pid)
            return true;
    return false;
}

bool same_lock(const LOCKTAG& a, const LOCKTAG& b)
{
    return memcmp(&a, &b, sizeof a) == 0;
}

bool holds_against(const LockInstanceData& held, const LockInstanceData& wanted)
{
    if (held.holdMask == 0 || !same_lock(held.locktag, wanted.locktag))
        return false;
    const LockMethod methods = GetLockTagsMethodTable(&wanted.locktag);
    return (methods->conflictTab[wanted.waitLockMode] & held.holdMask) != 0;
}

} // namespace

TimestampTz watch_batches(Oid database, TimestampTz now)
{
    open_batch open[64];
    int n = 0;
    TimestampTz next = 0;
    {
        locked l(LW_SHARED);
        for (int i = 0; i < shared->workers && n < 64; i++) {
            const worker_slot& w = shared->worker[i];
            const std::int64_t began = w.statistics.batch_began_at;
            if (w.database != database || w.process.pid == 0 || began == 0)
                continue;
            if (now - began >= long_batch)
                open[n++] = {w.process.pid, i, began};
        }
    }
    if (n == 0)
        return next;
    next = now + between_looks;
    const TimestampTz wall = GetCurrentTimestamp(); // as waitStart
    LockData* all = pg::call([] { return GetLockStatusData(); });
    for (int i = 0; i < all->nelements; i++) {
        const LockInstanceData& waiter = all->locks[i];
        if (waiter.waitLockMode == NoLock || waiter.waitStart == 0 ||
            (wall >= waiter.waitStart && wall - waiter.waitStart < long_wait))
            continue;
        for (int j = 0; j < all->nelements; j++)
            for (int k = 0; k < n; k++)
                if (all->locks[j].pid == open[k].pid && all->locks[j].pid != waiter.pid &&
                    holds_against(all->locks[j], waiter)) {
                    locked l(LW_SHARED);
                    const worker_slot& w = shared->worker[open[k].slot];
                    if (!is_worker(waiter.pid) && w.process.pid == open[k].pid &&
                        w.statistics.batch_began_at == open[k].began_at)
                        kill(open[k].pid, SIGINT);
                }
    }
    pfree(all->locks);
    pfree(all);
    return next;
}

} // namespace ke::stream
