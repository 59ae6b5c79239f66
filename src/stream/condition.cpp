#include "stream/condition.h"

extern "C" {
#include "nodes/parsenodes.h"
#include "parser/parser.h"
}

namespace ke::stream {

namespace {

// What is left of SELECT when it has one unnamed column and nothing else.
bool is_bare(const SelectStmt* s)
{
    if (list_length(s->targetList) != 1 || s->op != SETOP_NONE || s->distinctClause ||
        s->intoClause || s->fromClause || s->whereClause || s->groupClause || s->havingClause ||
        s->windowClause || s->valuesLists || s->sortClause || s->limitOffset || s->limitCount ||
        s->lockingClause || s->withClause)
        return false;
    const ResTarget* target = linitial_node(ResTarget, s->targetList);
    if (target->name || target->indirection)
        return false;
    if (!IsA(target->val, ColumnRef))
        return true;
    return !IsA(llast(castNode(ColumnRef, target->val)->fields), A_Star);
}

} // namespace

void check_condition(const char* text)
{
    List* statements = raw_parser(psprintf("SELECT %s\n", text), RAW_PARSE_DEFAULT);
    Node* one = list_length(statements) == 1 ? linitial_node(RawStmt, statements)->stmt : nullptr;
    if (!one || !IsA(one, SelectStmt) || !is_bare(castNode(SelectStmt, one)))
        ereport(ERROR,
                (errcode(ERRCODE_SYNTAX_ERROR), errmsg("the condition must be one expression"),
                 errhint("For example 'sqlstate = ''23514'' AND record_offset < 1000'.")));
}

} // namespace ke::stream
