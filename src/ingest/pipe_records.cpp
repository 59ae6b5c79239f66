// Arrivals one by one: records into rows, ends, failures; and how far each partition is.
// Lane's thread.
#include "ingest/pipe_parts.h"

#include <algorithm>

#include "base/no_backend.h"

namespace ke::ingest {

namespace {

// The headers of the record in work, read when somebody wants them.
class record_headers final : public decode::header_source {
  public:
    record_headers(const kafka::fetch_queue& queue, std::size_t i,
                   std::vector<kafka::header_view>& views, std::vector<decode::header>& headers)
        : queue_(queue), i_(i), views_(views), headers_(headers)
    {
    }
    std::span<const decode::header> read() override
    {
        headers_.clear();
        queue_.headers(i_, views_);
        for (const kafka::header_view& h : views_)
            headers_.push_back({h.name, h.value});
        return headers_;
    }

  private:
    const kafka::fetch_queue& queue_;
    const std::size_t i_;
    std::vector<kafka::header_view>& views_;
    std::vector<decode::header>& headers_;
};

// Kinds the library gets over by itself; all others end the partition.
bool goes_on(fault_kind kind)
{
    return kind == fault_kind::broker_unreachable || kind == fault_kind::authentication ||
           kind == fault_kind::authorization || kind == fault_kind::topic_missing;
}

} // namespace

void pipe::handle(std::size_t i)
{
    const kafka::arrival& a = arrivals_[i];
    if (a.what == kafka::arrival::kind::stray)
        return;
    stretch& s = stretches_[a.slot];
    if (s.done || s.dead || s.parked)
        return;
    switch (a.what) {
    case kafka::arrival::kind::record:
        // The library may begin earlier in a compressed batch than it was asked to.
        if (a.offset.value < s.next)
            return;
        if (s.end >= 0 && a.offset.value >= s.end) {
            finish(s);
            return;
        }
        if (s.end < 0 && !same_log(s, a.broker)) {
            doubt(s);
            return;
        }
        mark_behind(s, true);
        if (!decode(s, i, a))
            return;
        s.failing = false;
        s.next = a.offset.value + 1;
        if (s.end >= 0 && s.next >= s.end)
            finish(s);
        break;
    case kafka::arrival::kind::end:
        s.failing = false;
        reached(s, a);
        break;
    case kafka::arrival::kind::failure:
        failed(s, i);
        break;
    case kafka::arrival::kind::stray:
        break;
    }
}

// False: it waits for its schema.
bool pipe::decode(stretch& s, std::size_t i, const kafka::arrival& a)
{
    record_headers headers(*queue_, i, header_views_, headers_);
    headers_.clear();
    if (spec_->plan->headers_needed)
        headers.read();
    decode::record r{.topic = spec_->topics[s.topic.value],
                     .topic_no = s.topic,
                     .partition = s.partition,
                     .offset = a.offset,
                     .timestamp_ms = a.timestamp_ms,
                     .time_type = a.timestamp_ms < 0  ? decode::timestamp_type::none
                                  : a.log_append_time ? decode::timestamp_type::append
                                                      : decode::timestamp_type::create,
                     .leader_epoch = a.leader_epoch,
                     .key = a.key,
                     .value = a.value,
                     .headers = headers_,
                     .more = &headers};
    std::shared_ptr<const fault> trouble;
    if (decoder_->may_wait() && !decoder_->prepare(r, who_, trouble)) {
        park(s, r, std::move(trouble));
        return false;
    }
    decode::rows& rows = filling_->rows;
    std::uint32_t had_rows = rows.row_count();
    const std::size_t had_messages = rows.messages.size(), had_rejects = rows.rejects.size(),
                      had_origins = rows.origins.size();
    try {
        advance& forward = advance_of(s);
        decoder_->decode(r, rows);
        if (forward.first == forward.next)
            forward.first = a.offset;
        forward.next = message_offset(a.offset.value + 1);
        forward.leader_epoch = a.leader_epoch;
        filling_->bytes += a.key.size + a.value.size;
    } catch (...) {
        // All rows of one message stand or fall together.
        rows.truncate(had_rows);
        rows.messages.resize(had_messages);
        rows.rejects.resize(had_rejects);
        rows.origins.resize(had_origins);
        throw;
    }
    return true;
}

kept_record::kept_record(const decode::record& r)
    : key(r.key.view()), value(r.value.view()), record(r)
{
    for (const decode::header& h : r.headers)
        header_texts.emplace_back(h.name, h.value.view());
    for (std::size_t i = 0; i < header_texts.size(); ++i) {
        const bool null = r.headers[i].value.absent();
        headers.push_back({header_texts[i].first,
                           null ? bytes() : bytes(std::string_view(header_texts[i].second))});
    }
    record.key = r.key.absent() ? bytes() : bytes(std::string_view(key));
    record.value = r.value.absent() ? bytes() : bytes(std::string_view(value));
    record.headers = headers;
    record.more = nullptr;
}

void pipe::park(stretch& s, const decode::record& r, std::shared_ptr<const fault> trouble)
{
    s.parked = std::make_unique<kept_record>(r);
    ++parked_;
    queue_->stop(static_cast<std::uint32_t>(&s - stretches_.data()));
    if (trouble)
        complain(s, *trouble);
}

// Asks again for what parked partitions wait for; those that have it are fetched again.
void pipe::look_at_parked()
{
    for (std::uint32_t slot = 0; slot < stretches_.size(); ++slot) {
        stretch& s = stretches_[slot];
        std::shared_ptr<const fault> trouble;
        if (!s.parked)
            continue;
        if (!decoder_->prepare(s.parked->record, who_, trouble)) {
            if (trouble)
                complain(s, *trouble);
            continue;
        }
        s.parked.reset();
        --parked_;
        auto started =
            queue_->start(slot, spec_->topics[s.topic.value], s.partition, message_offset(s.next));
        if (!started) {
            s.dead = true;
            mark_behind(s, false);
            filling_->faults.push_back(std::move(started.error()));
        }
    }
}

// Once, and again only after something came or it is another trouble.
void pipe::complain(stretch& s, fault f)
{
    if (s.failing && s.told == f.kind)
        return;
    s.failing = true;
    s.told = f.kind;
    f.topic = spec_->topics[s.topic.value];
    f.partition = s.partition.value;
    filling_->faults.push_back(std::move(f));
}

// The end of the log, as far as it may be read: past control records and aborted transactions.
void pipe::reached(stretch& s, const kafka::arrival& a)
{
    std::int64_t at = s.end >= 0 ? std::min(a.offset.value, s.end) : a.offset.value;
    if (at > s.next) {
        advance& forward = advance_of(s);
        bool records = forward.first != forward.next;
        forward.next = message_offset(at);
        if (!records)
            forward.first = forward.next;
        s.next = at;
    }
    if (s.end >= 0 && a.offset.value >= s.end)
        finish(s);
    else if (a.offset.value >= s.next)
        mark_behind(s, false);
}

void pipe::failed(stretch& s, std::size_t i)
{
    fault f = queue_->failure(i);
    if (s.failing && s.told == f.kind)
        return;
    s.failing = true;
    s.told = f.kind;
    if (!goes_on(f.kind)) {
        s.dead = true;
        mark_behind(s, false);
        f.detail += (f.detail.empty() ? "" : " ") + std::string("The position is ") +
                    std::to_string(s.next) + ".";
        queue_->stop(static_cast<std::uint32_t>(&s - stretches_.data()));
    }
    filling_->faults.push_back(std::move(f));
}

// Whether a record came as those before it, and the first one by a connection that was there when the
// partition was opened, or is the broker's first.
bool pipe::same_log(stretch& s, int broker)
{
    if (broker == s.broker && s.connections != nullptr)
        return s.connections->load() == s.connection;
    if (broker < 0)
        return true;
    if (s.broker >= 0 && s.broker != broker)
        return false;
    const bool first = s.broker < 0;
    s.broker = broker;
    s.connections = of_->brokers().of(broker);
    if (s.connections == nullptr) // a new broker, to be asked for again
        return true;
    s.connection = s.connections->load();
    auto before = connections_.find(broker);
    return !first || s.connection <= 1 ||
           (before != connections_.end() && before->second == s.connection);
}

// Ended as by a fault: a feed that begins at the last record applied sees whether it still stands there.
void pipe::doubt(stretch& s)
{
    s.dead = true;
    mark_behind(s, false);
    queue_->stop(static_cast<std::uint32_t>(&s - stretches_.data()));
    filling_->faults.push_back({.kind = fault_kind::log_in_doubt,
                                .message = "a connection was made anew",
                                .topic = spec_->topics[s.topic.value],
                                .partition = s.partition.value});
}

void pipe::finish(stretch& s)
{
    if (s.next < s.end) {
        advance& forward = advance_of(s);
        bool records = forward.first != forward.next;
        forward.next = message_offset(s.end);
        if (!records)
            forward.first = forward.next;
        s.next = s.end;
    }
    s.done = true;
    mark_behind(s, false);
    ++finished_;
}

void pipe::mark_behind(stretch& s, bool behind)
{
    if (s.behind == behind)
        return;
    s.behind = behind;
    if (behind)
        gauge_->behind.fetch_add(1);
    else
        ++settled_;
}

// After the push: whoever sees that all have reached an end finds the last records in the ring.
void pipe::tell_settled()
{
    if (settled_ == 0 && finished_ == 0)
        return;
    gauge_->behind.fetch_sub(settled_);
    gauge_->unfinished.fetch_sub(finished_);
    settled_ = 0;
    finished_ = 0;
    gauge_->bell->ring();
}

advance& pipe::advance_of(stretch& s)
{
    if (s.serial != serial_) {
        filling_->advances.push_back(
            {s.topic, s.partition, message_offset(s.next), message_offset(s.next)});
        s.advance_at = static_cast<std::uint32_t>(filling_->advances.size() - 1);
        s.serial = serial_;
    }
    return filling_->advances[s.advance_at];
}

} // namespace ke::ingest
