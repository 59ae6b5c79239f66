// A query with aggregates, taken apart: what one batch gives, and what makes the view's rows of what is
// stored. Server's thread, plain data; on copies of the analyzed query.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "nodes/parsenodes.h"
}

namespace ke::stream {

struct split_query {
    Query* partial; // over one batch: keys, and values to be merged
    Query* final; // over the stored rows, its range table still empty (complete_final); null: they
                  // are the view's rows
    List* keys;   // String nodes: names of partial's columns that identify a row; NIL: one row
    List* zeros;  // ... of those that are 0, not NULL, before the first record
};

// Whether the query's rows are groups, so that batches have to be merged.
bool is_grouped(const Query*);

// Raises, with what is in the way and what to do instead, where batches cannot be merged.
split_query split(Query*);

// The final query reads this table.
void complete_final(Query* final, Oid table);

} // namespace ke::stream
