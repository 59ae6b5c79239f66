#include "stream/sql.h"

extern "C" {
#include "access/xact.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
}

namespace ke::stream {

privileged begin_privileged()
{
    privileged p;
    GetUserIdAndSecContext(&p.user, &p.security_context);
    SetUserIdAndSecContext(BOOTSTRAP_SUPERUSERID,
                           p.security_context | SECURITY_LOCAL_USERID_CHANGE);
    p.guc_level = NewGUCNestLevel();
    (void)set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
                            GUC_ACTION_SAVE, true, 0, false);
    return p;
}

void end_privileged(const privileged& p)
{
    AtEOXact_GUC(false, p.guc_level);
    SetUserIdAndSecContext(p.user, p.security_context);
}

void sql_arguments::add(Oid type, Datum value, bool null)
{
    Assert(count < most);
    types[count] = type;
    values[count] = value;
    nulls[count] = null ? 'n' : ' ';
    nulls[++count] = '\0';
}

void sql_arguments::add_oid(Oid oid)
{
    add(OIDOID, ObjectIdGetDatum(oid));
}

void sql_arguments::add_text(const char* s)
{
    add(TEXTOID, s ? CStringGetTextDatum(s) : Datum(0), s == nullptr);
}

std::uint64_t run(const char* sql, const sql_arguments& a, long limit)
{
    auto* types = const_cast<Oid*>(a.types);
    auto* values = const_cast<Datum*>(a.values);
    const char* nulls = a.count ? a.nulls : nullptr;
    int code = SPI_ERROR_UNCONNECTED;
    if (!IsolationUsesXactSnapshot())
        code = SPI_execute_with_args(sql, a.count, types, values, nulls, false, limit);
    else if (SPIPlanPtr plan = SPI_prepare(sql, a.count, types))
        code = SPI_execute_snapshot(plan, values, nulls, GetLatestSnapshot(), InvalidSnapshot,
                                    false, true, limit);
    if (code < 0)
        elog(ERROR, "SPI failed: %s", SPI_result_code_string(code));
    return SPI_processed;
}

void spi_stretch::begin()
{
    who = begin_privileged();
    snapshot_pushed = !ActiveSnapshotSet();
    if (snapshot_pushed)
        PushActiveSnapshot(GetTransactionSnapshot());
    if (SPI_connect() != SPI_OK_CONNECT)
        elog(ERROR, "SPI_connect failed");
}

void spi_stretch::end()
{
    if (SPI_finish() != SPI_OK_FINISH)
        elog(ERROR, "SPI_finish failed");
    if (snapshot_pushed)
        PopActiveSnapshot();
    end_privileged(who);
}

char* field(std::uint64_t row, int column)
{
    return SPI_getvalue(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column);
}

Oid oid_field(std::uint64_t row, int column)
{
    bool null;
    Datum d = SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &null);
    return null ? InvalidOid : DatumGetObjectId(d);
}

} // namespace ke::stream
