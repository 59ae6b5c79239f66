#include "decode/avro_json.h"

#include <charconv>

#include "decode/scalars.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

using kind = value::kind;

constexpr std::int64_t us_to_2000 = 946684800000000;
constexpr std::int64_t days_to_2000 = 10957;

// Whether there are no digits behind the microseconds.
bool is_exact(std::string_view text)
{
    constexpr std::size_t most_digits = 6;
    const std::size_t point = text.find('.');
    return point == text.npos ||
           text.substr(point + 1).find_first_not_of("0123456789") <= most_digits ||
           text.size() - point - 1 <= most_digits;
}

bool has_zone(std::string_view timestamp)
{
    constexpr std::size_t seconds_end = 19;
    return timestamp.find_first_of("Z+-", seconds_end) != timestamp.npos;
}

bool timestamp_of(std::string_view text, bool zone, value& out)
{
    out.what = zone ? kind::timestamptz : kind::timestamp;
    if (has_zone(text) != zone || !is_exact(text) || !parse_timestamp(text, zone, out.i))
        return false;
    out.i += us_to_2000;
    return true;
}

// "2 mons 3 days 4000 microseconds", or some of it.
bool interval_of(std::string_view text, value& out)
{
    out.what = kind::interval;
    if (text.empty())
        return false;
    std::int64_t months = 0, days = 0;
    const auto take = [&text](std::string_view unit, std::int64_t& n) {
        std::int64_t found;
        const char* end = text.data() + text.size();
        const auto read = std::from_chars(text.data(), end, found);
        if (read.ec != std::errc{} ||
            !std::string_view(read.ptr, static_cast<std::size_t>(end - read.ptr)).starts_with(unit))
            return;
        n = found;
        text.remove_prefix(static_cast<std::size_t>(read.ptr - text.data()) + unit.size());
        if (text.size() > 1 && text.front() == ' ')
            text.remove_prefix(1);
    };
    take(" mons", months);
    take(" days", days);
    take(" microseconds", out.i);
    out.months = static_cast<std::int32_t>(months);
    out.days = static_cast<std::int32_t>(days);
    return text.empty() && out.months == months && out.days == days;
}

// Of a text, where the type means something.
bool meant(const avro_type& type, std::string_view text, value& out)
{
    std::int32_t days;
    switch (type.meaning) {
    case avro_meaning::date:
        out.what = kind::date;
        if (!parse_date(text, days))
            return false;
        out.i = days + days_to_2000;
        return true;
    case avro_meaning::time_ms:
    case avro_meaning::time_us:
    case avro_meaning::time_ns:
        out.what = kind::time;
        return is_exact(text) && parse_time(text, out.i);
    case avro_meaning::timestamp_ms:
    case avro_meaning::timestamp_us:
    case avro_meaning::timestamp_ns:
        return timestamp_of(text, true, out);
    case avro_meaning::local_ms:
    case avro_meaning::local_us:
    case avro_meaning::local_ns:
        return timestamp_of(text, false, out);
    case avro_meaning::duration_us:
    case avro_meaning::duration_ns:
    case avro_meaning::duration:
        return interval_of(text, out);
    case avro_meaning::uuid:
        out.what = kind::text;
        out.s = text;
        return true; // whose bytes the writer makes
    default:
        return false;
    }
}

} // namespace

bool value_of_json(const avro_type& type, const value& v, arena& memory, value& out)
{
    const bool bytes = type.kind == avro_kind::bytes || type.kind == avro_kind::fixed;
    out = v;
    if (bytes && type.meaning == avro_meaning::decimal && v.what == kind::real8) {
        out.what = kind::number; // as it was written
        return true;
    }
    if (v.what != kind::text ||
        (!bytes && type.kind != avro_kind::int_ && type.kind != avro_kind::long_))
        return true;
    out = value();
    if (!bytes || type.meaning != avro_meaning::plain)
        return meant(type, v.s, out);
    std::string decoded, again;
    if (!decode_base64(v.s, decoded))
        return false;
    append_base64(again, decoded);
    out.what = kind::bytes;
    out.s = memory.copy(decoded);
    return again == v.s;
}

} // namespace ke::decode
