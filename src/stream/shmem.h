// What launcher, supervisors, workers and ordinary sessions share: databases, workers, units of work,
// live states and positions. Fixed arrays in the main segment; hashes in a dsa area created in place.
// All of it may be lost at a crash: truth is in kafka.registry and kafka.progress.
//
//   who writes            what
//   committing session    generation of its database (notify_at_commit), then sets the latches
//   launcher              database slots
//   supervisor            worker slots, units, ends of partitions, states nobody else can know
//   worker                its own slot's statistics, states and positions of the views it serves
//   anybody               reads
#pragma once

#include "pg/compat.h"

extern "C" {
#include "datatype/timestamp.h"
}

#include <atomic>
#include <cstdint>
#include <optional>
#include <string>
#include <vector>

namespace ke::stream {

constexpr TimestampTz second = 1000000;

// States of a view as shown in kafka.views. paused and stopped are also persisted in
// kafka.registry, which wins.
enum class live_state : std::uint8_t {
    starting,
    catching_up,
    running,
    paused,
    retrying,
    waiting,
    stopped,
    stuck,
};
const char* name_of(live_state);

// A piece of work for one worker: consumer number `consumer` of `consumers` of one topic table. A
// partition belongs to consumer hash(topic, partition) % consumers.
struct unit {
    Oid topic_table;
    int consumer;
    int consumers;
};

// Counters of one worker since it started; written by the worker alone, read by anyone.
struct worker_statistics {
    std::atomic<std::int64_t> rows, bytes, batches, rejects;
    std::atomic<std::int64_t> fetch_us, decode_us, ring_us; // of the lanes (ingest::chunk)
    std::atomic<std::int64_t> apply_us, commit_us;          // of the server's thread
    std::atomic<std::int64_t> wal_bytes;                    // written by batches
    std::atomic<std::int64_t> topics, partitions;
    std::atomic<std::int64_t> last_batch_at; // TimestampTz, 0: none
    // steady_now() while a batch transaction is open, else 0.
    std::atomic<std::int64_t> batch_began_at;
    // How many views the supervisor wants served by it; written by the supervisor.
    std::atomic<int> views;
    // The view whose code held the worker until it was ended for it (stream/patience); 0: none.
    std::atomic<Oid> held_by;
};

// ---- worker's side (after attach_worker) ----

// Main argument of a worker is its slot's number. Attaches it to shared memory, registers clean-up
// at exit; false where the slot is no longer ours (supervisor gone): exit 0 then.
bool attach_worker(int slot, Oid* database); // throws pg_error

// Changes whenever this database's registry, positions, topic tables or units changed; the worker's
// latch is set too. Cheap: one atomic read.
std::uint64_t database_generation();

// The units assigned to this worker at the moment. One that was taken away goes to its new worker by
// this call: stop serving it before the next batch (positions are fenced in any case). One that still
// has to be let go by another worker is not in the list yet; the generation changes when it is.
std::vector<unit> my_units();

// The supervisor has no work for this process any more: leave between two batches.
bool told_to_leave() noexcept;

worker_statistics& my_statistics();

// Sets the supervisor's latch. Async-signal-safe: the worker's timer calls it when a batch has been
// open for 150 ms (batch_began_at set); the supervisor then looks whether somebody waits for a lock
// of this worker, every 40 ms until the batch ends, and cancels the batch (SIGINT) if so.
void call_supervisor();
// A batch with dead letters for a dead-letter topic has committed: the supervisor sends them.
void letters_wait();
// Newest librdkafka statistics of this worker (left out above 8 MB); for kafka.workers.
void publish_librdkafka(const std::string& json);

// Busy time (us, apply and commit) of a unit since the last call: by this the supervisor decides
// which topic gets a worker to itself.
void publish_busy(const unit&, std::int64_t us);

// State of a view as this worker sees it. reason and error may be "".
void publish_state(Oid view, live_state, const std::string& reason, const std::string& error);

// How often a worker had to be ended because this view's code held it, and when last, by steady_now().
// Counted by the supervisor, forgotten by a worker when the view is like others again.
struct hold {
    int times;
    TimestampTz at;
};
hold note_hold(Oid view);
hold hold_of(Oid view);
void forget_hold(Oid view);

// Committed position of a view in a partition, control records included: what kafka.wait and
// kafka.lag read. Call it after the commit. stored_offset: what the row in kafka.progress says, where
// it says less (only control records came since); a reader that finds another number in the row does
// not believe the entry: that is how a seek makes it void. -1: the same as next_offset.
void publish_position(Oid view, const std::string& topic, int partition, std::int64_t next_offset,
                      std::int64_t stored_offset = -1);
// The end (last stable offset) of a partition as just seen by a reader.
// low: the first offset that is still there, -1: not known.
void publish_end(Oid topic_table, const std::string& topic, int partition, std::int64_t end_offset,
                 std::int64_t low = -1);

// ---- anybody's side ----

// A commit changed registry, progress or topic tables of this database: changes its generation, sets
// the latches of its supervisor and workers, else the launcher's. Called when a transaction
// is over (stream/notify): must not raise. Nothing where the library is not preloaded.
void bump_database(Oid database) noexcept;

struct position_seen {
    std::int64_t next;
    std::int64_t stored; // see publish_position
    TimestampTz moved_at;
    double rate; // records a second
};
std::optional<position_seen> seen_position(Oid database, Oid view, const char* topic,
                                           int partition);

// ---- at preload ----

// Hooks for the segment's size and making. When preloading only.
void init_shared_memory();

} // namespace ke::stream
