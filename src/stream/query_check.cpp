// The rule on queries (query_check.h), in two passes over the analyzed tree. The first collects every
// place where a topic table is read, through views, CTEs and subqueries, at any depth: exactly one is
// allowed. The second goes down from the top along the path to it and refuses whatever on that path
// does not distribute over batches. What stands beside the path (lookups) may do as it likes.
// Server's thread; plain data.
#include "stream/query_check.h"

extern "C" {
#include "access/table.h"
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

#include "topic/topic.h"

namespace ke::stream {

namespace {

// The queries around the one looked at, so that a CTE's name is found: innermost first.
struct level {
    Query* query;
    const level* outer;
    const char* where;     // " in view x", " in common table expression x", or ""
    Oid view = InvalidOid; // whose query this is: before 16 its range table names the view itself
};

struct topics {
    List* tables = NIL; // OIDs, one for each place
};

void collect(const level&, topics*);

[[noreturn]] void refuse(const char* what, const char* where, const char* hint)
{
    ereport(ERROR,
            (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
             errmsg("continuous views do not support %s%s", what, where), errhint("%s", hint)));
    pg_unreachable();
}

// The query of a view, with a lock on it that lasts to the end of the transaction.
Query* query_of_view(Oid view)
{
    Relation rel = table_open(view, AccessShareLock);
    Query* query = static_cast<Query*>(copyObjectImpl(get_view_query(rel)));
    table_close(rel, NoLock);
    return query;
}

// The CTE that a range table entry names, and the level it was written at.
CommonTableExpr* find_cte(const level& at, const RangeTblEntry* rte, const level** home)
{
    const level* l = &at;
    for (Index up = rte->ctelevelsup; up > 0 && l; up--)
        l = l->outer;
    ListCell* lc;
    if (l)
        foreach (lc, l->query->cteList) {
            CommonTableExpr* cte = lfirst_node(CommonTableExpr, lc);
            if (strcmp(cte->ctename, rte->ctename) == 0) {
                *home = l;
                return cte;
            }
        }
    elog(ERROR, "common table expression \"%s\" not found", rte->ctename);
    pg_unreachable();
}

// ------------------------------------------------------------------ first pass: who reads a topic

void collect_relation(const level& at, RangeTblEntry* rte, topics* found)
{
    if (rte->relid == at.view)
        return;
    if (rte->relkind == RELKIND_VIEW) {
        level inner{query_of_view(rte->relid), nullptr, "", rte->relid};
        collect(inner, found);
        return;
    }
    if (topic::is_topic_table(rte->relid)) {
        found->tables = lappend_oid(found->tables, rte->relid);
        return;
    }
    if (!rte->inh || !has_subclass(rte->relid))
        return;
    ListCell* lc;
    foreach (lc, find_all_inheritors(rte->relid, AccessShareLock, nullptr))
        if (topic::is_topic_table(lfirst_oid(lc)))
            ereport(ERROR,
                    (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                     errmsg("topic table \"%s\" cannot be read through its parent \"%s\" in a "
                            "continuous view",
                            get_rel_name(lfirst_oid(lc)), get_rel_name(rte->relid)),
                     errhint("Name the topic table itself in FROM.")));
}

struct walk {
    const level* at;
    topics* found;
};

// Subqueries inside expressions.
bool collect_sublinks(Node* node, void* context)
{
    if (!node)
        return false;
    auto* w = static_cast<walk*>(context);
    if (IsA(node, Query)) {
        level inner{reinterpret_cast<Query*>(node), w->at, ""};
        collect(inner, w->found);
        return false;
    }
    return pg::walk_expression(node, collect_sublinks, context);
}

void collect_entry(const level& at, RangeTblEntry* rte, topics* found)
{
    switch (rte->rtekind) {
    case RTE_RELATION:
        collect_relation(at, rte, found);
        break;
    case RTE_SUBQUERY: {
        level inner{rte->subquery, &at, ""};
        collect(inner, found);
        break;
    }
    case RTE_CTE: {
        const level* home;
        CommonTableExpr* cte = find_cte(at, rte, &home);
        if (rte->self_reference)
            break; // a recursive term's look at itself: counted where it is used
        level inner{castNode(Query, cte->ctequery), home, ""};
        collect(inner, found);
        break;
    }
    default:
        break; // functions and the like: their expressions are walked below
    }
}

void collect(const level& at, topics* found)
{
    check_stack_depth();
    ListCell* lc;
    foreach (lc, at.query->rtable)
        collect_entry(at, lfirst_node(RangeTblEntry, lc), found);
    walk w{&at, found};
    pg::walk_query(at.query, collect_sublinks, &w,
                   QTW_IGNORE_RT_SUBQUERIES | QTW_IGNORE_CTE_SUBQUERIES);
}

bool reads_topic(const level& at)
{
    topics found;
    collect(at, &found);
    return found.tables != NIL;
}

bool entry_reads_topic(const level& at, int rtindex)
{
    topics found;
    collect_entry(at, rt_fetch(rtindex, at.query->rtable), &found);
    return found.tables != NIL;
}

[[noreturn]] void refuse_number(const topics& found)
{
    if (found.tables == NIL)
        ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                        errmsg("the query of a continuous view must read a topic"),
                        errdetail("No relation in it is a foreign table of the kafka wrapper."),
                        errhint("Put a topic table in FROM, or leave out the kafka options for an "
                                "ordinary materialized view.")));
    StringInfoData names;
    initStringInfo(&names);
    ListCell* lc;
    foreach (lc, found.tables)
        appendStringInfo(&names, "%s\"%s\"", foreach_current_index(lc) ? ", " : "",
                         get_rel_name(lfirst_oid(lc)));
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("a continuous view must read exactly one topic, once"),
                    errdetail("The query reads: %s.", names.data),
                    errhint("Make one view per topic, and join the views' tables in an ordinary "
                            "query or view.")));
    pg_unreachable();
}

// ------------------------------------------------------------------ second pass: the path to it

struct shape_row {
    bool (*is)(const Query*);
    const char* what;
    const char* hint;
};

// In the order in which they are named where several hold.
const shape_row shapes[] = {
    {[](const Query* q) { return q->setOperations != nullptr; }, "a set operation over a topic",
     "Make one view for each part, all with kafka.into the same table."},
    {[](const Query* q) { return q->groupingSets != NIL; }, "GROUPING SETS, CUBE or ROLLUP",
     "Store the rows, and aggregate in an ordinary view on them."},
    {[](const Query* q) { return q->hasWindowFuncs; }, "a window function",
     "Store the rows, and use the window function in an ordinary view on them."},
    {[](const Query* q) { return q->hasDistinctOn; }, "DISTINCT ON",
     "Give the view kafka.key, with kafka.on_conflict 'nothing' for the first row of each key, or "
     "'update' for the newest."},
    {[](const Query* q) { return q->distinctClause != NIL; }, "DISTINCT",
     "Use GROUP BY on the same columns."},
    {[](const Query* q) { return q->hasForUpdate; }, "FOR UPDATE or FOR SHARE",
     "Leave the locking clause out."},
    {[](const Query* q) { return q->limitCount != nullptr || q->limitOffset != nullptr; },
     "LIMIT or OFFSET", "Use a condition in WHERE, on _offset or _timestamp for instance."},
};

// Batches are merged in the view's own table: not on the way to a query above.
const shape_row inner_shapes[] = {
    {[](const Query* q) { return q->hasAggs; }, "an aggregate",
     "Aggregate in the view's own query, without a query around it; put what is computed from it into "
     "an ordinary view."},
    {[](const Query* q) { return q->groupClause != NIL || q->havingQual != nullptr; },
     "GROUP BY or HAVING",
     "Group in the view's own query, without a query around it; put what is computed from it into an "
     "ordinary view."},
};

void check_path(const level&, bool top);

const char* inside(const char* kind, const char* name)
{
    return psprintf(" in %s \"%s\"", kind, name);
}

void descend(const level& at, int rtindex)
{
    RangeTblEntry* rte = rt_fetch(rtindex, at.query->rtable);
    if (rte->rtekind == RTE_SUBQUERY) {
        level inner{rte->subquery, &at,
                    rte->alias ? inside("subquery", rte->alias->aliasname) : " in a subquery"};
        check_path(inner, false);
    } else if (rte->rtekind == RTE_CTE) {
        const level* home;
        CommonTableExpr* cte = find_cte(at, rte, &home);
        if (cte->cterecursive)
            refuse("a recursive query over a topic",
                   inside("common table expression", cte->ctename),
                   "Recursion over tables is fine beside the topic: join its result to the topic.");
        level inner{castNode(Query, cte->ctequery), home,
                    inside("common table expression", cte->ctename)};
        check_path(inner, false);
    } else if (rte->rtekind == RTE_RELATION && rte->relkind == RELKIND_VIEW) {
        level inner{query_of_view(rte->relid), nullptr, inside("view", get_rel_name(rte->relid)),
                    rte->relid};
        check_path(inner, false);
    }
}

bool contains_path(const level& at, Node* node)
{
    if (IsA(node, RangeTblRef))
        return entry_reads_topic(at, castNode(RangeTblRef, node)->rtindex);
    if (IsA(node, JoinExpr)) {
        JoinExpr* j = castNode(JoinExpr, node);
        return contains_path(at, j->larg) || contains_path(at, j->rarg);
    }
    return false;
}

void check_from(const level& at, Node* node)
{
    if (IsA(node, RangeTblRef)) {
        descend(at, castNode(RangeTblRef, node)->rtindex);
        return;
    }
    JoinExpr* j = castNode(JoinExpr, node);
    bool left = contains_path(at, j->larg);
    if (j->jointype == JOIN_FULL)
        refuse("a FULL JOIN with a topic", at.where,
               "Join with the topic on the preserved side: topic LEFT JOIN table.");
    if ((j->jointype == JOIN_LEFT && !left) || (j->jointype == JOIN_RIGHT && left))
        refuse("a topic on the nullable side of an outer join", at.where,
               "Join with the topic on the preserved side (topic LEFT JOIN table), or use an inner "
               "join.");
    check_from(at, left ? j->larg : j->rarg);
}

const char* name_of_sublink(const SubLink* s)
{
    switch (s->subLinkType) {
    case EXISTS_SUBLINK:
        return "a topic inside EXISTS";
    case ANY_SUBLINK:
        return "a topic inside IN or ANY";
    case ALL_SUBLINK:
        return "a topic inside ALL";
    case ARRAY_SUBLINK:
        return "a topic inside ARRAY()";
    default:
        return "a topic inside a scalar subquery";
    }
}

// Expressions of the level itself: a subquery there must not read the topic.
bool check_sublinks(Node* node, void* context)
{
    if (!node || IsA(node, Query))
        return false;
    const auto* at = static_cast<const level*>(context);
    if (IsA(node, SubLink)) {
        SubLink* s = castNode(SubLink, node);
        level inner{castNode(Query, s->subselect), at, ""};
        if (reads_topic(inner))
            refuse(name_of_sublink(s), at->where,
                   "Put the topic in FROM, and the table in EXISTS, IN or the subquery.");
    }
    return pg::walk_expression(node, check_sublinks, context);
}

void check_path(const level& at, bool top)
{
    check_stack_depth();
    Query* q = at.query;
    for (const shape_row& s : shapes)
        if (s.is(q))
            refuse(s.what, at.where, s.hint);
    for (const shape_row& s : inner_shapes)
        if (!top && s.is(q))
            refuse(s.what, at.where, s.hint);
    if (top && q->sortClause != NIL)
        refuse("ORDER BY", at.where, "A table has no order: use ORDER BY when reading the view.");
    pg::walk_query(q, check_sublinks, const_cast<level*>(&at),
                   QTW_IGNORE_RT_SUBQUERIES | QTW_IGNORE_CTE_SUBQUERIES);
    ListCell* lc;
    foreach (lc, q->jointree->fromlist) {
        Node* item = static_cast<Node*>(lfirst(lc));
        if (contains_path(at, item))
            check_from(at, item);
    }
}

// ------------------------------------------------------------------ anywhere in the query

// Row locks, transition tables and writing CTEs, at any depth.
bool check_everywhere(Node* node, void*)
{
    if (!node)
        return false;
    if (!IsA(node, Query))
        return pg::walk_expression(node, check_everywhere, nullptr);
    Query* q = castNode(Query, node);
    if (q->commandType != CMD_SELECT || q->hasModifyingCTE)
        refuse("a data-modifying statement", "", "Let the query only read.");
    if (q->rowMarks != NIL && q->hasForUpdate)
        refuse("FOR UPDATE or FOR SHARE", "", "Leave the locking clause out.");
    ListCell* lc;
    foreach (lc, q->rtable)
        if (lfirst_node(RangeTblEntry, lc)->rtekind == RTE_NAMEDTUPLESTORE)
            refuse("a transition table", "", "Let the query read tables that last.");
    return pg::walk_query(q, check_everywhere, nullptr, 0);
}

// A CTE that is used twice is one topic read twice: said by its own name.
void check_cte_uses(Query* q)
{
    ListCell* lc;
    foreach (lc, q->cteList) {
        CommonTableExpr* cte = lfirst_node(CommonTableExpr, lc);
        level home{q, nullptr, ""};
        level inner{castNode(Query, cte->ctequery), &home, ""};
        if (cte->cterefcount > 1 && !cte->cterecursive && reads_topic(inner))
            refuse("reading the topic twice", inside("common table expression", cte->ctename),
                   "Use it once, or make a view for each use, all with kafka.into the same table.");
    }
}

} // namespace

Oid check_query(Query* query)
{
    check_everywhere(reinterpret_cast<Node*>(query), nullptr);
    level top{query, nullptr, ""};
    check_cte_uses(query);
    topics found;
    collect(top, &found);
    if (list_length(found.tables) != 1)
        refuse_number(found);
    check_path(top, true);
    return linitial_oid(found.tables);
}

List* topics_read(Query* query)
{
    level top{query, nullptr, ""};
    topics found;
    collect(top, &found);
    return found.tables;
}

} // namespace ke::stream
