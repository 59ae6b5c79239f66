// Foreign keys of a view's table, for rows that are gathered beside it (REFRESH, exchange.cpp). The table
// beside has none of its own: making one would keep writers off the table that it refers to for as long as
// the topic is read. Triggers look instead, for all rows of a statement at once, so that a record which the
// view's table would refuse is refused here. What goes away meanwhile the foreign key itself finds, when the
// rows are exchanged. Server's thread, in the user's transaction; plain data.
#include "pg/compat.h"

extern "C" {
#include "catalog/pg_class.h"
#include "catalog/pg_constraint.h"
#include "commands/trigger.h"
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
}

#include "stream/sql.h"

namespace ke::stream {

namespace {

struct foreign_key {
    const char* name;
    Oid from, to;
    bool full; // MATCH FULL
    int count;
    AttrNumber columns[INDEX_MAX_KEYS], keys[INDEX_MAX_KEYS];
    Oid equal[INDEX_MAX_KEYS];
};

foreign_key look_up_key(Oid constraint)
{
    HeapTuple tuple = SearchSysCache1(CONSTROID, ObjectIdGetDatum(constraint));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for constraint %u", constraint);
    auto* c = reinterpret_cast<Form_pg_constraint>(GETSTRUCT(tuple));
    foreign_key k{pstrdup(NameStr(c->conname)), c->conrelid, c->confrelid,
                  c->confmatchtype == FKCONSTR_MATCH_FULL};
    DeconstructFkConstraintRow(tuple, &k.count, k.columns, k.keys, k.equal, nullptr, nullptr,
                               nullptr, nullptr);
    ReleaseSysCache(tuple);
    return k;
}

const char* column_of(const char* alias, Oid relid, AttrNumber number)
{
    return psprintf("%s.%s", alias, quote_identifier(get_attname(relid, number, false)));
}

// The rows of the trigger's statement, called fresh, whose key is not there: the key as text.
const char* query_of(const foreign_key& k)
{
    StringInfoData values, nulls, equal;
    initStringInfo(&values);
    initStringInfo(&nulls);
    initStringInfo(&equal);
    for (int i = 0; i < k.count; i++) {
        const char* mine = column_of("fresh", k.from, k.columns[i]);
        const char* theirs = column_of("x", k.to, k.keys[i]);
        appendStringInfo(&values, ", %s", mine);
        appendStringInfo(&nulls, "%s(%s IS NULL)::int", i ? " + " : "", mine);
        appendStringInfoString(&equal, i ? " AND " : "");
        generate_operator_clause(&equal, theirs, get_atttype(k.to, k.keys[i]), k.equal[i], mine,
                                 get_atttype(k.from, k.columns[i]));
    }
    // By output functions: a cast might be a function of the view's owner.
    return psprintf(
        "SELECT concat_ws(', '%s) FROM fresh WHERE (%s)%s AND NOT EXISTS (SELECT FROM %s%s x"
        " WHERE %s) LIMIT 1",
        values.data, nulls.data, k.full ? psprintf(" < %d", k.count) : " = 0",
        get_rel_relkind(k.to) == RELKIND_PARTITIONED_TABLE ? "" : "ONLY ",
        quote_qualified_identifier(get_namespace_name(get_rel_namespace(k.to)), get_rel_name(k.to)),
        equal.data);
}

const char* names_of(const foreign_key& k)
{
    StringInfoData s;
    initStringInfo(&s);
    for (int i = 0; i < k.count; i++)
        appendStringInfo(&s, "%s%s", i ? ", " : "", get_attname(k.from, k.columns[i], false));
    return s.data;
}

// As the owner of the table that is referred to, as the server's own check does.
const char* find_missing(const foreign_key& k, TriggerData* data)
{
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(k.to));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for relation %u", k.to);
    const Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
    ReleaseSysCache(tuple);
    MemoryContext outer = CurrentMemoryContext;
    const char* sql = query_of(k);
    privileged who = begin_privileged(); // for its search_path
    SetUserIdAndSecContext(owner, who.security_context | SECURITY_LOCAL_USERID_CHANGE |
                                      SECURITY_RESTRICTED_OPERATION | SECURITY_NOFORCE_RLS);
    if (SPI_connect() != SPI_OK_CONNECT || SPI_register_trigger_data(data) < 0)
        elog(ERROR, "SPI_connect failed");
    const int code = SPI_execute(sql, false, 1);
    if (code < 0)
        elog(ERROR, "SPI failed: %s", SPI_result_code_string(code));
    const char* missing = SPI_processed ? MemoryContextStrdup(outer, field(0, 1)) : nullptr;
    SPI_finish();
    end_privileged(who);
    return missing;
}

} // namespace

} // namespace ke::stream

KE_FUNCTION(kafka_engine_check_references)
{
    using namespace ke::stream;
    if (!CALLED_AS_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("this function can only be called by a trigger")));
    auto* data = reinterpret_cast<TriggerData*>(fcinfo->context);
    const foreign_key k = look_up_key(atooid(data->tg_trigger->tgargs[0]));
    if (const char* missing = find_missing(k, data))
        ereport(ERROR,
                (errcode(ERRCODE_FOREIGN_KEY_VIOLATION),
                 errmsg("insert or update on table \"%s\" violates foreign key constraint \"%s\"",
                        get_rel_name(k.from), k.name),
                 errdetail("Key (%s)=(%s) is not present in table \"%s\".", names_of(k), missing,
                           get_rel_name(k.to))));
    return PointerGetDatum(nullptr);
}
