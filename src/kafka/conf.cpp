#include "kafka/conf.h"

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <string>

#include "kafka/property.h"

#include "base/no_backend.h"

namespace ke::kafka {

namespace {

struct pair {
    const char* name;
    const char* value;
};

// Small queues are kind to the cache; the waker keeps them from stalling (kafka/waker.h).
constexpr const char* queue = "queued.max.messages.kbytes";
constexpr const char* queue_kbytes = "16384";

// Where the user said nothing.
constexpr pair defaults[] = {
    {"client.id", "kafka_engine"},
    // No user may change it, but a client that only asks for ends may (settings, kafka/answers.h).
    {"isolation.level", "read_committed"},
    // How long a fetch waits at the broker where nothing is new. A partition that starts meanwhile
    // waits for it (questions do not: kafka/control.h); a scan that ends in transaction markers learns of
    // its end as late. Each costs some 5 us per idle partition.
    {"fetch.wait.max.ms", "250"},
    {"fetch.error.backoff.ms", "50"},
    {"socket.nagle.disable", "true"},
    {"socket.keepalive.enable", "true"},
    {"reconnect.backoff.ms", "50"},
    {"reconnect.backoff.max.ms", "2000"},
    // A broker that stopped answering in the middle is noticed after this.
    {"socket.timeout.ms", "30000"},
    // New partitions and topics are known within this.
    {"topic.metadata.refresh.interval.ms", "10000"},
    {"topic.metadata.propagation.max.ms", "5000"},
    {"queued.min.messages", "100000"},
    {queue, queue_kbytes},
    // Of each partition. A queue takes a whole answer however full it is, and one of a megabyte of zstd
    // may be ten of records: peaks are 106 MB where they were 149, at the same rate.
    {"fetch.message.max.bytes", "524288"},
    // librdkafka asks for the first offset of every partition as often.
    {"statistics.interval.ms", "60000"},
};

constexpr pair brisk_defaults[] = {
    {"fetch.wait.max.ms", "5"},
};

// Of a producer. Whoever sends keeps the record and sends it again: what is not confirmed in this
// time is told. The broker says what is too large, in its own words.
constexpr pair producing_defaults[] = {
    {"message.timeout.ms", "30000"},
    {"message.max.bytes", "1000000000"},
};

// What the promises rest on.
constexpr pair fixed[] = {
    {"enable.auto.commit", "false"},  {"enable.auto.offset.store", "false"},
    {"enable.partition.eof", "true"}, {"log.queue", "true"},
    {"log.thread.name", "false"},     {"enable.random.seed", "false"},
};
constexpr pair fixed_of_topic[] = {
    {"auto.offset.reset", "error"},
    {"auto.commit.enable", "false"},
};
// Nobody joins a group: the only thing this says is how long a commit waits for its coordinator.
constexpr pair fixed_of_groups[] = {{"session.timeout.ms", "6000"}};

fault refusal(std::string_view name, std::string_view words)
{
    std::string option(name);
    std::replace(option.begin(), option.end(), '.', '_');
    fault f{.kind = fault_kind::refused_option, .message = "option \"" + option + "\" is refused"};
    const property_row* row = find_property(name);
    if (row == nullptr || row->who != access::secret)
        f.detail = std::string(words) + ".";
    return f;
}

} // namespace

namespace {

// The library takes the word in any case, and blanks before it.
bool names_sasl(std::string protocol)
{
    std::transform(protocol.begin(), protocol.end(), protocol.begin(),
                   [](unsigned char c) { return static_cast<char>(std::tolower(c)); });
    return protocol.find("sasl") != std::string::npos;
}

} // namespace

const std::string* find_setting(const settings& given, std::string_view name)
{
    const std::string* found = nullptr;
    for (const auto& [n, value] : given)
        if (n == name)
            found = &value;
    return found;
}

settings shared_among(int clients, settings given)
{
    constexpr int least = 2048;
    if (clients > 1) // what the user gives stands behind it
        given.insert(given.begin(),
                     {queue, std::to_string(std::max(std::atoi(queue_kbytes) / clients, least))});
    return given;
}

result<conf_ptr> make_conf(const settings& given, bool brisk, const std::string& group)
{
    conf_ptr conf(rd_kafka_conf_new());
    char words[512] = "";

    rd_kafka_topic_conf_t* of_topic = rd_kafka_topic_conf_new();
    for (const pair& p : fixed_of_topic)
        if (rd_kafka_topic_conf_set(of_topic, p.name, p.value, words, sizeof words) !=
            RD_KAFKA_CONF_OK) {
            rd_kafka_topic_conf_destroy(of_topic);
            return refusal(p.name, words);
        }
    rd_kafka_conf_set_default_topic_conf(conf.get(), of_topic); // owned by conf from here on

    for (const pair& p : defaults)
        if (rd_kafka_conf_set(conf.get(), p.name, p.value, words, sizeof words) != RD_KAFKA_CONF_OK)
            return refusal(p.name, words);
    for (const pair& p : brisk_defaults)
        if (brisk &&
            rd_kafka_conf_set(conf.get(), p.name, p.value, words, sizeof words) != RD_KAFKA_CONF_OK)
            return refusal(p.name, words);
    // Known from 2.2 on; before, the waker does its work (kafka/waker.h).
    (void)rd_kafka_conf_set(conf.get(), "fetch.queue.backoff.ms", "10", words, sizeof words);
    for (const auto& [name, value] : given) {
        const property_row* row = find_property(name);
        if (row == nullptr)
            return fault{.kind = fault_kind::unknown_option,
                         .message = "librdkafka has no property \"" + name + "\""};
        if (row->who == access::ours && name != uncommitted_ends.first)
            return refusal(name, row->why);
        if (rd_kafka_conf_set(conf.get(), std::string(row->name).c_str(), value.c_str(), words,
                              sizeof words) != RD_KAFKA_CONF_OK)
            return refusal(name, words);
    }
    if (!group.empty() && rd_kafka_conf_set(conf.get(), "group.id", group.c_str(), words,
                                            sizeof words) != RD_KAFKA_CONF_OK)
        return refusal("group.id", words);
    for (const pair& p : fixed)
        if (rd_kafka_conf_set(conf.get(), p.name, p.value, words, sizeof words) != RD_KAFKA_CONF_OK)
            return refusal(p.name, words);
    for (const pair& p : fixed_of_groups)
        if (!group.empty() &&
            rd_kafka_conf_set(conf.get(), p.name, p.value, words, sizeof words) != RD_KAFKA_CONF_OK)
            return refusal(p.name, words);

    // Without it librdkafka takes GSSAPI, which runs kinit with the server's own tickets.
    const std::string* protocol = find_setting(given, "security.protocol");
    if (protocol != nullptr && names_sasl(*protocol) &&
        find_setting(given, "sasl.mechanism") == nullptr &&
        find_setting(given, "sasl.mechanisms") == nullptr)
        return fault{.kind = fault_kind::refused_option,
                     .message = "option \"sasl_mechanism\" is required",
                     .detail = "The security protocol is " + *protocol + ".",
                     .hint = "Name one, such as PLAIN or SCRAM-SHA-512."};
    return conf;
}

result<conf_ptr> make_producing_conf(const settings& given)
{
    auto conf = make_conf(given, false);
    char words[512] = "";
    for (const pair& p : producing_defaults)
        if (conf && find_setting(given, p.name) == nullptr &&
            rd_kafka_conf_set(conf.value().get(), p.name, p.value, words, sizeof words) !=
                RD_KAFKA_CONF_OK)
            return refusal(p.name, words);
    return conf;
}

} // namespace ke::kafka
