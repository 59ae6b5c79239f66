#include "pg/errors.h"

extern "C" {
#include "mb/pg_wchar.h"
}

namespace ke::pg {

namespace {

struct fault_row {
    fault_kind kind;
    int sqlstate;
    bool transient;
};

const fault_row table[] = {
    {fault_kind::unknown_option, ERRCODE_FDW_INVALID_OPTION_NAME, false},
    {fault_kind::refused_option, ERRCODE_FDW_INVALID_ATTRIBUTE_VALUE, false},
    {fault_kind::missing_option, ERRCODE_FDW_OPTION_NAME_NOT_FOUND, false},
    {fault_kind::not_permitted, ERRCODE_INSUFFICIENT_PRIVILEGE, false},
    {fault_kind::wrong_object, ERRCODE_WRONG_OBJECT_TYPE, false},
    {fault_kind::column_type, ERRCODE_FDW_INVALID_DATA_TYPE, false},
    {fault_kind::broker_unreachable, ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION, true},
    {fault_kind::authentication, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, true},
    {fault_kind::authorization, ERRCODE_INSUFFICIENT_PRIVILEGE, true},
    {fault_kind::topic_missing, ERRCODE_FDW_TABLE_NOT_FOUND, true},
    {fault_kind::offset_out_of_range, ERRCODE_FDW_ERROR, false},
    {fault_kind::log_in_doubt, ERRCODE_FDW_ERROR, true},
    {fault_kind::other_cluster, ERRCODE_FDW_ERROR, false},
    {fault_kind::protocol, ERRCODE_PROTOCOL_VIOLATION, true},
    {fault_kind::too_large, ERRCODE_PROGRAM_LIMIT_EXCEEDED, true},
    {fault_kind::registry_unreachable, ERRCODE_FDW_UNABLE_TO_ESTABLISH_CONNECTION, true},
    {fault_kind::registry_refused, ERRCODE_INVALID_AUTHORIZATION_SPECIFICATION, true},
    {fault_kind::bad_record, ERRCODE_INVALID_TEXT_REPRESENTATION, false},
    {fault_kind::out_of_memory, ERRCODE_OUT_OF_MEMORY, true},
    {fault_kind::halted, ERRCODE_OPERATOR_INTERVENTION, true},
    {fault_kind::internal, ERRCODE_INTERNAL_ERROR, false},
};

const fault_row& row_of(fault_kind kind)
{
    for (const fault_row& r : table)
        if (r.kind == kind)
            return r;
    return table[sizeof table / sizeof *table - 1];
}

} // namespace

plain_fault to_plain(const fault& f)
{
    return {f.kind, pstrdup(f.message.c_str()),
            f.detail.empty() ? nullptr : pstrdup(f.detail.c_str()),
            f.hint.empty() ? nullptr : pstrdup(f.hint.c_str())};
}

char* to_server(std::string_view text)
{
    char* copy = pnstrdup(text.data(), text.size());
    return pg_any_to_server(copy, static_cast<int>(text.size()), PG_UTF8);
}

int sqlstate_of(fault_kind kind)
{
    return row_of(kind).sqlstate;
}

bool is_transient(fault_kind kind)
{
    return row_of(kind).transient;
}

void raise(const plain_fault& f, bool hide_statement)
{
    ereport(ERROR, (errcode(sqlstate_of(f.kind)), errmsg("%s", f.message),
                    f.detail ? errdetail("%s", f.detail) : 0, f.hint ? errhint("%s", f.hint) : 0,
                    errhidestmt(hide_statement), errhidecontext(hide_statement)));
    pg_unreachable();
}

} // namespace ke::pg
