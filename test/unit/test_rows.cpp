// decode/rows: rows of cells, and taking them back.
#include "check.h"

#include "decode/rows.h"
#include "base/no_backend.h"

using namespace ke;
using namespace ke::decode;

TEST(rows_begin_null_and_can_be_taken_back)
{
    rows r(3);
    for (std::uint32_t i = 0; i < 1000; i++) {
        rows::row row = r.add_row();
        CHECK(row.states[0] == cell_state::null && row.states[2] == cell_state::null);
        row.cells[1] = i;
        row.states[1] = cell_state::value;
    }
    CHECK_EQ(r.cells(500)[1], 500u);
    r.truncate(500);
    CHECK(r.add_row().states[1] == cell_state::null);
    CHECK_EQ(r.row_count(), 501u);
    r.reset();
    CHECK_EQ(r.row_count(), 0u);
}

TEST(rows_without_columns_are_counted)
{
    rows r(0);
    r.add_row();
    r.add_row();
    CHECK_EQ(r.row_count(), 2u);
}

TEST(varlena_says_its_size)
{
    arena a;
    char* p = make_varlena(a, 5);
    std::uint32_t header;
    std::memcpy(&header, p, 4);
    CHECK_EQ(header, 9u << 2);
    CHECK_EQ(reinterpret_cast<std::uintptr_t>(p) % 8, 0u);
}
