// How often each broker was connected to. What comes from the same broker by the same connection comes
// from the same log; behind a new one there may be another: a topic made anew, a log that was cut by an
// unclean election or a crash (ingest/pipe.h). Owned by a client; every call locks, what of() gives is
// read without a lock for as long as the client lives.
#pragma once

#include <atomic>
#include <map>
#include <mutex>
#include <string>

namespace ke::kafka {

class connections {
  public:
    using count = std::atomic<unsigned>;

    // Threads of librdkafka's brokers, before anything can come by the new connection.
    void begin(const std::string& address)
    {
        std::lock_guard lock(mutex_);
        ++by_address_[address];
        for (auto& [id, b] : by_broker_)
            if (b.address == address)
                b.made.fetch_add(1);
    }

    // Askers: the address of a broker, as the cluster tells it. Connections to it before count.
    void know(int id, const std::string& address)
    {
        std::lock_guard lock(mutex_);
        auto [at, is_new] = by_broker_.try_emplace(id);
        if (!is_new && at->second.address == address)
            return;
        at->second.made.fetch_add(is_new ? by_address_[address] : 1);
        at->second.address = address;
    }

    // null: nobody has told of that broker yet.
    const count* of(int id) const
    {
        std::lock_guard lock(mutex_);
        auto at = by_broker_.find(id);
        return at == by_broker_.end() ? nullptr : &at->second.made;
    }

    std::map<int, std::string> addresses() const
    {
        std::lock_guard lock(mutex_);
        std::map<int, std::string> known;
        for (const auto& [id, b] : by_broker_)
            known[id] = b.address;
        return known;
    }

    std::map<int, unsigned> all() const
    {
        std::lock_guard lock(mutex_);
        std::map<int, unsigned> made;
        for (const auto& [id, b] : by_broker_)
            made[id] = b.made.load();
        return made;
    }

  private:
    struct broker {
        std::string address;
        count made{0};
    };
    mutable std::mutex mutex_; // guards the maps
    std::map<std::string, unsigned> by_address_;
    std::map<int, broker> by_broker_; // never erased
};

} // namespace ke::kafka
