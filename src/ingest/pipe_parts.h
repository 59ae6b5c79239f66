// What a pipe is made of; for pipe.cpp (chunks and queue) and pipe_records.cpp (what becomes of each
// arrival).
#pragma once

#include "ingest/pipe.h"
#include "kafka/connections.h"

namespace ke::ingest {

struct pipe::slab : chunk {
    using chunk::chunk;
    std::uint64_t weight = 0; // as counted in waiting_bytes

    bool empty() const { return rows.messages.empty() && advances.empty() && faults.empty(); }
    void reset()
    {
        rows.reset();
        advances.clear();
        faults.clear();
        bytes = 0;
        fetch_ns = decode_ns = ring_ns = 0;
        weight = 0;
    }
};

// A record that waits for its schema, as long as its partition is parked.
struct kept_record {
    std::string key, value;
    std::vector<std::pair<std::string, std::string>> header_texts;
    std::vector<decode::header> headers;
    decode::record record;

    explicit kept_record(const decode::record&);
};

// One partition.   reading -> done (its end was reached) | dead (a fault ended it)
struct pipe::stretch {
    topic_number topic;
    partition_id partition;
    std::int64_t next;
    std::int64_t end; // < 0: none
    bool done = false;
    bool dead = false;
    bool behind = true;
    fault_kind told{};                   // the failure told last...
    bool failing = false;                // ... and nothing came since
    std::unique_ptr<kept_record> parked; // waits for its schema, at next; null: does not wait
    int broker = -1;                     // that its records come from, -1: none yet
    const kafka::connections::count* connections = nullptr; // to it...
    unsigned connection = 0;                                // ... as many when its records began
    std::uint32_t serial = 0;                               // of the chunk that holds its advance
    std::uint32_t advance_at = 0;
};

} // namespace ke::ingest
