// Conditions that users give to functions: one SQL expression, as text.
#pragma once

#include "pg/compat.h"

namespace ke::stream {

// Raises unless the text is one expression and nothing behind or around it, so that it may stand in
// parentheses in a statement of ours.
void check_condition(const char* text);

} // namespace ke::stream
