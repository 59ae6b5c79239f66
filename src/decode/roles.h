// What a record tells beside its value: topic, partition, offset, time, key, headers as cells.
#pragma once

#include <string>

#include "decode/cells.h"
#include "decode/decoder.h"

namespace ke::decode {

// Appends the headers as JSON: [{"name": "a", "value": "x"}, ...]; a value that is no text as
// base64 with "base64": true, a null one as null.
void append_headers(std::string& out, std::span<const header> headers);

// Makes cells of metadata. Used by one thread; keeps a buffer.
class role_values {
  public:
    explicit role_values(bool utf8_server) { convert.utf8_server = utf8_server; }

    // Of every role but error.
    outcome make(const record& r, const column& col, cell& out);

    conversion convert;

  private:
    outcome make_integer(std::int64_t n, const type_desc& type, cell& out);
    outcome make_word(std::string_view text, const type_desc& type, cell& out);
    outcome make_key(bytes key, const type_desc& type, cell& out);
    outcome make_header(const record& r, const column& col, cell& out);

    std::string buffer_;
};

} // namespace ke::decode
