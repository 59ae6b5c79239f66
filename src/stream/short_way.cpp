#include "stream/short_way.h"

extern "C" {
#include "executor/executor.h"
#include "executor/execdesc.h"
#include "nodes/plannodes.h"
#include "optimizer/optimizer.h"
#include "parser/parsetree.h"
#include "tcop/dest.h"
#include "utils/plancache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

#include <algorithm>

#include "pg/tuples.h"
#include "stream/writer.h"

namespace ke::stream {

namespace {

// A function that looks into the target would see rows of this batch or not as they wait or are
// written; so COPY decides too.
bool is_volatile(SPIPlanPtr plan)
{
    ListCell* source;
    foreach (source, SPI_plan_get_plan_sources(plan)) {
        ListCell* query;
        foreach (query, static_cast<CachedPlanSource*>(lfirst(source))->query_list)
            if (contain_volatile_functions_not_nextval(static_cast<Node*>(lfirst(query))))
                return true;
    }
    return false;
}

bool table_serves(const PlannedStmt* statement, const ModifyTable* top)
{
    RangeTblEntry* entry = rt_fetch(linitial_int(top->resultRelations), statement->rtable);
    Relation table = RelationIdGetRelation(entry->relid);
    if (!RelationIsValid(table))
        return false;
    bool serves = takes_tuples(table) &&
                  RelationGetNumberOfAttributes(table) == list_length(outerPlan(top)->targetlist);
    RelationClose(table);
    return serves;
}

// The executor's rows of the query, from where it stands to its end, to the writer.
void run_query(QueryDesc* query, table_writer* writer)
{
    for (;;) {
        ResetPerTupleExprContext(query->estate);
        TupleTableSlot* slot = ExecProcNode(query->planstate);
        if (TupIsNull(slot))
            break;
        slot_getallattrs(slot);
        write_values(writer, slot->tts_values, slot->tts_isnull);
    }
}

// Messages [first, last) once more, by the executor.
void run_part(QueryDesc* query, table_writer* writer, topic::batch* rows, std::uint32_t first,
              std::uint32_t last)
{
    const std::uint32_t kept_first = rows->first_message, kept_last = rows->last_message;
    rows->first_message = first;
    rows->last_message = last;
    ExecReScan(query->planstate);
    run_query(query, writer);
    rows->first_message = kept_first;
    rows->last_message = kept_last;
}

// The lanes' tuples of one message; null where one of its rows has none, or may not pass the filter.
decode::tuple_head* const* tuples_of(const topic::batch_cursor& at, std::size_t layout)
{
    const decode::message_ref& m = at.at();
    const auto& of_chunk = at.chunk_rows().tuples;
    if (!at.passes() || of_chunk.size() <= layout ||
        of_chunk[layout].size() < m.first_row + m.row_count)
        return nullptr;
    decode::tuple_head* const* made = of_chunk[layout].data() + m.first_row;
    return std::find(made, made + m.row_count, nullptr) == made + m.row_count ? made : nullptr;
}

// Tuples where there are some, the executor for the messages between.
void run_tuples(QueryDesc* query, table_writer* writer, topic::batch* rows, std::size_t layout)
{
    topic::batch_cursor at = {};
    at.source = rows;
    at.by_choice = rows->wanted != nullptr;
    std::uint32_t begun = 0, end = 0; // of those; empty: none
    for (; topic::find_message(at); ++at.message) {
        decode::tuple_head* const* made = tuples_of(at, layout);
        if (!made) {
            begun = begun < end ? begun : at.number();
            end = at.number() + 1;
            continue;
        }
        if (begun < end)
            run_part(query, writer, rows, begun, end);
        begun = end = 0;
        for (std::uint32_t i = 0; i < at.at().row_count; i++)
            write_tuple(writer, pg::tuple_of(made[i]));
    }
    if (begun < end)
        run_part(query, writer, rows, begun, end);
}

// What is stored, and from what.
struct task {
    const registered_view* view;
    SPIPlanPtr plan;
    topic::batch* rows;
    int layout; // of the lanes' tuples; -1: there are none
};

// Modules that watch the executor cut the statement out of it.
const char* text_of(SPIPlanPtr plan)
{
    return static_cast<CachedPlanSource*>(linitial(SPI_plan_get_plan_sources(plan)))->query_string;
}

std::int64_t run_halves(const task& t, const PlannedStmt* whole, const ModifyTable* top)
{
    PlannedStmt lower = *whole;
    lower.commandType = CMD_SELECT;
    lower.planTree = outerPlan(top);
    lower.resultRelations = NIL;
    QueryDesc* query = CreateQueryDesc(&lower, text_of(t.plan), GetActiveSnapshot(),
                                       InvalidSnapshot, None_Receiver, nullptr, nullptr, 0);
    ExecutorStart(query, t.layout < 0 ? 0 : EXEC_FLAG_REWIND); // the rights on the target too
    MemoryContext caller = MemoryContextSwitchTo(query->estate->es_query_cxt);
    table_writer* writer = begin_writing(query->estate, linitial_int(top->resultRelations));
    if (t.layout < 0)
        run_query(query, writer);
    else
        run_tuples(query, writer, t.rows, static_cast<std::size_t>(t.layout));
    end_writing(writer);
    const std::int64_t stored = writer->stored;
    MemoryContextSwitchTo(caller);
    ExecutorFinish(query);
    ExecutorEnd(query);
    FreeQueryDesc(query);
    return stored;
}

// -1: the plan or the table wants the ordinary way.
std::int64_t try_short(const task& t)
{
    owner_scope before = become_owner(*t.view);
    SPI_connect();
    PushActiveSnapshot(GetTransactionSnapshot());
    std::int64_t stored = -1;
    CachedPlan* cached = SPI_plan_get_cached_plan(t.plan);
    if (cached && list_length(cached->stmt_list) == 1) {
        auto* statement = linitial_node(PlannedStmt, cached->stmt_list);
        const ModifyTable* top = plain_insert(statement);
        if (top && table_serves(statement, top) && !is_volatile(t.plan))
            stored = run_halves(t, statement, top);
    }
    if (cached)
        ReleaseCachedPlan(cached, CurrentResourceOwner);
    PopActiveSnapshot();
    CommandCounterIncrement();
    SPI_finish();
    become_self(before);
    return stored;
}

int find_layout(const share& s)
{
    if (s.view->plan.filtered && !s.rows.wanted)
        return -1;
    auto wanted = make_layout(s.view->plan.shape, s.feed->columns);
    const auto& made = s.feed->layouts;
    auto at = wanted ? std::find(made.begin(), made.end(), *wanted) : made.end();
    return at == made.end() ? -1 : static_cast<int>(at - made.begin());
}

} // namespace

std::int64_t store_rows(share& s)
{
    s.rows.at_message = UINT32_MAX;
    {
        topic::batch_in_force scope(&s.rows);
        const task t{&s.view->is, s.view->plan.plan, &s.rows, find_layout(s)};
        const std::int64_t stored = pg::call([&] { return try_short(t); });
        if (stored >= 0)
            return stored;
    }
    return run_plan(*s.view, s.rows);
}

} // namespace ke::stream
