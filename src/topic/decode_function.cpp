// kafka.decode(row type of a topic table, payload [, key [, headers]]): the rows that a record
// makes, without a broker. Session's thread.
#include "pg/compat.h"

extern "C" {
#include "access/sysattr.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/lsyscache.h"
#include "utils/typcache.h"
}

#include <cstring>

#include "decode/decoder.h"
#include "pg/errors.h"
#include "pg/guard.h"
#include "topic/decode_row.h"
#include "topic/given_headers.h"
#include "topic/scan.h"
#include "topic/schemas.h"

namespace ke::topic {

Oid table_of_argument(FunctionCallInfo fcinfo)
{
    const Oid type = get_fn_expr_argtype(fcinfo->flinfo, 0);
    const Oid relid = OidIsValid(type) ? get_typ_typrelid(type) : InvalidOid;
    if (!OidIsValid(relid))
        ereport(
            ERROR,
            (errcode(ERRCODE_WRONG_OBJECT_TYPE),
             errmsg("the first argument is not of the row type of a topic table"),
             errhint("Write for example kafka.decode(NULL::clicks, payload), or kafka.encode(c) of "
                     "a row c of clicks.")));
    return relid;
}

namespace {

// What kafka.decode was given, in the server's memory: plain data.
struct given_record {
    bytes key, value;
    given_headers headers;
};

// What decoding left, owned by the memory context of the call.
struct decoded {
    decode_columns columns;
    ingest::chunk chunk;
    explicit decoded(decode_columns c) : columns(std::move(c)), chunk(columns.plan->columns.size())
    {
    }
};

bytes bytes_of(FunctionCallInfo fcinfo, int argument)
{
    if (PG_ARGISNULL(argument))
        return {};
    bytea* b = PG_GETARG_BYTEA_PP(argument);
    return {VARDATA_ANY(b), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(b))};
}

// There is no record in Kafka: what only one there has stays null.
void forget_place(decode_columns& columns)
{
    for (int& cell : columns.cell_of_attribute) {
        if (cell < 0)
            continue;
        const decode::role what = columns.plan->columns[cell].metadata;
        if (what == decode::role::topic || what == decode::role::partition ||
            what == decode::role::offset)
            cell = -1;
    }
}

decoded* decode_record(Oid relid, const given_record& given)
{
    Bitmapset* all =
        pg::call([] { return bms_make_singleton(0 - FirstLowInvalidHeapAttributeNumber); });
    decoded* d = pg::adopt(CurrentMemoryContext,
                           std::make_unique<decoded>(make_decode_columns(relid, GetUserId(), all)));
    require_registry(relid, d->columns);
    auto decoder = pg::check(decode::record_decoder::make(d->columns.plan));
    std::vector<decode::header> headers;
    for (int i = 0; i < given.headers.count; ++i)
        headers.push_back({given.headers.all[i].name, given.headers.all[i].value});
    decode::record record{};
    record.key = given.key;
    record.value = given.value;
    record.headers = headers;
    await_schemas(*decoder, record);
    decoder->decode(record, d->chunk.rows);
    forget_place(d->columns);
    return d;
}

void raise_reject(const decoded* d)
{
    const decode::reject& r = d->chunk.rows.rejects.front();
    const char* column =
        r.column >= 0 ? pg::to_server(d->columns.plan->columns[r.column].name) : nullptr;
    const char* reason = pg::to_server(r.reason);
    const char* detail = r.detail.empty() ? nullptr : pg::to_server(r.detail);
    ereport(ERROR, (errcode(MAKE_SQLSTATE(r.sqlstate[0], r.sqlstate[1], r.sqlstate[2],
                                          r.sqlstate[3], r.sqlstate[4])),
                    column ? errmsg("column \"%s\": %s", column, reason) : errmsg("%s", reason),
                    detail ? errdetail("%s", detail) : 0));
}

void put_rows(ReturnSetInfo* result, decoded* d)
{
    TupleTableSlot* slot = MakeSingleTupleTableSlot(result->setDesc, &TTSOpsVirtual);
    Bitmapset* all = nullptr;
    for (int i = 1; i <= result->setDesc->natts; ++i)
        all = bms_add_member(all, i - FirstLowInvalidHeapAttributeNumber);
    row_maker* maker = make_row_maker(result->setDesc, d->columns, all);
    for (std::uint32_t m = 0; m < d->chunk.rows.messages.size(); ++m) {
        const std::uint32_t n = begin_message(maker, d->chunk, m, nullptr);
        for (std::uint32_t i = 0; i < n; ++i) {
            CHECK_FOR_INTERRUPTS();
            store_row(maker, d->chunk, i, slot);
            tuplestore_puttupleslot(result->setResult, slot);
        }
    }
    ExecDropSingleTupleTableSlot(slot);
}

} // namespace

} // namespace ke::topic

KE_FUNCTION(kafka_engine_decode)
{
    using namespace ke;
    const Oid relid = topic::table_of_argument(fcinfo);
    topic::given_record given{};
    given.value = topic::bytes_of(fcinfo, 1);
    given.key = topic::bytes_of(fcinfo, 2);
    if (!PG_ARGISNULL(3))
        given.headers = topic::read_headers(PG_GETARG_JSONB_P(3));
    topic::decoded* d = pg::entry([&] { return topic::decode_record(relid, given); });
    if (!d->chunk.rows.rejects.empty())
        topic::raise_reject(d);
    InitMaterializedSRF(fcinfo, 0);
    topic::put_rows(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo), d);
    return static_cast<Datum>(0);
}
