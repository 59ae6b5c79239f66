// The options of servers, user mappings, topic tables and their columns: one table (options.cpp), the
// rest being librdkafka's properties (kafka/property.h) and the formats' own (decode/decoder.h).
#pragma once

#include "pg/compat.h"

#include <cstdint>
#include <span>
#include <string>
#include <string_view>

#include "kafka/property.h"
#include "topic/catalog.h"

namespace ke::topic {

enum class place : std::uint8_t { server, user_mapping, table, column };
std::string_view name_of(place);

// Who may set an option of our own: a secret belongs in a user mapping; <secret>_file names a file that
// holds it, for superusers.
enum class option_access : std::uint8_t { anyone, secret, superuser };

struct option_row {
    std::string_view name;
    place where;
    std::string_view kind;    // for the reader: "time", "list of topics", ...
    std::string_view initial; // default; empty: none
    std::string_view help;
    // Throws fault_error on a bad value; null: checked elsewhere.
    void (*check)(std::string_view name, const std::string& value);
    option_access who = option_access::anyone;
};

// Our own options; not librdkafka's, not the formats'.
std::span<const option_row> options();
const option_row* find_option_row(std::string_view name, place);

// Whether some format has an option of that name (with key_ in front: for the key).
bool is_format_option(std::string_view name);

// <secret>_file: the secret (a property or an option of ours) whose value stands in a file of the
// server's host, by its option's name; else empty.
std::string_view secret_in_file(std::string_view name);

// The file that such an option names, or one of a format's. Who may name it was judged by the DDL. Throws
// fault_error, also where it has more than most bytes.
std::string read_option_file(const std::string& option, const std::string& path, std::size_t most);

// All options of one object, as they would stand after the DDL. Throws fault_error.
void check_options(place, const option_list&, bool superuser);

} // namespace ke::topic
