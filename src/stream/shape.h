// Which column of the topic goes into which attribute of a view's target, where the view's insert is
// nothing but that; so that lanes can make the target's tuples. Server's thread.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "nodes/plannodes.h"
}

#include <optional>
#include <vector>

#include "decode/tuples.h"
#include "topic/topic.h"

namespace ke::stream {

// The target's attributes in order; in `cell` stands the topic's attribute number. Empty: the insert is
// more than that.
using tuple_shape = std::vector<decode::tuple_attribute>;

// The insert of a planned statement where it does no more than put rows into one table; else null.
const ModifyTable* plain_insert(const PlannedStmt*);

// The shape of a plan as plain data in the current memory context; null: none. The target is locked.
// May raise.
struct plain_shape {
    int count;
    decode::tuple_attribute* attributes;
    const List* filters; // nodes of the plan
};
plain_shape* find_shape(const PlannedStmt*, Oid topic_table);

// What lanes have to know, given how they decode. Nothing where there is no shape, or a column always
// takes its type's input function.
std::optional<decode::tuple_layout> make_layout(const tuple_shape&, const topic::decode_columns&);

} // namespace ke::stream
