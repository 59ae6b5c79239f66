// The way back: from a row to a payload. Values come as plain data in the server's memory (topic/ makes
// them); an encoder is used once, by a session's thread.
#pragma once

#include <algorithm>
#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>

#include "base/arena.h"
#include "base/result.h"
#include "decode/decoder.h"
#include "decode/plan.h"

namespace ke::registry {
class client;
}

namespace ke::decode {

// One value. Plain data: views point into memory that outlives the encoder.
struct value {
    enum class kind : std::uint8_t {
        null,
        boolean,     // i
        integer,     // i
        real4,       // f
        real8,       // f
        number,      // s: digits, point, sign, exponent
        text,        // s: UTF-8
        bytes,       // s
        date,        // i: days since 1970
        time,        // i: microseconds since midnight
        timestamp,   // i: microseconds since 1970, of a clock without a zone
        timestamptz, // i: the same in UTC
        interval,    // i: microseconds; months, days; s: its text
        json,        // s: well formed
        array,       // items
        record,      // items under names
    };
    kind what = kind::null;
    bool of_paths =
        false; // an array or a record that is there because columns' paths lead through it
    std::int32_t months = 0, days = 0;
    std::int64_t i = 0;
    double f = 0;
    std::string_view s;
    std::span<value> items;
    std::span<std::string_view> names;

    const value* find(std::string_view name) const
    {
        for (std::size_t n = 0; n < names.size(); n++)
            if (names[n] == name)
                return &items[n];
        return nullptr;
    }
    // How many items are not null.
    std::size_t count() const
    {
        std::size_t n = 0;
        for (const value& v : items)
            n += v.what != kind::null;
        return n;
    }
};

// What is encoded: the values of the columns that come from the value, or from the key.
struct encode_request {
    std::span<const column* const> columns; // in the table's order
    std::span<const value> values;          // of each
    given_options options;
    std::shared_ptr<registry::client> schemas; // null: the server has no registry
    std::string subject;                       // the topic's, unless an option names another
};

class payload_encoder {
  public:
    virtual ~payload_encoder() = default;
    // Whether the schema is there, or known to be missing; else who is called, and trouble says what is in
    // the way.
    virtual bool prepare(const std::weak_ptr<registry::listener>&, std::shared_ptr<const fault>&)
    {
        return true;
    }
    // Fails with bad_record.
    virtual result<std::string> encode(const encode_request&) = 0;
};

// A fault for encode().
fault bad_value(std::string message, std::string detail = {});

// The document that columns make, each at its path; one with path '$' is all of it.
result<value> document_of(const encode_request&, arena&);
// Null, or what only columns' paths lead through, all of which are null.
bool is_nothing(const value&);
// A value of JSON as a tree; text: well formed. False: nested deeper than documents are read.
bool parse_json(std::string_view text, arena&, value&);
// A number as a double: one that is whole, has digits that a double reaches, or is the text of what JSON
// has no number for (NaN, Infinity). False: it is none.
bool float_of(const value&, double&);
// The same, and as a float where it is single. False also where reading it would give another number.
bool real_of(const value&, bool single, double&);

// Whether each item of a record that is not null has a field of the type that takes(field, name); else why
// says which has none.
template <typename Type, typename Takes>
bool has_all(const Type& type, const value& v, std::string& why, Takes takes)
{
    for (std::size_t i = 0; i < v.items.size(); i++) {
        const auto is_it = [&](const auto& f) { return takes(f, v.names[i]); };
        if (v.items[i].what != value::kind::null &&
            std::none_of(type.fields.begin(), type.fields.end(), is_it)) {
            why = type.name + " has no field " + std::string(v.names[i]);
            return false;
        }
    }
    return true;
}

// As the json format reads it.
void append_json(std::string& out, const value&, bool hex);
// ISO 8601; a time beyond what that can say in the server's words.
std::string time_text(const value&);
// The shortest digits that give the number back.
std::string real_text(const value&);

result<std::unique_ptr<payload_encoder>> make_json_encoder(const encode_request&);
result<std::unique_ptr<payload_encoder>> make_json_schema_encoder(const encode_request&);
result<std::unique_ptr<payload_encoder>> make_copy_encoder(const encode_request&, bool csv);
result<std::unique_ptr<payload_encoder>> make_plain_encoder(const encode_request&, bool raw);
result<std::unique_ptr<payload_encoder>> make_msgpack_encoder(const encode_request&);
result<std::unique_ptr<payload_encoder>> make_cbor_encoder(const encode_request&);
result<std::unique_ptr<payload_encoder>> make_influx_encoder(const encode_request&);
result<std::unique_ptr<payload_encoder>> make_avro_encoder(const encode_request&);
result<std::unique_ptr<payload_encoder>> make_protobuf_encoder(const encode_request&);

} // namespace ke::decode
