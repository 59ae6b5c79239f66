// A topic table as the catalogs tell it: server, login, options, columns.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "nodes/bitmapset.h"
#include "nodes/pg_list.h"
#include "nodes/plannodes.h"
}

#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "decode/plan.h"
#include "ingest/hub.h"
#include "registry/settings.h"

namespace ke::topic {

// All of this is C++-owned: keep it in adopt()ed objects or in frames under pg::entry().
struct topic_table {
    Oid relid;
    Oid server;
    ingest::properties connection;               // of server and the user's mapping, sorted by name
    std::vector<std::string> topics;             // option topic; empty where a pattern is given
    std::string pattern;                         // option topic_pattern
    std::vector<std::pair<int, int>> partitions; // option partitions, inclusive ranges; empty: all
    int consumers = 1;
    registry::settings registry; // likewise
    int connect_timeout_ms = 10000;
    // Defaults for views: start, on_gap, on_error, batch_rows, batch_bytes, flush_interval, as given.
    std::vector<std::pair<std::string, std::string>> view_defaults;
};

// How to reach a server's brokers: what its options and the user's mapping say together.
struct connection {
    Oid server = InvalidOid;
    ingest::properties properties; // sorted by name
    registry::settings registry;
    int connect_timeout_ms = 10000;
};

// With the login of userid (its user mapping, else PUBLIC's, else none). Secrets that a mapping names
// by <secret>_file are read here. Rights are the caller's business. Throws pg_error, fault_error.
connection load_connection(Oid server, Oid userid);

// With the login of userid (its user mapping, else PUBLIC's). Checks nothing but that it is a topic
// table of ours; rights are the caller's business. Throws pg_error, fault_error.
topic_table load_topic_table(Oid relid, Oid userid);

// Whether the relation is a foreign table of our wrapper.
bool is_topic_table(Oid relid);

// Which cells to decode for a set of attributes, and where each attribute's cell stands.
struct decode_columns {
    std::shared_ptr<const decode::row_plan> plan;
    std::vector<int> cell_of_attribute; // [attnum - 1]: index into plan->columns, or -1
};

// attributes: attribute numbers offset by FirstLowInvalidHeapAttributeNumber (as pull_varattnos
// does); the whole-row attribute means all. Throws pg_error, fault_error.
// user: whose login is taken to the schema registry, where a format asks one. keeps_records: as row_plan
// has it.
decode_columns make_decode_columns(Oid relid, Oid user, const Bitmapset* attributes,
                                   bool keeps_records = false);

// For a caller whose rights nobody has checked: where the plan may ask the server's schema registry, with
// a login that is lent for nothing else, the current role has USAGE on the server. Throws pg_error.
void require_registry(Oid relid, const decode_columns&);

// A scan of a topic table says in its plan what it reads: the first element of its fdw_private is
// pack_attributes() of the attributes (offset likewise). The target list would not tell: the planner
// may let a scan return whole rows of which only some columns are used.
List* pack_attributes(const Bitmapset* attributes);
Bitmapset* unpack_attributes(const List*);

// A finished plan's scans of topic table relid, the plan's own nodes (ForeignScan); the list is in the
// current memory context.
List* scans_of(PlannedStmt* plan, Oid relid);

// The attributes (offset likewise) of topic table relid that a finished plan reads, over all its
// scans of it; in the current memory context.
Bitmapset* attributes_used(PlannedStmt* plan, Oid relid);

} // namespace ke::topic
