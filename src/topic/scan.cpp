// The foreign-data wrapper's handler and the life of a scan node: begin, iterate, rescan, end. Where
// a worker applies a batch the rows come from there, else from Kafka. The node's state is plain data
// in the executor state's memory context; what owns threads is adopted by that context, so that it
// goes however the statement ends.
#include "topic/kafka_scan.h"

extern "C" {
#include "access/parallel.h"
#include "executor/executor.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

#include "pg/guard.h"

namespace ke::topic {

namespace {

// Catalog lookups and the first questions to the broker.
void begin_kafka(ForeignScanState* node, scan_state* scan)
{
    const Oid relid = RelationGetRelid(node->ss.ss_currentRelation);
    EState* estate = node->ss.ps.state;
    evaluate(scan->pushed, stage::starting, node->ss.ps.ps_ExprContext, scan->values);
    auto kafka = std::make_unique<kafka_scan>(
        estate->es_query_cxt, statement::of(estate), load_topic_table(relid, pg::scan_user(node)),
        make_decode_columns(relid, pg::scan_user(node), scan->plan.attributes), scan->plan);
    if (!(node->ss.ps.plan->parallel_aware && IsParallelWorker()))
        kafka->ask_ends(scan->pushed); // else the leader has
    scan->kafka = pg::adopt(estate->es_query_cxt, std::move(kafka));
}

// All nodes of the statement run in this process alone. Values of tables that declare _error are judged
// in subtransactions, of which the server takes none while nodes run in parallel; and a batch is this
// process's, also for a plan that was made when there was none (of a function's statement).
void run_alone(ForeignScanState* node)
{
    node->ss.ps.state->es_plannedstmt->parallelModeNeeded = false;
}

void begin(ForeignScanState* node, int eflags)
{
    auto* scan = static_cast<scan_state*>(palloc0(sizeof(scan_state)));
    node->fdw_state = scan;
    scan->plan = unpack(castNode(ForeignScan, node->ss.ps.plan));
    scan->pushed = compile(scan->plan.pushed, scan->plan.columns, &node->ss.ps);
    scan->values =
        AllocSetContextCreate(CurrentMemoryContext, "kafka pushed values", ALLOCSET_SMALL_SIZES);
    scan->explain_only = eflags & EXEC_FLAG_EXPLAIN_ONLY;
    if (scan->explain_only)
        return;
    if (current_batch) {
        begin_batch(node, scan, current_batch);
        run_alone(node);
        return;
    }
    TupleDesc tuple = RelationGetDescr(node->ss.ss_currentRelation);
    if (scan->plan.record_clauses != NIL) {
        scan->record_quals = ExecInitQual(scan->plan.record_clauses, &node->ss.ps);
        scan->record_slot = ExecInitExtraTupleSlot(node->ss.ps.state, tuple, &TTSOpsVirtual);
    }
    begin_kafka(node, scan);
    scan->maker = make_row_maker(tuple, scan->kafka->columns(), scan->plan.attributes);
    if (!scan->maker->errors_are_rows)
        scan->maker->table = RelationGetRelationName(node->ss.ss_currentRelation);
    if (scan->maker->errors_are_rows)
        run_alone(node);
}

TupleTableSlot* iterate(ForeignScanState* node)
{
    scan_state* scan = state_of(node);
    TupleTableSlot* slot = node->ss.ss_ScanTupleSlot;
    if (scan->cursor.source)
        return next_of_batch(scan, slot) ? slot : ExecClearTuple(slot);
    if (!scan->kafka->is_open()) {
        evaluate(scan->pushed, stage::running, node->ss.ps.ps_ExprContext, scan->values);
        scan->kafka->open(scan->pushed);
    }
    return next_of_kafka(node, scan, slot) ? slot : ExecClearTuple(slot);
}

void rescan(ForeignScanState* node)
{
    scan_state* scan = state_of(node);
    if (scan->cursor.source)
        rewind_batch(scan);
    else if (scan->kafka)
        scan->kafka->close(); // parameters are looked at again by the next iterate()
}

void end(ForeignScanState* node)
{
    scan_state* scan = state_of(node);
    if (scan && scan->kafka)
        scan->kafka->close();
}

// Writing only refuses: with what to do instead of the server's bare "cannot insert".
[[noreturn]] void refuse_writing(const char* act, const char* name, const char* detail,
                                 const char* hint)
{
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("cannot %s topic table \"%s\"", act, name), errdetail("%s", detail),
                    errhint("%s", hint)));
    pg_unreachable();
}

[[noreturn]] void refuse_insert(const char* name)
{
    refuse_writing("insert into", name, "This version reads topics and does not produce to them.",
                   "Write records with a Kafka producer, or put the rows into an ordinary table.");
}

List* plan_modify(PlannerInfo* root, ModifyTable* plan, Index relation, int)
{
    const char* name = get_rel_name(planner_rt_fetch(relation, root)->relid);
    if (plan->operation == CMD_INSERT)
        refuse_insert(name);
    refuse_writing(
        "update or delete records of", name, "Kafka keeps records as they were written.",
        "Write a newer record with the same key, or a tombstone, with a Kafka producer.");
}

// COPY FROM, and rows routed here from a partitioned table.
void begin_insert(ModifyTableState*, ResultRelInfo* table)
{
    refuse_insert(RelationGetRelationName(table->ri_RelationDesc));
}

// Never reached behind begin_insert and plan_modify; that it is there lets COPY come so far.
TupleTableSlot* insert_row(EState*, ResultRelInfo* table, TupleTableSlot*, TupleTableSlot*)
{
    refuse_insert(RelationGetRelationName(table->ri_RelationDesc));
}

void truncate(List* tables, DropBehavior, bool)
{
    refuse_writing("truncate", RelationGetRelationName(static_cast<Relation>(linitial(tables))),
                   "Records leave a topic by its retention.",
                   "Delete records with Kafka's own tools (kafka-delete-records).");
}

} // namespace

} // namespace ke::topic

// Each callback behind entry(), so that nothing of C++ leaves it but a server error.
KE_FUNCTION(kafka_engine_fdw_handler)
{
    using namespace ke;
    FdwRoutine* r = makeNode(FdwRoutine);
    r->GetForeignRelSize = [](PlannerInfo* root, RelOptInfo* rel, Oid relid) {
        pg::entry([&] { topic::relation_size(root, rel, relid); });
    };
    r->GetForeignPaths = [](PlannerInfo* root, RelOptInfo* rel, Oid relid) {
        pg::entry([&] { topic::paths(root, rel, relid); });
    };
    r->GetForeignPlan = [](PlannerInfo* root, RelOptInfo* rel, Oid relid, ForeignPath* path,
                           List* tlist, List* clauses, Plan* outer) {
        return pg::entry(
            [&] { return topic::plan(root, rel, relid, path, tlist, clauses, outer); });
    };
    r->BeginForeignScan = [](ForeignScanState* node, int eflags) {
        pg::entry([&] { topic::begin(node, eflags); });
    };
    r->IterateForeignScan = [](ForeignScanState* node) {
        return pg::entry([&] { return topic::iterate(node); });
    };
    r->ReScanForeignScan = [](ForeignScanState* node) { pg::entry([&] { topic::rescan(node); }); };
    r->EndForeignScan = [](ForeignScanState* node) { pg::entry([&] { topic::end(node); }); };
    r->ExplainForeignScan = [](ForeignScanState* node, ExplainState* es) {
        pg::entry([&] { topic::explain_scan(node, es); });
    };
    r->AnalyzeForeignTable = [](Relation table, AcquireSampleRowsFunc* sample, BlockNumber* pages) {
        return pg::entry([&] { return topic::analyze_table(table, sample, pages); });
    };
    r->IsForeignScanParallelSafe = [](PlannerInfo*, RelOptInfo*, RangeTblEntry* entry) {
        return pg::entry([&] { return topic::parallel_safe(entry->relid); });
    };
    r->EstimateDSMForeignScan = [](ForeignScanState* node, ParallelContext*) {
        return pg::entry([&] { return topic::estimate_shared(node); });
    };
    r->InitializeDSMForeignScan = [](ForeignScanState* node, ParallelContext* of, void* memory) {
        pg::entry([&] { topic::begin_shared(node, of, memory); });
    };
    r->ReInitializeDSMForeignScan = [](ForeignScanState* node, ParallelContext*, void* memory) {
        pg::entry([&] { topic::begin_shared_again(node, memory); });
    };
    r->InitializeWorkerForeignScan = [](ForeignScanState* node, shm_toc*, void* memory) {
        pg::entry([&] { topic::join_shared(node, memory); });
    };
    r->ShutdownForeignScan = [](ForeignScanState* node) {
        pg::entry([&] { topic::leave_shared(node); });
    };
    r->PlanForeignModify = topic::plan_modify;
    r->BeginForeignInsert = topic::begin_insert;
    r->ExecForeignInsert = topic::insert_row;
    r->ExecForeignTruncate = topic::truncate;
    PG_RETURN_POINTER(r);
}
