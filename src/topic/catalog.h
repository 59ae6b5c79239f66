// Options as the catalogs hold them, brought from the server's lists to values of C++.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "nodes/pg_list.h"
}

#include <string>
#include <string_view>
#include <utility>
#include <vector>

namespace ke::topic {

using option_list = std::vector<std::pair<std::string, std::string>>;

// From a list of DefElem as the server keeps it (every value a string); raises nothing.
option_list to_options(const List*);

// The value of an option; null: not given.
const std::string* find_option(const option_list&, std::string_view name);

} // namespace ke::topic
