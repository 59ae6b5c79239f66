// The seats of a pool, a worker process each: started, watched, asked to leave, started again some time
// after it failed. See pool.h. Supervisor's process, its only thread.
#include "stream/pool.h"

extern "C" {
#include "storage/ipc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

#include <algorithm>
#include <csignal>
#include <cstring>

#include "pg/guc.h"
#include "stream/processes.h"

namespace ke::stream {

namespace {

constexpr TimestampTz patience = 3 * second; // with a worker that was asked to leave

bool registered(BackgroundWorker* w, BackgroundWorkerHandle** handle)
{
    return pg::call([&] {
        MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
        const bool ok = RegisterDynamicBackgroundWorker(w, handle);
        MemoryContextSwitchTo(old);
        return ok;
    });
}

// With the lock held: a free slot made ours, or -1.
int take_worker_slot(database_slot* home, TimestampTz now)
{
    for (int i = 0; i < shared->workers; i++) {
        worker_slot* w = &shared->worker[i];
        if (w->database != InvalidOid)
            continue;
        free_worker(w); // a clean one, of a new generation
        w->database = home->database.load();
        w->home = home;
        w->launched_at = now;
        return i;
    }
    return -1;
}

} // namespace

void pool::let_go(seat& s)
{
    {
        locked l;
        worker_slot* w = &shared->worker[s.slot];
        if (w->generation == s.generation)
            free_worker(w);
    }
    if (s.handle)
        pfree(s.handle);
    s.handle = nullptr;
    s.slot = -1;
    s.generation = 0;
    s.attached = false;
    changed_ = true;
}

void pool::failed(int number, TimestampTz now, const char* how)
{
    seat& s = seats_[static_cast<std::size_t>(number)];
    if (now - s.since > 60 * second)
        s.failures = 0;
    s.failures++;
    s.not_before = next_try(now, s.failures);
    const long ms = milliseconds_until(now, s.not_before);
    pg::call([&] {
        ereport(LOG, (errmsg("kafka_engine worker %d %s", number + 1, how),
                      errdetail("The next one starts in %ld ms.", ms)));
    });
    tell(number, live_state::retrying,
         std::string("its worker ") + how + "; another one starts in " +
             std::to_string((ms + 999) / 1000) + " s");
}

// No background worker is free. Where others of ours run they serve all; else the views wait.
void pool::no_process(int number, TimestampTz now)
{
    seat& s = seats_[static_cast<std::size_t>(number)];
    const int running_ones = running();
    if (!said_limited_)
        pg::call([&] {
            ereport(WARNING,
                    (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                     errmsg("no background worker is free for kafka_engine worker %d", number + 1),
                     running_ones > 0 ? errdetail("%d worker(s) serve all topics.", running_ones)
                                      : errdetail("Its continuous views wait."),
                     errhint("Raise max_worker_processes.")));
        });
    said_limited_ = true;
    if (running_ones == 0) {
        s.not_before = next_try(now, 3);
        tell(number, live_state::waiting,
             "no background worker is free: raise max_worker_processes (now " +
                 std::to_string(max_worker_processes) + ")");
        return;
    }
    // To the seats that have a worker, in turns.
    limited_for_ = std::min(2 * limited_for_, 600 * second);
    limited_until_ = now + limited_for_;
    std::vector<int> there;
    for (std::size_t i = 0; i < seats_.size(); i++)
        if (seats_[i].slot >= 0)
            there.push_back(static_cast<int>(i));
    std::size_t next = 0;
    for (placed_unit& u : units_)
        if (u.at == number && !there.empty())
            u.at = there[next++ % there.size()];
    changed_ = true;
}

void pool::launch(int number, TimestampTz now)
{
    seat& s = seats_[static_cast<std::size_t>(number)];
    {
        locked l;
        if (home_->blocked > 0)
            return;
        s.slot = take_worker_slot(home_, now);
        if (s.slot >= 0)
            s.generation = shared->worker[s.slot].generation;
    }
    s.since = now;
    if (s.slot >= 0) {
        char name[BGW_MAXLEN];
        snprintf(name, sizeof name, "kafka_engine worker %d for database %u", number + 1,
                 MyDatabaseId);
        BackgroundWorker w = describe_process("worker", name, s.slot, s.generation);
        changed_ = true;
        if (registered(&w, &s.handle)) {
            if (now >= limited_until_) {
                said_limited_ = false;
                limited_for_ = second;
            }
            return;
        }
        let_go(s);
    }
    no_process(number, now);
}

// Asked first, so that it leaves between two batches without a word; after some seconds it is interrupted.
void pool::stop(seat& s, TimestampTz now)
{
    bool attached;
    {
        locked l;
        worker_slot* w = &shared->worker[s.slot];
        if (w->generation != s.generation)
            return;
        attached = w->process.pid != 0;
        if (!w->stop) {
            w->stop = true;
            w->process.set_latch();
            s.killed_at = now + patience;
        } else if (attached && now >= s.killed_at) {
            kill(w->process.pid, SIGTERM);
            s.killed_at = now + second;
        }
    }
    if (!attached && s.handle)
        pg::call([&] { TerminateBackgroundWorker(s.handle); });
}

TimestampTz pool::step_seat(int number, TimestampTz now)
{
    seat& s = seats_[static_cast<std::size_t>(number)];
    const int wanted = units_at(number);
    TimestampTz again = 0;
    if (s.slot >= 0) {
        bool exited, told, attached;
        int code;
        Oid held_by;
        {
            locked l(LW_SHARED);
            const worker_slot* w = &shared->worker[s.slot];
            held_by = w->statistics.held_by;
            exited = w->exited;
            code = w->exit_code;
            told = w->stop;
            attached = w->process.pid != 0;
        }
        if (!exited && !attached) {
            pid_t pid;
            const bool dead = s.handle ? GetBackgroundWorkerPid(s.handle, &pid) == BGWH_STOPPED
                                       : now - s.since > attach_time;
            if (dead) {
                locked l(LW_SHARED); // it may have come and gone between the two looks
                exited = true;
                code = shared->worker[s.slot].exited ? shared->worker[s.slot].exit_code : 1;
            }
            again = now + second;
        }
        if (attached && !s.attached) {
            s.attached = true;
            tell(number, live_state::starting, "", false); // until the worker says more
        }
        if (exited) {
            let_go(s);
            if (OidIsValid(held_by)) { // no failure of the worker's
                held_.push_back(held_by);
                s.not_before = now + second / 100;
            } else if (!told) {
                failed(number, now, code == 0 ? "has left" : "ended unexpectedly");
            }
        } else if (wanted == 0) {
            stop(s, now);
            return now + second;
        }
    }
    if (s.slot < 0 && wanted > 0) {
        if (now >= s.not_before)
            launch(number, now);
        return s.slot < 0 ? s.not_before : now + second;
    }
    return again;
}

} // namespace ke::stream
