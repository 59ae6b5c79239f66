// The table of formats. A new one: its file, its line here.
#include "decode/format.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

const format_row* const table[] = {
    &avro_format,     &cbor_format, &csv_format,         &debezium_format,
    &influx_format,   &json_format, &json_schema_format, &msgpack_format,
    &protobuf_format, &raw_format,  &text_format,        &tsv_format,
};

} // namespace

std::span<const format_row> formats()
{
    // One array, copied from the files' rows when first asked for (their order of initialisation
    // is open, so not earlier).
    static const std::vector<format_row> rows = [] {
        std::vector<format_row> all;
        for (const format_row* row : table)
            all.push_back(*row);
        return all;
    }();
    return rows;
}

const format_row* find_format(std::string_view name)
{
    for (const format_row* row : table)
        if (row->name == name)
            return row;
    return nullptr;
}

const std::string* given_options::find(std::string_view name) const
{
    const std::string* found = nullptr;
    for (const auto& [key, value] : all) {
        const std::string_view k = key;
        if (of_key && k.starts_with("key_") && k.substr(4) == name)
            return &value;
        if (k == name)
            found = &value;
    }
    return found;
}

std::string_view given_options::get(std::string_view name, std::string_view otherwise) const
{
    const std::string* found = find(name);
    return found ? std::string_view(*found) : otherwise;
}

const format_option* find_format_option(const format_row& format, std::string_view name,
                                        bool of_key)
{
    for (const format_option& o : format.options)
        if (o.name == name || (of_key && name.starts_with("key_") && o.name == name.substr(4)))
            return &o;
    return nullptr;
}

namespace {

// Whether value is among "a, b, c"; an empty list takes any.
bool is_among(std::string_view values, std::string_view value)
{
    if (values.empty())
        return true;
    while (!values.empty()) {
        const std::size_t comma = std::min(values.find(", "), values.size());
        if (values.substr(0, comma) == value)
            return true;
        values.remove_prefix(std::min(comma + 2, values.size()));
    }
    return false;
}

} // namespace

result<done> check_format_options(const format_row& format, const given_options& given)
{
    for (const auto& [name, value] : given.all) {
        const format_option* o = find_format_option(format, name, given.of_key);
        if (o && !is_among(o->values, value))
            return refuse_option("invalid value for option \"" + name + "\": \"" + value + "\"",
                                 "Valid values are: " + std::string(o->values) + ".");
    }
    return format.check ? format.check(given) : result<done>(done{});
}

fault refuse_option(std::string message, std::string hint)
{
    fault f;
    f.kind = fault_kind::refused_option;
    f.message = std::move(message);
    f.hint = std::move(hint);
    return f;
}

fault no_registry(std::string_view format)
{
    fault f;
    f.kind = fault_kind::missing_option;
    f.message = "format \"" + std::string(format) + "\" needs a schema registry";
    f.hint = "Set the option schema_registry_url of the server.";
    return f;
}

fault cannot_fill(std::string_view format, std::string_view takes)
{
    fault f;
    f.kind = fault_kind::refused_option;
    f.message = "format \"" + std::string(format) + "\" cannot fill a column of this type";
    f.hint = "Format \"" + std::string(format) + "\" fills " + std::string(takes) + ".";
    return f;
}

} // namespace ke::decode
