// decode/scalars and decode/utf8: what is certain, and what is left to the server. test/oracle
// holds the values against the server's own.
#include "check.h"
#include "decoding.h"

#include "decode/big_number.h"
#include "decode/scalars.h"
#include "decode/utf8.h"
#include "base/no_backend.h"

using namespace ke;
using namespace ke::decode;
using namespace ke::test;

namespace {

std::string cell_of(std::string_view text, cell_type type, int typmod = -1)
{
    arena memory;
    conversion c;
    c.memory = &memory;
    cell out = 0;
    const type_desc t = type_of(type, typmod);
    const outcome o = text_to_cell(text, t, c, out);
    if (o == outcome::refused)
        return "!" + std::string(c.why.sqlstate) + " " + std::string(c.why.reason);
    return show_cell(out, static_cast<cell_state>(o), t);
}

} // namespace

TEST(scalars_take_what_is_certain)
{
    CHECK_EQ(cell_of("007", cell_type::int4), "7");
    CHECK_EQ(cell_of("+7", cell_type::int4), "<+7>");
    CHECK_EQ(cell_of(" 7", cell_type::int4), "< 7>");
    CHECK_EQ(cell_of("0x10", cell_type::int4), "<0x10>");
    CHECK_EQ(cell_of("1_000", cell_type::int8), "<1_000>");
    CHECK_EQ(cell_of("-", cell_type::int8), "!22P02 invalid input syntax for type bigint: \"-\"");
    CHECK_EQ(cell_of("99999", cell_type::int2),
             "!22003 value \"99999\" is out of range for type smallint");
    CHECK_EQ(cell_of("infinity", cell_type::float8), "<infinity>");
    CHECK_EQ(cell_of(".5", cell_type::float8), "0.5");
    CHECK_EQ(cell_of("-inf", cell_type::float8), "<-inf>");
    CHECK_EQ(cell_of("NaN", cell_type::numeric), "<NaN>");
    CHECK_EQ(cell_of("x", cell_type::numeric),
             "!22P02 invalid input syntax for type numeric: \"x\"");
    CHECK_EQ(cell_of(std::string(300, '9'), cell_type::numeric), "<" + std::string(300, '9') + ">");
    CHECK_EQ(cell_of("tomorrow", cell_type::timestamptz), "<tomorrow>");
    CHECK_EQ(cell_of("2026-11-21T23:59:59.9999999Z", cell_type::timestamptz),
             "2026-11-22 00:00:00.000000+00");
    CHECK_EQ(cell_of("2026-11-21 10:00:00.123", cell_type::timestamp, 2),
             "<2026-11-21 10:00:00.123>");
    CHECK_EQ(cell_of("2026-11-21 10:00:00.12", cell_type::timestamp, 2),
             "2026-11-21 10:00:00.120000");
    CHECK_EQ(cell_of("  yES ", cell_type::boolean), "t");
    CHECK_EQ(cell_of("o", cell_type::boolean),
             "!22P02 invalid input syntax for type boolean: \"o\"");
}

TEST(scalars_say_only_so_much_of_a_long_value)
{
    std::string text;
    for (int i = 0; i < 100; i++)
        text += "\xE2\x82\xAC";
    const std::string shown = cell_of(text, cell_type::int4);
    CHECK_EQ(shown,
             "!22P02 invalid input syntax for type integer: \"" + text.substr(0, 99) + "...\"");
}

TEST(timestamps_there_and_back)
{
    for (std::int64_t us : {0ll, -1ll, 1ll, 86399999999ll, -211813488000000000ll,
                            9223371331199999999ll, -63082281600000000ll, 253370764800000000ll}) {
        std::string text;
        append_timestamp(text, us, false);
        std::int64_t back = 0;
        if (parse_timestamp(text, false, back))
            CHECK_EQ(back, us);
        else
            CHECK(text.ends_with("BC") || text.find('-') != 4);
    }
    std::string bc;
    append_timestamp(bc, -211813488000000000, true);
    CHECK_EQ(bc, "4714-11-24 00:00:00.000000+00 BC");
}

TEST(base64_and_hex)
{
    for (std::string_view bytes : {"", "a", "ab", "abc", "abcd", "\xFF\xFE\xFD"}) {
        std::string text, back;
        append_base64(text, bytes);
        CHECK(decode_base64(text, back));
        CHECK_EQ(back, bytes);
        text.clear();
        back.clear();
        append_hex(text, bytes);
        CHECK(decode_hex(text, back));
        CHECK_EQ(back, bytes);
    }
    std::string out;
    CHECK(decode_base64(" YW\nI = ", out));
    for (std::string_view bad :
         {"Y", "YW", "YWI", "=", "Y===", "YW=I", "YW==YW==", "Y*==", "YWI=="}) {
        out.clear();
        CHECK(!decode_base64(bad, out));
    }
}

TEST(decimals_that_are_the_same_number)
{
    for (auto [a, b] :
         {std::pair{"1.50", "15e-1"}, {"-0", "0.00"}, {"100", "1E+2"}, {"0.1", "0.1"}})
        CHECK(same_decimal(a, b));
    for (auto [a, b] :
         {std::pair{"1", "-1"}, {"12", "21"}, {"1", "10"}, {"0", "1"}, {"NaN", "NaN"}, {"", "0"}})
        CHECK(!same_decimal(a, b));
}
