// Paths into a document: $.a.b[0], $["odd name"].x, $.
#include "decode/decoder.h"

#include <charconv>

#include "base/no_backend.h"

namespace ke::decode {

namespace {

fault bad_path(std::string_view text, std::string detail)
{
    fault f;
    f.kind = fault_kind::refused_option;
    f.message = "invalid path \"" + std::string(text) + "\"";
    f.detail = std::move(detail);
    f.hint = "A path looks like $.a.b[0], $[\"odd name\"].x, or $ for the whole document.";
    return f;
}

// "name" or 'name' from at on, a backslash before a quote or a backslash; at is left behind it.
bool quoted_name(std::string_view text, std::size_t& at, std::string& name)
{
    const char quote = text[at++];
    for (; at < text.size(); at++) {
        if (text[at] == quote) {
            ++at;
            return true;
        }
        if (text[at] == '\\' && at + 1 < text.size())
            ++at;
        name.push_back(text[at]);
    }
    return false;
}

} // namespace

result<path> parse_path(std::string_view text)
{
    for (std::string_view part : {"tag", "field"}) // influx's own words
        if (text.starts_with(part) && text.substr(part.size()).starts_with('.') &&
            text.size() > part.size() + 1)
            return path{path_step{std::string(part)},
                        path_step{std::string(text.substr(part.size() + 1))}};
    if (!text.starts_with('$'))
        return bad_path(text, "A path begins with $.");
    path steps;
    std::size_t at = 1;
    while (at < text.size()) {
        path_step step;
        if (text[at] == '.') {
            ++at;
            if (at < text.size() && (text[at] == '"' || text[at] == '\'')) {
                if (!quoted_name(text, at, step.name))
                    return bad_path(text, "A quoted name is not closed.");
            } else {
                const std::size_t end = std::min(text.find_first_of(".[", at), text.size());
                step.name = text.substr(at, end - at);
                at = end;
                if (step.name.empty())
                    return bad_path(text, "A name is missing after the dot.");
                if (step.name.find_first_of("]\"'") != step.name.npos)
                    return bad_path(text, "A name with brackets or quotes inside must be quoted.");
                if (step.name == "*")
                    return bad_path(text,
                                    "A path leads to one place: wildcards are not supported.");
            }
        } else if (text[at] == '[') {
            ++at;
            if (at < text.size() && (text[at] == '"' || text[at] == '\'')) {
                if (!quoted_name(text, at, step.name))
                    return bad_path(text, "A quoted name is not closed.");
            } else {
                const auto [end, error] =
                    std::from_chars(text.data() + at, text.data() + text.size(), step.index);
                if (error != std::errc{} || step.index < 0)
                    return bad_path(text, "Brackets hold a position, from 0 on, or a quoted name.");
                at = static_cast<std::size_t>(end - text.data());
            }
            if (at >= text.size() || text[at] != ']')
                return bad_path(text, "A bracket is not closed.");
            ++at;
        } else {
            return bad_path(text, "After a step comes a dot, a bracket or the end.");
        }
        steps.push_back(std::move(step));
    }
    return steps;
}

} // namespace ke::decode
