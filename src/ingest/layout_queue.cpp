#include "ingest/layout_queue.h"

#include <algorithm>

#include "kafka/metadata.h"

#include "base/no_backend.h"

namespace ke::ingest {

namespace {

// topics: in order, each once; answers: theirs.
layout part_of(const std::vector<std::string>& topics, const layout& answers,
               const std::vector<std::string>& wanted)
{
    layout part;
    part.cluster_id = answers.cluster_id;
    for (const std::string& topic : wanted) {
        auto at = std::lower_bound(topics.begin(), topics.end(), topic) - topics.begin();
        part.topics.push_back(answers.topics[static_cast<std::size_t>(at)]);
    }
    return part;
}

void answer_round(kafka::client& c, const kafka::patience& p,
                  const std::vector<layout_queue::entry>& round)
{
    std::vector<std::string> topics;
    auto deadline = round.front().deadline;
    for (const layout_queue::entry& e : round) {
        topics.insert(topics.end(), e.topics.begin(), e.topics.end());
        deadline = std::max(deadline, e.deadline);
    }
    std::sort(topics.begin(), topics.end());
    topics.erase(std::unique(topics.begin(), topics.end()), topics.end());
    kafka::patience longest = p.until(deadline);
    auto found = kafka::find_layout(c, topics, longest);
    for (const layout_queue::entry& e : round)
        if (found)
            e.asked->give(part_of(topics, found.value(), e.topics));
        else
            e.asked->give(found.error());
}

} // namespace

bool layout_queue::add(entry e)
{
    std::lock_guard lock(mutex_);
    waiting_.push_back(std::move(e));
    const bool nobody = !sent_for_ && !running_;
    sent_for_ |= nobody;
    return nobody;
}

void layout_queue::forget() noexcept
{
    std::lock_guard lock(mutex_);
    sent_for_ = false;
}

// What somebody still waits for; nothing: the round is over.
std::vector<layout_queue::entry> layout_queue::next_round()
{
    std::vector<entry> round;
    std::lock_guard lock(mutex_);
    round.swap(waiting_);
    std::erase_if(round, [](const entry& e) { return e.asked->at.load() != e.asked->asked; });
    running_ = !round.empty();
    return round;
}

bool layout_queue::answer(kafka::client& c, const kafka::patience& p) noexcept
{
    {
        std::lock_guard lock(mutex_);
        sent_for_ = false;
        if (running_)
            return false;
        running_ = true;
    }
    for (auto round = next_round(); !round.empty(); round = next_round())
        try {
            answer_round(c, p, round);
        } catch (...) {
            for (const entry& e : round)
                e.asked->give(fault{.kind = fault_kind::out_of_memory, .message = "out of memory"});
        }
    return true;
}

} // namespace ke::ingest
