#include "decode/connect_schema.h"

#include <charconv>

#include "decode/json_text.h"
#include "decode/json_values.h"

#include "base/no_backend.h"

namespace ke::decode {

std::string_view member(std::string_view object, std::string_view name)
{
    std::string_view found;
    if (object.starts_with('{'))
        for (json_members m(object); m.next();)
            if (m.key().size() == name.size() + 2 && m.key().substr(1, name.size()) == name)
                found = m.value();
    return found;
}

std::string text_of(std::string_view value)
{
    std::string buffer;
    if (!value.starts_with('"'))
        return buffer;
    return std::string(unescape_json(value, buffer).text);
}

bool is_null(std::string_view value)
{
    return value.empty() || value == "null";
}

bool is_unavailable(std::string_view value, bool of_bytea)
{
    constexpr std::string_view word = "\"__debezium_unavailable_value\"";
    constexpr std::string_view as_bytes = "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"";
    if (value.starts_with('[') && value.size() > 2)
        return trim_json(value.substr(1, value.size() - 2)) == word;
    return value == word || (of_bytea && value == as_bytes);
}

connect_meanings read_connect_schema(std::string_view schema)
{
    connect_meanings meanings;
    std::string_view fields = member(schema, "fields");
    if (fields.starts_with('['))
        for (json_members m(fields); m.next();)
            if (const std::string field = text_of(member(m.value(), "field"));
                field == "after" && member(m.value(), "fields").starts_with('[')) {
                fields = member(m.value(), "fields");
                break;
            }
    if (!fields.starts_with('['))
        return meanings;
    for (json_members m(fields); m.next();) {
        connect_meaning of;
        of.name = text_of(member(m.value(), "name"));
        const std::string_view parameters = member(m.value(), "parameters");
        auto number = [&](std::string_view name, std::int32_t& n) {
            const std::string text = text_of(member(parameters, name));
            return std::from_chars(text.data(), text.data() + text.size(), n).ec == std::errc{} &&
                   !text.empty();
        };
        of.has_scale = number("scale", of.scale);
        number("length", of.length);
        meanings[text_of(member(m.value(), "field"))] = of;
    }
    return meanings;
}

} // namespace ke::decode
