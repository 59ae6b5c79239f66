#include "ingest/lane.h"

#include <string>

#include "base/living.h"

#include "base/no_backend.h"

namespace ke::ingest {

result<std::shared_ptr<lane>> lane::start(std::shared_ptr<kafka::client> of, bool serves_events,
                                          std::uint32_t number)
{
    std::shared_ptr<lane> made(new lane(std::move(of), serves_events));
    made->waker_ = std::make_unique<kafka::waker>(made->of_);
    if (!start_detached("kafka lane " + std::to_string(number), [made] { made->run(); }))
        return fault{.kind = fault_kind::out_of_memory, .message = "could not start a thread"};
    return made;
}

void lane::open(std::shared_ptr<pipe> p)
{
    {
        std::lock_guard lock(mutex_);
        orders_.push_back(std::move(p));
    }
    call();
}

void lane::call() noexcept
{
    calls_.fetch_add(1);
    bell_.ring();
}

void lane::halt() noexcept
{
    halted_.store(true);
    call();
}

// The same partition may be in a pipe that was shut and in one ordered later: the old one, which may
// be among the orders itself, was shut before the other was ordered, and goes first.
void lane::take_orders()
{
    std::vector<std::shared_ptr<pipe>> orders;
    {
        std::lock_guard lock(mutex_);
        pipes_.reserve(pipes_.size() + orders_.size()); // may throw: the orders are still there
        orders.swap(orders_);
    }
    auto gone = std::erase_if(pipes_, [](const std::shared_ptr<pipe>& p) {
        bool shut = p->is_shut();
        if (shut)
            p->close();
        return shut;
    });
    for (std::shared_ptr<pipe>& p : orders) {
        if (p->is_shut())
            continue;
        p->open(of_, bell_.fd(), weak_from_this());
        pipes_.push_back(std::move(p));
    }
    if (gone != 0 || !orders.empty())
        tell_waker();
}

void lane::tell_waker()
{
    std::vector<kafka::topic_partition> all;
    for (const std::shared_ptr<pipe>& p : pipes_)
        p->add_partitions(all);
    waker_->watch(std::move(all));
}

void lane::run()
{
    if (serves_)
        of_->notify(bell_.fd());
    while (!halted_.load()) {
        unsigned seen = calls_.load();
        bool again = false;
        try {
            take_orders();
            if (serves_)
                of_->serve();
        } catch (...) {
            again = true; // no memory: a little later there may be some
        }
        bool busy = false;
        for (std::size_t i = 0; i < pipes_.size() && !halted_.load(); ++i) {
            pipe& p = *pipes_[(first_ + i) % pipes_.size()];
            busy |= p.turn();
            if (p.under_load())
                waker_->busy();
        }
        ++first_;
        if (busy)
            continue;
        // The library writes to the descriptor whether we doze or not; others ring only if so.
        bell_.doze();
        if (calls_.load() == seen)
            bell_.wait(again ? 100 : -1);
        bell_.wake();
    }
    if (serves_)
        of_->notify(-1);
    {
        std::lock_guard lock(mutex_);
        orders_.clear(); // never opened
    }
    for (const std::shared_ptr<pipe>& p : pipes_)
        p->close();
    pipes_.clear();
    waker_.reset();
    of_.reset(); // the last one gives it to the reaper
}

} // namespace ke::ingest
