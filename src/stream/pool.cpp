// The pool of one database: see pool.h. Supervisor's process, its only thread.
#include "stream/pool.h"

extern "C" {
#include "storage/ipc.h"
#include "utils/guc.h"
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

constexpr TimestampTz patience = 3 * second;     // with a worker that was asked to leave
constexpr TimestampTz attach_time = 30 * second; // a worker that is not there then never comes

BackgroundWorker describe(int slot, std::uint32_t generation, int number)
{
    BackgroundWorker w = {};
    snprintf(w.bgw_name, BGW_MAXLEN, "kafka_engine worker %d for database %u", number + 1,
             MyDatabaseId);
    strlcpy(w.bgw_type, "kafka_engine worker", BGW_MAXLEN);
    strlcpy(w.bgw_library_name, "kafka_engine", BGW_MAXLEN);
    strlcpy(w.bgw_function_name, "kafka_engine_worker_main", BGW_MAXLEN);
    w.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    w.bgw_start_time = BgWorkerStart_RecoveryFinished;
    w.bgw_restart_time = BGW_NEVER_RESTART;
    w.bgw_notify_pid = MyProcPid;
    w.bgw_main_arg = Int32GetDatum(slot);
    std::memcpy(w.bgw_extra, &generation, sizeof generation);
    return w;
}

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

void pool::adopt()
{
    const TimestampTz now = GetCurrentTimestamp();
    seats_.resize(static_cast<std::size_t>(shared->workers));
    std::vector<int> seat_of_slot(static_cast<std::size_t>(shared->workers), -1);
    std::size_t n = 0;
    {
        locked l;
        for (int i = 0; i < shared->workers; i++) {
            worker_slot* w = &shared->worker[i];
            if (w->database != MyDatabaseId)
                continue;
            if (w->exited || (w->process.pid == 0 && now - w->launched_at > attach_time)) {
                free_worker(w);
                continue;
            }
            seats_[n].slot = i;
            seats_[n].generation = w->generation;
            seats_[n].since = w->launched_at;
            seat_of_slot[static_cast<std::size_t>(i)] = static_cast<int>(n++);
        }
    }
    seats_.resize(n);
    units_.reserve(1024);
    with_table([&] {
        dshash_seq_status s;
        dshash_seq_init(&s, units, false);
        while (auto* u = static_cast<unit_entry*>(dshash_seq_next(&s)))
            if (u->key.database == MyDatabaseId && u->slot >= 0 &&
                units_.size() < units_.capacity())
                units_.push_back({{u->key.topic_table, u->key.consumer, u->consumers},
                                  seat_of_slot[static_cast<std::size_t>(u->slot)]});
        dshash_seq_term(&s);
    });
    changed_ = true;
}

void pool::want(std::vector<unit> wanted, std::multimap<Oid, Oid> views_of_table)
{
    views_ = std::move(views_of_table);
    std::vector<placed_unit> next;
    for (const unit& u : wanted) {
        placed_unit p{u};
        for (const placed_unit& old : units_)
            if (old.what.topic_table == u.topic_table && old.what.consumer == u.consumer &&
                old.what.consumers == u.consumers)
                p = old;
        changed_ = changed_ || p.at < 0;
        next.push_back(p);
    }
    changed_ = changed_ || next.size() != units_.size();
    units_ = std::move(next);
}

int pool::units_at(int number) const
{
    int n = 0;
    for (const placed_unit& u : units_)
        n += u.at == number;
    return n;
}

int pool::empty_seat() const
{
    for (std::size_t i = 0; i < seats_.size(); i++)
        if (units_at(static_cast<int>(i)) == 0)
            return static_cast<int>(i);
    return -1;
}

int pool::running() const
{
    locked l(LW_SHARED);
    int n = 0;
    for (const seat& s : seats_)
        if (s.slot >= 0 && shared->worker[s.slot].generation == s.generation)
            n += shared->worker[s.slot].process.pid != 0;
    return n;
}

bool pool::serves(Oid topic_table) const
{
    locked l(LW_SHARED);
    for (const placed_unit& u : units_)
        if (u.what.topic_table == topic_table && u.at >= 0) {
            const seat& s = seats_[static_cast<std::size_t>(u.at)];
            if (s.slot >= 0 && shared->worker[s.slot].process.pid != 0)
                return true;
        }
    return false;
}

// Everyone gets a seat. A setting that shrank empties the seats behind it.
void pool::place(TimestampTz now)
{
    int most = pg::settings::workers;
    if (now < limited_until_) {
        most = std::max(1, std::min(most, running()));
    } else if (limited_until_ != 0) { // tried again: what was to sit apart
        limited_until_ = 0;
        for (placed_unit& u : units_)
            if (u.what.consumers > 1)
                u.at = -1;
    }
    if (seats_.size() < static_cast<std::size_t>(most))
        seats_.resize(static_cast<std::size_t>(most));
    for (placed_unit& u : units_) {
        if (u.at >= 0 && u.at < most)
            continue;
        u.at = u.what.consumers > 1 ? u.what.consumer % most : 0;
        changed_ = true;
    }
}

// Once a second: who is busy, and whether somebody should move. At most one moves at a time, so that
// the next look sees what it did.
void pool::balance(TimestampTz now)
{
    const TimestampTz window = now - window_;
    if (window < second)
        return;
    window_ = now;
    for (seat& s : seats_)
        s.busy_us = 0;
    for (placed_unit& u : units_) {
        const unit_key key = {MyDatabaseId, u.what.topic_table, u.what.consumer};
        std::int64_t busy = 0;
        with_table([&] {
            if (auto* e = static_cast<unit_entry*>(dshash_find(units, &key, true))) {
                busy = e->busy_us;
                e->busy_us = 0;
                dshash_release_lock(units, e);
            }
        });
        u.busy_us = busy;
        if (busy > window / 20)
            u.quiet_since = now;
        seats_[static_cast<std::size_t>(u.at)].busy_us += busy;
    }
    for (placed_unit& u : units_) {
        seat& from = seats_[static_cast<std::size_t>(u.at)];
        const int together = units_at(u.at);
        if (together > 1 && u.busy_us > window / 2 && now >= limited_until_) {
            if (const int to = empty_seat(); to >= 0) {
                u.at = to;
                changed_ = true;
                return;
            }
        }
        if (together > 1 && u.busy_us > window / 5) {
            for (std::size_t i = 0; i < seats_.size(); i++)
                if (seats_[i].busy_us + u.busy_us < from.busy_us - window / 5) {
                    u.at = static_cast<int>(i);
                    changed_ = true;
                    return;
                }
        }
        if (together == 1 && u.at > 0 && u.what.consumers == 1 &&
            now - u.quiet_since > 60 * second) {
            u.at = 0;
            changed_ = true;
            return;
        }
    }
}

// Shared memory says what units_ says; the workers are told.
void pool::write_units()
{
    with_table([&] {
        dshash_seq_status s;
        dshash_seq_init(&s, units, true);
        while (auto* e = static_cast<unit_entry*>(dshash_seq_next(&s))) {
            if (e->key.database != MyDatabaseId)
                continue;
            bool wanted = false;
            for (const placed_unit& u : units_)
                wanted = wanted || (u.what.topic_table == e->key.topic_table &&
                                    u.what.consumer == e->key.consumer);
            if (!wanted)
                dshash_delete_current(&s);
        }
        dshash_seq_term(&s);
    });
    for (const placed_unit& u : units_) {
        const unit_key key = {MyDatabaseId, u.what.topic_table, u.what.consumer};
        const seat& at = seats_[static_cast<std::size_t>(u.at)];
        with_table([&] {
            bool found;
            auto* e = static_cast<unit_entry*>(dshash_find_or_insert(units, &key, &found));
            if (!found) {
                e->holder = -1;
                e->holder_generation = 0;
                e->busy_us = 0;
            }
            e->consumers = u.what.consumers;
            e->slot = at.slot;
            e->slot_generation = at.generation;
            dshash_release_lock(units, e);
        });
    }
    changed_ = false;
    locked l;
    home_->assignments++;
    for (int i = 0; i < shared->workers; i++)
        if (shared->worker[i].database == MyDatabaseId)
            shared->worker[i].process.set_latch();
}

void pool::tell(int number, live_state state, const std::string& reason, bool force)
{
    for (const placed_unit& u : units_) {
        if (u.at != number)
            continue;
        const auto [from, to] = views_.equal_range(u.what.topic_table);
        for (auto v = from; v != to; ++v)
            supervisor_says(v->second, state, reason, force);
    }
}

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
        BackgroundWorker w = describe(s.slot, s.generation, number);
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
        {
            locked l(LW_SHARED);
            const worker_slot* w = &shared->worker[s.slot];
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
            if (!told)
                failed(number, now, code == 0 ? "has left" : "ended unexpectedly");
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

TimestampTz pool::step(TimestampTz now)
{
    place(now);
    if (units_.size() > 1)
        balance(now);
    TimestampTz next = units_.size() > 1 && seats_.size() > 1 ? window_ + second : 0;
    const auto sooner = [&next](TimestampTz t) {
        if (t != 0 && (next == 0 || t < next))
            next = t;
    };
    for (std::size_t i = 0; i < seats_.size(); i++)
        sooner(step_seat(static_cast<int>(i), now));
    if (limited_until_ > now)
        sooner(limited_until_);
    if (changed_) {
        place(now);
        write_units();
    }
    return next;
}

void pool::stop_all()
{
    const TimestampTz until = GetCurrentTimestamp() + 5 * second;
    units_.clear();
    for (;;) {
        bool any = false;
        const TimestampTz now = GetCurrentTimestamp();
        for (std::size_t i = 0; i < seats_.size(); i++) {
            step_seat(static_cast<int>(i), now);
            any = any || seats_[i].slot >= 0;
        }
        if (!any || now > until)
            break;
        pg::call([] {
            (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, 50,
                            PG_WAIT_EXTENSION);
            ResetLatch(MyLatch);
            CHECK_FOR_INTERRUPTS();
        });
    }
    write_units();
}

} // namespace ke::stream
