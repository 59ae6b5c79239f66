// From a fault to what the user sees: SQLSTATE, message, detail, hint.
#pragma once

#include "pg/compat.h"

#include <string_view>

#include "base/result.h"

namespace ke::pg {

// A fault as plain data in the current memory context: may lie on the stack when errors are raised.
struct plain_fault {
    fault_kind kind;
    const char* message;
    const char* detail; // null: none
    const char* hint;   // null: none
};
plain_fault to_plain(const fault&);

// UTF-8 text in the server's encoding, palloced. May raise.
char* to_server(std::string_view);

// The SQLSTATE (encoded as by MAKE_SQLSTATE) of a kind of fault.
int sqlstate_of(fault_kind);

// Whether a fault of this kind passes by itself: the work is tried again, nobody's record is guilty.
bool is_transient(fault_kind);

// hide_statement: the statement may hold secrets and is kept out of the server's log; the context too,
// which tells a statement that a function ran.
[[noreturn]] void raise(const plain_fault&, bool hide_statement = false);

} // namespace ke::pg
