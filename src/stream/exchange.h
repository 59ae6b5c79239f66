// The rows of a view, exchanged for others that were gathered beside them (REFRESH). Server's thread, in
// the user's transaction; plain data.
#pragma once

#include "pg/compat.h"

#include <cstdint>

extern "C" {
#include "nodes/pg_list.h"
}

namespace ke::stream {

enum class exchange_way : std::uint8_t { swap, difference };

// How the rows of a view's own table can be exchanged. Raises where they cannot. fed: String nodes, the
// names of the columns that the view feeds.
struct exchange_plan {
    exchange_way way;
    List* keys; // of the difference: String nodes; NIL: the table has one row
};
exchange_plan plan_exchange(Oid table, List* fed, bool concurrently, const char* view_name);

// An empty table like the view's, in schema kafka, for its owner; nobody else sees it, since it goes in
// the same transaction.
Oid make_beside(Oid table, Oid owner);
void drop_beside(Oid beside);

// New files for the table, with the rows of the other one. The caller keeps writers off; readers are
// kept off while the indexes are built. Older snapshots see the new rows, as after any REFRESH.
std::uint64_t swap_rows(Oid table, Oid beside);

// Deletes, inserts and updates what differs, by key, as the current role.
std::uint64_t apply_difference(Oid table, Oid beside, List* fed, List* keys);

} // namespace ke::stream
