// A field's default: JSON in its schema, in the binary encoding wherever it is needed, so that it is read as if
// it had been written. Bytes are code points there and times are numbers, as in no other JSON of ours (Avro 1.11,
// "Complex Types", table of field default values). A union's is the first branch's that it fits.
#pragma once

#include <cstdint>
#include <string>

#include <simdjson.h>

#include "decode/avro_schema.h"

namespace ke::decode {

// A zigzag number in groups of seven bits, the least significant first.
void append_avro_number(std::string& out, std::int64_t n);

class avro_default_writer {
  public:
    // Appends to out. False: it does not fit its type, or all defaults of the schema are too much (records of
    // records with defaults may stand for any number of values); what out has more then means nothing.
    bool write(const avro_type&, simdjson::dom::element, std::string& out, int depth = 0);

  private:
    bool record(const avro_type&, simdjson::dom::element, std::string& out, int depth);
    bool items(const avro_type&, simdjson::dom::element, std::string& out, int depth);
    bool alternative(const avro_type&, simdjson::dom::element, std::string& out, int depth);

    std::int64_t budget_ = 1 << 20; // values and bytes
};

} // namespace ke::decode
