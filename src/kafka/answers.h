// What the client knows about topics, as plain values: answers to questions that the control thread
// asks (kafka/control.h). Seen from outside through ingest/hub.h.
#pragma once

#include <compare>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "base/ids.h"
#include "base/result.h"

namespace ke::kafka {

// librdkafka properties by their own (dotted) names, with secrets.
using settings = std::vector<std::pair<std::string, std::string>>;

// For each of so many clients that share one's work: what they may keep waiting is one's together,
// where the settings do not say. Throws std::bad_alloc.
settings shared_among(int clients, settings);

// With this setting, which no user may give, the ends that a client tells count the records of open
// transactions too. For questions only.
inline constexpr std::pair<std::string_view, std::string_view> uncommitted_ends = {
    "isolation.level", "read_uncommitted"};

struct topic_partition {
    std::string topic;
    partition_id partition;
    friend auto operator<=>(const topic_partition&, const topic_partition&) = default;
};

struct partition_state {
    partition_id partition;
    std::int32_t leader = -1; // broker id; -1: none at the moment
};

struct topic_layout {
    std::string topic;
    std::vector<partition_state> partitions; // by number
    std::optional<fault> error;              // e.g. topic_missing
    std::vector<std::string> near;           // where it is missing: names like it
};

struct layout {
    std::string cluster_id;           // empty: the broker did not say
    std::vector<topic_layout> topics; // of a list: in its order; of a pattern: by name
};

struct watermarks {
    topic_partition at;
    message_offset low;  // first record still there
    message_offset high; // the next offset to be written; for read_committed the last stable one
    std::optional<fault> error;
};

struct resolved_offset {
    topic_partition at;
    message_offset offset; // no_offset: nothing found (time beyond the end; nothing committed)
    std::optional<fault> error;
};

struct broker_report {
    std::string cluster_id;
    std::string librdkafka_version;
    struct broker {
        std::int32_t id;
        std::string host;
        int port;
    };
    std::vector<broker> brokers;
    std::int32_t controller = -1;
    std::int64_t latency_us = 0; // of the metadata request
};

} // namespace ke::kafka
