// The foreign-data wrapper's handler and the life of a scan node: begin, iterate, rescan, end. Where
// a worker applies a batch the rows come from there, else from Kafka. The node's state is plain data
// in the executor state's memory context; what owns threads is adopted by that context, so that it
// goes however the statement ends.
#include "topic/kafka_scan.h"

extern "C" {
#include "executor/executor.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

#include "pg/guard.h"

namespace ke::topic {

namespace {

scan_state* state_of(ForeignScanState* node)
{
    return static_cast<scan_state*>(node->fdw_state);
}

// Catalog lookups and the first questions to the broker.
void begin_kafka(ForeignScanState* node, scan_state* scan)
{
    const Oid relid = RelationGetRelid(node->ss.ss_currentRelation);
    EState* estate = node->ss.ps.state;
    evaluate(scan->pushed, stage::starting, node->ss.ps.ps_ExprContext, scan->values);
    auto kafka = std::make_unique<kafka_scan>(
        estate->es_query_cxt, statement::of(estate), load_topic_table(relid, pg::scan_user(node)),
        make_decode_columns(relid, scan->plan.attributes), scan->plan, scan->pushed);
    scan->kafka = pg::adopt(estate->es_query_cxt, std::move(kafka));
}

void begin(ForeignScanState* node, int eflags)
{
    auto* scan = static_cast<scan_state*>(palloc0(sizeof(scan_state)));
    node->fdw_state = scan;
    scan->plan = unpack(castNode(ForeignScan, node->ss.ps.plan));
    scan->pushed = compile(scan->plan.pushed, scan->plan.columns, &node->ss.ps);
    scan->values = AllocSetContextCreate(CurrentMemoryContext, "kafka pushed values",
                                         ALLOCSET_SMALL_SIZES);
    scan->explain_only = eflags & EXEC_FLAG_EXPLAIN_ONLY;
    if (scan->explain_only)
        return;
    if (current_batch) {
        begin_batch(node, scan, current_batch);
        return;
    }
    TupleDesc tuple = RelationGetDescr(node->ss.ss_currentRelation);
    if (scan->plan.record_clauses != NIL) {
        scan->record_quals = ExecInitQual(scan->plan.record_clauses, &node->ss.ps);
        scan->record_slot = ExecInitExtraTupleSlot(node->ss.ps.state, tuple, &TTSOpsVirtual);
    }
    begin_kafka(node, scan);
    scan->maker = make_row_maker(tuple, scan->kafka->columns(), scan->plan.attributes);
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

// Only refuses: with what to say instead of the server's bare "cannot insert".
List* plan_modify(PlannerInfo* root, ModifyTable* plan, Index relation, int)
{
    const char* name = get_rel_name(planner_rt_fetch(relation, root)->relid);
    if (plan->operation == CMD_INSERT)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("cannot insert into topic table \"%s\"", name),
                        errdetail("This version reads topics and does not produce to them.")));
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("cannot update or delete records of topic table \"%s\"", name),
                    errdetail("Kafka keeps records as they were written.")));
    return NIL;
}

int updatable(Relation)
{
    return 0;
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
        return pg::entry([&] { return topic::plan(root, rel, relid, path, tlist, clauses, outer); });
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
    r->AnalyzeForeignTable = [](Relation table, AcquireSampleRowsFunc* sample,
                                BlockNumber* pages) {
        return pg::entry([&] { return topic::analyze_table(table, sample, pages); });
    };
    r->PlanForeignModify = topic::plan_modify;
    r->IsForeignRelUpdatable = topic::updatable;
    PG_RETURN_POINTER(r);
}
