// The schema that Kafka Connect's JSON converter puts beside a payload, as far as it says what encoded
// values mean; and short ways into JSON that is known to be well formed.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>
#include <unordered_map>

namespace ke::decode {

// What it says of one field.
struct connect_meaning {
    std::string name;
    std::int32_t scale = 0, length = 0;
    bool has_scale = false;
};
using connect_meanings = std::unordered_map<std::string, connect_meaning>;

// Of the fields of the row: those of after (or before), or the schema's own. Empty without a schema.
connect_meanings read_connect_schema(std::string_view schema);

// The member of an object by name, the last one of it; empty: none.
std::string_view member(std::string_view object, std::string_view name);
// The content of a string; empty of anything else.
std::string text_of(std::string_view value);
bool is_null(std::string_view value);
// Debezium's word for a large value that was not changed: as text; as bytes in a column of them; alone,
// by its bytes or as a uuid in an array; as key and value of a map.
bool is_unavailable(std::string_view value, bool of_bytes);

} // namespace ke::decode
