// Bytes to cells never crash, read past the end or run away: one format, in a table with a column of
// every kind of type, with a key, and the same with _error. See the Makefile here.
//
//   avro, json, ...           a payload, without a schema or with one in the table's options
//   avro_framed, ...          a payload in a registry's frame; the registry has one schema, for all
//   avro_registry, ...        lines, which are the registry's answers; an empty line; a framed payload
//   encoded                   a row, for all formats: encoded and decoded (encoded.cpp)
#include <algorithm>
#include <cstddef>
#include <cstdint>
#include <cstdlib>
#include <cstring>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "decode/decoder.h"
#include "encoded.h"
#include "registry.h"

using namespace ke;
using namespace ke::decode;

namespace {

column at(const char* name, cell_type type, const char* where = nullptr, int typmod = -1)
{
    column c;
    c.name = name;
    c.type.type = type;
    c.type.typmod = typmod;
    if (where) {
        c.where = parse_path(where).value();
        c.whole_document = c.where.empty();
    }
    return c;
}

type_desc array_of(type_desc element)
{
    type_desc t;
    t.type = cell_type::other;
    t.element = std::make_shared<const type_desc>(std::move(element));
    return t;
}

// A field of every kind of type; the columns' names are letters.
constexpr const char* avro_schema_text = R"({"type": "record", "name": "r", "fields": [
  {"name": "a", "type": "boolean"}, {"name": "b", "type": "int"}, {"name": "d", "type": "long"},
  {"name": "e", "type": ["null", "float", "double"]},
  {"name": "g", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
  {"name": "h", "type": ["null", "string", "bytes", "r"]},
  {"name": "l", "type": {"type": "int", "logicalType": "date"}},
  {"name": "m", "type": {"type": "long", "logicalType": "time-micros"}},
  {"name": "n", "type": {"type": "long", "logicalType": "local-timestamp-millis"}},
  {"name": "o", "type": {"type": "long", "logicalType": "timestamp-micros"}},
  {"name": "p", "type": {"type": "fixed", "name": "u", "size": 16, "logicalType": "uuid"}},
  {"name": "q", "type": {"type": "map", "values": ["null", "r", "long"]}},
  {"name": "r", "type": {"type": "array", "items": {"type": "array", "items": "null"}}},
  {"name": "s", "type": {"type": "fixed", "name": "i", "size": 12, "logicalType": "duration"}},
  {"name": "y", "type": {"type": "enum", "name": "n", "symbols": ["x", "y"]}},
  {"name": "z", "type": {"type": "array", "items": "int"}}]})";

// A message f.M with a field of every kind; the fields' names are letters. A FileDescriptorSet.
constexpr const char* protobuf_set =
    "Cs8FCgdmLnByb3RvEgFmGh9nb29nbGUvcHJvdG9idWYvdGltZXN0YW1wLnByb3RvGh5nb29nbGUvcHJvdG9idWYv"
    "ZHVyYXRpb24ucHJvdG8aHGdvb2dsZS9wcm90b2J1Zi9zdHJ1Y3QucHJvdG8aGWdvb2dsZS9wcm90b2J1Zi9hbnku"
    "cHJvdG8aHmdvb2dsZS9wcm90b2J1Zi93cmFwcGVycy5wcm90byKLBAoBTRIJCgFhGAEgASgIEgkKAWIYAiABKBES"
    "DQoBYxgDIAEoBToCLTcSCQoBZBgEIAEoBBIJCgFlGAUgASgCEgkKAWYYBiABKAESCQoBZxgHIAEoCRIPCgFoGAgg"
    "ASgLMgQuZi5NEg8KAWkYCSABKA4yBC5mLkUSCQoBahgKIAEoBxIJCgFrGAsgASgMEicKAWwYDCABKAsyGi5nb29n"
    "bGUucHJvdG9idWYuVGltZXN0YW1wSAASJgoBbRgNIAEoCzIZLmdvb2dsZS5wcm90b2J1Zi5EdXJhdGlvbkgAEicK"
    "AW4YDiABKAsyGi5nb29nbGUucHJvdG9idWYuVGltZXN0YW1wSAASJQoBbxgPIAEoCzIaLmdvb2dsZS5wcm90b2J1"
    "Zi5UaW1lc3RhbXASCQoBcBgQIAEoDBIiCgFxGBEgASgLMhcuZ29vZ2xlLnByb3RvYnVmLlN0cnVjdBIfCgFyGBIg"
    "ASgLMhQuZ29vZ2xlLnByb3RvYnVmLkFueRIPCgFzGBMgAygLMgQuZi5NEgkKAXoYFCADKAUSFgoBeRgVIAMoCzIL"
    "LmYuTS5ZRW50cnkSEQoBdxgWIAEoCjIGLmYuTS5XGi4KBllFbnRyeRILCgNrZXkYASABKAkSEwoFdmFsdWUYAiAB"
    "KAsyBC5mLk06AjgBGg4KAVcSCQoBdhgBIAEoBUIFCgNvbmUqEQoBRRIFCgF4EAASBQoBeRABYgZwcm90bzI=";

// The same as a .proto file, which is what registries keep; and Debezium's envelope.
constexpr const char* protobuf_text = R"(syntax = "proto2"; package f;
import "google/protobuf/timestamp.proto"; import "google/protobuf/duration.proto";
import "google/protobuf/struct.proto"; import "google/protobuf/any.proto";
message M { optional bool a = 1; optional sint32 b = 2; optional int32 c = 3 [default = -7];
  optional uint64 d = 4; optional float e = 5; optional double f = 6; optional fixed64 g = 7;
  optional M h = 8; optional E i = 9; optional fixed32 j = 10; optional bytes k = 11;
  oneof one { google.protobuf.Timestamp l = 12; google.protobuf.Duration m = 13;
              google.protobuf.Timestamp n = 14; }
  optional google.protobuf.Timestamp o = 15; optional bytes p = 16;
  optional google.protobuf.Struct q = 17; optional google.protobuf.Any r = 18; repeated M s = 19;
  repeated int32 z = 20; map<string, M> y = 21; optional group W = 22 { optional int32 v = 1; } }
enum E { x = 0; y_ = 1; })";

constexpr const char* change_text = R"({"type": "record", "name": "Envelope", "fields": [
  {"name": "before", "type": ["null", {"type": "record", "name": "Value", "fields": [
    {"name": "a", "type": "boolean"}, {"name": "d", "type": "long"}, {"name": "f", "type": "double"},
    {"name": "g", "type": ["null", {"type": "bytes", "scale": 2, "precision": 9,
      "connect.version": 1, "connect.name": "org.apache.kafka.connect.data.Decimal",
      "logicalType": "decimal"}]},
    {"name": "h", "type": ["null", "string"]},
    {"name": "l", "type": {"type": "int", "connect.version": 1,
      "connect.name": "io.debezium.time.Date"}},
    {"name": "n", "type": {"type": "long", "connect.name": "io.debezium.time.MicroTimestamp"}},
    {"name": "o", "type": {"type": "string", "connect.name": "io.debezium.time.ZonedTimestamp"}},
    {"name": "z", "type": ["null", {"type": "array", "items": ["null", "int"]}]}]}]},
  {"name": "after", "type": ["null", "Value"]},
  {"name": "source", "type": {"type": "record", "name": "Source", "fields": [
    {"name": "lsn", "type": ["null", "long"]}, {"name": "table", "type": "string"}]}},
  {"name": "op", "type": "string"}, {"name": "ts_ms", "type": ["null", "long"]}]})";

bool ends(const std::string& name, const char* with)
{
    return name.ends_with(with);
}

std::shared_ptr<const row_plan> make_plan(const char* format, bool errors, bool utf8, bool sole)
{
    auto plan = std::make_shared<row_plan>();
    const std::string name = format;
    plan->format = name.substr(0, name.find('_'));
    if (name == "json_schema")
        plan->format = name;
    if (ends(name, "_framed") || ends(name, "_registry"))
        plan->schemas = ke::fuzz::new_client();
    if (plan->schemas && plan->format == "debezium")
        plan->options.emplace_back("encoding", "avro");
    plan->key_format = plan->format;
    if (name == "avro")
        plan->options.emplace_back("avro_schema", avro_schema_text);
    if (name == "protobuf") {
        plan->options.emplace_back("protobuf_descriptor_set", protobuf_set);
        plan->options.emplace_back("protobuf_message", "f.M");
    }
    plan->server_encoding_utf8 = utf8;
    std::vector<column>& columns = plan->columns;
    if (sole) {
        columns.push_back(at("doc", cell_type::jsonb, "$"));
    } else {
        for (int t = 0; t <= static_cast<int>(cell_type::other); t++)
            columns.push_back(at(std::string(1, static_cast<char>('a' + t)).c_str(),
                                 static_cast<cell_type>(t), nullptr, t % 2 ? 7 : -1));
        columns.push_back(at("deep", cell_type::int4, "$.a.b[1].c"));
        columns.push_back(at("first", cell_type::text, "$.z[0]"));
        column ints = at("z", cell_type::other);
        ints.type = array_of(at("", cell_type::int4).type);
        columns.push_back(ints);
        column pairs = at("y", cell_type::other);
        type_desc pair;
        pair.type = cell_type::other;
        pair.fields = {{"a", at("", cell_type::bytea).type},
                       {"b", array_of(at("", cell_type::timestamptz).type)}};
        pairs.type = array_of(pair);
        columns.push_back(pairs);
    }
    column key = at("k", cell_type::text, sole ? "$" : nullptr);
    key.source = column_source::key;
    columns.push_back(key);
    if (errors) {
        column error = at("_error", cell_type::text);
        error.source = column_source::metadata;
        error.metadata = role::error;
        columns.push_back(error);
    }
    plan->payload_columns = static_cast<int>(columns.size()) - 1 - (errors ? 1 : 0);
    for (column& c : columns) {
        if (c.source == column_source::metadata)
            continue;
        auto& names = c.source == column_source::key ? plan->key_names : plan->payload_names;
        c.ordinal = static_cast<int>(names.size());
        names.push_back(c.name);
    }
    plan->payload_needed = plan->key_needed = true;
    plan->has_error_column = errors;
    return plan;
}

struct table {
    std::unique_ptr<record_decoder> decoder;
    rows out;
    explicit table(std::shared_ptr<const row_plan> plan)
        : decoder(std::move(record_decoder::make(plan).value())), out(plan->columns.size())
    {
    }
};

// Every row must be in a state that the server knows, and what cells point to readable.
void look_at(const rows& out)
{
    for (std::uint32_t r = 0; r < out.row_count(); r++)
        for (std::size_t c = 0; c < out.columns(); c++) {
            const cell_state state = out.states(r)[c];
            if (state > cell_state::pending)
                std::abort();
            if (state == cell_state::pending) {
                volatile std::size_t n =
                    std::strlen(reinterpret_cast<const char*>(out.cells(r)[c]));
                (void)n;
            }
        }
}

std::string quoted(std::string_view text)
{
    std::string out = "\"";
    for (char c : text)
        out += c == '"' ? "\\\"" : c == '\n' ? "\\n" : std::string(1, c);
    return out + "\"";
}

// What the registry has for *_framed.
std::string the_schema(const std::string& format)
{
    const bool protobuf = format.starts_with("protobuf");
    const char* text = protobuf                     ? protobuf_text
                       : format.starts_with("avro") ? avro_schema_text
                                                    : change_text;
    return std::string(protobuf ? R"({"schemaType": "PROTOBUF", "schema": )" : R"({"schema": )") +
           quoted(text) + "}";
}

// Takes the answers away from the front of the input.
std::string_view take_answers(std::string_view input)
{
    ke::fuzz::registry& r = ke::fuzz::the_registry();
    r = {};
    while (!input.empty()) {
        const std::string_view line = input.substr(0, input.find('\n'));
        input.remove_prefix(std::min(line.size() + 1, input.size()));
        if (line.empty())
            break;
        r.answers.emplace_back(line);
    }
    return input;
}

// Its halves and all of it, one after the other: the same whether they were expected or not.
void decode_parts(table& t, record r)
{
    const bytes whole = r.value;
    const std::size_t half = whole.size / 2;
    const bytes parts[] = {bytes(whole.data + half, whole.size - half), bytes(whole.data, half),
                           whole, bytes(whole.data, half)};
    std::size_t rows[2], rejects[2];
    for (int expected = 0; expected < 2; expected++) {
        t.out.reset();
        t.decoder->expect(expected ? std::span<const bytes>(parts) : std::span<const bytes>());
        for (const bytes& part : parts) {
            r.value = part;
            t.decoder->decode(r, t.out);
        }
        look_at(t.out);
        rows[expected] = t.out.row_count();
        rejects[expected] = t.out.rejects.size();
    }
    t.decoder->expect({});
    if (rows[0] != rows[1] || rejects[0] != rejects[1])
        std::abort();
}

std::string format; // the name of the program

} // namespace

extern "C" int LLVMFuzzerInitialize(int*, char*** arguments)
{
    format = (*arguments)[0];
    format.erase(0, format.rfind('/') + 1);
    if (ends(format, "_framed"))
        ke::fuzz::the_registry().answers = {the_schema(format)};
    return 0;
}

extern "C" int LLVMFuzzerTestOneInput(const std::uint8_t* data, std::size_t size)
{
    static std::vector<table> tables;
    std::string_view input(reinterpret_cast<const char*>(data), size);
    if (format == "encoded") {
        ke::fuzz::encode_and_decode(input);
        return 0;
    }
    if (ends(format, "_registry")) { // which the decoders remember
        tables.clear();
        input = take_answers(input);
    }
    if (tables.empty()) {
        tables.emplace_back(make_plan(format.c_str(), false, true, false));
        tables.emplace_back(make_plan(format.c_str(), true, false, false));
        tables.emplace_back(make_plan(format.c_str(), false, true, true));
    }
    // On the heap, to the byte, so that a read past the end is seen.
    std::unique_ptr<char[]> copy(new char[input.size()]);
    std::copy(input.begin(), input.end(), copy.get());
    for (table& t : tables) {
        record r;
        r.topic = "fuzz";
        r.value = bytes(copy.get(), input.size());
        r.key = bytes(copy.get(), input.size() / 2);
        t.out.reset();
        t.decoder->decode(r, t.out);
        look_at(t.out);
        decode_parts(t, r);
    }
    return 0;
}
