// Libraries that a build may be without: what needs them works, or says so. The Makefile beside this links it
// a second time, with the core compiled as on a system that has none of them.
#include "check.h"
#include "decode/encoder.h"
#include "decode/utf8.h"
#include "decoding.h"

using namespace ke;
using namespace ke::decode;
using namespace ke::test;

namespace {

#ifdef KE_ZLIB
constexpr bool has_zlib = true;
#else
constexpr bool has_zlib = false;
#endif
#ifdef KE_SNAPPY
constexpr bool has_snappy = true;
#else
constexpr bool has_snappy = false;
#endif
#ifdef KE_ZSTD
constexpr bool has_zstd = true;
#else
constexpr bool has_zstd = false;
#endif
#ifdef KE_BZIP2
constexpr bool has_bzip2 = true;
#else
constexpr bool has_bzip2 = false;
#endif
#ifdef KE_LZMA
constexpr bool has_lzma = true;
#else
constexpr bool has_lzma = false;
#endif

// A container of one block with the numbers 1 and 2, packed.
std::string decoded_container(const std::string& codec, std::string_view block_in_hex)
{
    std::string block;
    REQUIRE(decode_hex(block_in_hex, block));
    const std::string mark = "0123456789abcdef";
    auto sized = [](const std::string& s) {
        return std::string(1, static_cast<char>(s.size() * 2)) + s;
    };
    return decoding(table({from_payload("a", type_of(cell_type::int8), "$")}, "avro"))
        .decode("Obj\1\4" + sized("avro.schema") + sized("\"int\"") + sized("avro.codec") +
                sized(codec) + std::string(1, '\0') + mark + '\4' + sized(block) + mark);
}

std::string missing(const std::string& codec)
{
    return "!22P02 invalid input for format avro (The container is packed by " + codec +
           ", and this build does not have its library.)";
}

} // namespace

TEST(libraries_of_codecs)
{
    struct {
        const char* codec;
        const char* block; // in hex
        bool there;
    } const packed[] = {
        {"deflate", "63620100", has_zlib},
        {"snappy", "020402047482b464", has_snappy},
        {"zstandard", "28b52ffd20021100000204", has_zstd},
        {"bzip2", "425a68393141592653594cbe7351000000400014002000210082b1772453850904cbe73510",
         has_bzip2},
        {"xz",
         "fd377a585a000000ff12d9410200210116000000742fe5a3010001020400000000011202d4a47cb606729e7a010000000000595a",
         has_lzma},
    };
    CHECK_EQ(decoded_container("null", "0204"), "1|2");
    for (const auto& p : packed)
        CHECK_EQ(decoded_container(p.codec, p.block), p.there ? "1|2" : missing(p.codec));
}

TEST(library_of_protobuf)
{
    // message M { int32 a = 1; }
    constexpr const char* set = "CiQKB24ucHJvdG8iEQoBTRIMCgFhGAEgASgFUgFhYgZwcm90bzM=";
    table t({from_payload("a", type_of(cell_type::int4))}, "protobuf");
    t.option("protobuf_descriptor_set", set).option("protobuf_message", "M");
    const format_row* row = find_format("protobuf");
    REQUIRE(row);
    auto good = check_format_options(*row, {t.plan.options});
    auto made = record_decoder::make(std::make_shared<const row_plan>(t.plan));
#ifdef KE_PROTOBUF
    CHECK(good.ok());
    CHECK(made.ok());
    CHECK_EQ(decoding(t).decode("\x08\x07"), "7");
#else
    CHECK(!good.ok() && good.error().message == "format \"protobuf\" is not part of this build");
    CHECK(!made.ok());
    const column* const columns[] = {&t.plan.columns[0]};
    const value values[] = {{}};
    const encode_request request{columns, values, {t.plan.options}};
    auto encoder = row->make_encoder(request);
    REQUIRE(encoder.ok());
    auto encoded = encoder.value()->encode(request);
    CHECK(!encoded.ok() &&
          encoded.error().message.find("no Protobuf library") != std::string::npos);
#endif
}
