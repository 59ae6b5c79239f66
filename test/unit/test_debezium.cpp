// debezium: envelopes, flattened events, what values mean with a schema and without. json_schema:
// its frame.
#include "check.h"
#include "decoding.h"

using namespace ke;
using namespace ke::decode;
using namespace ke::test;

namespace {

const type_desc t_int = type_of(cell_type::int4), t_big = type_of(cell_type::int8),
                t_money = type_of(cell_type::numeric, (9 << 16 | 2) + 4),
                t_numeric = type_of(cell_type::numeric), t_text = type_of(cell_type::text),
                t_date = type_of(cell_type::date), t_time = type_of(cell_type::time),
                t_ts = type_of(cell_type::timestamp), t_tz = type_of(cell_type::timestamptz),
                t_jsonb = type_of(cell_type::jsonb), t_bytea = type_of(cell_type::bytea),
                t_other = type_of(cell_type::other);

table orders()
{
    return table({from_payload("id", t_int), from_payload("amount", t_money),
                  from_payload("day", t_date), from_payload("at", t_ts),
                  from_payload("_op", t_text), from_payload("_source_ts", t_tz),
                  from_payload("_source_lsn", t_big)},
                 "debezium");
}

constexpr const char* source = R"("source": {"connector": "postgresql", "ts_ms": 1505459220123,
    "lsn": 24023128, "txId": 571}, "ts_ms": 1505459220456)";

std::string change(std::string_view op, std::string_view before, std::string_view after)
{
    return R"({"before": )" + std::string(before) + R"(, "after": )" + std::string(after) + ", " +
           source + R"(, "op": ")" + std::string(op) + "\"}";
}

// One field of a row with Connect's schema of it.
std::string field(std::string_view schema, std::string_view value, type_desc type)
{
    return decoding(table({from_payload("v", std::move(type))}, "debezium"))
        .decode(R"({"schema": {"type": "struct", "fields": [{"type": "struct", "field": "after",
                 "fields": [{"field": "v", )" +
                std::string(schema) + R"(}]}]}, "payload": {"op": "c", "after": {"v": )" +
                std::string(value) + "}}}");
}

std::string plain(std::string_view value, type_desc type)
{
    return decoding(table({from_payload("v", std::move(type))}, "debezium"))
        .decode(R"({"op": "c", "after": {"v": )" + std::string(value) + "}}");
}

constexpr const char* row =
    R"({"id": 7, "amount": "BNI=", "day": 17424, "at": 1505459220123456, "x": {}})";

} // namespace

TEST(debezium_envelopes)
{
    decoding d(orders());
    const std::string values = "7,12.34,6467,2017-09-15 07:07:00.123456,";
    const std::string from = ",2017-09-15 07:07:00.123000+00,24023128";
    CHECK_EQ(d.decode(change("c", "null", row)), values + "c" + from);
    CHECK_EQ(d.decode(change("r", "null", row)), values + "r" + from);
    CHECK_EQ(d.decode(change("u", R"({"id": 6})", row)), values + "u" + from);
    CHECK_EQ(d.decode(change("d", R"({"id": 6})", "null")), "6,null,null,null,d" + from);
    CHECK_EQ(d.decode(change("t", "null", "null")), "null,null,null,null,t" + from);
    // Flattened by the usual transform.
    CHECK_EQ(d.decode(R"({"id": 7, "__op": "u", "__source_ts_ms": 1505459220123,
                         "__source_lsn": 5, "__deleted": "false"})"),
             "7,null,null,null,u,2017-09-15 07:07:00.123000+00,5");
    CHECK_EQ(d.decode(R"({"id": 7, "__deleted": "true"})"), "7,null,null,null,d,null,null");
}

TEST(debezium_values_without_schema)
{
    CHECK_EQ(plain("\"BNI=\"", t_money), "12.34");
    CHECK_EQ(plain("\"/w==\"", t_money), "-0.01");
    CHECK_EQ(plain("\"AIA=\"", t_money), "1.28");
    CHECK_EQ(plain("12.5", t_money), "12.50");
    CHECK(
        plain("\"BNI=\"", t_numeric).starts_with("!22P02 v: the scale of a decimal is not known"));
    CHECK_EQ(plain(R"({"scale": 3, "value": "BNI="})", t_numeric), "1.234");
    CHECK_EQ(plain("-1", t_date), "-10958");
    CHECK_EQ(plain("\"2017-09-15Z\"", t_date), "6467");
    CHECK_EQ(plain("3600000000", t_time), "3600000000");
    CHECK_EQ(plain("\"2017-09-15T07:07:00.123456Z\"", t_tz), "2017-09-15 07:07:00.123456+00");
    CHECK_EQ(plain("3600000", type_of(cell_type::time, 3)), "3600000000");
    CHECK_EQ(plain("1505459220123", type_of(cell_type::timestamp, 0)),
             "<2017-09-15 07:07:00.123000>");
    type_desc interval = t_other;
    interval.interval = true;
    CHECK_EQ(plain("90000000", interval), "<90000000 microseconds>");
    type_desc bits = type_of(cell_type::other, 10);
    bits.bits = true;
    CHECK_EQ(plain("\"AQI=\"", bits), "<1000000001>");
    CHECK_EQ(plain("true", bits), "<1>");
    bits.typmod = 5;
    CHECK_EQ(plain("\"FQA=\"", bits), "<10101>");
    for (const char* longer : {"\"FQE=\"", "\"NQ==\""}) // 2 bytes; 6 bits
        CHECK_EQ(plain(longer, bits).substr(0, 29), "!22001 v: bit string too long");
    CHECK_EQ(plain("9223372036825200000", t_ts), "<infinity>");
    CHECK_EQ(plain("-300000000000000000", t_ts), "!22008 v: timestamp out of range");
    CHECK_EQ(plain("1.5", t_ts), "!22P02 v: invalid input syntax for type timestamp: \"1.5\"");
    CHECK_EQ(plain("1.5", t_tz),
             "!22P02 v: invalid input syntax for type timestamp with time zone: \"1.5\"");
    CHECK_EQ(plain("1.5", t_date), "!22P02 v: invalid input syntax for type date: \"1.5\"");
    CHECK_EQ(plain("1.5", t_time), "!22P02 v: invalid input syntax for type time: \"1.5\"");
    CHECK_EQ(plain("1.5", interval), "!22P02 v: invalid input syntax for type interval: \"1.5\"");
    CHECK_EQ(plain(R"("{\"a\": 1}")", t_jsonb), "<{\"a\": 1}>");
    CHECK_EQ(plain("\"AP8=\"", t_bytea), "x00ff");
    CHECK_EQ(plain(R"({"wkb": "AQ==", "srid": 4326})", t_other), "<SRID=4326;01>");
    CHECK(plain("\"__debezium_unavailable_value\"", t_text)
              .starts_with("!22P02 v: the value is not in the change event"));
    CHECK_EQ(decoding(table({from_payload("v", t_text)}, "debezium").option("unavailable", "null"))
                 .decode(R"({"op": "u", "after": {"v": "__debezium_unavailable_value"}})"),
             "null");
    CHECK_EQ(decoding(table({from_payload("v", t_money)}, "debezium").option("decimals", "string"))
                 .decode(R"({"op": "u", "after": {"v": "1234"}})"),
             "1234.00");
}

TEST(debezium_values_with_schema)
{
    auto named = [](std::string_view name) { return "\"name\": \"" + std::string(name) + "\""; };
    CHECK_EQ(
        field(named("org.apache.kafka.connect.data.Decimal") + R"(, "parameters": {"scale": "3"})",
              "\"BNI=\"", t_numeric),
        "1.234");
    CHECK_EQ(field("\"type\": \"string\"", "\"1234\"", t_numeric), "1234");
    CHECK_EQ(field(named("io.debezium.time.Timestamp"), "1505459220123", t_ts),
             "2017-09-15 07:07:00.123000");
    CHECK_EQ(field(named("io.debezium.time.NanoTimestamp"), "1505459220123456789", t_ts),
             "2017-09-15 07:07:00.123456");
    CHECK_EQ(field(named("io.debezium.time.Time"), "3600000", t_time), "3600000000");
    CHECK_EQ(field(named("io.debezium.time.Date"), "17424", t_ts), "<2017-09-15>");
    CHECK_EQ(field(named("io.debezium.time.MicroDuration"), "90000000", t_other),
             "<90000000 microseconds>");
    CHECK_EQ(field(named("io.debezium.data.Bits") + R"(, "parameters": {"length": "10"})",
                   "\"AQI=\"", t_other),
             "<1000000001>");
}

TEST(debezium_values_that_are_left_out)
{
    const type_desc t_texts = array_of(type_of(cell_type::text)), t_ints = array_of(t_int),
                    t_uuids = array_of(type_of(cell_type::uuid));
    decoding d(
        table({from_payload("a", t_text), from_payload("b", t_bytea), from_payload("c", t_texts),
               from_payload("d", t_ints), from_payload("e", t_uuids), from_payload("f", t_jsonb),
               from_payload("_unavailable", t_texts)},
              "debezium"));
    auto after = [&](std::string_view row) {
        return d.decode(R"({"op": "u", "after": )" + std::string(row) + "}");
    };
    CHECK_EQ(
        after(
            R"({"a": "__debezium_unavailable_value", "b": "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==",
        "c": ["__debezium_unavailable_value"], "d": [95, 95,100,101,98,101,122,105,117,109,95,117,110,97,
        118,97,105,108,97,98,108,101,95,118,97,108,117,101], "e": ["b68a35a7-17ad-35b3-af2a-ae46edb4545a"],
        "f": {"__debezium_unavailable_value": "__debezium_unavailable_value"}})"),
        R"(null,null,null,null,null,null,<{"a","b","c","d","e","f"}>)");
    CHECK_EQ(after(R"({"a": "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==", "d": [95,95], "unknown":
        "__debezium_unavailable_value"})"),
             "X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==,null,null,<{\"95\",\"95\"}>,null,null,null");
    CHECK_EQ(
        d.decode(R"({"op": "c", "after": {"a": "__debezium_unavailable_value"}})").substr(0, 48),
        "!22P02 a: the value is not in the change event (");
    // An update without its row; a delete needs none.
    CHECK_EQ(after("null"), R"(null,null,null,null,null,null,<{"a","b","c","d","e","f"}>)");
    CHECK_EQ(d.decode(R"({"op": "d", "before": null})"), "null,null,null,null,null,null,null");
    CHECK_EQ(
        decoding(table({from_payload("a", t_text)}, "debezium"))
            .decode(R"({"op": "u", "after": null})"),
        "!22P02 invalid input for format debezium (The event holds no row: the connector has to send "
        "whole ones.)");
}

TEST(debezium_of_mongodb)
{
    decoding d(
        table({from_payload("_id", t_text), from_payload("n", t_big), from_payload("m", t_numeric),
               from_payload("at", t_tz), from_payload("b", t_bytea), from_payload("doc", t_jsonb)},
              "debezium"));
    auto after = [&](std::string_view document) {
        return d.decode(R"({"op": "u", "before": null, "after": ")" + std::string(document) +
                        R"(", "source": {"connector": "mongodb"}})");
    };
    CHECK_EQ(after(R"({\"_id\": {\"$oid\": \"596e\"}, \"n\": {\"$numberLong\": \"12\"}, )"
                   R"(\"m\": {\"$numberDecimal\": \"1.50\"}, \"at\": {\"$date\": 1505459220123}, )"
                   R"(\"b\": {\"$binary\": {\"base64\": \"AQI=\", \"subType\": \"00\"}}, )"
                   R"(\"doc\": {\"$oid\": \"1\"}})"),
             "596e,12,1.50,2017-09-15 07:07:00.123000+00,x0102,<{\"$oid\": \"1\"}>");
    CHECK_EQ(
        after(
            R"({\"at\": {\"$date\": {\"$numberLong\": \"-1\"}}, \"m\": 3, \"b\": {\"$binary\": {}}})"),
        "null,null,3,1969-12-31 23:59:59.999000+00,null,null");
    CHECK_EQ(after(R"({\"at\": {\"$date\": {}}})").substr(0, 10), "!22P02 at:");
    CHECK_EQ(after("7"),
             "!22P02 invalid input for format debezium (The payload is not an object.)");
}

TEST(debezium_malformed)
{
    decoding d(orders());
    CHECK_EQ(d.decode(""), "!22P02 invalid input for format debezium (The payload is empty.)");
    CHECK_EQ(d.decode("[1]"),
             "!22P02 invalid input for format debezium (The payload is not an object.)");
    CHECK(d.decode("{\"a\": }").starts_with("!22P02 invalid input for format debezium ("));
    CHECK_EQ(d.decode(R"({"op": "c", "after": 7})"),
             "!22P02 invalid input for format debezium (The row of the event is not an object.)");
    CHECK_EQ(d.decode(change("c", "null", R"({"id": "x"})")),
             "!22P02 id: invalid input syntax for type integer: \"x\"");
}

// What is no event of Debezium's must not pass for a row of nulls.
TEST(debezium_of_unknown_shapes)
{
    decoding d(orders());
    auto bad = [](std::string_view detail) {
        return "!22P02 invalid input for format debezium (" + std::string(detail) + ")";
    };
    const std::string foreign = bad("The payload is no change event, and no row of the table's: it "
                                    "has none of its columns."),
                      op = bad("The event's op is none of c, u, r, d, t and m.");
    for (std::string_view payload :
         {"{}", R"({"payload": {"id": 1}})", R"({"payload": {"op": "c", "after": {"id": 1}}})",
          R"({"schema": {}, "payload": {}})", R"({"schema": {}, "payload": {"zzz": 1}})",
          R"({"op": 5})", R"({"op": 5, "after": {"id": 1}, "source": {}})", R"({"op": "x"})",
          R"({"op": "c"})", R"({"ts_ms": 5})", R"({"_op": "d"})"})
        CHECK_EQ(d.decode(payload), foreign);
    for (std::string_view name : {"x", "", "cc", "\\u0063"})
        CHECK_EQ(d.decode(change(name, "null", row)), op);
    for (std::string_view value : {"\"x\"", "5", "{}"})
        CHECK_EQ(d.decode(R"({"id": 7, "__op": )" + std::string(value) + "}"),
                 bad("The event's __op is none of c, u, r, d, t and m."));
    // Legal: one column, the transform's own fields alone, a column of the key's, one that is not used.
    const std::string nulls = ",null,null,null,";
    CHECK_EQ(d.decode(R"({"\u0069d": 7, "op": 5, "__op": null})"), "7" + nulls + "u,null,null");
    CHECK_EQ(d.decode(R"({"schema": {}, "payload": {"id": 7}})"), "7" + nulls + "u,null,null");
    CHECK_EQ(d.decode(R"({"zzz": 1, "__op": "c"})"), "null" + nulls + "c,null,null");
    CHECK_EQ(d.decode(R"({"__deleted": true})"), "null" + nulls + "d,null,null");
    CHECK_EQ(d.decode(R"({"__source_lsn": 5})"), "null" + nulls + "u,null,5");
    table keyed({from_key("id", t_int), from_payload("v", t_int), from_payload("op", t_text)},
                "debezium");
    keyed.key_format("debezium").plan.payload_names.push_back("w");
    record r = record_of(R"({"id": 1})");
    r.key = bytes(std::string_view(R"({"other": 1})"));
    CHECK_EQ(decoding(keyed).decode(r), "null,null,null");
    CHECK_EQ(decoding(keyed).decode(R"({"w": 1})"), "null,null,null");
    CHECK_EQ(decoding(keyed).decode(R"({"op": "x"})"), "null,null,x");
    CHECK_EQ(decoding(keyed).decode("{}"), foreign);
    // The row as a whole is all that the table wants.
    CHECK_EQ(decoding(table({from_payload("_after", t_jsonb)}, "debezium")).decode(R"({"z": 1})"),
             "<{\"z\": 1}>");
}

TEST(json_schema_frames)
{
    decoding d(table({from_payload("a", t_int)}, "json_schema"));
    CHECK_EQ(d.decode(std::string_view("\0\0\0\0\7{\"a\": 1}", 13)), "1");
    CHECK_EQ(d.decode("{\"a\": 1}"),
             "!22P02 invalid input for format json_schema (The payload does not begin with a zero "
             "byte and the number of a schema.)");
    CHECK_EQ(d.decode(std::string_view("\0\0\0\0", 4)).substr(0, 6), "!22P02");
    const header id{"__value_schema_id", bytes(std::string_view("\1"
                                                                "0123456789abcdef"))};
    record r = record_of("{\"a\": 2}");
    r.headers = {&id, 1};
    CHECK_EQ(d.decode(r), "2");
}
