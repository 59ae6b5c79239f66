// The values of Debezium's change events: what encoded ones mean (days, microseconds, unscaled
// decimals, bits, geometries) is said by the schema where there is one, else by the column's type and
// the format's options. Of MongoDB's documents by their extended JSON.
#pragma once

#include <string>
#include <string_view>

#include "decode/connect_schema.h"
#include "decode/typed_values.h"

namespace ke::decode {

struct change_options {
    json_options json;
    bool text_decimals = false; // strings in numeric columns are text where no schema says it
    bool adaptive = false; // times of a precision up to 3 count milliseconds where none says it
};

// Makes cells. Used by one thread; keeps buffers.
class change_values {
  public:
    change_values(change_options options, bool utf8_server)
        : options_(options), values_(options.json, utf8_server), typed_(options.json, utf8_server)
    {
    }
    void use(arena& memory) { values_.convert.memory = typed_.convert().memory = &memory; }

    // A field of a row; m: what the schema says of it, or null.
    outcome field(std::string_view value, const connect_meaning* m, const type_desc& type,
                  cell& out);
    // JSON as it is.
    outcome plain(std::string_view value, const type_desc& type, cell& out)
    {
        return is_null(value) ? outcome::null : values_.make(value, type, out);
    }
    // Milliseconds since 1970.
    outcome epoch(std::string_view value, const type_desc& type, cell& out);
    outcome refuse(const char* sqlstate, std::string_view reason, std::string_view detail = {})
    {
        return values_.convert.refuse(sqlstate, reason, detail);
    }

    problem& why() { return values_.convert.why; }
    typed_values& typed() { return typed_; }

    bool schema_known = false; // strings that are decimals are said to be so
    bool extended_json = false;

  private:
    outcome text(std::string_view value, const connect_meaning* m, const type_desc& type,
                 cell& out);
    outcome number(std::string_view value, const connect_meaning* m, const type_desc& type,
                   cell& out);
    outcome object(std::string_view value, const type_desc& type, cell& out);
    outcome extended(std::string_view value, const type_desc& type, cell& out);
    outcome decimal(std::string_view base64, std::int32_t scale, const type_desc& type, cell& out);
    outcome bits(std::string_view base64, std::int32_t length, const type_desc& type, cell& out);
    outcome typed(const item& it, const type_desc& type, cell& out);

    const change_options options_;
    json_values values_;
    typed_values typed_;
    std::string buffer_, bytes_;
};

} // namespace ke::decode
