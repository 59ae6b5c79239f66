#include "decode/tuples.h"

#include <cstddef>

#include "base/no_backend.h"

namespace ke::decode {

namespace {

constexpr std::size_t nulls_at = offsetof(tuple_body, nulls);
constexpr std::size_t most_short = 127; // of a varlena whose header has one byte, with it

constexpr std::size_t aligned(std::size_t n, std::size_t to)
{
    return (n + to - 1) & ~(to - 1);
}

// The states of all cells that the layout takes, or-ed: 0 says that all are values.
unsigned states_of(const tuple_layout& layout, const cell_state* states)
{
    unsigned all = 0;
    for (const tuple_attribute& a : layout.attributes)
        all |= a.kind == tuple_kind::absent ? static_cast<unsigned>(cell_state::null)
                                            : static_cast<unsigned>(states[a.cell]);
    return all;
}
static_assert(static_cast<unsigned>(cell_state::value) == 0 &&
              (static_cast<unsigned>(cell_state::null) &
               static_cast<unsigned>(cell_state::pending)) == 0);

constexpr std::size_t slack = 8; // may be overwritten with zeros behind the largest tuple

// Where the next value of a tuple goes. No value is written at or behind `end`.
struct cursor {
    char* start; // of the body, 8-aligned
    char* at;
    char* end;
    bool has_varlena = false;

    bool align(std::size_t to) // at most 8
    {
        const std::uint64_t zeros = 0;
        std::memcpy(at, &zeros, sizeof zeros);
        at = start + aligned(static_cast<std::size_t>(at - start), to);
        return at <= end;
    }
    bool put(const void* bytes, std::size_t n)
    {
        if (n > static_cast<std::size_t>(end - at))
            return false;
        std::memcpy(at, bytes, n);
        at += n;
        return true;
    }
    template <class T>
    bool put_number(cell c)
    {
        if (!align(sizeof(T)) || static_cast<std::size_t>(end - at) < sizeof(T))
            return false;
        const T n = static_cast<T>(c);
        std::memcpy(at, &n, sizeof n); // of a size that is known: no call
        at += sizeof n;
        return true;
    }
    bool put_varlena(cell c, bool packable)
    {
        const char* p = reinterpret_cast<const char*>(c);
        std::uint32_t header;
        std::memcpy(&header, p, 4);
        const std::size_t n = header >> 2; // with its header
        has_varlena = true;
        if (packable && n - 3 <= most_short) {
            if (at >= end)
                return false;
            *at++ = static_cast<char>(((n - 3) << 1) | 1);
            return put(p + 4, n - 4);
        }
        return align(4) && put(p, n);
    }
    [[gnu::always_inline]] bool put(const tuple_attribute& a, cell c)
    {
        switch (a.kind) {
        case tuple_kind::absent:
            return true;
        case tuple_kind::byte1:
            return put_number<std::uint8_t>(c);
        case tuple_kind::byte2:
            return put_number<std::uint16_t>(c);
        case tuple_kind::byte4:
            return put_number<std::uint32_t>(c);
        case tuple_kind::byte8:
            return put_number<std::uint64_t>(c);
        case tuple_kind::uuid:
            return put(reinterpret_cast<const void*>(c), 16);
        case tuple_kind::packable:
            return put_varlena(c, true);
        case tuple_kind::varlena:
            return put_varlena(c, false);
        }
        return false;
    }
};

// All values but the nulls, which go into the bitmap.
bool put_some(cursor& c, const tuple_layout& layout, const cell* cells, const cell_state* states,
              std::uint8_t* bitmap)
{
    std::size_t i = 0;
    for (const tuple_attribute& a : layout.attributes) {
        if (a.kind != tuple_kind::absent && states[a.cell] != cell_state::null) {
            bitmap[i / 8] |= static_cast<std::uint8_t>(1 << (i % 8));
            if (!c.put(a, cells[a.cell]))
                return false;
        }
        ++i;
    }
    return true;
}

bool put_all(cursor& c, const tuple_layout& layout, const cell* cells)
{
    for (const tuple_attribute& a : layout.attributes)
        if (!c.put(a, cells[a.cell]))
            return false;
    return true;
}

} // namespace

tuple_head* make_tuple(const tuple_layout& layout, const cell* cells, const cell_state* states,
                       arena& memory)
{
    const unsigned all = states_of(layout, states);
    if (all & static_cast<unsigned>(cell_state::pending))
        return nullptr;
    const bool nulls = all != 0;
    const std::size_t n = layout.attributes.size();
    const std::size_t data_at = aligned(nulls_at + (nulls ? (n + 7) / 8 : 0), arena::alignment);
    if (data_at > layout.most_size)
        return nullptr;

    char* room = memory.room(sizeof(tuple_head) + layout.most_size + slack);
    auto* head = reinterpret_cast<tuple_head*>(room);
    auto* body = reinterpret_cast<tuple_body*>(room + sizeof(tuple_head));
    std::memset(body, 0, data_at);
    body->attributes = static_cast<std::uint16_t>(n);
    body->data_at = static_cast<std::uint8_t>(data_at);
    cursor c{reinterpret_cast<char*>(body), reinterpret_cast<char*>(body) + data_at,
             reinterpret_cast<char*>(body) + layout.most_size};
    if (nulls ? !put_some(c, layout, cells, states, body->nulls) : !put_all(c, layout, cells))
        return nullptr;
    body->mask = static_cast<std::uint16_t>((nulls ? tuple_body::has_null : 0) |
                                            (c.has_varlena ? tuple_body::has_varlena : 0));
    head->size = static_cast<std::uint32_t>(c.at - c.start);
    head->self[0] = head->self[1] = head->self[2] = 0;
    head->table = 0;
    head->body = c.start;
    memory.take(sizeof(tuple_head) + head->size);
    return head;
}

void make_tuples(const std::vector<tuple_layout>& layouts, rows& of)
{
    if (of.tuples.size() < layouts.size())
        of.tuples.resize(layouts.size());
    for (std::size_t k = 0; k < layouts.size(); ++k) {
        of.tuples[k].assign(of.row_count(), nullptr);
        for (std::uint32_t r = 0; r < of.row_count(); ++r)
            of.tuples[k][r] = make_tuple(layouts[k], of.cells(r), of.states(r), of.memory);
    }
}

} // namespace ke::decode
