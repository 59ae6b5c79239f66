// influx: the grammar of lines, names to columns, what is malformed.
#include "check.h"
#include "decoding.h"

using namespace ke;
using namespace ke::decode;
using namespace ke::test;

namespace {

const type_desc t_text = type_of(cell_type::text), t_double = type_of(cell_type::float8),
                t_big = type_of(cell_type::int8), t_bool = type_of(cell_type::boolean),
                t_tz = type_of(cell_type::timestamptz), t_jsonb = type_of(cell_type::jsonb),
                t_numeric = type_of(cell_type::numeric);

table weather()
{
    return table({from_payload("measurement", t_text), from_payload("location", t_text),
                  from_payload("temperature", t_numeric), from_payload("time", t_tz)},
                 "influx");
}

std::string influx(std::string_view payload)
{
    return decoding(weather()).decode(payload);
}

// One field's value in a column of the type.
std::string field(std::string_view value, type_desc type)
{
    return decoding(table({from_payload("v", std::move(type))}, "influx"))
        .decode("m v=" + std::string(value));
}

std::string bad(std::string_view detail)
{
    return "!22P02 invalid input for format influx (" + std::string(detail) + ")";
}

} // namespace

TEST(influx_lines)
{
    CHECK_EQ(influx("weather,location=us temperature=82 1465839830100400200\n"
                    "# a comment\n\n"
                    "weather,location=eu,x=y temperature=-1.5e1,h=3i"),
             "weather,us,82,2016-06-13 17:43:50.100400+00|weather,eu,<-1.5e1>,null");
    CHECK_EQ(influx("we\\,a\\ ther,location=us\\,\\ mid\\=west temperature=1 -1\r\n"),
             "we,a ther,us, mid=west,1,1969-12-31 23:59:59.999999+00");
    CHECK_EQ(influx("C:\\dir,location=\\a\\\\b temperature=1"), "C:\\dir,\\a\\\\b,1,null");
    CHECK_EQ(influx("# nothing\n"), "-");
    for (std::string_view nothing : {"", " \n", "\n\n", "\t\r\n "})
        CHECK_EQ(influx(nothing), bad("The payload is empty."));
    CHECK_EQ(influx("\n # nothing"), "-");
}

TEST(influx_values)
{
    CHECK_EQ(field("12i", t_big), "12");
    CHECK_EQ(field("9223372036854775808i", t_big),
             bad("A field's value is neither a number, a boolean nor quoted text."));
    CHECK_EQ(field("18446744073709551615u", t_numeric), "18446744073709551615");
    CHECK_EQ(field("18446744073709551615u", t_big),
             "!22003 v: value \"18446744073709551615\" is out of range for type bigint");
    CHECK_EQ(field("1.", t_double), "1");
    CHECK_EQ(field("-.5", t_double), "-0.5");
    CHECK_EQ(field("007.25e1", t_double), "72.5");
    CHECK_EQ(field("1.5", t_big), "!22P02 v: invalid input syntax for type bigint: \"1.5\"");
    CHECK_EQ(field("True", t_bool), "t");
    CHECK_EQ(field("F", t_bool), "f");
    CHECK_EQ(field("\"a \\\"b\\\" \\\\ \\n,=\nc\"", t_text), "a \"b\" \\ \\n,=\nc");
    for (std::string_view wrong : {"yes", "1x", "NaN", "0x10", ".", "--1", "1e", ""})
        CHECK_EQ(field(wrong, t_text),
                 bad("A field's value is neither a number, a boolean nor quoted text."));
    CHECK_EQ(field("\"open", t_text), bad("A quoted text is not closed."));
    CHECK_EQ(field("\"\xff\"", t_text), "!22021 v: invalid byte sequence for encoding \"UTF8\"");
}

TEST(influx_malformed_lines)
{
    CHECK_EQ(influx("weather"), bad("A line has no fields."));
    CHECK_EQ(influx(",a=b c=1"), bad("A line has no measurement."));
    CHECK_EQ(influx("m,a= c=1"), bad("A tag has no value, or an equals sign that is not escaped."));
    CHECK_EQ(influx("m,a c=1"), bad("A tag has no key or no value."));
    CHECK_EQ(influx("m c"), bad("A field has no key or no value."));
    CHECK_EQ(influx("m c=1 12x"), bad("There is more behind a line's time."));
    CHECK_EQ(influx("m c=1 x"), bad("A time is not an integer, or out of range."));
    for (std::string_view close : {"m c=\"a\"5", "m c=\"a\"\t5", "m c=\"a\"b"})
        CHECK_EQ(influx(close), bad("There is more behind a field's value."));
    CHECK_EQ(influx("m c=1\nm"), bad("A line has no fields."));
}

TEST(influx_names_and_paths)
{
    decoding d(
        table({from_payload("host", t_text), from_payload("t", t_text, "tag.host"),
               from_payload("f", t_text, "field.host"), from_payload("tags", t_jsonb, "$.tags"),
               from_payload("doc", t_jsonb, "$"), from_payload("at", t_big, "$.time")},
              "influx")
            .option("timestamp_unit", "s"));
    CHECK_EQ(d.decode("cpu,host=a,dc=b host=\"c\",n=2i 7"),
             "c,a,c,<{\"host\": \"a\", \"dc\": \"b\"}>,<{\"measurement\": \"cpu\", \"tags\": "
             "{\"host\": \"a\", \"dc\": \"b\"}, \"fields\": {\"host\": \"c\", \"n\": 2}, \"time\": "
             "7}>,7");
}

TEST(influx_takes_the_records_time)
{
    decoding d(weather());
    record r = record_of("m temperature=1");
    r.timestamp_ms = 1500000000123;
    CHECK_EQ(d.decode(r), "m,null,1,2017-07-14 02:40:00.123000+00");
}
