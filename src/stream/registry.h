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
    std::string on_error; // stop, skip
    std::string on_gap;   // stop, earliest, latest
    std::string group_id;
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
};

// The options of one view, by table (stream/options.cpp): names, kinds, defaults, help. Throws
// fault_error on an unknown name (with the valid ones) or a bad value.
// given: without the prefix 'kafka.'; defaults: of the topic table.
view_options resolve_options(const std::vector<std::pair<std::string, std::string>>& given,
                             const std::vector<std::pair<std::string, std::string>>& defaults,
                             const std::string& default_group);

// All views of this database, by OID. Inside a transaction; uses SPI. Throws pg_error, fault_error.
std::vector<registered_view> load_registry();

// Tells supervisor (and launcher) at commit that registry, positions or topic tables changed;
// nothing on rollback. Any backend, inside a transaction. Cheap to call often.
void notify_at_commit();

} // namespace ke::stream
