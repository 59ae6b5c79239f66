// A scan that reads Kafka itself: from an evaluated condition to ranges of offsets, from chunks to
// rows, and what to do with a bad record. Server's thread; owned by the executor state's memory
// context, as the statement is that it uses.
#pragma once

#include "topic/reader.h"
#include "topic/scan.h"
#include "topic/shared_scan.h"

namespace ke::topic {

class kafka_scan {
  public:
    // Throws pg_error, fault_error, as all below.
    // context: the statement's.
    kafka_scan(MemoryContext context, statement&, topic_table, decode_columns, const planned_scan&);

    // Asks the broker for the statement's ends, unless the condition (evaluated as far as it can be)
    // leaves nothing.
    void ask_ends(const condition*);

    const decode_columns& columns() const { return columns_; }
    const topic_table& table() const { return table_; }

    // Starts (again) with what the condition leaves now.
    void open(const condition*);
    void close();
    bool is_open() const { return open_; }

    // --- in a parallel query ---
    // Leader: finds what is to be read; bytes of shared memory for it. Then hands it out.
    std::size_t look_around(const condition*);
    void lead(shared_scan*);
    // Worker: reads what it can claim.
    void join(shared_scan*);
    // Adds what was read to the shared counts, and takes the sums; the memory is not touched any more.
    void leave() noexcept;

    // Moves to the next record, good or bad; false at the end.
    bool next_message();
    const ingest::chunk& chunk() const { return *chunk_; }
    std::uint32_t message() const { return message_; }
    const std::string& topic() const;
    // The message's reject, or null.
    const decode::reject* bad() const { return bad_; }

    // --- for EXPLAIN: of all runs together ---
    std::uint64_t records() const { return records_ + (reader_ ? reader_->records() : 0); }
    std::uint64_t bytes() const { return bytes_ + (reader_ ? reader_->bytes() : 0); }
    std::uint64_t rejected = 0;
    // Ranges of the newest run.
    const std::vector<partition_ranges>& ranges() const { return ranges_; }

    // --- the row in work, kept here between calls of the executor ---
    std::uint32_t row = 0;
    std::uint32_t rows = 0;

  private:
    std::vector<partition_ranges> find_ranges(const condition*);
    void read(std::vector<partition_ranges>);
    void put_away();
    bool read_claimed();

    statement& statement_;
    topic_table table_;
    line line_;
    decode_columns columns_;
    bool few_;
    bool open_ = false;
    std::vector<partition_ranges> ranges_;
    std::unique_ptr<reader> reader_;
    shared_scan* shared_ = nullptr; // null: everything is this scan's alone

    ingest::chunk* chunk_ = nullptr; // the reader's
    std::uint32_t message_ = 0;
    std::size_t reject_ = 0;
    const decode::reject* bad_ = nullptr;

    std::uint64_t records_ = 0;
    std::uint64_t bytes_ = 0;
};

// scan.h's, when no batch is at work.
bool next_of_kafka(ForeignScanState*, scan_state*, TupleTableSlot*);

// The whole error for a bad record: place, column, excerpt. Never returns.
[[noreturn]] void raise_reject(Relation, const kafka_scan*, const decode::reject*);

} // namespace ke::topic
