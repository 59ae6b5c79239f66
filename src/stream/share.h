// One view's part in a batch: what its plan sees, where its positions go, how it ends.
#pragma once

#include "stream/refused.h"
#include "stream/serving.h"

namespace ke::stream {

enum class fate : std::uint8_t {
    in,        // takes part
    committed, //
    left,      // a lock could not be had: catches up later
    fenced,    // its positions are not what we believed: read anew
    stale,     // made for another descriptor or other columns: feed made anew
    over,      // no longer active, or stopped by this batch
    failed,    // trouble, see why
};

struct share {
    served_view* view = nullptr;
    feed_state* feed = nullptr;
    topic::batch rows;        // limits and left-out messages change during a careful replay
    std::uint32_t cut = 0;    // number of the first message that is not applied
    std::vector<moved> moves; // of this view's rows in kafka.progress, ascending
    bool works = false;       // records for it are among the messages
    bool uncovered = false;   // its positions lie before what its feed has read
    milliseconds allowed{};   // for its part, as other views wait; 0: all the time it takes
    std::chrono::steady_clock::duration took{}; // its part of the transaction
    // A record was refused for a column that it does not use, or makes rows only by such columns.
    bool foreign = false;

    std::int64_t stored = 0;
    std::vector<refused> refusals; // in order
    std::int64_t in_a_row = 0;     // refused one after the other, up to the last of refusals
    std::uint32_t after_last = 0;  // the message behind that one
    std::int64_t room = 0;         // dead letters that may still be kept
    std::optional<stop_report> stop;
    // Cut short without a stop: the rest is read again, soon (a replay took long), or with each record
    // kept (one has to be, and was not).
    bool again = false;
    bool keep_records = false;
    fate end = fate::in;
    trouble why;
};

// The view's share of what its feed has gathered (share.cpp). Needs no transaction.
share make_share(feed_state&, served_view&);
// Positions when only messages below s.cut are applied; sets s.moves.
void find_moves(share&);
// A message by its number, as a refused one without a reason.
refused at_message(const share&, std::uint32_t number);

// ---- rules for refused records (rejects.cpp)
// What stops the view before this record, if anything: on_error or a limit.
std::optional<stop_report> must_stop(const share&, const refused&);
void note(share&, refused);
// Refused one after the other up to the end of a share that was committed.
std::int64_t in_a_row_after(const share&);

// One transaction for all (apply.cpp). Takes those out of the list that cannot take part. Committed:
// true. Otherwise everything is rolled back, why says why, and guilty is the share that raised it,
// null where it was nobody's.
struct verdict {
    bool committed = false;
    trouble why;
    share* guilty = nullptr;
    bool again = false; // nothing is wrong with any of them: to be tried at once
};
verdict transact(std::vector<share*>&, bool careful);

// Applies one share within its transaction, record faults found and left out (careful.cpp). Throws
// pg_error or fault_error for what is no record's fault.
void apply_carefully(share&);

// What is kept of the share's refused records, by on_error (dead_letters.cpp). Inside its transaction.
void write_refusals(const share&);

} // namespace ke::stream
