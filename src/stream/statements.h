// The statements that bring a batch into a view's table, made from the hidden query as it is now, with
// the names that columns have now; or a stream's own. Server's thread.
#pragma once

#include <string>
#include <vector>

#include "stream/registry.h"

extern "C" {
#include "nodes/parsenodes.h"
}

namespace ke::stream {

// Run one after the other; at least one. The relations are locked by the caller. Throws pg_error (e.g. a
// column was dropped).
std::vector<std::string> statements_of(const registered_view&);

// Whether two queries of grouped batches give columns that are merged alike.
bool merge_alike(const Query*, const Query*);

} // namespace ke::stream
