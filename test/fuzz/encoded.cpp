// What an encoder writes is read to the same values again, or it refuses them: a row with a column of each
// kind, in a table of each format, in schemas that have room for all of it and in some that have not.
#include "encoded.h"

#include <algorithm>
#include <bit>
#include <cmath>
#include <cstdio>
#include <cstdlib>
#include <list>
#include <memory>

#include "../unit/decoding.h"
#include "decode/big_number.h"
#include "decode/utf8.h"
#include "registry.h"
#include "values.h"

namespace ke::fuzz {

using namespace decode;
using kind = value::kind;

namespace {

constexpr const char* avro_fitting = R"({"type": "record", "name": "t", "fields": [
  {"name": "a", "type": ["null", "boolean"]}, {"name": "b", "type": ["null", "int"]},
  {"name": "c", "type": ["int", "null"]}, {"name": "d", "type": ["null", "long"]},
  {"name": "e", "type": ["null", "float"]}, {"name": "f", "type": ["null", "double"]},
  {"name": "g", "type": ["null",
    {"type": "bytes", "logicalType": "decimal", "precision": 60, "scale": 9}]},
  {"name": "h", "type": ["null", "string"]}, {"name": "k", "type": ["null", "bytes"]},
  {"name": "l", "type": ["null", {"type": "int", "logicalType": "date"}]},
  {"name": "m", "type": ["null", {"type": "long", "logicalType": "time-micros"}]},
  {"name": "n", "type": ["null", {"type": "long", "logicalType": "local-timestamp-micros"}]},
  {"name": "o", "type": ["null", {"type": "long", "logicalType": "timestamp-micros"}]},
  {"name": "p", "type": ["null",
    {"type": "fixed", "name": "u", "size": 16, "logicalType": "uuid"}]},
  {"name": "q", "type": {"type": "record", "name": "q", "fields": [{"name": "a",
    "type": ["null", "boolean", "long", "double", "string", {"type": "array", "items": ["null", "q"]},
             {"type": "map", "values": ["null", "long", "string"]}], "default": null}]}},
  {"name": "r", "type": ["null", "string"]},
  {"name": "z", "type": ["null", {"type": "array", "items": ["null", "int"]}]},
  {"name": "y", "type": ["null", {"type": "record", "name": "y", "fields": [
    {"name": "a", "type": ["null", "long"]}, {"name": "b", "type": ["null", "string"]}]}]},
  {"name": "w", "type": {"type": "record", "name": "w", "fields": [
    {"name": "x", "type": {"type": "array", "items": ["null", "int"]}}]}}]})";

constexpr const char* avro_odd = R"({"type": "record", "name": "t", "fields": [
  {"name": "a", "type": ["null", "string", "boolean"]}, {"name": "b", "type": ["null", "float"]},
  {"name": "c", "type": ["null", "float"]}, {"name": "d", "type": ["null", "double"]},
  {"name": "e", "type": ["null", "double"]}, {"name": "f", "type": ["null", "float"]},
  {"name": "g", "type": ["null", "float", "double"]}, {"name": "h", "type": ["string", "null"]},
  {"name": "k", "type": ["null", {"type": "fixed", "name": "f", "size": 3}, "bytes"]},
  {"name": "l", "type": ["null", "string"]},
  {"name": "m", "type": ["null", {"type": "int", "logicalType": "time-millis"}, "string"]},
  {"name": "n", "type": ["null", {"type": "long", "logicalType": "local-timestamp-nanos"}, "string"]},
  {"name": "o", "type": ["null", {"type": "long", "logicalType": "timestamp-millis"}]},
  {"name": "p", "type": ["null", {"type": "string", "logicalType": "uuid"}]},
  {"name": "q", "type": ["null", {"type": "map", "values": ["null", "double", "string"]},
    {"type": "array", "items": ["null", "string", "long"]}]},
  {"name": "r", "type": ["null", "double", "string", {"type": "map", "values": "int"}]},
  {"name": "z", "type": {"type": "array", "items": ["null", "long"]}},
  {"name": "y", "type": ["null", {"type": "map", "values": ["null", "int", "string"]}]},
  {"name": "w", "type": ["null", {"type": "map", "values": {"type": "array", "items": ["null", "long"]}}]}]})";

[[maybe_unused]] constexpr const char* protobuf_fitting = R"(syntax = "proto3";
import "google/protobuf/timestamp.proto"; import "google/protobuf/struct.proto";
message Before { message M { optional bool a = 1; optional int32 b = 2; optional sint32 c = 3;
  optional int64 d = 4; optional float e = 5; optional double f = 6; optional string g = 7;
  optional string h = 8; optional bytes k = 9; optional string l = 10; optional string m = 11;
  google.protobuf.Timestamp n = 12; google.protobuf.Timestamp o = 13; optional string p = 14;
  google.protobuf.Value q = 15; google.protobuf.Struct r = 16; repeated int32 z = 17; Y y = 18; W w = 19; }
  message Y { optional sfixed64 a = 1; optional string b = 2; } message W { repeated int64 x = 1; } })";

[[maybe_unused]] constexpr const char* protobuf_odd = R"(syntax = "proto2";
import "google/protobuf/wrappers.proto"; import "google/protobuf/struct.proto";
message M { optional google.protobuf.BoolValue a = 1; optional fixed32 b = 2; optional float c = 3;
  optional double d = 4; optional double e = 5; optional float f = 6; optional double g = 7;
  optional google.protobuf.StringValue h = 8; optional string k = 9; optional string l = 10;
  optional bytes m = 11; optional string n = 12; optional string o = 13; optional bytes p = 14;
  map<string, google.protobuf.Value> q = 15; optional google.protobuf.ListValue r = 16;
  repeated sint64 z = 17 [packed = true]; map<string, string> y = 18;
  optional group W = 19 { repeated fixed64 x = 1; } })";

// A client that has been told the newest schema of the one subject, and knows it by its number.
std::shared_ptr<ke::registry::client> client_of(const char* type, std::string_view schema)
{
    std::string answer = R"({"id": 7, "schemaType": ")" + std::string(type) + R"(", "schema": )";
    append_json_string(answer, schema);
    the_registry().answers = {answer + "}"};
    the_registry().asked = 0;
    auto client = new_client();
    client->find(ke::registry::schema_key::latest_of("t-value"), {});
    client->find(ke::registry::schema_key::of_id(7), {});
    return client;
}

struct subject {
    const char* name;
    bool as_text;
    test::decoding back;
    const format_row* row;

    subject(const char* n, const test::table& t)
        : name(n), as_text(t.plan.format == "csv" || t.plan.format == "tsv"), back(t),
          row(find_format(t.plan.format))
    {
    }
};

std::vector<column> columns_of(std::string_view format)
{
    using enum cell_type;
    using test::from_payload, test::type_of;
    std::vector<column> all;
    const std::pair<const char*, cell_type> plain[] = {{"a", boolean},
                                                       {"b", int2},
                                                       {"c", int4},
                                                       {"d", int8},
                                                       {"e", float4},
                                                       {"f", float8},
                                                       {"g", numeric},
                                                       {"h", text},
                                                       {"k", bytea},
                                                       {"l", date},
                                                       {"m", cell_type::time},
                                                       {"n", timestamp},
                                                       {"o", timestamptz},
                                                       {"p", uuid},
                                                       {"q", jsonb},
                                                       {"r", json}};
    for (const auto& [name, type] : plain)
        all.push_back(from_payload(name, type_of(type)));
    all.push_back(from_payload("z", test::array_of(type_of(int4))));
    type_desc pair = type_of(other);
    pair.fields = {{"a", type_of(int8)}, {"b", type_of(text)}};
    all.push_back(from_payload("y", pair));
    if (format == "influx") {
        all.push_back(from_payload("measurement", type_of(text)));
        all.push_back(from_payload("t", type_of(text), "tag.t"));
        all.push_back(from_payload("time", type_of(timestamptz)));
    } else if (format != "csv" && format != "tsv") {
        all.push_back(from_payload("x", type_of(int4), "$.w.x[0]"));
    }
    return all;
}

test::table table_of(const char* format)
{
    return test::table(columns_of(format), format);
}

std::list<subject> make_subjects()
{
    std::list<subject> all;
    for (const char* format : {"json", "csv", "tsv", "msgpack", "cbor", "influx"})
        all.emplace_back(format, table_of(format));
    all.emplace_back("json, hex", table_of("json").option("bytea_format", "hex"));
    all.emplace_back(
        "csv, odd",
        table_of("csv").option("delimiter", ";").option("quote", "'").option("escape", "\\"));
    all.emplace_back("influx, ms", table_of("influx").option("timestamp_unit", "ms"));
    for (const char* format : {"raw", "text"})
        all.emplace_back(
            format,
            test::table({test::from_payload("a", test::type_of(*format == 'r' ? cell_type::bytea
                                                                              : cell_type::text))},
                        format));
    for (const char* schema : {avro_fitting, avro_odd})
        all.emplace_back("avro", table_of("avro").option("avro_schema", schema));
    all.emplace_back(
        "avro, container",
        table_of("avro").option("avro_schema", avro_fitting).option("avro_framing", "container"));
    test::table framed = table_of("avro");
    framed.plan.schemas = client_of("AVRO", avro_odd);
    all.emplace_back("avro, framed", framed);
    framed = table_of("json_schema");
    framed.plan.schemas = client_of("JSON", "{}");
    all.emplace_back("json_schema", framed);
#ifdef KE_PROTOBUF
    framed = table_of("protobuf");
    framed.plan.schemas = client_of("PROTOBUF", protobuf_odd);
    all.emplace_back("protobuf, odd", framed);
    framed.option("protobuf_message", "Before.M");
    framed.plan.schemas = client_of("PROTOBUF", protobuf_fitting);
    all.emplace_back("protobuf", framed);
#endif
    return all;
}

// ------------------------------------------------------------------ what came back

// How a value reads as a number or a text; empty: it is neither.
std::string text_of(const value& v)
{
    switch (v.what) {
    case kind::integer:
        return std::to_string(v.i);
    case kind::real4:
    case kind::real8:
        return real_text(v);
    case kind::number:
    case kind::text:
        return std::string(v.s);
    default:
        return "";
    }
}

// A number may have become its text, where a format has no such numbers; no text becomes a number.
bool same_tree(const value& given, const value& found)
{
    static const value none;
    if (given.what == kind::array) {
        bool same = found.what == kind::array && found.items.size() == given.items.size();
        for (std::size_t i = 0; same && i < given.items.size(); i++)
            same = same_tree(given.items[i], found.items[i]);
        return same;
    }
    if (given.what == kind::record) { // what is missing is null
        bool same = found.what == kind::record;
        for (std::size_t i = 0; same && i < given.items.size(); i++) {
            const value* other = found.find(given.names[i]);
            same = same_tree(given.items[i], other ? *other : none);
        }
        for (std::size_t i = 0; same && i < found.items.size(); i++)
            same = found.items[i].what == kind::null || given.find(found.names[i]);
        return same;
    }
    if (given.what == kind::null || given.what == kind::boolean)
        return found.what == given.what && found.i == given.i;
    if (given.what == kind::text)
        return found.what == kind::text && given.s == found.s;
    return found.what != kind::array && found.what != kind::record &&
           (text_of(given) == text_of(found) || same_decimal(text_of(given), text_of(found)));
}

// Of arrays and composites: what the same makes of JSON.
std::string by_json(const value& v, const type_desc& type)
{
    std::string json;
    append_json(json, v, false);
    return test::decoded(json, type);
}

std::string without_zone(std::string s)
{
    for (char& c : s)
        c = c == 'T' ? ' ' : c;
    for (std::string_view zone : {"Z", "+00"})
        if (s.ends_with(zone))
            s.resize(s.size() - zone.size());
    return s;
}

// found: as show_cell() has it, without the brackets of what is pending.
bool same(const value& v, const type_desc& type, const std::string& found)
{
    arena memory;
    value given, read;
    std::string bytes;
    switch (v.what) {
    case kind::boolean:
        return found == (v.i ? "t" : "f");
    case kind::integer:
        return found == std::to_string(v.i);
    case kind::real4:
    case kind::real8: // show_cell() would round
        return true;
    case kind::number:
        return v.s == found || same_decimal(v.s, found);
    case kind::bytes:
        append_hex(bytes, v.s);
        return found == "x" + bytes || found == "\\x" + bytes;
    case kind::date:
        return found == std::to_string(v.i - 10957) || found == time_text(v);
    case kind::time:
        return found == std::to_string(v.i) || found == time_text(v);
    case kind::timestamp:
    case kind::timestamptz:
        return without_zone(found) == without_zone(time_text(v));
    case kind::json:
        return parse_json(v.s, memory, given) && parse_json(found, memory, read) &&
               same_tree(given, read);
    case kind::text:
        bytes = v.s;
        if (type.type == cell_type::uuid)
            std::erase(bytes, '-');
        return found == bytes;
    default:
        return "<" + found + ">" == by_json(v, type);
    }
}

bool same_real(const value& v, cell c, cell_state state)
{
    if (state == cell_state::pending)
        return real_text(v) == reinterpret_cast<const char*>(c);
    if (v.what == kind::real4) {
        const float f = std::bit_cast<float>(static_cast<std::int32_t>(c));
        return std::isnan(v.f) ? std::isnan(f) : static_cast<float>(v.f) == f;
    }
    const double f = std::bit_cast<double>(c);
    return std::isnan(v.f) ? std::isnan(f) : v.f == f;
}

// Formats that have no null: of Protobuf's lists and maps, and of JSON in general.
bool may_be_null(const value& v)
{
    return v.what == kind::null || (v.what == kind::json && v.s == "null") ||
           ((v.what == kind::array || v.what == kind::record) && v.items.empty());
}

[[noreturn]] void give_up(const subject& s, const value& v, const std::string& what)
{
    std::string json;
    append_json(json, v, false);
    std::fprintf(stderr, "%s: %s; given %s\n", s.name, what.c_str(), json.c_str());
    std::abort();
}

void compare(subject& s, const std::vector<value>& values, const std::string& made)
{
    const rows& out = s.back.rows;
    if (!out.rejects.empty() || out.row_count() != 1)
        give_up(s, {}, "not decoded: " + s.back.shown(0) + ": " + made);
    for (std::size_t i = 0; i < values.size(); i++) {
        const column& c = s.back.plan->columns[i];
        const value& v = values[i];
        const cell found = out.cells(0)[i];
        const cell_state state = out.states(0)[i];
        if (state == cell_state::null && may_be_null(v))
            continue;
        std::string shown = test::show_cell(found, state, c.type);
        if (state == cell_state::pending)
            shown = shown.substr(1, shown.size() - 2);
        const bool good =
            v.what == kind::null ? shown == "{}" || shown == "(,)" // Protobuf has no other
            : v.what == kind::real4 || v.what == kind::real8 ? same_real(v, found, state)
                                                             : same(v, c.type, shown);
        if (state == cell_state::null || !good)
            give_up(s, v, "column " + c.name + " came back as " + shown);
    }
}

void encode_and_decode(subject& s, std::string_view input)
{
    value_maker maker(input);
    const row_plan& plan = *s.back.plan;
    std::vector<const column*> columns;
    std::vector<value> given, values;
    for (const column& c : plan.columns) {
        columns.push_back(&c);
        given.push_back(maker.make(c.type, s.as_text));
        values.push_back(s.as_text ? maker.written(given.back()) : given.back());
    }
    const encode_request request{columns, values, {plan.options, false}, plan.schemas, "t-value"};
    auto encoder = s.row->make_encoder(request);
    std::shared_ptr<const fault> trouble;
    if (!encoder || !encoder.value()->prepare({}, trouble))
        std::abort();
    const auto payload = encoder.value()->encode(request);
    if (!payload)
        return;
    // On the heap, to the byte, so that a read past the end is seen.
    const std::string& made = payload.value();
    const std::unique_ptr<char[]> copy(new char[made.size()]);
    std::copy(made.begin(), made.end(), copy.get());
    s.back.rows.reset();
    s.back.decoder->decode(test::record_of({copy.get(), made.size()}), s.back.rows);
    compare(s, given, made);
}

} // namespace

void encode_and_decode(std::string_view input)
{
    static std::list<subject> all = make_subjects();
    for (subject& s : all)
        encode_and_decode(s, input);
}

} // namespace ke::fuzz
