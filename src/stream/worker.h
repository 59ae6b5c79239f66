// The worker: one process that serves many topics. Its loop is in worker.cpp, each verb in a file of
// its own. Everything here runs on the server's thread of that process.
#pragma once

#include "stream/share.h"

namespace ke::stream {

class worker {
  public:
    explicit worker(ingest::hub& hub) : hub_(hub) {}
    void run();

    // From invalidation callbacks: catalogs below a topic table (InvalidOid: any) changed.
    void mark_stale(Oid topic_table) noexcept;

  private:
    using feeds = std::vector<feed_state*>;

    // worker.cpp
    void sleep();
    void look_at_interrupts();
    bool anything_ready();
    milliseconds time_to_sleep();
    feeds all_feeds(); // live ones first
    bool exists(const feed_state*);

    // reload.cpp: what the catalogs want
    struct wanted;
    void reload_if_told();
    void load_wanted(std::vector<wanted>&);
    void take_over(std::vector<wanted>&);
    void fill_source(source&, wanted&, source* old);

    // sources.cpp: topics, partitions, views on their way into feeds
    void tend_sources();
    void tend_layout(source&);
    void take_layout(source&, const ingest::layout&);
    void tend_views(source&);
    void tend_marks(source&);
    void prepare(served_view&);
    void check_cluster(source&);
    bool client_of(source&);

    // settle.cpp: positions against the log, then feeds
    void settle(source&, const std::vector<ingest::watermarks>&);
    void insert_first_positions(source&, const std::map<partition_key, std::int64_t>& low);
    void check_gaps(served_view&, const std::map<partition_key, std::int64_t>& low,
                    const std::map<partition_key, std::int64_t>& high);
    void meet_gap(served_view&, const gap&, std::int64_t low, std::int64_t high);

    // feeds.cpp: which views share a feed
    void open_feeds(source&);
    void open_feed(source&, std::vector<served_view*>, bool catching_up);
    void close_feed(source&, feed_state*);
    void leave_feed(served_view&);

    // batch.cpp: gather, store, finish
    struct turn;
    turn gather_all();
    bool serve_feeds();
    void gather(feed_state&);
    void pass(feed_state&, const ingest::chunk&);
    void look_at_marks(feed_state&, const ingest::chunk&);
    void meet_strangers(feed_state&);
    void hear_fault(feed_state&, const fault&);
    void store(const feeds&);
    void store_lazily(const feeds&);
    void count_room(const feed_state&, served_view&);
    void run_shares(std::vector<share>&);
    milliseconds time_for(const served_view&);
    int slow_views();
    void replay(share&);
    void keep_pace(share&);
    void settle_share(share&);
    void finish(feed_state&, std::vector<share>&);

    // states.cpp: what is shown, and how trouble is taken
    void publish_states();
    void log_lines();
    void show(served_view&, live_state, const std::string& reason, const std::string& error);
    void over(served_view&);
    live_state state_of(const served_view&, std::string& reason, std::string& error);
    void take_trouble(served_view&, const trouble&);
    void rest(served_view&, milliseconds base, milliseconds most);
    void rest_from_work(served_view&, milliseconds took);
    static void remember_hold(served_view&);
    void halt(served_view&, const stop_report&, const gap* with_gap = nullptr);

    // mirror.cpp
    void mirror_positions();
    void mirror_view(source&, served_view&);

    ingest::hub& hub_;
    std::vector<std::unique_ptr<source>> sources_;
    std::uint64_t generation_ = 0;
    bool loaded_ = false;
    steady::time_point reload_at_ = steady::time_point::max(); // views that could not be placed
    steady::time_point look_at_catalogs_{};
    steady::time_point last_shared_commit_{};
    steady::time_point last_statistics_{};
    int mirroring_ = 0; // groups that are being told
};

// Whether two views of a source are so close that one feed may serve both.
bool is_near(const served_view&, const served_view&);

// Whether partition p of the topic belongs to one of these consumers.
bool is_mine(const source&, const std::string& topic, int partition);

} // namespace ke::stream
