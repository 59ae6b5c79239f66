// msgpack: MessagePack's own reader, without a tree: each item is one read. Timestamps are its
// extension -1; other extensions are their bytes.
#include "decode/document.h"
#include "decode/encoder.h"

#include <bit>
#include <cstring>

#include "base/no_backend.h"

namespace ke::decode {

namespace {

using kind = item::kind;

class msgpack_reader {
  public:
    void open(std::string_view payload)
    {
        in_ = payload;
        at_ = 0;
    }
    bool at_end() const { return at_ == in_.size(); }
    std::size_t position() const { return at_; }
    void seek(std::size_t at) { at_ = at; }
    const char* error() const { return error_; }

    bool next(item& it, bool wanted)
    {
        wanted_ = wanted;
        std::uint64_t b;
        if (!number(1, b))
            return false;
        it = item();
        if (b <= 0x7F || b >= 0xE0)
            return integer(it, b <= 0x7F ? static_cast<std::int64_t>(b)
                                         : static_cast<std::int64_t>(b) - 256);
        if (b <= 0x8F)
            return container(it, kind::map, b & 15);
        if (b <= 0x9F)
            return container(it, kind::array, b & 15);
        if (b <= 0xBF)
            return string(it, kind::text, b & 31);
        return other(it, static_cast<unsigned char>(b));
    }

  private:
    bool other(item& it, unsigned char b)
    {
        std::uint64_t n;
        switch (b) {
        case 0xC0:
            return true;
        case 0xC2:
        case 0xC3:
            it.what = kind::boolean;
            it.i = b & 1;
            return true;
        case 0xC4:
        case 0xC5:
        case 0xC6:
            return number(std::size_t{1} << (b - 0xC4), n) && string(it, kind::bytes, n);
        case 0xC7:
        case 0xC8:
        case 0xC9:
            return number(std::size_t{1} << (b - 0xC7), n) && extension(it, n);
        case 0xCA:
            it.what = kind::real4;
            if (!number(4, n))
                return false;
            it.f = std::bit_cast<float>(static_cast<std::uint32_t>(n));
            return true;
        case 0xCB:
            it.what = kind::real8;
            if (!number(8, n))
                return false;
            it.f = std::bit_cast<double>(n);
            return true;
        case 0xCC:
        case 0xCD:
        case 0xCE:
        case 0xCF:
            if (!number(std::size_t{1} << (b - 0xCC), n))
                return false;
            integer(it, static_cast<std::int64_t>(n));
            if (it.i < 0)
                it.what = kind::unsigned_integer;
            return true;
        case 0xD0:
            return number(1, n) && integer(it, static_cast<std::int8_t>(n));
        case 0xD1:
            return number(2, n) && integer(it, static_cast<std::int16_t>(n));
        case 0xD2:
            return number(4, n) && integer(it, static_cast<std::int32_t>(n));
        case 0xD3:
            return number(8, n) && integer(it, static_cast<std::int64_t>(n));
        case 0xD4:
        case 0xD5:
        case 0xD6:
        case 0xD7:
        case 0xD8:
            return extension(it, std::uint64_t{1} << (b - 0xD4));
        case 0xD9:
        case 0xDA:
        case 0xDB:
            return number(std::size_t{1} << (b - 0xD9), n) && string(it, kind::text, n);
        case 0xDC:
        case 0xDD:
            return number(b == 0xDC ? 2 : 4, n) && container(it, kind::array, n);
        case 0xDE:
        case 0xDF:
            return number(b == 0xDE ? 2 : 4, n) && container(it, kind::map, n);
        default:
            error_ = "The byte 0xC1 begins no value.";
            return false;
        }
    }

    bool integer(item& it, std::int64_t n)
    {
        it.what = kind::integer;
        it.i = n;
        return true;
    }

    // Every element takes a byte at least: a count beyond the payload's end is found here.
    bool container(item& it, kind what, std::uint64_t n)
    {
        it.what = what;
        it.i = static_cast<std::int64_t>(n);
        if (n * (what == kind::map ? 2 : 1) <= in_.size() - at_)
            return true;
        error_ = ended;
        return false;
    }

    bool string(item& it, kind what, std::uint64_t n)
    {
        if (n > in_.size() - at_) {
            error_ = ended;
            return false;
        }
        it.what = what;
        it.s = in_.substr(at_, n);
        at_ += n;
        return true;
    }

    // A type's byte and n bytes. Type -1 is a timestamp: seconds, or nanoseconds with seconds.
    bool extension(item& it, std::uint64_t n)
    {
        std::uint64_t type, high = 0, low;
        if (!number(1, type))
            return false;
        if (type != 0xFF || (n != 4 && n != 8 && n != 12))
            return string(it, kind::bytes, n);
        if ((n == 12 && !number(4, high)) || !number(n == 4 ? 4 : 8, low))
            return false;
        std::int64_t seconds = static_cast<std::int64_t>(low);
        if (n == 8) {
            high = low >> 34;
            seconds = static_cast<std::int64_t>(low & ((std::uint64_t{1} << 34) - 1));
        }
        it.what = kind::timestamptz;
        std::int64_t us;
        if (!wanted_)
            return true;
        if (high > 999999999 || !to_microseconds(seconds, time_unit::s, us) ||
            __builtin_add_overflow(us, static_cast<std::int64_t>(high / 1000), &it.i)) {
            error_ = "A timestamp is out of range.";
            return false;
        }
        return true;
    }

    // n bytes, the most significant first.
    bool number(std::size_t n, std::uint64_t& value)
    {
        if (n > in_.size() - at_) {
            error_ = ended;
            return false;
        }
        value = 0;
        for (std::size_t i = 0; i < n; i++)
            value = value << 8 | static_cast<unsigned char>(in_[at_++]);
        return true;
    }

    static constexpr const char* ended = "The payload ends within a value.";
    std::string_view in_;
    std::size_t at_ = 0;
    const char* error_ = "";
    bool wanted_ = true; // the item that is read
};

} // namespace

const format_option document_options[1] = {
    {"timestamp_unit", "s, ms, us, ns", "what numbers in timestamp columns count since 1970 (ms)"},
};

json_options read_document_options(const given_options& given)
{
    json_options o;
    o.unit = read_time_unit(given.get("timestamp_unit", "ms"));
    return o;
}

const format_row msgpack_format = {
    .name = "msgpack",
    .help = "MessagePack: maps by name, arrays by position; each is a row",
    .options = document_options,
    .takes_paths = true,
    .accepts = [](const type_desc&) -> result<done> { return done{}; },
    .make = [](const payload_request& r) -> result<std::unique_ptr<payload_decoder>> {
        return std::unique_ptr<payload_decoder>(std::make_unique<document_decoder<msgpack_reader>>(
            r, "msgpack", read_document_options(r.options)));
    },
    .make_encoder = make_msgpack_encoder,
};

} // namespace ke::decode
