// The timer's handler runs in signal context: async-signal-safe calls only.
#include "stream/patience.h"

extern "C" {
#include <signal.h>

#include "miscadmin.h"
#include "storage/ipc.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
}

#include <algorithm>
#include <atomic>

#include "pg/guard.h"
#include "pg/guc.h"
#include "stream/shmem.h"

namespace ke::stream {

namespace {

// So many cancels that were taken, and nothing has ended: it may never.
constexpr int most_cuts = 3;

TimeoutId timer;
std::atomic<Oid> whose;
std::atomic<int> cuts;
std::atomic<bool> cut;   // since the patience began
std::atomic<bool> alone; // see the header

// Children too, as the server's own time-outs do: COPY's program, say.
void send(int signal)
{
    (void)kill(-MyProcPid, signal);
    (void)kill(MyProcPid, signal);
}

void time_is_over()
{
    if (proc_exit_inprogress) // the slot may be another's already
        return;
    if (alone && my_statistics().views <= 1)
        return;
    cut = true;
    if (!QueryCancelPending) // else the last one was not even seen: no code of SQL runs
        cuts.fetch_add(1, std::memory_order_relaxed);
    if (cuts <= most_cuts) {
        send(SIGINT);
        return;
    }
    my_statistics().held_by = whose.load();
    send(SIGTERM);
}

} // namespace

void init_patience()
{
    timer = RegisterTimeout(USER_TIMEOUT, time_is_over);
}

patience::patience(Oid view, std::chrono::milliseconds limit)
    : limit_(limit.count() == 0 ? std::chrono::milliseconds(pg::settings::view_timeout_ms) : limit),
      began_(std::chrono::steady_clock::now())
{
    const int ms = static_cast<int>(std::min<std::int64_t>(limit_.count(), INT_MAX));
    const int again = std::min(ms, pg::settings::view_timeout_ms);
    whose = view;
    cuts = 0;
    cut = false;
    alone = limit.count() == 0;
    if (ms == 0)
        return;
    pg::call([ms, again] {
        enable_timeout_every(timer, TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms),
                             std::max(again, 1));
    });
}

patience::~patience()
{
    if (limit_.count() == 0)
        return;
    disable_timeout(timer, true);
    if (get_timeout_indicator(timer, true))
        QueryCancelPending = false; // it came too late
}

void patience::judge(trouble& t) const
{
    if (!cut)
        return;
    t.took = std::chrono::ceil<std::chrono::milliseconds>(spent());
    t.what = remedy::slow;
    t.message = "its part of a batch took longer than " + std::to_string(limit_.count()) +
                " ms while other views waited";
    t.detail.clear();
    t.hint = "It goes on by itself, with fewer records at a time and more time. The setting "
             "kafka.view_timeout says how long a part may take.";
}

} // namespace ke::stream
