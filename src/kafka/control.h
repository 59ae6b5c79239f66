// Questions to the cluster, asked off the server's thread. One control thread per client serves what
// the library tells (client::serve), watches deadlines, and probes the broker while there is a
// complaint; the questions go out on a client of their own, since on one that fetches each would wait
// behind the fetch that waits for something new. They block inside librdkafka and so run on up to
// four asker threads that are born when needed and leave after some idle seconds. A question is
// answered by its deadline, by a fault at the latest, even where its asker still sits in the library;
// one that waits behind slow ones too.
//
//   any thread:     ask, halt      control thread: serve, deadlines      askers: run questions
//
// All threads are detached and hold the state they share; halt() makes them go, each at the next
// chance, and waits for none.
#pragma once

#include <atomic>
#include <chrono>
#include <functional>
#include <memory>

#include "kafka/client.h"

namespace ke::kafka {

using clock = std::chrono::steady_clock;

// How long a question may still take. Calls into librdkafka cannot be broken off, so long ones are
// cut into slices, between which a halt is heard.
class patience {
  public:
    patience(clock::time_point deadline, const std::atomic<bool>& halted)
        : deadline_(deadline), halted_(halted)
    {
    }
    // Milliseconds for the next call: 1 s at first, then longer; 0: no time left, or halted.
    int slice();
    // All that is left, at most so many milliseconds; at least 1.
    int rest(int at_most) const;
    bool over() const { return halted_.load() || clock::now() >= deadline_; }
    // The same asker's, for another question.
    patience until(clock::time_point deadline) const { return {deadline, halted_}; }

  private:
    clock::time_point deadline_;
    const std::atomic<bool>& halted_;
    int next_ms_ = 1000;
    int count_ = 0;
};

class control {
  public:
    struct question {
        clock::time_point deadline{};
        // Answers by itself; false: another thread will, or give_up when the time is over. Empty: likewise.
        std::function<bool(client&, patience&)> run;
        std::function<void(fault)> give_up; // answers in its stead; may come after run
    };

    // fetching: the client that is watched; asking: the one that is asked, which may be the same. Throws
    // std::bad_alloc, std::system_error where no thread can be had.
    control(std::shared_ptr<client> fetching, std::shared_ptr<client> asking);
    ~control() { halt(); }
    control(const control&) = delete;
    control& operator=(const control&) = delete;

    void ask(question) noexcept;
    void halt() noexcept;

    struct state;

  private:
    std::shared_ptr<state> state_;
};

} // namespace ke::kafka
