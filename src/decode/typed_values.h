// From values that bring types of their own (msgpack, cbor, avro, protobuf) to cells. What a column
// of another type makes of a value is what it makes of the same value in JSON: an item is written
// as JSON and goes json_values' way wherever there is no direct one.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "decode/cells.h"
#include "decode/json_values.h"
#include "decode/plan.h"

namespace ke::decode {

// One value as its format's reader found it. s points into the payload or into the reader's buffer.
struct item {
    enum class kind : std::uint8_t {
        null,
        boolean,          // i
        integer,          // i
        unsigned_integer, // i, its bits
        real4,            // f
        real8,            // f
        number,           // s: as JSON writes it
        text,             // s, not judged yet
        bytes,            // s
        uuid,             // s: its 16 bytes
        date,             // i: days since 1970
        time,             // i: microseconds since midnight
        timestamp,        // i: microseconds since 1970, of a clock without a zone
        timestamptz,      // i: the same in UTC
        word,             // s: a uuid, an interval, ...: ASCII for the type's input function
        array,            // i: its elements; below 0: up to an end
        map,              // i: its pairs; below 0: up to an end
        end,              // of an array or map without a length
    };
    kind what = kind::null;
    // A number for columns of an integer type, where the format stores a time as one.
    bool has_raw = false;
    std::int64_t i = 0;
    std::int64_t raw = 0;
    double f = 0;
    std::string_view s;
};

// Microseconds of a count of units, cut off towards the past. False: beyond 64 bits.
bool to_microseconds(std::int64_t n, time_unit unit, std::int64_t& us);

// A big-endian number in two's complement, times ten to the minus scale, as JSON writes it. False:
// more digits than a numeric holds.
bool append_decimal(std::string& out, std::string_view big_endian, std::int32_t scale);
// The same of a magnitude and a sign.
bool append_magnitude(std::string& out, std::string_view big_endian, bool negative,
                      std::int64_t scale);

// A bit string: length bits (0: all), the least significant byte first, as text with the most
// significant bit first. False: it has more, and not all of them are 0.
bool append_bits(std::string& out, std::string_view bytes, std::int32_t length);

// Makes cells. Used by one thread; keeps buffers.
class typed_values {
  public:
    typed_values(json_options options, bool utf8_server) : json_(options, utf8_server) {}

    // Of a scalar.
    outcome make(const item& value, const type_desc& type, cell& out);
    // Of an array or object, written as JSON.
    outcome make_json(std::string_view json, const type_desc& type, cell& out)
    {
        return json_.make(json, type, out);
    }
    // A scalar as JSON, bytes in base64 unless they are a uuid. Refused where it is text that is no UTF-8.
    outcome append_json(std::string& out, const item& value);

    conversion& convert() { return json_.convert; }

  private:
    outcome make_integer(const item& value, const type_desc& type, cell& out);
    outcome make_real(const item& value, const type_desc& type, cell& out);
    outcome make_time(const item& value, const type_desc& type, cell& out);
    outcome make_bytes(std::string_view bytes, const type_desc& type, cell& out);
    outcome make_by_json(const item& value, const type_desc& type, cell& out);
    outcome refuse_utf8();
    outcome refuse_bytes();

    json_values json_;
    std::string text_;
};

} // namespace ke::decode
