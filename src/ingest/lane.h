// A thread that serves the pipes of one client's feeds in turn, one chunk each, and sleeps on one
// event descriptor that both the library's queues and the server's thread write to. Detached: it
// holds what it needs and goes when halted, whatever the broker does meanwhile.
//
//   server's thread: open, call, halt
#pragma once

#include <atomic>
#include <memory>
#include <mutex>
#include <vector>

#include "base/doorbell.h"
#include "base/result.h"
#include "ingest/pipe.h"
#include "kafka/client.h"
#include "kafka/waker.h"
#include "registry/client.h"

namespace ke::ingest {

class lane final : public registry::listener, public std::enable_shared_from_this<lane> {
  public:
    // serves_events: nobody else serves what the client tells by itself (kafka/client.h).
    static result<std::shared_ptr<lane>> start(std::shared_ptr<kafka::client>, bool serves_events,
                                               std::uint32_t number);

    // Begins to read; pipes shut before are closed first. Throws std::bad_alloc.
    void open(std::shared_ptr<pipe>);
    // Any thread. A pipe was shut, or has room again, or a schema has come.
    void call() noexcept override;
    void halt() noexcept;

  private:
    explicit lane(std::shared_ptr<kafka::client> c, bool serves)
        : of_(std::move(c)), serves_(serves)
    {
    }
    void run();
    void take_orders();
    void tell_waker();

    std::shared_ptr<kafka::client> of_; // lane's thread
    bool serves_;
    doorbell bell_;
    std::atomic<bool> halted_{false};
    std::atomic<unsigned> calls_{0}; // counts before each ring, so that a call while dozing is seen

    std::mutex mutex_; // guards orders_
    std::vector<std::shared_ptr<pipe>> orders_;

    std::vector<std::shared_ptr<pipe>> pipes_; // lane's thread
    std::unique_ptr<kafka::waker> waker_;      // likewise
    std::size_t first_ = 0;                    // whose turn it is to be first
};

} // namespace ke::ingest
