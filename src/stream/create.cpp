// CREATE MATERIALIZED VIEW ... WITH (kafka.continuous): what the statement asks for, the relations that
// come of it (relations, split, keyed), and the registry row.
// Everything is judged before anything is made. Server's thread, in the user's transaction.
#include "stream/create.h"
#include "stream/ddl.h"

extern "C" {
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "foreign/foreign.h"
#include "nodes/makefuncs.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
}

#include "pg/guard.h"
#include "stream/changes.h"
#include "stream/keyed.h"
#include "stream/options.h"
#include "stream/query_check.h"
#include "stream/registry.h"
#include "stream/relations.h"
#include "stream/shmem_layout.h"
#include "stream/split.h"
#include "stream/sql.h"
#include "stream/start.h"
#include "stream/target.h"

namespace ke::stream {

namespace {

void keep_option(request* r, DefElem* d, const char* value)
{
    if (strcmp(d->defname, "start") == 0)
        r->start = value;
    else if (strcmp(d->defname, "into") == 0)
        r->into = value;
    else if (strcmp(d->defname, "paused") == 0) {
        bool on = false;
        (void)parse_bool(value, &on);
        r->paused = on ? "created with kafka.paused" : nullptr;
    } else {
        if (strcmp(d->defname, "group_id") == 0)
            r->group = value;
        else if (strcmp(d->defname, "key") == 0)
            r->key = value;
        else if (strcmp(d->defname, "on_conflict") == 0)
            r->on_conflict = value;
        else if (strcmp(d->defname, "delete_when") == 0)
            r->delete_when = value;
        r->names = lappend(r->names, makeString(d->defname));
        r->values = lappend(r->values, makeString(pstrdup(value)));
    }
}

} // namespace

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
            (void)parse_bool(value, &continuous);
        else {
            keep_option(&r, d, value);
            ours = true;
        }
    }
    if (!continuous)
        ereport(
            ERROR,
            (errcode(ERRCODE_SYNTAX_ERROR),
             errmsg("%s", ours ? "options of a continuous view need \"kafka.continuous\""
                               : "option \"kafka.continuous\" must be true"),
             errhint("Write WITH (kafka.continuous, ...), or leave out every kafka option for an "
                     "ordinary materialized view.")));
    *definitions = rest;
    return r;
}

namespace {

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

} // namespace

void check_rights_everywhere(Query* query)
{
    (void)check_rights_of(reinterpret_cast<Node*>(query), nullptr);
}

void check_server_right(Oid topic_table)
{
    ForeignServer* server = GetForeignServer(GetForeignTable(topic_table)->serverid);
    AclResult right = pg::server_aclcheck(server->serverid, GetUserId(), ACL_USAGE);
    if (right != ACLCHECK_OK)
        aclcheck_error(right, OBJECT_FOREIGN_SERVER, server->servername);
}

namespace {

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

} // namespace

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
    a.add(NAMEOID, v.body ? DirectFunctionCall1(namein, CStringGetDatum(v.body)) : Datum(0),
          !v.body);
    spi_stretch spi;
    spi.begin();
    run("INSERT INTO kafka.registry (view, query, topic_table, target, state, reason, start, options,"
        " settings, cluster_id, target_columns, database, body, target_names)"
        " SELECT $1, $2, $3, $4, $5, $6, $7, jsonb_object($8, $9), jsonb_object_agg(s,"
        " current_setting(s)), $10, $11, $12, $13, ARRAY(SELECT a.attname FROM unnest($11) WITH ORDINALITY"
        " u (attnum, n) JOIN pg_attribute a ON a.attrelid = $4 AND a.attnum = u.attnum ORDER BY u.n)"
        " FROM unnest('{TimeZone,DateStyle,IntervalStyle}'::text[]) s",
        a);
    spi.end();
    check_options_of(v.view.objectId);
    write_positions(v.view.objectId, start);
    log_state(v.view.objectId, r.paused ? "paused" : "starting", r.paused ? r.paused : "created");
}

namespace {

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

} // namespace

void fill_defaults(request* r, Oid topic_table, RangeVar* name)
{
    if (!r->start)
        r->start = default_of(topic_table, "start");
    if (!r->start)
        r->start = "earliest";
    if (!r->group)
        r->group = default_group(name);
}

bool exists_already(RangeVar* rel, bool if_not_exists)
{
    Oid existing = InvalidOid;
    (void)RangeVarGetAndCheckCreationNamespace(rel, NoLock, &existing);
    if (rel->relpersistence == RELPERSISTENCE_TEMP)
        ereport(ERROR, (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
                        errmsg("a continuous view cannot be temporary"),
                        errhint("Create it in a permanent schema.")));
    if (!OidIsValid(existing))
        return false;
    if (!if_not_exists)
        ereport(ERROR, (errcode(ERRCODE_DUPLICATE_TABLE),
                        errmsg("relation \"%s\" already exists", rel->relname)));
    ereport(NOTICE, (errcode(ERRCODE_DUPLICATE_TABLE),
                     errmsg("relation \"%s\" already exists, skipping", rel->relname)));
    return true;
}

namespace {

// ------------------------------------------------------------------ v and what feeds it

} // namespace

judged judge(Query* query, Oid topic_table, const request& r)
{
    judged j{};
    j.shown = column_definitions(query);
    j.grouped = is_grouped(query);
    j.keys = judge_keying(query, r.key, r.on_conflict, r.delete_when);
    j.keys.unavailable = r.unavailable && j.keys.how == conflict::update;
    if (j.grouped)
        j.parts = split(query);
    else
        j.parts.partial = static_cast<Query*>(copyObjectImpl(query));
    j.stored = column_definitions(j.parts.partial);
    if (j.keys.how == conflict::update || j.keys.how == conflict::nothing)
        add_hidden_columns(j.parts.partial, topic_table, j.keys);
    return j;
}

namespace {

// Names of columns of the target, for those of the query.
List* target_names(const made_view& v, const judged& j, List* names)
{
    List* found = NIL;
    ListCell *name, *column;
    foreach (name, names)
        foreach (column, j.stored)
            if (strcmp(lfirst_node(ColumnDef, column)->colname, strVal(lfirst(name))) == 0)
                found = lappend(found,
                                makeString(get_attname(
                                    v.target, v.attributes[foreach_current_index(column)], false)));
    return found;
}

void feed_existing(made_view* v, const request& r, IntoClause* into, const judged& j)
{
    if (j.parts.final)
        ereport(
            ERROR,
            (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
             errmsg("a table cannot be fed with what has to be finished from states"),
             errdetail("With \"kafka.into\" every column must be one of GROUP BY or an aggregate "
                       "that is merged as it is (count, sum, min, max, bool_and, ...), and "
                       "there is no HAVING."),
             errhint("Leave kafka.into out, or select the sums and counts, and compute from them "
                     "in an ordinary view.")));
    if (j.grouped && j.parts.keys == NIL)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("\"kafka.into\" needs GROUP BY in a query with aggregates"),
                        errhint("Leave kafka.into out.")));
    v->target = open_target(r.into);
    check_target(v->target);
    match_columns(v->target, names_of(j.stored), types_of(j.stored), v->attributes);
    check_feed_rights(v->target, v->attributes, v->columns, GetUserId(),
                      j.keys.how != conflict::error, j.keys.delete_when != nullptr);
    List* keys = j.grouped ? j.parts.keys : j.keys.names;
    if (keys != NIL)
        find_or_make_index(v->target, target_names(*v, j, keys), j.grouped);
    v->view = make_view_on(v->target, into, v->attributes, v->columns);
}

// Groups are written over and over: room on the page for a row's new version.
void leave_room(IntoClause* into)
{
    ListCell* lc;
    foreach (lc, into->options)
        if (strcmp(lfirst_node(DefElem, lc)->defname, "fillfactor") == 0)
            return;
    into->options =
        lappend(into->options,
                makeDefElem(pstrdup("fillfactor"), reinterpret_cast<Node*>(makeInteger(70)), -1));
}

void make_own(made_view* v, IntoClause* into, const judged& j)
{
    List* stored = static_cast<List*>(copyObjectImpl(j.stored));
    if (j.parts.final) {
        v->target = make_state_table(into->rel->relname, stored, GetUserId());
        complete_final(j.parts.final, v->target);
        v->view = make_final_view(into, static_cast<List*>(copyObjectImpl(j.shown)), j.parts.final);
    } else {
        if (j.grouped)
            leave_room(into);
        v->view = make_table(into, stored);
        v->target = v->view.objectId;
    }
    for (int i = 0; i < v->columns; i++)
        v->attributes[i] = static_cast<std::int16_t>(i + 1);
    if (j.grouped)
        make_group_index(v->target, j.parts.keys);
    if (j.grouped && j.parts.keys == NIL)
        make_one_row(v->target, j.parts.zeros);
    if (j.keys.names != NIL)
        make_primary_key(v->target, j.keys.names);
}

// Dependencies go one way, from v to the query.
void make_relations(made_view* v, const request& r, IntoClause* into, const judged& j)
{
    v->columns = list_length(j.stored);
    v->attributes = static_cast<std::int16_t*>(palloc(sizeof(std::int16_t) * v->columns));
    if (r.into)
        feed_existing(v, r, into, j);
    else
        make_own(v, into, j);
    v->query = make_hidden_view(j.parts.partial, column_definitions(j.parts.partial),
                                v->view.objectId, GetUserId());
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
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
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
    if (exists_already(stmt->into->rel, stmt->if_not_exists))
        return InvalidObjectAddress;

    Query* query = castNode(Query, stmt->query);
    name_columns(query, stmt->into->colNames);
    made_view v{};
    v.topic_table = check_query(query);
    check_rights_everywhere(query);
    check_server_right(v.topic_table);
    follow_changes(&r, query, v.topic_table);
    judged j = judge(query, v.topic_table, r);
    fill_defaults(&r, v.topic_table, stmt->into->rel);
    start_positions start = resolve_start(v.topic_table, GetUserId(), r.start, r.group);

    make_relations(&v, r, stmt->into, j);
    register_view(v, r, start);
    notify_at_commit();
    return v.view;
}

} // namespace ke::stream
