// Which librdkafka properties a user may set where. One table (property_table.cpp); everything not
// in it is refused. The table is asked *before* rd_kafka_conf_set: setting plugin.library.paths
// loads the library at once.
#pragma once

#include <cstdint>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"

namespace ke::kafka {

enum class access : std::uint8_t {
    anyone,
    secret,    // user mapping only, never shown
    superuser, // loads code, runs commands, or reads or writes files of the server's host
    ours,      // set by us: refused with the reason
};

struct property_row {
    std::string_view name; // librdkafka's own, dotted
    access who;
    std::string_view why; // access::ours: why nobody may set it
};

std::span<const property_row> properties();

// By librdkafka's name or by an option's (with '_' for '.'); null: no such property.
const property_row* find_property(std::string_view name);

// Names near to an unknown one, best first, at most 3, as options are written (with '_').
std::vector<std::string> near_properties(std::string_view name);

// Names of a list near to a wrong one, best first, at most 3.
std::vector<std::string> near_names(std::string_view name, std::span<const std::string> list);

// librdkafka's own judgement of one value: its words in the fault. Ask the table first.
result<done> check_value(const property_row&, const std::string& value);

// Whether this value is for superusers, be the property anyone's or not: the mechanism GSSAPI runs
// kinit and uses the server's own tickets.
bool needs_superuser(const property_row&, std::string_view value);

} // namespace ke::kafka
