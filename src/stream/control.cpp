// kafka.pause, kafka.resume, kafka.seek and kafka.create_view. All transactional, for the view's owner.
// Locks: the registry row, then all progress rows, so that no batch of the view commits between them
// and the end of the transaction (registry.h says how workers keep their side).
#include "stream/create.h"
#include "stream/ddl.h"

extern "C" {
#include "nodes/makefuncs.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "storage/lmgr.h"
#include "tcop/dest.h"
#include "tcop/utility.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"
}

#include "stream/registry.h"
#include "stream/restored.h"
#include "stream/sql.h"
#include "stream/start.h"
#include "topic/batch.h"

namespace ke::stream {

namespace {

[[noreturn]] void refuse_unknown(Oid view)
{
    const char* name = get_rel_name(view);
    ereport(ERROR, (errcode(name ? ERRCODE_WRONG_OBJECT_TYPE : ERRCODE_UNDEFINED_TABLE),
                    name ? errmsg("\"%s\" is not a continuous view", name)
                         : errmsg("relation with OID %u does not exist", view),
                    errhint("kafka.views lists the continuous views of this database.")));
    pg_unreachable();
}

} // namespace

void refuse_in_batch()
{
    if (topic::current_batch)
        ereport(ERROR, (errcode(ERRCODE_INVALID_OBJECT_DEFINITION),
                        errmsg("what a view or stream runs cannot make, change or move "
                               "continuous views"),
                        errhint("Do it in a session.")));
}

handled_view look_up(Oid view, bool lock)
{
    refuse_in_batch();
    MemoryContext outer = CurrentMemoryContext;
    sql_arguments a;
    a.add_oid(view);
    spi_stretch spi;
    spi.begin();
    const char* sql =
        "SELECT q.oid, r.topic_table::oid, q.relowner, r.state, coalesce(r.options->>'group_id',"
        " current_database() || '.' || n.nspname || '.' || v.relname)"
        " FROM kafka.registry r JOIN pg_class q ON q.oid = r.query JOIN pg_class v ON v.oid = r.view"
        " JOIN pg_namespace n ON n.oid = v.relnamespace WHERE r.view = $1";
    bool found = run(lock ? psprintf("%s FOR UPDATE OF r", sql) : sql, a) == 1;
    handled_view h{};
    if (found)
        h = {oid_field(0, 1), oid_field(0, 2), oid_field(0, 3),
             MemoryContextStrdup(outer, field(0, 4)), MemoryContextStrdup(outer, field(0, 5))};
    spi.end();
    if (!found)
        refuse_unknown(view);
    if (!pg::owns_relation(view, GetUserId()))
        aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_MATVIEW, get_rel_name(view));
    return h;
}

void keep_batches_off(Oid query)
{
    LockRelationOid(query, ExclusiveLock);
}

void lock_positions(Oid view)
{
    sql_arguments a;
    a.add_oid(view);
    spi_stretch spi;
    spi.begin();
    run("SELECT 1 FROM kafka.progress WHERE view = $1 ORDER BY topic, partition FOR UPDATE", a);
    spi.end();
}

namespace {

void set_state(Oid view, const char* state, const char* reason)
{
    sql_arguments a;
    a.add_oid(view);
    a.add_text(state);
    a.add_text(reason);
    spi_stretch spi;
    spi.begin();
    run("UPDATE kafka.registry SET state = $2, reason = $3, since = clock_timestamp() WHERE view = $1",
        a);
    spi.end();
    notify_at_commit();
}

void pause(Oid view)
{
    keep_batches_off(look_up(view, false).query); // rights before locks
    handled_view h = look_up(view, true);
    lock_positions(view);
    if (strcmp(h.state, "paused") == 0)
        return;
    const char* reason = psprintf("paused by %s", GetUserNameFromId(GetUserId(), false));
    set_state(view, "paused", reason);
    log_state(view, "paused", reason);
}

void resume(Oid view)
{
    look_up(view, false);
    if (adopt_copies(GetUserNameFromId(GetUserId(), false)))
        record_dependencies();
    if (strcmp(look_up(view, false).state, "active") == 0)
        return; // without a lock, which would keep the view from being stopped
    handled_view h = look_up(view, true);
    if (strcmp(h.state, "active") == 0)
        return;
    set_state(view, "active", nullptr);
    log_state(view, "starting", "resumed");
}

void seek(Oid view, const char* to)
{
    // The broker is asked before anything is locked.
    handled_view h = look_up(view, false);
    start_positions p = resolve_start(h.topic_table, h.owner, to, h.group);
    keep_batches_off(h.query);
    h = look_up(view, true);
    lock_positions(view);
    write_positions(view, p);
    sql_arguments a;
    a.add_oid(view);
    a.add_text(p.cluster_id);
    spi_stretch spi;
    spi.begin();
    // Where the broker was not asked the worker notes anew which cluster it reads; but positions that a
    // map left where they are, with what was read last, are of the one that was noted.
    run("UPDATE kafka.registry SET cluster_id = $2 WHERE view = $1 AND NOT EXISTS"
        " (SELECT FROM kafka.progress p WHERE p.view = $1 AND p.mark_offset IS NOT NULL)",
        a);
    spi.end();
    log_state(view, h.state, psprintf("seek to %s", to));
    notify_at_commit();
    ereport(NOTICE,
            (errmsg("rows already stored in \"%s\" stay", get_rel_name(view)),
             errdetail("Records that are read again are stored again; those skipped are not "
                       "stored.")));
}

// ------------------------------------------------------------------ create_view

} // namespace

List* definitions_of(Jsonb* options)
{
    if (!JB_ROOT_IS_OBJECT(options))
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("options of a continuous view must be a JSON object"),
                        errhint("For example '{\"start\": \"latest\"}'.")));
    MemoryContext outer = CurrentMemoryContext;
    sql_arguments a;
    a.add(JSONBOID, JsonbPGetDatum(options));
    spi_stretch spi;
    spi.begin();
    std::uint64_t n = run("SELECT key, value FROM jsonb_each_text($1) WHERE value IS NOT NULL", a);
    MemoryContext inner = MemoryContextSwitchTo(outer);
    char* space = pstrdup("kafka");
    List* list =
        list_make1(makeDefElemExtended(space, pstrdup("continuous"), nullptr, DEFELEM_UNSPEC, -1));
    for (std::uint64_t i = 0; i < n; i++)
        list = lappend(
            list, makeDefElemExtended(space, pstrdup(field(i, 1)),
                                      reinterpret_cast<Node*>(makeString(pstrdup(field(i, 2)))),
                                      DEFELEM_UNSPEC, -1));
    MemoryContextSwitchTo(inner);
    spi.end();
    return list;
}

Node* parse_select(const char* text)
{
    List* statements = raw_parser(text, RAW_PARSE_DEFAULT);
    Node* one = list_length(statements) == 1 ? linitial_node(RawStmt, statements)->stmt : nullptr;
    if (!one || !IsA(one, SelectStmt) || castNode(SelectStmt, one)->intoClause)
        ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
                        errmsg("the query of a continuous view must be one SELECT")));
    return one;
}

namespace {

// The statement that the DDL would be, through the same door.
void create_view(const char* name, const char* query_text, Jsonb* options)
{
    RangeVar* view = makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(name)));
    CreateTableAsStmt* create = makeNode(CreateTableAsStmt);
    create->query = parse_select(query_text);
    create->objtype = OBJECT_MATVIEW;
    create->into = makeNode(IntoClause);
    create->into->rel = view;
    create->into->options = definitions_of(options);
    create->into->onCommit = ONCOMMIT_NOOP;
    RawStmt* raw = makeNode(RawStmt);
    raw->stmt = reinterpret_cast<Node*>(create);
    Query* query = parse_analyze_fixedparams(raw, query_text, nullptr, 0, nullptr);

    PlannedStmt* stmt = makeNode(PlannedStmt);
    stmt->commandType = CMD_UTILITY;
    stmt->utilityStmt = query->utilityStmt;
    ProcessUtility(stmt, query_text, false, PROCESS_UTILITY_QUERY, nullptr, nullptr, None_Receiver,
                   nullptr);
}

char* text_argument(FunctionCallInfo fcinfo, int n)
{
    return text_to_cstring(PG_GETARG_TEXT_PP(n));
}

} // namespace

} // namespace ke::stream

KE_FUNCTION(kafka_engine_pause)
{
    ke::stream::pause(PG_GETARG_OID(0));
    PG_RETURN_VOID();
}

KE_FUNCTION(kafka_engine_resume)
{
    ke::stream::resume(PG_GETARG_OID(0));
    PG_RETURN_VOID();
}

KE_FUNCTION(kafka_engine_seek)
{
    ke::stream::seek(PG_GETARG_OID(0), ke::stream::text_argument(fcinfo, 1));
    PG_RETURN_VOID();
}

KE_FUNCTION(kafka_engine_create_view)
{
    ke::stream::create_view(ke::stream::text_argument(fcinfo, 0),
                            ke::stream::text_argument(fcinfo, 1), PG_GETARG_JSONB_P(2));
    PG_RETURN_VOID();
}
