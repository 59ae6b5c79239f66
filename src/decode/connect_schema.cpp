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

namespace {

constexpr std::string_view placeholder = "\"__debezium_unavailable_value\"";

bool is_placeholder_array(std::string_view array)
{
    constexpr std::string_view uuid =
        "\"b68a35a7-17ad-35b3-af2a-ae46edb4545a\""; // made of the word
    std::string_view inside = trim_json(array.substr(1, array.size() - 2));
    if (inside == placeholder || inside == uuid)
        return true;
    std::size_t at = 1;
    if (!inside.starts_with("95,") && !inside.starts_with("95 ")) // '_'
        return false;
    for (json_members m(array); m.next(); at++)
        if (at + 1 >= placeholder.size() ||
            m.value() != std::to_string(static_cast<int>(placeholder[at])))
            return false;
    return at + 1 == placeholder.size();
}

} // namespace

bool is_unavailable(std::string_view value, bool of_bytes)
{
    constexpr std::string_view base64 = "\"X19kZWJleml1bV91bmF2YWlsYWJsZV92YWx1ZQ==\"",
                               hex = "\"5f5f646562657a69756d5f756e617661696c61626c655f76616c7565\"";
    switch (value.size() > 2 ? value.front() : ' ') {
    case '"':
        return value == placeholder || (of_bytes && (value == base64 || value == hex));
    case '[':
        return is_placeholder_array(value);
    case '{':
        return member(value, placeholder.substr(1, placeholder.size() - 2)) == placeholder;
    default:
        return false;
    }
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
