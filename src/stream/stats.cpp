// What kafka.views, kafka.lag and kafka.workers read from shared memory. Any session; plain data on the stack,
// except where a call into stream/live needs more. Texts that can hold data (reason, error) are given
// to the view's owner, roles that inherit from it, and superusers only.
#include "stream/shmem_layout.h"

extern "C" {
#include "access/htup_details.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "funcapi.h"
#include "mb/pg_wchar.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/fmgrprotos.h"
#include "utils/jsonb.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
}

#include <algorithm>
#include <cmath>
#include <optional>

namespace ke::stream {

namespace {

// A view that no worker speaks for: why.
struct absence {
    const char* state;
    const char* reason; // null: none
};

absence why_absent()
{
    if (!shared)
        return {"waiting", "kafka_engine is not in shared_preload_libraries"};
    if (RecoveryInProgress())
        return {"waiting", "the server is a standby: workers run after its promotion"};
    locked l(LW_SHARED);
    const database_slot* d = find_database(MyDatabaseId);
    if (d && d->no_process && d->supervisor.pid == 0)
        return {"waiting", "no background worker is free for the supervisor: raise "
                           "max_worker_processes"};
    return {"starting", nullptr};
}

bool may_read_texts(Oid view)
{
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(view));
    if (!HeapTupleIsValid(tuple))
        return superuser();
    const Oid owner = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple))->relowner;
    ReleaseSysCache(tuple);
    return has_privs_of_role(GetUserId(), owner);
}

Datum interval_of(double us)
{
    auto* i = static_cast<Interval*>(palloc0(sizeof(Interval)));
    i->time = static_cast<TimeOffset>(us);
    return IntervalPGetDatum(i);
}

// One row of a function's result.
struct row {
    static constexpr int most = 16;
    Datum values[most] = {};
    bool nulls[most];
    int n = 0;

    row() { std::fill(nulls, nulls + most, true); }
    void null() { n++; }
    void add(Datum d)
    {
        values[n] = d;
        nulls[n++] = false;
    }
    void text(const char* s)
    {
        if (s && *s)
            add(CStringGetTextDatum(s));
        else
            null();
    }
    void time(TimestampTz t)
    {
        if (t != 0)
            add(TimestampTzGetDatum(t));
        else
            null();
    }
    void put(ReturnSetInfo* to) { tuplestore_putvalues(to->setResult, to->setDesc, values, nulls); }
};

bool is_alive(int slot)
{
    return slot >= 0 && shared->worker[slot].database == MyDatabaseId &&
           shared->worker[slot].process.pid != 0;
}

// Since when a position has been behind: by the samples of the topic's end; where it has been behind
// for longer than they reach, by the rate at which the topic grew in them. Negative: not known.
double behind_us(const end_entry& e, std::int64_t position, TimestampTz now)
{
    if (position >= e.end)
        return 0;
    for (int i = 0; i < e.samples; i++)
        if (e.sample[i].end > position) {
            if (i > 0)
                return now - e.sample[i - 1].at;
            const auto& last = e.sample[e.samples - 1];
            const double grown = last.end - e.sample[0].end;
            const double passed = last.at - e.sample[0].at;
            if (grown <= 0 || passed <= 0)
                return -1;
            return now - e.sample[0].at + (e.sample[0].end - position) * passed / grown;
        }
    return e.samples > 0 ? now - e.sample[e.samples - 1].at : -1;
}

double growth(const end_entry& e) // records a second
{
    if (e.samples < 2)
        return 0;
    const auto& last = e.sample[e.samples - 1];
    const double passed = last.at - e.sample[0].at;
    return passed > 0 ? (last.end - e.sample[0].end) * second / passed : 0;
}

std::optional<end_entry> find_end(Oid topic_table, const char* topic, int partition)
{
    if (!attach_tables())
        return std::nullopt;
    end_key key = {};
    key.topic = hash_of(topic);
    key.database = MyDatabaseId;
    key.topic_table = topic_table;
    key.partition = partition;
    auto* e = static_cast<end_entry*>(dshash_find(ends, &key, false));
    if (!e)
        return std::nullopt;
    const end_entry copy = *e;
    dshash_release_lock(ends, e);
    return copy;
}

} // namespace

} // namespace ke::stream

using namespace ke;
using namespace ke::stream;

// () -> state, reason: what holds for views that no worker speaks for
KE_FUNCTION(kafka_engine_absence)
{
    InitMaterializedSRF(fcinfo, 0);
    const absence a = why_absent();
    row r;
    r.text(a.state);
    r.text(a.reason);
    r.put(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo));
    return Datum(0);
}

// () -> view, state, since, reason, error, error_at
KE_FUNCTION(kafka_engine_live_views)
{
    InitMaterializedSRF(fcinfo, 0);
    if (!attach_tables())
        return Datum(0);
    int n = 0;
    view_entry* list = copy_entries<view_entry>(views, &n);
    for (int i = 0; i < n; i++) {
        const view_entry& v = list[i];
        const bool readable = may_read_texts(v.key.view);
        const bool orphaned = v.slot >= 0 && !is_alive(v.slot);
        row r;
        r.add(ObjectIdGetDatum(v.key.view));
        if (orphaned) {
            const absence a = why_absent();
            r.text(a.state);
            r.time(v.since);
            r.text(a.reason);
        } else {
            r.text(v.stuck ? name_of(live_state::stuck) : name_of(v.state));
            r.time(v.since);
            const bool unknown = v.stuck && v.reason[0] == '\0';
            r.text(unknown     ? "there is more to read, nothing comes, and no cause is known"
                   : !readable ? nullptr
                               : v.reason);
        }
        r.text(readable ? v.error : nullptr);
        r.time(v.error_at);
        r.put(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo));
    }
    return Datum(0);
}

// (topic_table) -> how many workers serve it
KE_FUNCTION(kafka_engine_workers_of)
{
    const Oid table = PG_GETARG_OID(0);
    if (!attach_tables())
        PG_RETURN_INT32(0);
    int n = 0, workers = 0;
    unit_entry* list = copy_entries<unit_entry>(units, &n);
    for (int i = 0; i < n; i++) {
        if (list[i].key.topic_table != table || !is_alive(list[i].holder))
            continue;
        bool counted = false;
        for (int j = 0; j < i; j++)
            counted =
                counted || (list[j].key.topic_table == table && list[j].holder == list[i].holder);
        workers += !counted;
    }
    PG_RETURN_INT32(workers);
}

// (topic_table) -> topic, partition, low, end_offset, as_of
KE_FUNCTION(kafka_engine_ends)
{
    InitMaterializedSRF(fcinfo, 0);
    if (!attach_tables())
        return Datum(0);
    const Oid table = PG_GETARG_OID(0);
    int n = 0;
    end_entry* list = copy_entries<end_entry>(
        ends, &n, [&](const end_entry& e) { return e.key.topic_table == table; });
    for (int i = 0; i < n; i++) {
        row r;
        r.text(list[i].topic);
        r.add(Int32GetDatum(list[i].key.partition));
        if (list[i].low >= 0)
            r.add(Int64GetDatum(list[i].low));
        else
            r.null();
        r.add(Int64GetDatum(list[i].end));
        r.time(list[i].as_of);
        r.put(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo));
    }
    return Datum(0);
}

// (view, topic_table, topic, partition, next_offset as stored)
//     -> position, seconds_behind, catch_up_time
KE_FUNCTION(kafka_engine_progress_of)
{
    InitMaterializedSRF(fcinfo, 0);
    const char* topic = text_to_cstring(PG_GETARG_TEXT_PP(2));
    const int partition = PG_GETARG_INT32(3);
    std::int64_t position = PG_GETARG_INT64(4);
    double rate = 0;
    const auto seen = seen_position(MyDatabaseId, PG_GETARG_OID(0), topic, partition);
    if (seen && seen->stored == position) {
        position = seen->next;
        rate = seen->rate;
    }
    row r;
    r.add(Int64GetDatum(position));
    if (const auto end = find_end(PG_GETARG_OID(1), topic, partition)) {
        const double late = behind_us(*end, position, GetCurrentTimestamp());
        const double gain = rate - growth(*end);
        if (late >= 0)
            r.add(Float8GetDatum(std::round(late / 1000) / 1000));
        else
            r.null();
        if (position >= end->end)
            r.add(interval_of(0));
        else if (gain > 0)
            r.add(interval_of((end->end - position) / gain * second));
    }
    r.put(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo));
    return Datum(0);
}

// () -> pid, topics, partitions, rows, bytes, batches, rejects, last_batch_at, fetch_time,
//       decode_time, ring_time, apply_time, commit_time, wal_bytes, librdkafka
KE_FUNCTION(kafka_engine_workers)
{
    InitMaterializedSRF(fcinfo, 0);
    if (!attach_tables())
        return Datum(0);
    for (int i = 0; i < shared->workers; i++) {
        const worker_slot& w = shared->worker[i];
        char* json = nullptr;
        pid_t pid;
        {
            locked l(LW_SHARED);
            if (!is_alive(i))
                continue;
            pid = w.process.pid;
            if (DsaPointerIsValid(w.librdkafka))
                json = pstrdup(static_cast<char*>(dsa_get_address(area, w.librdkafka)));
        }
        const worker_statistics& s = w.statistics;
        row r;
        r.add(Int32GetDatum(pid));
        r.add(Int32GetDatum(static_cast<int>(s.topics)));
        r.add(Int32GetDatum(static_cast<int>(s.partitions)));
        for (const auto* count : {&s.rows, &s.bytes, &s.batches, &s.rejects})
            r.add(Int64GetDatum(count->load()));
        r.time(s.last_batch_at);
        for (const auto* us : {&s.fetch_us, &s.decode_us, &s.ring_us, &s.apply_us, &s.commit_us})
            r.add(interval_of(static_cast<double>(us->load())));
        r.add(Int64GetDatum(s.wal_bytes.load()));
        if (json)
            r.add(DirectFunctionCall1(jsonb_in, CStringGetDatum(json)));
        r.put(reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo));
    }
    return Datum(0);
}
