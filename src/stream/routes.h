// Many views on a topic that want some values of one expression each: `WHERE kind = 'click'`, `WHERE id %
// 50 = 7`, `WHERE country IN ('at', 'de')`, `WHERE price >= 10 AND price < 20`. Asking every view about
// every record costs views times records. Where the filters of a feed's views compare the same expression
// with constants, the expression is computed once for each record, and a table says which views want its
// value (stream/route_table, topic::batch::chosen). That only spares a scan the messages that its filters
// would refuse: they are still its own, and are asked about those that are left.
//
//   taken:    `e = constant`, `e IN (constants)` by a hashable operator; `e < constant` and the like by an
//             operator of a btree family, up to two of them; e immutable, over columns of the topic; views
//             of one owner, two or more for the same e and way of comparing
//   not:      tables that declare _error (a value refused later makes another row of the message);
//             careful replays; feeds where computing e raised an error, which may be nobody's business
//             behind another filter: such a batch is done again without
//
// Server's thread, inside a batch's transaction.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "nodes/plannodes.h"
#include "nodes/primnodes.h"
}

#include <vector>

namespace ke::stream {

struct share;

// Filters by which messages can be chosen: the values that a view wants. Plain data.
struct route {
    List* filters; // as the scan has them
    Expr* value;   // what is compared, its columns those of relation 1
    Oid type;      // of the constants or bounds
    Oid collation;
    // Equal to one of these:
    Const* constants; // an array's where `any`; null: a range
    bool any;         // IN
    Oid equal;        // operator
    // Or between these; null: no such bound. Bounds are never NULL.
    Const *lower, *upper;
    bool with_lower, with_upper; // the bounds themselves too
    Oid order, of_bounds;        // functions: of a value and a bound, of two bounds
};

// The first such filters of a planned statement's scans of the topic, in the current memory context;
// null: none. May raise.
route* find_route(PlannedStmt*, Oid topic_table);

// Says in the batch of each share which messages it may want. False: computing an expression raised an
// error; the transaction is to be aborted and all done again, without routes for that feed. Throws
// pg_error, which is nobody's fault.
bool choose(const std::vector<share*>&);

} // namespace ke::stream
