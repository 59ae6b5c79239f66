#include "stream/routes.h"

extern "C" {
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

#include <algorithm>

#include "stream/share.h"
#include "topic/scan.h"

namespace ke::stream {

namespace {

// ---- which filters

// Whether the expression holds anything but columns of the scan and what is computed of them.
struct columns_of {
    int scan;
    bool some;
};

bool is_foreign(Node* node, void* context)
{
    if (!node)
        return false;
    if (IsA(node, Param) || IsA(node, SubPlan) || IsA(node, AlternativeSubPlan) || IsA(node, SubLink))
        return true;
    if (!IsA(node, Var))
        return pg::walk_expression(node, is_foreign, context);
    auto* of = static_cast<columns_of*>(context);
    const Var* v = castNode(Var, node);
    of->some = true;
    return v->varno != of->scan || v->varattno <= 0 || v->varlevelsup != 0;
}

bool is_of_record(Expr* e, Index scan)
{
    columns_of of = {static_cast<int>(scan), false};
    return !is_foreign(reinterpret_cast<Node*>(e), &of) && of.some;
}

// The parts of a comparison by a hashable operator; false: it is none.
bool take_apart(Expr* filter, route* r)
{
    List* sides = NIL;
    if (IsA(filter, OpExpr)) {
        auto* e = castNode(OpExpr, filter);
        r->equal = e->opno;
        r->collation = e->inputcollid;
        sides = e->args;
    } else if (IsA(filter, ScalarArrayOpExpr) && castNode(ScalarArrayOpExpr, filter)->useOr) {
        auto* e = castNode(ScalarArrayOpExpr, filter);
        r->equal = e->opno;
        r->collation = e->inputcollid;
        r->any = true;
        sides = e->args;
    }
    if (list_length(sides) != 2 || !IsA(lsecond(sides), Const))
        return false;
    r->value = static_cast<Expr*>(linitial(sides));
    r->constants = lsecond_node(Const, sides);
    Oid of_value, of_constant;
    return op_hashjoinable(r->equal, exprType(reinterpret_cast<Node*>(r->value))) &&
           get_op_hash_functions(r->equal, &of_value, &of_constant);
}

bool is_same(const route& a, const route& b)
{
    return a.equal == b.equal && a.collation == b.collation && equal(a.value, b.value);
}

// ---- one expression for all records of a batch

// Those who want a constant: number among the group's views.
struct wanted_constant {
    Datum value;
    std::uint32_t hash;
    int view;
    int next; // of the same place in the table; -1: none
};

struct constants {
    FmgrInfo hash_value, hash_constant, equal;
    Oid collation;
    wanted_constant* all;
    int count;
    int* heads;
    std::uint32_t mask;
};

struct hit {
    static constexpr int everybody = -1; // perhaps
    int view;
    topic::batch::choice what;
};

struct hits {
    hit* all;
    std::size_t count, room;
};

void add(hits* h, hit one)
{
    if (h->count == h->room) {
        h->room *= 2;
        h->all = static_cast<hit*>(repalloc_huge(h->all, h->room * sizeof(hit)));
    }
    h->all[h->count++] = one;
}

void add_constant(constants* c, Datum value, int view)
{
    const auto hash = DatumGetUInt32(FunctionCall1Coll(&c->hash_constant, c->collation, value));
    int* head = &c->heads[hash & c->mask];
    c->all[c->count] = {value, hash, view, *head};
    *head = c->count++;
}

// Values of one route's constants; nulls are equal to nothing.
void values_of(const route* r, Datum** values, bool** nulls, int* count)
{
    if (!r->any) {
        *values = &r->constants->constvalue;
        *nulls = &r->constants->constisnull;
        *count = 1;
        return;
    }
    *count = 0;
    if (r->constants->constisnull)
        return;
    ArrayType* array = DatumGetArrayTypeP(r->constants->constvalue);
    std::int16_t length;
    bool by_value;
    char align;
    get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
    deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, values, nulls, count);
}

constants* gather(const route* const* routes, int views)
{
    auto* c = static_cast<constants*>(palloc0(sizeof(constants)));
    Oid of_value, of_constant;
    get_op_hash_functions(routes[0]->equal, &of_value, &of_constant);
    fmgr_info(of_value, &c->hash_value);
    fmgr_info(of_constant, &c->hash_constant);
    fmgr_info(get_opcode(routes[0]->equal), &c->equal);
    c->collation = routes[0]->collation;
    std::uint32_t total = 0;
    Datum* values;
    bool* nulls;
    int count;
    for (int v = 0; v < views; v++) {
        values_of(routes[v], &values, &nulls, &count);
        total += static_cast<std::uint32_t>(count);
    }
    c->all = static_cast<wanted_constant*>(palloc(sizeof(wanted_constant) * (total + 1)));
    for (c->mask = 15; c->mask < total * 2; c->mask = c->mask * 2 + 1)
        ;
    c->heads = static_cast<int*>(palloc(sizeof(int) * (c->mask + 1)));
    std::fill_n(c->heads, c->mask + 1, -1);
    for (int v = 0; v < views; v++) {
        values_of(routes[v], &values, &nulls, &count);
        for (int i = 0; i < count; i++)
            if (!nulls[i])
                add_constant(c, values[i], v);
    }
    return c;
}

void find_views(constants* c, Datum value, topic::batch::choice what, hits* found)
{
    const auto hash = DatumGetUInt32(FunctionCall1Coll(&c->hash_value, c->collation, value));
    for (int i = c->heads[hash & c->mask]; i >= 0; i = c->all[i].next)
        if (c->all[i].hash == hash &&
            DatumGetBool(FunctionCall2Coll(&c->equal, c->collation, value, c->all[i].value)))
            add(found, {c->all[i].view, what});
}

// What is the same for all views of a group. Plain data.
struct group_work {
    const registered_view* owner; // one of them
    const topic::batch* batch;
    const route* const* routes;
    int views;
};

// One row at a time through the expression.
struct evaluation {
    EState* estate;
    ExprState* value;
    TupleTableSlot* slot;
    topic::row_maker* maker;
};

void look_at_chunk(const evaluation& e, constants* c, const ingest::chunk& chunk, std::uint32_t first,
                   hits* found)
{
    CHECK_FOR_INTERRUPTS();
    ExprContext* context = GetPerTupleExprContext(e.estate);
    for (std::uint32_t m = 0; m < chunk.rows.messages.size(); m++) {
        const decode::message_ref& message = chunk.rows.messages[m];
        if (message.row_count == 0)
            continue;
        if (topic::has_pending(e.maker, chunk, message)) { // each view's own scan will judge it
            add(found, {hit::everybody, {first + m, false}});
            continue;
        }
        topic::begin_message(e.maker, chunk, m, nullptr);
        for (std::uint32_t row = 0; row < message.row_count; row++) {
            ResetExprContext(context);
            topic::store_row(e.maker, chunk, row, e.slot);
            context->ecxt_scantuple = e.slot;
            bool null;
            MemoryContext caller = MemoryContextSwitchTo(context->ecxt_per_tuple_memory);
            const Datum value = ExecEvalExpr(e.value, context, &null);
            MemoryContextSwitchTo(caller);
            if (!null)
                find_views(c, value, {first + m, message.row_count == 1}, found);
        }
    }
}

// All hits of a group, in the order of messages, in the current memory context.
hits* look_at_all(const group_work& work)
{
    auto* found = static_cast<hits*>(palloc(sizeof(hits)));
    *found = {static_cast<hit*>(palloc(sizeof(hit) * 1024)), 0, 1024};
    owner_scope before = become_owner(*work.owner);
    EState* estate = CreateExecutorState();
    MemoryContext caller = MemoryContextSwitchTo(estate->es_query_cxt);
    Relation table = RelationIdGetRelation(work.batch->topic_table);
    if (!RelationIsValid(table))
        elog(ERROR, "topic table %u is gone", work.batch->topic_table);
    Bitmapset* attributes = nullptr;
    pull_varattnos(reinterpret_cast<Node*>(work.routes[0]->value), 1, &attributes);
    evaluation e = {estate, ExecInitExpr(work.routes[0]->value, nullptr),
                    MakeSingleTupleTableSlot(RelationGetDescr(table), &TTSOpsVirtual),
                    topic::make_row_maker(RelationGetDescr(table), *work.batch->columns, attributes)};
    constants* c = gather(work.routes, work.views);
    MemoryContextSwitchTo(caller);
    std::uint32_t first = 0;
    for (const ingest::chunk* chunk : work.batch->chunks) {
        look_at_chunk(e, c, *chunk, first, found);
        first += static_cast<std::uint32_t>(chunk->rows.messages.size());
    }
    ExecDropSingleTupleTableSlot(e.slot);
    RelationClose(table);
    FreeExecutorState(estate);
    become_self(before);
    return found;
}

// ---- groups

using group = std::vector<share*>;

void choose_for(const group& shares)
{
    std::vector<const route*> routes;
    for (const share* s : shares)
        routes.push_back(s->view->plan.by);
    const group_work work{&shares[0]->view->is, &shares[0]->rows, routes.data(),
                          static_cast<int>(routes.size())};
    const hits* found = pg::call([&] { return look_at_all(work); });
    for (share* s : shares) {
        s->rows.wanted = s->view->plan.by->filter;
        s->rows.chosen.clear();
    }
    auto give = [](share* s, topic::batch::choice what) { // once a message, whichever of its rows
        if (s->rows.chosen.empty() || s->rows.chosen.back().message != what.message)
            s->rows.chosen.push_back(what);
    };
    for (std::size_t i = 0; i < found->count; i++) {
        const hit& h = found->all[i];
        if (h.view != hit::everybody)
            give(shares[static_cast<std::size_t>(h.view)], h.what);
        else
            for (share* s : shares)
                give(s, h.what);
    }
}

bool can_be_routed(const share& s)
{
    return s.works && s.view->plan.by && !s.feed->no_routes && !s.feed->columns.plan->has_error_column;
}

std::vector<group> find_groups(const std::vector<share*>& shares)
{
    std::vector<group> groups;
    for (share* s : shares) {
        if (!can_be_routed(*s))
            continue;
        auto same = std::find_if(groups.begin(), groups.end(), [&](const group& g) {
            return g[0]->feed == s->feed && g[0]->view->is.owner == s->view->is.owner &&
                   pg::call([&] { return is_same(*g[0]->view->plan.by, *s->view->plan.by); });
        });
        if (same == groups.end())
            groups.push_back({s});
        else
            same->push_back(s);
    }
    std::erase_if(groups, [](const group& g) { return g.size() < 2; });
    return groups;
}

} // namespace

route* find_route(PlannedStmt* statement, Oid topic_table)
{
    ListCell *scans, *filters;
    foreach (scans, topic::scans_of(statement, topic_table)) {
        const ForeignScan* scan = lfirst_node(ForeignScan, scans);
        foreach (filters, scan->scan.plan.qual) {
            auto* filter = static_cast<Expr*>(lfirst(filters));
            route r = {};
            if (!take_apart(filter, &r) || !is_of_record(r.value, scan->scan.scanrelid) ||
                contain_mutable_functions(reinterpret_cast<Node*>(filter)))
                continue;
            auto* found = static_cast<route*>(palloc(sizeof(route)));
            *found = r;
            found->filter = static_cast<Expr*>(copyObjectImpl(filter));
            found->value = static_cast<Expr*>(copyObjectImpl(r.value));
            found->constants = static_cast<Const*>(copyObjectImpl(r.constants));
            ChangeVarNodes(reinterpret_cast<Node*>(found->value),
                           static_cast<int>(scan->scan.scanrelid), 1, 0);
            return found;
        }
    }
    return nullptr;
}

bool choose(const std::vector<share*>& shares)
{
    for (const group& g : find_groups(shares)) {
        try {
            choose_for(g);
        } catch (const pg::pg_error& e) {
            if (describe_applied(e.data()).what != remedy::record)
                throw;
            g[0]->feed->no_routes = true;
            return false;
        }
    }
    return true;
}

} // namespace ke::stream
