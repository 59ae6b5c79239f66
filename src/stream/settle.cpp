// Before feeds are opened: first positions for partitions that have none, and positions against what
// the log still holds. Low and high marks are fresh; a partition that did not answer is left for
// later where nothing is known of it, and trusted where it is.
#include "stream/worker.h"

#include <algorithm>

namespace ke::stream {

void worker::settle(source& s, const std::vector<ingest::watermarks>& marks)
{
    std::map<partition_key, std::int64_t> low, high;
    for (const ingest::watermarks& m : marks)
        if (!m.error) {
            low[m.at] = m.low.value;
            high[m.at] = m.high.value;
        }
    insert_first_positions(s, low);
    for (auto& v : s.views)
        if (v->at == phase::joining || v->at == phase::reading)
            check_gaps(*v, low, high);
    open_feeds(s);
}

// `earliest`, and partitions that came later: from the first record there is.
void worker::insert_first_positions(source& s, const std::map<partition_key, std::int64_t>& low)
{
    std::vector<moved> first;
    std::vector<served_view*> whose;
    std::vector<Oid> unclaimed; // views whose positions are not yet tied to a cluster
    bool unknown = false;
    std::string cluster = s.cluster_id;
    for (auto& v : s.views) {
        if (v->at != phase::joining && v->at != phase::reading)
            continue;
        std::size_t had = first.size();
        for (const partition_key& k : s.partitions) {
            if (v->positions.contains(k))
                continue;
            auto mark = low.find(k);
            if (mark == low.end())
                unknown = true;
            else
                first.push_back({v.get(), k, 0, mark->second, -1, 0, 0});
        }
        if (first.size() > had)
            whose.push_back(v.get());
        if (v->is.cluster_id.empty() && !cluster.empty())
            unclaimed.push_back(v->is.view);
    }
    if (unknown) { // asked again soon; what is known is read meanwhile
        s.reopen = true;
        s.reopen_at = steady::now() + metadata_retry;
    }
    if (first.empty() && unclaimed.empty())
        return;
    std::sort(first.begin(), first.end(), [](const moved& a, const moved& b) {
        return std::pair(a.view->is.view, a.at) < std::pair(b.view->is.view, b.at);
    });
    // Read again behind the insert: where a pause or a drop was on its way, there is no row. Only
    // rows that were not known are taken: of the others we know more (ahead).
    std::map<Oid, std::map<partition_key, std::int64_t>> stored;
    auto t = in_work([&] {
        if (!first.empty())
            insert_positions(first);
        if (!unclaimed.empty())
            write_cluster(unclaimed, cluster);
        std::vector<Oid> ids;
        for (served_view* v : whose)
            ids.push_back(v->is.view);
        if (!ids.empty())
            stored = stored_positions(ids);
    });
    if (t) {
        for (served_view* v : whose) {
            leave_feed(*v);
            take_trouble(*v, *t);
        }
        return;
    }
    for (auto& v : s.views)
        if (std::find(unclaimed.begin(), unclaimed.end(), v->is.view) != unclaimed.end())
            v->is.cluster_id = cluster;
    for (const moved& m : first) {
        auto& rows = stored[m.view->is.view];
        auto row = rows.find(m.at);
        if (row == rows.end()) {
            leave_feed(*m.view);
            rest(*m.view, milliseconds(20), milliseconds(1000));
        } else {
            m.view->positions[m.at] = {row->second, row->second, -1};
            if (m.view->feed) // which may have read beyond that
                m.view->feed->broken = true;
            publish_position(m.view->is.view, m.at.topic, m.at.partition.value, row->second);
        }
    }
}

void worker::check_gaps(served_view& v, const std::map<partition_key, std::int64_t>& low,
                        const std::map<partition_key, std::int64_t>& high)
{
    bool suspicious = false;
    for (const partition_key& k : v.from->partitions) {
        auto p = v.positions.find(k);
        auto l = low.find(k);
        if (p == v.positions.end() || l == low.end())
            continue;
        const std::int64_t at = p->second.ahead;
        const std::int64_t end = high.at(k);
        if (at < l->second) {
            meet_gap(v,
                     {k, at, l->second - 1,
                      "the log begins at offset " + std::to_string(l->second) +
                          ", the position is " + std::to_string(at)},
                     l->second, end);
        } else if (at > end) {
            // A leader that was elected a moment ago may not know its end yet: look twice.
            suspicious = true;
            if (v.suspect)
                meet_gap(v,
                         {k, at, at - 1,
                          "the log ends at offset " + std::to_string(end) + ", the position is " +
                              std::to_string(at) + ": the topic was made anew or truncated"},
                         l->second, end);
        }
        if (v.at != phase::joining && v.at != phase::reading)
            return;
    }
    if (suspicious && !v.suspect) {
        leave_feed(v);
        v.reason = "the log of its topic ends below the view's position";
        rest(v, milliseconds(2000), milliseconds(2000));
    }
    v.suspect = suspicious && !v.suspect;
}

// The first records of a feed, against what its views applied last.
void worker::look_at_marks(feed_state& f, const ingest::chunk& c)
{
    for (const ingest::advance& a : c.advances) {
        const partition_key k{f.topics[a.topic.value], a.partition};
        auto at = std::find(f.unproved.begin(), f.unproved.end(), k);
        if (at == f.unproved.end())
            continue;
        bool later = false;
        for (served_view* v : f.views) {
            auto p = v->positions.find(k);
            if (p == v->positions.end() || p->second.mark.offset < a.first.value)
                continue;
            const log_mark& mark = p->second.mark;
            later = later || mark.offset >= a.next.value;
            for (const decode::message_ref& m : c.rows.messages)
                if (m.offset.value == mark.offset && m.topic == a.topic &&
                    m.partition == a.partition &&
                    (m.timestamp_ms != mark.timestamp_ms ||
                     m.size != static_cast<std::uint32_t>(mark.size)))
                    f.strangers.emplace_back(v, k);
        }
        if (!later)
            f.unproved.erase(at);
    }
}

void worker::meet_strangers(feed_state& f)
{
    source& s = *f.from;
    const auto strangers = std::move(f.strangers);
    f.strangers.clear();
    for (const auto& [v, k] : strangers) {
        if (v->at != phase::reading)
            continue;
        const position& p = v->positions[k];
        meet_gap(
            *v,
            {k, p.ahead, p.ahead - 1,
             "at offset " + std::to_string(p.mark.offset) +
                 " stands another record than the one that was read there: the topic was made anew"},
            s.lows[k], s.ends[k]);
        if (v->at == phase::reading) {
            leave_feed(*v);
            v->at = phase::preparing;
        }
    }
}

// on_gap decides; the gap is a row of kafka.gap_log whatever it says.
void worker::meet_gap(served_view& v, const gap& found, std::int64_t low, std::int64_t high)
{
    const std::string where =
        "topic \"" + found.at.topic + "\", partition " + std::to_string(found.at.partition.value);
    if (v.is.options.on_gap != "earliest" && v.is.options.on_gap != "latest") {
        halt(v, {"gap at " + where + ": " + found.reason, ""}, &found);
        return;
    }
    position& p = v.positions[found.at];
    moved m{&v, found.at, p.next, v.is.options.on_gap == "latest" ? high : low, -1, 0, 0, {}};
    m.mark.offset = log_mark::forget;
    gap crossed = found;
    crossed.last_missing = std::max(crossed.last_missing, m.to - 1);
    belief b = belief::locked;
    auto t = in_work([&] {
        b = lock_positions({m}).front();
        if (b != belief::right || active_views({v.is.view}).empty())
            return;
        write_positions({m});
        write_gap(v.is.view, crossed, true);
    });
    if (t || b != belief::right) {
        leave_feed(v);
        if (t)
            take_trouble(v, *t);
        else
            rest(v, milliseconds(100), milliseconds(1000));
        return;
    }
    p = {m.to, m.to};
    // Whatever feed it is in was opened for the old position.
    if (v.feed)
        v.feed->broken = true;
    publish_position(v.is.view, found.at.topic, found.at.partition.value, m.to);
    ereport(LOG, (errmsg("kafka view %s crossed a gap at %s", v.is.name.c_str(), where.c_str()),
                  errdetail("%s.", found.reason.c_str())));
}

} // namespace ke::stream
