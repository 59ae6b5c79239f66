// kafka.partitions(topic table): its partitions with leaders and offsets, as the broker tells them.
// Session's thread.
#include "pg/compat.h"

extern "C" {
#include "catalog/pg_class.h"
#include "foreign/foreign.h"
#include "funcapi.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
}

#include <map>

#include "topic/ask.h"
#include "topic/rights.h"

namespace ke::topic {

namespace {

// Plain rows in the current memory context.
struct partition_row {
    const char* topic;
    std::int32_t partition, leader;
    std::int64_t low, high, last_stable;
};
struct partition_rows {
    partition_row* rows;
    int count;
};

std::int64_t end_in(const std::vector<ingest::watermarks>& ends, const ingest::topic_partition& at)
{
    for (const ingest::watermarks& w : ends)
        if (w.at == at)
            return w.high.value;
    return -1;
}

partition_rows ask_partitions(Oid relid)
{
    const topic_table table = load_topic_table(relid, GetUserId());
    const line l = open_line(CurrentMemoryContext, table);
    const ingest::layout layout = ask_topics(l, table);
    std::map<ingest::topic_partition, std::int32_t> leaders;
    for (const ingest::topic_layout& t : layout.topics)
        for (const ingest::partition_state& p : t.partitions)
            leaders[{t.topic, p.partition}] = p.leader;
    const auto stable = ask_ends(l, layout);
    const connection c{table.server, table.connection, table.registry, table.connect_timeout_ms};
    const auto high = ask_ends(with_uncommitted_ends(l, c), layout);
    partition_rows found{};
    found.rows = pg::call([&] {
        return static_cast<partition_row*>(palloc0(sizeof(partition_row) * (stable.size() + 1)));
    });
    for (const ingest::watermarks& w : stable) {
        partition_row& r = found.rows[found.count++];
        r.topic = pg::call([&] { return static_cast<const char*>(pstrdup(w.at.topic.c_str())); });
        r.partition = w.at.partition.value;
        r.leader = leaders[w.at];
        r.low = w.low.value;
        r.last_stable = w.high.value;
        r.high = end_in(high, w.at);
    }
    return found;
}

} // namespace

} // namespace ke::topic

// (topic, partition, leader, low, high, last_stable)
KE_FUNCTION(kafka_engine_partitions)
{
    using namespace ke;
    const Oid relid = PG_GETARG_OID(0);
    topic::require_topic_table(relid);
    const topic::partition_rows found = pg::entry([&] { return topic::ask_partitions(relid); });
    InitMaterializedSRF(fcinfo, 0);
    auto* result = reinterpret_cast<ReturnSetInfo*>(fcinfo->resultinfo);
    for (int i = 0; i < found.count; ++i) {
        const topic::partition_row& r = found.rows[i];
        Datum values[] = {CStringGetTextDatum(r.topic), Int32GetDatum(r.partition),
                          Int32GetDatum(r.leader),      Int64GetDatum(r.low),
                          Int64GetDatum(r.high),        Int64GetDatum(r.last_stable)};
        bool nulls[] = {false, false, r.leader < 0, false, false, false};
        tuplestore_putvalues(result->setResult, result->setDesc, values, nulls);
    }
    return static_cast<Datum>(0);
}
