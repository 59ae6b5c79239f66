// What the conversions share: how one came out, and why a value was refused.
#pragma once

#include <cstdint>
#include <string_view>

#include "base/arena.h"
#include "decode/plan.h"
#include "decode/rows.h"

namespace ke::decode {

// How the making of one cell came out: the states of a cell, and refused. The numbers agree, so
// that an outcome can stand in a row's states while the row is in the making (a later duplicate of
// the key may still overwrite it).
enum class outcome : std::uint8_t {
    value = static_cast<std::uint8_t>(cell_state::value),
    null = static_cast<std::uint8_t>(cell_state::null),
    pending = static_cast<std::uint8_t>(cell_state::pending),
    refused, // the problem says why
};

// Why a value or a record is bad. Texts are static or in the arena.
struct problem {
    std::int32_t column = -1; // index into the plan's columns, or -1
    char sqlstate[6] = "";
    std::string_view reason; // primary line, in the server's words where it has some
    std::string_view detail; // sentence, or empty
};

// Where conversions put their results. One per decoder, used again for every record.
struct conversion {
    arena* memory = nullptr;
    bool utf8_server = true; // false: texts travel pending
    problem why;             // of the last refusal

    outcome refuse(const char* sqlstate, std::string_view reason, std::string_view detail = {});
    // 22P02: invalid input syntax for type integer: "x"
    outcome refuse_syntax(std::string_view type, std::string_view text);
    // 22003: value "x" is out of range for type integer
    outcome refuse_range(std::string_view type, std::string_view text);
};

inline cell pointer_cell(const char* p)
{
    return static_cast<cell>(reinterpret_cast<std::uintptr_t>(p));
}
template <class T>
cell number_cell(T n)
{
    return static_cast<cell>(static_cast<std::int64_t>(n)); // sign-extended
}

// Text (UTF-8, checked by the caller) for the type's input function. Refused where it holds a NUL.
outcome make_pending(std::string_view text, conversion& c, cell& out);
// text, and json that is known to be well formed. Refused where it holds a NUL.
outcome make_text(std::string_view text, conversion& c, cell& out);
outcome make_bytea(std::string_view bytes, conversion& c, cell& out);

} // namespace ke::decode
