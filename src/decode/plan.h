// What a topic table's rows look like to a decoder: columns, where each comes from, and the type
// each must have. Made once by the server's side (topic/), read by lanes; immutable while in use.
// Knows neither Kafka nor the server.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <utility>
#include <vector>

namespace ke::registry {
class client;
}

namespace ke::decode {

// Types with a fast path. Everything else is `other`: its text travels to the type's input function
// on the server's thread.
enum class cell_type : std::uint8_t {
    boolean,
    int2,
    int4,
    int8,
    float4,
    float8,
    numeric,
    text,    // also varchar without a length
    varchar, // with a length
    bpchar,
    bytea,
    date,
    time,
    timestamp,
    timestamptz,
    uuid,
    json,
    jsonb,
    other,
};

// A column's type as a tree: scalar, array of an element, or composite of named fields.
struct type_desc {
    cell_type type = cell_type::text;
    bool interval = false, bits = false;      // which of the types that are `other`
    std::int32_t typmod = -1;                 // as in pg_attribute; -1: none
    std::shared_ptr<const type_desc> element; // array: its element's type
    char delimiter = ',';                     // array: between elements
    struct field;
    std::vector<field> fields; // composite: its columns, dropped ones left out
    bool is_array() const { return element != nullptr; }
    bool is_composite() const { return !fields.empty(); }
    // A text in a document is the type's own text.
    bool is_plain() const
    {
        return !is_array() && !is_composite() && type != cell_type::bytea &&
               type != cell_type::json && type != cell_type::jsonb;
    }
};
struct type_desc::field {
    std::string name;
    type_desc type;
};

// One step of a path '$.a.b[0]': into an object by name, or into an array by position (from 0).
struct path_step {
    std::string name;
    std::int64_t index = -1; // >= 0: an array position, name unused
};
using path = std::vector<path_step>;

enum class column_source : std::uint8_t { payload, key, metadata };

enum class role : std::uint8_t {
    none,
    topic,
    partition,
    offset,
    timestamp,
    timestamp_type,
    leader_epoch,
    key,
    headers,
    header, // one header by name
    raw,
    tombstone,
    error,
};

struct column {
    std::string name;
    type_desc type;
    column_source source = column_source::payload;
    role metadata = role::none;
    std::string header_name;     // role::header
    path where;                  // payload, key: empty with whole_document false means {name}
    bool whole_document = false; // path '$'
    int ordinal = 0;             // payload, key: its number among all such columns of the table
};

// Options of a format as given by the user, e.g. {"timestamp_unit", "ms"}.
using format_options = std::vector<std::pair<std::string, std::string>>;

struct row_plan {
    std::string format;     // of the value; one of formats()
    std::string key_format; // of the key; empty: raw
    format_options options;
    // Only the columns somebody uses, in the order of the cells. _error and _raw are among them
    // where the table declares _error, whether used or not.
    std::vector<column> columns;
    // Of the whole table, used or not: a document that is a scalar fits one.
    int payload_columns = 0;
    // Names of all columns of the table that come from the value and from the key, used or not, in
    // order: formats that go by position count them.
    std::vector<std::string> payload_names, key_names;
    bool has_error_column = false; // bad records are rows
    bool payload_needed = false;   // a column with source payload is among the columns
    bool key_needed = false;       // a column with source key, or role key
    bool headers_needed = false;   // role headers or header is among the columns
    bool keeps_records = false;    // each record as it came beside its rows (rows::origins)
    // Where schemas are asked for; null: no format needs them, or the server has no registry.
    std::shared_ptr<registry::client> schemas;
    bool server_encoding_utf8 = true; // false: every text travels pending, to be converted
};

} // namespace ke::decode
