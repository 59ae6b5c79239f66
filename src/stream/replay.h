// The careful replay: a batch in which some record is at fault is applied again for one view alone, in
// pieces, each in a subtransaction, one at a time, from left to right; what fails alone is the record.
// First no records at all (what fails then is no record's fault), then everything, then up to the
// record that the scan gave last, which is likely the bad one, or halves where the error came behind
// them all (foreign keys). Near-linear: each bad record costs two subtransactions and its good
// neighbours are applied about twice. Server's thread, inside a transaction, of a worker's batch
// (careful.cpp) or of a session (retry.cpp).
#pragma once

#include "pg/compat.h"

extern "C" {
#include "utils/palloc.h"
#include "utils/resowner.h"
}

#include <functional>

#include "stream/serving.h"

namespace ke::stream {

struct replay {
    served_view& view;
    topic::batch& rows; // its limits are set for each piece
    // This message cannot be stored. False: it is not dealt with, and the replay ends before it.
    std::function<bool(std::uint32_t number, const trouble&)> refuse = {};
    std::function<bool()> go_on = {}; // asked between pieces

    std::int64_t stored = 0; // rows
    std::int64_t good = 0;   // messages
    std::uint32_t at = 0;    // the first message that was not dealt with
};

// A subtransaction around server code that is called from C++ frames. Whoever begins one ends it, before an
// error leaves the function too.
class subtransaction {
  public:
    void begin();
    void release();
    void roll_back();
    bool is_open() const { return open_; }

  private:
    MemoryContext context_ = nullptr; // the caller's, for after it
    ResourceOwner owner_ = nullptr;
    bool open_ = false;
};

// Runs the plan over messages [first, last) of rows. Throws pg_error.
std::int64_t run_piece(served_view&, topic::batch& rows, std::uint32_t first, std::uint32_t last);

// Messages [0, end) of replay.rows. Throws pg_error for what is no record's fault.
void run_replay(replay&, std::uint32_t end);

// In a session: settings as in a worker's batch, for the rest of the function (the caller has a level of
// settings of its own) or, where the server has nothing smaller, of the transaction. Raises.
void settle_session();

// Throws it, as a server error that was judged already.
[[noreturn]] void raise_trouble(const trouble&);

} // namespace ke::stream
