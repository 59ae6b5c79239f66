// A source on its way to records: its client, its topics and partitions (asked for again and again,
// so that new ones join), its marks, and each view until it is ready to join a feed. Nothing here
// waits: questions go out as tickets and are taken when they are answered.
#include "stream/worker.h"

extern "C" {
#include "catalog/pg_class.h"
#include "utils/lsyscache.h"
}

#include <algorithm>

#include "pg/guc.h"
#include "stream/patience.h"

namespace ke::stream {

namespace {

// FNV-1a: the same for every worker, version and machine.
std::uint32_t hash_of(const std::string& topic, int partition)
{
    std::uint32_t h = 2166136261u;
    for (unsigned char c : topic)
        h = (h ^ c) * 16777619u;
    for (int i = 0; i < 4; i++)
        h = (h ^ ((static_cast<unsigned>(partition) >> (8 * i)) & 0xff)) * 16777619u;
    return h ^ (h >> 16);
}

bool is_chosen(const topic::topic_table& t, int partition)
{
    return t.partitions.empty() ||
           std::any_of(t.partitions.begin(), t.partitions.end(), [&](auto& range) {
               return partition >= range.first && partition <= range.second;
           });
}

// The marks are asked for while there is something to catch up with.
constexpr milliseconds marks_interval{5000};

// All sources' at the same time, so that they are one question.
steady::time_point next_layouts()
{
    const auto since = steady::now().time_since_epoch();
    return steady::time_point((since / metadata_interval + 1) * metadata_interval);
}

// A crash empties an unlogged table while positions stay; a temporary one is nobody else's to fill.
void check_target(const registered_view& v)
{
    char persistence = pg::call([&] { return get_rel_persistence(v.target); });
    if (persistence == RELPERSISTENCE_PERMANENT)
        return;
    fault f;
    f.kind = fault_kind::refused_option;
    f.message = "the table that view " + v.name + " feeds is not a permanent one";
    f.hint = "ALTER TABLE ... SET LOGGED, then kafka.resume.";
    throw pg::fault_error(std::move(f));
}

// The others go on.
trouble without_leader(const std::string& topic, int partition)
{
    fault f;
    f.kind = fault_kind::broker_unreachable;
    f.message =
        "partition " + std::to_string(partition) + " of topic \"" + topic + "\" has no leader";
    f.hint = "A broker that holds a copy of it must come back.";
    return describe(f);
}

} // namespace

bool is_mine(const source& s, const std::string& topic, int partition)
{
    return is_chosen(s.table, partition) &&
           (s.of_consumers <= 1 ||
            s.consumers.contains(static_cast<int>(hash_of(topic, partition) %
                                                  static_cast<unsigned>(s.of_consumers))));
}

void worker::tend_sources()
{
    for (auto& s : sources_) {
        if (!client_of(*s))
            continue;
        tend_layout(*s);
        if (!s->known)
            continue;
        tend_views(*s);
        tend_marks(*s);
    }
}

// The client; false where librdkafka refuses the properties (checked at DDL; a newer library may
// think otherwise).
bool worker::client_of(source& s)
{
    if (s.client)
        return true;
    if (s.wrong && steady::now() < s.ask_layout_at)
        return false;
    auto made = hub_.client(ingest::shared_among(pg::settings::lanes, s.table.connection));
    if (made) {
        s.client = made.value();
        return true;
    }
    s.wrong = describe(made.error());
    s.ask_layout_at = steady::now() + metadata_interval;
    return false;
}

void worker::tend_layout(source& s)
{
    if (s.layout.pending()) {
        if (!s.layout.ready())
            return;
        auto answer = s.layout.take();
        s.ask_layout_at = next_layouts();
        if (answer) {
            take_layout(s, answer.value());
        } else {
            s.wrong = describe(answer.error());
            s.ask_layout_at = steady::now() + metadata_retry;
        }
    }
    if (steady::now() < s.ask_layout_at || s.views.empty())
        return;
    milliseconds timeout(s.table.connect_timeout_ms);
    s.layout = s.table.topics.empty() ? hub_.ask_matching(s.client, s.table.pattern, timeout)
                                      : hub_.ask_layout(s.client, s.table.topics, timeout);
}

void worker::take_layout(source& s, const ingest::layout& l)
{
    s.wrong.reset();
    std::vector<std::string> topics;
    std::vector<partition_key> mine;
    for (const ingest::topic_layout& t : l.topics) {
        if (t.error) {
            s.wrong = describe(*t.error);
            s.ask_layout_at = steady::now() + metadata_retry;
            continue;
        }
        bool any = false;
        for (const ingest::partition_state& p : t.partitions)
            if (is_mine(s, t.topic, p.partition.value)) {
                mine.push_back({t.topic, p.partition});
                any = true;
                if (p.leader < 0) {
                    s.wrong = without_leader(t.topic, p.partition.value);
                    s.ask_layout_at = steady::now() + metadata_retry;
                }
            }
        if (any)
            topics.push_back(t.topic);
    }
    std::sort(mine.begin(), mine.end());
    // A topic that is missing for a moment (a broker starting) is not taken away; the reader says
    // what is wrong with it.
    if (s.wrong)
        for (const partition_key& k : s.partitions)
            if (!std::binary_search(mine.begin(), mine.end(), k)) {
                if (std::find(topics.begin(), topics.end(), k.topic) == topics.end())
                    topics.push_back(k.topic);
                mine.insert(std::upper_bound(mine.begin(), mine.end(), k), k);
            }
    if (!l.cluster_id.empty())
        s.cluster_id = l.cluster_id;
    check_cluster(s);
    bool changed = mine != s.partitions || topics != s.topics;
    if (changed) {
        s.topics = std::move(topics);
        s.partitions = std::move(mine);
        s.reopen = true;
        std::int64_t all_topics = 0, all_partitions = 0;
        for (auto& other : sources_) {
            all_topics += static_cast<std::int64_t>(other->topics.size());
            all_partitions += static_cast<std::int64_t>(other->partitions.size());
        }
        my_statistics().topics = all_topics;
        my_statistics().partitions = all_partitions;
    }
    s.known = !s.partitions.empty() || !s.wrong;
}

// Positions are numbers in one cluster's logs; in another's they would mean other records.
void worker::check_cluster(source& s)
{
    for (auto& v : s.views)
        if (v->at != phase::over && !v->is.cluster_id.empty() && !s.cluster_id.empty() &&
            v->is.cluster_id != s.cluster_id)
            halt(*v, {"another cluster answers at this address",
                      "the positions belong to cluster " + v->is.cluster_id + ", this one is " +
                          s.cluster_id});
}

void worker::tend_views(source& s)
{
    for (auto& v : s.views) {
        if (v->at == phase::resting && steady::now() >= v->rest.until)
            v->at = phase::preparing;
        if (v->at == phase::preparing)
            prepare(*v);
        if (v->at == phase::reading && v->feed->reader->at_end() && v->feed->gathered.empty() &&
            v->pace.is_over(milliseconds(pg::settings::view_timeout_ms))) {
            v->pace = {};
            forget_hold(v->is.view);
            s.reopen = true;
        }
        if (v->at == phase::joining && !s.marking)
            s.reopen = true;
    }
}

// Everything about a view that can go wrong without a record: locks, rights, plan. Tried with no
// rows, and rolled back, so that a view that cannot work never disturbs the feed of others.
void worker::prepare(served_view& v)
{
    if (!v.is.invalid.empty()) {
        halt(v, {"the view's options do not hold", v.is.invalid});
        return;
    }
    leave_feed(v);
    bool locked = false;
    topic::batch nothing;
    std::optional<patience> watch(std::in_place, v.is.view, time_for(v));
    try {
        begin_work();
        std::vector<bool> each;
        locked = lock_relations({&v.is}, each);
        if (locked) {
            check_target(v.is);
            read_positions({&v});
            plan_view(v);
            v.plan.columns = columns_for(v.is.topic_table, v.is.owner, v.plan.attributes);
            check_usage(v.from->table.server, v.is.owner);
            nothing.topic_table = v.is.topic_table;
            nothing.columns = &v.plan.columns;
            nothing.last_message = 0;
            run_plan(v, nothing);
        }
        if (const auto limit = time_for(v); limit.count() > 0 && watch->spent() > limit)
            v.pace.cut_off(4 * v.pace.rows(v.is.options.batch_rows)); // too late to be cut off
        watch.reset();
        abort_work();
    } catch (const pg::pg_error& e) {
        trouble t = describe(e.data());
        watch->judge(t);
        watch.reset();
        abort_work();
        if (t.what == remedy::slow)
            v.pace.cut_off(4 * v.pace.rows(v.is.options.batch_rows)); // no record of it
        want_attributes(v, nothing);
        take_trouble(v, t);
        return;
    } catch (const pg::fault_error& e) {
        trouble t = describe(e.get());
        watch.reset();
        abort_work();
        take_trouble(v, t);
        return;
    }
    if (!locked) {
        rest(v, milliseconds(20), milliseconds(1000));
        return;
    }
    v.at = phase::joining;
}

void worker::tend_marks(source& s)
{
    const auto now = steady::now();
    if (s.marks.pending()) {
        if (!s.marks.ready())
            return;
        auto answer = s.marks.take();
        s.ask_marks_at = now + marks_interval;
        std::vector<ingest::watermarks> marks;
        if (answer)
            marks = std::move(answer.value());
        for (const ingest::watermarks& m : marks)
            if (!m.error) {
                s.ends[m.at] = m.high.value;
                s.lows[m.at] = m.low.value;
                publish_end(s.table.relid, m.at.topic, m.at.partition.value, m.high.value,
                            m.low.value);
            }
        if (s.marking) {
            s.marking = false;
            settle(s, marks);
        }
        return;
    }
    s.reopen = s.reopen || s.marking; // the question could not even be asked
    bool due = s.reopen && now >= s.reopen_at;
    bool behind =
        std::any_of(s.feeds.begin(), s.feeds.end(), [](auto& f) { return !f->reader->at_end(); });
    if (!due && !(behind && now >= s.ask_marks_at))
        return;
    if (s.partitions.empty()) {
        s.reopen = false;
        return;
    }
    s.marking = due;
    if (due)
        s.reopen = false; // set again by whatever happens from here on
    s.marks = hub_.ask_watermarks(s.client, s.partitions,
                                  milliseconds(std::min(s.table.connect_timeout_ms, 3000)));
}

} // namespace ke::stream
