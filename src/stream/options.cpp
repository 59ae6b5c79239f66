// Options of continuous views. Values come as strings, whatever the grammar took; sizes and times
// have the units of postgresql.conf. Server's thread; raises nothing, throws fault_error.
#include "stream/options.h"

#include "stream/registry.h"

#include <algorithm>
#include <cmath>

extern "C" {
#include "utils/builtins.h"
#include "utils/guc.h"
}

#include "pg/guard.h"

namespace ke::stream {

namespace {

using enum option_kind;

constexpr std::string_view seek = "Use kafka.seek() to move a view.";
constexpr std::string_view pause = "Use kafka.pause() and kafka.resume().";
constexpr std::string_view anew = "Drop the view and create it again.";

const option_row table[] = {
    {"continuous", boolean, "true", "", false, anew, "makes the view a continuous one"},
    {"start", text, "earliest", "", false, seek, "where to start reading"},
    {"into", text, "", "", false, anew, "an existing table to feed"},
    {"key", text, "", "", false, anew, "columns that identify a row"},
    {"on_conflict", choice, "error", "error nothing update merge", false, anew,
     "what to do with a row whose key is there"},
    {"delete_when", text, "", "", false, anew, "a condition: such a row deletes its key"},
    {"paused", boolean, "false", "", false, pause, "create without starting"},
    {"group_id", text, "<database>.<schema>.<view>", "", true, "",
     "Kafka group to which positions are mirrored"},
    {"on_gap", choice, "stop", "stop earliest latest", true, "",
     "what to do where records expired before they were read"},
    {"on_error", choice, "dead_letter", "dead_letter skip stop", true, "",
     "what to do with a bad record"},
    {"max_errors_in_a_row", rows, "10000", "", true, "",
     "more bad records than that, one after the other, stop the view"},
    {"max_dead_letters", rows, "1000000", "", true, "",
     "the view stops when so many of its records are in kafka.dead_letters"},
    {"dead_letter_topic", text, "", "", true, "", "bad records are also produced to this topic"},
    {"batch_rows", rows, "65536", "", true, "", "a batch ends at so many records"},
    {"batch_bytes", bytes, "16MB", "", true, "", "a batch ends at so many bytes"},
    {"flush_interval", time, "20ms", "", true, "", "a batch ends this long after the last commit"},
    {"synchronous_commit", boolean, "off", "", true, "", "wait for the local flush at each commit"},
};

std::string quoted(std::string_view s)
{
    return "\"" + std::string(s) + "\"";
}

fault refused(std::string_view name, const std::string& value, std::string hint)
{
    return {fault_kind::refused_option,
            "invalid value for option \"kafka." + std::string(name) + "\": " + quoted(value), "",
            std::move(hint)};
}

std::string all_names()
{
    std::string names;
    for (const option_row& o : table)
        names += (names.empty() ? "" : ", ") + std::string(o.name);
    return names;
}

fault unknown(std::string_view name)
{
    return {fault_kind::unknown_option, "unknown option \"kafka." + std::string(name) + "\"", "",
            "Options of a continuous view are: " + all_names() + "."};
}

// Number with the units of a postgresql.conf setting; false where it is none or out of range.
bool number(const std::string& value, int flags, double least, double most, double* out)
{
    const char* hint = nullptr;
    return parse_real(value.c_str(), out, flags, &hint) && *out >= least && *out <= most &&
           (flags != 0 || *out == std::floor(*out));
}

struct limits {
    int flags;
    double least, most;
    const char* hint;
};

limits limits_of(option_kind kind)
{
    switch (kind) {
    case rows:
        return {0, 1, 10'000'000, "Give a number of records from 1 to 10000000."};
    case bytes:
        return {GUC_UNIT_BYTE, 1024, 1024.0 * 1024 * 1024,
                "Give a size from 1kB to 1GB, such as '16MB'."};
    default:
        return {GUC_UNIT_MS, 0, 60'000, "Give a time from 0 to 1min, such as '20ms'."};
    }
}

bool is_choice(const option_row& o, const std::string& value)
{
    return !value.empty() && value.find(' ') == std::string::npos &&
           (" " + std::string(o.values) + " ").find(" " + value + " ") != std::string::npos;
}

result<done> check_choice(const option_row& o, const std::string& value)
{
    if (is_choice(o, value))
        return done{};
    std::string list(o.values);
    for (std::size_t at = 0; (at = list.find(' ', at)) != std::string::npos; at += 2)
        list.replace(at, 1, ", ");
    return refused(o.name, value, "Valid values are: " + list + ".");
}

bool is_topic(const std::string& name)
{
    return name.size() <= 249 && name != "." && name != ".." &&
           name.find_first_not_of(
               "abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789._-") ==
               std::string::npos;
}

result<done> check_value(const option_row& o, const std::string& value)
{
    bool b;
    double n;
    switch (o.kind) {
    case boolean:
        if (!parse_bool(value.c_str(), &b))
            return refused(o.name, value, "Give true or false.");
        return done{};
    case rows:
    case bytes:
    case time: {
        limits l = limits_of(o.kind);
        if (!number(value, l.flags, l.least, l.most, &n))
            return refused(o.name, value, l.hint);
        return done{};
    }
    case choice:
        return check_choice(o, value);
    case text:
        if (value.empty())
            return refused(o.name, value, "The value must not be empty.");
        if (o.name == "group_id" && value.size() > 255)
            return refused(o.name, value, "A group's name has at most 255 bytes.");
        if (o.name == "dead_letter_topic" && !is_topic(value))
            return refused(o.name, value,
                           "A topic's name has up to 249 letters, digits, \".\", \"_\""
                           " and \"-\", and is not \".\" or \"..\".");
        return done{};
    }
    return done{};
}

void apply(view_options& v, std::string_view name, const std::string& value)
{
    double n = 0;
    if (name == "batch_rows" && number(value, 0, 1, 1e9, &n))
        v.batch_rows = static_cast<int>(n);
    else if (name == "batch_bytes" && number(value, GUC_UNIT_BYTE, 1, 1e12, &n))
        v.batch_bytes = static_cast<std::int64_t>(n);
    else if (name == "flush_interval" && number(value, GUC_UNIT_MS, 0, 1e6, &n))
        v.flush_interval_us = static_cast<int>(n * 1000);
    else if (name == "max_errors_in_a_row" && number(value, 0, 1, 1e9, &n))
        v.max_errors_in_a_row = static_cast<std::int64_t>(n);
    else if (name == "max_dead_letters" && number(value, 0, 1, 1e9, &n))
        v.max_dead_letters = static_cast<std::int64_t>(n);
    else if (name == "synchronous_commit")
        (void)parse_bool(value.c_str(), &v.synchronous_commit);
    else if (name == "on_error")
        v.on_error = value;
    else if (name == "dead_letter_topic")
        v.dead_letter_topic = value;
    else if (name == "on_gap")
        v.on_gap = value;
    else if (name == "group_id")
        v.group_id = value;
    else if (name == "key")
        v.key = value;
    else if (name == "on_conflict")
        v.on_conflict = value;
    else if (name == "delete_when")
        v.delete_when = value;
}

} // namespace

std::span<const option_row> option_table()
{
    return table;
}

const option_row* find_option(std::string_view name)
{
    auto at = std::find_if(std::begin(table), std::end(table),
                           [&](const option_row& o) { return o.name == name; });
    return at == std::end(table) ? nullptr : at;
}

result<done> check_option(std::string_view name, const std::string& value)
{
    const option_row* o = find_option(name);
    if (!o)
        return unknown(name);
    return check_value(*o, value);
}

view_options resolve_options(const option_list& given, const option_list& defaults,
                             const std::string& default_group)
{
    view_options v;
    v.on_error = "dead_letter";
    v.on_gap = "stop";
    v.group_id = default_group;
    for (const option_list* list : {&defaults, &given})
        for (const auto& [name, value] : *list) {
            pg::check(check_option(name, value));
            apply(v, name, value);
        }
    if (!v.dead_letter_topic.empty() && v.on_error != "dead_letter")
        throw pg::fault_error(
            {fault_kind::refused_option,
             "option \"kafka.dead_letter_topic\" needs kafka.on_error = 'dead_letter'", "",
             "What is skipped or stops the view is not kept, and so not sent."});
    return v;
}

} // namespace ke::stream
