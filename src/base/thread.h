// Threads of ours inside a server process: every signal blocked before birth, so that the server's
// handlers only ever run on the server's own thread; named, so that top -H tells who works.
#pragma once

#include <csignal>
#include <functional>
#include <pthread.h>
#include <string>
#include <thread>

namespace ke {

// Name: at most 15 bytes. Throws std::system_error where no thread can be had.
inline std::thread start_thread(const std::string& name, std::function<void()> body)
{
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    try {
        std::thread t(std::move(body));
        pthread_sigmask(SIG_SETMASK, &old, nullptr);
        pthread_setname_np(t.native_handle(), name.substr(0, 15).c_str());
        return t;
    } catch (...) {
        pthread_sigmask(SIG_SETMASK, &old, nullptr);
        throw;
    }
}

// Blocks all signals while it lives: around calls into libraries that start threads of their own.
class signals_blocked {
  public:
    signals_blocked()
    {
        sigset_t all;
        sigfillset(&all);
        pthread_sigmask(SIG_SETMASK, &all, &old_);
    }
    ~signals_blocked() { pthread_sigmask(SIG_SETMASK, &old_, nullptr); }
    signals_blocked(const signals_blocked&) = delete;
    signals_blocked& operator=(const signals_blocked&) = delete;

  private:
    sigset_t old_;
};

} // namespace ke
