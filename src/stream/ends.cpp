#include "stream/ends.h"

#include <algorithm>
#include <map>
#include <set>

#include "stream/pool.h"
#include "stream/shmem_layout.h"

namespace ke::stream {

namespace {

constexpr TimestampTz between_ends = 3 * second;
constexpr TimestampTz between_layouts = 10 * second;
constexpr auto patience = std::chrono::milliseconds(5000);

bool takes(const topic::topic_table& t, int partition)
{
    if (t.partitions.empty())
        return true;
    return std::any_of(t.partitions.begin(), t.partitions.end(), [&](const auto& range) {
        return partition >= range.first && partition <= range.second;
    });
}

} // namespace

// One client, and either its tables with plain topics (pattern empty) or those of one pattern.
struct end_watch::group {
    ingest::properties connection;
    std::string pattern;
    std::vector<topic::topic_table> tables;
    ingest::client_handle* client = nullptr;
    ingest::ticket<ingest::layout> layout;
    ingest::ticket<std::vector<ingest::watermarks>> marks;
    std::vector<ingest::topic_partition> partitions;
    TimestampTz next_layout = 0;
    TimestampTz next_marks = 0;

    std::vector<std::string> topics() const
    {
        std::set<std::string> all;
        for (const topic::topic_table& t : tables)
            all.insert(t.topics.begin(), t.topics.end());
        return {all.begin(), all.end()};
    }
};

void end_watch::want(std::vector<topic::topic_table> tables)
{
    std::vector<std::shared_ptr<group>> next;
    for (topic::topic_table& t : tables) {
        auto g = std::find_if(next.begin(), next.end(), [&](const auto& have) {
            return have->connection == t.connection && have->pattern == t.pattern;
        });
        if (g == next.end()) {
            auto fresh = std::make_shared<group>();
            fresh->connection = t.connection;
            fresh->pattern = t.pattern;
            g = next.insert(next.end(), fresh);
        }
        (*g)->tables.push_back(std::move(t));
    }
    // What was known of a group stays known; its layout is asked again at once.
    for (auto& g : next)
        for (const auto& old : groups_)
            if (old->connection == g->connection && old->pattern == g->pattern) {
                g->client = old->client;
                g->partitions = old->partitions;
            }
    std::set<ingest::client_handle*> used;
    for (const auto& g : next)
        used.insert(g->client);
    std::set<ingest::client_handle*> unused;
    for (const auto& old : groups_)
        if (old->client && !used.count(old->client))
            unused.insert(old->client);
    groups_ = std::move(next);
    for (ingest::client_handle* c : unused)
        hub_->forget(c);
}

void end_watch::take_layout(group& g, TimestampTz now)
{
    result<ingest::layout> r = g.layout.take();
    g.layout = {};
    g.next_layout = now + between_layouts;
    if (!r)
        return;
    g.partitions.clear();
    for (const ingest::topic_layout& t : r.value().topics)
        for (const ingest::partition_state& p : t.partitions)
            if (!t.error && std::any_of(g.tables.begin(), g.tables.end(), [&](const auto& table) {
                    return takes(table, p.partition.value);
                }))
                g.partitions.push_back({t.topic, p.partition});
    g.next_marks = now;
}

void end_watch::take_marks(group& g)
{
    result<std::vector<ingest::watermarks>> r = g.marks.take();
    g.marks = {};
    if (!r)
        return;
    for (const ingest::watermarks& m : r.value()) {
        if (m.error)
            continue;
        for (const topic::topic_table& t : g.tables) {
            const bool its = !g.pattern.empty() || std::find(t.topics.begin(), t.topics.end(),
                                                             m.at.topic) != t.topics.end();
            if (its && takes(t, m.at.partition.value))
                publish_end(t.relid, m.at.topic, m.at.partition.value, m.high.value, m.low.value);
        }
    }
}

void end_watch::ask(group& g, TimestampTz now)
{
    if (!g.client) {
        result<ingest::client_handle*> c = hub_->client(g.connection);
        if (!c) {
            g.next_layout = now + between_layouts;
            return;
        }
        g.client = c.value();
    }
    if (!g.layout.pending() && now >= g.next_layout)
        g.layout = g.pattern.empty() ? hub_->ask_layout(g.client, g.topics(), patience)
                                     : hub_->ask_matching(g.client, g.pattern, patience);
    if (!g.marks.pending() && now >= g.next_marks && !g.partitions.empty()) {
        g.marks = hub_->ask_watermarks(g.client, g.partitions, patience);
        g.next_marks = now + between_ends;
    }
}

bool end_watch::ready() const
{
    return std::any_of(groups_.begin(), groups_.end(), [](const auto& g) {
        return (g->layout.pending() && g->layout.ready()) ||
               (g->marks.pending() && g->marks.ready());
    });
}

ingest::hub* end_watch::hub()
{
    if (!hub_)
        // Nothing is fetched: one connection does.
        if (result<std::unique_ptr<ingest::hub>> made = ingest::hub::make(true); made)
            hub_ = std::move(made.value());
    return hub_.get();
}

TimestampTz end_watch::step(TimestampTz now)
{
    if (groups_.empty())
        return 0;
    if (!hub())
        return now + between_layouts;
    TimestampTz next = now + between_ends;
    for (const auto& g : groups_) {
        if (g->layout.pending() && g->layout.ready())
            take_layout(*g, now);
        if (g->marks.pending() && g->marks.ready())
            take_marks(*g);
        if (g->client || now >= g->next_layout)
            ask(*g, now);
        if (!g->marks.pending() && !g->partitions.empty())
            next = std::min(next, g->next_marks);
        if (!g->layout.pending())
            next = std::min(next, g->next_layout);
    }
    return std::max(next, now + 1000);
}

} // namespace ke::stream
