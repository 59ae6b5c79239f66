#include "topic/statement.h"

extern "C" {
#include "executor/execdesc.h"
#include "nodes/execnodes.h"
}

#include <algorithm>
#include <chrono>

#include "pg/errors.h"
#include "pg/hubs.h"
#include "topic/pushdown.h"

namespace ke::topic {

namespace {

using clock = std::chrono::steady_clock;
using milliseconds = std::chrono::milliseconds;

// Statements that are under way in this process, by their memory context. Few: nested function calls
// and open cursors.
struct live_statement {
    MemoryContext context;
    statement* object;
};
std::vector<live_statement>& live()
{
    static auto* list = new std::vector<live_statement>; // never destroyed
    return *list;
}

// The newest hub, shared as long as somebody holds it: the plan's estimate and the scan that follows
// it use one connection.
std::weak_ptr<ingest::hub>& newest_hub()
{
    static auto* hub = new std::weak_ptr<ingest::hub>;
    return *hub;
}

bool chosen(const topic_table& table, std::int32_t partition)
{
    return table.partitions.empty() ||
           std::any_of(table.partitions.begin(), table.partitions.end(), [&](auto& range) {
               return partition >= range.first && partition <= range.second;
           });
}

// What passes by itself (a leader is being chosen) is asked again until then.
class patience {
  public:
    explicit patience(const line& l) : line_(l), until_(clock::now() + l.timeout) {}

    // After a transient fault: a pause, or the fault as an error where the time is over.
    void after(fault f)
    {
        if (!pg::is_transient(f.kind) || f.kind == fault_kind::topic_missing ||
            clock::now() >= until_)
            fail(line_, std::move(f));
        pg::wait_until(line_.hub->bell(), milliseconds(50), [] { return false; });
    }

  private:
    const line& line_;
    clock::time_point until_;
};

} // namespace

statement::statement()
{
    pg::call([] { pg::expect_threads(); });
    hub_ = newest_hub().lock();
    if (!hub_) {
        hub_ = pg::check(ingest::hub::make(true));
        newest_hub() = hub_;
    }
}

statement::~statement()
{
    std::erase_if(live(), [this](const live_statement& l) { return l.object == this; });
}

statement& statement::of(EState* estate)
{
    // Rechecks of concurrent updates run parts of the plan in a state of their own.
    if (estate->es_epq_active)
        estate = estate->es_epq_active->parentestate;
    for (const live_statement& l : live())
        if (l.context == estate->es_query_cxt)
            return *l.object;
    statement* made = pg::adopt(estate->es_query_cxt, std::make_unique<statement>());
    live().push_back({estate->es_query_cxt, made});
    return *made;
}

line statement::open_line(MemoryContext context, const topic_table& table)
{
    return make_line(context, hub_.get(),
                     {table.server, table.connection, table.registry, table.connect_timeout_ms});
}

void statement::note_layout(const line& l, const ingest::layout& layout)
{
    for (const ingest::topic_layout& t : layout.topics) {
        auto [at, is_new] = layout_.try_emplace({l.client, t.topic});
        if (is_new)
            for (const ingest::partition_state& p : t.partitions)
                at->second.push_back(p.partition.value);
    }
}

const std::vector<std::string>& statement::topics_of(const line& l, const topic_table& table)
{
    if (table.pattern.empty())
        return table.topics;
    auto [at, is_new] = patterns_.try_emplace({l.client, table.pattern});
    if (is_new) {
        topic_table all = table;
        all.partitions.clear();
        const ingest::layout layout = ask_topics(l, all, true);
        note_layout(l, layout);
        for (const ingest::topic_layout& t : layout.topics)
            at->second.push_back(t.topic);
    }
    return at->second;
}

void statement::learn_layout(const line& l, const std::vector<std::string>& topics)
{
    topic_table unknown;
    for (const std::string& t : topics)
        if (!layout_.contains({l.client, t}))
            unknown.topics.push_back(t);
    if (!unknown.topics.empty())
        note_layout(l, ask_topics(l, unknown));
}

void statement::learn_ends(const line& l, std::vector<ingest::topic_partition> asked)
{
    patience patience(l);
    while (!asked.empty()) {
        auto marks = await(l, l.hub->ask_watermarks(l.client, asked, l.timeout));
        asked.clear();
        std::optional<fault> bad;
        for (ingest::watermarks& w : marks) {
            if (!w.error) {
                ends_[{l.client, w.at.topic, w.at.partition.value}] = {w.low.value, w.high.value};
            } else {
                bad = std::move(*w.error);
                asked.push_back(w.at);
            }
        }
        if (bad)
            patience.after(std::move(*bad));
    }
}

std::vector<partition_ends> statement::ends(const line& l, const topic_table& table)
{
    const std::vector<std::string>& topics = topics_of(l, table);
    learn_layout(l, topics);

    std::vector<ingest::topic_partition> unknown;
    for (const std::string& t : topics)
        for (std::int32_t p : layout_[{l.client, t}])
            if (chosen(table, p) && !ends_.contains({l.client, t, p}))
                unknown.push_back({t, partition_id(p)});
    learn_ends(l, std::move(unknown));

    std::vector<partition_ends> found;
    for (const std::string& t : topics)
        for (std::int32_t p : layout_[{l.client, t}])
            if (auto e = ends_.find({l.client, t, p}); e != ends_.end() && chosen(table, p))
                found.push_back({t, p, e->second.first, e->second.second});
    return found;
}

std::vector<std::int64_t> statement::offsets_at(const line& l,
                                                const std::vector<time_question>& questions)
{
    std::vector<std::int64_t> offsets(questions.size(), interval_set::lowest);
    if (questions.empty())
        return offsets;
    std::vector<std::pair<ingest::topic_partition, std::int64_t>> asked;
    for (const time_question& q : questions)
        asked.push_back({{q.topic, partition_id(q.partition)}, q.time_ms});
    auto answers = await(l, l.hub->ask_times(l.client, std::move(asked), l.timeout));
    // What could not be answered stays at "from the start": wider, never narrower.
    for (std::size_t i = 0; i < questions.size() && i < answers.size(); i++)
        if (!answers[i].error)
            offsets[i] = answers[i].offset == no_offset ? beyond_the_end : answers[i].offset.value;
    return offsets;
}

bool statement::times_ascend(const line& l, const std::string& topic)
{
    auto [at, is_new] = ascend_.try_emplace({l.client, topic}, false);
    if (is_new) {
        // One more question in the rare case of an upper bound in time.
        const std::vector<bool> answer =
            await(l, l.hub->ask_append_time(l.client, {topic}, l.timeout));
        at->second = !answer.empty() && answer[0];
    }
    return at->second;
}

} // namespace ke::topic
