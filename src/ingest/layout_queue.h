// Questions of one client for the layouts of lists of topics, answered in rounds, one round after the
// other: what comes while one runs is asked together in the next. A worker with hundreds of topic
// tables asks for each of them every few seconds, all at once; the cluster hears a question or two.
//
// add: server's thread. answer: askers (kafka/control.h). forget: whoever gives a question up.
#pragma once

#include <memory>
#include <mutex>
#include <string>
#include <vector>

#include "ingest/ticket.h"
#include "kafka/client.h"
#include "kafka/control.h"

namespace ke::ingest {

class layout_queue {
  public:
    struct entry {
        std::vector<std::string> topics;
        std::shared_ptr<ticket<layout>::shared> asked;
        kafka::clock::time_point deadline;
    };

    // True: somebody must be sent to answer().
    bool add(entry);
    // Until nothing waits; false, at once: another asker is at it.
    bool answer(kafka::client&, const kafka::patience&) noexcept;
    // Whoever was sent may never come.
    void forget() noexcept;

  private:
    std::vector<entry> next_round();

    std::mutex mutex_; // guards the rest
    std::vector<entry> waiting_;
    bool sent_for_ = false; // somebody comes to answer
    bool running_ = false;
};

} // namespace ke::ingest
