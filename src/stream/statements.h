// The statements that bring a batch into a view's table, made from the hidden query as it is now, with
// the names that columns have now. Server's thread.
#pragma once

#include <string>

#include "stream/registry.h"

namespace ke::stream {

struct apply_statements {
    std::string deletes; // run first; "": none
    std::string stores;
};

// The relations are locked by the caller. Throws pg_error (e.g. a column was dropped).
apply_statements statements_of(const registered_view&);

} // namespace ke::stream
