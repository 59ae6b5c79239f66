// Runs a view's query again over ranges of its topic, into a table beside its own (REFRESH): what a
// worker's batches would have stored, from the same plan and by the same careful replay (replay.h).
// Session's thread, in the user's transaction; a C++ object, may throw pg_error and fault_error.
#pragma once

#include <string>
#include <vector>

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
    void apply(topic::reader&, ingest::chunk&);
    void plan();
    std::vector<refused> refused_of(const ingest::chunk&);
    void judge(std::vector<refused>);

    const topic::line& line_;
    std::string name_;
    served_view view_;
    share share_; // of the chunk in work
    std::int64_t records_ = 0; // read, for pg_stat_progress_copy
};

} // namespace ke::stream
