// From decoded cells to the server's values: fills a slot's arrays for one row. Cells that are
// values are Datums already; pending ones go through their type's input function, here, on the
// server's thread. Plain data only: it lies in a memory context, and everything may raise.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "access/tupdesc.h"
}

#include <span>

#include "decode/rows.h"

namespace ke::pg {

// How one attribute is filled.
struct datum_column {
    int attribute; // attnum - 1
    int cell;      // index into the plan's columns
    const char* name;
    Oid type;
    int32 typmod;
    bool is_domain; // its checks run for every value, null too
    void* domain_cache;
    FmgrInfo input; // fn_oid invalid until the first pending cell
    Oid ioparam;
};

struct datum_map {
    int natts;
    int count;
    datum_column* columns;
    MemoryContext context; // where the map lives, and what input functions keep between calls
    bool convert;          // the server's encoding is not UTF-8
    // The column whose value is being made. After an error: the one that failed, null if the error
    // came from elsewhere. For reports that name the column.
    const datum_column* at;
    // That its input function reads, in the server's encoding; null: another value.
    const char* text;
};

// In the current memory context. cell_of_attribute as in topic::decode_columns; attributes without
// a cell (-1) come out null.
datum_map* make_datum_map(TupleDesc tuple, std::span<const int> cell_of_attribute);

// values and isnull hold map->natts entries. Results of input functions lie in the current memory
// context (the row's); the rest point into the rows. A value that its type refuses is a server
// error whose context names the column.
void fill_values(datum_map* map, const decode::rows& from, std::uint32_t row, Datum* values,
                 bool* isnull);

} // namespace ke::pg
