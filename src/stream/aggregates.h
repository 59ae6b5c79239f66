// How an aggregate of a continuous view is kept: which aggregates over one batch stand for it, how
// their values of many batches are merged, and what makes the aggregate's value of them again. Server's
// thread, plain data. "Views that merge" in src/README.md has the whole picture.
#pragma once

#include "pg/compat.h"

#include <cstdint>

extern "C" {
#include "nodes/parsenodes.h"
#include "nodes/primnodes.h"
}

namespace ke::stream {

// What a stored column becomes when a batch brings another value.
enum class merge : std::uint8_t {
    key,    // the group's: never changes
    newest, // depends on the key (a column of a joined table): as the last batch saw it
    add,
    least,
    greatest,
    both,   // AND
    either, // OR
    bits_and,
    bits_or,
    bits_xor,
    intersect,
    any,   // the first one that is not null
    state, // kafka.combine
};

// Aggrefs to compute over a batch in place of this one; raises where it cannot be kept, with what to
// do instead. One that can be stored as it is gives itself.
List* parts_of(const Aggref*);

// The aggregate's value from the columns that hold its parts. A single part of the same aggregate is
// its value.
Expr* value_of(const Aggref*, List* columns);

// How a part is merged, and of which aggregate its state is (InvalidOid unless merge::state).
merge merge_of(const Aggref* part, Oid* aggregate);

// The expression that merges two values of a column of the table aliased t, in SQL.
char* merge_expression(merge, const char* quoted_column, Oid aggregate);

} // namespace ke::stream
