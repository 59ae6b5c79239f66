#include "topic/reader.h"

#include <algorithm>

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
    if (chunk_)
        feed_->give_back(chunk_);
    chunk_ = nullptr;
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
        else if (pg::is_transient(f.kind))
            last_words_ = f;
        else
            throw pg::fault_error(f);
    }
}

ingest::chunk* reader::next()
{
    give_back();
    for (;;) {
        if (!gaps_.empty())
            go_on_after_gap();
        if (!feed_) {
            if (!next_round())
                return nullptr;
            continue;
        }
        if (ingest::chunk* c = feed_->take()) {
            chunk_ = c;
            account(*c);
            if (!c->rows.messages.empty())
                return c;
            give_back();
        } else if (feed_->exhausted()) {
            feed_.reset();
        } else {
            await_chunk();
        }
    }
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
        progress_ = clock::now();
        return;
    }
    if (probe_.pending() || clock::now() - progress_ < half)
        return;
    for (const part& p : parts_)
        if (p.left() && p.next <= p.ranges[p.round].last) {
            probe_ = line_.hub->ask_watermarks(
                line_.client, {{topics_[p.topic.value], partition_id(p.partition)}}, half);
            return;
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
            auto marks = await(line_, line_.hub->ask_watermarks(
                                          line_.client, {{g.topic, partition_id(g.partition)}},
                                          line_.timeout));
            if (marks.empty() || marks[0].error || marks[0].low.value <= p.next)
                throw pg::fault_error(g); // not retention: the log ends before our position
            p.next = marks[0].low.value;
        }
    open_feed();
}

} // namespace ke::topic
