#include "stream/keyed.h"

extern "C" {
#include "access/genam.h"
#include "access/table.h"
#include "catalog/pg_index.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_collate.h"
#include "parser/parse_expr.h"
#include "parser/parser.h"
#include "parser/parsetree.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
#include "utils/varlena.h"
}

#include "stream/changes.h"
#include "stream/relations.h"

namespace ke::stream {

namespace {

[[noreturn]] void refuse(const char* message, const char* hint)
{
    ereport(ERROR,
            (errcode(ERRCODE_INVALID_PARAMETER_VALUE), errmsg("%s", message), errhint("%s", hint)));
    pg_unreachable();
}

TargetEntry* find_output(const Query* q, const char* name)
{
    ListCell* lc;
    foreach (lc, q->targetList) {
        auto* t = lfirst_node(TargetEntry, lc);
        if (!t->resjunk && strcmp(t->resname, name) == 0)
            return t;
    }
    return nullptr;
}

void check_names(const Query* q, List* names)
{
    ListCell* lc;
    foreach (lc, names)
        if (!find_output(q, strVal(lfirst(lc))))
            ereport(ERROR,
                    (errcode(ERRCODE_UNDEFINED_COLUMN),
                     errmsg("column \"%s\" of \"kafka.key\" does not exist", strVal(lfirst(lc))),
                     errhint("Name columns that the query gives, such as 'a, \"B\"'.")));
}

void judge_groups(const char* key, const char* on_conflict, const char* delete_when)
{
    if (delete_when)
        refuse("\"kafka.delete_when\" cannot be given for a view that aggregates",
               "A group has no row that could be deleted: leave it out, or use HAVING.");
    if (key)
        refuse("\"kafka.key\" cannot be given for a view that aggregates",
               "Its key are the columns of GROUP BY: leave it out.");
    if (on_conflict && conflict_of(on_conflict) != conflict::merge)
        refuse("a view that aggregates needs \"kafka.on_conflict\" to be 'merge'",
               "That is the default: leave it out.");
}

} // namespace

conflict conflict_of(const char* option)
{
    static const char* const words[] = {"error", "nothing", "update", "merge"};
    for (int i = 0; i < 4; i++)
        if (strcmp(option, words[i]) == 0)
            return static_cast<conflict>(i);
    return conflict::error;
}

List* key_names(const char* option)
{
    List *words, *names = NIL;
    if (!SplitIdentifierString(pstrdup(option), ',', &words) || words == NIL)
        refuse(psprintf("invalid value for option \"kafka.key\": \"%s\"", option),
               "Give column names separated by commas, such as 'a, \"B\"'.");
    ListCell* lc;
    foreach (lc, words)
        names = lappend(names, makeString(static_cast<char*>(lfirst(lc))));
    return names;
}

keying judge_keying(const Query* q, const char* key, const char* on_conflict,
                    const char* delete_when)
{
    keying k;
    if (q->groupClause != NIL || q->hasAggs || q->havingQual) {
        judge_groups(key, on_conflict, delete_when);
        k.how = conflict::merge;
        return k;
    }
    k.how = on_conflict   ? conflict_of(on_conflict)
            : delete_when ? conflict::update
                          : conflict::error;
    k.delete_when = delete_when;
    if (k.how == conflict::merge)
        refuse("\"kafka.on_conflict\" 'merge' is for views that aggregate",
               "Use 'update': the newest row of each key wins.");
    if (!key && (k.how != conflict::error || delete_when))
        refuse(psprintf("\"kafka.%s\" needs \"kafka.key\"",
                        delete_when ? "delete_when" : "on_conflict"),
               "Name the columns that identify a row, such as kafka.key = 'id'.");
    if (delete_when && k.how == conflict::error)
        refuse("\"kafka.delete_when\" needs \"kafka.on_conflict\" to be 'update' or 'nothing'",
               "'update' keeps the newest row of each key.");
    if (key) {
        k.names = key_names(key);
        check_names(q, k.names);
    }
    return k;
}

// ------------------------------------------------------------------ columns of the topic, from any depth

namespace {

[[noreturn]] void refuse_path(const char* through)
{
    ereport(ERROR,
            (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
             errmsg("\"kafka.on_conflict\" 'update' and 'nothing' do not work through %s", through),
             errdetail("The order in which records arrived cannot be followed through it."),
             errhint("Name the topic table itself in FROM, or in a subquery there.")));
    pg_unreachable();
}

Var* reach(Query* q, Oid topic_table, AttrNumber number);

Var* var_of(Index relation, AttrNumber number, Oid topic_table)
{
    if (number == SelfItemPointerAttributeNumber)
        return makeVar(relation, number, TIDOID, -1, InvalidOid, 0);
    Oid type, collation;
    int32 modifier;
    get_atttypetypmodcoll(topic_table, number, &type, &modifier, &collation);
    return makeVar(relation, number, type, modifier, collation, 0);
}

// Of one entry of FROM; null: not where the topic is. Subqueries give the column as one more of theirs.
Var* reach_in_entry(Query* q, Index relation, Oid topic_table, AttrNumber number)
{
    RangeTblEntry* rte = rt_fetch(relation, q->rtable);
    if (rte->rtekind == RTE_RELATION && rte->relid == topic_table) {
        pg::mark_selected(q, rte, number);
        return var_of(relation, number, topic_table);
    }
    if (rte->rtekind != RTE_SUBQUERY)
        return nullptr;
    Var* inner = reach(rte->subquery, topic_table, number);
    if (!inner)
        return nullptr;
    auto column = static_cast<AttrNumber>(list_length(rte->subquery->targetList) + 1);
    char* name = number > 0 ? get_attname(topic_table, number, false) : pstrdup("arrival");
    rte->subquery->targetList =
        lappend(rte->subquery->targetList,
                makeTargetEntry(reinterpret_cast<Expr*>(inner), column, name, false));
    rte->eref->colnames = lappend(rte->eref->colnames, makeString(name));
    return makeVar(relation, column, inner->vartype, inner->vartypmod, inner->varcollid, 0);
}

Var* reach(Query* q, Oid topic_table, AttrNumber number)
{
    ListCell* lc;
    foreach (lc, q->rtable) {
        auto* rte = lfirst_node(RangeTblEntry, lc);
        if (rte->rtekind == RTE_JOIN && rte->alias)
            refuse_path("a join with an alias");
        auto relation = static_cast<Index>(foreach_current_index(lc) + 1);
        if (Var* v = reach_in_entry(q, relation, topic_table, number))
            return v;
    }
    return nullptr;
}

// ------------------------------------------------------------------ delete_when

struct names_in_reach {
    Query* query;
    Oid topic_table;
    Index topic; // number in the range table; 0: not at the top
};

Node* column_of_topic(const names_in_reach* n, const char* name)
{
    AttrNumber number = get_attnum(n->topic_table, name);
    return number > 0 ? reinterpret_cast<Node*>(reach(n->query, n->topic_table, number)) : nullptr;
}

// As in ORDER BY: the query's columns first, then those of the topic.
Node* resolve(ParseState* state, ColumnRef* ref)
{
    auto* n = static_cast<names_in_reach*>(state->p_ref_hook_state);
    Node* first = static_cast<Node*>(linitial(ref->fields));
    if (!IsA(first, String))
        return nullptr;
    if (list_length(ref->fields) == 1) {
        if (TargetEntry* t = find_output(n->query, strVal(first)))
            return static_cast<Node*>(copyObjectImpl(t->expr));
        return column_of_topic(n, strVal(first));
    }
    if (!n->topic || list_length(ref->fields) != 2 || !IsA(lsecond(ref->fields), String) ||
        strcmp(strVal(first), rt_fetch(n->topic, n->query->rtable)->eref->aliasname) != 0)
        return nullptr;
    return column_of_topic(n, strVal(lsecond(ref->fields)));
}

// Places in errors are places in the option, not in the statement around it.
void place_error(void* text)
{
    int at = geterrposition();
    if (at <= 0)
        return;
    errposition(0);
    internalerrposition(at);
    internalerrquery(static_cast<const char*>(text));
}

List* parse(char* sql)
{
    ErrorContextCallback callback{error_context_stack, place_error, sql};
    error_context_stack = &callback;
    List* statements = raw_parser(sql, RAW_PARSE_DEFAULT);
    error_context_stack = callback.previous;
    return statements;
}

Node* parse_condition(const char* text)
{
    List* statements = parse(psprintf("SELECT %s", text));
    Node* one = list_length(statements) == 1 ? linitial_node(RawStmt, statements)->stmt : nullptr;
    SelectStmt* select = one && IsA(one, SelectStmt) ? castNode(SelectStmt, one) : nullptr;
    if (select && list_length(select->targetList) == 1 && !select->distinctClause &&
        !select->intoClause && !select->fromClause && !select->whereClause &&
        !select->groupClause && !select->havingClause && !select->windowClause &&
        !select->valuesLists && !select->sortClause && !select->limitCount &&
        !select->limitOffset && !select->lockingClause && !select->withClause &&
        select->op == SETOP_NONE) {
        auto* target = linitial_node(ResTarget, select->targetList);
        if (!target->name && !target->indirection)
            return target->val;
    }
    refuse("\"kafka.delete_when\" must be one expression", "For example '_tombstone'.");
}

Expr* condition_of(Query* q, Oid topic_table, const char* text)
{
    names_in_reach reach{q, topic_table, 0};
    ListCell* lc;
    foreach (lc, q->rtable)
        if (lfirst_node(RangeTblEntry, lc)->relid == topic_table)
            reach.topic = static_cast<Index>(foreach_current_index(lc) + 1);
    ParseState* state = make_parsestate(nullptr);
    state->p_pre_columnref_hook = resolve;
    state->p_ref_hook_state = &reach;
    Node* e = transformExpr(state, parse_condition(text), EXPR_KIND_WHERE);
    e = coerce_to_boolean(state, e, "kafka.delete_when");
    assign_expr_collations(state, e);
    if (state->p_hasSubLinks)
        refuse("\"kafka.delete_when\" must not contain a subquery",
               "Join the table in the query, and use a column of it.");
    if (contain_volatile_functions(e) || expression_returns_set(e))
        refuse("\"kafka.delete_when\" must not be volatile or return a set",
               "It is looked at more than once.");
    free_parsestate(state);
    return reinterpret_cast<Expr*>(e);
}

void add_column(Query* q, Expr* e, const char* wanted)
{
    const char* name = wanted;
    for (int n = 1; find_output(q, name); n++)
        name = psprintf("%s_%d", wanted, n);
    auto number = static_cast<AttrNumber>(list_length(q->targetList) + 1);
    q->targetList = lappend(q->targetList, makeTargetEntry(e, number, pstrdup(name), false));
}

} // namespace

void add_hidden_columns(Query* q, Oid topic_table, const keying& k)
{
    Var* arrival = reach(q, topic_table, SelfItemPointerAttributeNumber);
    if (!arrival)
        refuse_path("a view or a common table expression");
    Expr* deletes = k.delete_when ? condition_of(q, topic_table, k.delete_when) : nullptr;
    const AttrNumber marks = k.unavailable ? unavailable_column(topic_table) : 0;
    Var* unavailable = marks > 0 ? reach(q, topic_table, marks) : nullptr;
    add_column(q, reinterpret_cast<Expr*>(arrival), "arrival");
    if (deletes)
        add_column(q, deletes, "deletes");
    if (unavailable)
        add_column(q, reinterpret_cast<Expr*>(unavailable), "unavailable");
}

// ------------------------------------------------------------------ the unique index

namespace {

bool stands_behind(Oid index, const Bitmapset* columns, bool nullable)
{
    HeapTuple tuple = SearchSysCache1(INDEXRELID, ObjectIdGetDatum(index));
    if (!HeapTupleIsValid(tuple))
        return false;
    auto* f = reinterpret_cast<Form_pg_index>(GETSTRUCT(tuple));
    bool fits = f->indisunique && f->indimmediate && f->indisvalid && !f->indisexclusion &&
                (!nullable || f->indnullsnotdistinct) &&
                heap_attisnull(tuple, Anum_pg_index_indpred, nullptr);
    Bitmapset* its = nullptr;
    for (int i = 0; i < f->indnkeyatts; i++) {
        fits = fits && f->indkey.values[i] > 0;
        if (fits)
            its = bms_add_member(its, f->indkey.values[i]);
    }
    ReleaseSysCache(tuple);
    return fits && bms_equal(its, columns);
}

} // namespace

void find_or_make_index(Oid table, List* names, bool one_of_null)
{
    Relation rel = table_open(table, NoLock);
    Bitmapset* columns = nullptr;
    bool nullable = false;
    ListCell* lc;
    foreach (lc, names) {
        AttrNumber number = get_attnum(table, strVal(lfirst(lc)));
        columns = bms_add_member(columns, number);
        bool free = !TupleDescAttr(RelationGetDescr(rel), number - 1)->attnotnull;
        if (free && !one_of_null)
            ereport(ERROR,
                    (errcode(ERRCODE_INVALID_TABLE_DEFINITION),
                     errmsg("key column \"%s\" of table \"%s\" may be null", strVal(lfirst(lc)),
                            get_rel_name(table)),
                     errhint("ALTER TABLE ... ALTER COLUMN ... SET NOT NULL, so that a key is one "
                             "row.")));
        nullable = nullable || free;
    }
    bool found = false;
    foreach (lc, RelationGetIndexList(rel))
        found = found || stands_behind(lfirst_oid(lc), columns, nullable);
    table_close(rel, NoLock);
    if (found)
        return;
    if (!pg::owns_relation(table, GetUserId()))
        aclcheck_error(ACLCHECK_NOT_OWNER, OBJECT_TABLE, get_rel_name(table));
    run_on_table(nullable ? "CREATE UNIQUE INDEX ON %s (%s) NULLS NOT DISTINCT"
                          : "CREATE UNIQUE INDEX ON %s (%s)",
                 table, list_of(names));
}

void make_primary_key(Oid table, List* names)
{
    run_on_table("ALTER TABLE %s ADD PRIMARY KEY (%s)", table, list_of(names));
}

} // namespace ke::stream
