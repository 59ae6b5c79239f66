// Where memory ends while a record is decoded, the decoder throws std::bad_alloc, and what it keeps is whole:
// the records that come after it are decoded as ever. Memory ends here at each allocation in turn.
#include "check.h"
#include "decoding.h"

#include <cstdlib>
#include <new>

using namespace ke;
using namespace ke::decode;
using namespace ke::test;

namespace {

thread_local int allocations_left = -1; // negative: as many as there are

} // namespace

void* operator new(std::size_t size)
{
    if (allocations_left == 0)
        throw std::bad_alloc();
    if (allocations_left > 0)
        allocations_left--;
    if (void* p = std::malloc(size ? size : 1))
        return p;
    throw std::bad_alloc();
}
void operator delete(void* p) noexcept
{
    std::free(p);
}
void operator delete(void* p, std::size_t) noexcept
{
    std::free(p);
}

namespace {

// Whether memory ended.
bool ends_after(int allocations, decoding& d, std::string_view payload)
{
    bool ended = false;
    d.rows.reset();
    allocations_left = allocations;
    try {
        d.decoder->decode(record_of(payload), d.rows);
    } catch (const std::bad_alloc&) {
        ended = true;
    }
    allocations_left = -1;
    return ended;
}

std::string decoded_by(decoding& d, std::string_view payload)
{
    d.rows.reset();
    return d.decode(payload);
}

// Payloads that leave something in the decoder: each is the one at which memory ends, behind those before it.
void check_memory(const table& t, const std::vector<std::string>& payloads)
{
    constexpr int most_allocations = 2000;
    std::vector<std::string> expected;
    for (const std::string& p : payloads)
        expected.push_back(decoding(t).decode(p));
    for (std::size_t last = 0; last < payloads.size(); last++)
        for (int n = 0, ended = 1; ended; n++) {
            REQUIRE(n < most_allocations);
            decoding d(t);
            for (std::size_t i = 0; i < last; i++)
                CHECK_EQ(decoded_by(d, payloads[i]), expected[i]);
            ended = ends_after(n, d, payloads[last]);
            CHECK(ended || d.shown(0) == expected[last]);
            for (std::size_t i = 0; i < payloads.size(); i++)
                CHECK_EQ(decoded_by(d, payloads[i]), expected[i]);
        }
}

table table_of(std::string format)
{
    return table({from_payload("a", type_of(cell_type::int8)),
                  from_payload("c", type_of(cell_type::text), "$.b.c"),
                  from_payload("d", array_of(type_of(cell_type::int4))),
                  from_payload("e", type_of(cell_type::jsonb))},
                 std::move(format));
}

const std::string mark = "0123456789abcdef";

std::string container_of(const std::string& schema, std::string_view datum)
{
    auto number = [](std::size_t n) {
        std::string out;
        for (n *= 2; n > 127; n >>= 7)
            out += static_cast<char>(n | 128);
        return out += static_cast<char>(n);
    };
    return std::string("Obj\1\2\26", 6) + "avro.schema" + number(schema.size()) + schema + '\0' +
           mark + '\2' + number(datum.size()) + std::string(datum) + mark;
}

} // namespace

TEST(memory_ends_in_documents)
{
    check_memory(table_of("json"), {R"({"a": 1, "b": {"c": "\u0041"}, "d": [1, 2], "e": {"f": 1}})",
                                    R"([{"d": [], "a": "2"}, {"b": {"c": null}, "g": 7}])"});
    check_memory(table_of("msgpack"), {"\x84\xa1"
                                       "a\x01\xa1"
                                       "b\x81\xa1"
                                       "c\xa1x\xa1"
                                       "d\x92\x01\x02\xa1"
                                       "e\xcb\x3f\xf8\0\0\0\0\0\0"});
    check_memory(table_of("cbor"), {"\xa3\x61"
                                    "a\x01\x61"
                                    "b\xa1\x61"
                                    "c\x61x\x61"
                                    "d\x82\x01\x02"});
    check_memory(table_of("influx"), {"m a=1i,e=\"{}\" 5\nm,x=y a=2i 6", "# none"});
}

TEST(memory_ends_in_lines)
{
    for (const char* format : {"csv", "tsv"})
        check_memory(table({from_payload("a", type_of(cell_type::int8)),
                            from_payload("b", type_of(cell_type::numeric)),
                            from_payload("c", type_of(cell_type::text))},
                           format),
                     {*format == 'c' ? "1,2.5,\"x\"\"\n\"\n2,,\n" : "1\t2.5\tx\\t\n2\t\\N\t\n"});
}

TEST(memory_ends_in_change_events)
{
    auto event = [](const char* meaning) {
        return std::string(R"({"schema": {"fields": [{"field": "after", "fields": [{"type": "int32",
            "name": ")") +
               meaning + R"(", "field": "a"}]}]}, "payload": {"op": "c", "after": {"a": 20000}}})";
    };
    check_memory(table({from_payload("a", type_of(cell_type::date)),
                        from_payload("_op", type_of(cell_type::text))},
                       "debezium"),
                 {event("io.debezium.time.Date"), event("org.apache.kafka.connect.data.Date"),
                  R"({"op": "d", "before": {"a": 1}})"});
}

TEST(memory_ends_in_avro)
{
    const std::string one = R"({"type": "record", "name": "r", "fields": [
        {"name": "a", "type": "long"},
        {"name": "b", "type": {"type": "record", "name": "b", "fields": [{"name": "c", "type": "string"}]}},
        {"name": "d", "type": {"type": "array", "items": "int"}}]})";
    const std::string other = R"({"type": "record", "name": "r", "fields": [
        {"name": "d", "type": {"type": "array", "items": "int"}}, {"name": "a", "type": "int"}]})";
    const std::string reader = R"({"type": "record", "name": "r", "fields": [
        {"name": "e", "type": "string", "default": "none"}, {"name": "a", "type": "long"}]})";
    const std::string datum("\2\2x\4\2\4\0", 7);
    check_memory(table_of("avro").option("avro_schema", one), {datum});
    const std::vector<std::string> both = {container_of(one, datum),
                                           container_of(other, std::string("\4\2\4\0\2", 5))};
    check_memory(table_of("avro").option("avro_framing", "container"), both);
    check_memory(table_of("avro").option("avro_framing", "container").option("avro_schema", reader),
                 both);
}

#ifdef KE_PROTOBUF
TEST(memory_ends_in_protobuf)
{
    // message M { optional int64 a = 1; B b = 2; repeated int32 d = 3; B e = 300; }
    // message B { string c = 1; }
    constexpr const char* set =
        "CnUKB20ucHJvdG8iTwoBTRIRCgFhGAEgASgDSABSAWGIAQESEAoBYhgCIAEoCzICLkJSAWISDAoBZBgD"
        "IAMoBVIBZBIRCgFlGKwCIAEoCzICLkJSAWVCBAoCX2EiEQoBQhIMCgFjGAEgASgJUgFjYgZwcm90bzM=";
    check_memory(
        table_of("protobuf").option("protobuf_descriptor_set", set).option("protobuf_message", "M"),
        {std::string("\x08\x01\x12\x03\x0a\x01x\x1a\x02\x01\x02\xe2\x12\x02\x0a\0", 16)});
}
#endif
