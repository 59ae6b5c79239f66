// A schema as a registry keeps it, and the names by which it is asked for.
#pragma once

#include <compare>
#include <cstdint>
#include <memory>
#include <string>
#include <vector>

namespace ke::registry {

// Which schema: by number, by GUID, or the newest version of a subject.
struct schema_key {
    enum class kind : std::uint8_t { id, guid, latest } what = kind::id;
    std::int64_t id = 0;
    std::string name; // the GUID as 8-4-4-4-12, or the subject

    static schema_key of_id(std::int64_t n) { return {kind::id, n, {}}; }
    static schema_key of_guid(std::string guid) { return {kind::guid, 0, std::move(guid)}; }
    static schema_key latest_of(std::string subject)
    {
        return {kind::latest, 0, std::move(subject)};
    }

    auto operator<=>(const schema_key&) const = default;
    std::string text() const; // "schema 7", for messages
};

// A schema that another one refers to: by the full name of an Avro type, or as a Protobuf import.
struct dependency {
    std::string name;
    std::string text;
};

enum class schema_type : std::uint8_t { avro, protobuf, json, other };

struct schema {
    std::int64_t id = -1; // -1: the registry did not say
    schema_type type = schema_type::avro;
    std::string text;
    std::vector<dependency> needs; // each behind what it needs itself; no name twice

    std::size_t size() const // bytes of text, what it needs included
    {
        std::size_t n = text.size();
        for (const dependency& d : needs)
            n += d.text.size();
        return n;
    }
};

} // namespace ke::registry
