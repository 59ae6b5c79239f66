// avro: schemas, binary data to cells, containers, what is malformed. Its own library is asked in
// test/flow/test_avro.py.
#include "check.h"
#include "decode/avro_schema.h"
#include "decoding.h"

using namespace ke;
using namespace ke::decode;
using namespace ke::test;

namespace {

const type_desc t_int = type_of(cell_type::int4), t_big = type_of(cell_type::int8),
                t_numeric = type_of(cell_type::numeric), t_text = type_of(cell_type::text),
                t_bytea = type_of(cell_type::bytea), t_double = type_of(cell_type::float8),
                t_tz = type_of(cell_type::timestamptz), t_ts = type_of(cell_type::timestamp),
                t_date = type_of(cell_type::date), t_time = type_of(cell_type::time),
                t_jsonb = type_of(cell_type::jsonb), t_uuid = type_of(cell_type::uuid),
                t_other = type_of(cell_type::other);

std::string record_schema(std::string_view type)
{
    return R"({"type": "record", "name": "r", "fields": [{"name": "a", "type": )" +
           std::string(type) + "}]}";
}

// The field a of a record, in a column of the type.
std::string avro(std::string_view type, std::string_view payload, type_desc column)
{
    return decoding(table({from_payload("a", std::move(column))}, "avro")
                        .option("avro_schema", record_schema(type)))
        .decode(payload);
}

std::string logical(std::string_view base, std::string_view name)
{
    return R"({"type": ")" + std::string(base) + R"(", "logicalType": ")" + std::string(name) +
           "\"}";
}

std::string schema_fault(std::string_view json)
{
    auto parsed = avro_schema::parse(json);
    return parsed ? "" : parsed.error().message;
}

std::string bad(std::string_view detail)
{
    return "!22P02 invalid input for format avro (" + std::string(detail) + ")";
}

std::string_view raw(const char* bytes, std::size_t n)
{
    return {bytes, n};
}

} // namespace

// Each record holds the one before twice, and nothing else: nothing on the wire is 2 to the 60th nulls.
TEST(avro_records_that_double)
{
    std::string schema =
        R"({"type": "record", "name": "R0", "fields": [{"name": "n", "type": "null"}]})";
    for (int i = 1; i <= 60; i++)
        schema = R"({"type": "record", "name": "R)" + std::to_string(i) +
                 R"(", "fields": [{"name": "a", "type": )" + schema +
                 R"(}, {"name": "b", "type": "R)" + std::to_string(i - 1) + "\"}]}";
    for (const char* column : {"$", "b"}) {
        decoding d(
            table({from_payload("c", type_of(cell_type::jsonb), *column == '$' ? "$" : "")}, "avro")
                .option("avro_schema", schema)
                .option("avro_framing", "none"));
        CHECK_EQ(
            d.decode(std::string_view("\0", 1)),
            "!22P02 invalid input for format avro (The payload has more items than it can hold.)");
    }
}

TEST(avro_data_that_are_no_records)
{
    const std::string no_row = bad("It is no record, and no column takes it as a whole.");
    const auto one = [](std::string_view schema, std::string_view payload, std::string path) {
        return decoding(table({from_payload("a", t_text, path)}, "avro")
                            .option("avro_schema", std::string(schema)))
            .decode(payload);
    };
    const std::string_view text = "\x04"
                                  "hi",
                           items("\x02\x04"
                                 "hi\0",
                                 5);
    CHECK_EQ(one("\"string\"", text, ""), no_row);
    CHECK_EQ(one("\"string\"", text, "$"), "hi");
    CHECK_EQ(one(R"(["null", )" + record_schema("\"string\"") + "]", std::string_view("\0", 1), ""),
             no_row);
    CHECK_EQ(one(R"(["null", )" + record_schema("\"string\"") + "]",
                 "\x02\x04"
                 "hi",
                 ""),
             "hi");
    CHECK_EQ(one(R"({"type": "array", "items": "string"})", items, ""), no_row);
    CHECK_EQ(one(R"({"type": "array", "items": "string"})", items, "$[0]"), "hi");
}

TEST(avro_scalars)
{
    CHECK_EQ(avro("\"int\"", "\x01", t_int), "-1");
    CHECK_EQ(avro("\"long\"", "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", t_big),
             "-9223372036854775808");
    CHECK_EQ(avro("\"long\"", "\x80\x80\x80\x80\x20", t_int),
             "!22003 a: value \"4294967296\" is out of range for type integer");
    CHECK_EQ(avro("\"int\"", "\x80\x80\x80\x80\x20", t_big), bad("An int has more than 32 bits."));
    CHECK_EQ(avro("\"string\"",
                  "\x04"
                  "ab",
                  t_text),
             "ab");
    CHECK_EQ(avro("\"string\"",
                  "\x04"
                  "12",
                  t_int),
             "12");
    CHECK_EQ(avro("\"bytes\"", raw("\x04\x00\xff", 3), t_bytea), "x00ff");
    CHECK_EQ(avro("\"boolean\"", "\x02", t_text), bad("A boolean is neither 0 nor 1."));
    CHECK_EQ(avro("\"double\"", raw("\0\0\0\0\0\0\xf8\x3f", 8), t_double), "1.5");
    CHECK_EQ(avro("\"int\"", "\x0e", t_double), "7");
    CHECK_EQ(avro("[\"null\", \"int\"]", raw("\0", 1), t_int), "null");
    CHECK_EQ(avro("[\"null\", \"int\"]", "\x02\x0e", t_int), "7");
    CHECK_EQ(avro("[\"null\", \"int\"]", "\x04", t_int), bad("A union has no such branch."));
    CHECK_EQ(avro(R"({"type": "enum", "name": "e", "symbols": ["x", "y"]})", "\x02", t_text), "y");
    CHECK_EQ(avro(R"({"type": "enum", "name": "e", "symbols": ["x"]})", "\x02", t_text),
             bad("An enum has no such symbol."));
}

TEST(avro_logical_types)
{
    const std::string decimal =
        R"({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2})";
    CHECK_EQ(avro(decimal, "\x04\x04\xd2", t_numeric), "12.34");
    CHECK_EQ(avro(decimal, "\x02\xff", t_numeric), "-0.01");
    CHECK_EQ(avro(decimal, raw("\x04\x00\x80", 3), t_numeric), "1.28");
    CHECK_EQ(avro(decimal, "\x02\x80", t_numeric), "-1.28");
    CHECK_EQ(avro(decimal, raw("\x00", 1), t_numeric), "0.00");
    CHECK_EQ(avro(logical("int", "date"), "\x02", t_date), "-10956");
    CHECK_EQ(avro(logical("int", "date"), "\x02", t_text), "1970-01-02");
    CHECK_EQ(avro(logical("int", "date"), "\x02", t_int), "1");
    CHECK_EQ(avro(logical("int", "time-millis"), "\x02", t_time), "1000");
    CHECK_EQ(avro(logical("long", "time-micros"), "\x01", t_time),
             "!22008 a: date or time out of range");
    CHECK_EQ(avro(logical("long", "timestamp-millis"), "\x02", t_tz),
             "1970-01-01 00:00:00.001000+00");
    CHECK_EQ(avro(logical("long", "timestamp-nanos"), "\x01", t_tz),
             "1969-12-31 23:59:59.999999+00");
    CHECK_EQ(avro(logical("long", "local-timestamp-micros"), "\x02", t_ts),
             "1970-01-01 00:00:00.000001");
    CHECK_EQ(avro(logical("long", "timestamp-millis"), "\x02", t_big), "1");
    CHECK_EQ(
        avro(logical("long", "timestamp-micros"), "\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01", t_tz),
        "!22008 a: timestamp out of range");
    for (const type_desc& column : {t_tz, t_text, t_jsonb})
        CHECK(avro(logical("long", "timestamp-micros"), "\xff\xf8\xff\xff\xff\xff\xff\xff\xff\x01",
                   column)
                  .starts_with("!22008"));
    CHECK_EQ(
        avro(logical("long", "timestamp-millis"), "\xfe\xff\xff\xff\xff\xff\xff\xff\xff\x01", t_tz),
        bad("A time is out of range."));
    CHECK_EQ(avro(R"({"type": "fixed", "name": "u", "size": 16, "logicalType": "uuid"})",
                  "0123456789abcdef", t_uuid),
             "30313233343536373839616263646566");
    CHECK_EQ(avro(R"({"type": "fixed", "name": "d", "size": 12, "logicalType": "duration"})",
                  raw("\1\0\0\0\2\0\0\0\3\0\0\0", 12), t_other),
             "<1 mons 2 days 3000 microseconds>");
}

TEST(avro_trees)
{
    const std::string list = R"({"type": "array", "items": ["int", "string"]})";
    CHECK_EQ(avro(list, raw("\x04\x00\x02\x02\x02x\x00", 7), t_jsonb), "<[1, \"x\"]>");
    CHECK_EQ(avro(list, raw("\x03\x06\x00\x02\x00\x04\x00", 7), t_jsonb), "<[1, 2]>");
    CHECK_EQ(
        avro(R"({"type": "array", "items": "int"})", raw("\x04\x02\x04\x00", 4), array_of(t_int)),
        "<{\"1\",\"2\"}>");
    CHECK_EQ(avro(R"({"type": "map", "values": "long"})", raw("\x02\x02k\x0e\x00", 5), t_jsonb),
             "<{\"k\": 7}>");
    // A count that no payload can hold, of items that take no bytes.
    CHECK_EQ(avro(R"({"type": "array", "items": "null"})", "\xfe\xff\xff\xff\xff\xff\x7f", t_jsonb),
             bad("The payload has more items than it can hold."));
    CHECK_EQ(avro("\"string\"", "\xfe\xff\xff\xff\xff\xff\x7f", t_text),
             bad("The payload ends within a value."));
    CHECK_EQ(avro("\"string\"", "\x01", t_text), bad("A length is negative."));
    CHECK_EQ(avro("\"int\"", "\x02\x02", t_int), bad("There is more behind the datum."));
    CHECK_EQ(avro("[\"null\", \"r\"]", std::string(10000, '\2') + std::string(1, '\0'), t_jsonb),
             bad("The payload is nested too deep."));
}

TEST(avro_paths)
{
    decoding d(
        table({from_payload("x", t_int, "$.a.list[1]"), from_payload("y", t_text, "$.a.m.k")},
              "avro")
            .option("avro_schema", record_schema(R"(["null", {"type": "record", "name": "s",
        "fields": [{"name": "skipped", "type": ["string", "bytes"]},
                   {"name": "list", "type": {"type": "array", "items": "int"}},
                   {"name": "m", "type": {"type": "map", "values": "string"}}]}])")));
    CHECK_EQ(d.decode(raw("\x02\x02\x02z\x04\x02\x04\x00\x02\x02k\x02v\x00", 14)), "2,v");
    CHECK_EQ(d.decode(raw("\x00", 1)), "null,null");
}

namespace {

const std::string mark = "0123456789abcdef";

// As Avro writes a number that is not negative.
std::string number(std::size_t value)
{
    std::string out;
    for (std::size_t n = value * 2; n || out.empty(); n >>= 7)
        out += static_cast<char>((n & 0x7F) | (n >> 7 ? 0x80 : 0));
    return out;
}

std::string container_of(const std::string& schema, std::string_view codec, std::string_view blocks)
{
    return std::string("Obj\1\4\26avro.schema", 17) + number(schema.size()) + schema +
           "\24avro.codec" + static_cast<char>(codec.size() * 2) + std::string(codec) +
           std::string(1, '\0') + mark + std::string(blocks);
}

} // namespace

// One type of the writer's is known to the reader as two, by where it stands.
TEST(avro_readers_types_by_their_place)
{
    table t({from_payload("v", t_int, "$.x.v"), from_payload("w", t_int, "$.x.w")}, "avro");
    t.option("avro_framing", "container").option("avro_schema", R"([
        {"type": "record", "name": "a", "fields": [{"name": "x", "type":
            {"type": "record", "name": "r", "fields": [{"name": "v", "type": "int"}]}}]},
        {"type": "record", "name": "b", "fields": [{"name": "x", "type":
            {"type": "record", "name": "s", "fields": [
                {"name": "w", "type": "int", "aliases": ["v"]}]}}]}])");
    const std::string written = R"([
        {"type": "record", "name": "a", "fields": [{"name": "x", "type":
            {"type": "record", "name": "r", "fields": [{"name": "v", "type": "int"}]}}]},
        {"type": "record", "name": "b", "fields": [{"name": "x", "type": "r"}]}])";
    const std::string two = std::string("\4\10\0\16\2\20", 6) + mark;
    CHECK_EQ(decoding(t).decode(container_of(written, "null", two)), "7,null|null,8");
}

TEST(avro_containers)
{
    const std::string schema = record_schema("\"int\"");
    auto container = [&](std::string_view codec, std::string_view blocks) {
        return container_of(schema, codec, blocks);
    };
    const std::string two = "\4\4\2\4" + mark;
    table t({from_payload("a", t_int)}, "avro");
    CHECK_EQ(decoding(t).decode(container("null", two + two)), "1|2|1|2");
    CHECK_EQ(decoding(t).decode(container("null", "")), "-");
#if defined(KE_ZLIB) && defined(KE_SNAPPY)
    // Packed: deflate's stored block, snappy's literal with its checksum.
    const std::string stored = std::string("\4\16\1\2\0\xfd\xff\2\4", 9);
    CHECK_EQ(decoding(t).decode(container("deflate", stored + mark + stored + mark)), "1|2|1|2");
    CHECK_EQ(decoding(t).decode(container("deflate", "\4\14" + stored.substr(2, 6) + mark)),
             bad("A block of the container ends too early."));
    CHECK_EQ(decoding(t).decode(container("snappy", "\4\20\2\4\2\4\xab\x04\x80\x6b" + mark)),
             bad("A block of the container has another checksum."));
#endif
    CHECK_EQ(decoding(t).decode(container("lzo", two)),
             bad("The container is packed by a codec that is not known."));
    CHECK_EQ(decoding(t).decode(container("null", "\2" + two.substr(1))),
             bad("A block of the container is longer or shorter than it says."));
    CHECK_EQ(decoding(t).decode(container("null", "\4\4\2\4x123456789abcdef")),
             bad("A block of the container is not followed by its mark."));
    CHECK_EQ(decoding(t).decode("junk"), bad("The payload is not an object container."));
    // The reader's names: an alias, and the default of a field that was not written.
    table resolved({from_payload("b", t_int), from_payload("c", t_text)}, "avro");
    resolved.option("avro_framing", "container").option("avro_schema", R"({"type": "record",
        "name": "r", "fields": [{"name": "b", "type": "long", "aliases": ["a"]},
                                {"name": "c", "type": "string", "default": "none"}]})");
    CHECK_EQ(decoding(resolved).decode(container("null", two)), "1,none|2,none");
}

// A field that the reader has no default for, where a column wants it; without a reader's schema it is null.
TEST(avro_fields_that_were_not_written)
{
    const std::string payload = container_of(record_schema("\"int\""), "null", "\2\2\2" + mark);
    const std::string reader = R"({"type": "record", "name": "r", "fields": [
        {"name": "a", "type": "long"}, {"name": "c", "type": ["null", "string"]},
        {"name": "d", "type": {"type": "record", "name": "s", "fields": [{"name": "x", "type": "int"}]}}]})";
    auto read = [&](std::initializer_list<column> columns, bool with_reader) {
        table t(columns, "avro");
        t.option("avro_framing", "container");
        if (with_reader)
            t.option("avro_schema", reader);
        return decoding(t).decode(payload);
    };
    const auto missing = [](const std::string& name) {
        return bad(
            ("Field " + name +
             " of the reader's schema was not written, and has no default there that fits it.")
                .c_str());
    };
    const column a = from_payload("a", t_int), c = from_payload("c", t_text);
    CHECK_EQ(read({a}, true), "1");
    CHECK_EQ(read({a, c}, true), missing("c"));
    CHECK_EQ(read({a, from_payload("x", t_int, "$.d.x")}, true), missing("d"));
    CHECK_EQ(read({from_payload("all", t_jsonb, "$")}, true), missing("c"));
    CHECK_EQ(read({a, from_payload("other", t_int)}, true), "1,null");
    CHECK_EQ(read({a, c}, false), "1,null");
}

// They are values of their types: bytes are code points, times are numbers, records have fields.
TEST(avro_defaults_of_all_types)
{
    const std::string payload = container_of(record_schema("\"int\""), "null", "\2\2\2" + mark);
    auto read = [&](const std::string& type, const std::string& otherwise, const column& c) {
        table t({c}, "avro");
        t.option("avro_framing", "container");
        t.option("avro_schema",
                 R"({"type": "record", "name": "r", "fields": [{"name": "x", "type": )" + type +
                     R"(, "default": )" + otherwise + "}]}");
        return decoding(t).decode(payload);
    };
    auto json = [&](const std::string& type, const std::string& otherwise) {
        const std::string found = read(type, otherwise, from_payload("x", t_jsonb));
        return found.starts_with('<') ? found.substr(1, found.size() - 2) : found;
    };
    const std::string unfit = bad(
        "Field x of the reader's schema was not written, and has no default there that fits it.");
    const std::string decimal =
        R"({"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2})";
    CHECK_EQ(read(decimal, R"("\u0000")", from_payload("x", t_text)), "0.00");
    CHECK_EQ(read(decimal, R"("\u0001\u00ff")", from_payload("x", t_text)), "5.11");
    CHECK_EQ(read(decimal, R"("\u0100")", from_payload("x", t_text)), unfit);
    CHECK_EQ(json("\"bytes\"", R"("\u00ff")"), "\"/w==\"");
    CHECK_EQ(json(R"({"type": "fixed", "name": "f", "size": 2})", R"("\u00ff")"), unfit);
    CHECK_EQ(json(R"({"type": "long", "logicalType": "timestamp-micros"})", "1000000"),
             "\"1970-01-01 00:00:01.000000+00\"");
    CHECK_EQ(json(R"({"type": "array", "items": "float"})", "[1, 0.5]"), "[1, 0.5]");
    CHECK_EQ(json(R"({"type": "map", "values": ["null", "boolean"]})", R"({"a": null, "b": true})"),
             R"({"a": null, "b": true})");
    CHECK_EQ(json("[\"null\", \"string\"]", "\"s\""), "\"s\"");
    CHECK_EQ(json(R"({"type": "enum", "name": "e", "symbols": ["A", "B"]})", "\"B\""), "\"B\"");
    CHECK_EQ(json(R"({"type": "enum", "name": "e", "symbols": ["A", "B"]})", "\"C\""), unfit);
    CHECK_EQ(json("\"int\"", "3000000000"), unfit);
    CHECK_EQ(json("\"null\"", "null"), "null");
    const std::string inner =
        R"({"type": "record", "name": "q", "fields": [{"name": "y", "type": "int", "default": 3},
                                 {"name": "z", "type": "string"}]})";
    CHECK_EQ(json(inner, R"({"z": "t"})"), R"({"y": 3, "z": "t"})");
    CHECK_EQ(json(inner, "{}"), unfit);
    CHECK_EQ(read(inner, R"({"z": "t", "y": 7})", from_payload("x", t_int, "$.x.y")), "7");
}

// Records whose defaults are records whose defaults ...: bounded, whatever they stand for.
TEST(avro_defaults_without_end)
{
    std::string type = "\"int\"", otherwise = "1";
    for (int depth = 0; depth < 12; depth++) {
        std::string fields;
        for (int i = 0; i < 8; i++)
            fields += (i ? ", {\"name\": \"f" : "{\"name\": \"f") + std::to_string(i) +
                      "\", \"type\": " + (i ? "\"r" + std::to_string(depth - 1) + "\"" : type) +
                      ", \"default\": " + otherwise + "}";
        if (depth == 0)
            fields = R"({"name": "n", "type": "int", "default": 1})";
        type = R"({"type": "record", "name": "r)" + std::to_string(depth) + R"(", "fields": [)" +
               fields + "]}";
        otherwise = "{}";
    }
    CHECK(static_cast<bool>(decode::avro_schema::parse(type)));
    const std::string itself =
        R"({"type": "record", "name": "r", "fields": [{"name": "r", "type": "r", "default": {}}]})";
    CHECK(static_cast<bool>(decode::avro_schema::parse(itself)));
}

// What takes bytes is bounded by them, however many rows they are; rows of no bytes are not.
TEST(avro_containers_of_many_rows)
{
    // A block of n data, so many bytes long; as deflate stores it, whose pieces end at 65535 bytes.
    auto block = [](std::size_t n, const std::string& data) {
        return number(n) + number(data.size()) + data + mark;
    };
    auto pieces = [](const std::string& data) {
        std::string out;
        for (std::size_t at = 0; at < data.size(); at += 65535) {
            const std::string piece = data.substr(at, 65535);
            const auto low = static_cast<char>(piece.size()),
                       high = static_cast<char>(piece.size() >> 8);
            out += at + piece.size() == data.size() ? '\1' : '\0';
            out += {low, high, static_cast<char>(~low), static_cast<char>(~high)};
            out += piece;
        }
        return out;
    };
    auto rows_of = [](const std::string& payload) {
        decoding d(table({from_payload("a", t_jsonb)}, "avro").option("avro_framing", "container"));
        const std::string shown = d.decode(payload);
        return shown.starts_with('!') ? shown : std::to_string(d.rows.row_count());
    };
    const std::size_t many = 200000;
    const std::string data(many, '\2'), nothing(many, '\0');
    const std::string flat = record_schema("\"int\""),
                      optional = record_schema("[\"null\", \"int\"]"),
                      deep = record_schema(R"({"type": "record", "name": "s", "fields": [
                          {"name": "b", "type": "int"}]})"),
                      empty = R"({"type": "record", "name": "r", "fields": []})";
    CHECK_EQ(rows_of(container_of(flat, "null", block(many, data))), "200000");
    CHECK_EQ(rows_of(container_of(flat, "deflate", block(many, pieces(data)))), "200000");
    CHECK_EQ(rows_of(container_of(optional, "null", block(many, nothing))), "200000");
    CHECK_EQ(rows_of(container_of(deep, "null", block(many, data))), "200000");
    CHECK_EQ(rows_of(container_of(empty, "null", block(many, ""))),
             bad("The payload has more items than it can hold."));
    CHECK_EQ(avro(R"({"type": "array", "items": ["null", "int"]})",
                  number(many) + nothing + std::string(1, '\0'), t_jsonb)
                 .size(),
             many * 6 + 2);
}

TEST(avro_schemas_are_checked)
{
    CHECK_EQ(schema_fault("\"int\""), "");
    CHECK_EQ(schema_fault("int"), "");
    CHECK_EQ(schema_fault({}), "not an Avro schema: it is empty");
    CHECK_EQ(schema_fault("{\"type\": \"strin\"}"), "not an Avro schema: unknown type \"strin\"");
    CHECK_EQ(schema_fault("[\"int\", [\"null\"]]"),
             "not an Avro schema: a union stands within a union");
    CHECK_EQ(schema_fault(R"({"type": "record", "name": "r"})"),
             "not an Avro schema: record \"r\" has no fields");
    CHECK_EQ(schema_fault(R"({"type": "fixed", "name": "f", "size": -1})"),
             "not an Avro schema: fixed \"f\" has no size");
    CHECK(schema_fault("{").starts_with("not an Avro schema: "));
    CHECK_EQ(schema_fault(R"({"type": "record", "name": "a.r", "fields": [{"name": "x", "type":
        {"type": "enum", "name": "e", "symbols": []}}, {"name": "y", "type": "a.e"},
        {"name": "z", "type": "e"}]})"),
             "");
}
