// A row of kafka.dead_letter_log, read back: for kafka.retry in a session, and for the dead-letter topic
// in the supervisor. Plain data in a memory context of the caller's.
#pragma once

#include "pg/compat.h"

#include <cstdint>

#include "base/bytes.h"
#include "decode/rows.h"
#include "topic/given_headers.h"

namespace ke::stream {

struct letter {
    std::int64_t id;
    const char* topic;
    std::int32_t partition;
    std::int64_t offset;
    std::int64_t timestamp_ms;
    decode::timestamp_type time_type;
    std::int32_t leader_epoch;
    bytes key, value;
    topic::given_headers headers;
};
struct letters {
    std::uint64_t count;
    letter* all;
};

// What letter_of() wants first in a result, with d the table.
#define LETTER_COLUMNS                                                                             \
    "d.id, d.topic, d.partition, d.record_offset, d.record_time, d.time_type, d.leader_epoch,"     \
    " d.key, d.value, d.headers"

// Row i of the last result of SPI. Raises.
letter letter_of(std::uint64_t i, MemoryContext to);

// One field of it. Raises.
Datum column_of(std::uint64_t row, int column, bool* null);
bytes bytes_of(std::uint64_t row, int column, MemoryContext to);

} // namespace ke::stream
