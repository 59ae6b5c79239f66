// The relations that a continuous view is made of: the table it fills, the hidden view that holds its
// query, and the view on the table where rows are finished on the way to the reader. Server's thread, in
// the user's transaction; plain data.
#pragma once

#include "pg/compat.h"

#include <cstdint>

extern "C" {
#include "catalog/objectaddress.h"
#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"
}

namespace ke::stream {

// Of a query's columns: ColumnDef nodes. Raises where one cannot be a column.
List* column_definitions(Query*);
List* names_of(List* columns);
List* types_of(List* columns);

// The table that is the view, as CREATE TABLE AS makes one.
ObjectAddress make_table(IntoClause*, List* columns);

// The table named by kafka.into, locked.
Oid open_target(const char* name);
// An ordinary view on it, with the columns that are fed.
ObjectAddress make_view_on(Oid target, IntoClause*, const std::int16_t* attributes, int count);

// The table of states of a view that finishes them, kafka.s_..., for the owner.
Oid make_state_table(const char* view_name, List* columns, Oid owner);
// The view that the user sees on it.
ObjectAddress make_final_view(IntoClause*, List* columns, Query* final);

// The view that holds the query, kafka.q_..., for the owner.
Oid make_hidden_view(Query*, List* columns, Oid view, Oid owner);

// Runs a statement of ours on a table: format's first %s is its name, the second one the list.
void run_on_table(const char* format, Oid table, const char* list);
// Names (String nodes) as SQL has them, by commas.
char* list_of(List* names);

// The unique index on the groups (String nodes; NIL: on the one row).
void make_group_index(Oid table, List* keys);
// The one row of a view without GROUP BY, before the first record: 0 where named, else NULL.
void make_one_row(Oid table, List* zeros);

} // namespace ke::stream
