// What a decoder needs to know of Protobuf's message types, taken from the library's descriptors once
// for each schema; immutable from then on. The library is not asked again, so that decoding makes none
// of its objects. Made only where the library was there at build time.
#pragma once

#include <cstdint>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <vector>

#include "base/result.h"
#include "registry/schema.h"

namespace ke::decode {

enum class proto_kind : std::uint8_t {
    real8,
    real4,
    int64, // also int32, sign-extended
    uint64,
    uint32,
    int32,
    fixed64,
    fixed32,
    sfixed64,
    sfixed32,
    sint64,
    sint32,
    boolean,
    enumeration,
    text,
    bytes,
    message,
    group,
};

// Types of google.protobuf whose values mean more than their fields.
enum class proto_meaning : std::uint8_t {
    plain,
    timestamp,
    duration,
    wrapper, // Int32Value and the like
    struct_,
    value,
    list,
    any,
};

struct proto_message;

struct proto_enum {
    std::unordered_map<std::int32_t, std::string> names;
    bool closed = false; // proto2: a number without a name counts as absent
};

struct proto_field {
    std::string name, json_name;
    std::int32_t number = 0;
    proto_kind kind = proto_kind::int64;
    bool repeated = false; // a map is repeated too
    bool map = false;
    bool has_presence = false; // absent is null, where there is no default
    bool has_default = false;  // declared
    int oneof = -1;            // which of its message's; -1: none
    std::uint64_t default_bits = 0;
    std::string default_text;
    const proto_message* message = nullptr;
    const proto_enum* enumeration = nullptr;
};

struct proto_message {
    std::string name; // full
    proto_meaning meaning = proto_meaning::plain;
    std::vector<proto_field> fields; // as declared
    std::vector<const proto_message*> nested;

    const proto_field* find(std::int32_t number) const
    {
        const auto at = by_number.find(number);
        return at == by_number.end() ? nullptr : &fields[at->second];
    }
    std::unordered_map<std::int32_t, std::size_t> by_number;
};

class proto_schema {
  public:
    // Of a .proto file's text, with those that it imports. Fails with bad_record.
    static result<std::unique_ptr<proto_schema>> parse(std::string_view text,
                                                       std::span<const registry::dependency> needs);
    // Of a serialized FileDescriptorSet.
    static result<std::unique_ptr<proto_schema>> read_set(std::string_view descriptor_set);
    static bool is_built_in(); // whether the library was there

    // By full name; null: none.
    const proto_message* find(std::string_view name) const
    {
        const auto at = by_name_.find(std::string(name));
        return at == by_name_.end() ? nullptr : at->second;
    }
    // By the places of nested declarations, from the top of the text's own file; null: none.
    const proto_message* at(std::span<const std::int64_t> indexes) const;

  private:
    friend class proto_compiler;
    std::vector<std::unique_ptr<proto_message>> messages_;
    std::vector<std::unique_ptr<proto_enum>> enums_;
    std::unordered_map<std::string, const proto_message*> by_name_;
    std::vector<const proto_message*> top_; // of the text's own file
};

} // namespace ke::decode
