// Whose fault an error is, by its SQLSTATE. Server's thread; owns nothing.
#include "stream/trouble.h"

#include <cstring>
#include <string_view>

#include "pg/errors.h"

namespace ke::stream {

namespace {

struct row {
    std::string_view prefix; // of the SQLSTATE
    remedy applied;          // raised while records were applied
    remedy otherwise;        // raised by planning, rights checks, our own statements
};

// First match wins.
constexpr row table[] = {
    {"57014", remedy::give_way, remedy::give_way}, // cancelled: somebody wants a lock, or a person
    {"KE001", remedy::retry, remedy::retry},       // decoded without a column that is read now
    {"55P03", remedy::retry, remedy::retry},       // lock not available
    {"40", remedy::retry, remedy::retry},          // serialization, deadlock
    {"57", remedy::retry, remedy::retry},          // shutdown, cannot connect now
    {"53", remedy::retry, remedy::retry},          // disk full, out of memory, too many connections
    {"58", remedy::retry, remedy::retry},          // system error
    {"08", remedy::retry, remedy::retry},          // connection of a foreign table
    {"HV", remedy::retry, remedy::retry},          // foreign data
    {"25006", remedy::retry, remedy::retry},       // read-only: a standby, or default_transaction_
    {"55006", remedy::retry, remedy::retry},       // object in use
    {"XX001", remedy::retry, remedy::retry},       // corrupted data, index: nobody's record
    {"XX002", remedy::retry, remedy::retry},
    {"XX", remedy::record, remedy::retry},
    {"28", remedy::record, remedy::rights},
    {"42501", remedy::record, remedy::rights}, // from a trigger on a row, or from the query's check
    {"", remedy::record, remedy::schema},
};

const row& row_of(const char* sqlstate)
{
    for (const row& r : table)
        if (std::strncmp(sqlstate, r.prefix.data(), r.prefix.size()) == 0)
            return r;
    pg_unreachable();
}

std::string or_empty(const char* s)
{
    return s ? s : "";
}

trouble copy(const ErrorData* e)
{
    trouble t;
    t.sqlstate = e->sqlerrcode;
    t.message = or_empty(e->message);
    t.detail = or_empty(e->detail);
    t.hint = or_empty(e->hint);
    t.column = or_empty(e->column_name);
    t.constraint = or_empty(e->constraint_name);
    return t;
}

} // namespace

std::string trouble::code() const
{
    return unpack_sql_state(sqlstate);
}

// "message: detail", without the full stop.
std::string in_words(const trouble& t)
{
    std::string s = t.message;
    if (!t.detail.empty())
        s += ": " + t.detail;
    if (s.ends_with('.'))
        s.pop_back();
    return s;
}

std::string in_full(const trouble& t)
{
    std::string s = in_words(t) + " [" + t.code() + "]";
    if (!t.hint.empty())
        s += ". " + t.hint;
    return s;
}

trouble describe(const ErrorData* e)
{
    trouble t = copy(e);
    t.what = row_of(unpack_sql_state(e->sqlerrcode)).otherwise;
    return t;
}

trouble describe_applied(const ErrorData* e)
{
    trouble t = copy(e);
    t.what = row_of(unpack_sql_state(e->sqlerrcode)).applied;
    return t;
}

trouble describe(const fault& f)
{
    trouble t;
    t.sqlstate = pg::sqlstate_of(f.kind);
    t.message = f.message;
    t.detail = f.detail;
    t.hint = f.hint;
    if (pg::is_transient(f.kind))
        t.what = f.kind == fault_kind::authorization ? remedy::rights : remedy::retry;
    else
        t.what = remedy::schema;
    return t;
}

bool looks_like_schema(const trouble& t)
{
    const char* code = unpack_sql_state(t.sqlstate);
    return code[0] == '4' && code[1] == '2' && std::strcmp(code, "42501") != 0;
}

} // namespace ke::stream
