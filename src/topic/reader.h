// Reads ranges of offsets of a topic table's partitions, chunk by chunk, to their ends and no
// further. A feed reads one range per partition; a partition with more of them is read in rounds.
// Server's thread; owned by its scan; may throw pg_error (interrupts) and fault_error.
#pragma once

#include "pg/compat.h"

#include <chrono>
#include <memory>
#include <optional>
#include <string>
#include <vector>

#include "base/intervals.h"
#include "topic/statement.h"

namespace ke::topic {

// What to read of one partition; ranges ascend and do not overlap.
struct partition_ranges {
    std::string topic;
    std::int32_t partition;
    std::vector<interval> ranges;
};

class reader {
  public:
    // few: the statement will stop early (LIMIT), so that little is read ahead.
    reader(const line&, std::shared_ptr<const decode::row_plan>, std::vector<partition_ranges>,
           bool few);
    ~reader();

    // The next chunk, null at the end. It is the reader's again at the next call.
    ingest::chunk* next();
    // The next chunks, until they hold so much: none at the end. They are the reader's again at the next
    // call.
    const std::vector<ingest::chunk*>& gather(std::size_t records, std::uint64_t bytes);
    // By topic number of the chunks' messages.
    const std::string& topic(topic_number n) const { return topics_[n.value]; }

    std::uint64_t records() const { return records_; }
    std::uint64_t bytes() const { return bytes_; }

  private:
    using clock = std::chrono::steady_clock;

    struct part {
        topic_number topic;
        std::int32_t partition;
        std::vector<interval> ranges;
        std::size_t round;    // the range being read
        std::int64_t next;    // in it
        bool suspect = false; // its log was seen to end below the range
        bool left() const { return round < ranges.size(); }
    };

    void open_feed();
    bool next_round();
    void give_back();
    void account(const ingest::chunk&);
    void await_chunk();
    void look_after_broker();
    void look_for_cuts(const std::vector<ingest::watermarks>&);
    void go_on_after_gap();
    part* find(topic_number, std::int32_t partition);

    const line& line_;
    std::shared_ptr<const decode::row_plan> plan_;
    std::vector<std::string> topics_;
    std::vector<part> parts_;
    bool few_;

    std::unique_ptr<ingest::feed> feed_;
    std::vector<ingest::chunk*> lent_; // to the caller; all of feed_
    std::vector<fault> gaps_;          // offset_out_of_range, behind them

    clock::time_point progress_; // when something was last heard of the broker
    ingest::ticket<std::vector<ingest::watermarks>> probe_;
    std::optional<fault> last_words_;

    std::uint64_t records_ = 0;
    std::uint64_t bytes_ = 0;
};

} // namespace ke::topic
