#include "topic/ask.h"

#include <algorithm>

#include "pg/hubs.h"

namespace ke::topic {

namespace {

std::string address_of(const ingest::properties& properties)
{
    for (const auto& [name, value] : properties)
        if (name == "bootstrap.servers")
            return value;
    return {};
}

std::string show(std::chrono::milliseconds t)
{
    return t.count() % 1000 == 0 ? std::to_string(t.count() / 1000) + " s"
                                 : std::to_string(t.count()) + " ms";
}

std::string sentence(std::string s)
{
    if (s.empty())
        return s;
    if (s[0] >= 'a' && s[0] <= 'z')
        s[0] = static_cast<char>(s[0] - 'a' + 'A');
    if (s.back() != '.')
        s += '.';
    return s;
}

[[noreturn]] void fail_missing(const std::string& topic, const std::vector<std::string>& near)
{
    fault f;
    f.kind = fault_kind::topic_missing;
    f.topic = topic;
    f.message = "topic \"" + topic + "\" does not exist";
    for (const std::string& n : near)
        f.hint += (f.hint.empty() ? "Perhaps you meant \"" : ", \"") + n + "\"";
    if (!f.hint.empty())
        f.hint += ".";
    throw pg::fault_error(std::move(f));
}

bool wanted(const topic_table& t, partition_id p)
{
    return t.partitions.empty() ||
           std::any_of(t.partitions.begin(), t.partitions.end(),
                       [&](const auto& r) { return r.first <= p.value && p.value <= r.second; });
}

} // namespace

line make_line(MemoryContext context, ingest::hub* hub, const connection& c)
{
    line l{};
    l.hub = hub;
    l.client = pg::check(hub->client(c.properties));
    l.timeout = std::chrono::milliseconds(c.connect_timeout_ms);
    const std::string address = address_of(c.properties);
    l.address = pg::call(
        [&] { return static_cast<const char*>(MemoryContextStrdup(context, address.c_str())); });
    return l;
}

line with_uncommitted_ends(const line& l, connection c)
{
    line other = l;
    c.properties.emplace_back(kafka::uncommitted_ends);
    other.client = pg::check(l.hub->client(c.properties));
    return other;
}

line open_line(MemoryContext context, const connection& c)
{
    return make_line(context, pg::open_hub(context), c);
}

line open_line(MemoryContext context, const topic_table& t)
{
    return open_line(context, connection{t.server, t.connection, t.registry, t.connect_timeout_ms});
}

void fail(const line& l, fault f)
{
    std::optional<fault> cause = l.hub->complaint(l.client);
    const bool silent = f.kind == fault_kind::broker_unreachable;
    if (silent && cause && cause->kind != fault_kind::broker_unreachable)
        throw pg::fault_error(std::move(*cause));
    if (silent) {
        if (cause)
            f = *cause;
        std::string words = f.detail.empty() ? f.message : f.detail;
        f.message =
            std::string("could not reach Kafka at \"") + l.address + "\" within " + show(l.timeout);
        f.detail = sentence(std::move(words));
        f.hint =
            "Check that the broker runs, that option bootstrap_servers of the server names it, "
            "and that its advertised listeners can be reached from this host; connect_timeout "
            "sets how long to wait.";
    }
    throw pg::fault_error(std::move(f));
}

ingest::layout ask_topics(const line& l, const topic_table& t, bool missing_ok)
{
    ingest::layout layout =
        await(l, t.pattern.empty() ? l.hub->ask_layout(l.client, t.topics, l.timeout)
                                   : l.hub->ask_matching(l.client, t.pattern, l.timeout));
    for (ingest::topic_layout& topic : layout.topics) {
        if (topic.error && topic.error->kind == fault_kind::topic_missing) {
            if (!missing_ok)
                fail_missing(topic.topic, topic.near);
        } else if (topic.error) {
            fail(l, std::move(*topic.error));
        }
        std::erase_if(topic.partitions, [&](const auto& p) { return !wanted(t, p.partition); });
    }
    std::erase_if(layout.topics, [](const auto& topic) { return topic.error.has_value(); });
    return layout;
}

std::vector<ingest::topic_partition> partitions_of(const ingest::layout& layout)
{
    std::vector<ingest::topic_partition> list;
    for (const ingest::topic_layout& t : layout.topics)
        for (const ingest::partition_state& p : t.partitions)
            list.push_back({t.topic, p.partition});
    return list;
}

std::vector<ingest::watermarks> ask_ends(const line& l, const ingest::layout& layout)
{
    auto partitions = partitions_of(layout);
    if (partitions.empty())
        return {};
    auto ends = await(l, l.hub->ask_watermarks(l.client, std::move(partitions), l.timeout));
    for (ingest::watermarks& w : ends)
        if (w.error)
            fail(l, std::move(*w.error));
    return ends;
}

} // namespace ke::topic
