#include "ingest/feed_impl.h"

#include <algorithm>

#include "base/no_backend.h"

namespace ke::ingest {

namespace {

// What a caller got wrong; never a user's doing.
std::optional<fault> judge(const feed_spec& spec)
{
    auto wrong = [](const char* what) {
        return fault{.kind = fault_kind::internal, .message = what};
    };
    if (!spec.plan)
        return wrong("a feed without a row plan");
    if (spec.lanes < 1 || spec.chunk_rows < 1 || spec.ring_bytes < 1)
        return wrong("a feed without lanes or room");
    std::set<std::pair<topic_number, partition_id>> seen;
    for (const start_at& s : spec.partitions) {
        if (s.topic.value >= spec.topics.size() || s.partition.value < 0 || s.next.value < 0)
            return wrong("a feed with a partition out of range");
        if (!seen.emplace(s.topic, s.partition).second)
            return wrong("a feed with a partition twice");
    }
    return std::nullopt;
}

} // namespace

result<std::unique_ptr<feed>> feed_impl::open(std::shared_ptr<client_core> core, feed_spec given)
{
    if (auto f = judge(given))
        return *f;
    auto spec = std::make_shared<const feed_spec>(std::move(given));
    auto made = std::make_unique<feed_impl>();
    made->core_ = core;
    made->gauge_ = std::make_shared<feed_gauge>();
    made->gauge_->bell = core->bell;
    made->gauge_->ring_bytes = spec->ring_bytes;
    made->gauge_->unfinished = static_cast<int>(spec->partitions.size());
    made->gauge_->behind = static_cast<int>(spec->partitions.size());

    std::size_t lanes = std::min(static_cast<std::size_t>(spec->lanes), spec->partitions.size());
    std::vector<reader*> taken;
    for (std::size_t k = 0; k < lanes; ++k) {
        std::vector<std::size_t> numbers;
        part p;
        for (std::size_t n = k; n < spec->partitions.size(); n += lanes) {
            const start_at& s = spec->partitions[n];
            numbers.push_back(n);
            p.claims.push_back({spec->topics[s.topic.value], s.partition});
        }
        auto decoder = decode::record_decoder::make(spec->plan);
        if (!decoder)
            return decoder.error();
        auto at = core->reader_for(p.claims, taken);
        if (!at)
            return at.error();
        taken.push_back(at.value());
        p.piped = std::make_shared<pipe>(spec, std::move(numbers), std::move(decoder.value()),
                                         made->gauge_, static_cast<std::uint32_t>(k));
        // From here on the destructor gives back what was claimed.
        made->parts_.push_back(std::move(p));
        part& kept = made->parts_.back();
        kept.at = at.value();
        ++kept.at->feeds;
        kept.at->claims.insert(kept.claims.begin(), kept.claims.end());
        kept.at->runs->open(kept.piped);
    }
    return std::unique_ptr<feed>(std::move(made));
}

feed_impl::~feed_impl()
{
    for (part& p : parts_) {
        if (p.at == nullptr)
            continue;
        p.piped->shut();
        p.at->runs->call();
        core_->release(p.at, p.claims);
    }
}

chunk* feed_impl::take() noexcept
{
    for (std::size_t i = 0; i < parts_.size(); ++i)
        if (chunk* c = parts_[(first_ + i) % parts_.size()].piped->take()) {
            ++first_;
            wake_stalled();
            return c;
        }
    return nullptr;
}

void feed_impl::give_back(chunk* c) noexcept
{
    parts_[c->lane].piped->give_back(c);
    wake_stalled();
}

// Any of the lanes may wait for room that this one's chunk made.
void feed_impl::wake_stalled() noexcept
{
    for (const part& p : parts_)
        if (p.piped->can_go_on())
            p.at->runs->call();
}

bool feed_impl::exhausted() const noexcept
{
    return gauge_->unfinished.load() == 0 && !ready();
}

bool feed_impl::ready() const noexcept
{
    return std::any_of(parts_.begin(), parts_.end(),
                       [](const part& p) { return p.piped->waiting(); });
}

bool feed_impl::at_end() const noexcept
{
    return gauge_->behind.load() == 0 && !ready();
}

} // namespace ke::ingest
