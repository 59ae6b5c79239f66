#include "topic/reader.h"

#include <algorithm>
#include <utility>

#include "pg/errors.h"

namespace ke::topic {

namespace {

using std::chrono::milliseconds;

} // namespace

reader::reader(const line& l, std::shared_ptr<const decode::row_plan> plan,
               std::vector<partition_ranges> wanted, bool few)
    : line_(l), plan_(std::move(plan)), few_(few)
{
    for (partition_ranges& w : wanted) {
        if (w.ranges.empty())
            continue;
        auto at = std::find(topics_.begin(), topics_.end(), w.topic);
        const auto number = static_cast<std::uint16_t>(at - topics_.begin());
        if (at == topics_.end())
            topics_.push_back(w.topic);
        const std::int64_t first = w.ranges[0].first;
        parts_.push_back({topic_number(number), w.partition, std::move(w.ranges), 0, first});
    }
    if (!parts_.empty())
        open_feed();
}

reader::~reader()
{
    give_back();
}

// A feed of each partition's current range.
void reader::open_feed()
{
    ingest::feed_spec spec;
    spec.topics = topics_;
    spec.plan = plan_;
    if (few_) {
        spec.chunk_rows = 64;
        spec.ring_bytes = 256 * 1024;
    }
    for (const part& p : parts_)
        if (p.left() && p.next <= p.ranges[p.round].last)
            spec.partitions.push_back({p.topic, partition_id(p.partition), message_offset(p.next),
                                       message_offset(p.ranges[p.round].last + 1)});
    feed_.reset();
    if (!spec.partitions.empty())
        feed_ = pg::check(line_.hub->open_feed(line_.client, std::move(spec)));
    progress_ = clock::now();
    probe_ = {};
    last_words_.reset();
}

// False: everything has been read.
bool reader::next_round()
{
    bool more = false;
    for (part& p : parts_) {
        if (!p.left())
            continue;
        p.round++;
        if (p.left()) {
            p.next = p.ranges[p.round].first;
            more = true;
        }
    }
    feed_.reset();
    if (more)
        open_feed();
    return more;
}

void reader::give_back()
{
    for (ingest::chunk* c : lent_)
        feed_->give_back(c);
    lent_.clear();
}

reader::part* reader::find(topic_number topic, std::int32_t partition)
{
    for (part& p : parts_)
        if (p.topic == topic && p.partition == partition)
            return &p;
    return nullptr;
}

// Notes how far a chunk brings us and what faults stand behind it.
void reader::account(const ingest::chunk& chunk)
{
    for (const ingest::advance& a : chunk.advances)
        if (part* p = find(a.topic, a.partition.value))
            p->next = std::max(p->next, a.next.value);
    if (!chunk.advances.empty()) {
        progress_ = clock::now();
        probe_ = {};
        last_words_.reset();
    }
    records_ += chunk.rows.messages.size();
    bytes_ += chunk.bytes;
    for (const fault& f : chunk.faults) {
        if (f.kind == fault_kind::offset_out_of_range)
            gaps_.push_back(f);
        else if (pg::is_transient(f.kind) && f.kind != fault_kind::registry_unreachable &&
                 f.kind != fault_kind::registry_refused) // the broker would answer for ever
            last_words_ = f;
        else
            throw pg::fault_error(f);
    }
}

ingest::chunk* reader::next()
{
    const auto& one = gather(1, 0);
    return one.empty() ? nullptr : one[0];
}

const std::vector<ingest::chunk*>& reader::gather(std::size_t records, std::uint64_t bytes)
{
    give_back();
    std::size_t lent_records = 0;
    std::uint64_t lent_bytes = 0;
    while (lent_.empty() || (lent_records < records && lent_bytes < bytes)) {
        // Where the feed ends or is made anew its chunks go first.
        if (!lent_.empty() && (!gaps_.empty() || feed_->exhausted()))
            break;
        if (!gaps_.empty())
            go_on_after_gap();
        if (!feed_) {
            if (!next_round())
                break;
            continue;
        }
        if (ingest::chunk* c = feed_->take()) {
            account(*c);
            if (c->rows.messages.empty()) {
                feed_->give_back(c);
                continue;
            }
            lent_.push_back(c);
            lent_records += c->rows.messages.size();
            lent_bytes += c->bytes;
        } else if (feed_->exhausted()) {
            if (lent_.empty())
                feed_.reset();
        } else {
            await_chunk();
        }
    }
    return lent_;
}

void reader::await_chunk()
{
    const auto slice = std::clamp(line_.timeout / 4, milliseconds(10), milliseconds(1000));
    if (!pg::wait_until(line_.hub->bell(), slice,
                        [&] { return feed_->ready() || feed_->exhausted(); }))
        look_after_broker();
}

// Nothing has come for a while. A long run of aborted records brings nothing either, so the broker is
// asked something before it is given up: a statement fails after connect_timeout without an answer.
void reader::look_after_broker()
{
    const milliseconds half = std::max(line_.timeout / 2, milliseconds(5));
    if (auto cause = line_.hub->complaint(line_.client);
        cause && cause->kind == fault_kind::too_large)
        fail(line_, std::move(*cause));
    if (probe_.pending() && probe_.ready()) {
        auto answer = probe_.take();
        std::optional<fault> bad;
        if (!answer)
            bad = answer.error();
        else if (!answer.value().empty())
            bad = answer.value()[0].error;
        if (bad) {
            if (last_words_ && bad->kind == fault_kind::broker_unreachable)
                bad = last_words_;
            fail(line_, std::move(*bad));
        }
        look_for_cuts(answer.value());
        progress_ = clock::now();
        return;
    }
    if (probe_.pending() || clock::now() - progress_ < half)
        return;
    std::vector<ingest::topic_partition> open;
    for (const part& p : parts_)
        if (p.left() && p.next <= p.ranges[p.round].last)
            open.push_back({topics_[p.topic.value], partition_id(p.partition)});
    if (!open.empty())
        probe_ = line_.hub->ask_watermarks(line_.client, std::move(open), half);
}

// A log that ends below what the statement saw of it at its start (made anew, or cut by an election
// that was not clean) will never bring the rest. Looked at twice: a leader that was elected a moment ago
// may not know its end yet.
void reader::look_for_cuts(const std::vector<ingest::watermarks>& marks)
{
    for (const ingest::watermarks& m : marks)
        for (part& p : parts_) {
            if (m.error || topics_[p.topic.value] != m.at.topic ||
                p.partition != m.at.partition.value || !p.left())
                continue;
            const std::int64_t end = p.ranges[p.round].last + 1;
            const bool cut = m.high.value < end && p.next >= m.high.value;
            if (!cut || !std::exchange(p.suspect, true)) {
                p.suspect = cut;
                continue;
            }
            fault f;
            f.kind = fault_kind::offset_out_of_range;
            f.message = "partition " + std::to_string(p.partition) + " of topic \"" + m.at.topic +
                        "\" was cut while it was read";
            f.detail = "It ends at offset " + std::to_string(m.high.value) +
                       " now; the statement was to read up to offset " + std::to_string(end) + ".";
            f.hint = "Run the statement again to read what is there.";
            throw pg::fault_error(std::move(f));
        }
}

// Retention took records between the look at the ends and the reading of them: they are gone, as if
// the statement had started later. Goes on with what is still there.
void reader::go_on_after_gap()
{
    std::vector<fault> gaps = std::move(gaps_);
    gaps_.clear();
    for (const fault& g : gaps)
        for (part& p : parts_) {
            if (topics_[p.topic.value] != g.topic || p.partition != g.partition || !p.left())
                continue;
            auto marks = await(
                line_, line_.hub->ask_watermarks(
                           line_.client, {{g.topic, partition_id(g.partition)}}, line_.timeout));
            if (marks.empty() || marks[0].error || marks[0].low.value <= p.next)
                throw pg::fault_error(g); // not retention: the log ends before our position
            p.next = marks[0].low.value;
        }
    open_feed();
}

} // namespace ke::topic
