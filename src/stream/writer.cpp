#include "stream/writer.h"

extern "C" {
#include "access/hio.h"
#include "access/htup_details.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "executor/executor.h"
#include "storage/bufmgr.h"
#include "utils/memutils.h"
#include "utils/rel.h"
}

namespace ke::stream {

namespace {

// One ring of buffers for all batches of the process, of COPY's size: what is loaded does not push
// everything else out of the server's buffers, and is written where the processor's cache still has it.
BufferAccessStrategy ring_of_buffers()
{
    static BufferAccessStrategy ring = nullptr;
    if (!ring) {
        MemoryContext caller = MemoryContextSwitchTo(TopMemoryContext);
        ring = GetAccessStrategy(BAS_BULKWRITE);
        MemoryContextSwitchTo(caller);
    }
    return ring;
}

} // namespace

bool takes_tuples(Relation table)
{
    return table->rd_rel->relkind == RELKIND_RELATION && !table->rd_rel->relispartition &&
           !table->rd_rel->relhasrules && table->trigdesc == nullptr &&
           table->rd_tableam == GetHeapamTableAmRoutine() &&
           !pg::has_generated_columns(RelationGetDescr(table));
}

table_writer* begin_writing(EState* estate, Index target)
{
    MemoryContext caller = MemoryContextSwitchTo(estate->es_query_cxt);
    auto* w = static_cast<table_writer*>(palloc0(sizeof(table_writer)));
    w->estate = estate;
    w->target = makeNode(ResultRelInfo);
    ExecInitResultRelation(estate, w->target, target);
    if (w->target->ri_RelationDesc->rd_rel->relhasindex)
        ExecOpenIndices(w->target, false);
    w->descriptor = CreateTupleDescCopy(RelationGetDescr(w->target->ri_RelationDesc));
    w->bulk = GetBulkInsertState();
    FreeAccessStrategy(w->bulk->strategy);
    w->bulk->strategy = ring_of_buffers();
    w->command = GetCurrentCommandId(true);
    w->memory = AllocSetContextCreate(CurrentMemoryContext, "kafka writer", ALLOCSET_DEFAULT_SIZES);
    if (const TupleConstr* constr = RelationGetDescr(w->target->ri_RelationDesc)->constr) {
        w->checks = constr->num_check > 0;
        w->not_null = constr->has_not_null;
    }
    w->slots = static_cast<TupleTableSlot**>(palloc(sizeof(TupleTableSlot*) * w->most_tuples));
    MemoryContextSwitchTo(caller);
    return w;
}

void write_tuple(table_writer* w, HeapTuple tuple)
{
    if (w->waiting == w->made_slots) {
        MemoryContext caller = MemoryContextSwitchTo(w->estate->es_query_cxt);
        w->slots[w->made_slots++] = MakeSingleTupleTableSlot(w->descriptor, &TTSOpsHeapTuple);
        MemoryContextSwitchTo(caller);
    }
    TupleTableSlot* slot = w->slots[w->waiting];
    ExecStoreHeapTuple(tuple, slot, false);
    if (w->checks || (w->not_null && HeapTupleHasNulls(tuple)))
        ExecConstraints(w->target, slot, w->estate);
    w->bytes += tuple->t_len;
    if (++w->waiting == w->most_tuples || w->bytes >= w->most_bytes)
        flush(w);
}

void write_values(table_writer* w, Datum* values, bool* nulls)
{
    MemoryContext caller = MemoryContextSwitchTo(w->memory);
    HeapTuple tuple = heap_form_tuple(RelationGetDescr(w->target->ri_RelationDesc), values, nulls);
    MemoryContextSwitchTo(caller);
    write_tuple(w, tuple);
}

void flush(table_writer* w)
{
    if (w->waiting == 0)
        return;
    MemoryContext caller = MemoryContextSwitchTo(w->memory);
    // heap_multi_insert has each slot materialize its tuple, which copies what the slot does not own.
    // Ours lie where they are until all is done: for that time the slots claim them.
    for (int i = 0; i < w->waiting; i++)
        w->slots[i]->tts_flags |= TTS_FLAG_SHOULDFREE;
    table_multi_insert(w->target->ri_RelationDesc, w->slots, w->waiting, w->command, 0, w->bulk);
    for (int i = 0; i < w->waiting; i++)
        w->slots[i]->tts_flags &= ~TTS_FLAG_SHOULDFREE;
    MemoryContextSwitchTo(caller);
    if (w->target->ri_NumIndices > 0)
        for (int i = 0; i < w->waiting; i++) {
            pg::insert_index_tuples(w->target, w->slots[i], w->estate);
            ResetPerTupleExprContext(w->estate);
        }
    ResetPerTupleExprContext(w->estate); // what CHECK expressions left
    for (int i = 0; i < w->waiting; i++)
        ExecClearTuple(w->slots[i]);
    w->stored += w->waiting;
    w->waiting = 0;
    w->bytes = 0;
    MemoryContextReset(w->memory);
}

void end_writing(table_writer* w)
{
    flush(w);
    ReleaseBulkInsertStatePin(w->bulk);
    pfree(w->bulk); // without the ring
    table_finish_bulk_insert(w->target->ri_RelationDesc, 0);
}

} // namespace ke::stream
