// Which queries a continuous view may have: those whose result over all records is the union of its
// results over the batches. Judged on the analyzed query, views expanded.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "nodes/parsenodes.h"
}

namespace ke::stream {

// The one topic table that the query reads; raises, with the part that is wrong and what to do
// instead, where there is none, more than one, or a shape that cannot be maintained. The relations
// of the query are locked by its analysis; those inside views are locked here.
Oid check_query(Query* query);

// The topic tables that a query reads or writes, one for each place.
List* topics_read(Query* query);

} // namespace ke::stream
