// cbor: RFC 8949's items, read one by one without a tree. Tags 1 (time), 2 and 3 (big numbers), 4
// and 5 (fractions) make values; other tags are passed over, and their content counts.
#include "decode/document.h"
#include "decode/encoder.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstring>

#include "base/no_backend.h"

namespace ke::decode {

namespace {

using kind = item::kind;

class cbor_reader {
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
        it = item();
        head h;
        std::uint64_t tag = no_tag;
        for (;;) {
            if (!read(h))
                return false;
            if (h.major != 6)
                break;
            if (h.indefinite)
                return fail("A tag has no number.");
            tag = h.n; // of several the innermost
        }
        if (!untagged(it, h))
            return false;
        switch (wanted || tag == no_tag ? tag : other_tag) {
        case 1:
            return epoch(it);
        case 2:
        case 3:
            return big_number(it, tag == 3);
        case 4:
        case 5:
            return fraction(it, tag == 4);
        case 37: // uuid: its 16 bytes
        default:
            return it.what != kind::end || tag == no_tag || fail("A tag stands before an end.");
        }
    }

  private:
    static constexpr std::uint64_t no_tag = ~std::uint64_t{0}, other_tag = 0;
    static constexpr const char* ended = "The payload ends within a value.";

    struct head {
        unsigned major;
        unsigned info;
        bool indefinite;
        std::uint64_t n;
    };

    bool fail(const char* why)
    {
        error_ = why;
        return false;
    }

    bool read(head& h)
    {
        if (at_ >= in_.size())
            return fail(ended);
        const auto b = static_cast<unsigned char>(in_[at_++]);
        h = {unsigned{b} >> 5, b & 31u, (b & 31) == 31, b & 31u};
        if (h.info < 24 || h.indefinite)
            return true;
        if (h.info > 27)
            return fail("An item's head is not one of CBOR's.");
        const std::size_t n = std::size_t{1} << (h.info - 24);
        if (n > in_.size() - at_)
            return fail(ended);
        h.n = 0;
        for (std::size_t i = 0; i < n; i++)
            h.n = h.n << 8 | static_cast<unsigned char>(in_[at_++]);
        return true;
    }

    bool untagged(item& it, const head& h)
    {
        switch (h.major) {
        case 0:
        case 1:
            return !h.indefinite ? integer(it, h) : fail("An integer has no value.");
        case 2:
        case 3:
            it.what = h.major == 2 ? kind::bytes : kind::text;
            return h.indefinite ? chunks(it, h.major) : string(it, h.n);
        case 4:
        case 5:
            it.what = h.major == 4 ? kind::array : kind::map;
            it.i = h.indefinite ? -1 : static_cast<std::int64_t>(h.n);
            // Every element takes a byte at least.
            return h.indefinite || h.n <= (in_.size() - at_) / (h.major - 3) || fail(ended);
        default:
            return simple(it, h);
        }
    }

    // -1 - n for the negative ones, which may be below what 64 bits hold.
    bool integer(item& it, const head& h)
    {
        it.i = static_cast<std::int64_t>(h.n);
        if (h.major == 0) {
            it.what = it.i < 0 ? kind::unsigned_integer : kind::integer;
        } else if (it.i >= 0) {
            it.what = kind::integer;
            it.i = -1 - it.i;
        } else {
            number_ = "-";
            const unsigned __int128 magnitude = static_cast<unsigned __int128>(h.n) + 1;
            number_ += magnitude >> 64 ? "18446744073709551616"
                                       : std::to_string(static_cast<std::uint64_t>(magnitude));
            it.what = kind::number;
            it.s = number_;
        }
        return true;
    }

    bool string(item& it, std::uint64_t n)
    {
        if (n > in_.size() - at_)
            return fail(ended);
        it.s = in_.substr(at_, n);
        at_ += n;
        return true;
    }

    // A string in pieces of its own kind, up to an end.
    bool chunks(item& it, unsigned major)
    {
        buffer_.clear();
        for (;;) {
            head h;
            if (!read(h))
                return false;
            if (h.major == 7 && h.indefinite)
                break;
            item piece;
            if (h.major != major || h.indefinite)
                return fail("A string in pieces holds something else.");
            if (!string(piece, h.n))
                return false;
            buffer_ += piece.s;
        }
        it.s = buffer_;
        return true;
    }

    bool simple(item& it, const head& h)
    {
        if (h.indefinite) {
            it.what = kind::end;
            return true;
        }
        switch (h.info) {
        case 20:
        case 21:
            it.what = kind::boolean;
            it.i = h.info == 21;
            return true;
        case 22: // null
        case 23: // undefined
            return true;
        case 25:
            it.what = kind::real4;
            it.f = half(static_cast<unsigned>(h.n));
            return true;
        case 26:
            it.what = kind::real4;
            it.f = std::bit_cast<float>(static_cast<std::uint32_t>(h.n));
            return true;
        case 27:
            it.what = kind::real8;
            it.f = std::bit_cast<double>(h.n);
            return true;
        default:
            return !wanted_ || fail("A simple value means nothing here.");
        }
    }

    static double half(unsigned bits)
    {
        const int exponent = static_cast<int>(bits >> 10 & 31);
        const double fraction = bits & 0x3FF;
        const double magnitude = exponent == 0    ? std::ldexp(fraction, -24)
                                 : exponent == 31 ? (fraction == 0 ? INFINITY : NAN)
                                                  : std::ldexp(fraction + 1024, exponent - 25);
        return bits & 0x8000 ? -magnitude : magnitude;
    }

    // Tag 1: seconds since 1970, whole or not.
    bool epoch(item& it)
    {
        std::int64_t us;
        if (it.what == kind::integer) {
            if (!to_microseconds(it.i, time_unit::s, us))
                return fail("A time is out of range.");
        } else if (it.what == kind::real4 || it.what == kind::real8) {
            const double seconds = std::floor(it.f);
            if (!(std::abs(it.f) < 9e12))
                return fail("A time is out of range.");
            us = static_cast<std::int64_t>(seconds) * 1000000 +
                 static_cast<std::int64_t>(std::rint((it.f - seconds) * 1000000));
        } else {
            return fail("A time (tag 1) is not a number.");
        }
        it.what = kind::timestamptz;
        it.i = us;
        return true;
    }

    // Tags 2 and 3: a magnitude in bytes; a negative one is -1 - n.
    bool big_number(item& it, bool negative)
    {
        if (it.what != kind::bytes)
            return fail("A big number (tags 2 and 3) is not in bytes.");
        std::string magnitude(it.s);
        if (negative) {
            std::size_t i = magnitude.size();
            while (i > 0 && ++magnitude[i - 1] == 0)
                --i;
            if (i == 0)
                magnitude.insert(0, 1, '\1');
        }
        number_.clear();
        if (!append_magnitude(number_, magnitude, negative, 0))
            return fail("A number is out of range.");
        it.what = kind::number;
        it.s = number_;
        return true;
    }

    // Tags 4 and 5: [exponent, mantissa], of ten or of two.
    bool fraction(item& it, bool of_ten)
    {
        if (it.what != kind::array || it.i != 2)
            return fail("A fraction (tags 4 and 5) is not an array of two.");
        item exponent, mantissa;
        if (in_fraction_)
            return fail("A fraction stands within a fraction.");
        in_fraction_ = true;
        const bool read = next(exponent, true) && next(mantissa, true);
        in_fraction_ = false;
        if (!read)
            return false;
        if (exponent.what != kind::integer || std::abs(exponent.i) > 16383)
            return fail("A number is out of range.");
        if (of_ten) {
            if (mantissa.what == kind::integer)
                number_ = std::to_string(mantissa.i);
            else if (mantissa.what == kind::unsigned_integer)
                number_ = std::to_string(static_cast<std::uint64_t>(mantissa.i));
            else if (mantissa.what != kind::number)
                return fail("A fraction's mantissa is not an integer.");
            if (!shift_point(exponent.i))
                return fail("A number is out of range.");
            it.what = kind::number;
            it.s = number_;
            return true;
        }
        constexpr std::int64_t exact = std::int64_t{1} << 53;
        if (mantissa.what != kind::integer || mantissa.i > exact || mantissa.i < -exact)
            return fail("A number is out of range.");
        it.what = kind::real8;
        it.f = std::ldexp(static_cast<double>(mantissa.i), static_cast<int>(exponent.i));
        return std::isfinite(it.f) || fail("A number is out of range.");
    }

    // number_, an integer written out, times ten to the exponent.
    bool shift_point(std::int64_t exponent)
    {
        const bool negative = number_.starts_with('-');
        std::string digits = number_.substr(negative);
        if (exponent > 0)
            digits.append(digits == "0" ? 0 : static_cast<std::size_t>(exponent), '0');
        if (exponent < 0) {
            const auto behind = static_cast<std::size_t>(-exponent);
            if (digits.size() <= behind)
                digits.insert(0, behind + 1 - digits.size(), '0');
            digits.insert(digits.size() - behind, ".");
        }
        number_ = (negative ? "-" : "") + digits;
        return true;
    }

    std::string_view in_;
    std::size_t at_ = 0;
    const char* error_ = "";
    std::string buffer_; // a string that came in pieces
    std::string number_; // a number written out
    bool in_fraction_ = false;
    bool wanted_ = true; // the item that is read
};

} // namespace

const format_row cbor_format = {
    .name = "cbor",
    .help = "CBOR: maps by name, arrays by position; each is a row",
    .options = document_options,
    .takes_paths = true,
    .accepts = [](const type_desc&) -> result<done> { return done{}; },
    .make = [](const payload_request& r) -> result<std::unique_ptr<payload_decoder>> {
        return std::unique_ptr<payload_decoder>(std::make_unique<document_decoder<cbor_reader>>(
            r, "cbor", read_document_options(r.options)));
    },
    .make_encoder = make_cbor_encoder,
};

} // namespace ke::decode
