// Heap tuples as the server stores them, put together from cells off the server's thread: what is left
// to do there is to copy them into pages. Knows no server header; pg/tuples.cpp proves the layout
// against the server's macros. A row that needs more than copying (a cell still pending, a size that
// could want TOAST) gets no tuple and goes the ordinary way.
#pragma once

#include <cstdint>
#include <vector>

#include "base/arena.h"
#include "decode/rows.h"

namespace ke::decode {

enum class tuple_kind : std::uint8_t {
    absent, // always null: a dropped column, or one that the query does not fill
    byte1,  // by value, in the low bytes of the cell
    byte2,
    byte4,
    byte8,
    uuid,     // a pointer to 16 bytes
    packable, // a varlena; one of up to 126 bytes gets a header of one byte and no alignment
    varlena,  // a varlena that keeps its header of four
};

struct tuple_attribute {
    tuple_kind kind;
    int cell; // of the row; meaningless where absent
    bool operator==(const tuple_attribute&) const = default;
};

// The attributes of one table in their physical order, and from which size on a row wants TOAST.
struct tuple_layout {
    std::vector<tuple_attribute> attributes;
    std::uint32_t most_size = 0;
    bool operator==(const tuple_layout&) const = default;
};

// The server's HeapTupleData; header and data stand right behind it.
struct tuple_head {
    std::uint32_t size;
    std::uint16_t self[3];
    std::uint32_t table;
    char* body;
};

// The server's HeapTupleHeaderData.
struct tuple_body {
    std::uint32_t transactions[3];
    std::uint16_t self[3];
    std::uint16_t attributes;
    std::uint16_t mask;
    std::uint8_t data_at;
    std::uint8_t nulls[1];

    static constexpr std::uint16_t has_null = 0x0001;
    static constexpr std::uint16_t has_varlena = 0x0002;
};

// The row's tuple in memory, or null where it gets none. Throws std::bad_alloc.
tuple_head* make_tuple(const tuple_layout&, const cell* cells, const cell_state* states,
                       arena& memory);

// The tuples of all rows in each layout, into rows.tuples. Throws std::bad_alloc; a layout then has no
// tuples at all, or null where they end.
void make_tuples(const std::vector<tuple_layout>&, rows&);

} // namespace ke::decode
