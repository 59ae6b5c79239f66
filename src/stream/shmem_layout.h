// How the shared memory of stream/shmem.h is laid out. For the files that own it: shmem, slots, live,
// launcher, supervisor, pool, wait, stats, drop_database.
//
// One lock, control::lock, guards every plain member of the slots; atomics are written by the one
// process that the comment names and read by anyone. Each dshash has locks of its own; a partition
// lock is never held across a call that may raise, but for an allocation, whose error releases it
// (with_table below), because outside a transaction nobody else would.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "lib/dshash.h"
#include "storage/condition_variable.h"
#include "storage/latch.h"
#include "storage/lwlock.h"
#include "storage/proc.h"
#include "storage/shmem.h"
}

#include <atomic>
#include <cstdint>
#include <string>
#include <utility>

#include "pg/guard.h"
#include "stream/shmem.h"

namespace ke::stream {

// A process of ours: known by its place in the server's array of processes, so that anybody may set
// its latch, a signal handler too.
struct process_ref {
    pid_t pid = 0; // 0: none
    std::atomic<int> number{-1};

    void set_latch() const
    {
        const int n = number.load(std::memory_order_relaxed);
        if (n >= 0)
            SetLatch(&GetPGProcByNumber(n)->procLatch);
    }
    void become_me();
    void clear()
    {
        number = -1;
        pid = 0;
    }
};

// A database that has, or had, or is about to get continuous views. Free where database is invalid.
//
//   wanted && no supervisor && !blocked    the launcher starts one, not before next_start
//   launched, no supervisor                registered, not attached yet
//   supervisor                             it runs
struct database_slot {
    std::atomic<Oid> database{InvalidOid};
    process_ref supervisor;
    std::uint32_t generation = 0; // changes with each supervisor that is launched
    bool wanted = false;
    bool launched = false;
    bool staying = false;       // the supervisor found views
    bool no_process = false;    // the launcher found no free background worker
    int blocked = 0;            // commands that need the database without connections
    int failures = 0;           // of supervisors, in a row
    TimestampTz next_start = 0; // after a failure
    TimestampTz launched_at = 0;
    std::atomic<std::uint64_t> commits{0};     // counted by sessions
    std::atomic<std::uint64_t> assignments{0}; // counted by the supervisor (and by my_units)
    std::atomic<std::uint64_t> letters{0};     // counted by workers: batches with some for a topic
    ConditionVariable moved; // a position moved, a process left, a command unblocked
};

struct worker_slot {
    std::atomic<Oid> database{InvalidOid}; // invalid: free
    database_slot* home = nullptr;
    process_ref process;
    std::uint32_t generation = 0;
    bool stop = false;   // the supervisor told it to leave
    bool exited = false; // it has; exit_code says how
    int exit_code = 0;
    TimestampTz launched_at = 0;
    worker_statistics statistics;
    dsa_pointer librdkafka = InvalidDsaPointer; // text, with its closing zero
};

// ---- keys and entries of the hashes; keys are compared as bytes: no padding in them

struct unit_key {
    Oid database;
    Oid topic_table;
    std::int32_t consumer;
};
struct unit_entry {
    unit_key key;
    std::int32_t consumers;
    std::int32_t slot;   // of the worker that shall serve it; -1: none
    std::int32_t holder; // of the worker that does; -1: none
    std::uint32_t slot_generation;
    std::uint32_t holder_generation;
    std::int64_t busy_us; // since the supervisor last looked
};

struct view_key {
    Oid database;
    Oid view;
};
struct view_entry {
    view_key key;
    live_state state;
    bool stuck; // the supervisor's word: more to read and nothing moves
    TimestampTz since;
    TimestampTz error_at;
    std::int32_t slot; // of the worker that published last; -1: the supervisor
    std::int32_t held; // see hold
    TimestampTz held_at;
    char reason[512];
    char error[1024];
};

struct topic_hash {
    std::uint64_t a, b;
};
topic_hash hash_of(const char* topic);

struct position_key {
    topic_hash topic;
    Oid database;
    Oid view;
    std::int32_t partition;
    std::int32_t zero;
};
struct position_entry {
    position_key key;
    std::int64_t next;   // everything below is in the view, or holds no record
    std::int64_t stored; // what the row in kafka.progress said then
    TimestampTz moved_at;
    TimestampTz rate_from; // the rate is counted over at least a second
    std::int64_t rate_next;
    double rate; // records a second, smoothed
};

inline constexpr int end_samples = 16;
struct end_key {
    topic_hash topic;
    Oid database;
    Oid topic_table;
    std::int32_t partition;
    std::int32_t zero;
};
struct end_entry {
    end_key key;
    char topic[256];
    std::int64_t end;
    std::int64_t low; // first offset still there; -1: not known
    TimestampTz as_of;
    // Older ends, oldest first, thinned out as they grow many: they tell since when a position has
    // been behind, and how fast the topic grows.
    int samples;
    struct {
        TimestampTz at;
        std::int64_t end;
    } sample[end_samples];
};

struct control {
    LWLock* lock = nullptr;
    int tranche = 0;
    process_ref launcher;
    bool look_everywhere = false; // there was no free database slot: the launcher looks for itself
    int databases = 0;
    int workers = 0;
    database_slot* database = nullptr; // [databases]
    worker_slot* worker = nullptr;     // [workers]
    void* area = nullptr;
    dshash_table_handle units, views, positions, ends;
};

// Null without preload.
extern control* shared;

// Attaches this process to the hashes, once. False without preload. Raises.
bool attach_tables();
extern dsa_area* area;
extern dshash_table* units;
extern dshash_table* views;
extern dshash_table* positions;
extern dshash_table* ends;

// fn may raise with a lock held: outside a transaction nobody would release it. Throws pg_error.
template <class F>
void with_table(F&& fn)
{
    try {
        pg::call(fn);
    } catch (...) {
        LWLockReleaseAll();
        throw;
    }
}

// For frames that own nothing: takes control::lock while it lives. Nothing inside may raise.
class locked {
  public:
    explicit locked(LWLockMode mode = LW_EXCLUSIVE) { LWLockAcquire(shared->lock, mode); }
    ~locked() { LWLockRelease(shared->lock); }
    locked(const locked&) = delete;
    locked& operator=(const locked&) = delete;
};

// With the lock held: the slot of a database, or null.
database_slot* find_database(Oid);
// The same, or a free one made its own; null where all are taken.
database_slot* take_database(Oid);
// With the lock held, exclusively: back to free.
void free_database(database_slot*);
void free_worker(worker_slot*);

// Everything the hashes know of a database is forgotten. No lock held. Throws pg_error.
void purge_database(Oid);

// Fills `to` with as much of text as fits, whole characters only.
void fill(char* to, std::size_t size, const std::string& text);

// Copies of this database's entries that are wanted, taken under the table's locks; palloc'd. Raises
// (with a lock held: outside a transaction inside with_table).
template <class Entry, class F>
Entry* copy_entries(dshash_table* table, int* count, F wanted)
{
    int room = 64;
    *count = 0;
    auto* list = static_cast<Entry*>(palloc(room * sizeof(Entry)));
    dshash_seq_status s;
    dshash_seq_init(&s, table, false);
    while (auto* e = static_cast<Entry*>(dshash_seq_next(&s))) {
        if (e->key.database != MyDatabaseId || !wanted(*e))
            continue;
        if (*count == room) {
            room *= 2;
            list = static_cast<Entry*>(repalloc_huge(list, room * sizeof(Entry)));
        }
        list[(*count)++] = *e;
    }
    dshash_seq_term(&s);
    return list;
}
template <class Entry>
Entry* copy_entries(dshash_table* table, int* count)
{
    return copy_entries<Entry>(table, count, [](const Entry&) { return true; });
}

// Which worker slot this process is, or null.
worker_slot* my_slot();

} // namespace ke::stream
