// msgpack and cbor: items to cells, maps by name, arrays by position, what is malformed. Their own
// libraries are asked in test/flow/test_documents.py.
#include "check.h"
#include "decoding.h"

using namespace ke;
using namespace ke::decode;
using namespace ke::test;

namespace {

std::string bytes_of(std::string_view hex)
{
    std::string out;
    int high = -1;
    for (char c : hex) {
        const int v = c >= '0' && c <= '9' ? c - '0' : c >= 'a' && c <= 'f' ? c - 'a' + 10 : -1;
        if (v < 0)
            continue;
        if (high >= 0)
            out.push_back(static_cast<char>(high << 4 | v));
        high = high >= 0 ? -1 : v;
    }
    return out;
}

// One value under the name "a", in a column of the type.
std::string packed(std::string_view hex, type_desc type)
{
    return decoding(table({from_payload("a", std::move(type))}, "msgpack"))
        .decode(bytes_of("81 a1 61") + bytes_of(hex));
}

std::string cbor(std::string_view hex, type_desc type)
{
    return decoding(table({from_payload("a", std::move(type))}, "cbor"))
        .decode(bytes_of("a1 61 61") + bytes_of(hex));
}

const type_desc t_int = type_of(cell_type::int4), t_big = type_of(cell_type::int8),
                t_numeric = type_of(cell_type::numeric), t_text = type_of(cell_type::text),
                t_bytea = type_of(cell_type::bytea), t_double = type_of(cell_type::float8),
                t_real = type_of(cell_type::float4), t_bool = type_of(cell_type::boolean),
                t_tz = type_of(cell_type::timestamptz), t_jsonb = type_of(cell_type::jsonb),
                t_uuid = type_of(cell_type::uuid);

} // namespace

TEST(msgpack_scalars)
{
    CHECK_EQ(packed("07", t_int), "7");
    CHECK_EQ(packed("ff", t_int), "-1");
    CHECK_EQ(packed("cf ffffffffffffffff", t_numeric), "18446744073709551615");
    CHECK_EQ(packed("cf ffffffffffffffff", t_big),
             "!22003 a: value \"18446744073709551615\" is out of range for type bigint");
    CHECK_EQ(packed("d3 8000000000000000", t_big), "-9223372036854775808");
    CHECK_EQ(packed("d2 80000000", type_of(cell_type::int2)),
             "!22003 a: value \"-2147483648\" is out of range for type smallint");
    CHECK_EQ(packed("c0", t_int), "null");
    CHECK_EQ(packed("c3", t_bool), "t");
    CHECK_EQ(packed("ca 3dcccccd", t_real), "0.1");
    CHECK_EQ(packed("cb 3ff8000000000000", t_int),
             "!22P02 a: invalid input syntax for type integer: \"1.5\"");
    CHECK_EQ(packed("cb 4000000000000000", t_int), "2");
    CHECK_EQ(packed("cb 7ff8000000000000", t_numeric), "<NaN>");
    CHECK_EQ(packed("a3 616263", t_text), "abc");
    CHECK_EQ(packed("a1 ff", t_text), "!22021 a: invalid byte sequence for encoding \"UTF8\"");
    CHECK_EQ(packed("a2 3132", t_int), "12");
    CHECK_EQ(packed("c4 02 00ff", t_bytea), "x00ff");
    CHECK_EQ(packed("c4 02 00ff", t_int),
             "!22P02 a: bytes cannot fill a column of this type (Declare the column as bytea.)");
    CHECK_EQ(packed("d6 ff 5a4af6a5", t_tz), "2018-01-02 03:04:05.000000+00");
    CHECK_EQ(packed("d7 ff a1dcd7c85a4af6a5", t_tz), "2018-01-02 03:04:05.678901+00");
    CHECK_EQ(packed("c7 0c ff 3b9ac9ff ffffffffffffffff", t_tz), "1969-12-31 23:59:59.999999+00");
    CHECK_EQ(packed("c7 0c ff ffffffff 0000000000000000", t_tz),
             "!22P02 invalid input for format msgpack (A timestamp is out of range.)");
}

TEST(msgpack_trees)
{
    CHECK_EQ(packed("93 01 c0 a1 78", t_jsonb), "<[1, null, \"x\"]>");
    CHECK_EQ(packed("82 a1 62 c4 01 00 01 91 90", t_jsonb), "<{\"b\": \"AA==\", \"1\": [[]]}>");
    CHECK_EQ(packed("92 01 02", array_of(t_int)), "<{\"1\",\"2\"}>");
    CHECK_EQ(packed("c1", t_int),
             "!22P02 invalid input for format msgpack (The byte 0xC1 begins no value.)");
    CHECK_EQ(packed("dd ffffffff", t_jsonb),
             "!22P02 invalid input for format msgpack (The payload ends within a value.)");
    decoding deep(table({from_payload("a", t_int)}, "msgpack"));
    CHECK_EQ(deep.decode("\x81\xa1"
                         "b" +
                         std::string(100000, '\x91') + "\x01"),
             "!22P02 invalid input for format msgpack (The payload is nested too deep.)");
}

TEST(msgpack_rows)
{
    decoding d(table(
        {from_payload("a", t_int), from_payload("b", t_text), from_payload("c", t_int, "$.x[1]")},
        "msgpack"));
    CHECK_EQ(d.decode(bytes_of("82 a1 61 01 a1 78 92 05 06")), "1,null,6");
    CHECK_EQ(d.decode(bytes_of("81 a1 61 01 81 a1 61 02")), "1,null,null|2,null,null");
    CHECK_EQ(d.decode(bytes_of("92 81 a1 61 01 81 a1 61 02")), "1,null,null|2,null,null");
    CHECK_EQ(d.decode(bytes_of("93 01 a1 78 03")), "1,x,null");
    CHECK_EQ(d.decode(bytes_of("82 a1 61 a1 78 a1 61 02")), "2,null,null"); // the last one counts
    CHECK_EQ(d.decode(bytes_of("90")), "null,null,null");
    CHECK_EQ(d.decode(bytes_of("01")), "!22P02 invalid input for format msgpack (The payload is "
                                       "neither a map nor an array.)");
    CHECK_EQ(d.decode(""), "!22P02 invalid input for format msgpack (The payload is empty.)");
    CHECK_EQ(decoding(table({from_payload("a", t_jsonb, "$")}, "msgpack")).decode(bytes_of("01")),
             "<1>");
}

TEST(cbor_scalars)
{
    CHECK_EQ(cbor("18 64", t_int), "100");
    CHECK_EQ(cbor("3863", t_int), "-100");
    CHECK_EQ(cbor("3b ffffffffffffffff", t_numeric), "-18446744073709551616");
    CHECK_EQ(cbor("c2 49 010000000000000000", t_numeric), "18446744073709551616");
    CHECK_EQ(cbor("c3 49 010000000000000000", t_numeric), "-18446744073709551617");
    CHECK_EQ(cbor("c4 82 21 19 6ab3", t_numeric), "273.15");
    CHECK_EQ(cbor("c5 82 20 03", t_double), "1.5");
    CHECK_EQ(cbor("f9 3e00", t_double), "1.5");
    CHECK_EQ(cbor("f9 0001", t_double), "5.9604644775390625e-08");
    CHECK_EQ(cbor("fa 47c35000", t_int), "100000");
    CHECK_EQ(cbor("f5", t_bool), "t");
    CHECK_EQ(cbor("f7", t_bool), "null");
    CHECK_EQ(cbor("7f 61 61 62 6263 ff", t_text), "abc");
    CHECK_EQ(cbor("c1 1a 514b67b0", t_tz), "2013-03-21 20:04:00.000000+00");
    CHECK_EQ(cbor("c1 fb 41d452d9ec200000", t_tz), "2013-03-21 20:04:00.500000+00");
    CHECK_EQ(cbor("c0 74 323031332d30332d32315432303a30343a30305a", t_tz),
             "2013-03-21 20:04:00.000000+00");
    CHECK_EQ(cbor("d8 25 50 000102030405060708090a0b0c0d0e0f", t_uuid),
             "000102030405060708090a0b0c0d0e0f");
}

TEST(cbor_trees)
{
    CHECK_EQ(cbor("9f 01 82 02 03 9f ff ff", t_jsonb), "<[1, [2, 3], []]>");
    CHECK_EQ(cbor("bf 61 62 f4 ff", t_jsonb), "<{\"b\": false}>");
    CHECK_EQ(cbor("ff", t_int),
             "!22P02 invalid input for format cbor (An end stands where a value belongs.)");
    CHECK_EQ(cbor("9b 7fffffffffffffff", t_jsonb),
             "!22P02 invalid input for format cbor (The payload ends within a value.)");
    CHECK_EQ(cbor("1c", t_int),
             "!22P02 invalid input for format cbor (An item's head is not one of CBOR's.)");
    decoding d(table({from_payload("a", t_int)}, "cbor"));
    CHECK_EQ(d.decode(bytes_of("9f bf 61 61 01 ff a1 61 61 02 ff")), "1|2");
    CHECK_EQ(d.decode(bytes_of("d9d9f7 a1 61 61 01")), "1"); // the tag that says: CBOR
}

// What no column wants is passed over: it may be anything whose bytes are in order.
TEST(documents_pass_over_what_nobody_wants)
{
    const std::string zzz = bytes_of("63 7a7a7a"), a = bytes_of("61 61 62 6f6b");
    auto both = [&](std::string_view hex) {
        table t({from_payload("a", t_text)}, "cbor");
        return decoding(t).decode(bytes_of("a2") + zzz + bytes_of(hex) + a);
    };
    // simple(99), simple(16); tags 1 to 5 on what they do not fit; keys of maps
    for (const char* odd :
         {"f863", "f0", "c1 61 78", "c1 1b 7fffffffffffffff", "c2 01", "c4 83 01 02 03", "c4 01",
          "c5 82 1a 00ffffff 01", "c4 82 c4 82 01 02 03", "82 f0 c1 80", "a1 f0 f0", "a1 81 f0 01",
          "bf fb 3ff8000000000000 c2 80 ff", "a1 61 ff 01"})
        CHECK_EQ(both(odd), "ok");
    for (const char* broken : {"ff", "1c", "c1 ff", "f8", "a1 ff 01", "bf 01 ff", "82 01"})
        CHECK(both(broken).starts_with("!22P02 invalid input for format cbor ("));
    CHECK_EQ(cbor("f863", t_text),
             "!22P02 invalid input for format cbor (A simple value means nothing here.)");
    CHECK_EQ(cbor("81 c1 61 78", t_jsonb),
             "!22P02 invalid input for format cbor (A time (tag 1) is not a number.)");
    // By position and in an array of rows.
    CHECK_EQ(
        decoding(table({from_payload("b", t_int, "$[1]")}, "cbor")).decode(bytes_of("82 f0 05")),
        "5");
    decoding packs(table({from_payload("a", t_text)}, "msgpack"));
    CHECK_EQ(packs.decode(bytes_of("82 a1 7a c7 0c ff ffffffff 0000000000000000 a1 61 a2 6f6b")),
             "ok");
    CHECK_EQ(packs.decode(bytes_of("82 a1 7a 82 cb 3ff8000000000000 01 91 c0 02 a1 61 a2 6f6b")),
             "ok");
}
