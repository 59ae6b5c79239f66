// kafka.replace_query: another query for a view, or other statements for a stream, from the next record
// on; positions and rows stay. A query must give the columns that are there, kept alike: the hidden view's
// (and of views that finish states, the view's) rule is replaced. Server's thread, in the user's
// transaction; workers see the hidden view change and plan anew.
#include "stream/ddl.h"

extern "C" {
#include "access/table.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_proc.h"
#include "commands/view.h"
#include "nodes/nodeFuncs.h"
#include "parser/analyze.h"
#include "parser/parsetree.h"
#include "rewrite/rewriteHandler.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
}

#include "stream/body.h"
#include "stream/create.h"
#include "stream/query_check.h"
#include "stream/registry.h"
#include "stream/relations.h"
#include "stream/restored.h"
#include "stream/sql.h"
#include "stream/statements.h"

namespace ke::stream {

namespace {

// What of a registration matters here; strings in the caller's context, null where not given.
struct registration {
    Oid target;
    request given;
    const char* body;
    List* shown; // names of v's columns that the query gives, in its order
};

registration read_registration(Oid view)
{
    MemoryContext outer = CurrentMemoryContext;
    sql_arguments a;
    a.add_oid(view);
    spi_stretch spi;
    spi.begin();
    run("SELECT r.target::oid, r.options->>'key', r.options->>'on_conflict', r.options->>'delete_when',"
        " r.body, a.attname FROM kafka.registry r LEFT JOIN pg_class c ON c.oid = r.view"
        " LEFT JOIN LATERAL (SELECT b.attname, b.attnum::int AS n FROM pg_attribute b"
        " WHERE c.relkind = 'v' AND b.attrelid = r.view AND b.attnum > 0 UNION ALL"
        " SELECT b.attname, u.n FROM unnest(r.target_columns) WITH ORDINALITY u (attnum, n)"
        " JOIN pg_attribute b ON b.attrelid = r.view AND b.attnum = u.attnum WHERE c.relkind <> 'v') a"
        " ON true WHERE r.view = $1 ORDER BY a.n",
        a);
    registration r{};
    MemoryContext inner = MemoryContextSwitchTo(outer);
    auto copy = [](const char* s) { return s ? pstrdup(s) : nullptr; };
    r.target = oid_field(0, 1);
    r.given.key = copy(field(0, 2));
    r.given.on_conflict = copy(field(0, 3));
    r.given.delete_when = copy(field(0, 4));
    r.body = copy(field(0, 5));
    for (std::uint64_t i = 0; i < SPI_processed; i++)
        if (const char* name = field(i, 6))
            r.shown = lappend(r.shown, makeString(pstrdup(name)));
    MemoryContextSwitchTo(inner);
    spi.end();
    return r;
}

[[noreturn]] void refuse_columns(Oid view, const char* detail)
{
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
             errmsg("the new query does not give the columns of view \"%s\"", get_rel_name(view)),
             errdetail("%s", detail),
             errhint("Columns keep their order, names, types and aggregates. For others create "
                     "another view.")));
    pg_unreachable();
}

// What a column of a view is declared to be must be what its query gives, to the letter: the planner
// believes it, and no value is checked against it a second time.
const char* difference(Oid relation, AttrNumber number, Node* expr)
{
    Oid type, collation;
    int32 modifier;
    get_atttypetypmodcoll(relation, number, &type, &modifier, &collation);
    if (type != exprType(expr) || (modifier >= 0 && modifier != exprTypmod(expr)))
        return psprintf("is of type %s, not %s", format_type_with_typemod(type, modifier),
                        format_type_with_typemod(exprType(expr), exprTypmod(expr)));
    if (collation != exprCollation(expr))
        return psprintf("has collation %s, not %s", generate_collation_name(collation),
                        OidIsValid(exprCollation(expr))
                            ? generate_collation_name(exprCollation(expr))
                            : "none that is certain");
    return nullptr;
}

// typed: the relation whose first columns have the types that the query gave so far.
void check_shown(Oid view, Oid typed, Query* query, List* names)
{
    int n = 0;
    ListCell* lc;
    foreach (lc, query->targetList) {
        auto* e = lfirst_node(TargetEntry, lc);
        if (e->resjunk)
            continue;
        const char* wanted = n < list_length(names) ? strVal(list_nth(names, n)) : nullptr;
        if (!wanted)
            refuse_columns(view, psprintf("It has more columns: \"%s\".", e->resname));
        if (strcmp(wanted, e->resname) != 0)
            refuse_columns(view,
                           psprintf("Column %d is \"%s\", not \"%s\".", n + 1, wanted, e->resname));
        n++;
        if (const char* other =
                difference(typed, static_cast<AttrNumber>(n), reinterpret_cast<Node*>(e->expr)))
            refuse_columns(view, psprintf("Column \"%s\" %s.", wanted, other));
    }
    if (n < list_length(names))
        refuse_columns(view, psprintf("Column \"%s\" is missing.", strVal(list_nth(names, n))));
}

// Under the names that the hidden view has had since it was made, whatever the view's are now.
void take_names(Query* query, Oid hidden)
{
    ListCell* lc;
    foreach (lc, query->targetList) {
        auto* e = lfirst_node(TargetEntry, lc);
        if (!e->resjunk)
            e->resname = get_attname(hidden, e->resno, false);
    }
}

void check_stored(Oid view, Oid hidden, Query* partial, bool grouped)
{
    Relation rel = table_open(hidden, NoLock);
    Query* old = static_cast<Query*>(copyObjectImpl(get_view_query(rel)));
    const int count = RelationGetNumberOfAttributes(rel);
    bool alike = count == list_length(partial->targetList) && is_grouped(old) == grouped;
    for (int i = 0; alike && i < count; i++) {
        Node* expr =
            reinterpret_cast<Node*>(list_nth_node(TargetEntry, partial->targetList, i)->expr);
        alike = !difference(hidden, static_cast<AttrNumber>(i + 1), expr);
    }
    table_close(rel, NoLock);
    if (!alike || (grouped && !merge_alike(old, partial)))
        refuse_columns(view, "What is kept for them, or how batches are merged, would be another.");
}

void replace_view_query(Oid view, const handled_view& h, const registration& r, const char* text)
{
    RawStmt* raw = makeNode(RawStmt);
    raw->stmt = parse_select(text);
    Query* query = parse_analyze_fixedparams(raw, text, nullptr, 0, nullptr);
    const Oid topic_table = check_query(query);
    if (topic_table != h.topic_table)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("the new query reads \"%s\", the view reads \"%s\"",
                               get_rel_name(topic_table), get_rel_name(h.topic_table)),
                        errhint("Positions belong to a topic table. Create another view.")));
    check_rights_everywhere(query);
    const bool finishes =
        r.target != view && get_rel_namespace(r.target) == get_namespace_oid("kafka", false);
    check_shown(view, finishes ? view : h.query, query, r.shown);
    const bool grouped = is_grouped(query);
    if (!grouped)
        take_names(query, h.query);
    request given = r.given;
    // The query's own columns, the order of arrival, whether the row deletes.
    const int kept = list_length(r.shown) + 1 + (given.delete_when ? 1 : 0);
    Relation hidden = table_open(h.query, NoLock);
    given.unavailable = RelationGetNumberOfAttributes(hidden) > kept;
    table_close(hidden, NoLock);
    judged j = judge(query, topic_table, given);
    check_stored(view, h.query, j.parts.partial, grouped);
    take_names(j.parts.partial, h.query);
    if (finishes != (j.parts.final != nullptr))
        refuse_columns(view, "Its rows would be finished in another way.");

    privileged who = begin_privileged();
    StoreViewQuery(h.query, j.parts.partial, true);
    if (finishes) {
        complete_final(j.parts.final, r.target);
        StoreViewQuery(view, j.parts.final, true);
    }
    end_privileged(who);
    CommandCounterIncrement();
}

void replace_statements(Oid view, const handled_view& h, const registration& r, const char* text)
{
    List* queries = judge_statements(text, h.topic_table);
    const Oid old = find_body(r.body);
    privileged who = begin_privileged();
    (void)deleteDependencyRecordsForSpecific(RelationRelationId, view, DEPENDENCY_NORMAL,
                                             ProcedureRelationId, old);
    CommandCounterIncrement();
    ObjectAddress address, relation;
    ObjectAddressSet(address, ProcedureRelationId, old);
    performDeletion(&address, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
    end_privileged(who);
    CommandCounterIncrement();
    ObjectAddress body = make_body(r.body, queries, h.owner);
    ObjectAddressSet(relation, RelationRelationId, view);
    recordDependencyOn(&relation, &body, DEPENDENCY_NORMAL);
    CommandCounterIncrement();
}

void replace_query(Oid view, const char* text)
{
    (void)look_up(view, false); // rights before locks
    if (adopt_copies(GetUserNameFromId(GetUserId(), false)))
        record_dependencies();
    LockRelationOid(view, AccessExclusiveLock);
    handled_view h = look_up(view, false);
    LockRelationOid(h.query, AccessExclusiveLock);
    h = look_up(view, true);
    const registration r = read_registration(view);
    if (r.body)
        replace_statements(view, h, r, text);
    else
        replace_view_query(view, h, r, text);
    log_state(view, h.state, "query replaced");
    notify_at_commit();
}

} // namespace

} // namespace ke::stream

KE_FUNCTION(kafka_engine_replace_query)
{
    char* query = text_to_cstring(PG_GETARG_TEXT_PP(1));
    ke::stream::replace_query(PG_GETARG_OID(0), query);
    PG_RETURN_VOID();
}
