// One case of decoding, over and over: micro CASE RECORDS decodes so many records, 250 of which come
// at once, as a lane has them, and says how long one took and how long its payload is. micro alone names
// the cases. test/micro/run counts instructions by running it twice.
#include <chrono>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <string>
#include <vector>

#include "decode/decoder.h"
#include "decode/tuples.h"

using namespace ke;
using namespace ke::decode;

namespace {

constexpr int at_once = 250;
constexpr int different = 1000; // payloads

struct micro_case {
    std::string name;
    std::string format;
    std::vector<std::pair<const char*, cell_type>> columns;
    std::function<std::string(int)> payload;
    std::vector<std::pair<std::string, std::string>> options = {};
};

std::string print(const char* format, auto... values)
{
    char text[600];
    return {text, static_cast<std::size_t>(snprintf(text, sizeof text, format, values...))};
}

// --- the record of `make bench`, 110 bytes of JSON, and the same in other formats ---

const std::vector<std::pair<const char*, cell_type>> bench_columns = {
    {"id", cell_type::int8},        {"name", cell_type::text}, {"at", cell_type::timestamptz},
    {"amount", cell_type::numeric}, {"note", cell_type::text},
};

// The same with the name that influx has for the time.
const std::vector<std::pair<const char*, cell_type>> influx_columns = {
    {"id", cell_type::int8},        {"name", cell_type::text}, {"time", cell_type::timestamptz},
    {"amount", cell_type::numeric}, {"note", cell_type::text},
};

std::string time_of(int n)
{
    return print("2026-03-%02dT10:%02d:%02dZ", n % 28 + 1, n % 60, n * 7 % 60);
}
std::string json_object(int n)
{
    return print(R"({"id":%d,"name":"customer %d","at":"%s","amount":%d.%02d,"note":"%020d"})",
                 500000 + n, n, time_of(n).c_str(), n * 7, n % 100, n);
}

void append_big_endian(std::string& out, std::uint64_t value, int size)
{
    for (int i = size - 1; i >= 0; i--)
        out.push_back(static_cast<char>(value >> (8 * i)));
}
// A map of the same five members; how the two formats spell their heads is all that differs.
struct heads {
    char map, text, number, real;
};
std::string packed(const heads& h, int n)
{
    std::string out(1, h.map);
    auto text = [&](const std::string& s) {
        if (s.size() < 24)
            out.push_back(static_cast<char>(static_cast<unsigned char>(h.text) + s.size()));
        out += s;
    };
    text("id");
    out.push_back(h.number);
    append_big_endian(out, static_cast<std::uint64_t>(500000 + n), 4);
    text("name");
    text(print("customer %d", n));
    text("at");
    text(time_of(n));
    text("amount");
    const double amount = n * 7 + 0.25;
    std::uint64_t bits;
    std::memcpy(&bits, &amount, sizeof bits);
    out.push_back(h.real);
    append_big_endian(out, bits, 8);
    text("note");
    text(print("%020d", n));
    return out;
}

std::string avro_datum(int n)
{
    std::string out;
    auto number = [&](std::int64_t value) {
        std::uint64_t z =
            (static_cast<std::uint64_t>(value) << 1) ^ static_cast<std::uint64_t>(value >> 63);
        for (; z > 127; z >>= 7)
            out.push_back(static_cast<char>(z | 128));
        out.push_back(static_cast<char>(z));
    };
    auto text = [&](const std::string& s) {
        number(static_cast<std::int64_t>(s.size()));
        out += s;
    };
    number(500000 + n);
    text(print("customer %d", n));
    number(1772359200000000 + n * 1000000LL);
    std::string amount;
    append_big_endian(amount, static_cast<std::uint64_t>(n * 725), 4);
    text(amount);
    text(print("%020d", n));
    return out;
}
constexpr const char* avro_schema = R"({"type": "record", "name": "r", "fields": [
  {"name": "id", "type": "long"}, {"name": "name", "type": "string"},
  {"name": "at", "type": {"type": "long", "logicalType": "timestamp-micros"}},
  {"name": "amount", "type": {"type": "bytes", "logicalType": "decimal", "precision": 9, "scale": 2}},
  {"name": "note", "type": "string"}]})";

// bench.R { int64 id = 1; string name = 2; google.protobuf.Timestamp at = 3; string amount = 4; string note = 5; }
constexpr const char* protobuf_set =
    "Cp4BCgdyLnByb3RvEgViZW5jaBofZ29vZ2xlL3Byb3RvYnVmL3RpbWVzdGFtcC5wcm90byJjCgFSEgoKAmlkGAEg"
    "ASgDEgwKBG5hbWUYAiABKAkSJgoCYXQYAyABKAsyGi5nb29nbGUucHJvdG9idWYuVGltZXN0YW1wEg4KBmFtb3Vu"
    "dBgEIAEoCRIMCgRub3RlGAUgASgJYgZwcm90bzM=";

std::string protobuf_message(int n)
{
    std::string out;
    auto number = [](std::string& to, std::uint64_t value) {
        for (; value > 127; value >>= 7)
            to.push_back(static_cast<char>(value | 128));
        to.push_back(static_cast<char>(value));
    };
    auto bytes = [&](int field, const std::string& s) {
        out.push_back(static_cast<char>(field << 3 | 2));
        number(out, s.size());
        out += s;
    };
    out.push_back(1 << 3);
    number(out, static_cast<std::uint64_t>(500000 + n));
    bytes(2, print("customer %d", n));
    std::string at(1, 1 << 3);
    number(at, 1772359200 + static_cast<std::uint64_t>(n));
    bytes(3, at);
    bytes(4, print("%d.%02d", n * 7, n % 100));
    bytes(5, print("%020d", n));
    return out;
}

std::vector<micro_case> all_cases()
{
    std::vector<micro_case> all = {
        {"json", "json", bench_columns, json_object},
        {"csv", "csv", bench_columns,
         [](int n) {
             return print("%d,customer %d,%s,%d.%02d,%020d\n", 500000 + n, n, time_of(n).c_str(),
                          n * 7, n % 100, n);
         }},
        {"tsv", "tsv", bench_columns,
         [](int n) {
             return print("%d\tcustomer %d\t%s\t%d.%02d\t%020d\n", 500000 + n, n,
                          time_of(n).c_str(), n * 7, n % 100, n);
         }},
        {"msgpack", "msgpack", bench_columns,
         [](int n) {
             return packed({'\x85', '\xa0', '\xce', '\xcb'}, n);
         }},
        {"cbor", "cbor", bench_columns,
         [](int n) {
             return packed({'\xa5', '\x60', '\x1a', '\xfb'}, n);
         }},
        {"avro", "avro", bench_columns, avro_datum, {{"avro_schema", avro_schema}}},
        {"protobuf",
         "protobuf",
         bench_columns,
         protobuf_message,
         {{"protobuf_descriptor_set", protobuf_set}, {"protobuf_message", "bench.R"}}},
        {"influx", "influx", influx_columns,
         [](int n) {
             return print("r id=%di,name=\"customer %d\",amount=%d.%02d,note=\"%020d\" %d000000000",
                          500000 + n, n, n * 7, n % 100, n, 1772359200 + n);
         }},
        {"debezium",
         "debezium",
         bench_columns,
         [](int n) {
             return print(R"({"before":null,"after":{"id":%d,"name":"customer %d","at":"%s",)"
                          R"("amount":"%d.%02d","note":"%020d"},"op":"c","ts_ms":1772359200000})",
                          500000 + n, n, time_of(n).c_str(), n * 7, n % 100, n);
         },
         {{"decimals", "string"}}},
    };
    // A JSON document with one member, by type.
    const std::tuple<const char*, cell_type, std::function<std::string(int)>> types[] = {
        {"boolean", cell_type::boolean,
         [](int n) { return std::string(n % 2 ? "true" : "false"); }},
        {"int8", cell_type::int8, [](int n) { return print("%d", n * 1000003); }},
        {"float8", cell_type::float8, [](int n) { return print("%.7f", n * 1.37); }},
        {"numeric", cell_type::numeric, [](int n) { return print("%d.%02d", n * 731, n % 100); }},
        {"text", cell_type::text, [](int n) { return print("\"%020d\"", n); }},
        {"escaped", cell_type::text, [](int n) { return print(R"("caf\u00e9 \"%d\"")", n); }},
        {"date", cell_type::date, [](int n) { return print("\"2026-03-%02d\"", n % 28 + 1); }},
        {"timestamptz", cell_type::timestamptz, [](int n) { return '"' + time_of(n) + '"'; }},
        {"epoch", cell_type::timestamptz, [](int n) { return print("17723592%05d", n); }},
        {"uuid", cell_type::uuid,
         [](int n) { return print("\"7d444840-9dc0-11d1-b245-5ffdce74%04x\"", n); }},
        {"bytea", cell_type::bytea, [](int) { return std::string("\"aGVsbG8gd29ybGQ=\""); }},
        {"json", cell_type::json, [](int n) { return print(R"({"a":[1,2,%d]})", n); }},
        {"skipped", cell_type::other, [](int n) { return print(R"({"a":[1,2,%d]})", n); }},
    };
    for (const auto& [name, type, value] : types) {
        const bool skipped = type == cell_type::other;
        all.push_back({std::string("json ") + name,
                       "json",
                       {{skipped ? "w" : "v", skipped ? cell_type::text : type}},
                       [value](int n) { return "{\"v\":" + value(n) + "}"; }});
    }
    return all;
}

std::shared_ptr<row_plan> plan_of(const micro_case& c)
{
    auto plan = std::make_shared<row_plan>();
    plan->format = c.format;
    plan->options = c.options;
    plan->payload_needed = true;
    plan->payload_columns = static_cast<int>(c.columns.size());
    for (const auto& [name, type] : c.columns) {
        column col;
        col.name = name;
        col.type.type = type;
        col.ordinal = static_cast<int>(plan->payload_names.size());
        plan->payload_names.push_back(col.name);
        plan->columns.push_back(col);
    }
    return plan;
}

int run(const micro_case& c, long records)
{
    auto decoder = std::move(record_decoder::make(plan_of(c)).value());
    std::vector<std::string> payloads;
    std::vector<bytes> values;
    std::size_t size = 0;
    for (int n = 0; n < different; n++)
        size += payloads.emplace_back(c.payload(n)).size();
    for (const std::string& p : payloads)
        values.push_back(bytes(p.data(), p.size()));
    rows out(c.columns.size());
    const auto begin = std::chrono::steady_clock::now();
    for (long n = 0; n < records; n++) {
        const auto i = static_cast<std::size_t>(n % different);
        if (n % at_once == 0) {
            if (n > 0 && (!out.rejects.empty() || out.row_count() != at_once))
                return 1;
            out.reset();
            decoder->expect(std::span(values).subspan(i, at_once));
        }
        decoder->decode({.topic = "t",
                         .topic_no = topic_number(0),
                         .partition = partition_id(0),
                         .offset = message_offset(n),
                         .value = values[i]},
                        out);
    }
    const std::chrono::duration<double, std::nano> spent = std::chrono::steady_clock::now() - begin;
    std::printf("%.0f %.0f\n", spent.count() / static_cast<double>(records),
                static_cast<double>(size) / different);
    return 0;
}

} // namespace

int main(int argc, char** argv)
{
    for (const micro_case& c : all_cases()) {
        if (argc < 3)
            std::puts(c.name.c_str());
        else if (c.name == argv[1])
            return run(c, std::atol(argv[2]));
    }
    return argc < 3 ? 0 : 2;
}
