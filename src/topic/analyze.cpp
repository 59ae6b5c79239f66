// ANALYZE of a topic table: a sample from runs of records spread over each partition, the row count
// from the watermarks. Bad records are left out of the sample; they fail nothing.
#include "topic/kafka_scan.h"

extern "C" {
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "commands/vacuum.h"
#include "utils/memutils.h"
#include "utils/rel.h"
#include "utils/sampling.h"
}

#include <algorithm>

#include "pg/guard.h"
#include "topic/estimate.h"

namespace ke::topic {

namespace {

// Runs per partition: enough to see a topic change over time, few enough to be fetched quickly.
constexpr std::int64_t runs = 8;

// Which records to read of one partition: all, or `runs` stretches of together about `share`.
std::vector<interval> stretches(const partition_ends& e, std::int64_t share)
{
    const std::int64_t n = e.end - e.low;
    if (n <= 0)
        return {};
    if (n <= share * 2)
        return {{e.low, e.end - 1}};
    std::vector<interval> found;
    const std::int64_t length = std::max<std::int64_t>(share / runs, 1);
    for (std::int64_t i = 0; i < runs; i++) {
        const std::int64_t first = e.low + (n - length) / (runs - 1) * i;
        found.push_back({first, first + length - 1});
    }
    return interval_set::of(std::move(found)).parts();
}

// What ANALYZE reads with; adopted by the memory context of the command.
struct sampler {
    statement shared;
    topic_table table;
    line to;
    decode_columns columns;
    double records = 0; // in the topic
    std::unique_ptr<reader> source;
};

std::unique_ptr<sampler> open(Oid relid, int rows)
{
    auto s = std::make_unique<sampler>();
    s->table = load_topic_table(relid, GetUserId());
    s->to = s->shared.open_line(CurrentMemoryContext, s->table);
    Bitmapset* all = pg::call([] {
        return bms_make_singleton(0 - FirstLowInvalidHeapAttributeNumber); // the whole row
    });
    s->columns = make_decode_columns(relid, GetUserId(), all);
    const auto ends = s->shared.ends(s->to, s->table);
    remember(relid, ends);
    std::vector<partition_ranges> ranges;
    const std::int64_t share =
        std::max<std::int64_t>(rows / std::max<std::size_t>(ends.size(), 1), 1);
    for (const partition_ends& e : ends) {
        s->records += static_cast<double>(std::max<std::int64_t>(e.end - e.low, 0));
        ranges.push_back({e.topic, e.partition, stretches(e, share)});
    }
    s->source = std::make_unique<reader>(s->to, s->columns.plan, std::move(ranges), false);
    return s;
}

// Keeps row number seen (from 0) of a stream whose length is not known, with equal chance for each.
// Where to put it, or -1.
int place(ReservoirState reservoir, double seen, int wanted, double* skip)
{
    if (seen < wanted)
        return static_cast<int>(seen);
    if (*skip < 0)
        *skip = reservoir_get_next_S(reservoir, seen, wanted);
    if ((*skip)-- > 0)
        return -1;
    return static_cast<int>(wanted * sampler_random_fract(&reservoir->randstate));
}

int acquire(Relation table, int, HeapTuple* rows, int wanted, double* total, double* dead)
{
    TupleDesc tuple = RelationGetDescr(table);
    sampler* s = pg::adopt(CurrentMemoryContext, open(RelationGetRelid(table), wanted));
    Bitmapset* all = bms_make_singleton(0 - FirstLowInvalidHeapAttributeNumber);
    row_maker* maker = make_row_maker(tuple, s->columns, all);
    maker->errors_are_rows = true; // refused values become rows of NULLs, which are dropped below
    const bool keep_errors = s->columns.plan->has_error_column;

    TupleTableSlot* slot = MakeSingleTupleTableSlot(tuple, &TTSOpsVirtual);
    ReservoirStateData reservoir;
    reservoir_init_selection_state(&reservoir, wanted);
    double seen = 0, records = 0, skip = -1;
    int kept = 0;
    MemoryContext row_memory =
        AllocSetContextCreate(CurrentMemoryContext, "kafka sample row", ALLOCSET_DEFAULT_SIZES);
    while (ingest::chunk* chunk = s->source->next()) {
        const std::uint32_t n = chunk->rows.messages.size();
        records += n;
        for (std::uint32_t m = 0; m < n; m++) {
            MemoryContextReset(row_memory);
            MemoryContext old = MemoryContextSwitchTo(row_memory);
            const std::uint64_t refused = maker->refused;
            const char* topic = s->source->topic(chunk->rows.messages[m].topic).c_str();
            std::uint32_t count = begin_message(maker, *chunk, m, topic);
            if (maker->refused != refused && !keep_errors)
                count = 0;
            for (std::uint32_t r = 0; r < count; r++) {
                store_row(maker, *chunk, r, slot);
                const int at = place(&reservoir, seen++, wanted, &skip);
                if (at < 0)
                    continue;
                MemoryContextSwitchTo(old);
                if (at < kept)
                    heap_freetuple(rows[at]);
                rows[at] = ExecCopySlotHeapTuple(slot);
                kept = std::max(kept, at + 1);
                MemoryContextSwitchTo(row_memory);
            }
            MemoryContextSwitchTo(old);
            CHECK_FOR_INTERRUPTS();
        }
    }
    ExecDropSingleTupleTableSlot(slot);
    // Rows per record as in what was read, times the records that are there.
    *total = records > 0 ? s->records * (seen / records) : 0;
    *dead = 0;
    s->source.reset();
    return kept;
}

int acquire_sample(Relation table, int level, HeapTuple* rows, int wanted, double* total,
                   double* dead)
{
    return pg::entry([&] { return acquire(table, level, rows, wanted, total, dead); });
}

} // namespace

bool analyze_table(Relation, AcquireSampleRowsFunc* sample, BlockNumber* pages)
{
    *sample = acquire_sample;
    *pages = 1; // a topic has none; 0 would say "never analyzed"
    return true;
}

} // namespace ke::topic
