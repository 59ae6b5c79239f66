// decode/json: documents, paths, values.
#include "check.h"
#include "decoding.h"

#include "base/no_backend.h"

using namespace ke;
using namespace ke::decode;
using namespace ke::test;

namespace {

const type_desc t_int = type_of(cell_type::int4);
const type_desc t_big = type_of(cell_type::int8);
const type_desc t_text = type_of(cell_type::text);
const type_desc t_json = type_of(cell_type::json);
const type_desc t_jsonb = type_of(cell_type::jsonb);
const type_desc t_numeric = type_of(cell_type::numeric);

bool refused(const std::string& shown, std::string_view sqlstate)
{
    return shown.starts_with("!" + std::string(sqlstate));
}

} // namespace

TEST(json_one_object_is_a_row)
{
    decoding d(table({from_payload("id", t_int), from_payload("name", t_text)}));
    CHECK_EQ(d.decode(R"({"id": 1, "name": "x"})"), "1,x");
    CHECK_EQ(d.decode(R"({"name": "y", "other": [1, {"id": 5}], "id": 2})"), "2,y");
    CHECK_EQ(d.decode("{}"), "null,null");
    CHECK_EQ(d.decode(R"({"id": null})"), "null,null");
    CHECK_EQ(d.decode("\xEF\xBB\xBF \n{\"id\":3}\r\n\t "), "3,null");
}

TEST(json_many_objects_are_many_rows)
{
    decoding d(table({from_payload("id", t_int)}));
    CHECK_EQ(d.decode(R"({"id":1}{"id":2} {"id":3})"), "1|2|3");
    CHECK_EQ(d.decode("{\"id\":1}\n{\"id\":2}\n"), "1|2");
    CHECK_EQ(d.decode(R"([{"id":1}, {"id":2}])"), "1|2");
    CHECK_EQ(d.decode("[]"), "-");
    CHECK_EQ(d.decode(" [ ] "), "-");
    std::string many, expected;
    for (int i = 0; i < 3000; i++) {
        many += "{\"id\": " + std::to_string(i) + ", \"filler\": \"0123456789\"}";
        expected += (i ? "|" : "") + std::to_string(i);
    }
    CHECK_EQ(d.decode(many), expected);
    CHECK(refused(d.decode(many + "{"), "22P02"));
    CHECK_EQ(d.decode(R"({"id":9})"), "9");
}

TEST(json_rows_of_a_message_fall_together)
{
    decoding d(table({from_payload("id", t_int)}));
    CHECK_EQ(d.decode(R"({"id":1}{"id":"x"}{"id":3})"),
             "!22P02 id: invalid input syntax for type integer: \"x\"");
    CHECK(refused(d.decode(R"([{"id":1}, 2])"), "22P02"));
    CHECK_EQ(d.rows.row_count(), 0u);
    CHECK_EQ(d.decode(R"({"id":4})"), "4");
    CHECK_EQ(d.rows.row_count(), 1u);
}

TEST(json_documents_that_are_not)
{
    decoding d(table({from_payload("id", t_int)}));
    const std::string_view bad[] = {
        "",
        " ",
        "\n\t",
        "\xEF\xBB\xBF",
        "1",
        "\"x\"",
        "null",
        "true",
        "{",
        "}",
        "[",
        "]",
        "[1]",
        "[null]",
        "[[]]",
        "[{}",
        "{}]",
        "[{}]]",
        "[{}}",
        "{]",
        "{\"a\":[1}",
        "{\"a\":[}",
        "{\"a\":{]}",
        "{\"a\":[{]}}",
        "{\"a\":1,}",
        "{,\"a\":1}",
        "{\"a\"}",
        "{\"a\":}",
        "{\"a\" 1}",
        "{\"a\":1 \"b\":2}",
        "{\"a\":\"b\":1}",
        "{a:1}",
        "{1:1}",
        "{\"a\":tru}",
        "{\"a\":01}",
        "{\"a\":1.}",
        "{\"a\":.5}",
        "{\"a\":+1}",
        "{\"a\":1e}",
        "{\"a\":NaN}",
        "{\"a\":'x'}",
        "{\"a\":\"x}",
        "{\"a\":\"\\q\"}",
        "{\"a\":\"\\u12\"}",
        "{\"a\":\"\\u12g4\"}",
        "{\"a\":\"tab\there\"}",
        "{\"\\q\":1}",
        "{\"id\":1},{\"id\":2}",
        "{\"id\":1}[]",
        "[{}][{}]",
        "{\"id\":1}2",
        "{\"id\":1} x",
        "{\"id\":1}}",
        "{\"id\":1}{",
        "{\"id\":1}{\"id\"",
        "{\"id\":1}{\"id\":2",
        "[{},]",
        "[,{}]",
        "[{} {}]",
        "{\"a\":[1,,2]}",
        "{\"a\":[1 2]}",
        "{\"a\":[1,]}",
        "{\"a\" : : 1}",
        "{\"a\":1}\xEF\xBB\xBF",
        "{\"a\":\"b\"c}",
        "{} {} }",
        "{\"id\":1}{\"id\":]}",
        "{\"id\":1}{\"a\":[}",
        "\"x",
        "{\"a\":\"x\\\"}",
    };
    for (std::string_view text : bad) {
        const std::string shown = d.decode(text);
        if (!refused(shown, "22P02"))
            test::fail(__FILE__, __LINE__, std::string(text) + " gave " + shown);
    }
    const std::string_view not_utf8[] = {"{\"a\":\"\xFF\"}", "{\"a\":\"\xC0\x80\"}",
                                         "{\"a\":\"\xED\xA0\x80\"}", "{\"\xC3\":1}"};
    for (std::string_view text : not_utf8)
        CHECK(refused(d.decode(text), "22021"));
    CHECK_EQ(d.rows.row_count(), 0u);
    CHECK(refused(d.decode(std::string_view("{\"id\":1}\0", 9)), "22P02"));
    CHECK(refused(d.decode(std::string_view("{\"a\":\"\0\"}", 9)), "22P02"));
}

TEST(json_says_what_stands_behind_a_document)
{
    decoding d(table({from_payload("id", t_int)}));
    const auto detail = [&](std::string_view text) {
        const std::string shown = d.decode(text);
        return shown.substr(std::min(shown.find('('), shown.size()));
    };
    const std::string_view behind[] = {
        "{\"id\":1} garbage",      "{\"id\":1} 5",  "{\"id\":1}}",
        "{\"a\":\"}\\\"\"} \"x\"", "{\"id\":1},{}", "{\"id\":1}{} true",
        "{\"id\":1} {\"a\":[]}]",  "{\"id\":1} [1]"};
    for (std::string_view text : behind)
        CHECK_EQ(detail(text), "(There is more behind the object, and it is no other one.)");
    for (std::string_view text : {"[{\"id\":1}] garbage", "[{\"id\":1}] {}", "[]]"})
        CHECK_EQ(detail(text), "(There is more behind the array.)");
    for (std::string_view text : {"{\"id\":1", "{\"id\":1} {\"id\":2", "[{}", "[{\"a\":\"]\"}"})
        CHECK_EQ(detail(text), "(A bracket is not closed.)");
}

TEST(json_depth_is_bounded)
{
    decoding d(table({from_payload("a", t_jsonb)}));
    auto nested = [](int n) { return "{\"a\":" + std::string(n, '[') + std::string(n, ']') + "}"; };
    CHECK(!refused(d.decode(nested(900)), "22P02"));
    CHECK(refused(d.decode(nested(1100)), "22P02"));
    CHECK(refused(d.decode(nested(1000000)), "22P02"));
    CHECK(refused(d.decode(std::string(1000000, '[')), "22P02"));
}

TEST(json_paths_lead_into_the_document)
{
    decoding d(table({from_payload("deep", t_int, "$.a.b[1].c"), from_payload("a", t_text),
                      from_payload("odd", t_text, "$[\"x.y\"]"),
                      from_payload("first", t_int, "$.list[0]")}));
    CHECK_EQ(d.decode(R"({"a": {"b": [0, {"c": 7}]}, "x.y": "z", "list": [4, 5]})"),
             R"(7,{"b": [0, {"c": 7}]},z,4)");
    CHECK_EQ(d.decode(R"({"a": {"b": {"c": 7}}, "list": {"0": 1}})"),
             R"(null,{"b": {"c": 7}},null,null)");
    CHECK_EQ(d.decode(R"({"a": 5, "list": []})"), "null,5,null,null");
    CHECK_EQ(d.decode(R"({"a": {"b": [0, {"c": 7}]}, "a": {}})"), "null,{},null,null");
    CHECK_EQ(d.decode(R"({"a": {"b": [0, {"c": 7}]}, "a": null})"), "null,null,null,null");
}

TEST(json_last_duplicate_wins)
{
    decoding d(table({from_payload("id", t_int), from_payload("v", t_text)}));
    CHECK_EQ(d.decode(R"({"id": 1, "id": 2})"), "2,null");
    CHECK_EQ(d.decode(R"({"id": "bad", "v": "x", "id": 2})"), "2,x");
    CHECK_EQ(d.decode(R"({"id": 1, "id": null})"), "null,null");
    CHECK(refused(d.decode(R"({"id": 1, "id": "bad"})"), "22P02"));
    CHECK(refused(d.decode(R"({"v": "x\u0000", "id": "bad", "id": 1})"), "22P05"));
}

TEST(json_names_in_any_order_and_spelling)
{
    decoding d(table({from_payload("a", t_int), from_payload("b", t_int), from_payload(" c", t_int),
                      from_payload("d\"e", t_int), from_payload("\xC3\xA4", t_int)}));
    CHECK_EQ(d.decode(R"({"a":1,"b":2," c":3,"d\"e":4,"ä":5})"), "1,2,3,4,5");
    CHECK_EQ(d.decode(R"({"b":2,"a":1})"), "1,2,null,null,null");
    CHECK_EQ(d.decode(R"({"\u0061":1,"\u00e4":5,"c":9,"A":9})"), "1,null,null,null,5");
    CHECK_EQ(d.decode(R"({ "a" : 1 , "x" : {} , "b" : 2 })"), "1,2,null,null,null");
    for (int i = 0; i < 2000; i++) // more names than are remembered
        d.decode("{\"n" + std::to_string(i) + "\":1,\"a\":1}");
    CHECK_EQ(d.decode(R"({"zzz":1,"b":2,"yyy":2,"a":1})"), "1,2,null,null,null");
}

TEST(json_integers)
{
    CHECK_EQ(decoded("12", cell_type::int8), "12");
    CHECK_EQ(decoded("-9223372036854775808", cell_type::int8), "-9223372036854775808");
    CHECK_EQ(decoded("9223372036854775807", cell_type::int8), "9223372036854775807");
    CHECK_EQ(decoded("\"9223372036854775807\"", cell_type::int8), "9223372036854775807");
    CHECK_EQ(decoded("9223372036854775808", cell_type::int8),
             "!22003 a: value \"9223372036854775808\" is out of range for type bigint");
    CHECK(refused(decoded("1e400", cell_type::int8), "22003"));
    CHECK(refused(decoded("1e99999999999999999999", cell_type::int8), "22003"));
    CHECK_EQ(decoded("0e99999999999999999999", cell_type::int8), "0");
    CHECK_EQ(decoded("1.0", cell_type::int4), "1");
    CHECK_EQ(decoded("1e3", cell_type::int4), "1000");
    CHECK_EQ(decoded("-1.20E1", cell_type::int4), "-12");
    CHECK_EQ(decoded("1200e-2", cell_type::int4), "12");
    CHECK_EQ(decoded("9223372036854775807.000", cell_type::int8), "9223372036854775807");
    CHECK_EQ(decoded("9.223372036854775807e18", cell_type::int8), "9223372036854775807");
    CHECK_EQ(decoded("-9.223372036854775808e18", cell_type::int8), "-9223372036854775808");
    CHECK(refused(decoded("9.223372036854775808e18", cell_type::int8), "22003"));
    CHECK_EQ(decoded("1.5", cell_type::int4),
             "!22P02 a: invalid input syntax for type integer: \"1.5\"");
    CHECK(refused(decoded("1e-1", cell_type::int4), "22P02"));
    CHECK(refused(decoded("\"1.0\"", cell_type::int4), "") ||
          decoded("\"1.0\"", cell_type::int4) == "<1.0>");
    CHECK(refused(decoded("2147483648", cell_type::int4), "22003"));
    CHECK(refused(decoded("32768", cell_type::int2), "22003"));
    CHECK_EQ(decoded("-32768", cell_type::int2), "-32768");
    CHECK(refused(decoded("true", cell_type::int4), "22P02"));
    CHECK(refused(decoded("{}", cell_type::int4), "22P02"));
    CHECK(refused(decoded("\"\"", cell_type::int4), "22P02"));
    CHECK_EQ(decoded("-0", cell_type::int4), "0");
}

TEST(json_numerics_are_exact)
{
    CHECK_EQ(decoded("1234567890123456789012345678901234567890", cell_type::numeric),
             "1234567890123456789012345678901234567890");
    CHECK_EQ(decoded("-0.0000000000000000000000000000000000000001", cell_type::numeric),
             "-0.0000000000000000000000000000000000000001");
    CHECK_EQ(decoded("1.10", cell_type::numeric), "1.10");
    CHECK_EQ(decoded("\"1.10\"", cell_type::numeric), "1.10");
    CHECK_EQ(decoded("0", cell_type::numeric), "0");
    CHECK_EQ(decoded("-0.00", cell_type::numeric), "0.00");
    CHECK_EQ(decoded("10000", cell_type::numeric), "10000");
    CHECK_EQ(decoded("100000000", cell_type::numeric), "100000000");
    CHECK_EQ(decoded("0.00012", cell_type::numeric), "0.00012");
    CHECK_EQ(decoded("1e5", cell_type::numeric), "<1e5>");
    const int numeric_6_2 = ((6 << 16) | 2) + 4;
    CHECK_EQ(decoded("1234.5", cell_type::numeric, numeric_6_2), "1234.50");
    CHECK_EQ(decoded("12345", cell_type::numeric, numeric_6_2), "<12345>");
    CHECK_EQ(decoded("1.234", cell_type::numeric, numeric_6_2), "<1.234>");
}

TEST(json_texts)
{
    CHECK_EQ(decoded(R"("x\n\"\\\/\u00e4\ud83d\ude00")", cell_type::text),
             "x\n\"\\/\xC3\xA4\xF0\x9F\x98\x80");
    CHECK_EQ(
        decoded(R"("a\u0000b")", cell_type::text),
        "!22P05 a: unsupported Unicode escape sequence (\\u0000 cannot be converted to text.)");
    CHECK(refused(decoded(R"("\ud800")", cell_type::text), "22P02"));
    CHECK(refused(decoded(R"("\udc00x")", cell_type::text), "22P02"));
    CHECK(refused(decoded(R"("\ud800\u0041")", cell_type::text), "22P02"));
    CHECK_EQ(decoded("\"\"", cell_type::text), "");
    CHECK_EQ(decoded("1.50", cell_type::text), "1.50");
    CHECK_EQ(decoded("true", cell_type::text), "true");
    CHECK_EQ(decoded("{ \"b\" : [1, 2] }", cell_type::text), "{ \"b\" : [1, 2] }");
    CHECK_EQ(decoded("\"abc\"", cell_type::varchar, 7), "abc");
    CHECK_EQ(decoded("\"abcd\"", cell_type::varchar, 7), "<abcd>");
    CHECK_EQ(decoded("\"\xC3\xA4\xC3\xA4\xC3\xA4\"", cell_type::varchar, 7),
             "\xC3\xA4\xC3\xA4\xC3\xA4");
    CHECK_EQ(decoded("\"abc\"", cell_type::bpchar, 7), "abc");
    CHECK_EQ(decoded("\"ab\"", cell_type::bpchar, 7), "<ab>");
    CHECK_EQ(decoded(R"("x\u0000")", cell_type::json), R"("x\u0000")");
}

TEST(json_booleans_floats_uuids)
{
    CHECK_EQ(decoded("true", cell_type::boolean), "t");
    CHECK_EQ(decoded("\"off\"", cell_type::boolean), "f");
    CHECK_EQ(decoded("1", cell_type::boolean), "t");
    CHECK(refused(decoded("2", cell_type::boolean), "22P02"));
    CHECK_EQ(decoded("0.1", cell_type::float8), "0.10000000000000001");
    CHECK_EQ(decoded("1e400", cell_type::float8), "<1e400>");
    CHECK_EQ(decoded("\"NaN\"", cell_type::float8), "<NaN>");
    CHECK_EQ(decoded("2.5", cell_type::float4), "2.5");
    CHECK_EQ(decoded("\"00112233-4455-6677-8899-AABBccddeeff\"", cell_type::uuid),
             "00112233445566778899aabbccddeeff");
    CHECK_EQ(decoded("\"{00112233445566778899aabbccddeeff}\"", cell_type::uuid),
             "<{00112233445566778899aabbccddeeff}>");
    CHECK(refused(decoded("\"nope\"", cell_type::uuid), "22P02"));
}

TEST(json_times)
{
    CHECK_EQ(decoded("\"2026-11-21T10:00:00.123456Z\"", cell_type::timestamptz),
             "2026-11-21 10:00:00.123456+00");
    CHECK_EQ(decoded("\"2026-11-21 10:00:00+05:30\"", cell_type::timestamptz),
             "2026-11-21 04:30:00.000000+00");
    CHECK_EQ(decoded("\"2026-11-21 10:00:00\"", cell_type::timestamptz), "<2026-11-21 10:00:00>");
    CHECK_EQ(decoded("\"2026-11-21 10:00:00\"", cell_type::timestamp),
             "2026-11-21 10:00:00.000000");
    CHECK_EQ(decoded("\"2023-02-29\"", cell_type::date), "<2023-02-29>");
    CHECK_EQ(decoded("\"2000-01-02\"", cell_type::date), "1");
    CHECK_EQ(decoded("\"00:00:01.5\"", cell_type::time), "1500000");
    CHECK_EQ(decoded("1700000000123", cell_type::timestamptz), "2023-11-14 22:13:20.123000+00");
    CHECK_EQ(decoded("-1", cell_type::timestamp), "1969-12-31 23:59:59.999000");
    CHECK_EQ(decoded("1.7e12", cell_type::timestamptz), "2023-11-14 22:13:20.000000+00");
    CHECK(refused(decoded("1e30", cell_type::timestamptz), "22008"));
    CHECK_EQ(decoded("1700000000123", cell_type::timestamptz, 0),
             "<2023-11-14 22:13:20.123000+00>");
    CHECK_EQ(decoded("1700000000000", cell_type::timestamptz, 0), "2023-11-14 22:13:20.000000+00");

    struct unit {
        const char* name;
        const char* value;
    };
    for (const unit u : {unit{"s", "1700000000.123456"},
                         {"ms", "1700000000123.456"},
                         {"us", "1700000000123456"},
                         {"ns", "1700000000123456789"}}) {
        table t({from_payload("a", type_of(cell_type::timestamptz))});
        decoding d(t.option("timestamp_unit", u.name));
        CHECK_EQ(d.decode("{\"a\": " + std::string(u.value) + "}"),
                 "2023-11-14 22:13:20.123456+00");
    }
}

TEST(json_bytea)
{
    CHECK_EQ(decoded("\"AQID\"", cell_type::bytea), "x010203");
    CHECK_EQ(decoded("\"AQ==\"", cell_type::bytea), "x01");
    CHECK_EQ(decoded("\"AQ\"", cell_type::bytea), "!22023 a: invalid base64 data");
    CHECK(refused(decoded("1234", cell_type::bytea), "22P02"));
    CHECK(refused(decoded("[]", cell_type::bytea), "22P02"));
    table t({from_payload("a", type_of(cell_type::bytea))});
    decoding d(t.option("bytea_format", "hex"));
    CHECK_EQ(d.decode(R"({"a": "0aFF"})"), "x0aff");
    CHECK_EQ(d.decode(R"({"a": "\\x0aFF"})"), "x0aff");
    CHECK(refused(d.decode(R"({"a": "0aF"})"), "22023"));
}

TEST(json_arrays_and_composites)
{
    CHECK_EQ(decoded("[1, 2.0, null, \"4\"]", array_of(t_int)), R"(<{"1","2",NULL,"4"}>)");
    CHECK_EQ(decoded("[]", array_of(t_int)), "<{}>");
    CHECK_EQ(decoded("[[1,2],[3,4]]", array_of(t_int)), R"(<{{"1","2"},{"3","4"}}>)");
    CHECK_EQ(decoded(R"(["a\"b\\", "", "NULL", {"x": 1}])", array_of(t_text)),
             R"(<{"a\"b\\","","NULL","{\"x\": 1}"}>)");
    CHECK_EQ(decoded(R"([[1], {"a": 2}])", array_of(t_jsonb)), R"(<{"[1]","{\"a\": 2}"}>)");
    CHECK_EQ(decoded("[\"AQ==\"]", array_of(type_of(cell_type::bytea))), R"(<{"\\x01"}>)");
    CHECK_EQ(decoded("[0]", array_of(type_of(cell_type::timestamptz))),
             R"(<{"1970-01-01 00:00:00.000000+00"}>)");
    CHECK_EQ(decoded("\"{1,2}\"", array_of(t_int)), "<{1,2}>");
    CHECK_EQ(decoded("7", array_of(t_int)), "<7>");
    CHECK_EQ(decoded("null", array_of(t_int)), "null");
    CHECK(refused(decoded("[\"\\u0000\"]", array_of(t_text)), "22P05"));
    CHECK(refused(decoded("[[[[[[[1]]]]]]]", array_of(t_int)), "54000"));

    type_desc pair = type_of(cell_type::other);
    pair.fields = {{"x", t_int}, {"y z", t_text}, {"m", t_numeric}};
    CHECK_EQ(decoded(R"({"y z": "a,(b", "x": 1.0, "x": 2.0})", pair), R"(<("2","a,(b",)>)");
    CHECK_EQ(decoded("{}", pair), "<(,,)>");
    CHECK_EQ(decoded("\"(1,b,2)\"", pair), "<(1,b,2)>");
    CHECK_EQ(decoded(R"([{"x": 1}, null])", array_of(pair)), R"x(<{"(\"1\",,)",NULL}>)x");
}

TEST(json_subtrees)
{
    CHECK_EQ(decoded(R"( {"b" : [1 , "]"] } )", t_json), R"({"b" : [1 , "]"] })");
    CHECK_EQ(decoded(R"({"b":1})", t_jsonb), R"(<{"b":1}>)");
    CHECK_EQ(decoded("\"x\"", t_jsonb), "<\"x\">");
    CHECK_EQ(decoded("12", t_json), "12");
    CHECK_EQ(decoded("null", t_jsonb), "null");
    CHECK_EQ(decoded("[1, 2]", type_of(cell_type::other)), "<[1, 2]>");
}

TEST(json_whole_document)
{
    decoding d(table({from_payload("doc", t_jsonb, "$")}));
    CHECK_EQ(d.decode(R"( {"a": 1} )"), R"(<{"a": 1}>)");
    CHECK_EQ(d.decode(R"({"a":1} {"b":2})"), R"(<{"a":1}>|<{"b":2}>)");
    CHECK_EQ(d.decode("42"), "<42>");
    CHECK_EQ(d.decode("\"x\\\"\""), R"(<"x\"">)");
    CHECK_EQ(d.decode("null"), "null");
    CHECK_EQ(d.decode(R"([1, {"a": 2}])"), R"(<1>|<{"a": 2}>)");
    CHECK(refused(d.decode("\"x\" 1"), "22P02"));
    CHECK(refused(d.decode("1 2"), "22P02"));
    CHECK(refused(d.decode("\"a\"b\""), "22P02"));
    CHECK(refused(d.decode("nul"), "22P02"));
    CHECK(refused(d.decode(""), "22P02"));

    decoding two(table({from_payload("doc", t_jsonb, "$"), from_payload("a", t_int)}));
    CHECK_EQ(two.decode(R"({"a": 1})"), R"(<{"a": 1}>,1)");
    CHECK(refused(two.decode("42"), "22P02"));
}

TEST(json_large_documents)
{
    decoding d(table({from_payload("id", t_int), from_payload("t", t_text)}));
    const std::string big(3 * 1024 * 1024, 'x');
    CHECK_EQ(d.decode("{\"id\": 1, \"t\": \"" + big + "\"}"), "1," + big);
    CHECK_EQ(d.decode("{\"id\": 1, \"unused\": \"" + big + "\"}{\"id\": 2}"), "1,null|2,null");
    CHECK_EQ(d.decode(R"({"id": 2})"), "2,null");
}

TEST(json_in_another_encoding_travels_as_text)
{
    table t({from_payload("a", t_text), from_payload("b", t_json), from_payload("c", t_int)});
    t.plan.server_encoding_utf8 = false;
    decoding d(t);
    CHECK_EQ(d.decode(R"({"a": "x", "b": {}, "c": 1})"), "<x>,<{}>,1");
}

// Whatever payloads lie side by side, each is decoded as if it came alone.
TEST(json_payloads_expected_together)
{
    const std::vector<std::string> kinds = {
        R"({"id":1,"name":"a","n":1.50,"o":{"x":[1,2]}})",
        " {\"name\" : \"b\\u00e9\\n\", \"id\" :2 }\n",
        "\xEF\xBB\xBF{\"id\":3}",
        R"({"id":4},{"id":5})",
        R"({"id":6}{"id":7})",
        R"([{"id":8},{"id":9}])",
        R"({"id":10)",
        R"({"id":"x"})",
        R"({"id":11,"name":"not closed})",
        R"(","id":12})",
        R"({"id":13}])",
        R"({"id":14}, )",
        R"({"id":15,"o":{"id":[}})",
        "{\"id\":16,\"name\":\"a\nb\"}",
        "{\"id\":17,\"name\":\"\xff\"}",
        R"({"name":"\"","id":18})",
        R"({"name":"\\","id":19})",
        R"({"name\"":"x","i\u0064":20})",
        "{}",
        "",
        "  ",
        "null",
        "[]",
        "{\"id\":21,\"name\":\"" + std::string(20000, 'x') + "\"}",
        R"({"id":22,"extra":null,"name":null})",
    };
    const table t({from_payload("id", t_int), from_payload("name", t_text),
                   from_payload("n", t_numeric), from_payload("o", t_jsonb),
                   from_payload("x", t_int, "$.o.x[1]"), from_payload("all", t_json, "$")});
    decoding together(t), alone(t);
    std::uint32_t random = 12345;
    const auto next = [&random](std::uint32_t below) {
        random = random * 1664525 + 1013904223;
        return (random >> 8) % below;
    };
    for (int round = 0; round < 400; round++) {
        std::vector<std::string> payloads;
        const std::uint32_t bad = next(3) * 12; // of 36: none, some, most
        for (std::uint32_t n = 1 + next(40); n > 0; n--)
            payloads.push_back(next(36) < bad
                                   ? kinds[next(static_cast<std::uint32_t>(kinds.size()))]
                                   : kinds[next(2)]);
        std::vector<bytes> values;
        for (const std::string& p : payloads)
            values.push_back(bytes(p.data(), p.size()));
        together.decoder->expect(values);
        for (const bytes& value : values) {
            if (next(10) == 0)
                continue; // left out
            record r = record_of({});
            r.value = value;
            const std::string one = together.decode(r);
            if (one != alone.decode(value.view()))
                CHECK_EQ(one, alone.decode(value.view()));
        }
        together.rows.reset();
        alone.rows.reset();
    }
}
