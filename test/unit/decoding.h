// Tables, records and rows as short texts, for the tests of src/decode.
#pragma once

#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "decode/decoder.h"

namespace ke::test {

decode::type_desc type_of(decode::cell_type type, int typmod = -1);
decode::type_desc array_of(decode::type_desc element);

// A column of the payload at its own name, or at a path.
decode::column from_payload(std::string name, decode::type_desc type, std::string_view path = {});
decode::column from_key(std::string name, decode::type_desc type, std::string_view path = {});
decode::column from_role(std::string name, decode::type_desc type, decode::role role,
                         std::string header = {});

struct table {
    decode::row_plan plan;
    explicit table(std::vector<decode::column> columns, std::string format = "json");
    table& option(std::string name, std::string value);
    table& key_format(std::string name);
};

decode::record record_of(std::string_view value);

// A decoder and what it made so far.
class decoding {
  public:
    explicit decoding(const table& t);
    std::string decode(const decode::record& r); // what shown() says of the record's rows
    std::string decode(std::string_view value) { return decode(record_of(value)); }

    // Rows as 1,null,abc|2,...; a text for an input function is in <>; no row: -; a reject:
    // !22P02 column: reason (detail).
    std::string shown(std::uint32_t message) const;

    std::shared_ptr<const decode::row_plan> plan;
    std::unique_ptr<decode::record_decoder> decoder;
    decode::rows rows;
};

// One value in a column of the type.
std::string decoded(std::string_view json, decode::type_desc type);
std::string decoded(std::string_view json, decode::cell_type type, int typmod = -1);

std::string show_cell(decode::cell value, decode::cell_state state, const decode::type_desc& type);

} // namespace ke::test
