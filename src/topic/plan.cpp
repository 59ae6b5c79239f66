// Planning of a scan of a topic table: how many records, at what cost, with which conditions pushed.
// No broker is needed for a plan (estimate.h); the plan holds nothing but the server's own nodes.
#include "topic/scan.h"

extern "C" {
#include "access/sysattr.h"
#include "nodes/makefuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/cost.h"
#include "optimizer/optimizer.h"
#include "optimizer/pathnode.h"
#include "optimizer/paths.h"
#include "optimizer/planmain.h"
#include "optimizer/restrictinfo.h"
#include "utils/rel.h"
}

#include <algorithm>

#include "pg/guard.h"
#include "topic/columns.h"
#include "topic/estimate.h"

namespace ke::topic {

namespace {

// A question to a broker costs as much as reading this many pages: a scan that is repeated per row
// must be worth it.
constexpr double round_trip_cost = 100;
// Fetching and decoding one record.
constexpr double record_cost = 0.02;

// What a record is taken to weigh where the server asks how large the relation is.
constexpr double bytes_of_record = 160;

// A LIMIT up to this many rows keeps the scan from reading far ahead.
constexpr double few_rows = 1000;

// What planning knows of the relation, in RelOptInfo.fdw_private.
struct relation_facts {
    pushed_columns columns;
    List* pushed;   // of baserestrictinfo, simplified
    bool has_time;  // one of them is on _timestamp: a round trip more
    double records; // in the topic
    double fetched; // of them, after the pushed conditions
    int partitions; // with some of these
};

Bitmapset* attributes_of(List* clauses, Index rel, Bitmapset* attributes)
{
    ListCell* lc;
    foreach (lc, clauses) {
        Node* node = static_cast<Node*>(lfirst(lc));
        if (IsA(node, RestrictInfo))
            node = reinterpret_cast<Node*>(castNode(RestrictInfo, node)->clause);
        pull_varattnos(node, rel, &attributes);
    }
    return attributes;
}

List* simplify_all(List* clauses, Index rel, const pushed_columns& columns)
{
    List* pushed = NIL;
    ListCell* lc;
    foreach (lc, clauses) {
        Node* node = static_cast<Node*>(lfirst(lc));
        if (IsA(node, RestrictInfo)) {
            if (castNode(RestrictInfo, node)->pseudoconstant)
                continue;
            node = reinterpret_cast<Node*>(castNode(RestrictInfo, node)->clause);
        }
        if (Expr* e = simplify(reinterpret_cast<Expr*>(node), rel, columns))
            pushed = lappend(pushed, e);
    }
    return pushed;
}

bool reads(const Bitmapset* attributes, AttrNumber attnum)
{
    return attnum > 0 && bms_is_member(attnum - FirstLowInvalidHeapAttributeNumber, attributes);
}

struct cost {
    double rows;
    Cost startup;
    Cost total;
};

// fetched records, then all clauses checked on each.
cost cost_of(PlannerInfo* root, RelOptInfo* rel, const relation_facts* facts, double fetched,
             double rows, bool has_time)
{
    cost c;
    c.rows = clamp_row_est(rows);
    c.startup = round_trip_cost * (has_time ? 3 : 2) + rel->baserestrictcost.startup +
                rel->reltarget->cost.startup;
    const double per_record = record_cost + cpu_tuple_cost + rel->baserestrictcost.per_tuple;
    c.total = c.startup + fetched * per_record + c.rows * rel->reltarget->cost.per_tuple;
    return c;
}

// One process reads everything. Not in each worker of a parallel query: these would look at the ends at
// different times.
Path* make_path(PlannerInfo* root, RelOptInfo* rel, const cost& c, Relids outer)
{
    auto* path = reinterpret_cast<Path*>(
        pg::make_foreign_path(root, rel, c.rows, c.startup, c.total, outer));
    path->parallel_safe = false;
    return path;
}

// --- parameterised paths: an outer row says which partition and offset ---

struct member_search {
    Expr* current;
    List* used;
    const relation_facts* facts;
};

bool matches_pushed(PlannerInfo*, RelOptInfo* rel, EquivalenceClass*, EquivalenceMember* member,
                    void* arg)
{
    auto* s = static_cast<member_search*>(arg);
    Node* e = reinterpret_cast<Node*>(member->em_expr);
    while (IsA(e, RelabelType))
        e = reinterpret_cast<Node*>(castNode(RelabelType, e)->arg);
    if (!IsA(e, Var) || static_cast<Index>(castNode(Var, e)->varno) != rel->relid)
        return false;
    const AttrNumber a = castNode(Var, e)->varattno;
    const pushed_columns& c = s->facts->columns;
    if (a <= 0 || (a != c.topic && a != c.partition && a != c.offset && a != c.timestamp))
        return false;
    if (s->current)
        return equal(member->em_expr, s->current);
    if (list_member(s->used, member->em_expr))
        return false;
    s->current = member->em_expr;
    return true;
}

List* add_outer(PlannerInfo* root, RelOptInfo* rel, const relation_facts* facts, List* clauses,
                List* found)
{
    ListCell* lc;
    foreach (lc, clauses) {
        RestrictInfo* r = lfirst_node(RestrictInfo, lc);
        if (!join_clause_is_movable_to(r, rel) || !simplify(r->clause, rel->relid, facts->columns))
            continue;
        Relids outer = bms_union(r->clause_relids, rel->lateral_relids);
        outer = bms_del_member(outer, rel->relid);
        if (!bms_is_empty(outer))
            found = list_append_unique_ptr(found, get_baserel_parampathinfo(root, rel, outer));
    }
    return found;
}

List* useful_outers(PlannerInfo* root, RelOptInfo* rel, const relation_facts* facts)
{
    List* found = add_outer(root, rel, facts, rel->joininfo, NIL);
    if (!rel->has_eclass_joins)
        return found;
    member_search search{nullptr, NIL, facts};
    for (;;) {
        search.current = nullptr;
        List* clauses = generate_implied_equalities_for_column(root, rel, matches_pushed, &search,
                                                               rel->lateral_referencers);
        if (!search.current)
            return found;
        found = add_outer(root, rel, facts, clauses, found);
        search.used = lappend(search.used, search.current);
    }
}

void add_parameterised(PlannerInfo* root, RelOptInfo* rel, const relation_facts* facts,
                       ParamPathInfo* outer)
{
    List* pushed = simplify_all(outer->ppi_clauses, rel->relid, facts->columns);
    const Bitmapset* used = attributes_of(pushed, rel->relid, nullptr);
    const double fetched =
        facts->fetched * clauselist_selectivity(root, pushed, rel->relid, JOIN_INNER, nullptr);
    cost c = cost_of(root, rel, facts, clamp_row_est(fetched), outer->ppi_rows,
                     facts->has_time || reads(used, facts->columns.timestamp));
    add_path(rel, make_path(root, rel, c, outer->ppi_req_outer));
}

// For several processes, which share the partitions: as many as the server would give a table of that
// size, and no more than there are partitions.
void add_partial(PlannerInfo* root, RelOptInfo* rel, const relation_facts* facts)
{
    if (!rel->consider_parallel || rel->lateral_relids)
        return;
    const double pages = facts->fetched * bytes_of_record / BLCKSZ;
    const int workers =
        std::min(compute_parallel_worker(rel, pages, -1, max_parallel_workers_per_gather),
                 facts->partitions - 1);
    if (workers <= 0)
        return;
    const double leader = parallel_leader_participation ? std::max(0.0, 1 - 0.3 * workers) : 0;
    const double share = 1 / (workers + leader); // as the server counts for its own tables
    cost c = cost_of(root, rel, facts, facts->fetched * share, rel->rows * share, facts->has_time);
    Path* path = make_path(root, rel, c, nullptr);
    path->parallel_aware = path->parallel_safe = true;
    path->parallel_workers = workers;
    add_partial_path(rel, path);
}

// Clauses that look at nothing but the four columns, so that they can be asked of a record whose
// payload is bad.
List* about_records(List* clauses, Index rel, const pushed_columns& columns)
{
    List* found = NIL;
    ListCell* lc;
    foreach (lc, clauses) {
        Node* clause = static_cast<Node*>(lfirst(lc));
        Bitmapset* used = nullptr;
        pull_varattnos(clause, rel, &used);
        for (AttrNumber a : {columns.topic, columns.partition, columns.offset, columns.timestamp})
            if (a > 0)
                used = bms_del_member(used, a - FirstLowInvalidHeapAttributeNumber);
        if (bms_is_empty(used) && !contain_volatile_functions(clause) && !contain_subplans(clause))
            found = lappend(found, clause);
    }
    return found;
}

} // namespace

pushed_columns find_pushed_columns(Oid relid, const Bitmapset* attributes)
{
    pushed_columns found;
    if (bms_is_empty(attributes))
        return found;
    for (const topic_column& c : read_columns(relid).columns) {
        if (!reads(attributes, c.number))
            continue;
        switch (c.column.metadata) {
        case decode::role::topic:
            found.topic = c.number;
            break;
        case decode::role::partition:
            found.partition = c.number;
            break;
        case decode::role::offset:
            found.offset = c.number;
            break;
        case decode::role::timestamp:
            found.timestamp = c.number;
            break;
        default:
            break;
        }
    }
    return found;
}

List* pack(const planned_scan& s)
{
    List* columns =
        list_make4_int(s.columns.topic, s.columns.partition, s.columns.offset, s.columns.timestamp);
    return list_make4(pack_attributes(s.attributes), columns, makeInteger(list_length(s.pushed)),
                      makeInteger(s.few));
}

planned_scan unpack(ForeignScan* plan)
{
    planned_scan s{};
    s.attributes = unpack_attributes(static_cast<List*>(linitial(plan->fdw_private)));
    List* columns = static_cast<List*>(lsecond(plan->fdw_private));
    s.columns.topic = linitial_int(columns);
    s.columns.partition = lsecond_int(columns);
    s.columns.offset = lthird_int(columns);
    s.columns.timestamp = lfourth_int(columns);
    const int pushed = intVal(lthird(plan->fdw_private));
    s.pushed = list_truncate(list_copy(plan->fdw_exprs), pushed);
    s.record_clauses = list_copy_tail(plan->fdw_exprs, pushed);
    s.few = intVal(lfourth(plan->fdw_private)) != 0;
    return s;
}

void relation_size(PlannerInfo* root, RelOptInfo* rel, Oid relid)
{
    auto* facts = static_cast<relation_facts*>(palloc0(sizeof(relation_facts)));
    rel->fdw_private = facts;
    Bitmapset* used = attributes_of(rel->baserestrictinfo, rel->relid, nullptr);
    used = attributes_of(rel->joininfo, rel->relid, used);
    // Equivalence classes hold further join clauses; the columns they join by are in the target.
    used = attributes_of(rel->reltarget->exprs, rel->relid, used);
    facts->columns = find_pushed_columns(relid, used);
    facts->pushed = simplify_all(rel->baserestrictinfo, rel->relid, facts->columns);
    facts->has_time =
        reads(attributes_of(facts->pushed, rel->relid, nullptr), facts->columns.timestamp);

    const estimate e = estimate_records(root, rel, relid, facts->pushed, facts->columns);
    facts->records = e.records;
    facts->fetched = e.fetched;
    facts->partitions = e.partitions;
    rel->tuples = e.records;
    rel->rows = clamp_row_est(e.fetched * e.left_by_others);
}

void paths(PlannerInfo* root, RelOptInfo* rel, Oid)
{
    auto* facts = static_cast<relation_facts*>(rel->fdw_private);
    cost c = cost_of(root, rel, facts, facts->fetched, rel->rows, facts->has_time);
    add_path(rel, make_path(root, rel, c, rel->lateral_relids));
    add_partial(root, rel, facts);
    ListCell* lc;
    foreach (lc, useful_outers(root, rel, facts))
        add_parameterised(root, rel, facts, static_cast<ParamPathInfo*>(lfirst(lc)));
}

ForeignScan* plan(PlannerInfo* root, RelOptInfo* rel, Oid, ForeignPath*, List* tlist,
                  List* scan_clauses, Plan* outer_plan)
{
    auto* facts = static_cast<relation_facts*>(rel->fdw_private);
    List* clauses = extract_actual_clauses(scan_clauses, false);
    planned_scan s{};
    s.columns = facts->columns;
    s.attributes = attributes_of(rel->reltarget->exprs, rel->relid, nullptr);
    s.attributes = attributes_of(clauses, rel->relid, s.attributes);
    s.pushed = simplify_all(clauses, rel->relid, facts->columns);
    s.record_clauses = about_records(clauses, rel->relid, facts->columns);
    s.few = root->limit_tuples > 0 && root->limit_tuples <= few_rows && !root->sort_pathkeys;
    // Every clause is checked again by the executor, pushed or not.
    return make_foreignscan(tlist, clauses, rel->relid,
                            list_concat_copy(s.pushed, s.record_clauses), pack(s), NIL, NIL,
                            outer_plan);
}

} // namespace ke::topic
