// ISO 8601 dates and times, in the one shape that DateStyle cannot change: year first, four digits.
#include "decode/scalars.h"

#include <charconv>
#include <cmath>
#include <cstdio>

#include "decode/json_text.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

constexpr std::int64_t us_per_second = 1000000;
constexpr std::int64_t us_per_day = 86400 * us_per_second;

// Days since 1970-01-01 of a day in the Gregorian calendar, by counting eras of 400 years from a
// 1st of March.
constexpr std::int64_t days_of(int year, int month, int day)
{
    const int y = month <= 2 ? year - 1 : year;
    const int era = (y >= 0 ? y : y - 399) / 400;
    const int year_of_era = y - era * 400;
    const int day_of_year = (153 * (month + (month > 2 ? -3 : 9)) + 2) / 5 + day - 1;
    const int day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    return std::int64_t{era} * 146097 + day_of_era - 719468;
}
constexpr std::int64_t days_to_2000 = days_of(2000, 1, 1);
static_assert(days_to_2000 == 10957);

int days_in_month(int year, int month)
{
    static constexpr int days[] = {31, 28, 31, 30, 31, 30, 31, 31, 30, 31, 30, 31};
    const bool leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    return month == 2 && leap ? 29 : days[month - 1];
}

// n digits at p, or -1.
template <int n>
int digits(const char* p)
{
    unsigned value = 0, wrong = 0;
    for (int i = 0; i < n; i++) {
        const unsigned d = static_cast<unsigned char>(p[i]) - '0';
        wrong |= d > 9;
        value = value * 10 + d;
    }
    return wrong ? -1 : static_cast<int>(value);
}

int digits(const char* p, int n)
{
    int value = 0;
    for (int i = 0; i < n; i++) {
        const unsigned d = static_cast<unsigned char>(p[i]) - '0';
        if (d > 9)
            return -1;
        value = value * 10 + static_cast<int>(d);
    }
    return value;
}

// The microseconds of a fraction .5 .123456789, as the server rounds it.
bool parse_fraction(std::string_view text, std::int64_t& us)
{
    const std::size_t n = text.size() - 1;
    if (n == 0 || n > 15)
        return false;
    if (n <= 6) {
        const int value = digits(text.data() + 1, static_cast<int>(n));
        if (value < 0)
            return false;
        us = value;
        for (std::size_t i = n; i < 6; i++)
            us *= 10;
        return true;
    }
    for (std::size_t i = 1; i <= n; i++)
        if (digits(text.data() + i, 1) < 0)
            return false;
    double fraction;
    const auto [end, error] = std::from_chars(text.data(), text.data() + text.size(), fraction);
    if (error != std::errc{} || end != text.data() + text.size())
        return false;
    us = static_cast<std::int64_t>(std::rint(fraction * 1000000));
    return true;
}

// Z, +hh, +hhmm, +hh:mm: microseconds east of UTC.
bool parse_zone(std::string_view text, std::int64_t& east)
{
    east = 0;
    if (text == "Z")
        return true;
    if (text.size() < 3 || (text[0] != '+' && text[0] != '-'))
        return false;
    const int hours = digits<2>(text.data() + 1);
    int minutes = 0;
    if (text.size() == 5)
        minutes = digits<2>(text.data() + 3);
    else if (text.size() == 6 && text[3] == ':')
        minutes = digits<2>(text.data() + 4);
    else if (text.size() != 3)
        return false;
    if (hours < 0 || hours > 15 || minutes < 0 || minutes > 59)
        return false;
    east = (hours * 60 + minutes) * 60 * us_per_second;
    if (text[0] == '-')
        east = -east;
    return true;
}

} // namespace

time_unit read_time_unit(std::string_view name)
{
    return name == "s"    ? time_unit::s
           : name == "us" ? time_unit::us
           : name == "ns" ? time_unit::ns
                          : time_unit::ms;
}

bool parse_date(std::string_view text, std::int32_t& days)
{
    if (text.size() != 10 || text[4] != '-' || text[7] != '-')
        return false;
    const int year = digits<4>(text.data());
    const int month = digits<2>(text.data() + 5);
    const int day = digits<2>(text.data() + 8);
    if (year < 1 || month < 1 || month > 12 || day < 1 || day > days_in_month(year, month))
        return false;
    days = static_cast<std::int32_t>(days_of(year, month, day) - days_to_2000);
    return true;
}

bool parse_time(std::string_view text, std::int64_t& us)
{
    if (text.size() < 8 || text[2] != ':' || text[5] != ':')
        return false;
    const int hour = digits<2>(text.data());
    const int minute = digits<2>(text.data() + 3);
    const int second = digits<2>(text.data() + 6);
    if (hour < 0 || hour > 23 || minute < 0 || minute > 59 || second < 0 || second > 59)
        return false;
    std::int64_t fraction = 0;
    if (text.size() > 8 && (text[8] != '.' || !parse_fraction(text.substr(8), fraction)))
        return false;
    us = ((hour * 60 + minute) * 60 + second) * us_per_second + fraction;
    return true;
}

bool parse_timestamp(std::string_view text, bool needs_zone, std::int64_t& us)
{
    if (text.size() < 19 || (text[10] != 'T' && text[10] != ' '))
        return false;
    std::int32_t days;
    if (!parse_date(text.substr(0, 10), days))
        return false;
    std::size_t zone_at = 19;
    while (zone_at < text.size() && (text[zone_at] == '.' || is_digit(text[zone_at])))
        ++zone_at;
    std::int64_t time;
    if (!parse_time(text.substr(11, zone_at - 11), time))
        return false;
    std::int64_t east = 0;
    if (zone_at == text.size() ? needs_zone : !parse_zone(text.substr(zone_at), east))
        return false;
    // A timestamp without time zone takes the clock's reading and leaves the zone aside.
    us = days * us_per_day + time - (needs_zone ? east : 0);
    return true;
}

void append_timestamp(std::string& out, std::int64_t us, bool zone)
{
    std::int64_t days = us / us_per_day;
    std::int64_t time = us % us_per_day;
    if (time < 0) {
        time += us_per_day;
        --days;
    }
    // days_of backwards.
    const std::int64_t z = days + days_to_2000 + 719468;
    const std::int64_t era = (z >= 0 ? z : z - 146096) / 146097;
    const std::int64_t doe = z - era * 146097;
    const std::int64_t yoe = (doe - doe / 1460 + doe / 36524 - doe / 146096) / 365;
    const std::int64_t doy = doe - (365 * yoe + yoe / 4 - yoe / 100);
    const std::int64_t mp = (5 * doy + 2) / 153;
    const int day = static_cast<int>(doy - (153 * mp + 2) / 5 + 1);
    const int month = static_cast<int>(mp < 10 ? mp + 3 : mp - 9);
    const std::int64_t year = yoe + era * 400 + (month <= 2 ? 1 : 0);

    const std::int64_t seconds = time / us_per_second;
    char text[64];
    const int n =
        std::snprintf(text, sizeof text, "%04lld-%02d-%02d %02d:%02d:%02d.%06d%s%s",
                      static_cast<long long>(year > 0 ? year : 1 - year), month, day,
                      static_cast<int>(seconds / 3600), static_cast<int>(seconds / 60 % 60),
                      static_cast<int>(seconds % 60), static_cast<int>(time % us_per_second),
                      zone ? "+00" : "", year > 0 ? "" : " BC");
    out.append(text, static_cast<std::size_t>(n));
}

} // namespace ke::decode
