#include "decode/typed_values.h"

#include <bit>
#include <charconv>
#include <cmath>
#include <cstdio>
#include <vector>

#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

using kind = item::kind;

constexpr std::int64_t us_per_day = 86400000000;
constexpr std::int64_t us_to_2000 = 946684800000000;
constexpr std::int64_t days_to_2000 = 10957;
// What the server's types hold, since 2000.
constexpr std::int64_t first_day = -2451545, end_day = 2145031949;
constexpr std::int64_t first_us = -211813488000000000, end_us = 9223371331200000000;

bool is_plain(const type_desc& type)
{
    return !type.is_array() && !type.is_composite();
}

bool is_timestamp(kind k)
{
    return k == kind::timestamp || k == kind::timestamptz;
}

// The text of a date or time, as the input functions take it. False: beyond what the types hold.
bool append_time_text(std::string& out, const item& v)
{
    if (v.what == kind::time) {
        if (v.i < 0 || v.i > us_per_day)
            return false;
        char text[32];
        const long long s = v.i / 1000000;
        out.append(text, static_cast<std::size_t>(std::snprintf(
                             text, sizeof text, "%02lld:%02lld:%02lld.%06lld", s / 3600,
                             s / 60 % 60, s % 60, static_cast<long long>(v.i % 1000000))));
        return true;
    }
    const bool date = v.what == kind::date;
    if (date && (v.i < first_day || v.i - days_to_2000 >= end_us / us_per_day))
        return false;
    std::int64_t us = 0;
    if (date)
        us = (v.i - days_to_2000) * us_per_day;
    else if (__builtin_sub_overflow(v.i, us_to_2000, &us))
        return false;
    if (us < first_us || us >= end_us)
        return false;
    std::string text;
    append_timestamp(text, us, v.what == kind::timestamptz);
    if (date) { // 2026-11-21 00:00:00.000000[ BC]
        const std::size_t space = text.find(' ');
        const bool bc = text.ends_with(" BC");
        text.resize(space);
        text += bc ? " BC" : "";
    }
    out += text;
    return true;
}

void append_real(std::string& out, const item& v)
{
    if (std::isfinite(v.f)) {
        char text[40];
        const auto end = v.what == kind::real4
                             ? std::to_chars(text, text + sizeof text, static_cast<float>(v.f)).ptr
                             : std::to_chars(text, text + sizeof text, v.f).ptr;
        out.append(text, end);
    } else {
        out += std::isnan(v.f) ? "\"NaN\"" : v.f > 0 ? "\"Infinity\"" : "\"-Infinity\"";
    }
}

// Of 16 bytes.
void append_uuid(std::string& out, std::string_view bytes)
{
    std::string text;
    append_hex(text, bytes);
    for (const std::size_t dash : {8, 13, 18, 23})
        text.insert(dash, 1, '-');
    out += text;
}

} // namespace

bool to_microseconds(std::int64_t n, time_unit unit, std::int64_t& us)
{
    switch (unit) {
    case time_unit::s:
        return !__builtin_mul_overflow(n, std::int64_t{1000000}, &us);
    case time_unit::ms:
        return !__builtin_mul_overflow(n, std::int64_t{1000}, &us);
    case time_unit::us:
        us = n;
        return true;
    case time_unit::ns:
        us = n / 1000 - (n % 1000 < 0);
        return true;
    }
    return false;
}

namespace {

// Digits, times ten to the minus scale.
void append_scaled(std::string& out, std::string_view digits, bool negative, std::int64_t scale)
{
    const auto behind = static_cast<std::size_t>(scale > 0 ? scale : 0);
    if (negative)
        out += '-';
    if (digits.size() > behind) {
        out.append(digits.substr(0, digits.size() - behind));
        if (scale < 0 && digits != "0")
            out.append(static_cast<std::size_t>(-scale), '0');
        if (behind == 0)
            return;
        out += '.';
        out.append(digits.substr(digits.size() - behind));
        return;
    }
    out += "0.";
    out.append(behind - digits.size(), '0');
    out.append(digits);
}

} // namespace

bool append_magnitude(std::string& out, std::string_view big_endian, bool negative,
                      std::int64_t scale)
{
    // A numeric has 131072 digits before the point and 16383 behind it; what is longer than any
    // real use is refused first, since the work grows with the square of the length.
    constexpr std::size_t most_bytes = 1024;
    while (!big_endian.empty() && big_endian.front() == 0)
        big_endian.remove_prefix(1);
    if (big_endian.size() > most_bytes || scale > 16383 || scale < -100000)
        return false;
    if (big_endian.size() <= sizeof(std::uint64_t)) {
        std::uint64_t n = 0;
        for (char c : big_endian)
            n = n << 8 | static_cast<unsigned char>(c);
        char text[20];
        const char* end = std::to_chars(text, text + sizeof text, n).ptr;
        append_scaled(out, {text, static_cast<std::size_t>(end - text)}, negative, scale);
        return true;
    }
    // In groups of nine digits, least significant first.
    constexpr std::uint32_t base = 1000000000;
    std::vector<std::uint32_t> groups;
    for (char c : big_endian) {
        std::uint64_t carry = static_cast<unsigned char>(c);
        for (std::uint32_t& g : groups) {
            carry += std::uint64_t{g} << 8;
            g = static_cast<std::uint32_t>(carry % base);
            carry /= base;
        }
        if (carry)
            groups.push_back(static_cast<std::uint32_t>(carry));
    }
    std::string digits;
    char text[16];
    for (std::size_t i = groups.size(); i-- > 0;)
        digits.append(text, static_cast<std::size_t>(std::snprintf(
                                text, sizeof text, digits.empty() ? "%u" : "%09u", groups[i])));
    append_scaled(out, digits, negative, scale);
    return true;
}

bool append_decimal(std::string& out, std::string_view big_endian, std::int32_t scale)
{
    const bool negative = !big_endian.empty() && (big_endian.front() & 0x80) != 0;
    if (!negative)
        return append_magnitude(out, big_endian, false, scale);
    char short_one[sizeof(std::uint64_t)];
    if (big_endian.size() <= sizeof short_one) {
        std::uint64_t n = ~std::uint64_t{0};
        for (char c : big_endian)
            n = n << 8 | static_cast<unsigned char>(c);
        n = ~n + 1;
        for (std::size_t i = sizeof short_one; i-- > 0; n >>= 8)
            short_one[i] = static_cast<char>(n);
        return append_magnitude(out, {short_one, sizeof short_one}, true, scale);
    }
    std::string magnitude(big_endian);
    for (char& c : magnitude)
        c = static_cast<char>(~c);
    for (std::size_t i = magnitude.size(); i-- > 0;)
        if (++magnitude[i] != 0)
            break;
    if (magnitude.find_first_not_of('\0') == magnitude.npos)
        magnitude.insert(0, 1, '\1'); // -2^(8n)
    return append_magnitude(out, magnitude, true, scale);
}

bool append_bits(std::string& out, std::string_view bytes, std::int32_t length)
{
    constexpr std::size_t most_more = 1024; // bits that no byte was written for
    const std::size_t there = bytes.size() * 8;
    std::size_t n = length > 0 ? static_cast<std::size_t>(length) : there;
    if (n > there + most_more)
        n = there;
    for (std::size_t i = n; i-- > 0;)
        out += i < there && (bytes[i / 8] >> (i % 8) & 1) ? '1' : '0';
    for (std::size_t i = n; i < there; i++)
        if (bytes[i / 8] >> (i % 8) & 1)
            return false;
    return true;
}

outcome typed_values::refuse_utf8()
{
    return convert().refuse("22021", "invalid byte sequence for encoding \"UTF8\"");
}

outcome typed_values::append_json(std::string& out, const item& v)
{
    switch (v.what) {
    case kind::boolean:
        out += v.i ? "true" : "false";
        break;
    case kind::integer:
        out += std::to_string(v.i);
        break;
    case kind::unsigned_integer:
        out += std::to_string(static_cast<std::uint64_t>(v.i));
        break;
    case kind::real4:
    case kind::real8:
        append_real(out, v);
        break;
    case kind::number:
        out += v.s;
        break;
    case kind::text:
        if (!is_utf8(v.s))
            return refuse_utf8();
        append_json_string(out, v.s);
        break;
    case kind::bytes:
        out += '"';
        append_base64(out, v.s);
        out += '"';
        break;
    case kind::uuid:
        out += '"';
        append_uuid(out, v.s);
        out += '"';
        break;
    case kind::date:
    case kind::time:
    case kind::timestamp:
    case kind::timestamptz:
        out += '"';
        if (!append_time_text(out, v))
            return convert().refuse("22008", "date or time out of range");
        out += '"';
        break;
    case kind::word:
        append_json_string(out, v.s);
        break;
    case kind::null:
    case kind::array:
    case kind::map:
    case kind::end:
        out += "null";
        break;
    }
    return outcome::value;
}

outcome typed_values::make(const item& v, const type_desc& type, cell& out)
{
    if (v.what == kind::null)
        return outcome::null;
    if (!is_plain(type) || type.type == cell_type::json || type.type == cell_type::jsonb)
        return make_by_json(v, type, out);
    switch (v.what) {
    case kind::boolean:
        if (type.type != cell_type::boolean)
            break;
        out = number_cell(v.i);
        return outcome::value;
    case kind::integer:
        return make_integer(v, type, out);
    case kind::real4:
    case kind::real8:
        return make_real(v, type, out);
    case kind::text:
        if (type.type == cell_type::bytea)
            return make_bytea(v.s, convert(), out);
        if (!is_utf8(v.s))
            return refuse_utf8();
        return type.type == cell_type::text ? make_text(v.s, convert(), out)
                                            : text_to_cell(v.s, type, convert(), out);
    case kind::word:
        return text_to_cell(v.s, type, convert(), out);
    case kind::number:
        if (type.type != cell_type::numeric)
            break;
        return text_to_cell(v.s, type, convert(), out);
    case kind::bytes:
    case kind::uuid:
        return make_bytes(v.s, type, out);
    case kind::date:
    case kind::time:
    case kind::timestamp:
    case kind::timestamptz:
        return make_time(v, type, out);
    default:
        break;
    }
    return make_by_json(v, type, out);
}

outcome typed_values::make_by_json(const item& v, const type_desc& type, cell& out)
{
    text_.clear();
    if (append_json(text_, v) == outcome::refused)
        return outcome::refused;
    return json_.make(text_, type, out);
}

outcome typed_values::make_integer(const item& v, const type_desc& type, cell& out)
{
    const bool fits = type.type == cell_type::int8 ||
                      (type.type == cell_type::int4 && v.i >= INT32_MIN && v.i <= INT32_MAX) ||
                      (type.type == cell_type::int2 && v.i >= INT16_MIN && v.i <= INT16_MAX);
    if (!fits)
        return make_by_json(v, type, out);
    out = number_cell(v.i);
    return outcome::value;
}

outcome typed_values::make_real(const item& v, const type_desc& type, cell& out)
{
    if (type.type == cell_type::float8) {
        out = std::bit_cast<std::uint64_t>(v.f);
        return outcome::value;
    }
    if (type.type == cell_type::float4 && v.what == kind::real4) {
        out = number_cell(std::bit_cast<std::int32_t>(static_cast<float>(v.f)));
        return outcome::value;
    }
    return make_by_json(v, type, out);
}

outcome typed_values::make_time(const item& v, const type_desc& type, cell& out)
{
    const bool integer = type.type == cell_type::int2 || type.type == cell_type::int4 ||
                         type.type == cell_type::int8;
    if (integer && v.has_raw)
        return make_integer({.what = kind::integer, .i = v.raw}, type, out);
    if (v.what == kind::date && type.type == cell_type::date) {
        const std::int64_t days = v.i - days_to_2000;
        if (days < first_day || days >= end_day)
            return convert().refuse("22008", "date out of range");
        out = number_cell(days);
        return outcome::value;
    }
    if (is_timestamp(v.what) &&
        (type.type == cell_type::timestamp ||
         (type.type == cell_type::timestamptz && v.what == kind::timestamptz))) {
        std::int64_t us;
        if (__builtin_sub_overflow(v.i, us_to_2000, &us) || us < first_us || us >= end_us)
            return convert().refuse("22008", "timestamp out of range");
        return timestamp_to_cell(us, type, convert(), out);
    }
    text_.clear();
    if (!append_time_text(text_, v))
        return convert().refuse("22008", "date or time out of range");
    return text_to_cell(text_, type, convert(), out);
}

// Bytes are bytea, a uuid where there are 16 of them, or text where they are text: of a text type, or of one
// that is read from text.
outcome typed_values::make_bytes(std::string_view bytes, const type_desc& type, cell& out)
{
    switch (type.type) {
    case cell_type::bytea:
        return make_bytea(bytes, convert(), out);
    case cell_type::uuid:
        if (bytes.size() != 16)
            return bytes.size() >= 32 && is_utf8(bytes) ? text_to_cell(bytes, type, convert(), out)
                                                        : refuse_bytes();
        out = pointer_cell(convert().memory->copy(bytes).data());
        return outcome::value;
    case cell_type::other:
    case cell_type::text:
    case cell_type::varchar:
    case cell_type::bpchar:
        if (!is_utf8(bytes))
            return refuse_utf8();
        return text_to_cell(bytes, type, convert(), out);
    default:
        return refuse_bytes();
    }
}

outcome typed_values::refuse_bytes()
{
    return convert().refuse("22P02", "bytes cannot fill a column of this type",
                            "Declare the column as bytea.");
}

} // namespace ke::decode
