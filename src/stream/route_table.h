// Which of several views want a value: the constants of their filters in a hash table, or the bounds of
// their ranges in order, with the views of each stretch between two bounds and of each bound itself.
//
// Server's thread; made in the current memory context, for one batch. May raise.
#pragma once

#include "stream/routes.h"

namespace ke::stream {

struct route_table;

// Routes by the same value and way of comparing (is_same), one a view.
route_table* make_route_table(const route* const*, int views);

struct views_found {
    const int* views; // numbers; one may come twice. The table's, until the next question.
    int count;
};

// value: not null.
views_found find_views(route_table*, Datum value);

} // namespace ke::stream
