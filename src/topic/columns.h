// The columns of a topic table: which role each has, where its value comes from, which types it may
// have. Server's thread; plain values, nothing kept.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "access/attnum.h"
}

#include <string>
#include <string_view>
#include <vector>

#include "decode/decoder.h"
#include "decode/plan.h"

namespace ke::topic {

// The roles of columns: a row for each.
struct role_row {
    std::string_view name; // as in option metadata; with '_' in front as a column's name
    decode::role what;
    Oid type; // the only type it takes; InvalidOid: see columns.cpp
    std::string_view type_name;
    std::string_view help;
};
const role_row* find_role(std::string_view name); // without the underscore
const role_row& row_of(decode::role);             // never role::none
std::string role_names();                         // for hints: "topic, partition, ..."

// One live column.
struct topic_column {
    AttrNumber number;
    Oid type;
    std::int32_t typmod;
    decode::column column;
};

// All live columns of a topic table with the formats they are decoded by.
struct topic_columns {
    std::string table;  // name, for messages
    int attributes = 0; // dropped ones included
    std::string format;
    std::string key_format;         // empty: none given
    decode::format_options options; // of both formats
    std::vector<topic_column> columns;
};

// Reads the table's definition. Throws pg_error, fault_error (wrong_object, refused_option).
topic_columns read_columns(Oid relid);

// Whether every column's type fits its role or format. Throws fault_error for the first that does not.
void check_columns(const topic_columns&);

// A type as a tree for decoders. Throws pg_error.
decode::type_desc describe_type(Oid type, std::int32_t typmod);

} // namespace ke::topic
