// A foreign scan's part in a parallel query: what the leader puts into shared memory, what workers find
// there. shared_scan.h says how the work is divided. Server's thread.
#include "topic/kafka_scan.h"

extern "C" {
#include "access/parallel.h"
#include "executor/executor.h"
}

#include "pg/guard.h"
#include "topic/columns.h"

namespace ke::topic {

namespace {

void evaluate_now(ForeignScanState* node, scan_state* scan)
{
    evaluate(scan->pushed, stage::running, node->ss.ps.ps_ExprContext, scan->values);
}

} // namespace

// Values of tables that declare _error are judged in subtransactions, which parallel queries cannot have.
bool parallel_safe(Oid relid)
{
    if (current_batch)
        return false;
    for (const topic_column& c : read_columns(relid).columns)
        if (c.column.metadata == decode::role::error)
            return false;
    return true;
}

Size estimate_shared(ForeignScanState* node)
{
    scan_state* scan = state_of(node);
    evaluate_now(node, scan);
    return scan->kafka->look_around(scan->pushed);
}

void begin_shared(ForeignScanState* node, ParallelContext* of, void* memory)
{
    auto* shared = static_cast<shared_scan*>(memory);
    shared->participants = static_cast<std::uint32_t>(of->nworkers + 1);
    shared->room = node->pscan_len - offsetof(shared_scan, packed);
    pg_atomic_init_u32(&shared->next, 0);
    for (pg_atomic_uint64* n : {&shared->records, &shared->bytes, &shared->rejected})
        pg_atomic_init_u64(n, 0);
    state_of(node)->kafka->lead(shared);
}

void begin_shared_again(ForeignScanState* node, void* memory)
{
    scan_state* scan = state_of(node);
    evaluate_now(node, scan);
    scan->kafka->look_around(scan->pushed);
    scan->kafka->lead(static_cast<shared_scan*>(memory));
}

void join_shared(ForeignScanState* node, void* memory)
{
    state_of(node)->kafka->join(static_cast<shared_scan*>(memory));
}

// The shared memory is about to go.
void leave_shared(ForeignScanState* node)
{
    scan_state* scan = state_of(node);
    if (scan && scan->kafka)
        scan->kafka->leave();
}

} // namespace ke::topic
