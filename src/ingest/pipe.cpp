#include "ingest/pipe_parts.h"

#include <algorithm>
#include <chrono>
#include <utility>

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

} // namespace

pipe::pipe(std::shared_ptr<const feed_spec> spec, std::vector<std::size_t> numbers,
           std::unique_ptr<decode::record_decoder> decoder, std::shared_ptr<feed_gauge> gauge,
           std::uint32_t number)
    : spec_(std::move(spec)), decoder_(std::move(decoder)), gauge_(std::move(gauge)),
      number_(number), ring_(most_chunks), returns_(most_chunks)
{
    for (std::size_t n : numbers) {
        const start_at& s = spec_->partitions[n];
        stretch of{};
        of.topic = s.topic;
        of.partition = s.partition;
        of.next = s.next.value;
        of.end = s.end.value;
        stretches_.push_back(std::move(of));
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

void pipe::open(std::shared_ptr<kafka::client> of, int event_fd,
                std::weak_ptr<registry::listener> who) noexcept
{
    who_ = std::move(who);
    try {
        slabs_.reserve(most_chunks);
        connections_ = of->brokers().all();
        of_ = of;
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
    of_.reset();
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
    if (!room() || (filling_ == nullptr && (filling_ = next_slab()) == nullptr))
        return stall();
    if (stalled_at_ != 0)
        filling_->ring_ns += now_ns() - std::exchange(stalled_at_, 0);
    bool dry = false;
    while (!dry && !full()) {
        if (at_ == arrivals_.size()) {
            if (parked_ > 0)
                look_at_parked();
            if (full()) // with a complaint
                break;
            take_more();
            dry = arrivals_.empty();
        }
        const std::int64_t start = now_ns();
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

// No room: true where there is some after all.
bool pipe::stall()
{
    if (stalled_at_ == 0)
        stalled_at_ = now_ns();
    stalled_.exchange(true);
    return room() && (filling_ != nullptr || returns_.read_available() != 0) &&
           stalled_.exchange(false);
}

void pipe::take_more()
{
    at_ = 0;
    arrivals_.clear();
    const std::int64_t start = dry_at_ != 0 ? dry_at_ : now_ns();
    const std::size_t n = queue_->take(target_rows_ - filling_->rows.messages.size());
    for (std::size_t i = 0; i < n; ++i)
        arrivals_.push_back(queue_->at(i));
    const bool behind = std::any_of(stretches_.begin(), stretches_.end(),
                                    [](const stretch& s) { return s.behind; });
    dry_at_ = n == 0 && behind ? start : 0;
    if (dry_at_ == 0)
        filling_->fetch_ns += now_ns() - start;
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

// Without memory for them the server's thread makes the rows of the cells.
void pipe::make_tuples(slab& c) noexcept
{
    const std::int64_t start = now_ns();
    try {
        decode::make_tuples(spec_->tuples, c.rows);
    } catch (const std::bad_alloc&) {
    }
    c.decode_ns += now_ns() - start;
}

void pipe::push()
{
    slab* c = filling_;
    make_tuples(*c);
    filling_ = nullptr;
    c->weight = c->rows.memory.used() + std::uint64_t{c->rows.row_count()} * c->rows.columns() * 9 +
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
