// kafka.retry and kafka.discard: dead letters taken out again. A retry decodes the records as the topic
// table decodes now and runs the view's plan over them, page by page, by the same careful replay as a
// worker's batch (replay.h); all in the caller's transaction: an error that is no record's fault fails
// the statement. Positions are not touched, and the worker goes on meanwhile.
//
// Session's thread. The conditions run as the view's owner, security-restricted, and so does the plan.
#include "stream/ddl.h"
#include "topic/schemas.h"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "commands/trigger.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "nodes/makefuncs.h"
#include "storage/lmgr.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
}

#include "decode/decoder.h"
#include "stream/condition.h"
#include "stream/letters.h"
#include "stream/refused.h"
#include "stream/replay.h"
#include "stream/sql.h"

namespace ke::stream {

namespace {

// A page ends at either.
constexpr int page_rows = 10000;
constexpr std::int64_t page_bytes = 16 << 20;

// Which dead letters, in the order in which they are tried, and how large each is.
struct chosen_letters {
    int count;
    const std::int64_t* ids;
    const std::int64_t* sizes;
};

const std::int64_t* numbers_of(Datum array, bool null, int* count)
{
    *count = 0;
    if (null)
        return nullptr;
    ArrayType* a = DatumGetArrayTypePCopy(array);
    *count = ArrayGetNItems(ARR_NDIM(a), ARR_DIMS(a));
    return reinterpret_cast<const std::int64_t*>(ARR_DATA_PTR(a));
}

// In the caller's memory context.
chosen_letters choose(const registered_view& v, const char* condition)
{
    MemoryContext outer = CurrentMemoryContext;
    if (condition)
        check_condition(condition);
    owner_scope before = become_owner(v);
    SPI_connect();
    sql_arguments a;
    a.add_oid(v.view);
    run(psprintf(
            "SELECT array_agg(c.id ORDER BY c.n), array_agg(c.size ORDER BY c.n) FROM"
            " (SELECT id, coalesce(octet_length(key), 0)::int8 + coalesce(octet_length(value), 0)"
            " AS size, row_number() OVER (ORDER BY topic, partition, record_offset, id) AS n"
            " FROM kafka.dead_letters WHERE view = $1 AND (%s\n)) c",
            condition ? condition : "true"),
        a);
    chosen_letters c{};
    bool null;
    MemoryContext inner = MemoryContextSwitchTo(outer);
    Datum ids = column_of(0, 1, &null);
    c.ids = numbers_of(ids, null, &c.count);
    Datum sizes = column_of(0, 2, &null);
    c.sizes = numbers_of(sizes, null, &c.count);
    MemoryContextSwitchTo(inner);
    SPI_finish();
    become_self(before);
    return c;
}

Datum id_array(const std::int64_t* ids, int count)
{
    auto* d = static_cast<Datum*>(palloc(sizeof(Datum) * (count + 1)));
    for (int i = 0; i < count; i++)
        d[i] = Int64GetDatum(ids[i]);
    return PointerGetDatum(construct_array(d, count, INT8OID, 8, true, TYPALIGN_DOUBLE));
}

// Locked; one that somebody else took away meanwhile is not among them.
letters read_page(const std::int64_t* ids, int count)
{
    MemoryContext to = CurrentMemoryContext;
    spi_stretch spi;
    spi.begin();
    sql_arguments a;
    a.add(INT8ARRAYOID, id_array(ids, count));
    letters page{};
    page.count = run("SELECT " LETTER_COLUMNS " FROM unnest($1) WITH ORDINALITY w (id, n)"
                     " JOIN kafka.dead_letter_log d ON d.id = w.id ORDER BY w.n FOR UPDATE OF d",
                     a);
    page.all = static_cast<letter*>(MemoryContextAlloc(to, sizeof(letter) * (page.count + 1)));
    for (std::uint64_t i = 0; i < page.count; i++)
        page.all[i] = letter_of(i, to);
    spi.end();
    return page;
}

void forget(const std::int64_t* ids, int count)
{
    spi_stretch spi;
    spi.begin();
    sql_arguments a;
    a.add(INT8ARRAYOID, id_array(ids, count));
    run("DELETE FROM kafka.dead_letter_log WHERE id = ANY ($1)", a);
    spi.end();
}

void give_new_reason(std::int64_t id, const refused& f)
{
    spi_stretch spi;
    spi.begin();
    sql_arguments a;
    a.add(INT8OID, Int64GetDatum(id));
    a.add_text(f.sqlstate.c_str());
    a.add_text(to_server_text(f.reason));
    a.add_text(f.detail.empty() ? nullptr : to_server_text(f.detail));
    a.add_text(f.column.empty() ? nullptr : to_server_text(f.column));
    run("UPDATE kafka.dead_letter_log SET sqlstate = $2, message = $3, detail = $4, column_name = $5,"
        " attempts = attempts + 1, failed_at = clock_timestamp() WHERE id = $1",
        a);
    spi.end();
}

struct outcome {
    std::int64_t retried, stored, kept;
};

// A view's plan in a session, and what it makes of pages of dead letters.
class retrying {
  public:
    explicit retrying(registered_view is);
    ~retrying() { free_plan(view_.plan); }
    retrying(const retrying&) = delete;
    retrying& operator=(const retrying&) = delete;
    void try_again(const letters&, outcome&);

  private:
    void decode(const letters&, topic::batch&, ingest::chunk&);
    std::vector<refused> refused_of(const ingest::chunk&) const;

    served_view view_;
};

// By OID, as everybody. The query only against DDL: kafka.pause need not wait for a retry.
void lock_relations_of(const registered_view& v)
{
    std::map<Oid, LOCKMODE> wanted = {{v.query, AccessShareLock}, {v.topic_table, AccessShareLock}};
    wanted[v.target] = RowExclusiveLock;
    for (auto [oid, mode] : wanted)
        pg::call([o = oid, m = mode] { LockRelationOid(o, m); });
}

retrying::retrying(registered_view is)
{
    view_.is = std::move(is);
    const registered_view& v = view_.is;
    lock_relations_of(v);
    Oid server = pg::call([&] { return GetForeignTable(v.topic_table)->serverid; });
    check_usage(server, v.owner);
    topic::batch planned_for; // no broker is asked for estimates
    topic::batch_in_force scope(&planned_for);
    plan_view(view_);
    view_.plan.columns = columns_for(v.topic_table, v.owner, view_.plan.attributes);
}

void retrying::decode(const letters& page, topic::batch& rows, ingest::chunk& chunk)
{
    auto decoder = pg::check(decode::record_decoder::make(view_.plan.columns.plan));
    std::vector<decode::header> headers;
    for (std::uint64_t i = 0; i < page.count; i++) {
        const letter& l = page.all[i];
        if (rows.topics.empty() || rows.topics.back() != l.topic) // they come by topic
            rows.topics.emplace_back(l.topic);
        headers.clear();
        for (int h = 0; h < l.headers.count; h++)
            headers.push_back({l.headers.all[h].name, l.headers.all[h].value});
        decode::record r{};
        r.topic = l.topic;
        r.topic_no = topic_number(static_cast<std::uint16_t>(rows.topics.size() - 1));
        r.partition = partition_id(l.partition);
        r.offset = message_offset(l.offset);
        r.timestamp_ms = l.timestamp_ms;
        r.time_type = l.time_type;
        r.leader_epoch = l.leader_epoch;
        r.key = l.key;
        r.value = l.value;
        r.headers = headers;
        topic::await_schemas(*decoder, r);
        decoder->decode(r, chunk.rows);
    }
}

// Those that still do not decode.
std::vector<refused> retrying::refused_of(const ingest::chunk& chunk) const
{
    std::vector<refused> all;
    for (const decode::reject& r : chunk.rows.rejects) {
        refused f;
        f.number = r.message;
        give_reason(f, r, *view_.plan.columns.plan);
        all.push_back(std::move(f));
    }
    return all;
}

void retrying::try_again(const letters& page, outcome& sum)
{
    ingest::chunk chunk(view_.plan.columns.plan->columns.size());
    topic::batch rows;
    rows.topic_table = view_.is.topic_table;
    rows.columns = &view_.plan.columns;
    rows.chunks = {&chunk};
    decode(page, rows, chunk);

    std::vector<refused> kept = refused_of(chunk);
    replay r{view_, rows};
    r.refuse = [&](std::uint32_t number, const trouble& t) {
        refused f;
        f.number = number;
        give_reason(f, t, rows.at_column);
        kept.push_back(std::move(f));
        return true;
    };
    run_replay(r, static_cast<std::uint32_t>(page.count));

    std::vector<bool> stays(page.count);
    for (const refused& f : kept) {
        stays[f.number] = true;
        pg::call([&] { give_new_reason(page.all[f.number].id, f); });
    }
    std::vector<std::int64_t> gone;
    for (std::uint64_t i = 0; i < page.count; i++)
        if (!stays[i])
            gone.push_back(page.all[i].id);
    pg::call([&] { forget(gone.data(), static_cast<int>(gone.size())); });
    sum.retried += static_cast<std::int64_t>(page.count);
    sum.kept += static_cast<std::int64_t>(kept.size());
    sum.stored += static_cast<std::int64_t>(gone.size());
}

outcome retry(Oid view, const char* condition)
{
    registered_view is = load_view(view);
    chosen_letters chosen = pg::call([&] { return choose(is, condition); });
    outcome sum{};
    if (chosen.count == 0)
        return sum;
    MemoryContext page_memory = pg::call([] {
        settle_session();
        return AllocSetContextCreate(CurrentMemoryContext, "kafka retry", ALLOCSET_DEFAULT_SIZES);
    });
    retrying work(std::move(is));
    for (int first = 0; first < chosen.count;) {
        int count = 0;
        std::int64_t size = 0;
        while (first + count < chosen.count && count < page_rows && size < page_bytes)
            size += chosen.sizes[first + count++];
        MemoryContext old = MemoryContextSwitchTo(page_memory);
        letters page = pg::call([&] { return read_page(chosen.ids + first, count); });
        work.try_again(page, sum);
        MemoryContextSwitchTo(old);
        pg::call([&] { MemoryContextReset(page_memory); });
        first += count;
    }
    return sum;
}

std::int64_t discard(Oid view, const char* condition)
{
    registered_view is = load_view(view);
    return pg::call([&] {
        chosen_letters chosen = choose(is, condition);
        spi_stretch spi;
        spi.begin();
        sql_arguments a;
        a.add(INT8ARRAYOID, id_array(chosen.ids, chosen.count));
        auto n = static_cast<std::int64_t>(
            run("DELETE FROM kafka.dead_letter_log WHERE id = ANY ($1)", a));
        spi.end();
        return n;
    });
}

Oid view_argument(FunctionCallInfo fcinfo)
{
    if (PG_ARGISNULL(0))
        ereport(ERROR,
                (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED), errmsg("the view must not be null")));
    return PG_GETARG_OID(0);
}

const char* condition_argument(FunctionCallInfo fcinfo)
{
    return PG_ARGISNULL(1) ? nullptr : text_to_cstring(PG_GETARG_TEXT_PP(1));
}

} // namespace

} // namespace ke::stream

KE_FUNCTION(kafka_engine_retry)
{
    using namespace ke;
    TupleDesc tuple;
    if (get_call_result_type(fcinfo, nullptr, &tuple) != TYPEFUNC_COMPOSITE)
        elog(ERROR, "kafka.retry returns a row");
    const Oid view = stream::view_argument(fcinfo);
    const char* condition = stream::condition_argument(fcinfo);
    stream::look_up(view, false);
    const int level = NewGUCNestLevel();
    stream::outcome o = pg::entry([&] { return stream::retry(view, condition); });
    AtEOXact_GUC(false, level);
    Datum values[] = {Int64GetDatum(o.retried), Int64GetDatum(o.stored), Int64GetDatum(o.kept)};
    bool nulls[3] = {};
    PG_RETURN_DATUM(HeapTupleGetDatum(heap_form_tuple(BlessTupleDesc(tuple), values, nulls)));
}

KE_FUNCTION(kafka_engine_discard)
{
    using namespace ke;
    const Oid view = stream::view_argument(fcinfo);
    const char* condition = stream::condition_argument(fcinfo);
    stream::look_up(view, false);
    PG_RETURN_INT64(pg::entry([&] { return stream::discard(view, condition); }));
}
