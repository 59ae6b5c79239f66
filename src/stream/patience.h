// A view's code may take long, or wait (a sleep, a lock with a time-out of its own); the other views of
// the worker wait with it. While there are others its part of a batch is cut off after
// kafka.view_timeout; how it goes on is in pace.h, and between it rests, so that the others have most of
// the worker's time. Server's thread, inside a batch's transaction; the server's own timer cancels (57014),
// again and again, since code may catch it.
#pragma once

#include "stream/trouble.h"

#include <chrono>

namespace ke::stream {

// Around a view's code; C++ frames only. 0: no limit.
class patience {
  public:
    explicit patience(std::chrono::milliseconds limit);
    ~patience();
    patience(const patience&) = delete;
    patience& operator=(const patience&) = delete;

    std::chrono::steady_clock::duration spent() const
    {
        return std::chrono::steady_clock::now() - began_;
    }
    // Makes a cancelled statement, or what its code made of that, the view's own trouble where its time was
    // over.
    void judge(trouble&) const;

  private:
    const std::chrono::milliseconds limit_;
    const std::chrono::steady_clock::time_point began_;
};

} // namespace ke::stream
