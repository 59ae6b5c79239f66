// An Avro schema, read from its JSON into nodes that a decoder follows. Immutable once parsed;
// recursive types point back to themselves.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "base/result.h"
#include "registry/schema.h"

namespace ke::decode {

enum class avro_kind : std::uint8_t {
    null,
    boolean,
    int_,
    long_,
    float_,
    double_,
    bytes,
    string,
    record,
    enumeration,
    array,
    map,
    union_,
    fixed,
};

// What the value of a plain type means.
enum class avro_meaning : std::uint8_t {
    plain,
    decimal,
    date,
    time_ms,
    time_us,
    time_ns,
    timestamp_ms, // an instant
    timestamp_us,
    timestamp_ns,
    local_ms, // a clock's reading
    local_us,
    local_ns,
    duration_us, // an interval
    duration_ns,
    uuid,
    bits,     // of a length; the least significant byte first
    duration, // fixed(12): months, days, milliseconds
};

struct avro_type;

struct avro_field {
    std::string name;
    std::vector<std::string> aliases;
    const avro_type* type = nullptr;
    std::string default_json;  // empty: none
    bool has_default = false;  // one that fits the type
    std::string default_value; // in the binary encoding
};

struct avro_type {
    avro_kind kind = avro_kind::null;
    avro_meaning meaning = avro_meaning::plain;
    std::int32_t scale = 0;                 // decimal; of bits: how many
    std::int32_t precision = 0;             // decimal; 0: not said
    std::uint64_t size = 0;                 // fixed
    std::string name;                       // record, enumeration, fixed: with its namespace
    std::vector<avro_field> fields;         // record
    std::vector<std::string> symbols;       // enumeration
    std::string default_symbol;             // enumeration, a reader's: for those it does not know
    const avro_type* element = nullptr;     // array, map
    std::vector<const avro_type*> branches; // union
};

class avro_schema {
  public:
    // Fails with bad_record: the message says what is wrong.
    // before: schemas whose types this one refers to, each behind what it refers to itself.
    static result<std::shared_ptr<const avro_schema>>
    parse(std::string_view json, std::span<const std::string_view> before = {});

    const avro_type& root() const { return *root_; }

  private:
    friend class avro_schema_parser;
    void encode_defaults();

    std::vector<std::unique_ptr<avro_type>> types_;
    const avro_type* root_ = nullptr;
};

using shared_avro_schema = std::shared_ptr<const avro_schema>;

// What a registry holds, as formats keep it. Fails with bad_record, also where it is of another kind.
result<std::unique_ptr<shared_avro_schema>> parse_registered_avro(const registry::schema&);

} // namespace ke::decode
