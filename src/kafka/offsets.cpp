#include "kafka/offsets.h"

#include <algorithm>
#include <chrono>
#include <map>
#include <numeric>
#include <thread>

#include "kafka/control.h"
#include "kafka/fault.h"
#include "kafka/handles.h"
#include "kafka/metadata.h"

#include "base/no_backend.h"

namespace ke::kafka {

namespace {

// One partition's question to ListOffsets and its answer.
struct query {
    const topic_partition* at;
    std::int64_t time; // ms, or RD_KAFKA_OFFSET_BEGINNING, RD_KAFKA_OFFSET_END
    std::int64_t offset = -1;
    std::optional<fault> error;
};

// What is known of who leads the queries' partitions; an error for those whom nobody can be asked about.
std::optional<fault> look_for_leaders(client& c, const std::vector<std::string>& topics,
                                      std::vector<query>& queries, patience& p)
{
    auto found = find_layout(c, topics, p);
    if (!found)
        return found.error();
    std::map<std::string_view, const topic_layout*> by_name;
    for (const topic_layout& t : found.value().topics)
        by_name[t.topic] = &t;
    for (query& q : queries) {
        q.error.reset();
        const topic_layout& t = *by_name.at(q.at->topic);
        if (t.error) {
            q.error = t.error;
            continue;
        }
        auto at = std::find_if(t.partitions.begin(), t.partitions.end(),
                               [&](const auto& s) { return s.partition == q.at->partition; });
        if (at == t.partitions.end())
            q.error = make_topic_fault(RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART, c.address(), "",
                                       q.at->topic, q.at->partition.value);
        else if (at->leader < 0)
            q.error = make_topic_fault(RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE, c.address(), "",
                                       q.at->topic, q.at->partition.value);
    }
    return std::nullopt;
}

// Gives those an error that have no leader to ask: the library would wait for one until the end. Where
// none has one the cluster is busy choosing (a broker that has just come, or was fenced off for a
// moment), and that is waited for; where some have one, those answer at once.
std::optional<fault> find_leaders(client& c, std::vector<query>& queries, patience& p)
{
    std::vector<std::string> topics;
    for (const query& q : queries)
        if (std::find(topics.begin(), topics.end(), q.at->topic) == topics.end())
            topics.push_back(q.at->topic);
    for (;;) {
        if (auto f = look_for_leaders(c, topics, queries, p))
            return f;
        const bool none = std::all_of(queries.begin(), queries.end(), [](const query& q) {
            return q.error && q.error->kind == fault_kind::broker_unreachable;
        });
        if (!none || queries.empty() || p.over() || p.rest(1000) < 500)
            return std::nullopt;
        std::this_thread::sleep_for(std::chrono::milliseconds(100));
    }
}

// One request to each leader. The answer is for all or for none: the first error of a partition
// hides the others' offsets.
rd_kafka_resp_err_t list_offsets(client& c, std::vector<query*>& queries, patience& p)
{
    partitions_ptr list(rd_kafka_topic_partition_list_new(static_cast<int>(queries.size())));
    for (const query* q : queries)
        rd_kafka_topic_partition_list_add(list.get(), q->at->topic.c_str(), q->at->partition.value)
            ->offset = q->time;
    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__TIMED_OUT;
    while (int ms = p.slice()) {
        err = rd_kafka_offsets_for_times(c.handle(), list.get(), ms);
        if (err == RD_KAFKA_RESP_ERR_NO_ERROR || kind_of(err) != fault_kind::broker_unreachable)
            break;
    }
    for (int i = 0; i < list->cnt; ++i) {
        query& q = *queries[static_cast<std::size_t>(i)];
        rd_kafka_resp_err_t its = err != RD_KAFKA_RESP_ERR_NO_ERROR ? err : list->elems[i].err;
        if (its != RD_KAFKA_RESP_ERR_NO_ERROR)
            q.error = make_topic_fault(its, c.address(), "", q.at->topic, q.at->partition.value);
        else
            q.offset = list->elems[i].offset;
    }
    return err;
}

std::optional<fault> ask_brokers_for(client& c, std::vector<query>& queries, patience& p)
{
    if (auto f = find_leaders(c, queries, p))
        return f;
    // A partition may be asked for several offsets, but one request holds it once (KAFKA-1588): the
    // n-th question about a partition goes into the n-th request.
    std::vector<std::vector<query*>> requests;
    std::map<topic_partition, std::size_t> asked;
    for (query& q : queries) {
        if (q.error)
            continue;
        const std::size_t n = asked[*q.at]++;
        if (n == requests.size())
            requests.emplace_back();
        requests[n].push_back(&q);
    }
    for (std::vector<query*>& some : requests) {
        if (list_offsets(c, some, p) == RD_KAFKA_RESP_ERR_NO_ERROR || some.size() == 1)
            continue;
        // One of them spoils the answer: each alone, as long as there is time.
        for (query* q : some) {
            if (p.over())
                break;
            q->error.reset();
            std::vector<query*> alone{q};
            list_offsets(c, alone, p);
        }
    }
    return std::nullopt;
}

} // namespace

result<std::vector<watermarks>> find_watermarks(client& c, const std::vector<topic_partition>& of,
                                                patience& p)
{
    std::vector<query> queries;
    for (const topic_partition& at : of) {
        queries.push_back({&at, RD_KAFKA_OFFSET_BEGINNING});
        queries.push_back({&at, RD_KAFKA_OFFSET_END});
    }
    if (!queries.empty())
        if (auto f = ask_brokers_for(c, queries, p))
            return *f;
    std::vector<watermarks> answer;
    for (std::size_t i = 0; i < of.size(); ++i) {
        query &low = queries[2 * i], &high = queries[2 * i + 1];
        watermarks w{.at = of[i]};
        if (low.error || high.error) {
            w.error = low.error ? low.error : high.error;
        } else {
            w.high = message_offset(high.offset);
            // Asked one after the other: expiry may have overtaken an end read before.
            w.low = message_offset(std::min(low.offset, high.offset));
        }
        answer.push_back(std::move(w));
    }
    return answer;
}

result<std::vector<resolved_offset>>
find_times(client& c, const std::vector<std::pair<topic_partition, std::int64_t>>& of, patience& p)
{
    std::vector<query> queries;
    for (const auto& [at, time] : of)
        queries.push_back({&at, std::max<std::int64_t>(time, 0)});
    if (!queries.empty())
        if (auto f = ask_brokers_for(c, queries, p))
            return *f;
    std::vector<resolved_offset> answer;
    for (const query& q : queries)
        answer.push_back({.at = *q.at,
                          .offset = q.offset >= 0 ? message_offset(q.offset) : no_offset,
                          .error = q.error});
    return answer;
}

} // namespace ke::kafka
