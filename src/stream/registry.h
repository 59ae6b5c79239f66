// The catalog of continuous views, kafka.registry and kafka.progress (sql/kafka_engine--1.0.sql), as
// C++ sees it. ddl writes it in the user's transaction, workers write progress with the rows.
#pragma once

#include "pg/compat.h"

#include <string>
#include <utility>
#include <vector>

#include "base/ids.h"

namespace ke::stream {

enum class view_state : char { active = 'a', paused = 'p', stopped = 's' }; // as persisted

// Options of a view as they hold: given with the view, else the topic table's defaults, else ours.
struct view_options {
    int batch_rows = 65536;
    std::int64_t batch_bytes = 16 << 20;
    int flush_interval_us = 20000;
    bool synchronous_commit = false;
    std::string on_error; // dead_letter, skip, stop
    std::int64_t max_errors_in_a_row = 10000;
    std::int64_t max_dead_letters = 1000000;
    std::string dead_letter_topic; // "": none
    std::string on_gap;            // stop, earliest, latest
    std::string group_id;
    std::string key, on_conflict, delete_when; // as given; "": not
};

struct registered_view {
    Oid view;        // the relation the user sees
    Oid query;       // the hidden view that holds the query
    Oid topic_table; //
    Oid target;      // the table fed: == view unless kafka.into
    Oid owner;       // of query
    view_state state;
    std::string name;       // schema.view, for messages
    std::string cluster_id; // empty: not fetched yet
    view_options options;
    std::vector<std::pair<std::string, std::string>> settings; // TimeZone, DateStyle, IntervalStyle
    std::vector<std::int16_t> target_columns; // column i of query feeds this attribute of target
    std::string body;    // of a stream: the procedure in schema kafka; "": a view
    std::string invalid; // options that do not hold (any more): the view stops with these words
};

// The options of one view, by table (stream/options.cpp): names, kinds, defaults, help. Throws
// fault_error on an unknown name (with the valid ones) or a bad value.
// given: without the prefix 'kafka.'; defaults: of the topic table.
view_options resolve_options(const std::vector<std::pair<std::string, std::string>>& given,
                             const std::vector<std::pair<std::string, std::string>>& defaults,
                             const std::string& default_group);

// Whether this database has our catalogs. They are the extension's own: a schema and a table of these
// names may be anybody's in a database without it, and what we run on them we run as a superuser.
// Raises; inside a transaction.
bool registry_exists();

// All views of this database, by OID. Inside a transaction; uses SPI. Throws pg_error, fault_error.
std::vector<registered_view> load_registry();
// One of them. Throws fault_error too where it is none.
registered_view load_view(Oid);

// Who commits what when a view is paused, rewound or dropped: kafka.pause and kafka.seek lock the hidden
// view against batches (EXCLUSIVE; a batch takes ROW SHARE), the registry row, then all progress rows
// (FOR UPDATE), and only then write. A worker's transaction
// locks its progress rows (SKIP LOCKED) and *after that*, in a statement of its own with a newer
// snapshot, looks whether the registry says 'active'. A view without progress rows yet has nothing
// to lock there: the worker then locks its registry row, FOR SHARE SKIP LOCKED, before it inserts
// the first ones.

// Tells supervisor (and launcher) at commit that registry, positions or topic tables changed;
// nothing on rollback. Any backend, inside a transaction. Cheap to call often.
void notify_at_commit();

} // namespace ke::stream
