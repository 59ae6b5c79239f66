// Partitions being fetched, and the queue their messages arrive in: librdkafka's simple consumer, one
// queue for each feed and lane. Everything here runs on one lane's thread; nothing blocks longer than
// the library's main thread needs to answer (stop), whatever the broker does.
#pragma once

#include <cstdint>
#include <memory>
#include <string>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/ids.h"
#include "base/result.h"
#include "kafka/client.h"

namespace ke::kafka {

// Something that came by the queue: a record; the end of a partition, where offset is the next one
// to be written (or the last stable one); a failure.
struct arrival {
    enum class kind : std::uint8_t { record, end, failure, stray };
    kind what = kind::stray; // stray: of a partition that is not being fetched
    std::uint32_t slot = 0;  // as given to start()
    message_offset offset;
    // of a record:
    std::int64_t timestamp_ms = -1;
    bool log_append_time = false;
    std::int32_t leader_epoch = -1; // -1: unknown
    std::int32_t broker = -1;       // that it came from; -1: unknown
    bytes key;
    bytes value;
};

struct header_view {
    std::string_view name;
    bytes value; // absent: null
};

class fetch_queue {
  public:
    // event_fd: gets eight bytes whenever the queue stops being empty.
    fetch_queue(std::shared_ptr<client>, int event_fd);
    // Stops what is still being fetched.
    ~fetch_queue();
    fetch_queue(const fetch_queue&) = delete;
    fetch_queue& operator=(const fetch_queue&) = delete;

    result<done> start(std::uint32_t slot, const std::string& topic, partition_id, message_offset);
    void stop(std::uint32_t slot);

    // Takes what is there, at most so many (and at most most_at_once), without waiting. What was
    // taken before is given back to the library first.
    static constexpr std::size_t most_at_once = 256;
    std::size_t take(std::size_t most);
    arrival at(std::size_t i);
    // Headers of a record, in order; valid until the next take().
    void headers(std::size_t i, std::vector<header_view>& out) const;
    // Of a failure; the kind says whether the library goes on by itself.
    fault failure(std::size_t i);
    int failure_code(std::size_t i) const;

  private:
    struct parts;
    std::unique_ptr<parts> parts_;
};

} // namespace ke::kafka
