#include "topic/kafka_scan.h"

extern "C" {
#include "common/int.h"
#include "utils/builtins.h"
#include "utils/rel.h"
#include "utils/timestamp.h"
}

#include <algorithm>
#include <utility>

#include "pg/guard.h"
#include "topic/estimate.h"

namespace ke::topic {

namespace {

// Records between two ranges that are read and dropped rather than fetched around.
constexpr std::int64_t bridge = 500;

// Moments asked of the broker for each partition, at most.
constexpr std::size_t most_times = 16;

// More questions than that are not worth their while: the earliest moment stands for all.
std::vector<std::int64_t> few(std::vector<std::int64_t> times)
{
    if (times.size() > most_times)
        times.resize(1);
    return times;
}

// Whether no record of any topic can pass.
bool never(const condition* c)
{
    constexpr auto highest = interval_set::highest;
    return (projection(c, decode::role::partition) & interval_set::of(0, INT32_MAX)).empty() ||
           (projection(c, decode::role::offset) & interval_set::of(0, highest)).empty();
}

} // namespace

kafka_scan::kafka_scan(MemoryContext context, statement& s, topic_table table,
                       decode_columns columns, const planned_scan& plan)
    : statement_(s), table_(std::move(table)), line_(s.open_line(context, table_)),
      columns_(std::move(columns)), few_(plan.few)
{
}

void kafka_scan::ask_ends(const condition* c)
{
    if (!never(c))
        statement_.ends(line_, table_);
}

std::vector<partition_ranges> kafka_scan::find_ranges(const condition* c)
{
    std::vector<partition_ranges> found;
    if (never(c))
        return found;
    const std::vector<partition_ends> all = statement_.ends(line_, table_);
    remember(table_.relid, all);

    // Without times first: what is empty then needs no question.
    std::vector<const partition_ends*> kept;
    for (const partition_ends& e : all)
        if (!(leaves(c, {&e.topic, e.partition}) & interval_set::of(e.low, e.end - 1)).empty())
            kept.push_back(&e);

    const time_points points = times_asked(c);
    auto times_for = [&](const partition_ends& e) {
        std::vector<std::int64_t> times = few(points.from);
        if (!points.until.empty() && statement_.times_ascend(line_, e.topic))
            times.insert(times.end(), points.until.begin(), points.until.end());
        return times;
    };
    std::vector<statement::time_question> questions;
    for (const partition_ends* e : kept)
        for (std::int64_t ms : times_for(*e))
            questions.push_back({e->topic, e->partition, ms});
    const std::vector<std::int64_t> offsets = statement::offsets_at(line_, questions);

    std::size_t answer = 0;
    for (const partition_ends* e : kept) {
        std::vector<std::pair<std::int64_t, std::int64_t>> times;
        for (std::int64_t ms : times_for(*e))
            times.emplace_back(ms, offsets[answer++]);
        const bool ascend = !points.until.empty() && statement_.times_ascend(line_, e->topic);
        interval_set left = leaves(c, {&e->topic, e->partition, &times, ascend}) &
                            interval_set::of(e->low, e->end - 1);
        if (!left.empty())
            found.push_back({e->topic, e->partition, left.bridged(bridge).parts()});
    }
    return found;
}

void kafka_scan::open(const condition* c)
{
    close();
    if (!shared_) {
        ranges_ = find_ranges(c);
        read(ranges_);
    }
    open_ = true;
}

void kafka_scan::close()
{
    put_away();
    row = rows = 0;
    open_ = false;
}

void kafka_scan::read(std::vector<partition_ranges> wanted)
{
    put_away();
    reader_ = std::make_unique<reader>(line_, columns_.plan, std::move(wanted), few_);
}

void kafka_scan::put_away()
{
    if (reader_) {
        records_ += reader_->records();
        bytes_ += reader_->bytes();
    }
    reader_.reset();
    chunk_ = nullptr;
    bad_ = nullptr;
}

std::size_t kafka_scan::look_around(const condition* c)
{
    ranges_ = find_ranges(c);
    return size_of_shared(pack_ranges(ranges_).size());
}

void kafka_scan::lead(shared_scan* s)
{
    const bool fits = write_shared(s, pack_ranges(ranges_), ranges_.size());
    shared_ = fits ? s : nullptr; // else the leader reads alone
}

void kafka_scan::join(shared_scan* s)
{
    ranges_ = unpack_ranges(s);
    shared_ = s;
}

void kafka_scan::leave() noexcept
{
    if (!shared_)
        return;
    put_away();
    shared_scan* s = std::exchange(shared_, nullptr);
    records_ += pg_atomic_fetch_add_u64(&s->records, static_cast<std::int64_t>(records_));
    bytes_ += pg_atomic_fetch_add_u64(&s->bytes, static_cast<std::int64_t>(bytes_));
    rejected += pg_atomic_fetch_add_u64(&s->rejected, static_cast<std::int64_t>(rejected));
}

// False: all partitions are claimed.
bool kafka_scan::read_claimed()
{
    const claimed mine = shared_ ? claim(shared_) : claimed{0, 0};
    if (mine.first == mine.last)
        return false;
    read({ranges_.begin() + mine.first, ranges_.begin() + mine.last});
    return true;
}

bool kafka_scan::next_message()
{
    if (chunk_)
        message_++;
    if (!chunk_ || message_ >= chunk_->rows.messages.size()) {
        do
            chunk_ = reader_ ? reader_->next() : nullptr; // never one without messages
        while (!chunk_ && read_claimed());
        message_ = 0;
        reject_ = 0;
        bad_ = nullptr;
        if (!chunk_)
            return false;
    }
    const auto& rejects = chunk_->rows.rejects;
    while (reject_ < rejects.size() && rejects[reject_].message < message_)
        reject_++;
    bad_ = reject_ < rejects.size() && rejects[reject_].message == message_ ? &rejects[reject_]
                                                                            : nullptr;
    return true;
}

const std::string& kafka_scan::topic() const
{
    return reader_->topic(chunk_->rows.messages[message_].topic);
}

// ------------------------------------------------------------------ rows

namespace {

void set(TupleTableSlot* slot, AttrNumber a, Datum d)
{
    if (a <= 0)
        return;
    slot->tts_values[a - 1] = d;
    slot->tts_isnull[a - 1] = false;
}

// Whether the record in work passes the conditions that look at its place and time alone.
bool record_passes(ForeignScanState* node, scan_state* scan)
{
    if (!scan->record_quals)
        return true;
    const kafka_scan& k = *scan->kafka;
    const decode::message_ref& m = k.chunk().rows.messages[k.message()];
    const pushed_columns& columns = scan->plan.columns;
    TupleTableSlot* slot = scan->record_slot;
    ExecClearTuple(slot);
    memset(slot->tts_isnull, true, slot->tts_tupleDescriptor->natts);
    set(slot, columns.topic, CStringGetTextDatum(k.topic().c_str()));
    set(slot, columns.partition, Int32GetDatum(m.partition.value));
    set(slot, columns.offset, Int64GetDatum(m.offset.value));
    constexpr std::int64_t epoch_ms =
        static_cast<std::int64_t>(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000;
    TimestampTz at;
    if (m.timestamp_ms >= 0) {
        if (pg_sub_s64_overflow(m.timestamp_ms, epoch_ms, &at) ||
            pg_mul_s64_overflow(at, 1000, &at) || !IS_VALID_TIMESTAMP(at))
            return true; // no calendar says when: let the record's own error stand
        set(slot, columns.timestamp, TimestampTzGetDatum(at));
    }
    ExecStoreVirtualTuple(slot);
    ExprContext* econtext = node->ss.ps.ps_ExprContext;
    TupleTableSlot* was = econtext->ecxt_scantuple;
    econtext->ecxt_scantuple = slot;
    const bool passes = ExecQual(scan->record_quals, econtext);
    econtext->ecxt_scantuple = was;
    ExecClearTuple(slot);
    ResetExprContext(econtext); // many records may be left out before one is returned
    return passes;
}

} // namespace

bool next_of_kafka(ForeignScanState* node, scan_state* scan, TupleTableSlot* slot)
{
    kafka_scan* k = scan->kafka;
    while (k->row >= k->rows) {
        k->row = k->rows = 0;
        CHECK_FOR_INTERRUPTS(); // a long run of records without rows
        if (!k->next_message())
            return false;
        const decode::message_ref& m = k->chunk().rows.messages[k->message()];
        if (k->bad()) {
            if (record_passes(node, scan))
                raise_reject(node->ss.ss_currentRelation, k, k->bad());
            k->rejected++;
            continue;
        }
        // A value that its type may refuse is not looked at where the record is not wanted.
        if (scan->record_quals && has_pending(scan->maker, k->chunk(), m) &&
            !record_passes(node, scan)) {
            InstrCountFiltered1(node, m.row_count);
            continue;
        }
        k->rows = begin_message(scan->maker, k->chunk(), k->message(), k->topic().c_str());
    }
    store_row(scan->maker, k->chunk(), k->row++, slot);
    return true;
}

} // namespace ke::topic
