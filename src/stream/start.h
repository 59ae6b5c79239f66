// Where a view starts to read: the forms of kafka.start and kafka.seek, and what they come to.
#pragma once

#include "pg/compat.h"

#include <cstdint>

namespace ke::stream {

// One partition's first offset. Partitions without one start at their earliest record, which the
// worker finds at its first fetch.
struct start_position {
    const char* topic;
    int partition;
    std::int64_t next_offset;
};

struct start_positions {
    int count = 0;
    start_position* positions = nullptr;
    bool is_map = false;              // partitions that are not there were not named
    const char* cluster_id = nullptr; // where the broker was asked and said
};

// Judges the form, and asks the broker (at most connect_timeout) where the form needs it: latest, a
// time, group. role: whose login. Raises with a hint on a bad form. In the current memory context.
start_positions resolve_start(Oid topic_table, Oid role, const char* start, const char* group);

// Replaces a view's progress by these positions; of a map those that are not named stay as they are.
// The caller holds what it must (registry.h). Counters of partitions that are named again are kept.
void write_positions(Oid view, const start_positions&);

} // namespace ke::stream
