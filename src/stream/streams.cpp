// kafka.create_stream and kafka.drop_stream. A stream is a continuous view without rows: its relation is
// a view that only stands for it, so that names, owners, comments, pause and seek are what they are for
// views; what it does is a procedure's body (body.h). Dependencies go one way, from the relation to the
// procedure. Server's thread, in the user's transaction.
#include "stream/ddl.h"

extern "C" {
#include "access/xact.h"
#include "catalog/dependency.h"
#include "commands/defrem.h"
#include "commands/view.h"
#include "foreign/foreign.h"
#include "nodes/makefuncs.h"
#include "parser/parser.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"
}

#include "stream/body.h"
#include "stream/create.h"
#include "stream/registry.h"
#include "stream/sql.h"
#include "topic/topic.h"

namespace ke::stream {

namespace {

RangeVar* relation_of(const char* name)
{
    return makeRangeVarFromNameList(textToQualifiedNameList(cstring_to_text(name)));
}

// Options that say how rows are stored are not a stream's.
void check_stream_options(const request& r)
{
    const struct {
        const char* value;
        const char* name;
    } ofs_views[] = {{r.into, "into"},
                     {r.key, "key"},
                     {r.on_conflict, "on_conflict"},
                     {r.delete_when, "delete_when"}};
    for (const auto& o : ofs_views)
        if (o.value)
            ereport(ERROR, (errcode(ERRCODE_FDW_INVALID_OPTION_NAME),
                            errmsg("option \"kafka.%s\" is for views, not for streams", o.name),
                            errhint("The statement itself says what becomes of the rows.")));
}

void check_topic_table(Oid topic_table)
{
    const char* name = get_rel_name(topic_table);
    if (!name)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("relation with OID %u does not exist", topic_table)));
    if (!topic::is_topic_table(topic_table))
        ereport(ERROR,
                (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a topic table", name),
                 errhint("Name a foreign table of the kafka wrapper.")));
    if (pg_class_aclcheck(topic_table, GetUserId(), ACL_SELECT) != ACLCHECK_OK &&
        pg_attribute_aclcheck_all(topic_table, GetUserId(), ACL_SELECT, ACLMASK_ANY) != ACLCHECK_OK)
        aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_FOREIGN_TABLE, name);
    check_server_right(topic_table);
}

// No rows, and no reading when it is looked at.
ObjectAddress make_standing_view(RangeVar* name, Oid topic_table)
{
    const char* text =
        psprintf("SELECT t.tableoid::pg_catalog.regclass AS topic_table FROM %s t WHERE false",
                 quote_qualified_identifier(get_namespace_name(get_rel_namespace(topic_table)),
                                            get_rel_name(topic_table)));
    ViewStmt* view = makeNode(ViewStmt);
    view->view = name;
    view->query = linitial_node(RawStmt, raw_parser(text, RAW_PARSE_DEFAULT))->stmt;
    view->withCheckOption = NO_CHECK_OPTION;
    ObjectAddress made = DefineView(view, text, 0, 0);
    CommandCounterIncrement();
    return made;
}

// A free name for the body.
const char* body_name(const char* stream, Oid view)
{
    const char* name = makeObjectName("q", stream, psprintf("%u", view));
    if (OidIsValid(find_body(name)))
        ereport(ERROR, (errcode(ERRCODE_DUPLICATE_FUNCTION),
                        errmsg("procedure kafka.%s exists already", quote_identifier(name))));
    return name;
}

void create_stream(const char* name, Oid topic_table, const char* text, Jsonb* options)
{
    check_preloaded();
    List* definitions = definitions_of(options);
    request r = take_options(&definitions);
    check_stream_options(r);
    LockRelationOid(topic_table, AccessShareLock);
    check_topic_table(topic_table);
    RangeVar* rel = relation_of(name);
    (void)exists_already(rel, false);
    List* queries = judge_statements(text, topic_table);
    fill_defaults(&r, topic_table, rel);
    start_positions start = resolve_start(topic_table, GetUserId(), r.start, r.group);

    made_view v{};
    v.topic_table = topic_table;
    v.view = make_standing_view(rel, topic_table);
    v.query = v.target = v.view.objectId;
    v.body = body_name(rel->relname, v.view.objectId);
    ObjectAddress body = make_body(v.body, queries, GetUserId());
    recordDependencyOn(&v.view, &body, DEPENDENCY_NORMAL);
    register_view(v, r, start);
    notify_at_commit();
}

void drop_stream(const char* name)
{
    RangeVar* rel = relation_of(name);
    const Oid relid = RangeVarGetRelid(rel, NoLock, false);
    sql_arguments a;
    a.add_oid(relid);
    spi_stretch spi;
    spi.begin();
    const bool found =
        run("SELECT 1 FROM kafka.registry WHERE view = $1 AND body IS NOT NULL", a) > 0;
    spi.end();
    if (!found)
        ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a stream", name),
                        errhint("DROP MATERIALIZED VIEW drops a continuous view.")));
    // The server's own words for the rest: whose it is, what depends on it.
    const char* sql = psprintf(
        "DROP VIEW %s", quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
                                                   get_rel_name(relid)));
    if (SPI_connect() != SPI_OK_CONNECT)
        elog(ERROR, "SPI_connect failed");
    (void)SPI_execute(sql, false, 0);
    SPI_finish();
}

} // namespace

} // namespace ke::stream

KE_FUNCTION(kafka_engine_create_stream)
{
    char* name = text_to_cstring(PG_GETARG_TEXT_PP(0));
    char* statement = text_to_cstring(PG_GETARG_TEXT_PP(2));
    ke::stream::create_stream(name, PG_GETARG_OID(1), statement, PG_GETARG_JSONB_P(3));
    PG_RETURN_VOID();
}

KE_FUNCTION(kafka_engine_drop_stream)
{
    char* name = text_to_cstring(PG_GETARG_TEXT_PP(0));
    ke::stream::drop_stream(name);
    PG_RETURN_VOID();
}
