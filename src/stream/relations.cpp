#include "stream/relations.h"

extern "C" {
#include "access/reloptions.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "catalog/toasting.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "commands/view.h"
#include "nodes/makefuncs.h"
#include "parser/parser.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/varlena.h"
}

#include "stream/sql.h"

namespace ke::stream {

namespace {

ObjectAddress define_table(CreateStmt* create, Oid owner)
{
    ObjectAddress address = DefineRelation(create, RELKIND_RELATION, owner, nullptr, nullptr);
    CommandCounterIncrement();

    static char toast_prefix[] = "toast";
    static char* namespaces[] = {toast_prefix, nullptr};
    Datum toast = transformRelOptions(Datum(0), create->options, "toast", namespaces, true, false);
    (void)heap_reloptions(RELKIND_TOASTVALUE, toast, true);
    NewRelationCreateToastTable(address.objectId, toast);
    return address;
}

// A free name in schema kafka for what belongs to a view.
RangeVar* hidden_name(const char* prefix, const char* view_name, const char* label)
{
    Oid schema = get_namespace_oid("kafka", false);
    return makeRangeVar(pstrdup("kafka"),
                        ChooseRelationName(prefix, view_name, label, schema, false), -1);
}

} // namespace

char* list_of(List* names)
{
    StringInfoData s;
    initStringInfo(&s);
    ListCell* lc;
    foreach (lc, names)
        appendStringInfo(&s, "%s%s", foreach_current_index(lc) ? ", " : "",
                         quote_identifier(strVal(lfirst(lc))));
    return s.data;
}

void run_on_table(const char* format, Oid table, const char* list)
{
    const char* name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)),
                                                  get_rel_name(table));
    const char* sql = psprintf(format, name, list);
    spi_stretch spi;
    spi.begin();
    run(sql, {});
    spi.end();
}

List* column_definitions(Query* query)
{
    List* columns = NIL;
    ListCell* lc;
    foreach (lc, query->targetList) {
        TargetEntry* e = lfirst_node(TargetEntry, lc);
        if (e->resjunk)
            continue;
        Node* expr = reinterpret_cast<Node*>(e->expr);
        ColumnDef* c =
            makeColumnDef(e->resname, exprType(expr), exprTypmod(expr), exprCollation(expr));
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

ObjectAddress make_table(IntoClause* into, List* columns)
{
    CreateStmt* create = makeNode(CreateStmt);
    create->relation = into->rel;
    create->tableElts = columns;
    create->options = into->options;
    create->oncommit = ONCOMMIT_NOOP;
    create->tablespacename = into->tableSpaceName;
    create->accessMethod = into->accessMethod;
    return define_table(create, InvalidOid);
}

Oid open_target(const char* name)
{
    List* names = textToQualifiedNameList(cstring_to_text(name));
    Oid target = RangeVarGetRelid(makeRangeVarFromNameList(names), RowExclusiveLock, false);
    if (get_rel_namespace(target) == get_namespace_oid("kafka", false))
        ereport(ERROR,
                (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                 errmsg("a continuous view cannot feed \"%s\"", get_rel_name(target)),
                 errdetail("\"%s\" is a catalog.", get_rel_name(target)),
                 errhint("A continuous view feeds permanent ordinary or partitioned tables of "
                         "this database.")));
    return target;
}

ObjectAddress make_view_on(Oid target, IntoClause* into, const std::int16_t* attributes, int count)
{
    if (into->options != NIL || into->tableSpaceName || into->accessMethod)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("storage options cannot be given together with \"kafka.into\""),
                        errhint("Set them on the table \"%s\" itself.", get_rel_name(target))));
    StringInfoData text;
    initStringInfo(&text);
    appendStringInfoString(&text, "SELECT ");
    for (int i = 0; i < count; i++)
        appendStringInfo(&text, "%s%s", i ? ", " : "",
                         quote_identifier(get_attname(target, attributes[i], false)));
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

// In schema kafka, where users cannot create, hence as a superuser, for the owner. Room on its pages
// for the new version of a row, so that merging touches no index.
Oid make_state_table(const char* view_name, List* columns, Oid owner)
{
    privileged who = begin_privileged();
    CreateStmt* create = makeNode(CreateStmt);
    create->relation = hidden_name("s", view_name, "states");
    create->tableElts = columns;
    create->options = list_make1(
        makeDefElem(pstrdup("fillfactor"), reinterpret_cast<Node*>(makeInteger(70)), -1));
    create->oncommit = ONCOMMIT_NOOP;
    ObjectAddress table = define_table(create, owner);
    end_privileged(who);
    return table.objectId;
}

ObjectAddress make_final_view(IntoClause* into, List* columns, Query* final)
{
    if (into->options != NIL || into->tableSpaceName || into->accessMethod)
        ereport(
            ERROR,
            (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
             errmsg("storage options cannot be given for this continuous view"),
             errdetail("Its rows are finished from states, which stand in a table of their own."),
             errhint("Leave them out.")));
    CreateStmt* create = makeNode(CreateStmt);
    create->relation = into->rel;
    create->tableElts = columns;
    create->oncommit = ONCOMMIT_NOOP;
    ObjectAddress view = DefineRelation(create, RELKIND_VIEW, InvalidOid, nullptr, nullptr);
    CommandCounterIncrement();
    StoreViewQuery(view.objectId, final, false);
    CommandCounterIncrement();
    return view;
}

Oid make_hidden_view(Query* query, List* columns, Oid view, Oid owner)
{
    privileged who = begin_privileged();
    CreateStmt* create = makeNode(CreateStmt);
    create->relation = hidden_name("q", get_rel_name(view), psprintf("%u", view));
    create->tableElts = columns;
    create->oncommit = ONCOMMIT_NOOP;
    ObjectAddress hidden = DefineRelation(create, RELKIND_VIEW, owner, nullptr, nullptr);
    CommandCounterIncrement();
    StoreViewQuery(hidden.objectId, query, false);
    CommandCounterIncrement();
    end_privileged(who);
    return hidden.objectId;
}

void make_group_index(Oid table, List* keys)
{
    run_on_table("CREATE UNIQUE INDEX ON %s (%s) NULLS NOT DISTINCT", table,
                 keys == NIL ? "(true)" : list_of(keys));
}

// As the owner, who is the current role: domains of the columns may run functions of anybody's.
void make_one_row(Oid table, List* zeros)
{
    const char* name = quote_qualified_identifier(get_namespace_name(get_rel_namespace(table)),
                                                  get_rel_name(table));
    StringInfoData sql;
    initStringInfo(&sql);
    appendStringInfo(&sql, "INSERT INTO %s ", name);
    if (zeros == NIL)
        appendStringInfoString(&sql, "DEFAULT VALUES");
    else
        appendStringInfo(&sql, "(%s) VALUES (0", list_of(zeros));
    for (int i = 1; i < list_length(zeros); i++)
        appendStringInfoString(&sql, ", 0");
    if (zeros != NIL)
        appendStringInfoChar(&sql, ')');

    privileged who = begin_privileged();
    SetUserIdAndSecContext(who.user, who.security_context | SECURITY_RESTRICTED_OPERATION);
    if (SPI_connect() != SPI_OK_CONNECT)
        elog(ERROR, "SPI_connect failed");
    const int code = SPI_execute(sql.data, false, 0);
    if (code < 0)
        elog(ERROR, "SPI failed: %s", SPI_result_code_string(code));
    SPI_finish();
    end_privileged(who);
}

} // namespace ke::stream
