// Which views share a feed. Policy only: every view has its own positions, and the scan leaves out
// what lies below them, so that any grouping is right; a good one reads little twice.
//
//   live        the leading view and all within near_records of it: one feed
//   catch-up    all others, from the lowest of their positions: one feed, joined to the live one
//               when near
//   alone       views that must not be judged by columns of others, or hold them up: a feed each
//
// A feed whose views, partitions and columns stay the same stays open when others change.
#include "stream/worker.h"

#include <algorithm>

#include "pg/guc.h"

namespace ke::stream {

namespace {

// Where all that is left to do is to copy the lanes' tuples, nothing is won by larger batches, and one
// that stays in the processor's cache is copied faster. Of payload; decoded it is some three times that.
constexpr std::int64_t cached_bytes = 2 << 20;

std::int64_t total_of(const served_view& v)
{
    std::int64_t sum = 0;
    for (const partition_key& k : v.from->partitions)
        if (auto p = v.positions.find(k); p != v.positions.end())
            sum += p->second.ahead;
    return sum;
}

std::int64_t distance(const served_view& leader, const served_view& v)
{
    std::int64_t sum = 0;
    for (const partition_key& k : v.from->partitions) {
        auto a = leader.positions.find(k);
        auto b = v.positions.find(k);
        if (a != leader.positions.end() && b != v.positions.end())
            sum += std::abs(a->second.ahead - b->second.ahead);
    }
    return sum;
}

// What a feed for these views can be opened on: one whose marks are not known yet has no position, and
// comes with the next opening.
std::vector<partition_key> readable(const source& s, const std::vector<served_view*>& views)
{
    std::vector<partition_key> list;
    for (const partition_key& k : s.partitions)
        if (std::any_of(views.begin(), views.end(),
                        [&](const served_view* v) { return v->positions.contains(k); }))
            list.push_back(k);
    return list;
}

bool same_views(const feed_state& f, const std::vector<served_view*>& views)
{
    return f.views.size() == views.size() &&
           std::all_of(views.begin(), views.end(), [&](const served_view* v) {
               return v->feed == &f && v->at == phase::reading;
           });
}

// A feed begins at the mark, while the log still holds it.
std::int64_t begin_of(const source& s, const partition_key& k, const position& p)
{
    auto low = s.lows.find(k);
    const bool there = p.mark.offset >= 0 && low != s.lows.end() && p.mark.offset >= low->second;
    return there ? p.mark.offset : p.ahead;
}

bool keeps_records(const std::vector<served_view*>& views)
{
    return std::any_of(views.begin(), views.end(), [](const served_view* v) { return v->keeps; });
}

// The tuples that the feed's lanes are to make; true where all views take all rows so.
bool choose_layouts(feed_state& f, const std::vector<served_view*>& views)
{
    bool all = true;
    std::vector<std::pair<decode::tuple_layout, int>> filtered; // and how many views
    for (const served_view* v : views) {
        auto layout = make_layout(v->plan.shape, f.columns);
        all = all && layout && !v->plan.filtered;
        if (!layout)
            continue;
        int wanted = feed_state::enough_filtered;
        if (v->plan.filtered) {
            auto same = std::find_if(filtered.begin(), filtered.end(),
                                     [&](const auto& x) { return x.first == *layout; });
            if (same == filtered.end())
                same = filtered.insert(same, {*layout, 0});
            wanted = ++same->second;
        }
        if (wanted >= feed_state::enough_filtered && f.layouts.size() < feed_state::most_layouts &&
            std::find(f.layouts.begin(), f.layouts.end(), *layout) == f.layouts.end())
            f.layouts.push_back(std::move(*layout));
    }
    return all;
}

} // namespace

bool is_near(const served_view& a, const served_view& b)
{
    return distance(a, b) <= near_records;
}

void worker::open_feeds(source& s)
{
    std::vector<served_view*> ready;
    for (auto& v : s.views)
        if (v->at == phase::joining || v->at == phase::reading)
            ready.push_back(v.get());

    struct group {
        std::vector<served_view*> views;
        bool catching_up;
    };
    std::vector<group> groups;
    std::vector<served_view*> together;
    for (served_view* v : ready) {
        if (v->by_itself())
            groups.push_back({{v}, true});
        else
            together.push_back(v);
    }
    if (!together.empty()) {
        const served_view* leader = *std::max_element(
            together.begin(), together.end(),
            [](const served_view* a, const served_view* b) { return total_of(*a) < total_of(*b); });
        group live{{}, false}, behind{{}, true};
        for (served_view* v : together)
            (is_near(*leader, *v) ? live : behind).views.push_back(v);
        if (!behind.views.empty())
            groups.insert(groups.begin(), std::move(behind));
        groups.insert(groups.begin(), std::move(live));
    }

    // What stays, stays open; the rest is closed before anything is opened: a partition can be read
    // at one place by each handle, and the hub would make another.
    std::vector<group> to_open;
    std::set<feed_state*> kept;
    for (group& g : groups) {
        auto same = std::find_if(s.feeds.begin(), s.feeds.end(), [&](auto& f) {
            return !f->broken && f->catching_up == g.catching_up &&
                   f->partitions == readable(s, g.views) && same_views(*f, g.views) &&
                   f->columns.plan->keeps_records == keeps_records(g.views);
        });
        if (same != s.feeds.end())
            kept.insert(same->get());
        else
            to_open.push_back(std::move(g));
    }
    for (std::size_t i = s.feeds.size(); i-- > 0;)
        if (!kept.contains(s.feeds[i].get()))
            close_feed(s, s.feeds[i].get());
    for (group& g : to_open)
        open_feed(s, std::move(g.views), g.catching_up);
    std::stable_sort(s.feeds.begin(), s.feeds.end(),
                     [](auto& a, auto& b) { return a->catching_up < b->catching_up; });
}

void worker::open_feed(source& s, std::vector<served_view*> views, bool catching_up)
{
    auto f = std::make_unique<feed_state>();
    f->from = &s;
    f->topics = s.topics;
    f->partitions = readable(s, views);
    f->catching_up = catching_up;
    f->opened = steady::now();
    f->batch_rows = INT64_MAX;
    f->batch_bytes = INT64_MAX;
    f->flush = std::chrono::hours(24);
    std::set<int> attributes;
    const bool keeps = keeps_records(views);
    for (served_view* v : views) {
        const view_options& o = v->is.options;
        f->batch_rows = std::min(f->batch_rows, v->pace.rows(o.batch_rows));
        f->batch_bytes = std::min(f->batch_bytes, o.batch_bytes);
        f->flush = std::min(f->flush, std::chrono::microseconds(o.flush_interval_us));
        attributes.insert(v->plan.attributes.begin(), v->plan.attributes.end());
    }
    auto later = [&](const trouble& why) {
        for (served_view* v : views) {
            v->feed = nullptr;
            v->at = phase::joining;
            v->reason = in_words(why);
            v->error = in_full(why);
            rest(*v, milliseconds(200), milliseconds(10000));
        }
    };
    if (auto t = in_work([&] {
            f->columns = columns_for(s.table.relid, views.front()->is.owner,
                                     std::vector<int>(attributes.begin(), attributes.end()), keeps);
        })) {
        later(*t);
        return;
    }

    f->opened_rows = f->batch_rows;
    if (choose_layouts(*f, views))
        f->batch_bytes = std::min(f->batch_bytes, cached_bytes);
    ingest::feed_spec spec;
    spec.topics = f->topics;
    spec.plan = f->columns.plan;
    spec.tuples = f->layouts;
    spec.lanes = pg::settings::lanes;
    spec.chunk_rows = static_cast<std::uint32_t>(std::min<std::int64_t>(1024, f->batch_rows));
    spec.chunk_bytes =
        static_cast<std::uint32_t>(std::min<std::int64_t>(256 * 1024, f->batch_bytes));
    for (const partition_key& k : f->partitions) {
        auto topic = static_cast<std::size_t>(
            std::find(f->topics.begin(), f->topics.end(), k.topic) - f->topics.begin());
        f->topic_of.push_back(topic);
        std::int64_t from = INT64_MAX;
        for (served_view* v : views)
            if (auto p = v->positions.find(k); p != v->positions.end())
                from = std::min({from, p->second.ahead, begin_of(s, k, p->second)});
        if (from == INT64_MAX)
            continue;
        f->unproved.push_back(k);
        f->begun_at(topic_number(static_cast<std::uint16_t>(topic)), k.partition) = from;
        spec.partitions.push_back({topic_number(static_cast<std::uint16_t>(topic)), k.partition,
                                   message_offset(from), no_offset});
    }
    auto reader = hub_.open_feed(s.client, std::move(spec));
    if (!reader) {
        later(describe(reader.error()));
        return;
    }
    f->reader = std::move(reader.value());
    f->views = std::move(views);
    for (served_view* v : f->views) {
        v->feed = f.get();
        v->at = phase::reading;
        v->reason.clear();
    }
    s.feeds.push_back(std::move(f));
}

// Views of the feed are left as joining; gathered chunks are dropped: positions know where to go on.
void worker::close_feed(source& s, feed_state* f)
{
    for (ingest::chunk* c : f->gathered)
        f->reader->give_back(c);
    f->gathered.clear();
    for (served_view* v : f->views) {
        v->feed = nullptr;
        if (v->at == phase::reading)
            v->at = phase::joining;
    }
    std::erase_if(s.feeds, [&](auto& x) { return x.get() == f; });
}

void worker::leave_feed(served_view& v)
{
    feed_state* f = v.feed;
    v.feed = nullptr;
    if (!f)
        return;
    std::erase(f->views, &v);
    if (f->views.empty())
        close_feed(*f->from, f);
}

} // namespace ke::stream
