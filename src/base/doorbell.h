// A bell that any thread may ring and one thread sleeps on, by poll() or in a WaitEventSet: an
// eventfd, so that the sleeper also hears its latch. Rung only when the sleeper said it would sleep,
// so that a busy consumer costs no system calls.
//
// Why no wake-up is lost: the sleeper stores asleep=true (an exchange, seq_cst), then looks at its
// rings once more, then sleeps; a ringer makes its work visible, then exchanges asleep to false. Of
// two exchanges on one atomic one comes first: either the ringer sees true and writes the eventfd,
// or the sleeper's later exchange sees everything that the ringer did before its own.
#pragma once

#include <atomic>

namespace ke {

class doorbell {
  public:
    doorbell(); // throws std::system_error where no descriptor can be had
    ~doorbell();
    doorbell(const doorbell&) = delete;
    doorbell& operator=(const doorbell&) = delete;

    // Any thread. Make the work visible first.
    void ring() noexcept;

    // Sleeper: "I am about to sleep"; look for work once more after this.
    void doze() noexcept;
    // Sleeper: awake again; drains the descriptor.
    void wake() noexcept;

    // For poll() and WaitEventSets; readable when rung.
    int fd() const noexcept { return fd_; }

    // Sleep for at most timeout_ms (-1: for ever). For threads of ours, never for a server process.
    void wait(int timeout_ms) noexcept;

  private:
    int fd_;
    std::atomic<bool> asleep_{false};
};

} // namespace ke
