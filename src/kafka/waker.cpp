#include "kafka/waker.h"

#include <atomic>
#include <chrono>
#include <condition_variable>
#include <map>
#include <mutex>

#include "kafka/handles.h"

#include "base/no_backend.h"

namespace ke::kafka {

namespace {

using clock = std::chrono::steady_clock;
constexpr std::chrono::milliseconds every{20};
constexpr std::chrono::seconds busy_for{2};    // after the last busy()
constexpr std::chrono::seconds leaders_for{5}; // until leaders are looked up again
constexpr int request_ms = 500;

std::int64_t ticks()
{
    return clock::now().time_since_epoch().count();
}

} // namespace

struct waker::state {
    explicit state(std::shared_ptr<client> c) : of(std::move(c)) {}

    std::shared_ptr<client> of;
    std::atomic<std::int64_t> busy_at{0}; // lane writes, waker reads
    std::atomic<bool> running{false};

    std::mutex mutex; // guards the rest
    std::condition_variable changed;
    bool halted = false;
    std::vector<topic_partition> watched;

    void run();
    partitions_ptr one_of_each_leader(const std::vector<topic_partition>&);
};

waker::waker(std::shared_ptr<client> of)
{
    if (rd_kafka_version() < 0x02020000)
        state_ = std::make_shared<state>(std::move(of));
}

waker::~waker()
{
    if (!state_)
        return;
    std::lock_guard lock(state_->mutex);
    state_->halted = true;
    state_->changed.notify_all();
}

void waker::watch(std::vector<topic_partition> partitions)
{
    if (!state_)
        return;
    std::lock_guard lock(state_->mutex);
    state_->watched = std::move(partitions);
}

void waker::busy() noexcept
{
    if (!state_)
        return;
    state_->busy_at.store(ticks());
    if (!state_->running.exchange(true))
        if (!start_detached("kafka waker", [s = state_] { s->run(); }))
            state_->running.store(false);
}

void waker::state::run()
{
    partitions_ptr asked;
    std::vector<topic_partition> known;
    auto looked_up = clock::time_point{};
    std::unique_lock lock(mutex);
    while (!halted) {
        if (clock::duration(ticks() - busy_at.load()) > busy_for)
            break;
        bool stale = known != watched || clock::now() - looked_up > leaders_for;
        if (stale)
            known = watched;
        lock.unlock();
        if (stale) {
            asked = one_of_each_leader(known);
            looked_up = clock::now();
        }
        if (asked && asked->cnt > 0) {
            for (int i = 0; i < asked->cnt; ++i)
                asked->elems[i].offset = RD_KAFKA_OFFSET_END;
            rd_kafka_offsets_for_times(of->handle(), asked.get(), request_ms);
        }
        lock.lock();
        changed.wait_for(lock, every, [&] { return halted; });
    }
    running.store(false);
}

// The metadata of topics that the handle knows, hence of all that are watched.
partitions_ptr waker::state::one_of_each_leader(const std::vector<topic_partition>& among)
{
    const rd_kafka_metadata_t* found = nullptr;
    if (rd_kafka_metadata(of->handle(), 0, nullptr, &found, request_ms) !=
        RD_KAFKA_RESP_ERR_NO_ERROR)
        return nullptr;
    metadata_ptr all(found);
    std::map<std::pair<std::string_view, std::int32_t>, std::int32_t> leader_of;
    for (int t = 0; t < all->topic_cnt; ++t)
        for (int p = 0; p < all->topics[t].partition_cnt; ++p)
            leader_of[{all->topics[t].topic, all->topics[t].partitions[p].id}] =
                all->topics[t].partitions[p].leader;
    partitions_ptr list(rd_kafka_topic_partition_list_new(4));
    std::map<std::int32_t, bool> have;
    for (const topic_partition& at : among) {
        auto leader = leader_of.find({at.topic, at.partition.value});
        if (leader == leader_of.end() || leader->second < 0 || have[leader->second])
            continue;
        have[leader->second] = true;
        rd_kafka_topic_partition_list_add(list.get(), at.topic.c_str(), at.partition.value);
    }
    return list;
}

} // namespace ke::kafka
