// Gathering and storing: one batch of each feed in turn. A feed with a full batch has a transaction
// to itself; those with less share one, at most once per flush interval, counted from the last
// commit: a lone record at rest is stored at once, and so is what full batches leave at the topic's end.
#include "pg/guc.h"
#include "stream/worker.h"

#include <algorithm>

extern "C" {
#include "access/xlog.h"
#include "pgstat.h"
}

namespace ke::stream {

namespace {

fate failure(const trouble& t)
{
    return t.sqlstate == topic::errcode_stale_feed ? fate::stale : fate::failed;
}

// As hub.h has it: all other kinds end the reading of their partition.
bool goes_on_by_itself(fault_kind kind)
{
    return kind == fault_kind::broker_unreachable || kind == fault_kind::authentication ||
           kind == fault_kind::authorization || kind == fault_kind::topic_missing ||
           kind == fault_kind::too_large || kind == fault_kind::registry_unreachable ||
           kind == fault_kind::registry_refused;
}

} // namespace

// What of the feeds is to be stored in this round.
struct worker::turn {
    feeds full, due, lazy;
    feed_state* slow = nullptr; // the one that waits longest
};

worker::turn worker::gather_all()
{
    turn t;
    for (feed_state* f : all_feeds()) {
        gather(*f);
        if (!f->strangers.empty()) {
            meet_strangers(*f); // may close it
            continue;
        }
        const auto rested = steady::now() - f->last_commit;
        if (steady::now() < f->held_until)
            continue;
        const bool at_once = f->full() || f->is_remainder();
        if (f->gathered.empty()) {
            if (rested >= lazy_interval)
                t.lazy.push_back(f);
        } else if (f->is_slow()) {
            if ((at_once || rested >= f->flush) &&
                (!t.slow || f->last_commit < t.slow->last_commit))
                t.slow = f;
        } else if (at_once) {
            t.full.push_back(f);
        } else if (rested >= f->flush) {
            t.due.push_back(f);
        }
    }
    return t;
}

bool worker::serve_feeds()
{
    turn t = gather_all();
    // Storing one feed's batch may close others.
    auto still_there = [&](feeds& list) {
        std::erase_if(list, [&](feed_state* f) { return !exists(f); });
    };
    for (feed_state* f : t.full)
        if (exists(f))
            store({f});
    still_there(t.due);
    auto interval = std::chrono::microseconds::max();
    for (feed_state* f : t.due)
        interval = std::min(interval, f->flush);
    bool shared = !t.due.empty() && steady::now() - last_shared_commit_ >= interval;
    if (shared) {
        store(t.due);
        last_shared_commit_ = steady::now();
    }
    if (t.slow && exists(t.slow)) // last, one a round
        store({t.slow});
    still_there(t.lazy);
    store_lazily(t.lazy);
    return shared || t.slow || !t.full.empty();
}

void worker::gather(feed_state& f)
{
    if (steady::now() < f.held_until)
        return;
    while (!f.full()) {
        ingest::chunk* c = f.reader->take();
        if (!c)
            return;
        for (const fault& x : c->faults)
            hear_fault(f, x);
        if (!c->advances.empty() && c->faults.empty())
            f.wrong.reset();
        if (!f.unproved.empty())
            look_at_marks(f, *c);
        if (c->rows.messages.empty() && f.gathered.empty()) {
            pass(f, *c);
            f.reader->give_back(c);
            continue;
        }
        f.messages += static_cast<std::int64_t>(c->rows.messages.size());
        f.rows += c->rows.row_count();
        f.bytes += static_cast<std::int64_t>(c->bytes);
        f.gathered.push_back(c);
        worker_statistics& s = my_statistics();
        s.bytes += static_cast<std::int64_t>(c->bytes);
        s.fetch_us += c->fetch_ns / 1000;
        s.decode_us += c->decode_ns / 1000;
        s.ring_us += c->ring_ns / 1000;
    }
}

// Control records alone: every record below is stored, so that what waits for the position may see
// it; the row in kafka.progress follows with the next batch, or lazily.
void worker::pass(feed_state& f, const ingest::chunk& c)
{
    for (const ingest::advance& a : c.advances) {
        std::int64_t& begun = f.begun_at(a.topic, a.partition);
        for (served_view* v : f.views) {
            auto p = v->positions.find({f.topics[a.topic.value], a.partition});
            if (p == v->positions.end() || p->second.ahead >= a.next.value)
                continue;
            if (p->second.ahead < begun) { // see feed_state: to be opened anew
                f.broken = f.from->reopen = true;
                continue;
            }
            p->second.ahead = a.next.value;
            publish_position(v->is.view, p->first.topic, p->first.partition.value, p->second.ahead,
                             p->second.next);
        }
        begun = a.next.value;
    }
}

void worker::hear_fault(feed_state& f, const fault& x)
{
    source& s = *f.from;
    const auto now = steady::now();
    if (x.kind == fault_kind::log_in_doubt) { // nothing is wrong yet
        f.broken = s.reopen = true;
        s.reopen_at = s.ask_layout_at = now; // brokers may be others, too
        return;
    }
    f.wrong = describe(x);
    if (x.kind == fault_kind::topic_missing) {
        s.ask_layout_at = std::min(s.ask_layout_at, now + metadata_retry);
        f.broken = s.reopen = true; // should it come back, it may be another
        s.reopen_at = now + metadata_retry;
    }
    if (goes_on_by_itself(x.kind))
        return;
    // The partition has ended for its reader; its position may lie in a gap: look at the marks and
    // open the feed anew, soon, and not in a tight loop.
    f.broken = true;
    s.reopen = true;
    bool at_once = x.kind == fault_kind::offset_out_of_range && now - f.opened > metadata_retry;
    s.reopen_at = at_once ? now : now + metadata_retry;
}

void worker::store(const feeds& due)
{
    std::vector<share> shares;
    shares.reserve(64);
    for (feed_state* f : due) {
        // Judged by columns of others: read alone from here on. Not covered: read anew.
        const bool refused = std::any_of(f->gathered.begin(), f->gathered.end(),
                                         [](auto* c) { return !c->rows.rejects.empty(); });
        for (served_view* v : std::vector<served_view*>(f->views)) {
            if (refused)
                count_room(*f, *v);
            share s = make_share(*f, *v);
            if (s.foreign || s.uncovered) {
                v->alone = v->alone || s.foreign;
                leave_feed(*v);
                v->at = phase::preparing;
            } else {
                shares.push_back(std::move(s));
            }
        }
    }
    for (feed_state* f : due)
        f->was_full = f->full();
    run_shares(shares);
    for (share& s : shares)
        settle_share(s);
    for (feed_state* f : due)
        if (exists(f))
            finish(*f, shares);
}

void worker::store_lazily(const feeds& lazy)
{
    std::vector<share> shares;
    for (feed_state* f : lazy)
        for (served_view* v : f->views)
            if (std::any_of(v->positions.begin(), v->positions.end(),
                            [](auto& p) { return p.second.ahead > p.second.next; }))
                shares.push_back(make_share(*f, *v));
    if (shares.empty())
        return;
    run_shares(shares);
    for (feed_state* f : lazy)
        f->last_commit = steady::now();
    for (share& s : shares)
        settle_share(s);
}

// All shares to their ends: together at first; whoever is guilty of an error leaves, and the work of
// the others is done again without it; record faults are looked for afterwards.
void worker::run_shares(std::vector<share>& shares)
{
    pgstat_report_activity(STATE_RUNNING, "applying a batch");
    const auto began = steady::now();
    std::vector<share*> in, suspects;
    for (share& s : shares) {
        s.allowed = time_for(*s.view);
        if (!s.moves.empty() || s.stop)
            in.push_back(&s);
        else
            s.end = fate::committed; // nothing in it for this view
    }
    while (!in.empty()) {
        verdict v = transact(in, false);
        if (v.committed) {
            for (share* s : in)
                s->end = fate::committed;
            break;
        }
        if (v.again)
            continue;
        // A cancel is nobody's; one that comes again and again with the same view is raised by its code.
        const bool own = v.guilty && (v.why.what != remedy::give_way ||
                                      v.guilty->view->rest.times >= cancels_in_a_row);
        share* guilty = own ? v.guilty : nullptr;
        if (!guilty) {
            for (share* s : in) {
                s->end = fate::failed;
                s->why = v.why;
                if (s->why.what == remedy::record || s->why.what == remedy::schema)
                    s->why.what = remedy::retry; // nobody's fault: our own statements, the commit
            }
            break;
        }
        std::erase(in, guilty);
        guilty->why = v.why;
        guilty->end = failure(v.why);
        if (guilty->end == fate::failed && v.why.what == remedy::record)
            suspects.push_back(guilty);
        if (v.why.what == remedy::slow) // many such cost little more than one; 0 would be no limit
            for (share* s : in)
                if (s->allowed.count() > 1)
                    s->allowed =
                        std::max(s->allowed / 2, milliseconds(pg::settings::view_timeout_ms) / 16);
    }
    for (share* s : suspects)
        replay(*s);
    auto us = std::chrono::duration_cast<std::chrono::microseconds>(steady::now() - began).count();
    if (!shares.empty())
        publish_busy(shares.front().feed->from->first_unit, us);
    pgstat_report_stat(false);
    pgstat_report_activity(STATE_IDLE, nullptr);
}

// How many dead letters there is room for: counted when this batch might fill it. Other consumers'
// are estimated by ours.
void worker::count_room(const feed_state& f, served_view& v)
{
    const view_options& o = v.is.options;
    const std::int64_t may_add = (v.bad.added + f.messages) * std::max(1, f.from->of_consumers);
    if (o.on_error != "dead_letter" ||
        (v.bad.counted >= 0 && v.bad.counted + may_add < o.max_dead_letters))
        return;
    (void)in_work([&] { // where it fails, the batch does too
        v.bad.counted = count_dead_letters(v.is.view, o.max_dead_letters);
        v.bad.added = 0;
    });
}

void worker::replay(share& s)
{
    count_room(*s.feed, *s.view);
    // From the start: the failed attempt may have left limits and refusals behind.
    s = make_share(*s.feed, *s.view);
    s.allowed = time_for(*s.view);
    std::vector<share*> alone = {&s};
    verdict v = transact(alone, true);
    if (v.committed) {
        if (!alone.empty())
            s.end = fate::committed;
        return;
    }
    s.end = failure(v.why);
    s.why = v.why;
    if (s.why.what == remedy::record)
        s.why.what = remedy::schema;
}

// How long a view's part may take: without limit where nobody waits for it.
milliseconds worker::time_for(const served_view& v)
{
    for (const auto& s : sources_)
        for (const auto& other : s->views)
            if (other.get() != &v && other->at != phase::over)
                return v.pace.allowed(milliseconds(pg::settings::view_timeout_ms));
    return {};
}

int worker::slow_views()
{
    int many = 0;
    for (const auto& s : sources_)
        many += static_cast<int>(std::count_if(s->views.begin(), s->views.end(),
                                               [](const auto& x) { return x->pace.slow(); }));
    return many;
}

// One that is a view like others again, or reads many more records at a time than its chunks are made
// for, gets another feed.
void worker::keep_pace(share& s)
{
    served_view& v = *s.view;
    const std::int64_t most = v.is.options.batch_rows;
    const milliseconds limit(pg::settings::view_timeout_ms);
    if (s.end == fate::failed && s.why.what == remedy::slow)
        v.pace.cut_off(s.rows.at_message == UINT32_MAX ? s.cut : s.rows.at_message);
    if (s.end != fate::committed || !s.works)
        return;
    const bool late = s.allowed.count() > 0 && s.took > s.allowed; // its code would not be cut off
    if (late)
        v.pace.cut_off(s.cut);
    if (!v.pace.slow())
        return;
    if (!late) {
        v.pace.stored(s.cut, std::chrono::ceil<milliseconds>(s.took), limit, most);
        if (!v.pace.slow())
            forget_hold(v.is.view);
    }
    if (!v.feed)
        return;
    const bool shared = v.feed->views.size() > 1; // with views that are not to wait
    if (!shared) {
        // Half of the worker's time, for all such views together, is for the others.
        v.feed->held_until = steady::now() + s.took * slow_views();
        v.feed->batch_rows = v.pace.rows(most);
    }
    if (shared || !v.pace.slow() || v.feed->batch_rows >= 8 * v.feed->opened_rows)
        v.feed->broken = v.from->reopen = true;
}

// What the end of its share means for a view.
void worker::settle_share(share& s)
{
    served_view& v = *s.view;
    keep_pace(s);
    switch (s.end) {
    case fate::committed:
        for (const moved& m : s.moves) {
            position& p = v.positions[m.at];
            p = {m.to, m.to, m.epoch, m.mark.offset >= 0 ? m.mark : p.mark};
            publish_position(v.is.view, m.at.topic, m.at.partition.value, m.to);
        }
        if (!s.moves.empty()) {
            v.rest.times = 0;
            v.reason.clear();
            v.error.clear();
            v.mirror.lsn = XactLastCommitEnd;
        }
        v.bad.in_a_row = in_a_row_after(s);
        v.bad.added += static_cast<std::int64_t>(s.refusals.size());
        if (s.stop) {
            leave_feed(v);
            over(v);
        } else if (s.again) {
            v.keeps = v.keeps || s.keep_records;
            leave_feed(v);
            v.at = phase::preparing;
        }
        break;
    case fate::left:
        rest(v, milliseconds(20), milliseconds(1000));
        break;
    case fate::fenced:
        leave_feed(v);
        v.at = phase::preparing;
        break;
    case fate::stale:
        v.at = phase::resting;
        v.rest.until = steady::now();
        break;
    case fate::over: // the reload that follows takes it away; should it not, look again
        leave_feed(v);
        rest(v, milliseconds(200), milliseconds(1000));
        break;
    case fate::failed:
        take_trouble(v, s.why);
        break;
    case fate::in:
        break;
    }
}

// The batch of a feed is behind it, or waits for its views: when all that are left in it only have
// to try again, what was gathered is kept; when some have stored it, the others leave and catch up.
void worker::finish(feed_state& f, std::vector<share>& shares)
{
    bool stored = false;
    auto again = steady::time_point::max();
    std::vector<served_view*> waiting;
    for (share& s : shares) {
        if (s.feed != &f || s.view->feed != &f)
            continue;
        if (s.view->at == phase::reading) {
            stored = true;
        } else {
            waiting.push_back(s.view);
            again = std::min(again, s.view->rest.until);
        }
    }
    f.last_commit = steady::now();
    bool keep = !stored && !waiting.empty() &&
                std::none_of(shares.begin(), shares.end(),
                             [&](const share& s) { return s.feed == &f && s.end == fate::stale; });
    if (keep) {
        f.held_until = again;
        for (served_view* v : waiting)
            v->at = phase::reading;
        return;
    }
    for (ingest::chunk* c : f.gathered) {
        for (const ingest::advance& a : c->advances)
            f.begun_at(a.topic, a.partition) = a.next.value;
        f.reader->give_back(c);
    }
    f.gathered.clear();
    f.rows = f.messages = f.bytes = 0;
    source& s = *f.from;
    bool near = f.catching_up && !f.views.empty() && !f.views.front()->by_itself();
    for (served_view* v : waiting)
        leave_feed(*v); // may close f
    if (!near)
        return;
    // Caught up with the live feed: join it.
    feed_state* live = s.feeds.empty() ? nullptr : s.feeds.front().get();
    if (live && !live->catching_up && !live->views.empty())
        for (auto& v : s.views)
            if (v->feed && v->feed->catching_up && !v->by_itself() &&
                is_near(*live->views.front(), *v))
                s.reopen = true;
    if (!live || live->catching_up)
        s.reopen = true;
}

} // namespace ke::stream
