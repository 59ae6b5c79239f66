// The face that the server's side sees of everything with threads: no call blocks, none throws, none
// needs the server. A process has one hub per task (a scan's statement, a worker, the supervisor);
// what happens on threads comes back through rings and tickets, and rings the hub's bell.
//
//   server's thread:  hub, feed, ticket (all calls below)
//   lane threads:     take messages of their partitions, decode, push chunks        (ingest/lane)
//   control thread:   one per client, with askers: metadata, watermarks, groups     (kafka/control)
//   reaper threads:   destroy librdkafka handles, however long that takes           (kafka/client)
#pragma once

#include <chrono>
#include <cstdint>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "base/doorbell.h"
#include "base/ids.h"
#include "base/result.h"
#include "decode/decoder.h"
#include "decode/plan.h"
#include "decode/rows.h"
#include "decode/tuples.h"
#include "kafka/answers.h"
#include "kafka/producer.h"

namespace ke::ingest {

// librdkafka properties by their own (dotted) names, with secrets: what a server and a user mapping
// say together. Two equal lists share a client.
using properties = kafka::settings;

// ------------------------------------------------------------------ questions and their answers

using kafka::broker_report;
using kafka::delivery;
using kafka::layout;
using kafka::outgoing;
using kafka::outgoing_header;
using kafka::partition_state;
using kafka::producer;
using kafka::resolved_offset;
using kafka::shared_among;
using kafka::topic_layout;
using kafka::topic_partition;
using kafka::watermarks;

// The answer to a question: not there yet, or there. Taken once. Letting go of a ticket is always
// allowed; the question is then answered into nothing.
template <class T>
class ticket {
  public:
    struct shared; // ingest/ticket.h
    ticket() = default;
    explicit ticket(std::shared_ptr<shared> s) : shared_(std::move(s)) {}
    bool pending() const { return shared_ != nullptr; } // asked and not taken
    bool ready() const noexcept;                        // take() will answer at once
    result<T> take();                                   // only when ready()

  private:
    std::shared_ptr<shared> shared_;
};

// ------------------------------------------------------------------ records

struct start_at {
    topic_number topic; // index into feed_spec.topics
    partition_id partition;
    message_offset next;            // first offset to deliver
    message_offset end = no_offset; // stop before it; no_offset: never
};

struct feed_spec {
    std::vector<std::string> topics;
    std::vector<start_at> partitions;
    std::shared_ptr<const decode::row_plan> plan;
    std::vector<decode::tuple_layout> tuples; // to be made of each row besides its cells
    std::uint32_t chunk_rows = 1024;          // a chunk ends at either
    std::uint32_t chunk_bytes = 256 * 1024;
    std::uint64_t ring_bytes = 16u << 20; // decoded and not yet taken, over all lanes
    int lanes = 1;
};

// How far a chunk brings one partition. next may pass the last record: control records, compaction
// gaps and a reached end count.
struct advance {
    topic_number topic;
    partition_id partition;
    message_offset first; // of the chunk's records of it; == next where there are none
    message_offset next;
    std::int32_t leader_epoch = -1;
};

// A run of records of one lane, in order within each partition. Faults come in the same stream:
// they stand behind every record that was read before them.
struct chunk {
    explicit chunk(std::size_t columns) : rows(columns) {}
    decode::rows rows;
    std::vector<advance> advances;
    std::vector<fault> faults;
    std::uint64_t bytes = 0; // of keys and values
    // The lane's time since the chunk before: for taking records from the client library, and waiting
    // for those known to be there; for decoding; waiting for room in the ring.
    std::int64_t fetch_ns = 0, decode_ns = 0, ring_ns = 0;
    std::uint32_t lane = 0;
};

// Records of some partitions of some topics of one client, decoded by one plan. Owned by the
// server's thread; destroying it stops the reading (on the lane, not here), frees its chunks, those
// not given back too, and returns at once. May outlive its hub: then nothing more comes.
//
// After a fault of kind broker_unreachable, authentication, authorization, topic_missing,
// registry_unreachable or registry_refused the reading goes on by itself once it can; such a one is
// told once, and again only after something came in between. Every other kind ends its partition
// (without a topic: all of the lane's): nothing of it is delivered behind the fault, so that nothing
// is skipped; read on by a new feed from the position.
class feed {
  public:
    virtual ~feed() = default;
    // The next chunk, or null where none is ready. It stays the caller's until give_back().
    virtual chunk* take() noexcept = 0;
    virtual void give_back(chunk*) noexcept = 0;
    // Bounded feeds: every partition has reached its end and every chunk has been taken.
    virtual bool exhausted() const noexcept = 0;
    // Records were decoded and wait in the rings.
    virtual bool ready() const noexcept = 0;
    // Waiting at the end of each partition: nothing more to read at the moment.
    virtual bool at_end() const noexcept = 0;
};

// ------------------------------------------------------------------ the hub

class client_handle; // one librdkafka handle with its control thread; shared by feeds

class hub {
  public:
    virtual ~hub() = default; // halts; returns within some 100 ms whatever the broker does

    // brisk: for a statement that reads and goes, rather than a worker that follows: where the user
    // did not say otherwise, the broker answers an idle fetch after 5 ms instead of 250, and questions
    // go out on the connection that fetches.
    static result<std::unique_ptr<hub>> make(bool brisk = false) noexcept;

    virtual doorbell& bell() noexcept = 0;

    // The client for these properties; made on first use, kept until the hub goes or forget().
    // Fails on properties that librdkafka refuses. Does not wait for the broker.
    virtual result<client_handle*> client(const properties&) noexcept = 0;
    // No more use: what none of its feeds needs is given to the reaper; open questions are answered
    // by a fault.
    virtual void forget(client_handle*) noexcept = 0;

    // Questions. Each is answered within timeout, by a fault at the latest.
    using duration = std::chrono::milliseconds;
    // Topics by name; those that do not exist have an error of their own.
    virtual ticket<layout> ask_layout(client_handle*, std::vector<std::string> topics,
                                      duration timeout) noexcept = 0;
    // Topics whose name matches the (POSIX extended, anchored) regular expression; "" all but
    // internal ones.
    virtual ticket<layout> ask_matching(client_handle*, std::string pattern,
                                        duration timeout) noexcept = 0;
    virtual ticket<std::vector<watermarks>>
    ask_watermarks(client_handle*, std::vector<topic_partition>, duration timeout) noexcept = 0;
    // The first offset whose timestamp (ms) is at or after the given one.
    virtual ticket<std::vector<resolved_offset>>
    ask_times(client_handle*, std::vector<std::pair<topic_partition, std::int64_t>>,
              duration timeout) noexcept = 0;
    // Whether the records of each topic carry the time of their arrival at the broker
    // (LogAppendTime), so that times ascend within a partition. False where the broker does not say.
    virtual ticket<std::vector<bool>>
    ask_append_time(client_handle*, std::vector<std::string> topics, duration timeout) noexcept = 0;
    virtual ticket<std::vector<resolved_offset>> ask_group(client_handle*, std::string group,
                                                           std::vector<topic_partition>,
                                                           duration timeout) noexcept = 0;
    // Store positions in a Kafka group (best effort, no membership).
    virtual ticket<done> mirror(client_handle*, std::string group,
                                std::vector<std::pair<topic_partition, message_offset>>,
                                duration timeout) noexcept = 0;
    virtual ticket<broker_report> ask_brokers(client_handle*, duration timeout) noexcept = 0;

    // librdkafka's statistics, newest, as JSON; "" before the first.
    virtual std::string statistics(client_handle*) noexcept = 0;
    // What the client last complained of (broker down, login refused), until it works again; that
    // something was too large, for a while.
    virtual std::optional<fault> complaint(client_handle*) noexcept = 0;
    // The broker whose quota slows it down; "" where none did in the last seconds.
    virtual std::string held_back_by(client_handle*) noexcept = 0;
    // The library's log lines since the last call (the property debug makes more of them).
    virtual std::vector<std::string> take_log(client_handle*) noexcept = 0;

    virtual result<std::unique_ptr<feed>> open_feed(client_handle*, feed_spec) noexcept = 0;

    // A producer of its own, whatever clients there are; it rings this hub's bell.
    virtual result<std::unique_ptr<producer>> open_producer(const properties&) noexcept = 0;

    // Threads of ours that still live in this process, reapers included. At process exit the last
    // callback ends by _exit where it is not 0 (pitfalls: atexit handlers beside live threads).
    static int living_threads() noexcept;
};

} // namespace ke::ingest
