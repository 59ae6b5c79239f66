// Event triggers: what must hold however a statement came (words of TABLE or of MATERIALIZED VIEW,
// CASCADE, DROP OWNED, with or without preload). They look at the catalogs after the fact instead of
// foreseeing what a statement will do. Server's thread, inside the user's statement.
#include "stream/ddl.h"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_proc.h"
#include "commands/event_trigger.h"
#include "commands/tablecmds.h"
#include "storage/lmgr.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
}

#include "stream/registry.h"
#include "stream/sql.h"
#include "stream/target.h"

namespace ke::stream {

namespace {

EventTriggerData* trigger_data(FunctionCallInfo fcinfo)
{
    if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("this function can only be called by an event trigger")));
    return reinterpret_cast<EventTriggerData*>(fcinfo->context);
}

// ------------------------------------------------------------------ ddl_command_start

bool has_our_options(Node* node)
{
    if (IsA(node, CreateTableAsStmt))
        return has_kafka_options(castNode(CreateTableAsStmt, node)->into->options);
    if (!IsA(node, AlterTableStmt))
        return false;
    ListCell* lc;
    foreach (lc, castNode(AlterTableStmt, node)->cmds) {
        auto* cmd = lfirst_node(AlterTableCmd, lc);
        if ((cmd->subtype == AT_SetRelOptions || cmd->subtype == AT_ResetRelOptions) && cmd->def &&
            has_kafka_options(castNode(List, cmd->def)))
            return true;
    }
    return false;
}

// ------------------------------------------------------------------ sql_drop

struct gone_view {
    Oid view;
    Oid query;
    Oid states; // InvalidOid: the view is its own table, or feeds the user's
    Oid body;   // of a stream: its procedure
};

// The views among what was dropped; their rows go from all our tables.
List* forget_views()
{
    MemoryContext outer = CurrentMemoryContext;
    spi_stretch spi;
    spi.begin();
    std::uint64_t n = run("SELECT r.view::oid, r.query::oid, t.oid, b.oid FROM kafka.registry r"
                          " JOIN pg_event_trigger_dropped_objects() d ON d.objid = r.view"
                          " LEFT JOIN pg_class t ON t.oid = r.target"
                          " AND t.relnamespace = 'kafka'::regnamespace"
                          " LEFT JOIN pg_proc b ON b.proname = r.body"
                          " AND b.pronamespace = 'kafka'::regnamespace"
                          " WHERE d.classid = 'pg_class'::regclass AND d.objsubid = 0",
                          {});
    List* gone = NIL;
    MemoryContext inner = MemoryContextSwitchTo(outer);
    for (std::uint64_t i = 0; i < n; i++) {
        auto* g = static_cast<gone_view*>(palloc(sizeof(gone_view)));
        *g = {oid_field(i, 1), oid_field(i, 2), oid_field(i, 3), oid_field(i, 4)};
        gone = lappend(gone, g);
    }
    MemoryContextSwitchTo(inner);
    static const char* const statements[] = {"DELETE FROM kafka.registry WHERE view = $1",
                                             "DELETE FROM kafka.progress WHERE view = $1",
                                             "DELETE FROM kafka.begun WHERE view = $1",
                                             "DELETE FROM kafka.gap_log WHERE view = $1",
                                             "DELETE FROM kafka.dead_letter_log WHERE view = $1",
                                             "DELETE FROM kafka.skip_log WHERE view = $1",
                                             "DELETE FROM kafka.state_log WHERE view = $1"};
    ListCell* lc;
    foreach (lc, gone) {
        // No batch is under way from here on: none moves the rows that are deleted.
        LockRelationOid(static_cast<gone_view*>(lfirst(lc))->query, AccessExclusiveLock);
        sql_arguments a;
        a.add_oid(static_cast<gone_view*>(lfirst(lc))->view);
        for (const char* sql : statements)
            run(sql, a);
    }
    spi.end();
    return gone;
}

DropBehavior behavior_of(Node* node)
{
    if (IsA(node, DropStmt))
        return castNode(DropStmt, node)->behavior;
    if (IsA(node, DropOwnedStmt))
        return castNode(DropOwnedStmt, node)->behavior;
    return DROP_RESTRICT;
}

// Nobody sees the hidden view and the table of states go: they are part of the view.
void drop_hidden(Oid relation, DropBehavior behavior)
{
    if (!OidIsValid(relation) || !SearchSysCacheExists1(RELOID, ObjectIdGetDatum(relation)))
        return;
    privileged who = begin_privileged();
    LockRelationOid(relation, AccessExclusiveLock);
    ObjectAddress address;
    ObjectAddressSet(address, RelationRelationId, relation);
    performDeletion(&address, behavior, PERFORM_DELETION_INTERNAL);
    end_privileged(who);
}

void drop_body(Oid procedure, DropBehavior behavior)
{
    if (!OidIsValid(procedure) || !SearchSysCacheExists1(PROCOID, ObjectIdGetDatum(procedure)))
        return;
    privileged who = begin_privileged();
    ObjectAddress address;
    ObjectAddressSet(address, ProcedureRelationId, procedure);
    performDeletion(&address, behavior, PERFORM_DELETION_INTERNAL);
    end_privileged(who);
}

// ------------------------------------------------------------------ ddl_command_end

// Hidden views and tables of states belong to whom their views belong, since the query runs as that
// role.
void follow_owners()
{
    spi_stretch spi;
    spi.begin();
    std::uint64_t n = run("SELECT q.oid, v.relowner FROM kafka.registry r"
                          " JOIN pg_class v ON v.oid = r.view JOIN pg_class q ON q.oid = r.query"
                          " OR q.oid = r.target AND q.relnamespace = 'kafka'::regnamespace"
                          " WHERE v.relowner <> q.relowner ORDER BY q.oid",
                          {});
    for (std::uint64_t i = 0; i < n; i++) {
        LockRelationOid(oid_field(i, 1), AccessExclusiveLock);
        ATExecChangeOwner(oid_field(i, 1), oid_field(i, 2), false, AccessExclusiveLock);
    }
    n = run(
        "SELECT format('ALTER PROCEDURE kafka.%I() OWNER TO %s', b.proname, v.relowner::regrole)"
        " FROM kafka.registry r JOIN pg_class v ON v.oid = r.view JOIN pg_proc b"
        " ON b.proname = r.body AND b.pronamespace = 'kafka'::regnamespace"
        " WHERE v.relowner <> b.proowner",
        {});
    List* statements = NIL;
    for (std::uint64_t i = 0; i < n; i++)
        statements = lappend(statements, field(i, 1));
    ListCell* lc;
    foreach (lc, statements)
        run(static_cast<const char*>(lfirst(lc)), {});
    spi.end();
}

// Columns that are fed: still there, and still taking what the query gives.
void check_fed_columns()
{
    sql_arguments here; // rows on their way in by a restore have other numbers
    here.add_oid(MyDatabaseId);
    spi_stretch spi;
    spi.begin();
    std::uint64_t n = run(
        "SELECT r.target::oid, r.view::oid, c.attname, c.atttypid, a.attnum::int4::oid"
        " FROM kafka.registry r CROSS JOIN unnest(r.target_columns) WITH ORDINALITY u (attnum, n)"
        " JOIN pg_attribute a ON a.attrelid = r.target AND a.attnum = u.attnum"
        " JOIN pg_attribute c ON c.attrelid = r.query AND c.attnum = u.n"
        " WHERE r.database = $1 AND (a.attisdropped OR a.attgenerated <> '' OR a.attidentity = 'a'"
        " OR a.atttypid <> c.atttypid) ORDER BY 1, 5",
        here);
    for (std::uint64_t i = 0; i < n; i++) {
        Oid target = oid_field(i, 1);
        HeapTuple tuple = SearchSysCacheAttNum(target, AttrNumber(oid_field(i, 5)));
        if (!HeapTupleIsValid(tuple))
            ereport(ERROR,
                    (errcode(ERRCODE_DEPENDENT_OBJECTS_STILL_EXIST),
                     errmsg("cannot drop a column of \"%s\" that a continuous view feeds",
                            get_rel_name(target)),
                     errdetail("The query of \"%s\" gives its column \"%s\".",
                               get_rel_name(oid_field(i, 2)), field(i, 3)),
                     errhint("Drop the continuous view first, and create it anew without the "
                             "column.")));
        check_column(target, reinterpret_cast<Form_pg_attribute>(GETSTRUCT(tuple)),
                     oid_field(i, 4));
        ReleaseSysCache(tuple);
    }
    // The names are for a restore.
    run("UPDATE kafka.registry r SET target_names = n.names FROM (SELECT f.view, array_agg(a.attname"
        " ORDER BY u.n) AS names FROM kafka.registry f CROSS JOIN unnest(f.target_columns)"
        " WITH ORDINALITY u (attnum, n) JOIN pg_attribute a ON a.attrelid = f.target"
        " AND a.attnum = u.attnum WHERE f.database = $1 GROUP BY f.view) n"
        " WHERE n.view = r.view AND n.names <> r.target_names",
        here);
    spi.end();
}

void check_targets()
{
    spi_stretch spi;
    spi.begin();
    std::uint64_t n = run("SELECT DISTINCT target::oid FROM kafka.registry"
                          " WHERE body IS NULL ORDER BY 1",
                          {});
    for (std::uint64_t i = 0; i < n; i++)
        check_target(oid_field(i, 1));
    spi.end();
}

// Whether the statement changed a relation that a continuous view is made of.
bool touches_ours()
{
    spi_stretch spi;
    spi.begin();
    bool yes = run("SELECT 1 FROM pg_event_trigger_ddl_commands() d JOIN kafka.registry r"
                   " ON d.objid IN (r.view, r.query, r.topic_table, r.target)"
                   " WHERE d.classid = 'pg_class'::regclass",
                   {}, 1) > 0;
    spi.end();
    return yes;
}

bool any_views()
{
    spi_stretch spi;
    spi.begin();
    bool yes = run("SELECT 1 FROM kafka.registry", {}, 1) > 0;
    spi.end();
    return yes;
}

enum class concern : char { none, tables, rights };

// What a statement may have changed for us. rights: logins, servers and privileges as well, which
// concern workers at once.
concern concern_of(Node* node)
{
    switch (nodeTag(node)) {
    case T_CreateStmt:
    case T_CreateForeignTableStmt: // only as a partition of a table that is fed
        return reinterpret_cast<CreateStmt*>(node)->partbound ? concern::tables : concern::none;
    case T_AlterTableStmt:
    case T_RenameStmt:
    case T_AlterObjectSchemaStmt:
    case T_AlterTableMoveAllStmt:
        return concern::tables;
    default:
        return concern::rights;
    }
}

void look_again(Node* node)
{
    concern about = concern_of(node);
    if (about == concern::none || !registry_exists() || !any_views())
        return;
    if (about == concern::tables) {
        follow_owners();
        check_targets();
        check_fed_columns();
    }
    if (about == concern::rights || touches_ours())
        notify_at_commit();
}

} // namespace

} // namespace ke::stream

// Without preload the server itself would meet our options, and not know them.
KE_FUNCTION(kafka_engine_on_ddl_start)
{
    if (ke::stream::has_our_options(ke::stream::trigger_data(fcinfo)->parsetree))
        ke::stream::check_preloaded();
    PG_RETURN_NULL();
}

KE_FUNCTION(kafka_engine_on_ddl_end)
{
    ke::stream::look_again(ke::stream::trigger_data(fcinfo)->parsetree);
    PG_RETURN_NULL();
}

KE_FUNCTION(kafka_engine_on_drop)
{
    Node* node = ke::stream::trigger_data(fcinfo)->parsetree;
    if (!ke::stream::registry_exists())
        PG_RETURN_NULL();
    List* gone = ke::stream::forget_views();
    ListCell* lc;
    foreach (lc, gone) {
        auto* g = static_cast<ke::stream::gone_view*>(lfirst(lc));
        ke::stream::drop_hidden(g->query, ke::stream::behavior_of(node));
        ke::stream::drop_hidden(g->states, ke::stream::behavior_of(node));
        ke::stream::drop_body(g->body, ke::stream::behavior_of(node));
    }
    if (gone != NIL)
        ke::stream::notify_at_commit();
    PG_RETURN_NULL();
}
