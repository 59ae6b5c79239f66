#include "stream/split.h"

extern "C" {
#include "access/table.h"
#include "nodes/makefuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "optimizer/tlist.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"
}

#include "stream/aggregates.h"

namespace ke::stream {

namespace {

// One expression of the query and the stored columns that stand for it.
struct kept {
    Expr* is;      // a key, an aggregate, or a column that depends on the keys
    List* columns; // Vars of the stored table
};

struct splitting {
    Query* query;
    List* targets = NIL; // of the partial query
    List* known = NIL;   // kept*
};

[[noreturn]] void refuse(const char* what, const char* hint)
{
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("continuous views do not support %s", what), errhint("%s", hint)));
    pg_unreachable();
}

Node* node_of(Expr* e)
{
    return reinterpret_cast<Node*>(e);
}

bool is_taken(const splitting& s, const char* name)
{
    ListCell* lc;
    foreach (lc, s.targets)
        if (strcmp(lfirst_node(TargetEntry, lc)->resname, name) == 0)
            return true;
    return false;
}

const char* free_name(const splitting& s, const char* wanted)
{
    const char* name = wanted;
    for (int n = 1; is_taken(s, name); n++)
        name = psprintf("%s_%d", wanted, n);
    return name;
}

// A column of the partial query, and the Var that reads it when it is stored.
Var* add_column(splitting* s, Expr* e, const char* name, Index reference)
{
    auto number = static_cast<AttrNumber>(list_length(s->targets) + 1);
    TargetEntry* target = makeTargetEntry(e, number, pstrdup(free_name(*s, name)), false);
    target->ressortgroupref = reference;
    s->targets = lappend(s->targets, target);
    return makeVar(1, number, exprType(node_of(e)), exprTypmod(node_of(e)),
                   exprCollation(node_of(e)), 0);
}

void remember(splitting* s, Expr* is, List* columns)
{
    auto* k = static_cast<kept*>(palloc(sizeof(kept)));
    *k = {is, columns};
    s->known = lappend(s->known, k);
}

List* find(const splitting& s, Node* node)
{
    ListCell* lc;
    foreach (lc, s.known) {
        auto* k = static_cast<kept*>(lfirst(lc));
        if (equal(k->is, node))
            return k->columns;
    }
    return NIL;
}

// ------------------------------------------------------------------ keys

void check_key(const TargetEntry* t)
{
    Node* e = node_of(t->expr);
    if (contain_volatile_functions(e))
        refuse(
            "a volatile expression in GROUP BY",
            "Two evaluations would put one record into two groups: store the rows, and aggregate in "
            "an ordinary view on them.");
    if (!OidIsValid(lookup_type_cache(exprType(e), TYPECACHE_LT_OPR)->lt_opr))
        refuse(
            psprintf("GROUP BY with type %s", format_type_be(exprType(e))),
            "Its values have no order, which the unique index on the groups needs: cast it to a type "
            "that has.");
}

void add_keys(splitting* s)
{
    ListCell* lc;
    foreach (lc, s->query->groupClause) {
        auto* clause = lfirst_node(SortGroupClause, lc);
        TargetEntry* t = get_sortgroupref_tle(clause->tleSortGroupRef, s->query->targetList);
        check_key(t);
        const char* name = t->resname ? t->resname : "key";
        Var* column = add_column(s, static_cast<Expr*>(copyObjectImpl(t->expr)), name,
                                 clause->tleSortGroupRef);
        remember(s, t->expr, list_make1(column));
    }
}

// ------------------------------------------------------------------ the rest

List* add_aggregate(splitting* s, Aggref* a)
{
    if (List* columns = find(*s, reinterpret_cast<Node*>(a)); columns != NIL)
        return columns;
    List* columns = NIL;
    List* parts = parts_of(a);
    ListCell* lc;
    foreach (lc, parts) {
        auto* part = lfirst_node(Aggref, lc);
        // n and sum are shared by the aggregates of one argument.
        List* there = find(*s, reinterpret_cast<Node*>(part));
        if (there == NIL) {
            there = list_make1(
                add_column(s, reinterpret_cast<Expr*>(part), get_func_name(part->aggfnoid), 0));
            remember(s, reinterpret_cast<Expr*>(part), there);
        }
        columns = lappend(columns, linitial(there));
    }
    if (list_length(parts) != 1 || !equal(linitial(parts), a))
        remember(s, reinterpret_cast<Expr*>(a), columns);
    return columns;
}

// An expression over the query's rows as one over what is stored.
Node* over_stored(Node* node, void* context)
{
    if (!node)
        return nullptr;
    auto* s = static_cast<splitting*>(context);
    if (IsA(node, Aggref)) {
        auto* a = castNode(Aggref, node);
        if (a->agglevelsup == 0) {
            List* columns = add_aggregate(s, a);
            return node_of(value_of(a, columns));
        }
    }
    if (List* columns = find(*s, node); columns != NIL)
        return static_cast<Node*>(copyObjectImpl(linitial(columns)));
    if (IsA(node, SubLink))
        refuse("a subquery beside aggregates",
               "Join the table in FROM, or look it up in an ordinary view on the continuous one.");
    if (IsA(node, GroupingFunc))
        refuse("GROUPING()", "Without grouping sets it is 0: leave it out.");
    if (IsA(node, Var) && castNode(Var, node)->varlevelsup == 0) {
        // A column that GROUP BY determines: parse analysis has seen the primary key.
        auto* v = castNode(Var, node);
        const RangeTblEntry* rte = rt_fetch(v->varno, s->query->rtable);
        const char* name =
            v->varattno > 0 ? get_rte_attribute_name(const_cast<RangeTblEntry*>(rte), v->varattno)
                            : "row";
        auto* copy = static_cast<Expr*>(copyObjectImpl(v));
        Var* column = add_column(s, copy, name, 0);
        remember(s, reinterpret_cast<Expr*>(v), list_make1(column));
        return reinterpret_cast<Node*>(column);
    }
    return pg::mutate_expression(node, over_stored, context);
}

Query* make_final(splitting* s)
{
    Query* f = makeNode(Query);
    f->commandType = CMD_SELECT;
    f->querySource = QSRC_ORIGINAL;
    f->canSetTag = true;
    ListCell* lc;
    foreach (lc, s->query->targetList) {
        auto* t = lfirst_node(TargetEntry, lc);
        if (t->resjunk)
            continue;
        auto* e = reinterpret_cast<Expr*>(over_stored(node_of(t->expr), s));
        f->targetList = lappend(
            f->targetList, makeTargetEntry(e, list_length(f->targetList) + 1, t->resname, false));
    }
    RangeTblRef* from = makeNode(RangeTblRef);
    from->rtindex = 1;
    f->jointree = makeFromExpr(list_make1(from), over_stored(s->query->havingQual, s));
    f->hasTargetSRFs = expression_returns_set(reinterpret_cast<Node*>(f->targetList));
    return f;
}

// ------------------------------------------------------------------ where nothing is to be finished

bool is_key(const Query* q, const TargetEntry* t)
{
    ListCell* lc;
    foreach (lc, q->groupClause)
        if (t->ressortgroupref &&
            lfirst_node(SortGroupClause, lc)->tleSortGroupRef == t->ressortgroupref)
            return true;
    return false;
}

bool stands_for_itself(const TargetEntry* t)
{
    if (!IsA(t->expr, Aggref))
        return false;
    List* parts = parts_of(castNode(Aggref, t->expr));
    return list_length(parts) == 1 && equal(linitial(parts), t->expr);
}

bool is_stored_as_it_is(const Query* q)
{
    if (q->havingQual)
        return false;
    ListCell* lc;
    foreach (lc, q->targetList) {
        auto* t = lfirst_node(TargetEntry, lc);
        if (t->resjunk || !(is_key(q, t) || stands_for_itself(t)))
            return false;
    }
    return true;
}

void name_keys(split_query* s)
{
    ListCell* lc;
    foreach (lc, s->partial->targetList) {
        auto* t = lfirst_node(TargetEntry, lc);
        Oid aggregate;
        if (is_key(s->partial, t))
            s->keys = lappend(s->keys, makeString(t->resname));
        else if (IsA(t->expr, Aggref) && exprType(node_of(t->expr)) == INT8OID &&
                 merge_of(castNode(Aggref, t->expr), &aggregate) == merge::add &&
                 strcmp(get_func_name(castNode(Aggref, t->expr)->aggfnoid), "count") == 0)
            s->zeros = lappend(s->zeros, makeString(t->resname));
    }
}

} // namespace

bool is_grouped(const Query* q)
{
    return q->groupClause != NIL || q->hasAggs || q->havingQual != nullptr;
}

split_query split(Query* given)
{
    auto* q = static_cast<Query*>(copyObjectImpl(given));
    pg::flatten_groups(q);
    splitting s{q};
    add_keys(&s);
    Query* final = make_final(&s); // judges every aggregate
    split_query result{q, nullptr, NIL, NIL};
    if (!is_stored_as_it_is(q)) {
        if (s.targets == NIL)
            refuse("HAVING without aggregates", "Use a condition in WHERE.");
        result.final = final;
        q->targetList = s.targets;
        q->havingQual = nullptr;
        q->hasAggs = contain_agg_clause(reinterpret_cast<Node*>(q->targetList));
        q->hasTargetSRFs = expression_returns_set(reinterpret_cast<Node*>(q->targetList));
    }
    name_keys(&result);
    return result;
}

void complete_final(Query* final, Oid table)
{
    Relation rel = table_open(table, AccessShareLock);
    pg::read_from(final, rel);
    table_close(rel, NoLock);
}

} // namespace ke::stream
