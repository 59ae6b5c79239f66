// CREATE MATERIALIZED VIEW ... WITH (kafka.continuous): a table with the query's columns (or, with
// kafka.into, a view on the table fed), the hidden view that holds the query, and the registry row.
// Everything is judged before anything is made. Server's thread, in the user's transaction.
#include "stream/ddl.h"

extern "C" {
#include "access/reloptions.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "catalog/toasting.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "commands/view.h"
#include "foreign/foreign.h"
#include "nodes/makefuncs.h"
#include "parser/parser.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"
}

#include "pg/guard.h"
#include "stream/options.h"
#include "stream/query_check.h"
#include "stream/registry.h"
#include "stream/shmem_layout.h"
#include "stream/sql.h"
#include "stream/start.h"
#include "stream/target.h"

namespace ke::stream {

namespace {

// What the statement asks for, beside its query.
struct request {
    List* names = NIL; // options to keep: String nodes
    List* values = NIL;
    const char* start = nullptr; // as given; null: the topic table's default, else earliest
    const char* into = nullptr;
    const char* group = nullptr;
    const char* paused = nullptr; // why, or null
};

// What is made of it.
struct made_view {
    ObjectAddress view;
    Oid query;
    Oid topic_table;
    Oid target;
    int columns;
    std::int16_t* attributes; // of target, for each column
};

void keep_option(request* r, DefElem* d, const char* value)
{
    if (strcmp(d->defname, "start") == 0)
        r->start = value;
    else if (strcmp(d->defname, "into") == 0)
        r->into = value;
    else if (strcmp(d->defname, "paused") == 0) {
        bool on = false;
        (void) parse_bool(value, &on);
        r->paused = on ? "created with kafka.paused" : nullptr;
    } else {
        if (strcmp(d->defname, "group_id") == 0)
            r->group = value;
        r->names = lappend(r->names, makeString(d->defname));
        r->values = lappend(r->values, makeString(pstrdup(value)));
    }
}

// Takes the options of ours out of the list.
request take_options(List** definitions)
{
    request r;
    List* rest = NIL;
    bool continuous = false, ours = false;
    ListCell* lc;
    foreach (lc, *definitions) {
        DefElem* d = lfirst_node(DefElem, lc);
        if (!is_ours(d)) {
            rest = lappend(rest, d);
            continue;
        }
        ListCell* other;
        foreach (other, *definitions)
            if (lfirst(other) != d && is_ours(lfirst_node(DefElem, other)) &&
                strcmp(lfirst_node(DefElem, other)->defname, d->defname) == 0)
                ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR),
                                errmsg("option \"kafka.%s\" is given twice", d->defname)));
        const char* value = d->arg ? defGetString(d) : "true";
        check_view_option(d->defname, value);
        if (strcmp(d->defname, "continuous") == 0)
            (void) parse_bool(value, &continuous);
        else {
            keep_option(&r, d, value);
            ours = true;
        }
    }
    if (!continuous)
        ereport(ERROR,
                (errcode(ERRCODE_SYNTAX_ERROR),
                 errmsg("%s", ours ? "options of a continuous view need \"kafka.continuous\""
                                   : "option \"kafka.continuous\" must be true"),
                 errhint("Write WITH (kafka.continuous, ...), or leave out every kafka option for an "
                         "ordinary materialized view.")));
    *definitions = rest;
    return r;
}

// ------------------------------------------------------------------ the query and who may run it

bool check_rights_of(Node* node, void*)
{
    if (!node)
        return false;
    if (!IsA(node, Query))
        return pg::walk_expression(node, check_rights_of, nullptr);
    pg::check_rights(castNode(Query, node));
    return pg::walk_query(castNode(Query, node), check_rights_of, nullptr, 0);
}

void check_server_right(Oid topic_table)
{
    ForeignServer* server = GetForeignServer(GetForeignTable(topic_table)->serverid);
    AclResult right = pg::server_aclcheck(server->serverid, GetUserId(), ACL_USAGE);
    if (right != ACLCHECK_OK)
        aclcheck_error(right, OBJECT_FOREIGN_SERVER, server->servername);
}

// The column list of the statement gives the query's columns their names.
void name_columns(Query* query, List* names)
{
    ListCell* name = list_head(names);
    ListCell* lc;
    foreach (lc, query->targetList) {
        TargetEntry* e = lfirst_node(TargetEntry, lc);
        if (e->resjunk || !name)
            continue;
        e->resname = pstrdup(strVal(lfirst(name)));
        name = lnext(names, name);
    }
    if (name)
        ereport(ERROR,
                (errcode(ERRCODE_SYNTAX_ERROR), errmsg("too many column names were specified")));
}

// Column definitions of the query's result.
List* column_definitions(Query* query)
{
    List* columns = NIL;
    ListCell* lc;
    foreach (lc, query->targetList) {
        TargetEntry* e = lfirst_node(TargetEntry, lc);
        if (e->resjunk)
            continue;
        Node* expr = reinterpret_cast<Node*>(e->expr);
        ColumnDef* c = makeColumnDef(e->resname, exprType(expr), exprTypmod(expr),
                                     exprCollation(expr));
        if (type_is_collatable(exprType(expr)) && !OidIsValid(c->collOid))
            ereport(ERROR,
                    (errcode(ERRCODE_INDETERMINATE_COLLATION),
                     errmsg("no collation was derived for column \"%s\" with collatable type %s",
                            c->colname, format_type_be(exprType(expr))),
                     errhint("Use the COLLATE clause to set the collation explicitly.")));
        columns = lappend(columns, c);
    }
    if (columns == NIL)
        ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
                        errmsg("a continuous view must have at least one column")));
    return columns;
}

// ------------------------------------------------------------------ relations

// The table that is the view, as CREATE TABLE AS makes one.
ObjectAddress make_table(IntoClause* into, List* columns)
{
    CreateStmt* create = makeNode(CreateStmt);
    create->relation = into->rel;
    create->tableElts = columns;
    create->options = into->options;
    create->oncommit = ONCOMMIT_NOOP;
    create->tablespacename = into->tableSpaceName;
    create->accessMethod = into->accessMethod;
    ObjectAddress address = DefineRelation(create, RELKIND_RELATION, InvalidOid, nullptr, nullptr);
    CommandCounterIncrement();

    static char toast_prefix[] = "toast";
    static char* namespaces[] = {toast_prefix, nullptr};
    Datum toast = transformRelOptions(Datum(0), create->options, "toast", namespaces, true, false);
    (void) heap_reloptions(RELKIND_TOASTVALUE, toast, true);
    NewRelationCreateToastTable(address.objectId, toast);
    return address;
}

// With kafka.into: an ordinary view on the table fed, with the columns that are fed.
ObjectAddress make_view_on(Oid target, IntoClause* into, const made_view& v)
{
    if (into->options != NIL || into->tableSpaceName || into->accessMethod)
        ereport(ERROR,
                (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                 errmsg("storage options cannot be given together with \"kafka.into\""),
                 errhint("Set them on the table \"%s\" itself.", get_rel_name(target))));
    StringInfoData text;
    initStringInfo(&text);
    appendStringInfoString(&text, "SELECT ");
    for (int i = 0; i < v.columns; i++)
        appendStringInfo(&text, "%s%s", i ? ", " : "",
                         quote_identifier(get_attname(target, v.attributes[i], false)));
    appendStringInfo(&text, " FROM %s",
                     quote_qualified_identifier(get_namespace_name(get_rel_namespace(target)),
                                                get_rel_name(target)));
    ViewStmt* view = makeNode(ViewStmt);
    view->view = into->rel;
    view->query = linitial_node(RawStmt, raw_parser(text.data, RAW_PARSE_DEFAULT))->stmt;
    view->withCheckOption = NO_CHECK_OPTION;
    ObjectAddress address = DefineView(view, text.data, 0, 0);
    CommandCounterIncrement();
    return address;
}

// The view that holds the query: in schema kafka, where users cannot create, hence as a superuser,
// for the owner.
Oid make_hidden_view(Query* query, List* columns, Oid view, Oid owner)
{
    privileged who = begin_privileged();
    Oid schema = get_namespace_oid("kafka", false);
    CreateStmt* create = makeNode(CreateStmt);
    create->relation =
        makeRangeVar(pstrdup("kafka"),
                     ChooseRelationName("q", get_rel_name(view), psprintf("%u", view), schema, false),
                     -1);
    create->tableElts = columns;
    create->oncommit = ONCOMMIT_NOOP;
    ObjectAddress hidden = DefineRelation(create, RELKIND_VIEW, owner, nullptr, nullptr);
    CommandCounterIncrement();
    StoreViewQuery(hidden.objectId, query, false);
    CommandCounterIncrement();
    end_privileged(who);
    return hidden.objectId;
}

// The table named by kafka.into, locked.
Oid open_target(const char* name)
{
    List* names = textToQualifiedNameList(cstring_to_text(name));
    return RangeVarGetRelid(makeRangeVarFromNameList(names), RowExclusiveLock, false);
}

List* names_of(List* columns)
{
    List* names = NIL;
    ListCell* lc;
    foreach (lc, columns)
        names = lappend(names, makeString(lfirst_node(ColumnDef, lc)->colname));
    return names;
}

List* types_of(List* columns)
{
    List* types = NIL;
    ListCell* lc;
    foreach (lc, columns)
        types = lappend_oid(types, lfirst_node(ColumnDef, lc)->typeName->typeOid);
    return types;
}

// ------------------------------------------------------------------ the registry

Datum text_array(List* strings)
{
    int n = 0;
    Datum* d = static_cast<Datum*>(palloc(sizeof(Datum) * (list_length(strings) + 1)));
    ListCell* lc;
    foreach (lc, strings)
        d[n++] = CStringGetTextDatum(strVal(lfirst(lc)));
    return PointerGetDatum(construct_array(d, n, TEXTOID, -1, false, TYPALIGN_INT));
}

Datum number_array(const std::int16_t* numbers, int count)
{
    Datum* d = static_cast<Datum*>(palloc(sizeof(Datum) * (count + 1)));
    for (int i = 0; i < count; i++)
        d[i] = Int16GetDatum(numbers[i]);
    return PointerGetDatum(construct_array(d, count, INT2OID, 2, true, TYPALIGN_SHORT));
}

void register_view(const made_view& v, const request& r, const start_positions& start)
{
    sql_arguments a;
    a.add_oid(v.view.objectId);
    a.add_oid(v.query);
    a.add_oid(v.topic_table);
    a.add_oid(v.target);
    a.add_text(r.paused ? "paused" : "active");
    a.add_text(r.paused);
    a.add_text(r.start);
    a.add(TEXTARRAYOID, text_array(r.names));
    a.add(TEXTARRAYOID, text_array(r.values));
    a.add_text(start.cluster_id);
    a.add(INT2ARRAYOID, number_array(v.attributes, v.columns));
    a.add_oid(MyDatabaseId);
    spi_stretch spi;
    spi.begin();
    run("INSERT INTO kafka.registry (view, query, topic_table, target, state, reason, start, options,"
        " settings, cluster_id, target_columns, database)"
        " SELECT $1, $2, $3, $4, $5, $6, $7, jsonb_object($8, $9), jsonb_object_agg(s,"
        " current_setting(s)), $10, $11, $12 FROM unnest('{TimeZone,DateStyle,IntervalStyle}'::text[]) s",
        a);
    spi.end();
    write_positions(v.view.objectId, start);
    log_state(v.view.objectId, r.paused ? "paused" : "starting", r.paused ? r.paused : "created");
}

// The topic table's own default for its views.
const char* default_of(Oid topic_table, const char* option)
{
    ListCell* lc;
    foreach (lc, GetForeignTable(topic_table)->options) {
        DefElem* d = lfirst_node(DefElem, lc);
        if (strcmp(d->defname, option) == 0)
            return defGetString(d);
    }
    return nullptr;
}

// As kafka.group_id has it where it is not given.
const char* default_group(RangeVar* view)
{
    Oid schema = RangeVarGetCreationNamespace(view);
    return psprintf("%s.%s.%s", get_database_name(MyDatabaseId), get_namespace_name(schema),
                    view->relname);
}

bool exists_already(CreateTableAsStmt* stmt)
{
    Oid existing = InvalidOid;
    (void) RangeVarGetAndCheckCreationNamespace(stmt->into->rel, NoLock, &existing);
    if (stmt->into->rel->relpersistence == RELPERSISTENCE_TEMP)
        ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
                        errmsg("a continuous view cannot be temporary"),
                        errhint("Create it in a permanent schema.")));
    if (!OidIsValid(existing))
        return false;
    const char* name = stmt->into->rel->relname;
    if (!stmt->if_not_exists)
        ereport(ERROR, (errcode(ERRCODE_DUPLICATE_TABLE),
                        errmsg("relation \"%s\" already exists", name)));
    ereport(NOTICE, (errcode(ERRCODE_DUPLICATE_TABLE),
                     errmsg("relation \"%s\" already exists, skipping", name)));
    return true;
}

// v and what feeds it; dependencies go one way, from v to the query.
void make_relations(made_view* v, const request& r, IntoClause* into, Query* query, List* columns)
{
    v->columns = list_length(columns);
    v->attributes = static_cast<std::int16_t*>(palloc(sizeof(std::int16_t) * v->columns));
    if (r.into) {
        v->target = open_target(r.into);
        check_target(v->target);
        match_columns(v->target, names_of(columns), types_of(columns), v->attributes);
        check_insert_right(v->target, v->attributes, v->columns, GetUserId());
        v->view = make_view_on(v->target, into, *v);
    } else {
        v->view = make_table(into, static_cast<List*>(copyObjectImpl(columns)));
        v->target = v->view.objectId;
        for (int i = 0; i < v->columns; i++)
            v->attributes[i] = static_cast<std::int16_t>(i + 1);
    }
    v->query = make_hidden_view(query, columns, v->view.objectId, GetUserId());
    ObjectAddress hidden;
    ObjectAddressSet(hidden, RelationRelationId, v->query);
    recordDependencyOn(&v->view, &hidden, DEPENDENCY_NORMAL);
    CommandCounterIncrement();
}

} // namespace

bool has_kafka_options(List* definitions)
{
    ListCell* lc;
    foreach (lc, definitions)
        if (is_ours(lfirst_node(DefElem, lc)))
            return true;
    return false;
}

void check_preloaded()
{
    if (shared)
        return;
    ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                    errmsg("continuous views need kafka_engine to be preloaded"),
                    errdetail("Background workers keep them up, and there are none."),
                    errhint("Put shared_preload_libraries = 'kafka_engine' into postgresql.conf and "
                            "restart the server.")));
}

ObjectAddress create_continuous_view(CreateTableAsStmt* stmt, const char* query_text)
{
    check_preloaded();
    request r = take_options(&stmt->into->options);
    if (stmt->into->skipData)
        r.paused = "created WITH NO DATA";
    if (exists_already(stmt))
        return InvalidObjectAddress;

    Query* query = castNode(Query, stmt->query);
    name_columns(query, stmt->into->colNames);
    made_view v{};
    v.topic_table = check_query(query);
    check_rights_of(stmt->query, nullptr);
    check_server_right(v.topic_table);
    List* columns = column_definitions(query);
    if (!r.start)
        r.start = default_of(v.topic_table, "start");
    if (!r.start)
        r.start = "earliest";
    if (!r.group)
        r.group = default_group(stmt->into->rel);
    start_positions start = resolve_start(v.topic_table, GetUserId(), r.start, r.group);

    make_relations(&v, r, stmt->into, query, columns);
    register_view(v, r, start);
    notify_at_commit();
    return v.view;
}

} // namespace ke::stream
