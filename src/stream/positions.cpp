// kafka.progress as the worker reads, locks and writes it: once per batch for all its views, by
// arrays. Server's thread, inside a transaction of the worker (a superuser with a safe search_path);
// owns the kept plans of these statements.
#include "pg/compat.h"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
}

#include "stream/serving.h"

namespace ke::stream {

namespace {

// A statement of ours, its plan kept for the process.
struct statement {
    static constexpr int most = 11;
    const char* sql;
    int count;
    Oid types[most];
    SPIPlanPtr plan;
};

statement read_rows = {
    "SELECT p.view::pg_catalog.oid, p.topic, p.partition, p.next_offset, p.leader_epoch,"
    " p.mark_offset, p.mark_time, p.mark_size FROM kafka.progress p WHERE p.view = ANY ($1)",
    1,
    {OIDARRAYOID},
    nullptr};

statement lock_rows = {
    "SELECT w.n, p.next_offset"
    " FROM ROWS FROM (unnest($1), unnest($2), unnest($3)) WITH ORDINALITY"
    " AS w (view, topic, partition, n)"
    " JOIN kafka.progress p ON p.view = w.view AND p.topic = w.topic AND p.partition = w.partition"
    " ORDER BY w.n FOR UPDATE OF p SKIP LOCKED",
    3,
    {OIDARRAYOID, TEXTARRAYOID, INT4ARRAYOID},
    nullptr};

statement write_rows = {
    "UPDATE kafka.progress p SET next_offset = w.next,"
    " leader_epoch = CASE WHEN w.epoch >= 0 THEN w.epoch ELSE p.leader_epoch END,"
    " rows = p.rows + w.rows, skipped = p.skipped + w.skipped,"
    " mark_offset = CASE w.mark WHEN -1 THEN p.mark_offset WHEN -2 THEN NULL ELSE w.mark END,"
    " mark_time = CASE w.mark WHEN -1 THEN p.mark_time ELSE w.mark_time END,"
    " mark_size = CASE w.mark WHEN -1 THEN p.mark_size ELSE w.mark_size END"
    " FROM ROWS FROM (unnest($1), unnest($2), unnest($3), unnest($4), unnest($5), unnest($6),"
    " unnest($7), unnest($8), unnest($9), unnest($10), unnest($11))"
    " AS w (view, topic, partition, believed, next, epoch, rows, skipped, mark, mark_time, mark_size)"
    " WHERE p.view = w.view AND p.topic = w.topic AND p.partition = w.partition"
    " AND p.next_offset = w.believed",
    11,
    {OIDARRAYOID, TEXTARRAYOID, INT4ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID,
     INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT4ARRAYOID},
    nullptr};

// A row is only made while its view's registry row can be locked and says active: a drop or a pause
// on its way wins.
statement insert_rows = {
    "WITH made AS (INSERT INTO kafka.progress (view, topic, partition, next_offset)"
    " SELECT w.view, w.topic, w.partition, w.next"
    " FROM ROWS FROM (unnest($1), unnest($2), unnest($3), unnest($4))"
    " AS w (view, topic, partition, next)"
    " WHERE w.view IN (SELECT r.view FROM kafka.registry r"
    " WHERE r.view = ANY ($1) AND r.state = 'active' FOR SHARE SKIP LOCKED)"
    " ON CONFLICT DO NOTHING RETURNING view, topic, partition, next_offset)"
    " INSERT INTO kafka.begun AS b (view, topic, partition, first_offset) SELECT * FROM made"
    " ON CONFLICT (view, topic, partition) DO UPDATE SET first_offset = excluded.first_offset"
    " WHERE b.first_offset > excluded.first_offset",
    4,
    {OIDARRAYOID, TEXTARRAYOID, INT4ARRAYOID, INT8ARRAYOID},
    nullptr};

statement active_rows = {
    "SELECT r.view::pg_catalog.oid FROM kafka.registry r"
    " WHERE r.view = ANY ($1) AND r.state = 'active'",
    1,
    {OIDARRAYOID},
    nullptr};

statement cluster_rows = {
    "UPDATE kafka.registry r SET cluster_id = $2 WHERE r.view IN (SELECT l.view"
    " FROM kafka.registry l WHERE l.view = ANY ($1) AND l.cluster_id IS NULL"
    " FOR NO KEY UPDATE SKIP LOCKED)",
    2,
    {OIDARRAYOID, TEXTOID},
    nullptr};

// Runs it within SPI: the caller connects and finishes. Raises.
void execute(statement& s, Datum* arguments)
{
    if (!s.plan) {
        SPIPlanPtr plan = SPI_prepare(s.sql, s.count, s.types);
        if (!plan)
            elog(ERROR, "could not prepare \"%s\": %s", s.sql, SPI_result_code_string(SPI_result));
        SPI_keepplan(plan);
        s.plan = plan;
    }
    int code = SPI_execute_plan(s.plan, arguments, nullptr, false, 0);
    if (code < 0)
        elog(ERROR, "could not run \"%s\": %s", s.sql, SPI_result_code_string(code));
}

Datum field_of(std::uint64_t row, int column, bool* null)
{
    return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, null);
}

// One array per column; get(i) gives the i-th element. Raises; get must be plain.
template <class Get>
Datum array_of(std::size_t n, Oid type, Get get)
{
    auto* all = static_cast<Datum*>(palloc((n + 1) * sizeof(Datum)));
    for (std::size_t i = 0; i < n; i++)
        all[i] = get(i);
    bool by_value = type != TEXTOID;
    int length = type == TEXTOID ? -1 : type == INT8OID ? 8 : 4;
    char align = type == INT8OID ? TYPALIGN_DOUBLE : TYPALIGN_INT;
    return PointerGetDatum(construct_array(all, static_cast<int>(n), type, length, by_value, align));
}

Datum oids(const std::vector<Oid>& v)
{
    return array_of(v.size(), OIDOID, [&](std::size_t i) { return ObjectIdGetDatum(v[i]); });
}

Datum view_column(const std::vector<moved>& m)
{
    return array_of(m.size(), OIDOID,
                    [&](std::size_t i) { return ObjectIdGetDatum(m[i].view->is.view); });
}
Datum topic_column(const std::vector<moved>& m)
{
    return array_of(m.size(), TEXTOID,
                    [&](std::size_t i) { return CStringGetTextDatum(m[i].at.topic.c_str()); });
}
Datum partition_column(const std::vector<moved>& m)
{
    return array_of(m.size(), INT4OID,
                    [&](std::size_t i) { return Int32GetDatum(m[i].at.partition.value); });
}
Datum next_column(const std::vector<moved>& m)
{
    return array_of(m.size(), INT8OID, [&](std::size_t i) { return Int64GetDatum(m[i].to); });
}

struct plain_position {
    Oid view;
    const char* topic;
    std::int32_t partition;
    std::int64_t next;
    std::int32_t epoch;
    log_mark mark;
};
struct plain_positions {
    plain_position* rows;
    std::uint64_t count;
};

// In the context that was current before SPI.
plain_positions read_all(const std::vector<Oid>& views)
{
    MemoryContext caller = CurrentMemoryContext;
    SPI_connect();
    Datum arguments[] = {oids(views)};
    execute(read_rows, arguments);
    std::uint64_t n = SPI_processed;
    auto* rows = static_cast<plain_position*>(
        MemoryContextAlloc(caller, (n + 1) * sizeof(plain_position)));
    for (std::uint64_t i = 0; i < n; i++) {
        bool null;
        rows[i].view = DatumGetObjectId(field_of(i, 1, &null));
        rows[i].topic =
            MemoryContextStrdup(caller, TextDatumGetCString(field_of(i, 2, &null)));
        rows[i].partition = DatumGetInt32(field_of(i, 3, &null));
        rows[i].next = DatumGetInt64(field_of(i, 4, &null));
        Datum epoch = field_of(i, 5, &null);
        rows[i].epoch = null ? -1 : DatumGetInt32(epoch);
        rows[i].mark = {};
        Datum mark = field_of(i, 6, &null);
        if (!null)
            rows[i].mark = {DatumGetInt64(mark), DatumGetInt64(field_of(i, 7, &null)),
                            DatumGetInt32(field_of(i, 8, &null))};
    }
    SPI_finish();
    return {rows, n};
}

} // namespace

void read_positions(const std::vector<served_view*>& views)
{
    std::vector<Oid> ids;
    for (served_view* v : views) {
        ids.push_back(v->is.view);
        v->positions.clear();
    }
    plain_positions all = pg::call([&] { return read_all(ids); });
    for (std::uint64_t i = 0; i < all.count; i++) {
        const plain_position& p = all.rows[i];
        for (served_view* v : views)
            if (v->is.view == p.view)
                v->positions[{p.topic, partition_id(p.partition)}] = {p.next, p.next, p.epoch, p.mark};
    }
}

std::map<Oid, std::map<partition_key, std::int64_t>> stored_positions(const std::vector<Oid>& views)
{
    std::map<Oid, std::map<partition_key, std::int64_t>> stored;
    plain_positions all = pg::call([&] { return read_all(views); });
    for (std::uint64_t i = 0; i < all.count; i++) {
        const plain_position& p = all.rows[i];
        stored[p.view][{p.topic, partition_id(p.partition)}] = p.next;
    }
    return stored;
}

std::vector<belief> lock_positions(const std::vector<moved>& moves)
{
    std::vector<belief> beliefs(moves.size(), belief::locked);
    pg::call([&] {
        SPI_connect();
        Datum arguments[] = {view_column(moves), topic_column(moves), partition_column(moves)};
        execute(lock_rows, arguments);
        for (std::uint64_t i = 0; i < SPI_processed; i++) {
            bool null;
            auto n = static_cast<std::size_t>(DatumGetInt64(field_of(i, 1, &null))) - 1;
            std::int64_t next = DatumGetInt64(field_of(i, 2, &null));
            beliefs[n] = next == moves[n].believed ? belief::right : belief::wrong;
        }
        SPI_finish();
    });
    return beliefs;
}

std::set<Oid> active_views(const std::vector<Oid>& views)
{
    Oid* active = nullptr;
    std::uint64_t n = 0;
    pg::call([&] {
        MemoryContext caller = CurrentMemoryContext;
        SPI_connect();
        Datum arguments[] = {oids(views)};
        execute(active_rows, arguments);
        n = SPI_processed;
        active = static_cast<Oid*>(MemoryContextAlloc(caller, (n + 1) * sizeof(Oid)));
        for (std::uint64_t i = 0; i < n; i++) {
            bool null;
            active[i] = DatumGetObjectId(field_of(i, 1, &null));
        }
        SPI_finish();
    });
    return std::set<Oid>(active, active + n);
}

void write_positions(const std::vector<moved>& moves)
{
    pg::call([&] {
        SPI_connect();
        Datum arguments[] = {
            view_column(moves),
            topic_column(moves),
            partition_column(moves),
            array_of(moves.size(), INT8OID,
                     [&](std::size_t i) { return Int64GetDatum(moves[i].believed); }),
            next_column(moves),
            array_of(moves.size(), INT4OID,
                     [&](std::size_t i) { return Int32GetDatum(moves[i].epoch); }),
            array_of(moves.size(), INT8OID,
                     [&](std::size_t i) { return Int64GetDatum(moves[i].rows); }),
            array_of(moves.size(), INT8OID,
                     [&](std::size_t i) { return Int64GetDatum(moves[i].skipped); }),
            array_of(moves.size(), INT8OID,
                     [&](std::size_t i) { return Int64GetDatum(moves[i].mark.offset); }),
            array_of(moves.size(), INT8OID,
                     [&](std::size_t i) { return Int64GetDatum(moves[i].mark.timestamp_ms); }),
            array_of(moves.size(), INT4OID,
                     [&](std::size_t i) { return Int32GetDatum(moves[i].mark.size); }),
        };
        execute(write_rows, arguments);
        // The rows are locked and were compared; fewer can only mean that something outside our
        // rules wrote them.
        if (SPI_processed != moves.size())
            ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                            errmsg("positions changed while a batch was applied")));
        SPI_finish();
    });
}

void insert_positions(const std::vector<moved>& moves)
{
    pg::call([&] {
        SPI_connect();
        Datum arguments[] = {view_column(moves), topic_column(moves), partition_column(moves),
                             next_column(moves)};
        execute(insert_rows, arguments);
        SPI_finish();
    });
}

void write_cluster(const std::vector<Oid>& views, const std::string& cluster_id)
{
    pg::call([&] {
        SPI_connect();
        Datum arguments[] = {oids(views), CStringGetTextDatum(cluster_id.c_str())};
        execute(cluster_rows, arguments);
        SPI_finish();
    });
}

} // namespace ke::stream
