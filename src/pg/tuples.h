// How a table's rows lie in its pages, for tuples made off the server's thread (decode/tuples.h).
#pragma once

#include "pg/compat.h"

extern "C" {
#include "access/htup.h"
#include "catalog/pg_attribute.h"
}

#include "decode/tuples.h"

namespace ke::pg {

// Rows up to this size are stored as they are.
std::uint32_t most_size_of_tuples();

// How a value of an attribute lies in a tuple, given that a cell of the attribute's own type has it.
// False where tuples of such an attribute cannot be made from cells.
bool kind_in_tuple(const FormData_pg_attribute*, decode::tuple_kind*);

inline HeapTuple tuple_of(decode::tuple_head* made)
{
    return reinterpret_cast<HeapTuple>(made);
}

} // namespace ke::pg
