// Decimal numbers: JSON's whole numbers, epochs, and numeric's short binary form.
#include "decode/scalars.h"

#include <algorithm>
#include <charconv>
#include <cstring>

#include "decode/json_text.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

using wide = unsigned __int128;

// A JSON number as mantissa * 10^exponent, the mantissa without zeros at its end; of very many
// digits the mantissa has the first.
struct decimal {
    bool negative = false;
    bool exact = true; // false: digits were left out
    wide mantissa = 0;
    std::int64_t exponent = 0;
    std::int64_t lowest = 0; // exponent of the last digit that is not zero; below 0: a fraction
};

decimal parse_decimal(std::string_view token)
{
    constexpr wide limit = (~wide{0}) / 1000; // room for what callers do
    decimal d;
    std::size_t i = 0;
    if (i < token.size() && token[i] == '-') {
        d.negative = true;
        ++i;
    }
    std::int64_t zeros = 0; // read, and not part of the mantissa unless more follows
    std::int64_t left_out = 0;
    std::int64_t after = 0; // digits behind the point
    bool point = false;
    for (; i < token.size() && (is_digit(token[i]) || token[i] == '.'); i++) {
        if (token[i] == '.') {
            point = true;
            continue;
        }
        after += point;
        if (token[i] == '0') {
            ++zeros;
            continue;
        }
        wide m = d.mantissa;
        for (std::int64_t n = zeros; n >= 0 && m != 0 && d.exact; n--) {
            d.exact = m <= limit;
            m *= 10;
        }
        if (d.exact)
            d.mantissa = m + static_cast<unsigned>(token[i] - '0');
        else
            left_out += zeros + 1;
        zeros = 0;
    }
    d.lowest = zeros - after;
    if (i < token.size()) { // e or E
        ++i;
        if (i < token.size() && token[i] == '+')
            ++i;
        std::int64_t e = 0;
        const auto [end, error] = std::from_chars(token.data() + i, token.data() + token.size(), e);
        if (error == std::errc::result_out_of_range || e > 1000000 || e < -1000000)
            e = token[i] == '-' ? -1000000 : 1000000;
        d.lowest += e;
    }
    d.exponent = d.lowest + left_out;
    return d;
}

// mantissa * 10^exponent (exponent >= 0), or false beyond what 64 bits hold.
bool scale_up(wide& mantissa, std::int64_t exponent)
{
    constexpr wide most = wide{1} << 64;
    if (mantissa == 0)
        return true;
    for (; exponent > 0; exponent--) {
        mantissa *= 10;
        if (mantissa > most)
            return false;
    }
    return mantissa <= most;
}

} // namespace

bool parse_short(std::string_view token, std::int64_t& n)
{
    const bool negative = token.starts_with('-');
    if (negative)
        token.remove_prefix(1);
    if (token.empty() || token.size() > 18) // cannot overflow
        return false;
    std::int64_t value = 0;
    for (char c : token) {
        if (!is_digit(c))
            return false;
        value = value * 10 + (c - '0');
    }
    n = negative ? -value : value;
    return true;
}

whole parse_whole(std::string_view token, std::int64_t& n)
{
    if (parse_short(token, n))
        return whole::yes;
    const char* end = token.data() + token.size();
    const auto [at, error] = std::from_chars(token.data(), end, n);
    if (at == end)
        return error == std::errc{} ? whole::yes : whole::too_big;
    const decimal d = parse_decimal(token);
    if (d.mantissa == 0) {
        n = 0;
        return whole::yes;
    }
    if (d.lowest < 0)
        return whole::fraction;
    wide m = d.mantissa;
    const wide most = (wide{1} << 63) - (d.negative ? 0 : 1);
    if (!d.exact || !scale_up(m, d.exponent) || m > most)
        return whole::too_big;
    n = static_cast<std::int64_t>(d.negative ? ~static_cast<std::uint64_t>(m) + 1
                                             : static_cast<std::uint64_t>(m));
    return whole::yes;
}

bool parse_epoch(std::string_view token, time_unit unit, std::int64_t& us)
{
    constexpr std::int64_t epoch_2000 = 946684800000000;
    constexpr std::int64_t first = -211813488000000000; // 4714-11-24 BC, since 2000
    constexpr std::int64_t end = 9223371331200000000;   // 294277-01-01
    static constexpr int shift[] = {6, 3, 0, -3};
    decimal d = parse_decimal(token);
    d.exponent += shift[static_cast<int>(unit)];
    bool cut = !d.exact;
    for (; d.exponent < 0 && d.mantissa != 0; d.exponent++) {
        cut |= d.mantissa % 10 != 0;
        d.mantissa /= 10;
    }
    if (!scale_up(d.mantissa, d.exponent))
        return false;
    __int128 value = static_cast<__int128>(d.mantissa);
    value = d.negative ? -value - (cut ? 1 : 0) : value;
    value -= epoch_2000;
    if (value < first || value >= end)
        return false;
    us = static_cast<std::int64_t>(value);
    return true;
}

namespace {

constexpr std::size_t most_before = 256; // weight up to 63: 64 groups of four digits
constexpr std::size_t most_after = 63;   // the short form's display scale

// [+-]digits[.digits], without zeros in front.
struct plain_decimal {
    bool negative;
    std::string_view before, after;
};

bool split(std::string_view text, plain_decimal& d)
{
    const char* at = text.data();
    const char* const end = at + text.size();
    const auto digits = [&] {
        const char* const from = at;
        while (at < end && is_digit(*at))
            ++at;
        return std::string_view(from, static_cast<std::size_t>(at - from));
    };
    d.negative = at < end && *at == '-';
    if (at < end && (*at == '-' || *at == '+'))
        ++at;
    d.before = digits();
    d.after = {};
    if (d.before.empty())
        return false;
    if (at < end && *at == '.') {
        ++at;
        d.after = digits();
        if (d.after.empty())
            return false;
    }
    while (!d.before.empty() && d.before.front() == '0')
        d.before.remove_prefix(1);
    return at == end && d.before.size() <= most_before && d.after.size() <= most_after;
}

// Whether the number has room in numeric(precision, scale) without rounding; scale becomes the
// declared one. As make_numeric_typmod packs them; a negative or an overlong scale is the server's.
bool fits_declared(const plain_decimal& d, std::int32_t typmod, std::size_t& scale)
{
    const std::size_t precision = static_cast<std::size_t>((typmod - 4) >> 16 & 0xffff);
    const int declared = (((typmod - 4) & 0x7ff) ^ 1024) - 1024;
    if (declared < 0 || declared > static_cast<int>(most_after))
        return false;
    scale = static_cast<std::size_t>(declared);
    return scale <= precision && d.after.size() <= scale && d.before.size() <= precision - scale;
}

// Digits in groups of four, aligned at the point. Returns how many groups.
int group(const plain_decimal& d, std::int16_t* groups)
{
    const char* at;
    const auto take = [&at](std::size_t n) {
        int value = 0;
        for (; n > 0; n--)
            value = value * 10 + (*at++ - '0');
        return value;
    };
    std::int16_t* to = groups;
    at = d.before.data();
    if (const std::size_t first = d.before.size() % 4; first != 0)
        *to++ = static_cast<std::int16_t>(take(first));
    for (std::size_t n = d.before.size() / 4; n > 0; n--)
        *to++ = static_cast<std::int16_t>(take(4));
    at = d.after.data();
    for (std::size_t n = d.after.size() / 4; n > 0; n--)
        *to++ = static_cast<std::int16_t>(take(4));
    if (const std::size_t last = d.after.size() % 4; last != 0) {
        static constexpr int shift[] = {0, 1000, 100, 10};
        *to++ = static_cast<std::int16_t>(take(last) * shift[last]);
    }
    return static_cast<int>(to - groups);
}

} // namespace

bool numeric_to_cell(std::string_view text, std::int32_t typmod, arena& memory, cell& out)
{
    plain_decimal d;
    if (!split(text, d))
        return false;
    std::size_t scale = d.after.size();
    if (typmod >= 4 && !fits_declared(d, typmod, scale))
        return false;

    std::int16_t groups[(most_before + most_after) / 4 + 2];
    int count = group(d, groups);
    int weight = static_cast<int>((d.before.size() + 3) / 4) - 1;
    int from = 0;
    while (from < count && groups[from] == 0) {
        ++from;
        --weight;
    }
    while (count > from && groups[count - 1] == 0)
        --count;
    const int n = count - from;
    if (n == 0)
        weight = 0;

    const std::uint16_t header =
        static_cast<std::uint16_t>(0x8000 | (d.negative && n > 0 ? 0x2000 : 0) | scale << 7 |
                                   (weight < 0 ? 0x40 : 0) | (weight & 0x3F));
    char* p = make_varlena(memory, sizeof header + static_cast<std::size_t>(n) * 2);
    std::memcpy(p + 4, &header, sizeof header);
    std::memcpy(p + 6, groups + from, static_cast<std::size_t>(n) * 2);
    out = pointer_cell(p);
    return true;
}

} // namespace ke::decode
