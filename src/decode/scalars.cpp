#include "decode/scalars.h"

#include <algorithm>
#include <bit>
#include <charconv>
#include <cstring>
#include <limits>

#include "decode/utf8.h"

#include "decode/json_text.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

// As C's isspace in the C locale, which the server's number parsers use.
bool is_space(char c)
{
    return c == ' ' || (c >= '\t' && c <= '\r');
}

std::string_view integer_name(cell_type type)
{
    return type == cell_type::int2 ? "smallint" : type == cell_type::int4 ? "integer" : "bigint";
}

bool integer_fits(cell_type type, std::int64_t n)
{
    if (type == cell_type::int2)
        return n >= INT16_MIN && n <= INT16_MAX;
    if (type == cell_type::int4)
        return n >= INT32_MIN && n <= INT32_MAX;
    return true;
}

// What no version takes for a number: nothing, or no digit (after white space, a sign and, where it
// may, a point) to begin with. Letters that begin a number (NaN, Infinity) are left to the server.
bool is_no_number(std::string_view text, std::string_view beginnings)
{
    std::size_t i = 0;
    while (i < text.size() && is_space(text[i]))
        ++i;
    if (i < text.size() && (text[i] == '-' || text[i] == '+'))
        ++i;
    return i == text.size() ||
           (!is_digit(text[i]) && beginnings.find(text[i]) == std::string_view::npos);
}

outcome text_to_integer(std::string_view text, const type_desc& type, conversion& c, cell& out)
{
    std::int64_t n;
    if (parse_short(text, n) && integer_fits(type.type, n)) {
        out = number_cell(n);
        return outcome::value;
    }
    const char* end = text.data() + text.size();
    const auto [at, error] = std::from_chars(text.data(), end, n);
    if (at == end && error == std::errc{} && integer_fits(type.type, n)) {
        out = number_cell(n);
        return outcome::value;
    }
    // A run of digits to the end: too big for the type, in every version.
    if (at == end && !text.empty() && error != std::errc::invalid_argument)
        return c.refuse_range(integer_name(type.type), text);
    if (is_no_number(text, ""))
        return c.refuse_syntax(integer_name(type.type), text);
    return make_pending(text, c, out);
}

// Finite decimal numbers; over- and underflow, infinities, NaN and hexadecimal are the server's.
template <class F>
outcome text_to_float(std::string_view text, std::string_view name, conversion& c, cell& out)
{
    const std::size_t sign = text.starts_with('-');
    if (sign < text.size() && (is_digit(text[sign]) || text[sign] == '.')) {
        F f;
        const char* end = text.data() + text.size();
        const auto [at, error] = std::from_chars(text.data(), end, f);
        if (at == end && error == std::errc{}) {
            if constexpr (sizeof(F) == 4)
                out = number_cell(std::bit_cast<std::int32_t>(f));
            else
                out = std::bit_cast<std::uint64_t>(f);
            return outcome::value;
        }
    }
    if (is_no_number(text, ".nNiI"))
        return c.refuse_syntax(name, text);
    return make_pending(text, c, out);
}

outcome text_to_numeric(std::string_view text, const type_desc& type, conversion& c, cell& out)
{
    if (numeric_to_cell(text, type.typmod, *c.memory, out))
        return outcome::value;
    if (is_no_number(text, ".nNiI"))
        return c.refuse_syntax("numeric", text);
    return make_pending(text, c, out);
}

// varchar(n) and char(n), counted in characters. Too long: the server's (trailing blanks may go).
outcome text_to_sized(std::string_view text, const type_desc& type, conversion& c, cell& out)
{
    if (type.typmod < 4)
        return make_text(text, c, out);
    const std::size_t most = static_cast<std::size_t>(type.typmod) - 4;
    const bool fixed = type.type == cell_type::bpchar;
    if (!fixed && text.size() <= most)
        return make_text(text, c, out);
    const std::size_t characters = count_characters(text);
    if (characters > most || (fixed && characters < most))
        return make_pending(text, c, out);
    return make_text(text, c, out);
}

outcome text_to_uuid(std::string_view text, conversion& c, cell& out)
{
    unsigned char uuid[16];
    if (!parse_uuid(text, uuid)) {
        if (text.find_first_not_of("0123456789abcdefABCDEF-{}") != std::string_view::npos ||
            text.empty())
            return c.refuse_syntax("uuid", text);
        return make_pending(text, c, out);
    }
    char* p = c.memory->take(sizeof uuid);
    std::memcpy(p, uuid, sizeof uuid);
    out = pointer_cell(p);
    return outcome::value;
}

// Whether the value has no finer digits than a time's typmod keeps.
bool fits_precision(std::int64_t us, std::int32_t typmod)
{
    static constexpr std::int64_t unit[] = {1000000, 100000, 10000, 1000, 100, 10};
    return typmod < 0 || typmod > 5 || us % unit[typmod] == 0;
}

} // namespace

outcome timestamp_to_cell(std::int64_t us, const type_desc& type, conversion& c, cell& out)
{
    const bool plain = type.type == cell_type::timestamp || type.type == cell_type::timestamptz;
    if (plain && !type.is_array() && fits_precision(us, type.typmod)) {
        out = number_cell(us);
        return outcome::value;
    }
    std::string text;
    append_timestamp(text, us, type.type != cell_type::timestamp);
    return make_pending(text, c, out);
}

outcome text_to_cell(std::string_view text, const type_desc& type, conversion& c, cell& out)
{
    if (type.is_array() || type.is_composite())
        return make_pending(text, c, out);
    std::int64_t us;
    switch (type.type) {
    case cell_type::boolean: {
        const int b = parse_boolean(text);
        if (b < 0)
            return c.refuse_syntax("boolean", text);
        out = number_cell(b);
        return outcome::value;
    }
    case cell_type::int2:
    case cell_type::int4:
    case cell_type::int8:
        return text_to_integer(text, type, c, out);
    case cell_type::float4:
        return text_to_float<float>(text, "real", c, out);
    case cell_type::float8:
        return text_to_float<double>(text, "double precision", c, out);
    case cell_type::numeric:
        return text_to_numeric(text, type, c, out);
    case cell_type::text:
        return make_text(text, c, out);
    case cell_type::varchar:
    case cell_type::bpchar:
        return text_to_sized(text, type, c, out);
    case cell_type::date: {
        std::int32_t days;
        if (!parse_date(text, days))
            break;
        out = number_cell(days);
        return outcome::value;
    }
    case cell_type::time:
        if (!parse_time(text, us) || !fits_precision(us, type.typmod))
            break;
        out = number_cell(us);
        return outcome::value;
    case cell_type::timestamp:
    case cell_type::timestamptz:
        if (!parse_timestamp(text, type.type == cell_type::timestamptz, us) ||
            !fits_precision(us, type.typmod))
            break;
        out = number_cell(us);
        return outcome::value;
    case cell_type::uuid:
        return text_to_uuid(text, c, out);
    case cell_type::bytea:
    case cell_type::json:
    case cell_type::jsonb:
    case cell_type::other:
        break;
    }
    return make_pending(text, c, out);
}

outcome json_number_to_cell(std::string_view token, const type_desc& type, time_unit unit,
                            conversion& c, cell& out)
{
    if (type.is_array() || type.is_composite())
        return make_pending(token, c, out);
    switch (type.type) {
    case cell_type::int2:
    case cell_type::int4:
    case cell_type::int8: {
        std::int64_t n;
        const whole w = parse_whole(token, n);
        if (w == whole::fraction)
            return c.refuse_syntax(integer_name(type.type), token);
        if (w == whole::too_big || !integer_fits(type.type, n))
            return c.refuse_range(integer_name(type.type), token);
        out = number_cell(n);
        return outcome::value;
    }
    case cell_type::timestamp:
    case cell_type::timestamptz: {
        std::int64_t us;
        if (!parse_epoch(token, unit, us))
            return c.refuse("22008", "timestamp out of range");
        return timestamp_to_cell(us, type, c, out);
    }
    case cell_type::bytea:
        return c.refuse_syntax("bytea", token);
    case cell_type::json:
        return make_text(token, c, out);
    default:
        return text_to_cell(token, type, c, out);
    }
}

bool parse_uuid(std::string_view text, unsigned char (&uuid)[16])
{
    const bool hyphens = text.size() == 36;
    if (!hyphens && text.size() != 32)
        return false;
    std::size_t at = 0;
    for (int i = 0; i < 16; i++) {
        if (hyphens && (i == 4 || i == 6 || i == 8 || i == 10) && text[at++] != '-')
            return false;
        unsigned value = 0;
        const char* pair = text.data() + at;
        if (*pair == '-')
            return false; // from_chars takes a sign for signed types only; be plain about it
        const auto [end, error] = std::from_chars(pair, pair + 2, value, 16);
        if (error != std::errc{} || end != pair + 2)
            return false;
        uuid[i] = static_cast<unsigned char>(value);
        at += 2;
    }
    return true;
}

int parse_boolean(std::string_view text)
{
    while (!text.empty() && is_space(text.front()))
        text.remove_prefix(1);
    while (!text.empty() && is_space(text.back()))
        text.remove_suffix(1);
    struct word {
        std::string_view whole;
        std::size_t shortest; // its shortest prefix that no other word has
        int value;
    };
    static constexpr word words[] = {
        {"true", 1, 1}, {"false", 1, 0}, {"yes", 1, 1}, {"no", 1, 0},
        {"on", 2, 1},   {"off", 2, 0},   {"1", 1, 1},   {"0", 1, 0},
    };
    for (const word& w : words) {
        if (text.size() < w.shortest || text.size() > w.whole.size())
            continue;
        const bool same = std::equal(text.begin(), text.end(), w.whole.begin(), [](char a, char b) {
            return (a >= 'A' && a <= 'Z' ? a - 'A' + 'a' : a) == b;
        });
        if (same)
            return w.value;
    }
    return -1;
}

} // namespace ke::decode
