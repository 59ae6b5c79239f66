// How many records a scan will meet, for the planner: from watermarks seen a moment ago, else from
// ANALYZE, else by asking the broker for a fraction of a second, else a guess. A plan never fails and
// hardly waits because a broker is gone. Server's thread.
#pragma once

#include "topic/scan.h"

extern "C" {
#include "nodes/pathnodes.h"
}

#include "topic/statement.h"

namespace ke::topic {

struct estimate {
    double records;        // in the topic
    double fetched;        // left by the pushed conditions
    double left_by_others; // share of these that the other clauses leave
    int partitions;        // with records left, as far as is known
};

// May raise server errors (interrupts among them), no fault of the broker's.
estimate estimate_records(PlannerInfo*, RelOptInfo*, Oid relid, List* pushed,
                          const pushed_columns&);

// What a scan has just seen: kept in this process for the next plans.
void remember(Oid relid, const std::vector<partition_ends>&);

} // namespace ke::topic
