#include "stream/changes.h"

extern "C" {
#include "catalog/pg_attribute.h"
#include "catalog/pg_type.h"
#include "foreign/foreign.h"
#include "nodes/nodeFuncs.h"
#include "parser/parsetree.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
}

#include "stream/create.h"
#include "stream/split.h"

namespace ke::stream {

namespace {

bool holds_changes(Oid topic_table)
{
    ListCell* lc;
    foreach (lc, GetForeignTable(topic_table)->options) {
        auto* d = lfirst_node(DefElem, lc);
        if (strcmp(d->defname, "format") == 0)
            return strcmp(strVal(d->arg), "debezium") == 0;
    }
    return false;
}

void keep(request* r, const char* name, const char* value)
{
    r->names = lappend(r->names, makeString(pstrdup(name)));
    r->values = lappend(r->values, makeString(pstrdup(value)));
}

} // namespace

void follow_changes(request* r, const Query* q, Oid topic_table)
{
    const bool updates = !r->on_conflict || strcmp(r->on_conflict, "update") == 0;
    if (!r->key || !updates || r->delete_when || is_grouped(q) || !holds_changes(topic_table))
        return;
    if (get_atttype(topic_table, get_attnum(topic_table, "_op")) != TEXTOID)
        ereport(ERROR,
                (errcode(ERRCODE_UNDEFINED_COLUMN),
                 errmsg("topic table \"%s\" does not tell which changes delete",
                        get_rel_name(topic_table)),
                 errdetail(
                     "A view with \"kafka.key\" on a topic of format debezium follows the source's "
                     "deletes by the column _op."),
                 errhint("ALTER FOREIGN TABLE %s ADD COLUMN _op text, or give kafka.delete_when "
                         "('false': nothing deletes).",
                         quote_identifier(get_rel_name(topic_table)))));
    if (!r->on_conflict)
        keep(r, "on_conflict", "update");
    r->on_conflict = "update";
    // Of a tombstone it is null. Truncate and message events have no key, and so say nothing.
    r->delete_when = "coalesce(_op, 'd') IN ('d', 't', 'm')";
    keep(r, "delete_when", r->delete_when);
}

AttrNumber unavailable_column(Oid topic_table)
{
    if (!holds_changes(topic_table))
        return 0;
    const AttrNumber number = get_attnum(topic_table, "_unavailable");
    return number > 0 && get_atttype(topic_table, number) == TEXTARRAYOID ? number : 0;
}

namespace {

// A query, inside of which expressions stand, and the one around it.
struct level {
    Query* query;
    const level* around;
};

struct search {
    const level* at;
    Oid topic_table;
    Bitmapset* found; // numbers of the topic's columns; 0: the whole row
};

bool look(Node* node, void* context);

void look_from(Node* node, const level* at, search* s)
{
    search inner{at, s->topic_table, s->found};
    (void)look(node, &inner);
    s->found = inner.found;
}

CommonTableExpr* find_cte(const level** at, const RangeTblEntry* rte)
{
    for (Index n = 0; n < rte->ctelevelsup && *at; n++)
        *at = (*at)->around;
    ListCell* lc;
    foreach (lc, *at ? (*at)->query->cteList : NIL)
        if (strcmp(lfirst_node(CommonTableExpr, lc)->ctename, rte->ctename) == 0)
            return lfirst_node(CommonTableExpr, lc);
    return nullptr;
}

void look_at_output(Query* query, const level* around, AttrNumber number, search* s)
{
    const level inside{query, around};
    if (number > 0 && number <= list_length(query->targetList))
        look_from(reinterpret_cast<Node*>(
                      list_nth_node(TargetEntry, query->targetList, number - 1)->expr),
                  &inside, s);
}

void look_at_var(const Var* v, search* s)
{
    const level* at = s->at;
    for (Index n = 0; n < v->varlevelsup && at; n++)
        at = at->around;
    if (!at)
        return;
    RangeTblEntry* rte = rt_fetch(v->varno, at->query->rtable);
    switch (rte->rtekind) {
    case RTE_RELATION:
        if (rte->relid == s->topic_table && v->varattno >= 0)
            s->found = bms_add_member(s->found, v->varattno);
        break;
    case RTE_JOIN:
        if (v->varattno > 0)
            look_from(static_cast<Node*>(list_nth(rte->joinaliasvars, v->varattno - 1)), at, s);
        break;
    case RTE_SUBQUERY:
        look_at_output(rte->subquery, at, v->varattno, s);
        break;
    case RTE_CTE:
        if (CommonTableExpr* cte = find_cte(&at, rte))
            look_at_output(castNode(Query, cte->ctequery), at, v->varattno, s);
        break;
    case RTE_FUNCTION: // of the row beside it
        look_from(reinterpret_cast<Node*>(rte->functions), at, s);
        break;
    case RTE_TABLEFUNC:
        look_from(reinterpret_cast<Node*>(rte->tablefunc), at, s);
        break;
    default:
        break;
    }
}

bool look(Node* node, void* context)
{
    auto* s = static_cast<search*>(context);
    if (!node)
        return false;
    if (IsA(node, Var)) {
        look_at_var(castNode(Var, node), s);
        return false;
    }
    if (!IsA(node, Query))
        return pg::walk_expression(node, look, context);
    const level inside{castNode(Query, node), s->at};
    const level* outside = s->at;
    s->at = &inside;
    (void)pg::walk_query(castNode(Query, node), look, context, 0);
    s->at = outside;
    return false;
}

} // namespace

const char* source_columns(Query* q, const TargetEntry* t, Oid topic_table)
{
    const level top{q, nullptr};
    search s{&top, topic_table, nullptr};
    look_from(reinterpret_cast<Node*>(t->expr), &top, &s);
    if (bms_is_member(0, s.found)) // the whole row
        for (AttrNumber n = 1; get_attname(topic_table, n, true); n++)
            s.found = bms_add_member(s.found, n);
    StringInfoData names;
    initStringInfo(&names);
    for (int n = 0; (n = bms_next_member(s.found, n)) > 0;)
        if (const char* name = get_attname(topic_table, static_cast<AttrNumber>(n), true))
            appendStringInfo(&names, "%s%s", names.len ? ", " : "", quote_literal_cstr(name));
    return names.len ? psprintf("ARRAY[%s]::pg_catalog.text[]", names.data) : nullptr;
}

} // namespace ke::stream

// The state of kafka.newest(value, known): the newest value that is known. Rows come in order.
KE_FUNCTION(kafka_engine_newest_step)
{
    const int from = !PG_ARGISNULL(2) && PG_GETARG_BOOL(2) ? 1 : 0;
    if (PG_ARGISNULL(from))
        PG_RETURN_NULL();
    PG_RETURN_DATUM(PG_GETARG_DATUM(from));
}
