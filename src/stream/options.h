// The table of a view's options (kafka.*): everything that checks, lists or explains one reads it.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/result.h"

namespace ke::stream {

using option_list = std::vector<std::pair<std::string, std::string>>;

enum class option_kind : std::uint8_t { boolean, rows, bytes, time, choice, text };

struct option_row {
    std::string_view name; // without kafka.
    option_kind kind;
    std::string_view standard;  // default, as shown
    std::string_view values;    // of a choice: separated by blanks
    bool alterable;             // by ALTER MATERIALIZED VIEW ... SET
    std::string_view otherwise; // not alterable: what to do instead
    std::string_view help;
};

std::span<const option_row> option_table();

// Null: no such option.
const option_row* find_option(std::string_view name);

// Whether name and value stand: fault unknown_option or refused_option otherwise.
result<done> check_option(std::string_view name, const std::string& value);

} // namespace ke::stream
