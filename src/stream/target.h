// Tables that continuous views may feed: permanent, local, ordinary or partitioned. An unlogged table
// would be emptied by a crash while the positions stay; a temporary one is seen by one session.
#pragma once

#include "pg/compat.h"

#include <cstdint>

extern "C" {
#include "catalog/pg_attribute.h"
#include "nodes/pg_list.h"
}

namespace ke::stream {

// Raises where the table cannot be fed; its partitions are looked at too. From the catalogs alone,
// without a lock. Asked at CREATE, after ALTER, and by a worker that opens it.
void check_target(Oid target);

// Which attribute of the target each column of a query feeds: matched by name, assignment-coercible.
// names: String nodes; types: OIDs; attributes: of list_length(names). Raises where one does not fit.
void match_columns(Oid target, List* names, List* types, std::int16_t* attributes);

// Whether a column takes what the query gives; raises if not.
void check_column(Oid target, const FormData_pg_attribute*, Oid type);

// Whether the role may insert into these columns, and where asked for update them and delete rows;
// raises if not.
void check_feed_rights(Oid target, const std::int16_t* attributes, int count, Oid role,
                       bool updates, bool deletes);

} // namespace ke::stream
