// The careful replay: a batch in which some record is at fault is applied again for one view alone, in
// pieces, each in a subtransaction, one at a time, from left to right; what fails alone is the record.
// First no records at all (what fails then is no record's fault), then everything, then up to the
// record that the scan gave last, which is likely the bad one, or halves where the error came behind
// them all (foreign keys). Near-linear: each bad record costs two subtransactions and its good
// neighbours are applied about twice. Server's thread, inside a transaction, of a worker's batch
// (careful.cpp) or of a session (retry.cpp).
#pragma once

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

// Messages [0, end) of replay.rows. Throws pg_error for what is no record's fault.
void run_replay(replay&, std::uint32_t end);

// In a session: settings as in a worker's batch, for the rest of the function (the caller has a level of
// settings of its own) or, where the server has nothing smaller, of the transaction. Raises.
void settle_session();

// Throws it, as a server error that was judged already.
[[noreturn]] void raise_trouble(const trouble&);

} // namespace ke::stream
