// decode/tuples: what a tuple holds, byte by byte, and which rows get none.
#include "check.h"

#include "decode/tuples.h"
#include "base/no_backend.h"

#include <string>

using namespace ke;
using namespace ke::decode;

namespace {

struct one_row {
    arena memory;
    std::vector<cell> cells;
    std::vector<cell_state> states;

    void number(std::uint64_t n)
    {
        cells.push_back(n);
        states.push_back(cell_state::value);
    }
    void text(std::string_view s)
    {
        char* p = make_varlena(memory, s.size());
        std::memcpy(p + 4, s.data(), s.size());
        number(reinterpret_cast<std::uintptr_t>(p));
    }
    void null() { lacks(cell_state::null); }
    void lacks(cell_state s)
    {
        cells.push_back(0xDEAD);
        states.push_back(s);
    }
    tuple_head* make(const tuple_layout& l)
    {
        return make_tuple(l, cells.data(), states.data(), memory);
    }
};

std::string_view data_of(const tuple_head* t)
{
    const auto* body = reinterpret_cast<const tuple_body*>(t->body);
    return {t->body + body->data_at, t->size - body->data_at};
}

const tuple_body& body_of(const tuple_head* t)
{
    return *reinterpret_cast<const tuple_body*>(t->body);
}

} // namespace

TEST(tuple_aligns_values_and_packs_short_texts)
{
    one_row r;
    r.number(0x11);
    r.number(static_cast<std::uint64_t>(-2));
    r.text("abc");
    r.number(0x2222);
    const tuple_layout layout{{{tuple_kind::byte1, 0},
                               {tuple_kind::byte8, 1},
                               {tuple_kind::packable, 2},
                               {tuple_kind::byte4, 3}},
                              2000};
    tuple_head* t = r.make(layout);
    REQUIRE(t != nullptr);
    CHECK_EQ(body_of(t).data_at, 24);
    CHECK_EQ(body_of(t).attributes, 4);
    CHECK_EQ(body_of(t).mask, tuple_body::has_varlena);
    CHECK(data_of(t) == std::string_view("\x11\0\0\0\0\0\0\0"
                                         "\xFE\xFF\xFF\xFF\xFF\xFF\xFF\xFF"
                                         "\x09"
                                         "abc"
                                         "\x22\x22\0\0",
                                         24));
    CHECK_EQ(reinterpret_cast<std::uintptr_t>(t->body) % 8, 0u);
}

TEST(tuple_of_126_bytes_has_a_short_header_and_of_127_a_long_one)
{
    for (std::size_t n : {126u, 127u}) {
        one_row r;
        r.number(1);
        r.text(std::string(n, 'x'));
        tuple_head* t = r.make({{{tuple_kind::byte1, 0}, {tuple_kind::packable, 1}}, 2000});
        REQUIRE(t != nullptr);
        CHECK_EQ(data_of(t).size(), n == 126 ? 1 + 127u : 4 + 131u);
    }
}

TEST(tuple_marks_nulls_and_absent_columns)
{
    one_row r;
    r.null();
    r.number(5);
    tuple_layout layout{{{tuple_kind::byte4, 0}, {tuple_kind::absent, 0}, {tuple_kind::byte4, 1}},
                        2000};
    tuple_head* t = r.make(layout);
    REQUIRE(t != nullptr);
    CHECK_EQ(body_of(t).mask, tuple_body::has_null);
    CHECK_EQ(body_of(t).nulls[0], 0b100);
    CHECK(data_of(t) == std::string_view("\5\0\0\0", 4));

    for (int i = 0; i < 9; i++) // more than the eight that fit into the header
        layout.attributes.push_back({tuple_kind::byte4, 1});
    t = r.make(layout);
    REQUIRE(t != nullptr);
    CHECK_EQ(body_of(t).data_at, 32);
    CHECK_EQ(data_of(t).size(), 40u);
}

TEST(tuple_is_not_made_of_pending_or_large_rows)
{
    one_row r;
    r.number(1);
    r.lacks(cell_state::pending);
    CHECK(r.make({{{tuple_kind::byte8, 0}, {tuple_kind::packable, 1}}, 2000}) == nullptr);
    CHECK(r.make({{{tuple_kind::byte8, 0}}, 2000}) != nullptr); // the pending one is not wanted
    one_row big;
    big.text(std::string(200, 'x'));
    CHECK(big.make({{{tuple_kind::packable, 0}}, 24 + 203}) == nullptr);
    CHECK(big.make({{{tuple_kind::packable, 0}}, 24 + 204}) != nullptr);
    one_row many;
    many.number(1);
    CHECK(many.make({{{tuple_kind::byte8, 0}}, 31}) == nullptr);
    CHECK(many.make({{{tuple_kind::byte8, 0}}, 32}) != nullptr);
}
