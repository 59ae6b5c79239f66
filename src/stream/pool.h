// The supervisor's pool: which worker serves which unit, and that those workers run.
//
// A seat is a place for one worker, 0 to kafka.workers - 1. Seat 0 is where quiet topics share one;
// a unit that keeps its worker busy while others wait behind it moves to a seat of its own; the
// consumers of one topic sit apart.
//
//   seat:  empty -> (units came) launching -> running -> (units went) stopping -> empty
//                        \-> failed, until not_before -> launching      running -> failed
#pragma once

#include "pg/compat.h"

extern "C" {
#include "postmaster/bgworker.h"
}

#include <map>
#include <set>
#include <string>
#include <utility>
#include <vector>

#include "stream/registry.h"
#include "stream/shmem_layout.h"

namespace ke::stream {

struct seat {
    int slot = -1; // -1: no worker
    std::uint32_t generation = 0;
    BackgroundWorkerHandle* handle = nullptr; // null: none, or started by an earlier supervisor
    bool attached = false;                    // the worker has been seen
    TimestampTz since = 0;                    // launched at
    TimestampTz not_before = 0;               // after a failure
    TimestampTz killed_at = 0;                // told to leave; from then on by a signal
    int failures = 0;                         // in a row
    std::int64_t busy_us = 0;                 // over the last window
};

struct placed_unit {
    unit what;
    int at = -1;              // seat
    std::int64_t busy_us = 0; // over the last window
    TimestampTz quiet_since = 0;
};

class pool {
  public:
    explicit pool(database_slot* home) : home_(home) {}

    // Takes over workers that an earlier supervisor left behind.
    void adopt();

    // What there is to do now: units by topic table, and whose views they are (for their states).
    void want(std::vector<unit> units, std::multimap<Oid, Oid> views_of_table);

    // Starts, ends and moves what has to be; the time to look again, 0: when the latch is set.
    TimestampTz step(TimestampTz now);

    // Ends all workers and waits for them, some seconds at most.
    void stop_all();

    // Views whose code held a worker so that it had to be ended; each is told once.
    std::vector<Oid> take_held() { return std::exchange(held_, {}); }

    int running() const;
    bool serves(Oid topic_table) const; // a worker is there for one of its units

  private:
    // A worker that is not there then never comes.
    static constexpr TimestampTz attach_time = 30 * second;
    void place(TimestampTz now);
    void balance(TimestampTz now);
    void write_units();
    TimestampTz step_seat(int number, TimestampTz now);
    void launch(int number, TimestampTz now);
    void failed(int number, TimestampTz now, const char* how);
    void stop(seat&, TimestampTz now);
    void let_go(seat&);
    void no_process(int number, TimestampTz now);
    int units_at(int number) const;
    int empty_seat() const;
    std::vector<std::set<Oid>> views_by_seat() const;
    void tell(int number, live_state, const std::string& reason, bool force = true);

    database_slot* home_;
    std::vector<seat> seats_;
    std::vector<placed_unit> units_;
    std::multimap<Oid, Oid> views_;
    std::vector<Oid> held_;
    TimestampTz window_ = 0;            // when busy times were last read
    TimestampTz limited_until_ = 0;     // no background worker was free: serve with what runs
    TimestampTz limited_for_ = 1000000; // doubles each time
    bool said_limited_ = false;
    bool changed_ = false; // units_ is not what shared memory says
};

// State of a view as the supervisor sees it: not where a living worker has said something, unless
// force.
void supervisor_says(Oid view, live_state, const std::string& reason, bool force);

// Marks the views that have more to read and for a minute have not moved, though a worker says that it
// works on them; takes the mark from the others (stream/stuck.cpp).
void judge_progress(const std::vector<registered_view>&);

// With a time when to look again where some worker's batch has been open for long: cancels those in
// whose way somebody waits (stream/give_way.cpp). 0: nothing to watch.
TimestampTz watch_batches(Oid database, TimestampTz now);

} // namespace ke::stream
