// What a ticket and the thread that answers share. Asked on the server's thread; answered once, by an
// asker, by the control thread when time is up, or by whoever found that it cannot be asked; taken on
// the server's thread.
#pragma once

#include <atomic>
#include <memory>
#include <optional>
#include <utility>

#include "ingest/hub.h"

namespace ke::ingest {

template <class T>
struct ticket<T>::shared {
    explicit shared(std::shared_ptr<doorbell> b) : bell(std::move(b)) {}

    // asked -> answering (one thread's own) -> answered
    enum stage : int { asked, answering, answered };
    std::atomic<int> at{asked};
    std::optional<result<T>> answer; // written while answering, read once answered
    std::shared_ptr<doorbell> bell;

    // Any thread; the first answer counts.
    void give(result<T> r) noexcept
    {
        int expected = asked;
        if (!at.compare_exchange_strong(expected, answering))
            return;
        answer.emplace(std::move(r));
        at.store(answered);
        bell->ring();
    }
};

template <class T>
bool ticket<T>::ready() const noexcept
{
    return shared_ == nullptr || shared_->at.load() == shared::answered;
}

template <class T>
result<T> ticket<T>::take()
{
    // Without memory for the question there is nothing to share.
    if (shared_ == nullptr)
        return fault{.kind = fault_kind::out_of_memory, .message = "out of memory"};
    result<T> r = std::move(*shared_->answer);
    shared_.reset();
    return r;
}

} // namespace ke::ingest
