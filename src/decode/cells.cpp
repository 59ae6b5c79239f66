#include "decode/cells.h"

#include <cstring>
#include <initializer_list>

#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

// In the arena: the parts one after the other.
std::string_view join(arena& memory, std::initializer_list<std::string_view> parts)
{
    std::size_t n = 0;
    for (std::string_view p : parts)
        n += p.size();
    char* text = memory.take(n);
    char* at = text;
    for (std::string_view p : parts) {
        std::memcpy(at, p.data(), p.size());
        at += p.size();
    }
    return {text, n};
}

} // namespace

outcome conversion::refuse(const char* sqlstate, std::string_view reason, std::string_view detail)
{
    why = problem{};
    std::memcpy(why.sqlstate, sqlstate, 5);
    why.reason = reason;
    why.detail = detail;
    return outcome::refused;
}

outcome conversion::refuse_syntax(std::string_view type, std::string_view text)
{
    std::string_view shown = excerpt(text);
    return refuse("22P02", join(*memory, {"invalid input syntax for type ", type, ": \"", shown,
                                          shown.size() < text.size() ? "...\"" : "\""}));
}

outcome conversion::refuse_range(std::string_view type, std::string_view text)
{
    std::string_view shown = excerpt(text);
    return refuse("22003",
                  join(*memory, {"value \"", shown, shown.size() < text.size() ? "...\"" : "\"",
                                 " is out of range for type ", type}));
}

outcome make_pending(std::string_view text, conversion& c, cell& out)
{
    if (!text.empty() && std::memchr(text.data(), 0, text.size()))
        return c.refuse("22021", "invalid byte sequence for encoding \"UTF8\": 0x00");
    out = pointer_cell(c.memory->copy(text).data());
    return outcome::pending;
}

outcome make_text(std::string_view text, conversion& c, cell& out)
{
    if (!c.utf8_server)
        return make_pending(text, c, out);
    if (!text.empty() && std::memchr(text.data(), 0, text.size()))
        return c.refuse("22021", "invalid byte sequence for encoding \"UTF8\": 0x00");
    return make_bytea(text, c, out);
}

outcome make_bytea(std::string_view bytes, conversion& c, cell& out)
{
    char* p = make_varlena(*c.memory, bytes.size());
    if (!bytes.empty())
        std::memcpy(p + 4, bytes.data(), bytes.size());
    out = pointer_cell(p);
    return outcome::value;
}

} // namespace ke::decode
