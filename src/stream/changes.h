// Keyed views on topics of change events (format debezium): which of them delete, and columns whose values
// an event does not have, which keep what they have. Server's thread, in a transaction; plain data.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "access/attnum.h"
#include "nodes/parsenodes.h"
}

namespace ke::stream {

struct request;

// What kafka.on_conflict and kafka.delete_when are where a view has a key and its topic holds changes: kept
// with the options as if they had been given. Raises where the topic table lacks the column _op.
void follow_changes(request*, const Query*, Oid topic_table);

// The topic table's column _unavailable; 0: it has none, or holds no changes.
AttrNumber unavailable_column(Oid topic_table);

// Names of the topic's columns that an output column of the query is computed from, as SQL: an array of
// text; null: of none.
const char* source_columns(Query*, const TargetEntry*, Oid topic_table);

} // namespace ke::stream
