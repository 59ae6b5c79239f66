// Who still lives: a token for each thread of ours and for each librdkafka handle (which has threads
// of its own until it is destroyed). The process may run its exit handlers only when none is left.
#pragma once

#include <functional>
#include <string>

namespace ke {

class living {
  public:
    living() noexcept;
    living(const living&) noexcept;
    living& operator=(const living&) = default;
    ~living();
    static int count() noexcept;
};

// A thread that nobody joins: it holds what it needs and lets go of it at its end. False where no
// thread can be had.
bool start_detached(const std::string& name, std::function<void()> body) noexcept;

} // namespace ke
