// librdkafka's mock cluster as a process of its own, for tests and the demo.
//
//   mock_broker [number of brokers]
//
// Prints the bootstrap address on the first line, then answers each line of standard input, words
// parted by tabs, with "ok[ text]" or "error <reason>". Ends with its standard input or its parent.
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <functional>
#include <iostream>
#include <map>
#include <memory>
#include <stdexcept>
#include <string>
#include <vector>

#include <librdkafka/rdkafka.h>
#include <librdkafka/rdkafka_mock.h>
#include <signal.h>
#include <sys/prctl.h>

namespace {

using words = std::vector<std::string>;

struct client_closer {
    void operator()(rd_kafka_t* rk) const { rd_kafka_destroy(rk); }
};
using client = std::unique_ptr<rd_kafka_t, client_closer>;

struct cluster_closer {
    void operator()(rd_kafka_mock_cluster_t* m) const { rd_kafka_mock_cluster_destroy(m); }
};
using mock_cluster = std::unique_ptr<rd_kafka_mock_cluster_t, cluster_closer>;

void check(rd_kafka_resp_err_t err)
{
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        throw std::runtime_error(rd_kafka_err2str(err));
}

client make_client(const char* bootstrap)
{
    char why[512];
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    rd_kafka_conf_set(conf, "log_level", "0", nullptr, 0);
    if (bootstrap)
        rd_kafka_conf_set(conf, "bootstrap.servers", bootstrap, nullptr, 0);
    rd_kafka_t* rk = rd_kafka_new(RD_KAFKA_PRODUCER, conf, why, sizeof why);
    if (!rk) {
        rd_kafka_conf_destroy(conf);
        throw std::runtime_error(why);
    }
    return client(rk);
}

int number(const std::string& s)
{
    std::size_t used = 0;
    int n = std::stoi(s, &used);
    if (used != s.size())
        throw std::runtime_error("not a number: " + s);
    return n;
}

// The commands, by name: how many words they want, and what they do.
struct command {
    std::size_t arguments;
    const char* usage;
    std::function<void(rd_kafka_mock_cluster_t*, rd_kafka_t*, const words&)> act;
};

const std::map<std::string, command> commands = {
    {"topic",
     {2, "name partitions",
      [](auto* m, auto*, const words& w) {
          check(rd_kafka_mock_topic_create(m, w[1].c_str(), number(w[2]), 1));
      }}},
    {"topic_error",
     {2, "name code",
      [](auto* m, auto*, const words& w) {
          rd_kafka_mock_topic_set_error(m, w[1].c_str(),
                                        static_cast<rd_kafka_resp_err_t>(number(w[2])));
      }}},
    // The next `count` requests of a kind (by the protocol's API key) are answered with an error.
    {"request_errors",
     {3, "api_key code count",
      [](auto* m, auto*, const words& w) {
          std::vector<rd_kafka_resp_err_t> errors(number(w[3]),
                                                  static_cast<rd_kafka_resp_err_t>(number(w[2])));
          rd_kafka_mock_push_request_errors_array(m, static_cast<std::int16_t>(number(w[1])),
                                                  errors.size(), errors.data());
      }}},
    {"clear_request_errors",
     {1, "api_key",
      [](auto* m, auto*, const words& w) {
          rd_kafka_mock_clear_request_errors(m, static_cast<std::int16_t>(number(w[1])));
      }}},
    {"down",
     {1, "broker",
      [](auto* m, auto*, const words& w) {
          check(rd_kafka_mock_broker_set_down(m, number(w[1])));
      }}},
    {"up",
     {1, "broker",
      [](auto* m, auto*, const words& w) { check(rd_kafka_mock_broker_set_up(m, number(w[1]))); }}},
    {"rtt",
     {2, "broker milliseconds",
      [](auto* m, auto*, const words& w) {
          check(rd_kafka_mock_broker_set_rtt(m, number(w[1]), number(w[2])));
      }}},
    {"leader",
     {3, "topic partition broker",
      [](auto* m, auto*, const words& w) {
          check(rd_kafka_mock_partition_set_leader(m, w[1].c_str(), number(w[2]), number(w[3])));
      }}},
    // Waits for the broker's word. An empty key is none.
    {"produce",
     {4, "topic partition key value",
      [](auto*, auto* rk, const words& w) {
          check(rd_kafka_producev(rk, RD_KAFKA_V_TOPIC(w[1].c_str()),
                                  RD_KAFKA_V_PARTITION(number(w[2])),
                                  RD_KAFKA_V_KEY(w[3].empty() ? nullptr : w[3].data(), w[3].size()),
                                  RD_KAFKA_V_VALUE(const_cast<char*>(w[4].data()), w[4].size()),
                                  RD_KAFKA_V_MSGFLAGS(RD_KAFKA_MSG_F_COPY), RD_KAFKA_V_END));
          check(rd_kafka_flush(rk, 10000));
      }}},
};

words split(const std::string& line)
{
    words w(1);
    for (char c : line) {
        if (c == '\t')
            w.emplace_back();
        else
            w.back() += c;
    }
    return w;
}

std::string answer(rd_kafka_mock_cluster_t* m, rd_kafka_t* rk, const std::string& line)
{
    const words w = split(line);
    const auto found = commands.find(w[0]);
    if (found == commands.end())
        return "error no such command: " + w[0];
    if (w.size() != found->second.arguments + 1)
        return "error usage: " + w[0] + " " + found->second.usage;
    try {
        found->second.act(m, rk, w);
    } catch (const std::exception& e) {
        return std::string("error ") + e.what();
    }
    return "ok";
}

int serve(int brokers)
{
    const client owner = make_client(nullptr);
    const mock_cluster mock(rd_kafka_mock_cluster_new(owner.get(), brokers));
    if (!mock)
        throw std::runtime_error("no mock cluster");
    const char* bootstrap = rd_kafka_mock_cluster_bootstraps(mock.get());
    const client producer = make_client(bootstrap);
    std::cout << bootstrap << std::endl;
    std::string line;
    while (std::getline(std::cin, line))
        std::cout << answer(mock.get(), producer.get(), line) << std::endl;
    return 0;
}

} // namespace

int main(int argc, char** argv)
{
    prctl(PR_SET_PDEATHSIG, SIGKILL);
    try {
        return serve(argc > 1 ? number(argv[1]) : 1);
    } catch (const std::exception& e) {
        std::cerr << "mock_broker: " << e.what() << "\n";
        return 1;
    }
}
