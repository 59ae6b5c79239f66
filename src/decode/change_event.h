// One change event of Debezium's as JSON, cut into its parts. Views point into the text given.
#pragma once

#include <string_view>

namespace ke::decode {

// Each part is JSON; empty: absent.
struct change_event {
    std::string_view op, before, after, source, ts;
    std::string_view row;      // what the columns come from: after, of a delete before
    std::string_view schema;   // Connect's, of the whole event
    bool flattened = false;    // by the usual transform; or a key
    bool has_metadata = false; // flattened: the transform's own fields say that it is a row
    bool holds_a_row = false;  // by its op: an event without one has lost it
};

// text: well formed, an object. Null, or what is wrong with it.
const char* split_change(std::string_view text, change_event& out);

} // namespace ke::decode
