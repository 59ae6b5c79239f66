#include "stream/body.h"

extern "C" {
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/parsenodes.h"
#include "parser/analyze.h"
#include "parser/parser.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgroids.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
#include "utils/ruleutils.h"
#include "utils/syscache.h"
}

#include "pg/guard.h"
#include "stream/create.h"
#include "stream/query_check.h"

namespace ke::stream {

namespace {

[[noreturn]] void refuse(const char* what, const char* hint)
{
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED), errmsg("a stream cannot run %s", what),
                    errhint("%s", hint)));
    pg_unreachable();
}

const char dml_hint[] =
    "INSERT, UPDATE, DELETE and MERGE with the topic in FROM or USING, or CALL, several of a kind "
    "separated by semicolons.";

CallStmt* call_of(Query* q)
{
    return q->commandType == CMD_UTILITY && IsA(q->utilityStmt, CallStmt)
               ? castNode(CallStmt, q->utilityStmt)
               : nullptr;
}

void judge_dml(Query* q, Oid topic_table)
{
    if (q->commandType == CMD_UTILITY)
        refuse("utility statements", dml_hint);
    if (q->commandType == CMD_SELECT)
        refuse("a query alone",
               "Rows that nobody stores are lost: make it an INSERT ... SELECT, or a "
               "continuous view.");
    if (q->returningList != NIL)
        refuse("RETURNING", "Nobody is there to take the rows.");
    bool reads = false;
    ListCell* lc;
    foreach (lc, topics_read(q)) {
        if (lfirst_oid(lc) != topic_table)
            ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                            errmsg("a stream of topic table \"%s\" cannot read topic table \"%s\"",
                                   get_rel_name(topic_table), get_rel_name(lfirst_oid(lc))),
                            errhint("Make a stream, or a continuous view, for each topic.")));
        reads = true;
    }
    if (!reads)
        ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                        errmsg("a statement of the stream does not read topic table \"%s\"",
                               get_rel_name(topic_table)),
                        errhint("Put the topic table into FROM or USING: there it is the batch's "
                                "records.")));
}

void judge_call(const CallStmt* call)
{
    if (call->outargs != NIL)
        refuse("a procedure with OUT parameters", "Call one that has none.");
    const Oid procedure = call->funcexpr->funcid;
    if (!pg::may_execute(procedure, GetUserId()))
        aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_PROCEDURE, get_func_name(procedure));
}

// search_path such that every name that is no built-in comes out qualified; until AtEOXact_GUC.
int qualify_names()
{
    const int level = NewGUCNestLevel();
    (void)set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
                            GUC_ACTION_SAVE, true, 0, false);
    return level;
}

char* text_of_call(const CallStmt* call)
{
    const int level = qualify_names();
    char* text = psprintf(
        "CALL %s", deparse_expression(reinterpret_cast<Node*>(call->funcexpr), NIL, false, false));
    AtEOXact_GUC(false, level);
    return text;
}

char* text_of_calls(List* queries)
{
    StringInfoData s;
    initStringInfo(&s);
    ListCell* lc;
    foreach (lc, queries)
        appendStringInfo(&s, "%s%s", foreach_current_index(lc) ? "; " : "",
                         text_of_call(call_of(lfirst_node(Query, lc))));
    return s.data;
}

} // namespace

List* judge_statements(const char* text, Oid topic_table)
{
    List* queries = NIL;
    int calls = 0;
    ListCell* lc;
    foreach (lc, raw_parser(text, RAW_PARSE_DEFAULT)) {
        Query* q = parse_analyze_fixedparams(lfirst_node(RawStmt, lc), text, nullptr, 0, nullptr);
        if (CallStmt* call = call_of(q)) {
            judge_call(call);
            calls++;
        } else {
            judge_dml(q, topic_table);
            check_rights_everywhere(q);
        }
        queries = lappend(queries, q);
    }
    if (queries == NIL)
        ereport(ERROR, (errcode(ERRCODE_SYNTAX_ERROR), errmsg("a stream needs a statement"),
                        errhint("%s", dml_hint)));
    if (calls && calls != list_length(queries))
        refuse("CALL beside other statements",
               "Put the other statements into the procedure as well.");
    return queries;
}

ObjectAddress make_body(const char* name, List* queries, Oid owner)
{
    Query* first = linitial_node(Query, queries);
    const bool calls = call_of(first) != nullptr;
    // Kept as a function's body is: a list with one list of queries.
    Node* body = calls ? nullptr : reinterpret_cast<Node*>(list_make1(queries));
    // The validator would look the text's names up, which is done.
    const ObjectAddress made = pg::create_procedure(name, get_namespace_oid("kafka", false), owner,
                                                    calls ? text_of_calls(queries) : "", body);
    ListCell* lc;
    if (calls)
        foreach (lc, queries)
            recordDependencyOnExpr(
                &made, reinterpret_cast<Node*>(call_of(lfirst_node(Query, lc))->funcexpr), NIL,
                DEPENDENCY_NORMAL);
    CommandCounterIncrement();
    return made;
}

Oid find_body(const char* name)
{
    oidvector* none = buildoidvector(nullptr, 0);
    return GetSysCacheOid3(PROCNAMEARGSNSP, Anum_pg_proc_oid, CStringGetDatum(name),
                           PointerGetDatum(none),
                           ObjectIdGetDatum(get_namespace_oid("kafka", false)));
}

// ------------------------------------------------------------------ back to text

namespace {

struct texts {
    int count;
    char** all;
};

// The body between BEGIN ATOMIC and END, or the text of calls.
char* text_of_body(const char* name)
{
    const Oid oid = find_body(name);
    if (!OidIsValid(oid))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
                        errmsg("the statements of the stream are gone"),
                        errdetail("There is no procedure kafka.%s.", quote_identifier(name))));
    HeapTuple tuple = SearchSysCache1(PROCOID, ObjectIdGetDatum(oid));
    bool no_body;
    (void)SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosqlbody, &no_body);
    bool null;
    char* body = TextDatumGetCString(SysCacheGetAttr(PROCOID, tuple, Anum_pg_proc_prosrc, &null));
    ReleaseSysCache(tuple);
    if (no_body)
        return body;
    const int level = qualify_names();
    body = TextDatumGetCString(OidFunctionCall1(F_PG_GET_FUNCTION_SQLBODY, ObjectIdGetDatum(oid)));
    AtEOXact_GUC(false, level);
    static const char begin[] = "BEGIN ATOMIC", end[] = "END";
    char* last = body + strlen(body) - strlen(end);
    if (strncmp(body, begin, strlen(begin)) != 0 || last < body || strcmp(last, end) != 0)
        elog(ERROR, "unexpected body of procedure %s", name);
    *last = '\0';
    return body + strlen(begin);
}

texts split_body(const char* name)
{
    const char* text = text_of_body(name);
    List* statements = raw_parser(text, RAW_PARSE_DEFAULT);
    texts t{0, static_cast<char**>(palloc(sizeof(char*) * (list_length(statements) + 1)))};
    ListCell* lc;
    foreach (lc, statements) {
        auto* s = lfirst_node(RawStmt, lc);
        const char* from = text + s->stmt_location;
        t.all[t.count++] = s->stmt_len ? pnstrdup(from, s->stmt_len) : pstrdup(from);
    }
    if (t.count == 0)
        elog(ERROR, "procedure %s has no statements", name);
    return t;
}

} // namespace

std::vector<std::string> statements_of_body(const std::string& name)
{
    const char* plain = name.c_str();
    const texts t = pg::call([=] { return split_body(plain); });
    return std::vector<std::string>(t.all, t.all + t.count);
}

} // namespace ke::stream
