#include "stream/routes.h"

#include "stream/patience.h"

extern "C" {
#include "access/nbtree.h"
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "rewrite/rewriteManip.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

#include <algorithm>
#include <utility>

#include "stream/route_table.h"
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
    if (IsA(node, Param) || IsA(node, SubPlan) || IsA(node, AlternativeSubPlan) ||
        IsA(node, SubLink))
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

// `e operator constant`, turned round where the constant stands first.
struct comparison {
    Expr* value;
    Const* constant;
    Oid operator_;
    Oid collation;
    bool any; // IN
};

bool take_apart(Expr* filter, comparison* c)
{
    List* sides = NIL;
    if (IsA(filter, OpExpr)) {
        auto* e = castNode(OpExpr, filter);
        *c = {nullptr, nullptr, e->opno, e->inputcollid, false};
        sides = e->args;
    } else if (IsA(filter, ScalarArrayOpExpr) && castNode(ScalarArrayOpExpr, filter)->useOr) {
        auto* e = castNode(ScalarArrayOpExpr, filter);
        *c = {nullptr, nullptr, e->opno, e->inputcollid, true};
        sides = e->args;
    }
    if (list_length(sides) != 2)
        return false;
    auto *left = static_cast<Node*>(linitial(sides)), *right = static_cast<Node*>(lsecond(sides));
    if (IsA(left, Const) && !c->any) {
        std::swap(left, right);
        c->operator_ = get_commutator(c->operator_);
    }
    if (!IsA(right, Const) || !OidIsValid(c->operator_))
        return false;
    c->value = reinterpret_cast<Expr*>(left);
    c->constant = castNode(Const, right);
    return true;
}

bool is_hashable(const comparison& c)
{
    Oid of_value, of_constant;
    return op_hashjoinable(c.operator_, exprType(reinterpret_cast<Node*>(c.value))) &&
           get_op_hash_functions(c.operator_, &of_value, &of_constant);
}

// Its place in a btree family: less, less or equal, ..., and the functions that order a value and a
// constant, and two constants. None (InvalidStrategy): there is none, or it is not with one value.
int find_place(const comparison& c, Oid* order, Oid* of_constants)
{
    if (c.any || c.constant->constisnull)
        return InvalidStrategy;
    ListCell* cell;
    foreach (cell, get_op_btree_interpretation(c.operator_)) {
        auto* in = static_cast<OpBtreeInterpretation*>(lfirst(cell));
        auto function = [&](Oid left) {
            return get_opfamily_proc(in->opfamily_id, left, in->oprighttype, BTORDER_PROC);
        };
        *order = function(in->oplefttype);
        *of_constants = function(in->oprighttype);
        const bool one_sided = in->strategy >= BTLessStrategyNumber &&
                               in->strategy <= BTGreaterStrategyNumber &&
                               in->strategy != BTEqualStrategyNumber;
        if (one_sided && OidIsValid(*order) && OidIsValid(*of_constants))
            return in->strategy;
    }
    return InvalidStrategy;
}

// Makes the comparison a bound of the range that r is; false: it has such a one, or is of another kind.
bool add_bound(route* r, const comparison& c)
{
    Oid order = InvalidOid, of_bounds = InvalidOid;
    const int strategy = find_place(c, &order, &of_bounds);
    if (strategy == InvalidStrategy ||
        (r->filters && (!equal(r->value, c.value) || r->order != order ||
                        r->type != c.constant->consttype || r->collation != c.collation)))
        return false;
    const bool upper = strategy < BTEqualStrategyNumber;
    if (upper ? r->upper : r->lower)
        return false;
    (upper ? r->upper : r->lower) = c.constant;
    (upper ? r->with_upper : r->with_lower) =
        strategy == BTLessEqualStrategyNumber || strategy == BTGreaterEqualStrategyNumber;
    r->value = c.value;
    r->type = c.constant->consttype;
    r->collation = c.collation;
    r->order = order;
    r->of_bounds = of_bounds;
    return true;
}

// Of one scan's filters, in their order; false: none serves.
bool find_filters(const ForeignScan* scan, route* r)
{
    List* fit = NIL;
    ListCell* cell;
    foreach (cell, scan->scan.plan.qual) {
        auto* filter = static_cast<Expr*>(lfirst(cell));
        comparison c = {};
        if (!take_apart(filter, &c) || !is_of_record(c.value, scan->scan.scanrelid) ||
            contain_mutable_functions(reinterpret_cast<Node*>(filter)))
            continue;
        if (is_hashable(c)) {
            *r = {};
            r->filters = list_make1(filter);
            r->value = c.value;
            r->type = c.constant->consttype;
            r->collation = c.collation;
            r->constants = c.constant;
            r->any = c.any;
            r->equal = c.operator_;
            return true;
        }
        fit = lappend(fit, filter);
    }
    foreach (cell, fit) {
        comparison c = {};
        if (take_apart(static_cast<Expr*>(lfirst(cell)), &c) && add_bound(r, c))
            r->filters = lappend(r->filters, lfirst(cell));
    }
    return r->filters != NIL;
}

bool is_same(const route& a, const route& b)
{
    return a.equal == b.equal && a.order == b.order && a.of_bounds == b.of_bounds &&
           a.type == b.type && a.collation == b.collation && equal(a.value, b.value);
}

// ---- one expression for all records of a batch

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

void look_at_chunk(const evaluation& e, route_table* t, const ingest::chunk& chunk,
                   std::uint32_t first, hits* found)
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
            if (null)
                continue;
            const views_found by = find_views(t, value);
            for (int i = 0; i < by.count; i++)
                add(found, {by.views[i], {first + m, message.row_count == 1}});
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
    evaluation e = {
        estate, ExecInitExpr(work.routes[0]->value, nullptr),
        MakeSingleTupleTableSlot(RelationGetDescr(table), &TTSOpsVirtual),
        topic::make_row_maker(RelationGetDescr(table), *work.batch->columns, attributes)};
    route_table* t = make_route_table(work.routes, work.views);
    MemoryContextSwitchTo(caller);
    std::uint32_t first = 0;
    for (const ingest::chunk* chunk : work.batch->chunks) {
        look_at_chunk(e, t, *chunk, first, found);
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
        s->rows.wanted = s->view->plan.by->filters;
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
    return s.works && s.view->plan.by && !s.feed->no_routes &&
           !s.feed->columns.plan->has_error_column;
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
    ListCell* cell;
    foreach (cell, topic::scans_of(statement, topic_table)) {
        const ForeignScan* scan = lfirst_node(ForeignScan, cell);
        route r = {};
        if (!find_filters(scan, &r))
            continue;
        auto* found = static_cast<route*>(palloc(sizeof(route)));
        *found = r;
        found->filters = static_cast<List*>(copyObjectImpl(r.filters));
        found->value = static_cast<Expr*>(copyObjectImpl(r.value));
        for (Const** c : {&found->constants, &found->lower, &found->upper})
            *c = static_cast<Const*>(copyObjectImpl(*c));
        ChangeVarNodes(reinterpret_cast<Node*>(found->value),
                       static_cast<int>(scan->scan.scanrelid), 1, 0);
        return found;
    }
    return nullptr;
}

bool choose(const std::vector<share*>& shares)
{
    for (const group& g : find_groups(shares)) {
        const patience watch(g[0]->view->is.view, g[0]->allowed);
        try {
            choose_for(g);
            if (g[0]->allowed.count() > 0 && watch.spent() > g[0]->allowed)
                g[0]->feed->no_routes = true; // each evaluates it, on its own account
        } catch (const pg::pg_error& e) {
            trouble t = describe_applied(e.data());
            watch.judge(t);
            if (t.what != remedy::record && t.what != remedy::slow)
                throw;
            g[0]->feed->no_routes = true;
            return false;
        }
    }
    return true;
}

} // namespace ke::stream
