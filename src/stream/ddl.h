// Making, changing and dropping continuous views, for the utility hook, the event triggers and the
// SQL functions. Server's thread; plain data; everything in the user's transaction.
#pragma once

#include "pg/compat.h"

#include <cstdint>

extern "C" {
#include "catalog/objectaddress.h"
#include "nodes/parsenodes.h"
}

namespace ke::stream {

// Raises where an option of a view does not stand (options.h).
void check_view_option(const char* name, const char* value);

// The same of all of a registered view's options together, its topic table's defaults among them.
void check_options_of(Oid view);

// Whether an element of a WITH or SET list is one of ours: kafka.*.
inline bool is_ours(const DefElem* d)
{
    return d->defnamespace && strcmp(d->defnamespace, "kafka") == 0;
}

// A line of kafka.state_log, by the current role.
void log_state(Oid view, const char* state, const char* reason);

// ---- control.cpp ----

// A view as its owner may handle it; raises for others. lock: with its registration's row locked.
// Strings in the caller's context.
struct handled_view {
    Oid query;
    Oid topic_table;
    Oid owner;
    char* state;
    char* group;
};
handled_view look_up(Oid view, bool lock);
// Raises in code that a batch runs: a view that moves itself or others while they are served together
// would hold all of them up.
void refuse_in_batch();

// Waits for the batch under way, and keeps the next ones off to the end of the transaction: what is
// read from here on is what the view has, whatever the isolation level. Others may look at the view.
void keep_batches_off(Oid query);
// All of its rows in kafka.progress.
void lock_positions(Oid view);

// ---- create.cpp ----

// Whether a WITH list names an option of ours.
bool has_kafka_options(List* definitions);

// The statement with its query analyzed, a copy that is ours to change. InvalidObjectAddress where
// IF NOT EXISTS found one.
ObjectAddress create_continuous_view(CreateTableAsStmt*, const char* query_text);

// Raises, with what to put where, unless the library was preloaded.
void check_preloaded();

// ---- alter.cpp ----

bool is_continuous_view(Oid relid);

// Rewrites, in a statement that is ours to change, the words MATERIALIZED VIEW to the real kind of a
// continuous view, wherever they name one.
void rewrite_kind(Node*);

// Takes the options of ours out of ALTER ... SET/RESET and stores them. False where the statement
// holds nothing else, so that the server has nothing left to do.
bool take_alter_options(AlterTableStmt*);

// ---- refresh.cpp ----

// REFRESH of a continuous view; rows in it afterwards, or changed.
std::uint64_t refresh_continuous_view(RefreshMatViewStmt*);

// ---- drop.cpp ----

// Whether DROP MATERIALIZED VIEW names a continuous view.
bool drops_continuous_view(DropStmt*);
// Drops everything in its list, real materialized views as well.
void drop_materialized_views(DropStmt*);

} // namespace ke::stream
