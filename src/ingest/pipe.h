// One feed's part in one lane: the library's queue, the decoder, and the ring to the server's thread.
//
//   lane's thread:    open, turn, close; writes the ring, reads the return ring
//   server's thread:  take, give_back, waiting, shut; reads the ring, writes the return ring
//
// Chunks are made by the lane, travel through the ring, come back through the return ring, and are
// filled again; the pipe owns them all, whoever holds them. Both rings have room for every chunk there
// can be, so a push never fails. Back-pressure is the feed's ring_bytes and nothing else: a pipe whose
// feed has too much waiting takes nothing from its own queue, and no other feed notices.
//
// A record whose schema is on its way (record_decoder::prepare) parks its partition: the library stops
// fetching it, the record is kept as a copy to ask with, and once the schema has come the partition is
// fetched again from there. The others of the pipe go on. Only while nothing taken is left to handle is a
// partition started again, so that no record of before is met behind the one that waits.
//
// Why no wake-up is lost: a lane that finds no room sets `stalled` and looks for room once more; the
// server's thread takes, then looks at `stalled`. Both are read-modify-writes or loads in one total
// order, so one of the two sees the other.
#pragma once

#include <atomic>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <vector>

#include <boost/lockfree/spsc_queue.hpp>

#include "ingest/hub.h"
#include "kafka/fetch.h"

namespace ke::ingest {

// What all pipes of a feed and the server's thread share.
struct feed_gauge {
    std::shared_ptr<doorbell> bell; // of the hub
    std::uint64_t ring_bytes = 0;
    // Decoded and not taken: lanes add, server takes off.
    std::atomic<std::uint64_t> waiting_bytes{0};
    std::atomic<int> unfinished{0}; // partitions that have not reached their end
    std::atomic<int> behind{0};     // partitions whose log's end was not seen yet
};

class lane;

class pipe {
  public:
    // Server's thread. numbers: which of the feed's partitions are this pipe's.
    pipe(std::shared_ptr<const feed_spec>, std::vector<std::size_t> numbers,
         std::unique_ptr<decode::record_decoder>, std::shared_ptr<feed_gauge>,
         std::uint32_t number);
    ~pipe();
    pipe(const pipe&) = delete;
    pipe& operator=(const pipe&) = delete;

    // --- server's thread ---
    chunk* take() noexcept;
    void give_back(chunk*) noexcept;
    bool waiting() const noexcept { return ring_.read_available() != 0; }
    // Whether the lane waits for room and has it now: ring its bell.
    bool can_go_on() noexcept;
    void shut() noexcept { shut_.store(true); } // then call the lane
    bool is_shut() const noexcept { return shut_.load(); }

    // --- lane's thread ---
    // who is called when a schema has come.
    void open(std::shared_ptr<kafka::client>, int event_fd,
              std::weak_ptr<registry::listener> who) noexcept;
    // Takes, decodes and pushes one chunk's worth; false: nothing can be done at the moment.
    bool turn() noexcept;
    // Stops reading; frees the chunks if the feed has shut the pipe.
    void close() noexcept;
    // More was there than the last turn took.
    bool under_load() const { return under_load_; }
    void add_partitions(std::vector<topic_partition>&) const;

  private:
    struct slab;
    struct stretch;

    bool fill();
    bool stall();
    void take_more();
    void expect();
    void handle(std::size_t i);
    bool decode(stretch&, std::size_t i, const kafka::arrival&);
    void park(stretch&, const decode::record&, std::shared_ptr<const fault> trouble);
    void look_at_parked();
    void complain(stretch&, fault);
    void reached(stretch&, const kafka::arrival&);
    void failed(stretch&, std::size_t i);
    bool same_log(stretch&, int broker);
    void doubt(stretch&);
    void finish(stretch&);
    void stop_finished();
    void mark_behind(stretch&, bool behind);
    void tell_settled();
    advance& advance_of(stretch&);
    bool room() const;
    bool full() const;
    slab* next_slab();
    void make_tuples(slab&) noexcept;
    void push();
    void die(fault) noexcept;
    void drop_spare();

    std::shared_ptr<const feed_spec> spec_;
    std::unique_ptr<decode::record_decoder> decoder_;
    std::shared_ptr<feed_gauge> gauge_;
    std::uint32_t number_;
    std::atomic<bool> shut_{false};
    std::atomic<bool> stalled_{false};

    boost::lockfree::spsc_queue<slab*> ring_;
    boost::lockfree::spsc_queue<slab*> returns_;

    // Lane's own.
    std::unique_ptr<kafka::fetch_queue> queue_; // null: not open, or dead
    std::shared_ptr<kafka::client> of_;
    std::map<int, unsigned> connections_; // to each broker when it was opened
    std::vector<stretch> stretches_;      // by slot
    std::vector<std::unique_ptr<slab>> slabs_;
    std::vector<slab*> spare_;
    std::unique_ptr<slab> last_words_; // made beforehand: a fault must get out without memory
    slab* filling_ = nullptr;
    std::uint32_t serial_ = 0;
    std::uint32_t target_rows_ = 0;        // small at rest, chunk_rows under load
    std::vector<kafka::arrival> arrivals_; // taken from the queue
    std::size_t at_ = 0;                   // the next of them to handle
    std::vector<bytes> values_;            // of the arrivals
    bool under_load_ = false;
    std::int64_t stalled_at_ = 0; // ns, monotonic: when the room ran out; 0: there is some
    std::int64_t dry_at_ = 0;     // when the queue ran out before the log's end; 0: it did not
    std::weak_ptr<registry::listener> who_;
    std::uint32_t parked_ = 0; // partitions that wait for a schema
    // Told to the gauge once filling_ is in the ring:
    int finished_ = 0; // partitions that reached their end
    int settled_ = 0;  // partitions that reached the end of the log
    std::vector<kafka::header_view> header_views_;
    std::vector<decode::header> headers_;
};

} // namespace ke::ingest
