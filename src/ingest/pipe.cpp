#include "ingest/pipe.h"

#include <algorithm>
#include <chrono>

#include "base/no_backend.h"

namespace ke::ingest {

namespace {

constexpr std::size_t most_chunks = 4096;
// More chunks than this unread: the reader is behind, and a chunk may as well fill up.
constexpr std::size_t eager_chunks = 64;
constexpr std::uint32_t first_rows = 64;
constexpr std::size_t spare_kept = 4;

std::int64_t now_ns()
{
    return std::chrono::duration_cast<std::chrono::nanoseconds>(
               std::chrono::steady_clock::now().time_since_epoch())
        .count();
}

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

struct pipe::slab : chunk {
    using chunk::chunk;
    std::uint64_t weight = 0; // as counted in waiting_bytes

    bool empty() const { return rows.messages.empty() && advances.empty() && faults.empty(); }
    void reset()
    {
        rows.reset();
        advances.clear();
        faults.clear();
        bytes = 0;
        decode_ns = 0;
        fetched_at_us = 0;
        weight = 0;
    }
};

// One partition.   reading -> done (its end was reached) | dead (a fault ended it)
struct pipe::stretch {
    topic_number topic;
    partition_id partition;
    std::int64_t next;
    std::int64_t end; // < 0: none
    bool done = false;
    bool dead = false;
    bool behind = true;
    fault_kind told{};      // the failure told last...
    bool failing = false;   // ... and nothing came since
    std::uint32_t serial = 0; // of the chunk that holds its advance
    std::uint32_t advance_at = 0;
};

pipe::pipe(std::shared_ptr<const feed_spec> spec, std::vector<std::size_t> numbers,
           std::unique_ptr<decode::record_decoder> decoder, std::shared_ptr<feed_gauge> gauge,
           std::uint32_t number)
    : spec_(std::move(spec)), decoder_(std::move(decoder)), gauge_(std::move(gauge)),
      number_(number), ring_(most_chunks), returns_(most_chunks)
{
    for (std::size_t n : numbers) {
        const start_at& s = spec_->partitions[n];
        stretches_.push_back({s.topic, s.partition, s.next.value, s.end.value});
    }
    last_words_ = std::make_unique<slab>(0);
    last_words_->faults.reserve(1);
    last_words_->lane = number_;
    target_rows_ = std::min(first_rows, spec_->chunk_rows);
}

pipe::~pipe() = default;

// --------------------------------------------------------------------- server's thread

chunk* pipe::take() noexcept
{
    slab* c = nullptr;
    if (!ring_.pop(c))
        return nullptr;
    gauge_->waiting_bytes.fetch_sub(c->weight);
    return c;
}

void pipe::give_back(chunk* c) noexcept
{
    returns_.push(static_cast<slab*>(c));
}

bool pipe::can_go_on() noexcept
{
    return stalled_.load() && gauge_->waiting_bytes.load() <= gauge_->ring_bytes / 2 &&
           ring_.read_available() <= eager_chunks / 2 && stalled_.exchange(false);
}

// --------------------------------------------------------------------- lane's thread

void pipe::open(std::shared_ptr<kafka::client> of, int event_fd) noexcept
{
    try {
        slabs_.reserve(most_chunks);
        queue_ = std::make_unique<kafka::fetch_queue>(std::move(of), event_fd);
        for (std::uint32_t slot = 0; slot < stretches_.size(); ++slot) {
            stretch& s = stretches_[slot];
            if (s.end >= 0 && s.next >= s.end) {
                s.done = true;
                mark_behind(s, false);
                ++finished_;
                continue;
            }
            auto started = queue_->start(slot, spec_->topics[s.topic.value], s.partition,
                                         message_offset(s.next));
            if (!started) {
                die(started.error());
                return;
            }
        }
        tell_settled();
    } catch (...) {
        die({.kind = fault_kind::out_of_memory, .message = "out of memory"});
    }
}

void pipe::close() noexcept
{
    queue_.reset();
    if (!is_shut())
        return; // the hub went before its feed, which may still hold chunks
    spare_.clear();
    filling_ = nullptr;
    slabs_.clear();
}

void pipe::add_partitions(std::vector<topic_partition>& to) const
{
    for (const stretch& s : stretches_)
        if (!s.done && !s.dead)
            to.push_back({spec_->topics[s.topic.value], s.partition});
}

bool pipe::turn() noexcept
{
    under_load_ = false;
    if (!queue_)
        return false;
    try {
        return fill();
    } catch (...) {
        die({.kind = fault_kind::out_of_memory, .message = "out of memory"});
        return false;
    }
}

bool pipe::fill()
{
    if (!room() || (filling_ == nullptr && (filling_ = next_slab()) == nullptr)) {
        stalled_.exchange(true);
        return room() && (filling_ != nullptr || returns_.read_available() != 0) &&
               stalled_.exchange(false);
    }
    bool dry = false;
    while (!dry && !full()) {
        if (at_ == arrivals_.size()) {
            take_more();
            dry = arrivals_.empty();
            if (!dry && filling_->fetched_at_us == 0)
                filling_->fetched_at_us = now_ns() / 1000;
        }
        std::int64_t start = now_ns();
        expect();
        while (at_ < arrivals_.size() && !full())
            handle(at_++);
        filling_->decode_ns += now_ns() - start;
    }
    // Under load chunks grow; a queue that ran dry starts small again, for the next record's sake.
    under_load_ = !dry && target_rows_ == spec_->chunk_rows;
    target_rows_ = dry ? std::min(first_rows, spec_->chunk_rows)
                       : std::min(target_rows_ * 2, spec_->chunk_rows);
    if (filling_->empty()) {
        tell_settled();
        if (dry)
            drop_spare();
        return !dry;
    }
    if (dry && ring_.read_available() >= eager_chunks) {
        stalled_.exchange(true);
        if (ring_.read_available() >= eager_chunks || !stalled_.exchange(false))
            return false;
    }
    bool some_finished = finished_ > 0;
    push();
    if (some_finished)
        stop_finished();
    return true;
}

void pipe::take_more()
{
    at_ = 0;
    arrivals_.clear();
    const std::size_t n = queue_->take(target_rows_ - filling_->rows.messages.size());
    for (std::size_t i = 0; i < n; ++i)
        arrivals_.push_back(queue_->at(i));
}

// The decoder may look at what was taken before it is asked for each.
void pipe::expect()
{
    if (at_ != 0 || arrivals_.empty())
        return;
    values_.clear();
    for (const kafka::arrival& a : arrivals_)
        if (a.what == kafka::arrival::kind::record && !a.value.absent())
            values_.push_back(a.value);
    decoder_->expect(values_);
}

// What was read to its end is fetched no further: it would only take room in the library's queue.
void pipe::stop_finished()
{
    for (std::uint32_t slot = 0; slot < stretches_.size(); ++slot)
        if (stretches_[slot].done)
            queue_->stop(slot);
}

void pipe::handle(std::size_t i)
{
    const kafka::arrival& a = arrivals_[i];
    if (a.what == kafka::arrival::kind::stray)
        return;
    stretch& s = stretches_[a.slot];
    if (s.done || s.dead)
        return;
    switch (a.what) {
    case kafka::arrival::kind::record:
        // The library may begin earlier in a compressed batch than it was asked to.
        if (a.offset.value < s.next)
            return;
        s.failing = false;
        if (s.end >= 0 && a.offset.value >= s.end) {
            finish(s);
            return;
        }
        mark_behind(s, true);
        decode(s, i, a);
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

void pipe::decode(stretch& s, std::size_t i, const kafka::arrival& a)
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
                     .time_type = a.timestamp_ms < 0 ? decode::timestamp_type::none
                                  : a.log_append_time ? decode::timestamp_type::append
                                                      : decode::timestamp_type::create,
                     .leader_epoch = a.leader_epoch,
                     .key = a.key,
                     .value = a.value,
                     .headers = headers_,
                     .more = &headers};
    decode::rows& rows = filling_->rows;
    std::uint32_t had_rows = rows.row_count();
    const std::size_t had_messages = rows.messages.size(), had_rejects = rows.rejects.size(),
                      had_origins = rows.origins.size();
    try {
        advance& forward = advance_of(s);
        decoder_->decode(r, rows);
        make_tuples(rows, had_rows);
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
        for (auto& of_layout : rows.tuples)
            of_layout.resize(had_rows);
        throw;
    }
}

void pipe::make_tuples(decode::rows& rows, std::uint32_t from)
{
    for (std::size_t k = 0; k < spec_->tuples.size(); ++k)
        for (std::uint32_t r = from; r < rows.row_count(); ++r)
            rows.tuples[k].push_back(decode::make_tuple(spec_->tuples[k], rows.cells(r),
                                                        rows.states(r), rows.memory));
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
        filling_->advances.push_back({s.topic, s.partition, message_offset(s.next),
                                      message_offset(s.next)});
        s.advance_at = static_cast<std::uint32_t>(filling_->advances.size() - 1);
        s.serial = serial_;
    }
    return filling_->advances[s.advance_at];
}

// --------------------------------------------------------------------- chunks

bool pipe::room() const
{
    return gauge_->waiting_bytes.load() < gauge_->ring_bytes;
}

// A fault stands behind all that was read before it, so it ends its chunk.
bool pipe::full() const
{
    return filling_->rows.messages.size() >= target_rows_ ||
           filling_->rows.row_count() >= spec_->chunk_rows ||
           std::max<std::uint64_t>(filling_->bytes, filling_->rows.memory.used()) >=
               spec_->chunk_bytes ||
           !filling_->faults.empty();
}

pipe::slab* pipe::next_slab()
{
    slab* c = nullptr;
    while (returns_.pop(c))
        if (c != last_words_.get())
            spare_.push_back(c);
    if (!spare_.empty()) {
        c = spare_.back();
        spare_.pop_back();
        c->reset();
    } else if (slabs_.size() < most_chunks - 1) {
        slabs_.push_back(std::make_unique<slab>(spec_->plan->columns.size()));
        slabs_.back()->rows.tuples.resize(spec_->tuples.size());
        spare_.reserve(slabs_.size());
        c = slabs_.back().get();
    } else {
        return nullptr;
    }
    c->lane = number_;
    ++serial_;
    return c;
}

// Memory of a burst goes back once things are quiet.
void pipe::drop_spare()
{
    slab* c = nullptr;
    while (returns_.pop(c))
        if (c != last_words_.get())
            spare_.push_back(c);
    while (spare_.size() > spare_kept) {
        auto at = std::find_if(slabs_.begin(), slabs_.end(),
                               [&](const auto& owned) { return owned.get() == spare_.back(); });
        spare_.pop_back();
        slabs_.erase(at);
    }
}

void pipe::push()
{
    slab* c = filling_;
    filling_ = nullptr;
    c->weight = c->rows.memory.used() +
                std::uint64_t{c->rows.row_count()} * c->rows.columns() * 9 +
                c->rows.messages.size() * sizeof(decode::message_ref);
    gauge_->waiting_bytes.fetch_add(c->weight);
    ring_.push(c);
    tell_settled();
    gauge_->bell->ring();
}

void pipe::die(fault f) noexcept
{
    if (filling_ != nullptr && !filling_->empty())
        push();
    last_words_->faults.push_back(std::move(f)); // reserved
    ring_.push(last_words_.get());
    gauge_->bell->ring();
    queue_.reset();
}

} // namespace ke::ingest
