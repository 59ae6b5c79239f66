// Decoded records, row by row, in the server's physical shape. Filled by one lane, then read by the
// server's thread; no thread shares it at the same time (the ring hands it over).
//
// A cell is 64 bits that the server takes as a Datum unchanged:
//   boolean, int2, int4, int8, date (days since 2000-01-01), float4 (its bits, sign-extended from
//   32), float8 (its bits), time, timestamp, timestamptz (microseconds, the latter two since
//   2000-01-01 UTC): by value;
//   text, varchar, bpchar, bytea, json, numeric: a pointer to a varlena with a 4-byte header,
//   8-aligned, in the arena;  uuid: a pointer to 16 bytes in the arena.
// pg/datums.cpp proves the layout against the server's macros.
#pragma once

#include <algorithm>
#include <cstdint>
#include <cstring>
#include <string_view>
#include <vector>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/ids.h"

namespace ke::decode {

using cell = std::uint64_t;
static_assert(sizeof(void*) == 8, "64-bit platforms only");

enum class cell_state : std::uint8_t {
    value,
    null,
    // The cell points to a NUL-terminated UTF-8 text in the arena, free of NULs inside, for the
    // type's input function on the server's thread (with the column's typmod).
    pending,
};

// 4-byte varlena header, little-endian server: total size with header, shifted left by two.
inline char* make_varlena(arena& a, std::size_t payload)
{
    char* p = a.take(payload + 4);
    std::uint32_t header = static_cast<std::uint32_t>((payload + 4) << 2);
    std::memcpy(p, &header, 4);
    return p;
}

// One record of Kafka, whether it made rows, none, or a reject.
struct message_ref {
    topic_number topic;
    partition_id partition;
    message_offset offset;
    std::int64_t timestamp_ms; // -1: none
    std::uint32_t first_row;
    std::uint32_t row_count;
    std::uint32_t size; // bytes of key and value
};

enum class timestamp_type : std::uint8_t { none, create, append };

// A record as it came, for those who keep it. In the arena.
struct origin {
    bytes key, value;         // absent where the record's were null
    std::string_view headers; // as the role headers' JSON; empty: none
    timestamp_type time_type = timestamp_type::none;
    std::int32_t leader_epoch = -1;
};

// A record that could not be decoded. Texts and bytes live in the arena.
struct reject {
    std::uint32_t message;   // index into messages
    std::int32_t column;     // index into the plan's columns, or -1
    char sqlstate[6];        // e.g. 22P02
    std::string_view reason; // primary message
    std::string_view detail; // or empty
    origin record;
};

struct tuple_head; // decode/tuples.h

class rows {
  public:
    explicit rows(std::size_t columns) : columns_(columns) {}

    std::size_t columns() const { return columns_; }
    std::uint32_t row_count() const { return row_count_; }

    // --- written by decoders ---
    // A new row, every cell null. The pointers hold until the next add_row().
    struct row {
        cell* cells;
        cell_state* states;
    };
    row add_row()
    {
        std::size_t at = static_cast<std::size_t>(row_count_) * columns_;
        if (at + columns_ > room_)
            grow(at + columns_);
        if (columns_ > 0)
            std::memset(states_.data() + at, static_cast<int>(cell_state::null), columns_);
        ++row_count_;
        return {cells_.data() + at, states_.data() + at};
    }
    // What a few bytes may say twice a million times is bounded: a message makes as many cells as it
    // has bytes, or so many, and their texts and numbers take so many times its bytes, or so much. Behind
    // them add_row() throws too_many, and memory its own too_much.
    static constexpr std::size_t most_cells = 8 << 20, most_memory = 64 << 20, most_times = 16;
    struct too_many {};
    void begin_message(std::size_t bytes)
    {
        most_ = std::size_t{row_count_} * columns_ + std::max(bytes, most_cells);
        room_ = std::min(most_, cells_.size());
        memory.allow(std::max(bytes * most_times, most_memory));
    }
    void end_message()
    {
        most_ = SIZE_MAX;
        room_ = cells_.size();
        memory.allow(SIZE_MAX);
    }
    // add_row() throws too_many behind n rows.
    void allow_rows(std::uint32_t n)
    {
        most_ = std::size_t{n} * columns_;
        room_ = std::min(most_, cells_.size());
    }

    // A row again, to fill cells that do not come from the payload.
    row at(std::uint32_t r)
    {
        return {cells_.data() + std::size_t{r} * columns_,
                states_.data() + std::size_t{r} * columns_};
    }
    // Take back the rows from n on: a message whose third row fails leaves none.
    void truncate(std::uint32_t n) { row_count_ = n; }

    // --- read by the server ---
    const cell* cells(std::uint32_t r) const { return cells_.data() + std::size_t{r} * columns_; }
    const cell_state* states(std::uint32_t r) const
    {
        return states_.data() + std::size_t{r} * columns_;
    }

    void reset()
    {
        memory.reset();
        messages.clear();
        rejects.clear();
        origins.clear();
        for (auto& of_layout : tuples)
            of_layout.clear();
        row_count_ = 0;
        if (cells_.size() > most_kept) {
            cells_ = {};
            states_ = {};
            room_ = 0;
        }
    }

    arena memory;
    std::vector<message_ref> messages; // in order of each partition's offsets
    std::vector<reject> rejects;       // in order of messages
    std::vector<origin> origins; // one for each message where the plan keeps records, else none
    // For each layout that is wanted, each row's tuple in the arena, or null; made by
    // the lane when the chunk is full. Empty: there was no memory for them.
    std::vector<std::vector<tuple_head*>> tuples;

  private:
    static constexpr std::size_t most_kept = 2 << 20; // cells, until the next chunk

    void grow(std::size_t cells)
    {
        if (cells > most_)
            throw too_many();
        if (cells > cells_.size()) {
            const std::size_t n = std::min(cells * 2, std::max(most_, cells));
            states_.resize(n); // first, since the cells' size is asked: memory may end in between
            cells_.resize(n);
        }
        room_ = std::min(most_, cells_.size());
    }

    std::size_t columns_;
    std::size_t most_ = SIZE_MAX, room_ = 0; // cells: that may be, that are there for it
    std::uint32_t row_count_ = 0;
    std::vector<cell> cells_;
    std::vector<cell_state> states_;
};

} // namespace ke::decode
