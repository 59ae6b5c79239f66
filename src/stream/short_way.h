// The short way of a batch's rows into a view's table. The kept plan of `INSERT INTO target SELECT ...
// FROM query` says what is to be done; where its upper half, the insert, is no more than putting rows into
// an ordinary table, that half is done here by table_multi_insert, and only the lower half, the query,
// by the executor. Where the query is a list of the topic's columns the lanes have made the tuples
// already (decode/tuples.h), and the executor sees only rows that got none. What the short way cannot
// serve takes run_plan(), as does every careful replay: all give the same rows, constraints, index
// entries and errors.
//
//   served:   plain INSERT of a query without volatile functions into an ordinary heap table, with
//             CHECK, NOT NULL and any indexes
//   not:      ON CONFLICT, WITH CHECK options (row security), triggers and so foreign keys and
//             deferrable constraints, generated columns, partitions, partitioned tables, rules, other
//             table access methods; volatile functions, which might look at rows that only wait to
//             be written
//
// Server's thread, inside a batch's transaction, with topic::current_batch set by us.
#pragma once

#include "pg/compat.h"

#include <cstdint>

#include "stream/share.h"

namespace ke::stream {

// Stores the share's rows, as the view's owner, by the shortest way that serves; how many were stored.
// Throws pg_error.
std::int64_t store_rows(share&);

} // namespace ke::stream
