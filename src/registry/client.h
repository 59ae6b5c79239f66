// A schema registry as decoders see it: a question is answered at once from the cache, or by "coming"
// while a thread asks. One client for each address and login in a process, whoever uses it.
//
//   any thread:       find; keeps nobody waiting
//   client's thread:  asks what find() wanted, one request at a time, and calls those who wait;
//                     begins with the first question, leaves when nothing has been wanted for a while
//
//            find()                 answer              (not a number's: it never changes)
//   (none) ─────────> coming ────────────────────> found ──────────────────────> coming, the old
//             ^         │ │ no answer, login refused:    newest of a subject,      one holds meanwhile
//             │         │ │ those who wait are told,      after a minute
//             └─────────┘ │ again after a back-off
//         nobody waits    │ no such schema, for as long as it is asked for again
//         any more        └──────────────> missing: the records that need it are at fault; asked
//                                          again behind a back-off when another one comes
//
// A schema that was registered a moment ago may be unknown to the server that answers, so "no such
// schema" is asked again for the settings' time-out. Where unknown ones come one after another, as
// from bytes that are no frames, the patience halves with each, and is back with the next one found.
#pragma once

#include <atomic>
#include <chrono>
#include <map>
#include <memory>
#include <mutex>
#include <condition_variable>
#include <string>
#include <vector>

#include "base/result.h"
#include "registry/http.h"
#include "registry/schema.h"
#include "registry/settings.h"

namespace ke::registry {

// Who waits for a schema. Called by the client's thread, once for each find() that said coming;
// ask again then.
class listener {
  public:
    virtual ~listener() = default;
    virtual void call() noexcept = 0;
};

struct lookup {
    enum class state : std::uint8_t { found, coming, missing };
    state at = state::coming;
    std::shared_ptr<const schema> what;   // found
    std::string why;                      // missing: a sentence
    std::shared_ptr<const fault> trouble; // coming: what has been in the way; null: nothing yet
};

class client : public std::enable_shared_from_this<client> {
  public:
    // The process's client for these settings. Server's thread.
    static std::shared_ptr<client> of(const settings&);
    // At the process's end: all threads leave soon, nothing is asked any more.
    static void halt_all() noexcept;

    explicit client(settings s) : of_(std::move(s)), patience_(of_.timeout_ms) {}
    client(const client&) = delete;
    client& operator=(const client&) = delete;

    // Throws std::bad_alloc. Without a listener nobody is called.
    lookup find(const schema_key&, const std::weak_ptr<listener>& who);

    const settings& where() const { return of_; }

  private:
    using clock = std::chrono::steady_clock;
    using milliseconds = std::chrono::milliseconds;

    struct entry {
        lookup::state at = lookup::state::coming;
        bool wanted = true; // to be asked, at `next` the earliest
        clock::time_point next{}, first_asked{}, asked_again{};
        int tries = 0;
        milliseconds rest{}; // missing: until it may be asked again
        std::shared_ptr<const schema> what;
        std::string why;
        std::shared_ptr<const fault> trouble;
        std::vector<std::weak_ptr<listener>> waiting;
    };
    using entries = std::map<schema_key, entry>;
    struct no_such {
        std::string why;
    };
    // A schema, or that there is none; a fault where the registry is in trouble.
    struct reply {
        std::shared_ptr<const schema> what;
        std::string none;
    };

    void run() noexcept;
    bool serve(http&);
    entries::iterator next_due(clock::time_point now, clock::time_point& soonest);
    void settle(entry&, result<reply>, std::vector<std::weak_ptr<listener>>& to_call);
    void drop_missing();
    void drop_found();
    // Client's thread, without the lock.
    result<reply> fetch(http&, const schema_key&);
    result<std::string> ask(http&, const std::string& path, std::string& none);
    bool add_needs(http&, schema&, const std::vector<struct reference>&, int depth,
                   std::vector<std::string>& seen, result<reply>& bad);

    const settings of_;
    std::atomic<bool> halted_{false};
    std::size_t url_ = 0; // client's thread: the address that answered last

    std::mutex mutex_; // guards what follows
    std::condition_variable wake_;
    entries entries_;
    bool running_ = false;
    std::int64_t patience_; // ms: how long an unknown schema is asked for again
};

} // namespace ke::registry
