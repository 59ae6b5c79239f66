// Runs a view's query again over ranges of its topic, into a table beside its own (REFRESH): what a
// worker's batches would have stored, from the same plan and by the same careful replay (replay.h).
// Session's thread, in the user's transaction; a C++ object, may throw pg_error and fault_error.
//
// While all is well batches are applied in pieces, a subtransaction each, every piece twice as long as the
// one before: a topic of any length costs a handful of transaction numbers, so that the snapshots of
// others stay small. Where the server refuses a record its piece is undone, read again and applied
// carefully, batch by batch; then pieces begin short again. No record is read more than twice for that.
#pragma once

#include <string>
#include <vector>

#include "stream/replay.h"
#include "stream/share.h"
#include "topic/reader.h"

namespace ke::stream {

class rebuilding {
  public:
    // Rows go into `beside`, a table like the view's own; refused records are kept under its name, for
    // the caller to move.
    rebuilding(const registered_view&, Oid beside, const topic::line&);
    ~rebuilding();
    rebuilding(const rebuilding&) = delete;
    rebuilding& operator=(const rebuilding&) = delete;

    // Raises where on_error or a limit says to stop.
    void read(std::vector<topic::partition_ranges>);

  private:
    using ranges = std::vector<topic::partition_ranges>;
    // What a piece that is undone takes back.
    struct standing {
        ranges left; // to read
        std::int64_t in_a_row = 0, room = 0, records = 0;
        std::uint32_t after_last = 0;
    };

    void plan();
    void read_on();
    void apply_batches(topic::reader&);
    bool apply();
    void apply_carefully();
    void show(const topic::reader&, const std::vector<ingest::chunk*>&);
    void pass();
    void end_piece();
    void undo_piece();
    std::vector<refused> undecoded();
    void judge(std::vector<refused>);

    const topic::line& line_;
    std::string name_;
    served_view view_;
    share share_;                // of the batch in work
    std::uint32_t messages_ = 0; // in it
    ranges left_;                // to read
    std::int64_t records_ = 0;   // read, for pg_stat_progress_copy

    subtransaction piece_;
    standing before_;          // the piece
    std::int64_t size_ = 1;    // of the piece, in batches
    std::int64_t count_ = 0;   // in it so far
    std::int64_t careful_ = 0; // batches to be applied carefully
};

} // namespace ke::stream
