#include "kafka/metadata.h"

#include <algorithm>
#include <chrono>
#include <optional>

#include "kafka/control.h"
#include "kafka/fault.h"
#include "kafka/handles.h"
#include "kafka/pattern.h"
#include "kafka/property.h"

#include "base/no_backend.h"

namespace ke::kafka {

namespace {

// More topics than these are found by asking for all of the cluster's.
constexpr std::size_t few = 8;

// of: null: all topics, or the brokers alone.
result<metadata_ptr> fetch(client& c, bool all, rd_kafka_topic_t* of, patience& p)
{
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__TIMED_OUT;
    while (int ms = p.slice()) {
        const rd_kafka_metadata_t* found = nullptr;
        err = rd_kafka_metadata(c.handle(), all ? 1 : 0, of, &found, ms);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR) {
            c.works();
            for (int i = 0; i < found->broker_cnt; ++i)
                c.know_broker(found->brokers[i].id, std::string(found->brokers[i].host) + ":" +
                                                        std::to_string(found->brokers[i].port));
            return metadata_ptr(found);
        }
        if (kind_of(err) != fault_kind::broker_unreachable)
            break;
    }
    return make_fault(err, c.address(), c.last_words());
}

std::string cluster_of(client& c)
{
    char* id = rd_kafka_clusterid(c.handle(), 0);
    std::string s = id != nullptr ? id : "";
    if (id != nullptr)
        rd_kafka_mem_free(c.handle(), id);
    return s;
}

bool internal(std::string_view topic)
{
    return topic.starts_with("__");
}

topic_layout layout_of(client& c, const rd_kafka_metadata_topic_t& found)
{
    topic_layout t{.topic = found.topic};
    if (found.err != RD_KAFKA_RESP_ERR_NO_ERROR &&
        found.err != RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE)
        t.error = make_topic_fault(found.err, c.address(), "", t.topic, -1);
    for (int i = 0; i < found.partition_cnt; ++i)
        t.partitions.push_back({partition_id(found.partitions[i].id), found.partitions[i].leader});
    std::sort(t.partitions.begin(), t.partitions.end(),
              [](const auto& a, const auto& b) { return a.partition < b.partition; });
    if (!t.error && t.partitions.empty())
        t.error =
            make_topic_fault(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, c.address(), "", t.topic, -1);
    return t;
}

topic_layout missing(client& c, const std::string& topic)
{
    return {.topic = topic,
            .partitions = {},
            .error = make_topic_fault(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, c.address(), "",
                                      topic, -1)};
}

result<topic_layout> find_one(client& c, const std::string& topic, patience& p)
{
    topic_ptr of(rd_kafka_topic_new(c.handle(), topic.c_str(), nullptr));
    if (!of)
        return make_topic_fault(rd_kafka_last_error(), c.address(), "", topic, -1);
    auto found = fetch(c, false, of.get(), p);
    if (!found)
        return found.error();
    for (int i = 0; i < found.value()->topic_cnt; ++i)
        if (topic == found.value()->topics[i].topic)
            return layout_of(c, found.value()->topics[i]);
    return missing(c, topic);
}

// Names like the missing ones, for hints; best effort.
void add_near(client& c, layout& l, patience& p)
{
    auto all = fetch(c, true, nullptr, p);
    if (!all)
        return;
    std::vector<std::string> names;
    for (int i = 0; i < all.value()->topic_cnt; ++i)
        if (!internal(all.value()->topics[i].topic))
            names.emplace_back(all.value()->topics[i].topic);
    for (topic_layout& t : l.topics)
        if (t.error && t.error->kind == fault_kind::topic_missing)
            t.near = near_names(t.topic, names);
}

} // namespace

result<layout> find_layout(client& c, const std::vector<std::string>& topics, patience& p)
{
    layout l;
    bool lost = false;
    if (topics.size() <= few) {
        for (const std::string& topic : topics) {
            auto one = find_one(c, topic, p);
            if (!one)
                return one.error();
            l.topics.push_back(std::move(one.value()));
        }
    } else {
        auto all = fetch(c, true, nullptr, p);
        if (!all)
            return all.error();
        for (const std::string& topic : topics) {
            const rd_kafka_metadata_topic_t* at = all.value()->topics;
            const rd_kafka_metadata_topic_t* end = at + all.value()->topic_cnt;
            at = std::find_if(at, end, [&](const auto& t) { return topic == t.topic; });
            l.topics.push_back(at != end ? layout_of(c, *at) : missing(c, topic));
        }
    }
    for (const topic_layout& t : l.topics)
        lost |= t.error && t.error->kind == fault_kind::topic_missing;
    if (lost)
        add_near(c, l, p);
    l.cluster_id = cluster_of(c);
    return l;
}

result<layout> find_matching(client& c, const std::string& text, patience& p)
{
    std::optional<pattern> wanted;
    if (!text.empty()) {
        auto made = pattern::make(text);
        if (!made)
            return made.error();
        wanted = std::move(made.value());
    }
    auto all = fetch(c, true, nullptr, p);
    if (!all)
        return all.error();
    layout l;
    for (int i = 0; i < all.value()->topic_cnt; ++i) {
        const rd_kafka_metadata_topic_t& t = all.value()->topics[i];
        bool fits = wanted ? wanted->matches(t.topic) : !internal(t.topic);
        if (fits)
            l.topics.push_back(layout_of(c, t));
    }
    std::sort(l.topics.begin(), l.topics.end(),
              [](const auto& a, const auto& b) { return a.topic < b.topic; });
    l.cluster_id = cluster_of(c);
    return l;
}

result<broker_report> find_brokers(client& c, patience& p)
{
    auto start = clock::now();
    auto found = fetch(c, false, nullptr, p);
    if (!found)
        return found.error();
    // The first request includes the connection; the second shows the broker's own speed.
    start = clock::now();
    found = fetch(c, false, nullptr, p);
    if (!found)
        return found.error();
    broker_report r;
    r.latency_us =
        std::chrono::duration_cast<std::chrono::microseconds>(clock::now() - start).count();
    for (int i = 0; i < found.value()->broker_cnt; ++i) {
        const rd_kafka_metadata_broker_t& b = found.value()->brokers[i];
        r.brokers.push_back({b.id, b.host, b.port});
    }
    std::sort(r.brokers.begin(), r.brokers.end(),
              [](const auto& a, const auto& b) { return a.id < b.id; });
    r.cluster_id = cluster_of(c);
    r.controller = rd_kafka_controllerid(c.handle(), 0);
    r.librdkafka_version = rd_kafka_version_str();
    return r;
}

bool ping(client& c, int timeout_ms)
{
    const rd_kafka_metadata_t* found = nullptr;
    if (rd_kafka_metadata(c.handle(), 0, nullptr, &found, timeout_ms) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return false;
    rd_kafka_metadata_destroy(found);
    return true;
}

} // namespace ke::kafka
