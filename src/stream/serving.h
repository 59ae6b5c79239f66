// What a worker knows while it works: views it serves, the sources they read, the feeds that are
// open. Server's thread of one worker only; nothing here is shared. "The worker" in src/README.md
// draws how the parts play together.
//
// Who owns whom: the worker its sources; a source its views and feeds; a feed its reader and the
// chunks it has gathered. Everything dies with the process and is never destroyed on the way out
// (the hub is, by pg/hubs).
#pragma once

#include "pg/compat.h"

extern "C" {
#include "executor/spi.h"
}

#include <algorithm>
#include <chrono>
#include <map>
#include <memory>
#include <optional>
#include <set>
#include <string>
#include <vector>

#include "ingest/hub.h"
#include "pg/guard.h"
#include "stream/pace.h"
#include "stream/registry.h"
#include "stream/routes.h"
#include "stream/shape.h"
#include "stream/shmem.h"
#include "stream/trouble.h"
#include "topic/batch.h"
#include "topic/topic.h"

namespace ke::stream {

using steady = std::chrono::steady_clock;
using std::chrono::milliseconds;
using partition_key = ingest::topic_partition;

// How often topics and partitions are asked for anew, so that new ones join by themselves.
inline constexpr milliseconds metadata_interval{10000};
// Topics that are missing, brokers that did not answer: sooner.
inline constexpr milliseconds metadata_retry{1000};
// A view whose positions are within so many records of the leading one shares its feed.
inline constexpr std::int64_t near_records = 65536;
// Positions that only passed control records are written at most so often.
inline constexpr milliseconds lazy_interval{1000};
inline constexpr milliseconds mirror_interval{5000};

struct source;
struct feed_state;

// The last record applied of a partition. A feed begins at it: if another one stands there, the topic
// was made anew, whatever its offsets.
struct log_mark {
    static constexpr std::int64_t none = -1, forget = -2; // forget: written as none
    std::int64_t offset = none;
    std::int64_t timestamp_ms = -1;
    std::int32_t size = 0; // of key and value
};

struct position {
    std::int64_t next;  // as kafka.progress says since our last commit, or as we found it
    std::int64_t ahead; // >= next: between the two there were only control records
    std::int32_t epoch = -1;
    log_mark mark = {};
};

// The kept plans of a view's or a stream's statements, and the topic's attributes that it reads.
struct kept_plan {
    std::vector<SPIPlanPtr> before; // run first, in order
    SPIPlanPtr plan = nullptr;
    // Their texts: made anew where relations or columns have other names.
    std::vector<std::string> sql;
    // Of the cached plans that `attributes` were taken from, summed up.
    std::int64_t generation = -1;
    std::vector<int> attributes;   // offset by FirstLowInvalidHeapAttributeNumber, ascending
    std::set<int> of_functions;    // likewise: read by functions of the query, as their scans told
    topic::decode_columns columns; // for this view alone
    tuple_shape shape;             // how its rows lie in the target; empty: not known (shape.h)
    bool filtered = false; // the shape is that of the rows that pass `by`, which has all filters
    MemoryContext memory = nullptr; // of `by`
    route* by = nullptr;            // null: none (routes.h)
};

// A view in this worker:
//
//   resting -> preparing -> joining -> reading
//      ^___________|___________|__________|      trouble that passes: back after a while
//   over: paused, stopped or dropped; the next reload takes it away
enum class phase {
    preparing, // to be locked, planned, tried with no rows, its positions read
    joining,   // prepared; waits for its source to open feeds
    reading,   // in a feed
    resting,   // until rest.until, then preparing
    over,
};

inline constexpr int cancels_in_a_row = 5; // batches cancelled: no longer somebody's lock

struct served_view {
    registered_view is;
    source* from = nullptr;
    feed_state* feed = nullptr; // while reading
    phase at = phase::preparing;
    std::map<partition_key, position> positions;
    kept_plan plan;
    bool alone = false;   // see share::foreign
    bool suspect = false; // an end below the position was seen once
    bool keeps = false;   // the server refused a record of it: from then on read with records kept

    stream::pace pace; // since it held up others
    bool by_itself() const { return alone || pace.slow(); }

    // What the limits on bad records go by.
    struct {
        std::int64_t in_a_row = 0; // refused one after the other, up to the position
        std::int64_t counted = -1; // rows in kafka.dead_letters when counted last; -1: not yet
        std::int64_t added = 0;    // ours since then
    } bad;

    struct {
        steady::time_point until{};
        int times = 0; // in a row; forgotten at a commit
    } rest;
    std::string reason, error; // newest trouble in words; "" when all is well

    bool shown_once = false;
    live_state shown = live_state::starting;
    std::string shown_reason;

    struct {
        using list = std::vector<std::pair<partition_key, message_offset>>;
        XLogRecPtr lsn = InvalidXLogRecPtr;   // of the newest commit that moved a position
        list positions;                       // to be sent once `taken` is flushed
        XLogRecPtr taken = InvalidXLogRecPtr; // their commit
        list sent;
        steady::time_point next{};
        ingest::ticket<done> answer;
    } mirror;
};

// One pipeline and the views it feeds.
struct feed_state {
    source* from = nullptr;
    std::unique_ptr<ingest::feed> reader;
    topic::decode_columns columns;
    std::vector<std::string> topics;
    std::vector<served_view*> views;
    bool catching_up = false; // behind another feed of its source

    // The strictest of its views' limits.
    std::int64_t batch_rows = 0, batch_bytes = 0;
    std::chrono::microseconds flush{};

    // Of the tuples that its lanes make; so many at most, since each costs the lanes and their memory
    // a copy of the rows. Views beyond take the executor's rows.
    static constexpr std::size_t most_layouts = 4;
    // Where each row goes to few of the views, tuples for all rows are worth their cost to so many.
    static constexpr int enough_filtered = 8;
    std::vector<decode::tuple_layout> layouts;

    std::vector<ingest::chunk*> gathered;
    std::int64_t rows = 0, messages = 0, bytes = 0; // in gathered
    std::vector<partition_key> partitions;          // it was opened on
    std::vector<std::size_t> topic_of;              // of each partition: index into topics
    // How far each partition was read before the gathered chunks, by topic and partition. A view below
    // that is not fed by this feed, whatever the grouping says: it would lose what lies between.
    std::vector<std::vector<std::int64_t>> begun;
    std::vector<partition_key> unproved; // the marks of its views were not met yet
    std::vector<std::pair<served_view*, partition_key>> strangers; // another record stands there
    std::optional<trouble> wrong; // what its reader said last, until records come again
    bool broken = false;          // to be made anew whatever its views
    bool no_routes = false;       // an error was met on the way (routes.h)
    steady::time_point opened{};
    steady::time_point last_commit{};
    bool was_full = false;           // the last batch
    std::int64_t opened_rows = 0;    // batch_rows when it was opened
    steady::time_point held_until{}; // all its views rest: the batch waits here

    std::int64_t& begun_at(topic_number t, partition_id p)
    {
        begun.resize(std::max(begun.size(), topics.size()));
        auto& of_topic = begun[t.value];
        auto n = static_cast<std::size_t>(p.value);
        if (of_topic.size() <= n)
            of_topic.resize(n + 1, INT64_MAX);
        return of_topic[n];
    }

    bool full() const
    {
        return messages >= batch_rows || rows >= batch_rows || bytes >= batch_bytes;
    }
    bool is_slow() const { return views.size() == 1 && views.front()->pace.slow(); }
    // The last of a backlog: waiting for more would only hold it back.
    bool is_remainder() const { return was_full && !gathered.empty() && reader->at_end(); }
    bool has_records() const { return messages > 0; }
};

// A topic table as this worker reads it with one login, and the views on it.
struct source {
    topic::topic_table table;
    std::set<int> consumers; // numbers of the units that are ours
    int of_consumers = 1;
    unit first_unit{};
    ingest::client_handle* client = nullptr;
    bool stale = false; // the catalogs changed below it: made anew at the next reload

    // What exists and is ours, of the newest layout.
    bool known = false;
    std::string cluster_id;
    std::vector<std::string> topics;
    std::vector<partition_key> partitions;
    steady::time_point ask_layout_at{};
    ingest::ticket<ingest::layout> layout;
    std::optional<trouble> wrong; // why the topics cannot be had

    bool reopen = true; // its feeds are to be made anew
    steady::time_point reopen_at{};
    bool marking = false; // marks were asked for in order to reopen
    ingest::ticket<std::vector<ingest::watermarks>> marks;
    steady::time_point ask_marks_at{};
    std::map<partition_key, std::int64_t> ends, lows; // newest known

    std::vector<std::unique_ptr<served_view>> views;
    std::vector<std::unique_ptr<feed_state>> feeds; // live first
};

// ---- transactions (apply.cpp). Each throws pg_error; the caller aborts.
void begin_work(bool synchronous = false);
void commit_work();
void abort_work() noexcept;

// fn() in a transaction of its own; the trouble it met, if any, with everything rolled back.
template <class F>
std::optional<trouble> in_work(F&& fn)
{
    try {
        begin_work();
        fn();
        commit_work();
        return std::nullopt;
    } catch (const pg::pg_error& e) {
        trouble t = describe(e.data());
        abort_work();
        return t;
    } catch (const pg::fault_error& e) {
        trouble t = describe(e.get());
        abort_work();
        return t;
    }
}

// ---- plans (plans.cpp). Inside a transaction.
// The view's owner's identity for a while, security-restricted, with the settings of the session that
// made the view. Raise; plain: after an error the (sub)transaction's abort sets everything back.
struct owner_scope {
    Oid user;
    int security_context;
    int guc_level;
};
owner_scope become_owner(const registered_view&);
void become_self(const owner_scope&);
// Takes the locks a batch needs without waiting; false where one cannot be had or is gone.
bool lock_relations(const std::vector<const registered_view*>&, std::vector<bool>& locked);
// Makes or checks the kept plan. True where the attributes it reads or its shape changed.
bool plan_view(served_view&);
// Notes what a function's scan found missing in a batch: the next plan_view counts it in.
void want_attributes(served_view&, const topic::batch&);
// Runs the plan over what `rows` says, as the owner; rows stored. Throws pg_error.
std::int64_t run_plan(served_view&, topic::batch& rows);
// USAGE of the view's owner on the server; throws fault_error.
void check_usage(Oid server, Oid owner);
void free_plan(kept_plan&);
// What to decode for a set of attributes (as kept_plan holds them).
topic::decode_columns columns_for(Oid topic_table, Oid owner, const std::vector<int>& attributes,
                                  bool keeps_records = false);

// ---- positions (positions.cpp). Inside a transaction.
struct moved { // one row of kafka.progress that a batch moves
    served_view* view;
    partition_key at;
    std::int64_t believed, to;
    std::int32_t epoch;
    std::int64_t rows, skipped;
    log_mark mark = {}; // none: as it was
};
// All rows of the views, into their positions (ahead = next).
void read_positions(const std::vector<served_view*>&);
// As kafka.progress says; for comparing. By view.
std::map<Oid, std::map<partition_key, std::int64_t>> stored_positions(const std::vector<Oid>&);
enum class belief : std::uint8_t { right, wrong, locked };
// Locks the rows in the order given (views ascending), skipping what others hold.
std::vector<belief> lock_positions(const std::vector<moved>&);
// Views of these that are (still) active, by a snapshot newer than the locks.
std::set<Oid> active_views(const std::vector<Oid>&);
void write_positions(const std::vector<moved>&);
// First rows of partitions; only for views whose registry row can be locked and is active.
void insert_positions(const std::vector<moved>&);
void write_cluster(const std::vector<Oid>& views, const std::string& cluster_id);

// ---- ends of a view's road (rejects.cpp). Inside a transaction.
struct stop_report {
    std::string reason, error;
};
// Registry and history; false where somebody holds the registry row: try again later.
bool write_stop(Oid view, const stop_report&);

// ---- gaps (gaps.cpp). Inside a transaction.
struct gap {
    partition_key at;
    std::int64_t first_missing, last_missing;
    std::string reason;
};
void write_gap(Oid view, const gap&, bool crossed);

} // namespace ke::stream
