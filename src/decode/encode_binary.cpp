// msgpack, cbor: the way back. A map of the columns, at their paths.
#include "decode/encoder.h"

#include <bit>

#include "decode/big_number.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

using kind = value::kind;

void big_endian(std::string& out, std::uint64_t n, int bytes)
{
    for (int i = bytes - 1; i >= 0; i--)
        out += static_cast<char>(n >> (8 * i));
}

// ------------------------------------------------------------------ msgpack

class msgpack_writer {
  public:
    std::string out;

    void null() { out += '\xC0'; }
    void boolean(bool b) { out += b ? '\xC3' : '\xC2'; }
    void integer(std::int64_t n)
    {
        if (n >= -32 && n <= 127)
            out += static_cast<char>(n);
        else if (n >= INT8_MIN && n <= INT8_MAX)
            head(0xD0, static_cast<std::uint64_t>(n), 1);
        else if (n >= INT16_MIN && n <= INT16_MAX)
            head(0xD1, static_cast<std::uint64_t>(n), 2);
        else if (n >= INT32_MIN && n <= INT32_MAX)
            head(0xD2, static_cast<std::uint64_t>(n), 4);
        else
            head(0xD3, static_cast<std::uint64_t>(n), 8);
    }
    void real4(float f) { head(0xCA, std::bit_cast<std::uint32_t>(f), 4); }
    void real8(double f) { head(0xCB, std::bit_cast<std::uint64_t>(f), 8); }
    void text(std::string_view s)
    {
        if (s.size() < 32)
            out += static_cast<char>(0xA0 | s.size());
        else
            sized(0xD9, s.size());
        out += s;
    }
    void bytes(std::string_view s)
    {
        sized(0xC4, s.size());
        out += s;
    }
    // 12 bytes: nanoseconds, seconds.
    void instant(const value& v)
    {
        const std::int64_t us = v.i % 1000000 < 0 ? v.i % 1000000 + 1000000 : v.i % 1000000;
        out += "\xC7\x0C\xFF";
        big_endian(out, static_cast<std::uint64_t>(us * 1000), 4);
        big_endian(out, static_cast<std::uint64_t>((v.i - us) / 1000000), 8);
    }
    void decimal(std::string_view s) { text(s); }
    void array(std::size_t n) { container(0x90, 0xDC, n); }
    void map(std::size_t n) { container(0x80, 0xDE, n); }

  private:
    void head(unsigned first, std::uint64_t n, int bytes)
    {
        out += static_cast<char>(first);
        big_endian(out, n, bytes);
    }
    void sized(unsigned of_one, std::size_t n)
    {
        const int more = n < 256 ? 0 : n < 65536 ? 1 : 2;
        head(of_one + static_cast<unsigned>(more), n, 1 << more);
    }
    void container(unsigned fix, unsigned of_two, std::size_t n)
    {
        if (n < 16)
            out += static_cast<char>(fix | n);
        else
            head(n < 65536 ? of_two : of_two + 1, n, n < 65536 ? 2 : 4);
    }
};

// ------------------------------------------------------------------ cbor

class cbor_writer {
  public:
    std::string out;

    void null() { out += '\xF6'; }
    void boolean(bool b) { out += b ? '\xF5' : '\xF4'; }
    void integer(std::int64_t n)
    {
        n >= 0 ? head(0, static_cast<std::uint64_t>(n))
               : head(1, static_cast<std::uint64_t>(-1 - n));
    }
    void real4(float f)
    {
        out += '\xFA';
        big_endian(out, std::bit_cast<std::uint32_t>(f), 4);
    }
    void real8(double f)
    {
        out += '\xFB';
        big_endian(out, std::bit_cast<std::uint64_t>(f), 8);
    }
    void text(std::string_view s)
    {
        head(3, s.size());
        out += s;
    }
    void bytes(std::string_view s)
    {
        head(2, s.size());
        out += s;
    }
    void instant(const value& v) // tag 0: as text
    {
        head(6, 0);
        text(time_text(v));
    }
    // Tag 4: [exponent, mantissa].
    void decimal(std::string_view s)
    {
        std::string magnitude;
        bool negative;
        std::int64_t scale;
        if (!read_decimal(s, magnitude, negative, scale))
            return text(s);
        head(6, 4);
        head(4, 2);
        integer(-scale);
        if (magnitude.size() > 8) {
            head(6, negative ? 3 : 2);
            if (negative)
                subtract_one(magnitude);
            return bytes(magnitude);
        }
        std::uint64_t n = 0;
        for (char c : magnitude)
            n = n << 8 | static_cast<unsigned char>(c);
        if (negative && n > 0)
            head(1, n - 1);
        else
            head(0, n);
    }
    void array(std::size_t n) { head(4, n); }
    void map(std::size_t n) { head(5, n); }

  private:
    static void subtract_one(std::string& magnitude)
    {
        for (std::size_t i = magnitude.size(); i-- > 0;)
            if (magnitude[i]-- != 0)
                return;
    }
    void head(unsigned major, std::uint64_t n)
    {
        const unsigned first = major << 5;
        if (n < 24) {
            out += static_cast<char>(first | n);
            return;
        }
        const int more = n < 256 ? 0 : n < 65536 ? 1 : n <= UINT32_MAX ? 2 : 3;
        out += static_cast<char>(first | static_cast<unsigned>(24 + more));
        big_endian(out, n, 1 << more);
    }
};

// ------------------------------------------------------------------ both

void write_plain(auto& w, const value& v)
{
    switch (v.what) {
    case kind::boolean:
        return w.boolean(v.i != 0);
    case kind::integer:
        return w.integer(v.i);
    case kind::real4:
        return w.real4(static_cast<float>(v.f));
    case kind::real8:
        return w.real8(v.f);
    case kind::number:
        return w.decimal(v.s);
    case kind::text:
    case kind::interval:
        return w.text(v.s);
    case kind::bytes:
        return w.bytes(v.s);
    case kind::timestamptz:
        return w.instant(v);
    case kind::date:
    case kind::time:
    case kind::timestamp:
        return w.text(time_text(v));
    default:
        return w.null();
    }
}

// False: nested too deep.
bool write(auto& w, const value& v, arena& memory)
{
    value tree;
    switch (v.what) {
    case kind::json:
        return parse_json(v.s, memory, tree) && write(w, tree, memory);
    case kind::array:
        w.array(v.items.size());
        break;
    case kind::record:
        w.map(v.items.size());
        break;
    default:
        write_plain(w, v);
        return true;
    }
    for (std::size_t i = 0; i < v.items.size(); i++) {
        if (v.what == kind::record)
            w.text(v.names[i]);
        if (!write(w, v.items[i], memory))
            return false;
    }
    return true;
}

template <class Writer>
class document_encoder final : public payload_encoder {
  public:
    result<std::string> encode(const encode_request& r) override
    {
        arena memory;
        auto document = document_of(r, memory);
        if (!document)
            return std::move(document.error());
        Writer w;
        if (!write(w, document.value(), memory))
            return bad_value("the row is nested too deep");
        return std::move(w.out);
    }
};

} // namespace

result<std::unique_ptr<payload_encoder>> make_msgpack_encoder(const encode_request&)
{
    return std::unique_ptr<payload_encoder>(std::make_unique<document_encoder<msgpack_writer>>());
}

result<std::unique_ptr<payload_encoder>> make_cbor_encoder(const encode_request&)
{
    return std::unique_ptr<payload_encoder>(std::make_unique<document_encoder<cbor_writer>>());
}

} // namespace ke::decode
