// The parts of making a view that making a stream shares (create.cpp, streams.cpp). Server's thread, in the
// user's transaction; plain data.
#pragma once

#include "pg/compat.h"

#include <cstdint>

extern "C" {
#include "catalog/objectaddress.h"
#include "nodes/parsenodes.h"
#include "utils/jsonb.h"
}

#include "stream/keyed.h"
#include "stream/split.h"
#include "stream/start.h"

namespace ke::stream {

// What the statement asks for, beside its query.
struct request {
    List* names = NIL; // options to keep: String nodes
    List* values = NIL;
    const char* start = nullptr; // as given; null: the topic table's default, else earliest
    const char* into = nullptr;
    const char* group = nullptr;
    const char* key = nullptr;
    const char* on_conflict = nullptr;
    const char* delete_when = nullptr;
    bool unavailable = true;      // as in keying
    const char* paused = nullptr; // why, or null
};

// What is made of it.
struct made_view {
    ObjectAddress view;
    Oid query;
    Oid topic_table;
    Oid target;
    int columns;
    std::int16_t* attributes;   // of target, for each column that is stored
    const char* body = nullptr; // of a stream
};

// The query, judged.
struct judged {
    List* shown;       // ColumnDefs of what the user sees
    List* stored;      // ... of what is stored
    split_query parts; // without aggregates: partial is the query
    bool grouped;
    keying keys; // of rows that are no groups
};
// Raises where the query cannot be kept with these options.
judged judge(Query*, Oid topic_table, const request&);
// One SELECT and nothing else.
Node* parse_select(const char* text);

// Options given as jsonb, as a WITH list, kafka.continuous among them (control.cpp).
List* definitions_of(Jsonb* options);
// Takes the options of ours out of the list.
request take_options(List** definitions);
// The start that holds where the request gives none, and the group.
void fill_defaults(request*, Oid topic_table, RangeVar* name);
// Raises where the name is taken, or, with if_not_exists, says so and returns true.
bool exists_already(RangeVar* name, bool if_not_exists);
// Of the current role: USAGE on the topic table's server; what the query does, at any depth.
void check_server_right(Oid topic_table);
void check_rights_everywhere(Query*);
void register_view(const made_view&, const request&, const start_positions&);

} // namespace ke::stream
