// Keeps the library fetching under load. Once its queue is full, librdkafka before 2.2 leaves a
// partition alone for a whole second, however fast the queue is emptied; but any request to the
// partition's leader makes the broker's thread look again. So, while a lane says that it is busy, one
// small request goes to each leader every 20 ms. Later releases have fetch.queue.backoff.ms, which
// make_conf sets; there this class does nothing.
//
// Belongs to a lane; has a thread from the first busy moment on, detached, which goes when halted or
// after some quiet seconds.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "kafka/answers.h"
#include "kafka/client.h"

namespace ke::kafka {

class waker {
  public:
    explicit waker(std::shared_ptr<client>);
    ~waker();
    waker(const waker&) = delete;
    waker& operator=(const waker&) = delete;

    // --- lane's thread ---
    // What is fetched now; called when that changes.
    void watch(std::vector<topic_partition>);
    // There is more to read than was taken: cheap, called once per full chunk.
    void busy() noexcept;

  private:
    struct state;
    std::shared_ptr<state> state_; // null: not needed
};

} // namespace ke::kafka
