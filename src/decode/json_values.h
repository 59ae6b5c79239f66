// From one JSON value (its own text, cut out of the document) to a cell of any type.
#pragma once

#include <string>
#include <string_view>

#include "decode/cells.h"
#include "decode/plan.h"
#include "decode/scalars.h"

namespace ke::decode {

// The content of a JSON string, between its quotes.
struct json_string {
    std::string_view text;      // in the document, or in the buffer given
    const char* flaw = nullptr; // why it is not well formed, or cannot be text; null: it is
    bool malformed = false;     // the flaw is the document's, whoever uses the string
    bool has_nul = false;       // \u0000: no text, though well formed
};
// quoted: with its quotes, control characters ruled out. Escapes are undone into buffer.
json_string unescape_json(std::string_view quoted, std::string& buffer);

// Whether a scalar token (not a string) is JSON: null, true, false or a number.
bool is_json_literal(std::string_view token);

struct json_options {
    time_unit unit = time_unit::ms;
    bool hex = false; // bytea: hex, else base64
};

// Makes cells of JSON values. Used by one thread; keeps buffers.
class json_values {
  public:
    json_values(json_options options, bool utf8_server) : options_(options)
    {
        convert.utf8_server = utf8_server;
    }

    // value: one well-formed JSON value without white space around it. plain: it is known to be a
    // string without escapes.
    outcome make(std::string_view value, const type_desc& type, cell& out, bool plain = false);

    conversion convert;

  private:
    outcome make_string(std::string_view quoted, const type_desc& type, cell& out);
    outcome make_decoded_bytea(std::string_view text, cell& out);
    bool decode_bytea(std::string_view text, std::string& out);
    outcome text_form(std::string_view value, const type_desc& type, std::string& out);
    outcome array_form(std::string_view array, const type_desc& type, int dimension,
                       std::string& out);
    outcome record_form(std::string_view object, const type_desc& type, std::string& out);
    outcome refuse_nul();

    json_options options_;
    std::string unescaped_;
    std::string bytes_;
};

} // namespace ke::decode
