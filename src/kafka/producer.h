// Records on their way to a topic: a librdkafka producer of our own, with its control thread. Nothing
// here waits: send() copies the record into librdkafka's queue, what became of it comes back as a
// delivery, and the bell rings. Whoever sends keeps the record where it can be sent again until its
// delivery says that the broker has it: a process may end in between, so a record arrives at least once.
//
//   server's thread:  everything below      control thread: takes deliveries, rings the bell
//
// Destroying a producer returns at once; what was not delivered by then may arrive or not.
#pragma once

#include <cstdint>
#include <memory>
#include <optional>
#include <span>
#include <string>
#include <vector>

#include "base/bytes.h"
#include "base/doorbell.h"
#include "base/ids.h"
#include "base/result.h"
#include "kafka/answers.h"

namespace ke::kafka {

struct outgoing_header {
    std::string name;
    bytes value; // absent: null
};

// Looked at during send() only.
struct outgoing {
    std::uint64_t number = 0; // the sender's own; its delivery brings it back
    std::string topic;
    std::int32_t partition = -1; // -1: by the key, as librdkafka's partitioner says
    bytes key, value;
    std::int64_t timestamp_ms = -1; // not above 0: now
    std::span<const outgoing_header> headers;
};

struct delivery {
    std::uint64_t number = 0;
    partition_id partition{-1};
    message_offset offset = no_offset;
    std::optional<fault> trouble; // not delivered, as far as is known
};

class producer {
  public:
    virtual ~producer() = default;
    // False: the queue is full; again when deliveries have come. A fault: never like this.
    virtual result<bool> send(const outgoing&) noexcept = 0;
    // What has become of records since the last call, in the order in which it became known.
    virtual std::vector<delivery> take() noexcept = 0;
    virtual bool ready() const noexcept = 0;
};

// Fails on settings that librdkafka refuses; does not wait for the broker.
result<std::unique_ptr<producer>> make_producer(const settings&,
                                                std::shared_ptr<doorbell>) noexcept;

} // namespace ke::kafka
