// Heap tuples into one ordinary table, many at a time: table_multi_insert, constraints, indexes, as COPY
// does it. Plain data inside an executor state, which owns all of it; everything may raise, and an
// error's abort takes it away. Server's thread, inside a transaction.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "access/heapam.h"
}

#include <cstdint>

namespace ke::stream {

// Whether a table can be written so, by what its descriptor says: no triggers (foreign keys, deferrable
// constraints and publication rules that need one are triggers too), no generated columns, no
// partition's bound, the server's own heap.
bool takes_tuples(Relation);

struct table_writer {
    // Enough to fill pages, few enough to stay in the cache.
    static constexpr int most_tuples = 512;
    static constexpr std::size_t most_bytes = 64 * 1024;

    EState* estate;
    ResultRelInfo* target;
    TupleDesc descriptor; // the target's, not counted by anybody, for the slots
    BulkInsertState bulk;
    CommandId command;
    MemoryContext memory; // of waiting tuples and of one flush; reset after it
    bool checks, not_null;
    TupleTableSlot** slots;
    int made_slots;
    int waiting; // tuples in slots
    std::size_t bytes;
    std::int64_t stored;
};

// target: the range table's index of the table, which is locked and whose INSERT right was checked.
table_writer* begin_writing(EState*, Index target);
// The tuple must stay where it is until the next flush; its header's transaction fields are written.
void write_tuple(table_writer*, HeapTuple);
// A copy of values in the shape of the target.
void write_values(table_writer*, Datum* values, bool* nulls);
void flush(table_writer*);
// Flushes; what is open is closed, and the slots go, with the executor state.
void end_writing(table_writer*);

} // namespace ke::stream
