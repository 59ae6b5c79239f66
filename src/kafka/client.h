// One connection to a Kafka cluster: owns librdkafka's handle, which brings threads of its own. Made
// on any thread, shared by lanes and the control thread; whoever lets go last, it is destroyed on a
// thread of its own (the reaper), however long that takes: nobody waits for it.
//
// What librdkafka tells by itself (logs, errors, statistics) comes by one queue, which the control
// thread serves; nothing is ever printed.
#pragma once

#include <atomic>
#include <chrono>
#include <cstdint>
#include <deque>
#include <functional>
#include <memory>
#include <mutex>
#include <optional>
#include <string>
#include <vector>

#include "base/result.h"
#include "kafka/answers.h"
#include "kafka/connections.h"
#include "base/living.h"

struct rd_kafka_s;
struct rd_kafka_queue_s;
struct rd_kafka_op_s; // an event
struct rd_kafka_conf_s;

namespace ke::kafka {

class client {
  public:
    // Fails on settings that librdkafka refuses. Does not wait for the broker. brisk: for a reader
    // that lives shortly; it asks the broker more often.
    static result<std::shared_ptr<client>> make(const settings&, bool brisk,
                                                const std::string& group = {});
    // One that produces (kafka/producer.h). deliveries: gets librdkafka's reports, an event with some
    // of them at a time, on the control thread; must not throw.
    using listener = std::function<void(rd_kafka_op_s*)>;
    static result<std::shared_ptr<client>> make_producing(const settings&, listener deliveries);
    client(const client&) = delete;
    client& operator=(const client&) = delete;

    rd_kafka_s* handle() const { return handle_; }
    const std::string& address() const { return address_; } // bootstrap servers, as given
    const settings& given() const { return given_; }

    // --- any thread ---
    connections& brokers() { return brokers_; }
    // What this one is told of brokers, the other one knows too from now on.
    void tell(const std::shared_ptr<client>& other);
    void know_broker(int id, const std::string& address);

    // --- control thread ---
    // Writes eight bytes to the event descriptor when there is something to serve.
    void notify(int event_fd);
    // Serves what has come by the event queue; does not block.
    void serve();
    // The broker answered: a complaint is over, and so is a doubt.
    void works();
    // It did not: a doubt becomes a complaint.
    void fails();
    // A connection was lost, and nobody knows yet whether others do.
    bool doubtful() const { return doubtful_.load(); }

    // --- any thread ---
    std::string statistics() const;
    std::optional<fault> complaint() const;
    // Which broker holds back its answers, since a quota of its own says so; "" where none did of late.
    std::string held_back_by() const;
    bool complaining() const { return complaining_.load(); }
    // What the library last said about a connection that failed; "" before the first time and while
    // all is well.
    std::string last_words() const;
    // Log lines since the last call, oldest first; at most 256 are kept.
    std::vector<std::string> take_log();
    // Whether a login was refused since the given count; count now.
    unsigned refusals() const { return refusals_.load(); }

  private:
    client() = default;
    ~client();
    // type: rd_kafka_type_t; conf is taken over.
    static result<std::shared_ptr<client>> start(const settings&, rd_kafka_conf_s* conf, int type,
                                                 listener deliveries);
    void heard_error(int err, const char* words);
    void complain(int err, const char* words); // with the mutex
    void heard_log(std::string line);
    void heard_throttle(const char* broker, int ms);
    static void set_callbacks(rd_kafka_conf_s*, client*);

    living alive_;
    rd_kafka_s* handle_ = nullptr;
    rd_kafka_queue_s* events_ = nullptr;
    std::string address_;
    settings given_;
    listener deliveries_; // of a producer
    connections brokers_;

    std::mutex telling_; // guards told_; taken before any other
    std::vector<std::weak_ptr<client>> told_;

    mutable std::mutex mutex_; // guards what follows: control thread writes, all read
    std::string statistics_;
    // The library says the same words again only after 30 s: they are kept beyond works().
    std::string last_words_;
    bool words_are_old_ = false;
    int last_code_ = 0;
    std::optional<fault> complaint_;
    std::optional<fault> too_large_; // the connection is lost at each try, and works between them
    std::chrono::steady_clock::time_point too_large_until_{};
    std::string holding_back_; // a broker, of the newest answer that was held back...
    std::chrono::steady_clock::time_point held_back_until_{}; // ... and for how long that is told
    std::deque<std::string> log_;
    std::atomic<bool> complaining_{false};
    std::atomic<bool> doubtful_{false};
    std::atomic<unsigned> refusals_{0};
};

} // namespace ke::kafka
