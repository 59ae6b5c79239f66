// Each library is asked for a part at a time, so that what a block says of its size is never believed. Memory
// that ends is std::bad_alloc, ours and the libraries', and no flaw of the block's.
#include "decode/codecs.h"

#include <algorithm>
#include <cstdint>
#include <memory>
#include <new>

#ifdef KE_ZLIB // these are set by the build where the library is there
#include <zlib.h>
#endif
#ifdef KE_SNAPPY
#include <snappy-c.h>
#endif
#ifdef KE_ZSTD
#include <zstd.h>
#include <zstd_errors.h>
#endif
#ifdef KE_BZIP2
#include <bzlib.h>
#endif
#ifdef KE_LZMA
#include <lzma.h>
#endif

#include "base/no_backend.h"

namespace ke::decode {

unpacked::part unpacked::room(std::size_t hint)
{
    constexpr std::size_t least = 64 * 1024;
    const std::size_t wanted = used_ + std::min(std::max(hint, least), left());
    if (wanted > bytes_.size())
        bytes_.resize(std::min(std::max(wanted, 2 * bytes_.size()), most_));
    return {bytes_.data() + used_, std::min(bytes_.size(), most_) - used_};
}

namespace {

[[maybe_unused]] constexpr const char* flawed = "A block of the container does not unpack.";
[[maybe_unused]] constexpr const char* cut_off = "A block of the container ends too early.";
[[maybe_unused]] constexpr const char* too_large =
    "The container's blocks unpack to more than is taken of a payload of its size.";

// Ends a library's work however its function is left.
template <class State, class Result>
using ending = std::unique_ptr<State, Result (*)(State*)>;

#ifdef KE_ZLIB
// Deflate without zlib's head and checksum. What stands behind it is passed over, as others do: Avro's
// library for Python leaves a part of the checksum there.
const char* inflate_block(std::string_view block, unpacked& out)
{
    z_stream z{};
    if (inflateInit2(&z, -15) != Z_OK)
        throw std::bad_alloc();
    const ending<z_stream, int> end(&z, inflateEnd);
    z.next_in = reinterpret_cast<Bytef*>(const_cast<char*>(block.data()));
    z.avail_in = static_cast<uInt>(block.size());
    const char* wrong = nullptr;
    for (int state = Z_OK; state != Z_STREAM_END && !wrong;) {
        const unpacked::part to = out.room(2 * block.size());
        z.next_out = reinterpret_cast<Bytef*>(to.data);
        z.avail_out = static_cast<uInt>(std::min<std::size_t>(to.size, UINT32_MAX));
        const std::size_t before = z.avail_out;
        state = inflate(&z, Z_NO_FLUSH);
        out.took(before - z.avail_out);
        if (state == Z_STREAM_END)
            break;
        if (state == Z_MEM_ERROR)
            throw std::bad_alloc();
        if (state != Z_OK && state != Z_BUF_ERROR)
            wrong = flawed;
        else if (z.avail_out == 0 && out.left() == 0)
            wrong = too_large;
        else if (z.avail_out > 0)
            wrong = cut_off; // it wants more
    }
    return wrong;
}
#endif

#ifdef KE_SNAPPY
// Followed by the CRC of what was packed, the most significant byte first.
const char* unpack_snappy(std::string_view block, unpacked& out)
{
    if (block.size() < 4)
        return cut_off;
    const std::string_view packed = block.substr(0, block.size() - 4);
    std::uint32_t crc = 0;
    for (char c : block.substr(packed.size()))
        crc = crc << 8 | static_cast<unsigned char>(c);
    std::size_t size;
    if (snappy_uncompressed_length(packed.data(), packed.size(), &size) != SNAPPY_OK)
        return flawed;
    if (size > out.left())
        return too_large;
    // A claim that no block can hold true is not given memory: an element of at least two bytes has at
    // most 64.
    if (size / 32 > packed.size())
        return flawed;
    const unpacked::part to = out.room(size);
    if (snappy_uncompress(packed.data(), packed.size(), to.data, &size) != SNAPPY_OK)
        return flawed;
    out.took(size);
    const auto* bytes = reinterpret_cast<const Bytef*>(to.data);
    return crc32_z(0, bytes, size) == crc ? nullptr
                                          : "A block of the container has another checksum.";
}
#endif

#ifdef KE_ZSTD
// One frame or several.
const char* unpack_zstd(std::string_view block, unpacked& out)
{
    const ending<ZSTD_DCtx, std::size_t> z(ZSTD_createDCtx(), ZSTD_freeDCtx);
    if (!z)
        throw std::bad_alloc();
    ZSTD_inBuffer in{block.data(), block.size(), 0};
    const char* wrong = block.empty() ? cut_off : nullptr;
    for (std::size_t left = 1; !wrong && (left > 0 || in.pos < in.size);) {
        const unpacked::part room = out.room(4 * block.size());
        ZSTD_outBuffer to{room.data, room.size, 0};
        left = ZSTD_decompressStream(z.get(), &to, &in);
        out.took(to.pos);
        if (ZSTD_isError(left) && ZSTD_getErrorCode(left) == ZSTD_error_memory_allocation)
            throw std::bad_alloc();
        if (ZSTD_isError(left))
            wrong = flawed;
        else if (left > 0 && to.pos == to.size && out.left() == 0)
            wrong = too_large;
        else if (left > 0 && to.pos < to.size && in.pos == in.size)
            wrong = cut_off;
    }
    return wrong;
}
#endif

#ifdef KE_BZIP2
const char* unpack_bzip2(std::string_view block, unpacked& out)
{
    bz_stream z{};
    if (BZ2_bzDecompressInit(&z, 0, 0) != BZ_OK)
        throw std::bad_alloc();
    const ending<bz_stream, int> end(&z, BZ2_bzDecompressEnd);
    z.next_in = const_cast<char*>(block.data());
    z.avail_in = static_cast<unsigned>(block.size());
    const char* wrong = nullptr;
    for (int state = BZ_OK; state != BZ_STREAM_END && !wrong;) {
        const unpacked::part to = out.room(4 * block.size());
        z.next_out = to.data;
        z.avail_out = static_cast<unsigned>(std::min<std::size_t>(to.size, UINT32_MAX));
        const std::size_t before = z.avail_out;
        state = BZ2_bzDecompress(&z);
        out.took(before - z.avail_out);
        if (state == BZ_MEM_ERROR)
            throw std::bad_alloc();
        if (state == BZ_STREAM_END)
            wrong = z.avail_in > 0 ? flawed : nullptr;
        else if (state != BZ_OK)
            wrong = flawed;
        else if (z.avail_out == 0 && out.left() == 0)
            wrong = too_large;
        else if (z.avail_out > 0)
            wrong = cut_off;
    }
    return wrong;
}
#endif

#ifdef KE_LZMA
const char* unpack_xz(std::string_view block, unpacked& out)
{
    constexpr std::uint64_t most_memory = 128 << 20; // level 9 takes 65 MB
    lzma_stream z = LZMA_STREAM_INIT;
    if (lzma_stream_decoder(&z, most_memory, LZMA_CONCATENATED) != LZMA_OK)
        throw std::bad_alloc();
    const ending<lzma_stream, void> end(&z, lzma_end);
    z.next_in = reinterpret_cast<const std::uint8_t*>(block.data());
    z.avail_in = block.size();
    const char* wrong = nullptr;
    for (lzma_ret state = LZMA_OK; state != LZMA_STREAM_END && !wrong;) {
        const unpacked::part to = out.room(4 * block.size());
        z.next_out = reinterpret_cast<std::uint8_t*>(to.data);
        z.avail_out = to.size;
        state = lzma_code(&z, LZMA_FINISH);
        out.took(to.size - z.avail_out);
        if (state == LZMA_MEM_ERROR)
            throw std::bad_alloc();
        if (state == LZMA_MEMLIMIT_ERROR)
            wrong = "A block of the container needs more memory to unpack than it is given.";
        else if (state == LZMA_BUF_ERROR)
            wrong = out.left() == 0 ? too_large : cut_off;
        else if (state != LZMA_OK && state != LZMA_STREAM_END)
            wrong = flawed;
        else if (state == LZMA_OK && z.avail_out == 0 && out.left() == 0)
            wrong = too_large;
    }
    return wrong;
}
#endif

#ifndef KE_ZLIB
constexpr auto inflate_block = nullptr;
#endif
#ifndef KE_SNAPPY
constexpr auto unpack_snappy = nullptr;
#endif
#ifndef KE_ZSTD
constexpr auto unpack_zstd = nullptr;
#endif
#ifndef KE_BZIP2
constexpr auto unpack_bzip2 = nullptr;
#endif
#ifndef KE_LZMA
constexpr auto unpack_xz = nullptr;
#endif

const codec codecs[] = {
    {"deflate", inflate_block}, {"snappy", unpack_snappy}, {"zstandard", unpack_zstd},
    {"bzip2", unpack_bzip2},    {"xz", unpack_xz},
};

} // namespace

const codec* find_codec(std::string_view name)
{
    for (const codec& c : codecs)
        if (c.name == name)
            return &c;
    return nullptr;
}

} // namespace ke::decode
