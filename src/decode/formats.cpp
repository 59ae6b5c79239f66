// The table of formats. A new one: its file, its line here.
#include "decode/format.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

const format_row* const table[] = {
    &json_format,
    &raw_format,
    &text_format,
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

std::string_view option_of(const row_plan& plan, std::string_view name, std::string_view otherwise)
{
    for (const auto& [key, value] : plan.options)
        if (key == name)
            return value;
    return otherwise;
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
