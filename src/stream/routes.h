// Many views on a topic that want the records of one value each: `WHERE kind = 'click'`, `WHERE id % 50 =
// 7`, `WHERE country IN ('at', 'de')`. Asking every view about every record costs views times records.
// Where the filters of a feed's views compare the same expression with constants, the expression is
// computed once for each record, and the constant found in a hash table says which views want it
// (topic::batch::chosen). That only spares a scan the messages that its filter would refuse: the filter
// is still its own, and is asked about those that are left.
//
//   taken:    `e = constant`, `e IN (constants)` by a hashable operator, e immutable, over columns of the
//             topic; views of one owner, two or more for the same e
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

// A filter by which messages can be chosen. Plain data.
struct route {
    Expr* filter; // as the scan has it
    Expr* value;  // what is compared, its columns those of relation 1
    Const* constants; // an array's where `any`
    Oid equal;       // operator
    Oid collation;
    bool any; // IN
};

// The first such filter of a planned statement's scans of the topic, in the current memory context; null:
// none. May raise.
route* find_route(PlannedStmt*, Oid topic_table);

// Says in the batch of each share which messages it may want. False: computing an expression raised an
// error; the transaction is to be aborted and all done again, without routes for that feed. Throws
// pg_error, which is nobody's fault.
bool choose(const std::vector<share*>&);

} // namespace ke::stream
