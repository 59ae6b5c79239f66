#include "topic/values.h"

extern "C" {
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
}

#include <algorithm>
#include <charconv>
#include <set>

#include "kafka/pattern.h"
#include "pg/guard.h"

namespace ke::topic {

namespace {

std::string_view trim(std::string_view s)
{
    while (!s.empty() && (s.front() == ' ' || s.front() == '\t' || s.front() == '\n'))
        s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\t' || s.back() == '\n'))
        s.remove_suffix(1);
    return s;
}

std::vector<std::string_view> split(std::string_view s, char at)
{
    std::vector<std::string_view> parts;
    for (;;) {
        std::size_t n = s.find(at);
        parts.push_back(trim(s.substr(0, n)));
        if (n == s.npos)
            return parts;
        s.remove_prefix(n + 1);
    }
}

// All of s as a number from 0 on.
template <class T>
std::optional<T> whole_number(std::string_view s)
{
    T n{};
    auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), n);
    if (error != std::errc() || end != s.data() + s.size() || s.empty() || n < 0)
        return {};
    return n;
}

// The server's reader of settings with units.
std::optional<double> with_unit(const std::string& value, int unit, const char** hint)
{
    double number = 0;
    if (!pg::call([&] { return parse_real(value.c_str(), &number, unit, hint); }))
        return {};
    return number;
}

} // namespace

void refuse_value(std::string_view name, std::string_view value, std::string hint)
{
    fault f;
    f.kind = fault_kind::refused_option;
    f.message =
        "invalid value for option \"" + std::string(name) + "\": \"" + std::string(value) + "\"";
    f.hint = std::move(hint);
    throw pg::fault_error(std::move(f));
}

std::int64_t read_count(std::string_view name, const std::string& value, std::int64_t least,
                        std::int64_t most)
{
    auto n = whole_number<std::int64_t>(trim(value));
    if (!n || *n < least || *n > most)
        refuse_value(name, value,
                     "Give a whole number from " + std::to_string(least) + " to " +
                         std::to_string(most) + ".");
    return *n;
}

std::int64_t read_duration(std::string_view name, const std::string& value, std::int64_t least_us,
                           std::int64_t most_us)
{
    const char* hint = nullptr;
    auto ms = with_unit(value, GUC_UNIT_MS, &hint);
    if (!ms)
        refuse_value(name, value,
                     hint ? hint : "Give a time with its unit, for example '10s' or '500ms'.");
    double us = *ms * 1000;
    if (!(us >= static_cast<double>(least_us) && us <= static_cast<double>(most_us)))
        refuse_value(name, value,
                     "Give a time from " + std::to_string(least_us / 1000) + "ms to " +
                         std::to_string(most_us / 1000000) + "s.");
    return static_cast<std::int64_t>(us);
}

std::int64_t read_size(std::string_view name, const std::string& value, std::int64_t least)
{
    const char* hint = nullptr;
    auto size = with_unit(value, GUC_UNIT_BYTE, &hint);
    if (!size)
        refuse_value(name, value, hint ? hint : "Give a size with its unit, for example '16MB'.");
    if (!(*size >= static_cast<double>(least) && *size <= 1024.0 * 1024 * 1024))
        refuse_value(name, value, "Give a size from " + std::to_string(least) + " bytes to 1GB.");
    return static_cast<std::int64_t>(*size);
}

std::vector<std::string> read_urls(const std::string& value)
{
    std::vector<std::string> urls;
    for (std::size_t from = 0; from <= value.size();) {
        const std::size_t comma = std::min(value.find(',', from), value.size());
        std::string url = value.substr(from, comma - from);
        url.erase(0, url.find_first_not_of(' '));
        while (url.ends_with(' ') || url.ends_with('/'))
            url.pop_back();
        if (!url.empty())
            urls.push_back(std::move(url));
        from = comma + 1;
    }
    return urls;
}

bool read_boolean(std::string_view name, const std::string& value)
{
    bool answer;
    if (!parse_bool(value.c_str(), &answer))
        refuse_value(name, value, "Give true or false.");
    return answer;
}

std::string read_choice(std::string_view name, const std::string& value,
                        std::initializer_list<std::string_view> words)
{
    std::string list;
    for (std::string_view w : words) {
        if (w == value)
            return value;
        list += (list.empty() ? "" : ", ") + std::string(w);
    }
    refuse_value(name, value, "Valid values are: " + list + ".");
}

std::vector<std::string> read_topics(std::string_view name, const std::string& value)
{
    std::vector<std::string> topics;
    std::set<std::string> seen;
    for (std::string_view t : split(value, ',')) {
        bool good = !t.empty() && t.size() <= 249 && t != "." && t != ".." &&
                    std::all_of(t.begin(), t.end(), [](unsigned char c) {
                        return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                               (c >= '0' && c <= '9') || c == '.' || c == '_' || c == '-';
                    });
        if (!good)
            refuse_value(name, value,
                         "Names of topics have 1 to 249 letters, digits, dots, underscores and "
                         "hyphens; several are separated by commas.");
        if (!seen.insert(std::string(t)).second)
            refuse_value(name, value, "Topic \"" + std::string(t) + "\" is named twice.");
        topics.emplace_back(t);
    }
    return topics;
}

void check_pattern(std::string_view name, const std::string& value)
{
    if (value.empty())
        refuse_value(name, value, "Give a regular expression that whole names of topics match.");
    if (auto made = kafka::pattern::make(value); !made)
        refuse_value(name, value.substr(0, 100), made.error().hint);
}

std::vector<std::pair<int, int>> read_partitions(std::string_view name, const std::string& value)
{
    std::vector<std::pair<int, int>> ranges;
    for (std::string_view part : split(value, ',')) {
        std::size_t dash = part.find('-');
        auto first = whole_number<int>(trim(part.substr(0, dash)));
        auto last = dash == part.npos ? first : whole_number<int>(trim(part.substr(dash + 1)));
        if (!first || !last || *first > *last)
            refuse_value(name, value,
                         "Give numbers and ranges of partitions, for example '0-3,8'.");
        ranges.emplace_back(*first, *last);
    }
    return ranges;
}

// ------------------------------------------------------------------ starting points

namespace {

constexpr const char* start_hint =
    "Give earliest, latest, group, a time such as '2026-11-01 00:00+00', or next offsets by partition "
    "such as '0:100,1:250' ('orders/0:100' where there are several topics).";

// '0:100' or 'orders/0:100'; nothing where it has another shape.
std::optional<starting_point::entry> read_entry(std::string_view text)
{
    starting_point::entry e;
    if (std::size_t slash = text.rfind('/'); slash != text.npos) {
        e.topic = trim(text.substr(0, slash));
        text.remove_prefix(slash + 1);
        if (e.topic.empty())
            return {};
    }
    std::size_t colon = text.find(':');
    if (colon == text.npos)
        return {};
    auto partition = whole_number<std::int32_t>(trim(text.substr(0, colon)));
    auto next = whole_number<std::int64_t>(trim(text.substr(colon + 1)));
    if (!partition || !next)
        return {};
    e.partition = partition_id(*partition);
    e.next = message_offset(*next);
    return e;
}

std::optional<std::vector<starting_point::entry>> read_map(std::string_view text)
{
    std::vector<starting_point::entry> map;
    for (std::string_view part : split(text, ',')) {
        auto e = read_entry(part);
        if (!e)
            return {};
        map.push_back(std::move(*e));
    }
    return map;
}

} // namespace

void refuse_start(std::string message, std::string detail, std::string hint)
{
    fault f;
    f.kind = fault_kind::refused_option;
    f.message = std::move(message);
    f.detail = std::move(detail);
    f.hint = hint.empty() ? start_hint : std::move(hint);
    throw pg::fault_error(std::move(f));
}

namespace {

// What timestamptz's input function takes, in milliseconds since 1970.
std::int64_t read_time(const std::string& text)
{
    TimestampTz t = 0;
    try {
        t = pg::call([&] {
            return DatumGetTimestampTz(
                DirectFunctionCall3(timestamptz_in, CStringGetDatum(text.c_str()),
                                    ObjectIdGetDatum(InvalidOid), Int32GetDatum(-1)));
        });
    } catch (const pg::pg_error& e) { // raised again, in words of ours
        e.data()->message = psprintf("invalid start \"%s\"", text.c_str());
        e.data()->detail = nullptr;
        e.data()->hint = pstrdup(start_hint);
        throw;
    }
    if (TIMESTAMP_NOT_FINITE(t))
        refuse_start("invalid start \"" + text + "\"", "A start must be a finite time.");
    const std::int64_t us = t + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
    return us <= 0 ? 0 : (us + 999) / 1000;
}

void check_twice(const std::vector<starting_point::entry>& map)
{
    for (std::size_t i = 0; i < map.size(); ++i)
        for (std::size_t k = 0; k < i; ++k)
            if (map[i].topic == map[k].topic && map[i].partition == map[k].partition)
                refuse_start("partition " + std::to_string(map[i].partition.value) +
                                 " is named twice in a start",
                             "", "Name each partition once.");
}

} // namespace

starting_point read_start(const std::string& value)
{
    using kind = starting_point::kind;
    starting_point start;
    const std::string_view text = trim(value);
    if (text == "earliest" || text == "latest" || text == "group") {
        start.what = text == "earliest" ? kind::earliest
                     : text == "latest" ? kind::latest
                                        : kind::group;
    } else if (text.empty()) {
        refuse_start("a start must not be empty", "");
    } else if (auto map = read_map(text)) {
        check_twice(*map);
        start.what = kind::map;
        start.map = std::move(*map);
    } else {
        start.what = kind::time;
        start.time_ms = read_time(std::string(text));
    }
    return start;
}

} // namespace ke::topic
