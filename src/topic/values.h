// The values that options of topic tables and of continuous views take: sizes, times, lists, choices,
// starting points. One reader for each, so that a default on the table and an option of a view mean
// the same. All throw fault_error (refused_option, with the option's name) on a bad value; run in the
// server's thread.
#pragma once

#include "pg/compat.h"

#include <cstdint>
#include <initializer_list>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace ke::topic {

// refused_option: invalid value for option "name": "value", with a hint.
[[noreturn]] void refuse_value(std::string_view name, std::string_view value, std::string hint);

// A whole number between least and most.
std::int64_t read_count(std::string_view name, const std::string& value, std::int64_t least,
                        std::int64_t most);

// A time with units as in postgresql.conf ('10s', '500ms', bare numbers are milliseconds), in
// microseconds.
std::int64_t read_duration(std::string_view name, const std::string& value, std::int64_t least_us,
                           std::int64_t most_us);

// A size with units as in postgresql.conf ('16MB', bare numbers are bytes).
std::int64_t read_size(std::string_view name, const std::string& value, std::int64_t least);

// 'https://a:8081, https://b:8081': without what is around them and without a slash at the end.
std::vector<std::string> read_urls(const std::string& value);

bool read_boolean(std::string_view name, const std::string& value);

// value, if it is one of the words.
std::string read_choice(std::string_view name, const std::string& value,
                        std::initializer_list<std::string_view> words);

// 'a, b': topics, each a name that Kafka takes, none twice.
std::vector<std::string> read_topics(std::string_view name, const std::string& value);

// A POSIX extended regular expression for whole names.
void check_pattern(std::string_view name, const std::string& value);

// '0-3,8': inclusive ranges.
std::vector<std::pair<int, int>> read_partitions(std::string_view name, const std::string& value);

// Where to start: 'earliest', 'latest', 'group', a time, or a map '0:100,1:250' or 'orders/0:100'.
struct starting_point {
    enum class kind : std::uint8_t { earliest, latest, group, time, map } what = kind::earliest;
    std::int64_t time_ms = 0; // since 1970, rounded up
    struct entry {
        std::string topic; // empty: the only one
        partition_id partition;
        message_offset next;
    };
    std::vector<entry> map;
};
starting_point read_start(const std::string& value);
[[noreturn]] void refuse_start(std::string message, std::string detail, std::string hint = {});

} // namespace ke::topic
