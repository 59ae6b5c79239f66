// What the scans of one statement share: the hub with its threads and clients, and the ends of each
// topic as they stood when the first scan began, so that all scans see the same records. One for each
// executor state, owned by its memory context: errors, closed cursors and rolled-back savepoints free
// threads, descriptors and memory with it. Server's thread; everything may throw pg_error (interrupts
// among them) and fault_error.
#pragma once

#include "pg/compat.h"

#include <map>
#include <memory>
#include <string>
#include <tuple>
#include <utility>
#include <vector>

#include "ingest/hub.h"
#include "topic/ask.h"
#include "topic/topic.h"

namespace ke::topic {

// Records [low, end) of a partition are there to read; end is the last stable offset.
struct partition_ends {
    std::string topic;
    std::int32_t partition;
    std::int64_t low;
    std::int64_t end;
};

class statement {
  public:
    // The executor state's; made on first use.
    static statement& of(EState*);

    statement();
    ~statement();
    statement(const statement&) = delete;
    statement& operator=(const statement&) = delete;

    // A line to the table's brokers over this statement's hub; its texts live in the context.
    line open_line(MemoryContext, const topic_table&);

    // Partitions of the table's topics (as its option partitions has it) with their ends. Asks the
    // broker for those not known yet; what passes by itself is waited for as long as the line says.
    std::vector<partition_ends> ends(const line&, const topic_table&);

    // What a time means in a partition: its first offset at or after it, or beyond_the_end.
    struct time_question {
        std::string topic;
        std::int32_t partition;
        std::int64_t time_ms;
    };
    static std::vector<std::int64_t> offsets_at(const line&, const std::vector<time_question>&);

    // Whether the topic's times ascend with its offsets, as far as brokers' clocks do.
    bool times_ascend(const line&, const std::string& topic);

  private:
    using topic_key = std::pair<ingest::client_handle*, std::string>;
    using partition_key = std::tuple<ingest::client_handle*, std::string, std::int32_t>;

    const std::vector<std::string>& topics_of(const line&, const topic_table&);
    void learn_layout(const line&, const std::vector<std::string>& topics);
    void learn_ends(const line&, std::vector<ingest::topic_partition>);
    void note_layout(const line&, const ingest::layout&);

    std::shared_ptr<ingest::hub> hub_;
    std::map<topic_key, std::vector<std::int32_t>> layout_;
    std::map<topic_key, std::vector<std::string>> patterns_; // by pattern: topics
    std::map<topic_key, bool> ascend_;
    std::map<partition_key, std::pair<std::int64_t, std::int64_t>> ends_; // low, end
};

} // namespace ke::topic
