// The pool of one database: see pool.h. Supervisor's process, its only thread.
#include "stream/pool.h"

extern "C" {
#include "storage/ipc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

#include <algorithm>

#include "pg/guc.h"
#include "stream/processes.h"

namespace ke::stream {

void pool::adopt()
{
    const TimestampTz now = steady_now();
    seats_.resize(static_cast<std::size_t>(shared->workers));
    std::vector<int> seat_of_slot(static_cast<std::size_t>(shared->workers), -1);
    std::size_t n = 0;
    held_.reserve(static_cast<std::size_t>(shared->workers));
    {
        locked l;
        for (int i = 0; i < shared->workers; i++) {
            worker_slot* w = &shared->worker[i];
            if (w->database != MyDatabaseId)
                continue;
            if (w->exited && OidIsValid(w->statistics.held_by))
                held_.push_back(w->statistics.held_by);
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
    changed_ = changed_ || views_ != views_of_table;
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

std::vector<std::set<Oid>> pool::views_by_seat() const
{
    std::vector<std::set<Oid>> all(seats_.size());
    for (const placed_unit& u : units_) {
        const auto [from, to] = views_.equal_range(u.what.topic_table);
        for (auto v = from; v != to && u.at >= 0; ++v)
            all[static_cast<std::size_t>(u.at)].insert(v->second);
    }
    return all;
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
    const std::vector<std::set<Oid>> served = views_by_seat();
    locked l;
    for (std::size_t i = 0; i < seats_.size(); i++)
        if (seats_[i].slot >= 0)
            shared->worker[seats_[i].slot].statistics.views = static_cast<int>(served[i].size());
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
    const TimestampTz until = steady_now() + 5 * second;
    units_.clear();
    for (;;) {
        bool any = false;
        const TimestampTz now = steady_now();
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
