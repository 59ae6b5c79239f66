// What the parts of a topic table's foreign scan share: what planning leaves in the plan, and the
// state of one scan node while it runs. Server's thread.
//
//   plan.cpp      relation size, paths, plan
//   scan.cpp      the handler; begin, iterate, rescan, end
//   batch_scan    rows of the batch that a worker applies (batch.h)
//   kafka_scan    rows read from Kafka: reader, statement
//   parallel      the same shared by several processes: shared_scan
//   row_maker     from a message of a chunk to a slot
//   explain.cpp, analyze.cpp
#pragma once

#include "pg/compat.h"

extern "C" {
#include "commands/explain.h"
#include "commands/vacuum.h"
#include "foreign/fdwapi.h"
}

#include "pg/datums.h"
#include "topic/batch.h"
#include "topic/pushdown.h"
#include "topic/topic.h"

namespace ke::topic {

// --- in the plan ---

// ForeignScan.fdw_private, all of it nodes that can be copied and cached:
//   0  attributes the scan reads, by pack_attributes()
//   1  the four pushed_columns, as an integer list
//   2  how many of fdw_exprs are pushed conditions
//   3  1 where a LIMIT will stop the scan after few rows, else 0
// ForeignScan.fdw_exprs: pushed conditions (simplify()), then the whole clauses that look at nothing
// but the four columns: a bad record that fails them is nobody's error.
struct planned_scan {
    Bitmapset* attributes; // offset by FirstLowInvalidHeapAttributeNumber
    pushed_columns columns;
    List* pushed;
    List* record_clauses;
    bool few;
};
List* pack(const planned_scan&);
planned_scan unpack(ForeignScan*); // the lists are the plan's

// Which attributes among these (offset as by pull_varattnos) carry what can be pushed.
// Throws pg_error, fault_error.
pushed_columns find_pushed_columns(Oid relid, const Bitmapset* attributes);

// --- row_maker: from a message of a chunk to a slot ---

// Plain data in a memory context. A table that declares _error never raises for a record: where an
// input function refuses a value, all rows of its message give way to one that says so.
struct row_maker {
    pg::datum_map* map;
    const decode::row_plan* plan; // the owner keeps it
    bool errors_are_rows;
    const char* table; // of a SELECT that a refused value ends, for the hint; null: none is given
    const char* topic; // of the message in work, for error contexts; null: none to name
    const decode::message_ref* message;

    // The rows of the message in work where they had to be made at once.
    MemoryContext memory;
    bool made;
    std::uint32_t made_rows;
    Datum* made_values; // [row][column of map]
    bool* made_nulls;
    std::uint64_t refused; // messages that became a row with _error here
};

// attributes: as in planned_scan; others come out NULL. May raise.
row_maker* make_row_maker(TupleDesc tuple, const decode_columns& columns,
                          const Bitmapset* attributes);
// First attribute that is read and has no cell; 0: all there.
AttrNumber missing_attribute(TupleDesc tuple, const decode_columns& columns,
                             const Bitmapset* attributes);

// How many rows message number m of the chunk makes. May raise.
std::uint32_t begin_message(row_maker*, const ingest::chunk&, std::uint32_t m, const char* topic);
// The row-th of them, as a virtual tuple. May raise, with topic, partition and offset as context.
void store_row(row_maker*, const ingest::chunk&, std::uint32_t row, TupleTableSlot* slot);
// Whether one of the message's cells still needs its input function.
bool has_pending(const row_maker*, const ingest::chunk&, const decode::message_ref&);

// --- the scan node's state ---

class kafka_scan;

struct scan_state {
    planned_scan plan;
    condition* pushed;
    MemoryContext values; // of pushed
    ExprState* record_quals;
    TupleTableSlot* record_slot;
    row_maker* maker;
    batch_cursor cursor;
    kafka_scan* kafka; // null: none yet (or a batch)
    bool explain_only;
};

inline scan_state* state_of(ForeignScanState* node)
{
    return static_cast<scan_state*>(node->fdw_state);
}

// batch_scan.cpp
void begin_batch(ForeignScanState*, scan_state*, batch*);
void rewind_batch(scan_state*);
bool next_of_batch(scan_state*, TupleTableSlot*);

// parallel.cpp
bool parallel_safe(Oid relid);
Size estimate_shared(ForeignScanState*);
void begin_shared(ForeignScanState*, ParallelContext*, void* memory);
void begin_shared_again(ForeignScanState*, void* memory);
void join_shared(ForeignScanState*, void* memory);
void leave_shared(ForeignScanState*);

// explain.cpp, analyze.cpp
void explain_scan(ForeignScanState*, ExplainState*);
bool analyze_table(Relation, AcquireSampleRowsFunc*, BlockNumber*);

// plan.cpp
void relation_size(PlannerInfo*, RelOptInfo*, Oid);
void paths(PlannerInfo*, RelOptInfo*, Oid);
ForeignScan* plan(PlannerInfo*, RelOptInfo*, Oid, ForeignPath*, List*, List*, Plan*);

} // namespace ke::topic
