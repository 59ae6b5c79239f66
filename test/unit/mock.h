// A broker for the tests of kafka and ingest: librdkafka's mock cluster, in this process, with a
// producer. And a few words for waiting.
#pragma once

#include <chrono>
#include <functional>
#include <string>
#include <string_view>
#include <thread>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>

#include "check.h"
#include "ingest/hub.h"

namespace ke::test {

class mock {
  public:
    explicit mock(int brokers = 1)
    {
        char words[256];
        rd_kafka_conf_t* conf = rd_kafka_conf_new();
        rd_kafka_conf_set(conf, "client.id", "mock", words, sizeof words);
        rd_kafka_conf_set_log_cb(conf, nullptr);
        host_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, words, sizeof words);
        cluster_ = rd_kafka_mock_cluster_new(host_, brokers);
        address_ = rd_kafka_mock_cluster_bootstraps(cluster_);
        conf = rd_kafka_conf_new();
        rd_kafka_conf_set(conf, "bootstrap.servers", address_.c_str(), words, sizeof words);
        rd_kafka_conf_set(conf, "linger.ms", "0", words, sizeof words);
        rd_kafka_conf_set_log_cb(conf, nullptr);
        producer_ = rd_kafka_new(RD_KAFKA_PRODUCER, conf, words, sizeof words);
    }
    ~mock()
    {
        rd_kafka_destroy(producer_);
        rd_kafka_mock_cluster_destroy(cluster_);
        rd_kafka_destroy(host_);
    }

    const std::string& address() const { return address_; }
    rd_kafka_mock_cluster_t* cluster() { return cluster_; }
    void topic(const std::string& name, int partitions)
    {
        rd_kafka_mock_topic_create(cluster_, name.c_str(), partitions, 1);
    }
    void produce(const std::string& topic, int partition, std::string_view value,
                 std::string_view key = {}, std::int64_t time_ms = 0)
    {
        auto sent = [&] {
            return rd_kafka_producev(
                producer_, RD_KAFKA_V_TOPIC(topic.c_str()), RD_KAFKA_V_PARTITION(partition),
                RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY),
                RD_KAFKA_V_VALUE(const_cast<char*>(value.data()), value.size()),
                RD_KAFKA_V_KEY(key.data(), key.size()), RD_KAFKA_V_TIMESTAMP(time_ms),
                RD_KAFKA_V_END);
        };
        while (sent() == RD_KAFKA_RESP_ERR__QUEUE_FULL)
            rd_kafka_poll(producer_, 10);
    }
    void flush() { REQUIRE(rd_kafka_flush(producer_, 10000) == RD_KAFKA_RESP_ERR_NO_ERROR); }

  private:
    rd_kafka_t* host_;
    rd_kafka_mock_cluster_t* cluster_;
    rd_kafka_t* producer_;
    std::string address_;
};

// Until it is so, at most that long.
inline bool eventually(const std::function<bool()>& so, int ms = 10000)
{
    auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
    while (!so()) {
        if (std::chrono::steady_clock::now() > end)
            return false;
        std::this_thread::sleep_for(std::chrono::milliseconds(1));
    }
    return true;
}

inline long long elapsed_ms(std::chrono::steady_clock::time_point since)
{
    return std::chrono::duration_cast<std::chrono::milliseconds>(std::chrono::steady_clock::now() -
                                                                 since)
        .count();
}

// Waits on the hub's bell as a server would.
template <class T>
result<T> answer(ingest::hub& h, ingest::ticket<T>& t, int ms = 15000)
{
    auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
    while (!t.ready()) {
        h.bell().doze();
        if (!t.ready())
            h.bell().wait(static_cast<int>(
                std::max<long long>(1, std::chrono::duration_cast<std::chrono::milliseconds>(
                                           end - std::chrono::steady_clock::now())
                                           .count())));
        h.bell().wake();
        if (std::chrono::steady_clock::now() > end)
            return fault{.kind = fault_kind::internal, .message = "no answer at all"};
    }
    return t.take();
}

// Every thread and handle of the hubs before is gone.
inline bool all_gone(int ms = 10000)
{
    return eventually([] { return ingest::hub::living_threads() == 0; }, ms);
}

} // namespace ke::test
