// decode/decoder: metadata, keys, tombstones, rejects, _error tables; raw and text; formats.
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
const type_desc t_jsonb = type_of(cell_type::jsonb);
const type_desc t_bytea = type_of(cell_type::bytea);
const type_desc t_bool = type_of(cell_type::boolean);

} // namespace

TEST(roles_carry_metadata)
{
    decoding d(table({
        from_role("_topic", t_text, role::topic),
        from_role("_partition", t_int, role::partition),
        from_role("_offset", t_big, role::offset),
        from_role("_timestamp", type_of(cell_type::timestamptz), role::timestamp),
        from_role("_timestamp_type", t_text, role::timestamp_type),
        from_role("_leader_epoch", t_int, role::leader_epoch),
        from_role("_key", t_text, role::key),
        from_role("_raw", t_bytea, role::raw),
        from_role("_tombstone", t_bool, role::tombstone),
    }));
    record r = record_of("\xFF{");
    CHECK_EQ(d.decode(r), "clicks,3,42,null,null,null,null,xff7b,f");
    r.timestamp_ms = 1700000000123;
    r.time_type = timestamp_type::append;
    r.leader_epoch = 7;
    r.key = bytes("k");
    r.value = bytes();
    CHECK_EQ(d.decode(r), "clicks,3,42,2023-11-14 22:13:20.123000+00,append,7,k,null,t");
    CHECK_EQ(d.rows.messages[1].size, 1u);
    CHECK_EQ(d.rows.messages[1].offset.value, 42);
}

TEST(roles_headers)
{
    decoding d(table(
        {from_role("_headers", t_jsonb, role::headers), from_role("x", t_text, role::header, "x"),
         from_role("b", t_bytea, role::header, "b"), from_role("n", t_int, role::header, "n")}));
    CHECK_EQ(d.decode("{}"), "<[]>,null,null,null");
    const header headers[] = {
        {"x", bytes("one")},      {"x", bytes("t\"wo\n")}, {"b", bytes("\xFF\x01", 2)},
        {"n", bytes("12")},       {"e", bytes("", 0)},     {"z", bytes()},
        {"nul", bytes("a\0", 2)},
    };
    record r = record_of("{}");
    r.headers = headers;
    CHECK_EQ(d.decode(r),
             R"(<[{"name": "x", "value": "one"}, {"name": "x", "value": "t\"wo\u000a"}, )"
             R"({"name": "b", "value": "/wE=", "base64": true}, {"name": "n", "value": "12"}, )"
             R"({"name": "e", "value": ""}, {"name": "z", "value": null}, )"
             R"({"name": "nul", "value": "YQA=", "base64": true}]>,)"
             "t\"wo\n,xff01,12");
    const header odd[] = {{"x", bytes("\xFF", 1)}, {"n", bytes("nope")}};
    r.headers = odd;
    CHECK_EQ(d.decode(r), "!22P02 n: invalid input syntax for type integer: \"nope\"");
}

TEST(keys_by_format)
{
    decoding plain(table({from_role("_key", t_bytea, role::key), from_key("k", t_text)}));
    record r = record_of("{}");
    r.key = bytes("ab");
    CHECK_EQ(plain.decode(r), "x6162,ab");
    r.key = bytes("\xFF", 1);
    CHECK_EQ(plain.decode(r), "!22021 k: invalid byte sequence for encoding \"UTF8\"");

    table t({from_payload("id", t_int), from_key("id_in_key", t_int, "$.id")});
    decoding json(t.key_format("json"));
    r = record_of("[{\"id\":1},{\"id\":2}]");
    CHECK_EQ(json.decode(r), "1,null|2,null");
    r.key = bytes(R"({"id": 9})");
    CHECK_EQ(json.decode(r), "1,9|2,9");
    r.key = bytes(R"({"id": 9}{"id": 9})");
    CHECK_EQ(json.decode(r), "!22P02 the key does not hold exactly one document");
    r.key = bytes("7");
    CHECK(json.decode(r).starts_with("!22P02"));

    table s({from_key("k", t_int, "$")});
    decoding sole(s.key_format("json"));
    r.key = bytes("7");
    CHECK_EQ(sole.decode(r), "7");

    table x({from_key("k", t_int)});
    decoding text(x.key_format("text"));
    r.key = bytes("12");
    CHECK_EQ(text.decode(r), "12");
}

TEST(only_what_is_wanted_is_judged)
{
    decoding none(table({}));
    CHECK_EQ(none.decode("not json at all"), "");
    CHECK_EQ(none.decode("[{},{}]"), "");
    CHECK_EQ(none.rows.row_count(), 2u);
    decoding offset(table({from_role("_offset", t_big, role::offset)}));
    CHECK_EQ(offset.decode("not json at all"), "42");
    decoding one(table({from_payload("id", t_int)}));
    CHECK_EQ(one.decode(R"({"id": 1, "bad": "\u0000", "worse": 1e999})"), "1");
}

TEST(tombstones_are_rows_without_payload)
{
    decoding d(
        table({from_payload("id", t_int), from_role("_tombstone", t_bool, role::tombstone)}));
    record r = record_of("");
    CHECK(d.decode(r).starts_with("!22P02"));
    r.value = bytes();
    CHECK_EQ(d.decode(r), "null,t");
}

TEST(rejects_keep_the_record)
{
    decoding d(table({from_role("_offset", t_big, role::offset), from_payload("id", t_int)}));
    const header headers[] = {{"h", bytes("v")}};
    record r = record_of(R"({"id": "x"})");
    r.key = bytes("key");
    r.headers = headers;
    CHECK_EQ(d.decode(R"({"id": 1})"), "42,1");
    CHECK_EQ(d.decode(r), "!22P02 id: invalid input syntax for type integer: \"x\"");
    REQUIRE(d.rows.rejects.size() == 1);
    const reject& bad = d.rows.rejects[0];
    CHECK_EQ(bad.message, 1u);
    CHECK_EQ(bad.column, 1);
    CHECK_EQ(bad.record.key.view(), "key");
    CHECK_EQ(bad.record.value.view(), R"({"id": "x"})");
    CHECK(bad.record.value.data != r.value.data);
    CHECK_EQ(bad.record.headers, R"([{"name": "h", "value": "v"}])");
    CHECK_EQ(d.rows.messages[1].row_count, 0u);
    CHECK_EQ(d.rows.messages[1].first_row, 1u);
}

TEST(error_tables_show_bad_records)
{
    table t({from_payload("id", t_int), from_role("_error", t_text, role::error),
             from_role("_raw", t_bytea, role::raw), from_role("_offset", t_big, role::offset),
             from_key("k", t_int)});
    decoding d(t.key_format("text"));
    CHECK_EQ(d.decode(R"({"id": 1})"), "1,null,x7b226964223a20317d,42,null");
    CHECK_EQ(
        d.decode(R"({"id":1}{"id":x})"),
        "null,invalid input syntax for type json: A value is neither a string, a number, true, "
        "false nor null.,x7b226964223a317d7b226964223a787d,42,null");
    CHECK_EQ(d.decode(R"({"id":"x"})"),
             "null,column \"id\": invalid input syntax for type integer: \"x\","
             "x7b226964223a2278227d,42,null");
    CHECK(d.rows.rejects.empty());
    record r = record_of("{}");
    r.key = bytes("no");
    CHECK_EQ(d.decode(r),
             "null,column \"k\": invalid input syntax for type integer: \"no\",x7b7d,42,null");
}

TEST(raw_and_text)
{
    decoding raw(table({from_payload("p", t_bytea)}, "raw"));
    CHECK_EQ(raw.decode(std::string_view("\0\xFF", 2)), "x00ff");
    CHECK_EQ(raw.decode(""), "x");
    decoding as_text(table({from_payload("p", t_text)}, "raw"));
    CHECK_EQ(as_text.decode("abc"), "abc");
    CHECK(as_text.decode("\xFF").starts_with("!22021"));
    CHECK(as_text.decode(std::string_view("a\0b", 3)).starts_with("!22021"));
    decoding number(table({from_payload("p", t_int)}, "text"));
    CHECK_EQ(number.decode("12"), "12");
    CHECK(number.decode("").starts_with("!22P02"));
    decoding json(table({from_payload("p", t_jsonb)}, "text"));
    CHECK_EQ(json.decode("{}"), "<{}>");
}

TEST(formats_and_options_are_checked)
{
    auto message = [](const table& t) {
        auto made = record_decoder::make(std::make_shared<const row_plan>(t.plan));
        return made ? std::string("fine") : made.error().message + " / " + made.error().hint;
    };
    table t({from_payload("p", t_text)});
    CHECK_EQ(message(t), "fine");
    std::string names;
    for (const format_row& f : formats())
        names += (names.empty() ? "" : ", ") + std::string(f.name);
    CHECK_EQ(message(table({from_payload("p", t_text)}, "xml")),
             "unknown format \"xml\" / Valid formats are " + names + ".");
    CHECK_EQ(
        message(t.option("timestamp_unit", "min")),
        "invalid value for option \"timestamp_unit\": \"min\" / Valid values are: s, ms, us, ns.");
    table o({from_payload("p", t_text)});
    CHECK_EQ(message(o.option("speed", "high")), "format \"json\" has no option \"speed\" / ");
    CHECK(find_format("json") && !find_format("jsn"));
    CHECK(find_format("raw")->accepts(t_bytea).ok());
    CHECK(!find_format("raw")->accepts(t_int).ok());
}

TEST(paths_are_parsed)
{
    auto shown = [](std::string_view text) {
        auto parsed = parse_path(text);
        if (!parsed)
            return "!" + parsed.error().detail;
        std::string s;
        for (const path_step& step : parsed.value())
            s += step.index >= 0 ? "[" + std::to_string(step.index) + "]" : "." + step.name;
        return s;
    };
    CHECK_EQ(shown("$"), "");
    CHECK_EQ(shown("$.a.b[0]"), ".a.b[0]");
    CHECK_EQ(shown("$[\"odd name\"].x"), ".odd name.x");
    CHECK_EQ(shown("$['it\\'s']"), ".it's");
    CHECK_EQ(shown("$.\"a.b\"[2][3]"), ".a.b[2][3]");
    for (const char* bad : {"", "a", "$a", "$.", "$..a", "$.a[", "$.a[-1]", "$.a[x]", "$.a[0",
                            "$[\"a\"", "$[\"a]", "$.*", "$.a[99999999999999999999]", "$.a]"})
        CHECK(shown(bad).starts_with("!"));
}

TEST(a_message_makes_no_more_cells_than_its_bytes_allow)
{
    std::vector<column> columns;
    for (int i = 0; i < 1000; i++)
        columns.push_back(from_payload("c" + std::to_string(i), t_int));
    const auto rows_of = [](std::string_view row, std::size_t times) {
        std::string all = "[";
        for (std::size_t i = 0; i < times; i++)
            all += (i ? "," : "") + std::string(row);
        return all + "]";
    };
    constexpr std::size_t most = rows::most_cells / 1000;
    decoding d{table(columns)};
    d.decode(rows_of("{}", most));
    CHECK_EQ(d.rows.row_count(), most);
    CHECK_EQ(
        d.decode(rows_of("{}", most + 1)),
        "!54000 a record makes too many rows (Its rows have more values than it has bytes, and "
        "more than 8 million.)");
    CHECK_EQ(d.rows.row_count(), most);
    CHECK(d.decode("{\"c0\": 7}").starts_with("7,null,null,"));
    d.rows.reset();
    CHECK(d.decode("{\"c0\": 8}").starts_with("8,null,null,"));

    // Of a key the second row is one too many, however many columns and rows it has.
    std::vector<column> of_key;
    for (int i = 0; i < 1000; i++)
        of_key.push_back(from_key("c" + std::to_string(i), t_int));
    table keys(of_key);
    decoding k{keys.key_format("json")};
    record r = record_of("{}");
    std::string key;
    for (int i = 0; i < 1000000; i++)
        key += "{}";
    r.key = bytes(key);
    CHECK_EQ(k.decode(r), "!22P02 the key does not hold exactly one document");
    r.key = bytes("{\"c0\": 7}");
    CHECK(k.decode(r).starts_with("7,null,"));

    decoding c{table(columns, "cbor")};
    CHECK(c.decode("\x9f" + std::string(most + 1, '\xa0') + "\xff").starts_with("!54000 "));
    CHECK(c.decode("\xa1\x62"
                   "c1\x05")
              .starts_with("null,5,null,"));
}

TEST(a_message_makes_no_more_memory_than_its_bytes_allow)
{
    // 10 to the minus 16383, in nine bytes.
    const std::string_view small("\xa1\x61\x6e\xc4\x82\x39\x3f\xfe\x01", 9);
    decoding d{table({from_payload("n", type_of(cell_type::numeric))}, "cbor")};
    std::string payload;
    for (int i = 0; i < 20000; i++)
        payload += small;
    for (int i = 0; i < 3; i++) {
        CHECK_EQ(
            d.decode(payload),
            "!54000 a record makes too large rows (Its values take more than 16 times its bytes, "
            "and more than 64 MB.)");
        CHECK(d.rows.memory.used() < (i + 1) * (65u << 20));
    }
    CHECK(!d.decode(small).starts_with("!"));
}
