// Who is stuck: there is more to read, nothing comes, and no cause is known. Judged by the supervisor,
// which knows where topics end and sees positions move. Supervisor's process.
#include "stream/pool.h"

extern "C" {
#include "utils/timestamp.h"
}

#include <map>
#include <set>
#include <tuple>

namespace ke::stream {

namespace {

constexpr TimestampTz too_long = 60 * second;
constexpr TimestampTz fresh = 15 * second; // an end that is older proves nothing

using place = std::tuple<Oid, std::uint64_t, std::uint64_t, int>; // topic table, topic, partition

// There were records behind the position for all that time.
bool long_behind(const end_entry& e, const position_entry& p, TimestampTz now)
{
    if (now - p.moved_at < too_long || now - e.as_of > fresh || e.end <= p.next)
        return false;
    for (int i = 0; i < e.samples; i++)
        if (e.sample[i].end > p.next)
            return now - e.sample[i].at >= too_long;
    return false;
}

} // namespace

void judge_progress(const std::vector<registered_view>& all)
{
    std::map<Oid, Oid> table_of;
    for (const registered_view& v : all)
        if (v.state == view_state::active)
            table_of[v.view] = v.topic_table;
    int n_ends = 0, n_positions = 0;
    end_entry* end_list = nullptr;
    position_entry* position_list = nullptr;
    with_table([&] {
        end_list = copy_entries<end_entry>(ends, &n_ends);
        position_list = copy_entries<position_entry>(positions, &n_positions);
    });
    std::map<place, const end_entry*> end_of;
    for (int i = 0; i < n_ends; i++) {
        const end_key& k = end_list[i].key;
        end_of[{k.topic_table, k.topic.a, k.topic.b, k.partition}] = &end_list[i];
    }
    const TimestampTz now = GetCurrentTimestamp();
    std::set<Oid> stuck;
    for (int i = 0; i < n_positions; i++) {
        const position_key& k = position_list[i].key;
        const auto table = table_of.find(k.view);
        if (table == table_of.end())
            continue;
        const auto end = end_of.find({table->second, k.topic.a, k.topic.b, k.partition});
        if (end != end_of.end() && long_behind(*end->second, position_list[i], now))
            stuck.insert(k.view);
    }
    with_table([&] {
        dshash_seq_status s;
        dshash_seq_init(&s, views, true);
        while (auto* v = static_cast<view_entry*>(dshash_seq_next(&s))) {
            const bool at_work =
                v->state == live_state::running || v->state == live_state::catching_up;
            const bool mark =
                v->key.database == MyDatabaseId && at_work && stuck.count(v->key.view);
            if (mark && !v->stuck)
                v->since = now;
            if (v->key.database == MyDatabaseId)
                v->stuck = mark;
        }
        dshash_seq_term(&s);
    });
}

} // namespace ke::stream
