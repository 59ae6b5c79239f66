// What the catalogs want of this worker, against what it does: on every change of the database's
// generation, and when something below a topic table changed. Sources and views that are as before
// go on undisturbed; everything else is made anew, never patched.
#include "stream/worker.h"

#include <algorithm>

extern "C" {
#include "utils/inval.h"
}

namespace ke::stream {

// A source as it should be.
struct worker::wanted {
    topic::topic_table table;
    std::set<int> consumers;
    int of_consumers;
    unit first_unit;
    std::vector<registered_view> views;
    // What kafka.progress says, by view.
    std::map<Oid, std::map<partition_key, std::int64_t>> stored;
};

namespace {

bool same_options(const view_options& a, const view_options& b)
{
    return a.batch_rows == b.batch_rows && a.batch_bytes == b.batch_bytes &&
           a.flush_interval_us == b.flush_interval_us &&
           a.synchronous_commit == b.synchronous_commit && a.on_error == b.on_error &&
           a.max_errors_in_a_row == b.max_errors_in_a_row &&
           a.max_dead_letters == b.max_dead_letters && a.on_gap == b.on_gap &&
           a.group_id == b.group_id;
}

// cluster_id is left out: we write it ourselves.
bool same_view(const registered_view& a, const registered_view& b)
{
    return a.view == b.view && a.query == b.query && a.topic_table == b.topic_table &&
           a.target == b.target && a.owner == b.owner && a.name == b.name &&
           same_options(a.options, b.options) && a.settings == b.settings &&
           a.target_columns == b.target_columns && a.body == b.body && a.invalid == b.invalid;
}

bool same_table(const topic::topic_table& a, const topic::topic_table& b)
{
    return a.relid == b.relid && a.server == b.server && a.connection == b.connection &&
           a.registry == b.registry && a.topics == b.topics && a.pattern == b.pattern &&
           a.partitions == b.partitions && a.connect_timeout_ms == b.connect_timeout_ms;
}

} // namespace

void worker::reload_if_told()
{
    // Changes that wake nobody (a GRANT, a new password) are met here in time.
    if (steady::now() >= look_at_catalogs_) {
        look_at_catalogs_ = steady::now() + metadata_interval;
        (void)in_work([] { pg::call([] { AcceptInvalidationMessages(); }); });
    }
    bool stale = std::any_of(sources_.begin(), sources_.end(), [](auto& s) { return s->stale; });
    std::uint64_t generation = database_generation();
    if (loaded_ && generation == generation_ && !stale && steady::now() < reload_at_)
        return;
    generation_ = generation;
    loaded_ = true;
    reload_at_ = steady::time_point::max();
    std::vector<wanted> all;
    load_wanted(all);
    take_over(all);
}

void worker::load_wanted(std::vector<wanted>& all)
{
    std::vector<registered_view> views;
    std::map<Oid, std::map<partition_key, std::int64_t>> stored;
    std::map<Oid, std::vector<unit>> units;
    if (auto t = in_work([&] {
            for (const unit& u : my_units())
                units[u.topic_table].push_back(u);
            if (units.empty())
                return;
            std::vector<Oid> ids;
            for (registered_view& v : load_registry())
                if (v.state == view_state::active && units.contains(v.topic_table)) {
                    ids.push_back(v.view);
                    views.push_back(std::move(v));
                }
            stored = stored_positions(ids);
        })) {
        ereport(LOG, (errmsg("kafka worker could not read its catalogs: %s", t->message.c_str())));
        views.clear();
        for (auto& s : sources_) // leave all as it is
            s->stale = false;
        reload_at_ = steady::now() + milliseconds(1000);
        // What runs is fenced by its positions; going on is safe.
        for (auto& s : sources_) {
            wanted w{s->table, s->consumers, s->of_consumers, s->first_unit, {}, {}};
            for (auto& v : s->views)
                if (v->at != phase::over)
                    w.views.push_back(v->is);
            all.push_back(std::move(w));
        }
        return;
    }
    for (registered_view& v : views) {
        topic::topic_table table;
        // Each in a transaction of its own: one login that lacks must not stop the others.
        auto t = in_work([&] { table = topic::load_topic_table(v.topic_table, v.owner); });
        if (t) {
            publish_state(v.view, live_state::retrying, t->message, t->detail);
            reload_at_ = steady::now() + milliseconds(5000);
            continue;
        }
        auto same = std::find_if(all.begin(), all.end(),
                                 [&](const wanted& w) { return same_table(w.table, table); });
        if (same == all.end()) {
            const std::vector<unit>& of = units[v.topic_table];
            wanted w{std::move(table), {}, of.front().consumers, of.front(), {}, {}};
            for (const unit& u : of)
                w.consumers.insert(u.consumer);
            all.push_back(std::move(w));
            same = all.end() - 1;
        }
        same->stored[v.view] = std::move(stored[v.view]);
        same->views.push_back(std::move(v));
    }
}

void worker::take_over(std::vector<wanted>& all)
{
    std::vector<std::unique_ptr<source>> before = std::move(sources_);
    sources_.clear();
    for (wanted& w : all) {
        auto old = std::find_if(before.begin(), before.end(), [&](auto& s) {
            return s && !s->stale && same_table(s->table, w.table) && s->consumers == w.consumers &&
                   s->of_consumers == w.of_consumers;
        });
        if (old != before.end()) {
            fill_source(**old, w, old->get());
            sources_.push_back(std::move(*old));
            continue;
        }
        auto made = std::make_unique<source>();
        made->table = w.table;
        made->consumers = w.consumers;
        made->of_consumers = w.of_consumers;
        made->first_unit = w.first_unit;
        fill_source(*made, w, nullptr);
        sources_.push_back(std::move(made));
    }
    for (auto& s : before) {
        if (!s)
            continue;
        while (!s->feeds.empty())
            close_feed(*s, s->feeds.front().get());
        for (auto& v : s->views)
            free_plan(v->plan);
        ingest::client_handle* client = s->client;
        s.reset();
        bool shared = std::any_of(sources_.begin(), sources_.end(),
                                  [&](auto& other) { return other->client == client; });
        if (client && !shared)
            hub_.forget(client);
    }
    std::int64_t topics = 0;
    for (auto& s : sources_)
        topics += static_cast<std::int64_t>(s->topics.size());
    my_statistics().topics = topics;
}

// Views of s become those of w; where nothing about one changed, it goes on.
void worker::fill_source(source& s, wanted& w, source* old)
{
    std::vector<std::unique_ptr<served_view>> before = std::move(s.views);
    s.views.clear();
    for (registered_view& is : w.views) {
        auto same = std::find_if(before.begin(), before.end(), [&](auto& v) {
            return v && v->at != phase::over && same_view(v->is, is);
        });
        bool keep = old && same != before.end();
        if (keep && ((*same)->at == phase::reading || (*same)->at == phase::joining))
            for (const partition_key& k : s.partitions) {
                auto believed = (*same)->positions.find(k);
                auto& rows = w.stored[is.view];
                auto row = rows.find(k);
                bool has = believed != (*same)->positions.end();
                if (!w.stored.empty() &&
                    (has != (row != rows.end()) || (has && believed->second.next != row->second)))
                    keep = false; // rewound, or somebody else's work
            }
        if (keep) {
            s.views.push_back(std::move(*same));
            continue;
        }
        auto made = std::make_unique<served_view>();
        made->is = is;
        made->from = &s;
        remember_hold(*made);
        s.views.push_back(std::move(made));
    }
    for (auto& gone : before)
        if (gone) {
            leave_feed(*gone);
            free_plan(gone->plan);
        }
}

} // namespace ke::stream
