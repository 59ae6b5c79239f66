// csv and tsv: lines, quotes, escapes and what is wrong with them. COPY itself is asked in
// test/flow/test_copy.py.
#include "check.h"
#include "decoding.h"

using namespace ke;
using namespace ke::decode;
using namespace ke::test;

namespace {

table three(std::string format)
{
    return table({from_payload("a", type_of(cell_type::text)),
                  from_payload("b", type_of(cell_type::int4)),
                  from_payload("c", type_of(cell_type::text))},
                 std::move(format));
}

std::string csv(std::string_view payload)
{
    return decoding(three("csv")).decode(payload);
}

std::string tsv(std::string_view payload)
{
    return decoding(three("tsv")).decode(payload);
}

std::string refusal(table t)
{
    auto made = record_decoder::make(std::make_shared<const row_plan>(t.plan));
    return made ? "" : made.error().message;
}

} // namespace

TEST(csv_lines_are_rows)
{
    CHECK_EQ(csv("x,1,y\nz,2,\n"), "x,1,y|z,2,null");
    CHECK_EQ(csv("x,1,y\r\nz,2,w"), "x,1,y|z,2,w");
    CHECK_EQ(csv("x,1,y\rz,2,w\r"), "x,1,y|z,2,w");
    CHECK_EQ(csv("\"a,\"\"b\nc\",-7,\"\""), "a,\"b\nc,-7,");
    CHECK_EQ(csv("x,1,y\n\\.\nignored"), "x,1,y");
    CHECK_EQ(csv("\\.,1,x"), "\\.,1,x");
    CHECK_EQ(csv(""), "!22P04 the payload is empty");
}

TEST(csv_refuses_what_copy_refuses)
{
    CHECK_EQ(csv("x,1\n"), "!22P04 missing data for column \"c\"");
    CHECK_EQ(csv("x,1,y,z"), "!22P04 extra data after last expected column");
    CHECK_EQ(csv("x,1,\"y"), "!22P04 unterminated CSV quoted field");
    CHECK_EQ(csv("x,1,y\nz,2,w\r"), "!22P04 unquoted carriage return found in data "
                                    "(Use quoted CSV field to represent carriage return.)");
    CHECK_EQ(csv("x,1,y\n\nz,2,w"), "!22P04 missing data for column \"b\"");
    CHECK_EQ(csv("x,one,y"), "!22P02 b: invalid input syntax for type integer: \"one\"");
    CHECK_EQ(csv("x,1,\xff"), "!22021 invalid byte sequence for encoding \"UTF8\"");
    CHECK_EQ(csv(std::string_view("x,1,\0", 5)),
             "!22021 invalid byte sequence for encoding \"UTF8\": 0x00");
}

TEST(tsv_undoes_escapes)
{
    CHECK_EQ(tsv("x\t1\ty\\tz\\\\\n\\N\t\\N\t\\x41\\102\\q"), "x,1,y\tz\\|null,null,ABq");
    CHECK_EQ(tsv("x\t1\ta\\\nb"), "x,1,a\nb");
    CHECK_EQ(tsv("x\t1\t\\303\\244"), "x,1,\xc3\xa4");
    CHECK_EQ(tsv("x\t1\t\\377"), "!22021 invalid byte sequence for encoding \"UTF8\"");
    CHECK_EQ(tsv("x\t1\ty\n\\.\nz"), "x,1,y");
    CHECK_EQ(tsv("x\t1\t\\."), "!22P04 end-of-copy marker corrupt");
}

TEST(csv_options_are_copys)
{
    decoding d(three("csv")
                   .option("delimiter", ";")
                   .option("quote", "'")
                   .option("escape", "\\")
                   .option("null", "-")
                   .option("header", "match"));
    CHECK_EQ(d.decode("a;b;c\n'it\\'s';-;-"), "it's,null,null");
    CHECK_EQ(d.decode("a;x;c\nq;1;z"), "!22P04 column name mismatch in header line field 2: got "
                                       "\"x\", expected \"b\"");
    CHECK_EQ(d.decode("a;b\n"), "!22P04 wrong number of fields in header line: got 2, expected 3");
    CHECK_EQ(decoding(three("csv").option("header", "true")).decode("\"any\nthing\"\nx,1,y"),
             "x,1,y");
    CHECK_EQ(refusal(three("csv").option("delimiter", "\"")),
             "delimiter and quote must be different");
    CHECK_EQ(refusal(three("csv").option("delimiter", ", ")),
             "delimiter must be a single one-byte character");
    CHECK_EQ(refusal(three("csv").option("null", "a,b")),
             "delimiter must not appear in the null specification");
    CHECK_EQ(refusal(three("tsv").option("delimiter", "x")), "delimiter cannot be \"x\"");
    CHECK_EQ(refusal(three("tsv").option("quote", "'")), "format \"tsv\" has no option \"quote\"");
    CHECK_EQ(refusal(three("csv").option("header", "yes")),
             "invalid value for option \"header\": \"yes\"");
}

// Fields go by their place in the table, whichever of its columns are used.
TEST(csv_counts_unused_columns)
{
    table t({from_payload("c", type_of(cell_type::text))}, "csv");
    t.plan.payload_names = {"a", "b", "c"};
    t.plan.columns[0].ordinal = 2;
    decoding d(t);
    CHECK_EQ(d.decode("x,not a number,y"), "y");
    CHECK_EQ(d.decode("x,y"), "!22P04 missing data for column \"c\"");
}

TEST(csv_in_the_key_has_options_of_its_own)
{
    table t({from_payload("v", type_of(cell_type::text)), from_key("k", type_of(cell_type::int4))},
            "csv");
    t.key_format("csv").option("delimiter", ";").option("key_delimiter", "|");
    t.option("header", "true").option("key_header", "false");
    record r = record_of("v\nx|y\n");
    r.key = bytes(std::string_view("7"));
    CHECK_EQ(decoding(t).decode(r), "x|y,7");
}
