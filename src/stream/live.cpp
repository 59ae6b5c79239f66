// What is published while work goes on: states of views, positions, ends, busy times. Nothing here is
// needed for correctness of what is stored; kafka.wait, kafka.views and kafka.lag read it.
#include "stream/pool.h"
#include "stream/shmem_layout.h"

extern "C" {
#include "storage/ipc.h"
#include "utils/timestamp.h"
}

#include <cstring>

#include "stream/processes.h"

namespace ke::stream {

namespace {

position_key key_of(Oid database, Oid view, const char* topic, int partition)
{
    position_key k = {};
    k.topic = hash_of(topic);
    k.database = database;
    k.view = view;
    k.partition = partition;
    return k;
}

// The moved mean over some seconds: fast enough to show a stall, slow enough to be read.
void count_rate(position_entry* p, TimestampTz now, std::int64_t next)
{
    if (p->rate_from == 0 || next < p->rate_next || now < p->rate_from) {
        p->rate_from = now;
        p->rate_next = next;
        p->rate = 0;
        return;
    }
    const std::int64_t passed = now - p->rate_from;
    if (passed < second)
        return;
    const double fresh = static_cast<double>(next - p->rate_next) * second / passed;
    p->rate = p->rate == 0 ? fresh : 0.6 * p->rate + 0.4 * fresh;
    p->rate_from = now;
    p->rate_next = next;
}

// Samples at least 3 s apart; when all places are taken every second one goes.
void sample_end(end_entry* e, TimestampTz now, std::int64_t end)
{
    if (e->samples > 0 && end < e->sample[e->samples - 1].end)
        e->samples = 0; // the topic was made anew
    if (e->samples > 0 && now < e->sample[e->samples - 1].at)
        e->samples = 0; // the clock was set back
    if (e->samples > 0 && now - e->sample[e->samples - 1].at < 3 * second)
        return;
    if (e->samples == end_samples) {
        for (int i = 0; i < end_samples / 2; i++)
            e->sample[i] = e->sample[2 * i];
        e->samples = end_samples / 2;
    }
    e->sample[e->samples].at = now;
    e->sample[e->samples].end = end;
    e->samples++;
}

} // namespace

const char* name_of(live_state s)
{
    switch (s) {
    case live_state::starting:
        return "starting";
    case live_state::catching_up:
        return "catching up";
    case live_state::running:
        return "running";
    case live_state::paused:
        return "paused";
    case live_state::retrying:
        return "retrying";
    case live_state::waiting:
        return "waiting";
    case live_state::stopped:
        return "stopped";
    case live_state::stuck:
        return "stuck";
    }
    return "unknown";
}

void publish_state(Oid view, live_state state, const std::string& reason, const std::string& error)
{
    const TimestampTz now = GetCurrentTimestamp();
    const view_key key = {MyDatabaseId, view};
    with_table([&] {
        if (!attach_tables())
            return;
        bool found;
        auto* e = static_cast<view_entry*>(dshash_find_or_insert(views, &key, &found));
        if (!found)
            std::memset(reinterpret_cast<char*>(e) + sizeof key, 0, sizeof *e - sizeof key);
        if (!found || e->state != state) {
            e->since = now;
            e->stuck = false;
        }
        e->state = state;
        e->slot = my_slot() ? static_cast<int>(my_slot() - shared->worker) : -1;
        fill(e->reason, sizeof e->reason, reason);
        if (!error.empty()) { // the newest is kept after recovery
            fill(e->error, sizeof e->error, error);
            e->error_at = now;
        }
        dshash_release_lock(views, e);
    });
}

namespace {

// In the view's entry, which is there once anything of the view has been shown.
template <class F>
hold with_hold(Oid view, const F& change)
{
    const view_key key = {MyDatabaseId, view};
    hold result = {};
    with_table([&] {
        if (!attach_tables())
            return;
        auto* e = static_cast<view_entry*>(dshash_find(views, &key, true));
        if (!e)
            return;
        change(e);
        result = {e->held, e->held_at};
        dshash_release_lock(views, e);
    });
    return result;
}

} // namespace

hold note_hold(Oid view)
{
    return with_hold(view, [](view_entry* e) {
        e->held++;
        e->held_at = steady_now();
    });
}

hold hold_of(Oid view)
{
    return with_hold(view, [](const view_entry*) {});
}

void forget_hold(Oid view)
{
    with_hold(view, [](view_entry* e) { e->held = 0; });
}

void supervisor_says(Oid view, live_state state, const std::string& reason, bool force)
{
    const TimestampTz now = GetCurrentTimestamp();
    const view_key key = {MyDatabaseId, view};
    with_table([&] {
        bool found;
        auto* e = static_cast<view_entry*>(dshash_find_or_insert(views, &key, &found));
        if (!found)
            std::memset(reinterpret_cast<char*>(e) + sizeof key, 0, sizeof *e - sizeof key);
        const bool heard = found && e->slot >= 0 && shared->worker[e->slot].process.pid != 0 &&
                           shared->worker[e->slot].database == MyDatabaseId;
        if (force || !heard) {
            if (!found || e->state != state)
                e->since = now;
            e->state = state;
            e->stuck = false;
            e->slot = -1;
            fill(e->reason, sizeof e->reason, reason);
        }
        dshash_release_lock(views, e);
    });
}

void publish_position(Oid view, const std::string& topic, int partition, std::int64_t next_offset,
                      std::int64_t stored_offset)
{
    const TimestampTz now = GetCurrentTimestamp();
    const position_key key = key_of(MyDatabaseId, view, topic.c_str(), partition);
    with_table([&] {
        if (!attach_tables())
            return;
        bool found;
        auto* p = static_cast<position_entry*>(dshash_find_or_insert(positions, &key, &found));
        if (!found)
            std::memset(reinterpret_cast<char*>(p) + sizeof key, 0, sizeof *p - sizeof key);
        if (!found || p->next != next_offset)
            p->moved_at = now;
        p->next = next_offset;
        p->stored = stored_offset < 0 ? next_offset : stored_offset;
        count_rate(p, now, next_offset);
        dshash_release_lock(positions, p);
    });
    if (my_slot())
        ConditionVariableBroadcast(&my_slot()->home->moved);
}

void publish_end(Oid topic_table, const std::string& topic, int partition, std::int64_t end_offset,
                 std::int64_t low)
{
    const TimestampTz now = GetCurrentTimestamp();
    end_key key = {};
    key.topic = hash_of(topic.c_str());
    key.database = MyDatabaseId;
    key.topic_table = topic_table;
    key.partition = partition;
    with_table([&] {
        if (!attach_tables())
            return;
        bool found;
        auto* e = static_cast<end_entry*>(dshash_find_or_insert(ends, &key, &found));
        if (!found) {
            std::memset(reinterpret_cast<char*>(e) + sizeof key, 0, sizeof *e - sizeof key);
            fill(e->topic, sizeof e->topic, topic);
            e->low = -1;
        }
        e->end = end_offset;
        e->as_of = now;
        if (low >= 0)
            e->low = low;
        sample_end(e, now, end_offset);
        dshash_release_lock(ends, e);
    });
}

void publish_busy(const unit& u, std::int64_t us)
{
    const unit_key key = {MyDatabaseId, u.topic_table, u.consumer};
    bool busy = false;
    with_table([&] {
        if (!attach_tables())
            return;
        if (auto* e = static_cast<unit_entry*>(dshash_find(units, &key, true))) {
            e->busy_us += us;
            busy = e->busy_us > second / 2 && e->busy_us - us <= second / 2;
            dshash_release_lock(units, e);
        }
    });
    if (busy)
        call_supervisor();
}

void publish_librdkafka(const std::string& json)
{
    constexpr std::size_t most = 8 << 20; // cut JSON is no JSON: a longer one is left out
    worker_slot* me = my_slot();
    if (!me)
        return;
    dsa_pointer fresh = InvalidDsaPointer;
    if (json.size() < most && !json.empty()) {
        with_table([&] { fresh = dsa_allocate(area, json.size() + 1); });
        std::memcpy(dsa_get_address(area, fresh), json.c_str(), json.size() + 1);
    }
    dsa_pointer old;
    {
        locked l;
        old = me->librdkafka;
        me->librdkafka = fresh;
    }
    if (DsaPointerIsValid(old))
        dsa_free(area, old);
}

std::optional<position_seen> seen_position(Oid database, Oid view, const char* topic, int partition)
{
    const position_key key = key_of(database, view, topic, partition);
    position_seen seen = {};
    bool found = false;
    with_table([&] {
        if (!attach_tables())
            return;
        if (auto* p = static_cast<position_entry*>(dshash_find(positions, &key, false))) {
            seen = {p->next, p->stored, p->moved_at, p->rate};
            found = true;
            dshash_release_lock(positions, p);
        }
    });
    if (!found)
        return std::nullopt;
    return seen;
}

} // namespace ke::stream
