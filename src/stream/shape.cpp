#include "stream/shape.h"

extern "C" {
#include "catalog/pg_type.h"
#include "nodes/primnodes.h"
#include "parser/parsetree.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

#include "pg/tuples.h"
#include "stream/writer.h"

namespace ke::stream {

const ModifyTable* plain_insert(const PlannedStmt* statement)
{
    if (statement->commandType != CMD_INSERT || statement->hasReturning ||
        statement->hasModifyingCTE || !IsA(statement->planTree, ModifyTable))
        return nullptr;
    auto* top = castNode(ModifyTable, statement->planTree);
    if (top->plan.initPlan != NIL || top->withCheckOptionLists != NIL ||
        top->onConflictAction != ONCONFLICT_NONE || list_length(top->resultRelations) != 1)
        return nullptr;
    ListCell* cell;
    foreach (cell, outerPlan(top)->targetlist)
        if (lfirst_node(TargetEntry, cell)->resjunk)
            return nullptr;
    return top;
}

namespace {

// The scan below an insert where it reads the topic; else null.
const ForeignScan* bare_scan(const PlannedStmt* statement, const ModifyTable* top, Oid topic_table)
{
    Plan* below = outerPlan(top);
    if (!IsA(below, ForeignScan) || below->initPlan != NIL)
        return nullptr;
    auto* scan = castNode(ForeignScan, below);
    if (scan->scan.scanrelid == 0 || scan->fdw_scan_tlist != NIL ||
        rt_fetch(scan->scan.scanrelid, statement->rtable)->relid != topic_table)
        return nullptr;
    return scan;
}

// The topic's attribute that an expression is; 0: it is NULL; -1: it is anything else.
int topic_attribute(Expr* e, Index scan)
{
    while (IsA(e, RelabelType))
        e = castNode(RelabelType, e)->arg;
    if (IsA(e, Const))
        return castNode(Const, e)->constisnull ? 0 : -1;
    if (!IsA(e, Var))
        return -1;
    auto* v = castNode(Var, e);
    return v->varno == static_cast<int>(scan) && v->varattno > 0 && v->varlevelsup == 0
               ? v->varattno
               : -1;
}

bool find_attributes(Relation target, const ForeignScan* scan, plain_shape* s)
{
    TupleDesc tuple = RelationGetDescr(target);
    List* list = scan->scan.plan.targetlist;
    if (!takes_tuples(target) || tuple->natts != list_length(list))
        return false;
    s->count = tuple->natts;
    s->attributes = static_cast<decode::tuple_attribute*>(
        palloc(sizeof(decode::tuple_attribute) * (tuple->natts + 1)));
    for (int i = 0; i < tuple->natts; i++) {
        const FormData_pg_attribute* a = TupleDescAttr(tuple, i);
        Expr* e = list_nth_node(TargetEntry, list, i)->expr;
        decode::tuple_attribute& to = s->attributes[i];
        to = {decode::tuple_kind::absent, topic_attribute(e, scan->scan.scanrelid)};
        if (to.cell < 0)
            return false;
        if (to.cell > 0 && (a->attisdropped || get_typtype(a->atttypid) == TYPTYPE_DOMAIN ||
                            get_typtype(exprType(reinterpret_cast<Node*>(e))) == TYPTYPE_DOMAIN ||
                            !pg::kind_in_tuple(a, &to.kind)))
            return false;
    }
    return true;
}

} // namespace

plain_shape* find_shape(const PlannedStmt* statement, Oid topic_table)
{
    const ModifyTable* top = plain_insert(statement);
    const ForeignScan* scan = top ? bare_scan(statement, top, topic_table) : nullptr;
    if (!scan)
        return nullptr;
    auto* s = static_cast<plain_shape*>(palloc0(sizeof(plain_shape)));
    s->filters = scan->scan.plan.qual;
    Oid target = rt_fetch(linitial_int(top->resultRelations), statement->rtable)->relid;
    Relation table = RelationIdGetRelation(target);
    if (!RelationIsValid(table))
        return nullptr;
    bool found = find_attributes(table, scan, s);
    RelationClose(table);
    return found ? s : nullptr;
}

std::optional<decode::tuple_layout> make_layout(const tuple_shape& shape,
                                                const topic::decode_columns& columns)
{
    if (shape.empty())
        return std::nullopt;
    decode::tuple_layout layout{shape, pg::most_size_of_tuples()};
    for (decode::tuple_attribute& a : layout.attributes) {
        if (a.kind == decode::tuple_kind::absent)
            continue;
        const auto at = static_cast<std::size_t>(a.cell - 1);
        a.cell = at < columns.cell_of_attribute.size() ? columns.cell_of_attribute[at] : -1;
        if (a.cell < 0)
            return std::nullopt;
        const decode::type_desc& type =
            columns.plan->columns[static_cast<std::size_t>(a.cell)].type;
        if (type.type == decode::cell_type::other || type.type == decode::cell_type::jsonb)
            return std::nullopt;
    }
    return layout;
}

} // namespace ke::stream
