// A record that was not stored, as a value on its way from the place that found it (share.cpp: it did
// not decode; careful.cpp: the server refused it) to where it is kept. Server's thread.
#pragma once

#include "pg/compat.h"

#include <cstdint>
#include <string>
#include <string_view>
#include <vector>

#include "decode/plan.h"
#include "decode/rows.h"
#include "stream/trouble.h"

namespace ke::stream {

struct refused {
    std::uint32_t number = 0; // of the message in its batch
    std::string topic;
    std::int32_t partition = 0;
    std::int64_t offset = 0;
    std::int64_t timestamp_ms = -1;
    // As it came; in a chunk of the batch. Null where the feed does not keep records.
    const decode::origin* record = nullptr;
    std::string sqlstate, column, reason, detail;
    // Where it was refused, in the words of Kafka Connect, for the dead-letter topic.
    const char* stage = "TASK_PUT";
};

// Why it was refused (rejects.cpp): by the decoder, which had this plan; by the server, at_column being
// the column that was read last, for errors that name none.
void give_reason(refused&, const decode::reject&, const decode::row_plan&);
void give_reason(refused&, const trouble&, const char* at_column);

// ---- the rows of kafka.dead_letter_log (dead_letters.cpp). Inside a transaction.

// How many are kept for the view, counted up to `most`.
std::int64_t count_dead_letters(Oid view, std::int64_t most);

// Text for the server from text that may be anything: what its encoding cannot hold is replaced.
char* to_server_text(std::string_view);

} // namespace ke::stream
