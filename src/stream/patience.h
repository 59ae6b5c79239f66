// A view's code may take long, or wait (a sleep, a lock with a time-out of its own); the other views of
// the worker wait with it. While there are others its part of a batch is cut off after
// kafka.view_timeout; how it goes on is in pace.h, and between it rests, so that the others have most of
// the worker's time. Server's thread, inside a batch's transaction; a timer cancels (57014), again and again,
// since code may catch it. Where code catches cancel after cancel the worker is ended, which nothing catches
// (worker_statistics::held_by): the view goes on by itself, one record at a time, and is stopped at the second time.
#pragma once

#include "pg/compat.h"

#include "stream/trouble.h"

#include <chrono>

namespace ke::stream {

// Once, before the first.
void init_patience();

// Around the code of a view; one at a time; C++ frames only. A limit of 0: it has the worker to itself;
// kafka.view_timeout holds from when the supervisor has given the worker other views.
class patience {
  public:
    patience(Oid view, std::chrono::milliseconds limit);
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
    const std::chrono::milliseconds limit_; // 0: none
    const std::chrono::steady_clock::time_point began_;
};

} // namespace ke::stream
