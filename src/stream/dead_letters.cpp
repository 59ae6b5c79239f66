// What is kept of refused records: rows of kafka.dead_letter_log with the bytes as they came, or, under
// on_error = skip, counts by reason in kafka.skip_log. In the transaction of the good rows and the
// positions. Server's thread of a worker.
#include "pg/compat.h"

extern "C" {
#include "catalog/pg_type.h"
#include "mb/pg_wchar.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
}

#include <map>
#include <tuple>

#include "stream/share.h"
#include "stream/sql.h"

namespace ke::stream {

namespace {

// One statement's worth of rows.
constexpr std::size_t most_rows = 1000;
constexpr std::size_t most_bytes = 16 << 20;

using list = std::vector<refused>;
struct stretch {
    const list& all;
    std::size_t first, count;
    const refused& operator[](std::size_t i) const { return all[first + i]; }
};

struct cell {
    Datum value;
    bool null;
};
constexpr cell absent{Datum(0), true};

cell bytea_cell(bytes b)
{
    if (b.absent())
        return absent;
    auto* v = static_cast<bytea*>(palloc(b.size + VARHDRSZ));
    SET_VARSIZE(v, b.size + VARHDRSZ);
    memcpy(VARDATA(v), b.data, b.size);
    return {PointerGetDatum(v), false};
}

cell text_cell(std::string_view s)
{
    return {CStringGetTextDatum(to_server_text(s)), false};
}

cell text_or_null(std::string_view s)
{
    return s.empty() ? absent : text_cell(s);
}

cell time_cell(std::int64_t ms)
{
    // Whatever a producer wrote there: what no timestamptz can hold is null.
    constexpr std::int64_t epoch =
        (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * static_cast<std::int64_t>(SECS_PER_DAY) * 1000;
    if (ms < 0 || ms > INT64_MAX / 1000)
        return absent;
    const TimestampTz t = (ms - epoch) * 1000;
    return IS_VALID_TIMESTAMP(t) ? cell{TimestampTzGetDatum(t), false} : absent;
}

const char* word_of(decode::timestamp_type t)
{
    switch (t) {
    case decode::timestamp_type::create:
        return "create";
    case decode::timestamp_type::append:
        return "append";
    case decode::timestamp_type::none:
        break;
    }
    return "";
}

// get(refused) -> cell; raises, and must own nothing.
template <class Get>
void add_column(sql_arguments& a, const stretch& rows, Oid type, Oid array, Get get)
{
    auto* values = static_cast<Datum*>(palloc(sizeof(Datum) * rows.count));
    auto* nulls = static_cast<bool*>(palloc(rows.count));
    for (std::size_t i = 0; i < rows.count; i++) {
        const cell c = get(rows[i]);
        values[i] = c.value;
        nulls[i] = c.null;
    }
    std::int16_t length;
    bool by_value;
    char align;
    get_typlenbyvalalign(type, &length, &by_value, &align);
    int dimensions[] = {static_cast<int>(rows.count)}, low[] = {1};
    a.add(array, PointerGetDatum(construct_md_array(values, nulls, 1, dimensions, low, type, length,
                                                    by_value, align)));
}

// to: the dead-letter topic, or null.
void insert_dead_letters(Oid view, const char* to, const stretch& rows)
{
    spi_stretch spi;
    spi.begin();
    sql_arguments a;
    a.add_oid(view);
    add_column(a, rows, TEXTOID, TEXTARRAYOID, [](const refused& r) { return text_cell(r.topic); });
    add_column(a, rows, INT4OID, INT4ARRAYOID, [](const refused& r) {
        return cell{Int32GetDatum(r.partition), false};
    });
    add_column(a, rows, INT8OID, INT8ARRAYOID, [](const refused& r) {
        return cell{Int64GetDatum(r.offset), false};
    });
    add_column(a, rows, TIMESTAMPTZOID, TIMESTAMPTZARRAYOID,
               [](const refused& r) { return time_cell(r.timestamp_ms); });
    add_column(a, rows, BYTEAOID, BYTEAARRAYOID,
               [](const refused& r) { return bytea_cell(r.record->key); });
    add_column(a, rows, BYTEAOID, BYTEAARRAYOID,
               [](const refused& r) { return bytea_cell(r.record->value); });
    add_column(a, rows, TEXTOID, TEXTARRAYOID,
               [](const refused& r) { return text_or_null(r.record->headers); });
    add_column(a, rows, TEXTOID, TEXTARRAYOID,
               [](const refused& r) { return text_or_null(word_of(r.record->time_type)); });
    add_column(a, rows, INT4OID, INT4ARRAYOID, [](const refused& r) {
        const std::int32_t epoch = r.record->leader_epoch;
        return cell{Int32GetDatum(epoch), epoch < 0};
    });
    add_column(a, rows, TEXTOID, TEXTARRAYOID,
               [](const refused& r) { return text_cell(r.sqlstate); });
    add_column(a, rows, TEXTOID, TEXTARRAYOID,
               [](const refused& r) { return text_cell(r.reason); });
    add_column(a, rows, TEXTOID, TEXTARRAYOID,
               [](const refused& r) { return text_or_null(r.detail); });
    add_column(a, rows, TEXTOID, TEXTARRAYOID,
               [](const refused& r) { return text_or_null(r.column); });
    a.add_text(to);
    add_column(a, rows, TEXTOID, TEXTARRAYOID, [](const refused& r) { return text_cell(r.stage); });
    // A view that reads the dead-letter topic itself gives it nothing: that would go round for ever.
    run("INSERT INTO kafka.dead_letter_log (view, topic, partition, record_offset, record_time, key,"
        " value, headers, time_type, leader_epoch, sqlstate, message, detail, column_name, to_topic,"
        " stage) SELECT $1, topic, partition, record_offset, record_time, key, value, headers::jsonb,"
        " time_type, leader_epoch, sqlstate, message, detail, column_name, nullif($15, topic),"
        " CASE WHEN $15 <> topic THEN stage END FROM ROWS FROM (unnest($2), unnest($3), unnest($4), unnest($5), unnest($6), unnest($7),"
        " unnest($8), unnest($9), unnest($10), unnest($11), unnest($12), unnest($13), unnest($14),"
        " unnest($16))"
        " AS w (topic, partition, record_offset, record_time, key, value, headers, time_type,"
        " leader_epoch, sqlstate, message, detail, column_name, stage)",
        a);
    spi.end();
}

void keep_records(Oid view, const char* to, const list& all)
{
    for (std::size_t first = 0; first < all.size();) {
        std::size_t count = 0, size = 0;
        while (first + count < all.size() && count < most_rows && size < most_bytes) {
            const decode::origin& record = *all[first + count++].record;
            size += record.key.size + record.value.size + record.headers.size();
        }
        pg::call([&] {
            MemoryContext memory = AllocSetContextCreate(CurrentMemoryContext, "kafka dead letters",
                                                         ALLOCSET_DEFAULT_SIZES);
            MemoryContext old = MemoryContextSwitchTo(memory);
            insert_dead_letters(view, to, {all, first, count});
            MemoryContextSwitchTo(old);
            MemoryContextDelete(memory);
        });
        first += count;
    }
}

struct skip_count {
    std::int64_t records = 0;
    const refused* newest = nullptr;
};

void add_skipped(Oid view, const skip_count& c)
{
    const refused& r = *c.newest;
    spi_stretch spi;
    spi.begin();
    sql_arguments a;
    a.add_oid(view);
    a.add_text(r.topic.c_str());
    a.add(INT4OID, Int32GetDatum(r.partition));
    a.add_text(r.sqlstate.c_str());
    a.add_text(to_server_text(r.column));
    a.add(INT8OID, Int64GetDatum(c.records));
    a.add_text(to_server_text(r.reason));
    a.add(INT8OID, Int64GetDatum(r.offset));
    run("INSERT INTO kafka.skip_log AS s"
        " (view, topic, partition, sqlstate, column_name, records, message, last_offset)"
        " VALUES ($1, $2, $3, $4, $5, $6, $7, $8)"
        " ON CONFLICT (view, topic, partition, sqlstate, column_name) DO UPDATE"
        " SET records = s.records + excluded.records, message = excluded.message,"
        " last_offset = excluded.last_offset, last_at = excluded.last_at",
        a);
    spi.end();
}

void count_skipped(Oid view, const list& all)
{
    using key = std::tuple<std::string, std::int32_t, std::string, std::string>;
    std::map<key, skip_count> counts; // in the order in which rows are locked everywhere
    for (const refused& r : all) {
        skip_count& c = counts[{r.topic, r.partition, r.sqlstate, r.column}];
        c.records++;
        c.newest = &r;
    }
    for (const auto& entry : counts)
        pg::call([&] { add_skipped(view, entry.second); });
}

} // namespace

char* to_server_text(std::string_view s)
{
    char* text = pnstrdup(s.data(), s.size());
    const bool utf8 = GetDatabaseEncoding() == PG_UTF8;
    for (std::size_t i = 0; i < s.size();) {
        auto* p = reinterpret_cast<unsigned char*>(text) + i;
        std::size_t n = 1;
        if (*p == 0) {
            *p = '?';
        } else if (*p >= 0x80) {
            n = static_cast<std::size_t>(pg_utf_mblen(p));
            if (!utf8 || i + n > s.size() || !pg_utf8_islegal(p, static_cast<int>(n))) {
                *p = '?';
                n = 1;
            }
        }
        i += n;
    }
    return text;
}

std::int64_t count_dead_letters(Oid view, std::int64_t most)
{
    return pg::call([&] {
        spi_stretch spi;
        spi.begin();
        sql_arguments a;
        a.add_oid(view);
        a.add(INT8OID, Int64GetDatum(most));
        run("SELECT count(*) FROM (SELECT 1 FROM kafka.dead_letter_log d WHERE d.view = $1 LIMIT $2) x",
            a);
        bool null;
        const std::int64_t n =
            DatumGetInt64(SPI_getbinval(SPI_tuptable->vals[0], SPI_tuptable->tupdesc, 1, &null));
        spi.end();
        return n;
    });
}

void write_refusals(const share& s)
{
    if (s.refusals.empty())
        return;
    const view_options& o = s.view->is.options;
    if (o.on_error == "dead_letter")
        keep_records(s.view->is.view,
                     o.dead_letter_topic.empty() ? nullptr : o.dead_letter_topic.c_str(),
                     s.refusals);
    else
        count_skipped(s.view->is.view, s.refusals);
}

} // namespace ke::stream
