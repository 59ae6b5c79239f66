// kafka.progress as the worker reads, locks and writes it: once per batch for all its views, by
// arrays. Server's thread, inside a transaction of the worker (a superuser with a safe search_path);
// owns the kept plans of these statements.
//
// Each batch leaves a dead version of each row, and while somebody holds an old snapshot (pg_dump, a
// standby's feedback) none of them can go. Whoever looked a row up by its key, by index or not, would
// walk all of them: so it is looked up where the last batch left it (places). A place is a hint: where
// the row is no longer there, its key finds it.
#include "pg/compat.h"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
}

#include <tuple>

#include "stream/serving.h"

namespace ke::stream {

namespace {

// A statement of ours, its plan kept for the process.
struct statement {
    static constexpr int most = 12;
    const char* sql;
    int count;
    Oid types[most];
    // By default planned for the arrays of each call, whose lengths decide between an index and a scan of
    // the whole. Where the way is the same for all, planned once: it would cost as much as running it.
    int options = 0;
    SPIPlanPtr plan = nullptr;
};

statement read_rows = {
    "SELECT p.view::pg_catalog.oid, p.topic, p.partition, p.next_offset, p.leader_epoch,"
    " p.mark_offset, p.mark_time, p.mark_size FROM kafka.progress p WHERE p.view = ANY ($1)",
    1,
    {OIDARRAYOID}};

// By their keys, and at their places ($4, $12 below).
#define LOCK_ROWS                                                                                  \
    "SELECT w.n, p.ctid, p.next_offset"                                                            \
    " FROM ROWS FROM (unnest($1), unnest($2), unnest($3)) WITH ORDINALITY"                         \
    " AS w (view, topic, partition, n)"                                                            \
    " JOIN kafka.progress p ON p.view = w.view AND p.topic = w.topic AND p.partition = w.partition"
#define LOCKED " ORDER BY w.n FOR UPDATE OF p SKIP LOCKED"

statement lock_rows = {LOCK_ROWS LOCKED, 3, {OIDARRAYOID, TEXTARRAYOID, INT4ARRAYOID}};
statement lock_rows_there = {LOCK_ROWS " WHERE p.ctid = ANY ($4)" LOCKED,
                             4,
                             {OIDARRAYOID, TEXTARRAYOID, INT4ARRAYOID, TIDARRAYOID},
                             CURSOR_OPT_GENERIC_PLAN};

#define WRITE_ROWS                                                                                          \
    "UPDATE kafka.progress p SET next_offset = w.next,"                                                     \
    " leader_epoch = CASE WHEN w.epoch >= 0 THEN w.epoch ELSE p.leader_epoch END,"                          \
    " rows = p.rows + w.rows, skipped = p.skipped + w.skipped,"                                             \
    " mark_offset = CASE w.mark WHEN -1 THEN p.mark_offset WHEN -2 THEN NULL ELSE w.mark END,"              \
    " mark_time = CASE w.mark WHEN -1 THEN p.mark_time ELSE w.mark_time END,"                               \
    " mark_size = CASE w.mark WHEN -1 THEN p.mark_size ELSE w.mark_size END"                                \
    " FROM ROWS FROM (unnest($1), unnest($2), unnest($3), unnest($4), unnest($5), unnest($6),"              \
    " unnest($7), unnest($8), unnest($9), unnest($10), unnest($11))"                                        \
    " WITH ORDINALITY AS w (view, topic, partition, believed, next, epoch, rows, skipped, mark, mark_time," \
    " mark_size, n)"                                                                                        \
    " WHERE p.view = w.view AND p.topic = w.topic AND p.partition = w.partition"                            \
    " AND p.next_offset = w.believed"
#define WRITTEN " RETURNING w.n, p.ctid"

statement write_rows = {WRITE_ROWS WRITTEN,
                        11,
                        {OIDARRAYOID, TEXTARRAYOID, INT4ARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
                         INT4ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
                         INT4ARRAYOID}};
statement write_rows_there = {WRITE_ROWS " AND p.ctid = ANY ($12)" WRITTEN,
                              12,
                              {OIDARRAYOID, TEXTARRAYOID, INT4ARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
                               INT4ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID, INT8ARRAYOID,
                               INT4ARRAYOID, TIDARRAYOID},
                              CURSOR_OPT_GENERIC_PLAN};

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
    {OIDARRAYOID, TEXTARRAYOID, INT4ARRAYOID, INT8ARRAYOID}};

statement active_rows = {"SELECT r.view::pg_catalog.oid FROM kafka.registry r"
                         " WHERE r.view = ANY ($1) AND r.state = 'active'",
                         1,
                         {OIDARRAYOID}};

statement cluster_rows = {
    "UPDATE kafka.registry r SET cluster_id = $2 WHERE r.view IN (SELECT l.view"
    " FROM kafka.registry l WHERE l.view = ANY ($1) AND l.cluster_id IS NULL"
    " FOR NO KEY UPDATE SKIP LOCKED)",
    2,
    {OIDARRAYOID, TEXTOID}};

// Runs it within SPI: the caller connects and finishes. Raises.
void execute(statement& s, Datum* arguments)
{
    if (!s.plan) {
        SPIPlanPtr plan = SPI_prepare_cursor(s.sql, s.count, s.types, s.options);
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
    bool by_value = type != TEXTOID && type != TIDOID;
    int length = type == TEXTOID   ? -1
                 : type == TIDOID  ? static_cast<int>(sizeof(ItemPointerData))
                 : type == INT8OID ? 8
                                   : 4;
    char align = type == INT8OID ? TYPALIGN_DOUBLE : type == TIDOID ? TYPALIGN_SHORT : TYPALIGN_INT;
    return PointerGetDatum(
        construct_array(all, static_cast<int>(n), type, length, by_value, align));
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

using row_key = std::tuple<Oid, std::string, std::int32_t>;

// Where the rows were left by the last batch: this process's, forgotten when a view is read anew.
std::map<row_key, ItemPointerData> places;

row_key key_of(const moved& m)
{
    return {m.view->is.view, m.at.topic, m.at.partition.value};
}

// Some of the moves, by number, and what a statement found of them.
struct found {
    const std::vector<moved>& all;
    std::vector<moved> asked;
    std::vector<std::size_t> numbers; // of those asked, among all
    std::vector<ItemPointerData> at;  // of all; invalid: not known
    std::vector<bool> there;          // of all

    explicit found(const std::vector<moved>& moves)
        : all(moves), asked(moves), numbers(moves.size()), at(moves.size()), there(moves.size())
    {
        for (std::size_t i = 0; i < moves.size(); i++) {
            numbers[i] = i;
            auto known = places.find(key_of(moves[i]));
            if (known != places.end())
                at[i] = known->second;
            else
                ItemPointerSetInvalid(&at[i]);
        }
    }
    bool any_place() const
    {
        return std::any_of(at.begin(), at.end(),
                           [](const ItemPointerData& p) { return ItemPointerIsValid(&p); });
    }
    // To be asked for by key: false where nothing is left.
    bool rest()
    {
        asked.clear();
        numbers.clear();
        for (std::size_t i = 0; i < all.size(); i++)
            if (!there[i]) {
                numbers.push_back(i);
                asked.push_back(all[i]);
            }
        return !asked.empty();
    }
    // A row that the statement gave: its number and its place. Plain.
    std::size_t take(std::uint64_t row)
    {
        bool null;
        std::size_t n =
            numbers[static_cast<std::size_t>(DatumGetInt64(field_of(row, 1, &null))) - 1];
        at[n] = *reinterpret_cast<ItemPointer>(DatumGetPointer(field_of(row, 2, &null)));
        there[n] = true;
        return n;
    }
    void remember() const
    {
        for (std::size_t i = 0; i < all.size(); i++)
            if (there[i])
                places[key_of(all[i])] = at[i];
    }
};

// Raises.
Datum known_places(const found& f)
{
    auto* some = static_cast<ItemPointerData*>(palloc((f.at.size() + 1) * sizeof(ItemPointerData)));
    std::size_t n = 0;
    for (const ItemPointerData& p : f.at)
        if (ItemPointerIsValid(&p))
            some[n++] = p;
    return array_of(n, TIDOID, [&](std::size_t i) { return PointerGetDatum(&some[i]); });
}

// The planner would rather read a table of one page, which it does not stay, and compare each of a few
// rows with each place, which they do not stay either. Raises.
void execute_there(statement& s, Datum* arguments)
{
    int level = NewGUCNestLevel();
    for (const char* way :
         {"enable_seqscan", "enable_indexscan", "enable_bitmapscan", "enable_nestloop"})
        (void)set_config_option(way, "off", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
                                false);
    execute(s, arguments);
    AtEOXact_GUC(true, level);
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
    auto* rows =
        static_cast<plain_position*>(MemoryContextAlloc(caller, (n + 1) * sizeof(plain_position)));
    for (std::uint64_t i = 0; i < n; i++) {
        bool null;
        rows[i].view = DatumGetObjectId(field_of(i, 1, &null));
        rows[i].topic = MemoryContextStrdup(caller, TextDatumGetCString(field_of(i, 2, &null)));
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
        std::erase_if(places, [&](const auto& p) { return std::get<0>(p.first) == v->is.view; });
    }
    plain_positions all = pg::call([&] { return read_all(ids); });
    for (std::uint64_t i = 0; i < all.count; i++) {
        const plain_position& p = all.rows[i];
        for (served_view* v : views)
            if (v->is.view == p.view)
                v->positions[{p.topic, partition_id(p.partition)}] = {p.next, p.next, p.epoch,
                                                                      p.mark};
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
    found f(moves);
    auto lock = [&](bool there) {
        pg::call([&] {
            SPI_connect();
            Datum arguments[] = {view_column(f.asked), topic_column(f.asked),
                                 partition_column(f.asked), there ? known_places(f) : Datum(0)};
            there ? execute_there(lock_rows_there, arguments) : execute(lock_rows, arguments);
            for (std::uint64_t i = 0; i < SPI_processed; i++) {
                bool null;
                const std::size_t n = f.take(i);
                std::int64_t next = DatumGetInt64(field_of(i, 3, &null));
                beliefs[n] = next == moves[n].believed ? belief::right : belief::wrong;
            }
            SPI_finish();
        });
    };
    if (f.any_place())
        lock(true);
    if (f.rest())
        lock(false);
    f.remember();
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
    found f(moves);
    auto write = [&](bool there) {
        const std::vector<moved>& m = f.asked;
        pg::call([&] {
            SPI_connect();
            Datum arguments[] = {
                view_column(m),
                topic_column(m),
                partition_column(m),
                array_of(m.size(), INT8OID,
                         [&](std::size_t i) { return Int64GetDatum(m[i].believed); }),
                next_column(m),
                array_of(m.size(), INT4OID,
                         [&](std::size_t i) { return Int32GetDatum(m[i].epoch); }),
                array_of(m.size(), INT8OID,
                         [&](std::size_t i) { return Int64GetDatum(m[i].rows); }),
                array_of(m.size(), INT8OID,
                         [&](std::size_t i) { return Int64GetDatum(m[i].skipped); }),
                array_of(m.size(), INT8OID,
                         [&](std::size_t i) { return Int64GetDatum(m[i].mark.offset); }),
                array_of(m.size(), INT8OID,
                         [&](std::size_t i) { return Int64GetDatum(m[i].mark.timestamp_ms); }),
                array_of(m.size(), INT4OID,
                         [&](std::size_t i) { return Int32GetDatum(m[i].mark.size); }),
                there ? known_places(f) : Datum(0),
            };
            there ? execute_there(write_rows_there, arguments) : execute(write_rows, arguments);
            for (std::uint64_t i = 0; i < SPI_processed; i++)
                (void)f.take(i);
            SPI_finish();
        });
    };
    if (f.any_place())
        write(true);
    if (f.rest())
        write(false);
    f.remember(); // a hint, also where the transaction is rolled back
    // The rows are locked and were compared; fewer can only mean that something outside our rules
    // wrote them.
    if (std::count(f.there.begin(), f.there.end(), false) > 0)
        pg::call([] {
            ereport(ERROR, (errcode(ERRCODE_T_R_SERIALIZATION_FAILURE),
                            errmsg("positions changed while a batch was applied")));
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
