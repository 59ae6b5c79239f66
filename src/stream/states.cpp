// What users see of a view while this worker serves it, and how the worker takes trouble: rest and
// try again, or stop until a person comes. Shown states live in shared memory and are written on
// change; stopped is written to kafka.registry with its reason.
#include "stream/worker.h"

#include <algorithm>
#include <random>

#include "pg/guc.h"
#include "stream/processes.h"

namespace ke::stream {

namespace {

// 0.5 to 1: so that views that failed together do not come back together.
double jitter()
{
    static std::minstd_rand random(std::random_device{}());
    return std::uniform_real_distribution<double>(0.5, 1.0)(random);
}

std::int64_t records_behind(const served_view& v)
{
    std::int64_t behind = 0;
    for (const partition_key& k : v.from->partitions) {
        auto p = v.positions.find(k);
        auto end = v.from->ends.find(k);
        if (p != v.positions.end() && end != v.from->ends.end())
            behind += std::max<std::int64_t>(0, end->second - p->second.ahead);
    }
    return behind;
}

// The server's log gets each cause once, not each try.
void log_once(const served_view& v, const trouble& t)
{
    if (!v.reason.starts_with(t.message))
        ereport(LOG,
                (errcode(t.sqlstate),
                 errmsg("kafka view %s is tried again: %s", v.is.name.c_str(), t.message.c_str()),
                 t.detail.empty() ? 0 : errdetail_internal("%s", t.detail.c_str())));
}

} // namespace

void worker::rest(served_view& v, milliseconds base, milliseconds most)
{
    v.rest.times = std::min(v.rest.times + 1, 20);
    double wait = static_cast<double>(base.count()) * static_cast<double>(1 << (v.rest.times - 1));
    wait = std::min(wait, static_cast<double>(most.count())) * jitter();
    v.rest.until = steady::now() + milliseconds(static_cast<long>(wait) + 1);
    v.at = phase::resting;
}

// Cut off again and again, all such views together have a sixth of the worker's time, and each is tried
// again within five minutes.
void worker::rest_from_work(served_view& v, milliseconds took)
{
    const milliseconds once = std::max(time_for(v), took);
    const milliseconds wait =
        v.rest.times == 0 ? once : std::min(once * 5 * slow_views(), milliseconds(300000));
    rest(v, wait, wait);
}

// A view for which workers were ended is slow from its beginning, and the others have as much time before it as
// it took from them, more with each time, whatever kafka.resume says.
void worker::remember_hold(served_view& v)
{
    const hold h = hold_of(v.is.view);
    const milliseconds limit(pg::settings::view_timeout_ms);
    if (h.times == 0 || limit.count() == 0)
        return;
    v.pace.cut_off(0);
    const milliseconds since((steady_now() - h.at) / 1000);
    const milliseconds wait = std::min(limit * 5 * h.times, milliseconds(300000)) - since;
    if (wait.count() <= 0)
        return;
    v.reason = "its code held the worker until that was ended for it";
    v.rest.times = h.times;
    v.rest.until = steady::now() + wait;
    v.at = phase::resting;
}

void worker::take_trouble(served_view& v, const trouble& t)
{
    const auto tell = [&] {
        v.reason = in_words(t);
        v.error = in_full(t);
    };
    switch (t.what) {
    case remedy::give_way: // whoever wanted the lock has it now; nothing to complain of
        if (v.rest.times >= cancels_in_a_row)
            tell();
        rest(v, milliseconds(20), milliseconds(1000));
        break;
    case remedy::retry:
        log_once(v, t);
        tell();
        rest(v, milliseconds(100), milliseconds(10000));
        break;
    case remedy::slow:
        log_once(v, t);
        leave_feed(v);
        tell();
        rest_from_work(v, t.took);
        break;
    case remedy::rights:
        log_once(v, t);
        tell();
        rest(v, milliseconds(250), milliseconds(3000));
        break;
    case remedy::schema:
    case remedy::record:
        halt(v, {"query or target: " + in_words(t), in_full(t)});
        break;
    }
}

// Stops the view until kafka.resume. Where that cannot be written now, it rests and meets the same
// again.
void worker::halt(served_view& v, const stop_report& report, const gap* with_gap)
{
    bool written = false;
    auto t = in_work([&] {
        written = write_stop(v.is.view, report);
        if (written && with_gap)
            write_gap(v.is.view, *with_gap, false);
    });
    leave_feed(v);
    v.reason = report.reason;
    v.error = report.error;
    if (t || !written) {
        rest(v, milliseconds(200), milliseconds(5000));
        return;
    }
    over(v);
    ereport(LOG, (errmsg("kafka view %s stopped: %s", v.is.name.c_str(), report.reason.c_str())));
}

// What kafka.registry says is shown from here on; after a resume it starts again.
void worker::over(served_view& v)
{
    v.at = phase::over;
    show(v, live_state::starting, "", "");
}

void worker::show(served_view& v, live_state state, const std::string& reason,
                  const std::string& error)
{
    if (v.shown_once && v.shown == state && v.shown_reason == reason)
        return;
    v.shown_once = true;
    v.shown = state;
    v.shown_reason = reason;
    publish_state(v.is.view, state, reason, error);
}

// The state of a view, and why, where somebody should know.
live_state worker::state_of(const served_view& v, std::string& reason, std::string& error)
{
    const source& s = *v.from;
    auto say = [&](const trouble& why) {
        reason = in_words(why);
        error = in_full(why);
        return live_state::retrying;
    };
    error = v.error;
    if (!v.reason.empty()) {
        reason = v.reason;
        return live_state::retrying;
    }
    if (s.wrong)
        return say(*s.wrong);
    const bool all_read = v.feed && v.feed->reader->at_end() && v.feed->gathered.empty();
    if (s.client)
        if (auto complaint = hub_.complaint(s.client))
            if (complaint->kind != fault_kind::too_large || !all_read) // perhaps another's record
                return say(describe(*complaint));
    if (v.feed && v.feed->wrong)
        return say(*v.feed->wrong);
    if (s.known && s.partitions.empty())
        return live_state::running; // more consumers than partitions
    if (!v.feed)                    // on its way; for a moment only, unless it has never been there
        return v.shown_once && v.shown != live_state::retrying ? v.shown : live_state::starting;
    if (all_read)
        return live_state::running;
    if (const std::string who = s.client ? hub_.held_back_by(s.client) : ""; !who.empty())
        reason = "broker " + who + " holds back its answers: a quota of the broker's is used up";
    std::int64_t behind = records_behind(v);
    if (v.feed->catching_up || behind > v.is.options.batch_rows)
        return live_state::catching_up;
    return live_state::running;
}

// What the library says by itself; the property debug makes it say more.
void worker::log_lines()
{
    std::set<ingest::client_handle*> clients;
    for (auto& s : sources_)
        if (s->client && clients.insert(s->client).second)
            for (const std::string& line : hub_.take_log(s->client))
                ereport(LOG, (errmsg("librdkafka: %s", line.c_str())));
}

void worker::publish_states()
{
    for (auto& s : sources_)
        for (auto& v : s->views) {
            if (v->at == phase::over)
                continue;
            std::string reason, error;
            live_state state = state_of(*v, reason, error);
            show(*v, state, reason, error);
        }
    if (steady::now() - last_statistics_ > mirror_interval && !sources_.empty()) {
        last_statistics_ = steady::now();
        log_lines();
        if (sources_.front()->client)
            publish_librdkafka(hub_.statistics(sources_.front()->client));
    }
}

} // namespace ke::stream
