// Questions to a broker from a statement: open a connection, ask, wait interruptibly, and say clearly
// what went wrong. Server's thread, inside pg::entry().
#pragma once

#include "pg/compat.h"

#include <chrono>
#include <string>
#include <vector>

#include "ingest/hub.h"
#include "pg/guard.h"
#include "pg/wait.h"
#include "topic/topic.h"

namespace ke::topic {

// Plain pointers: hub and client belong to the memory context given to open_line() and go with it.
struct line {
    ingest::hub* hub;
    ingest::client_handle* client;
    std::chrono::milliseconds timeout; // connect_timeout
    const char* address;               // bootstrap_servers, for messages
};

// Does not wait for the broker. Throws fault_error where librdkafka refuses the properties, pg_error.
line open_line(MemoryContext, const connection&);
line open_line(MemoryContext, const topic_table&);
// A line over a client that the caller has opened on a hub of its own.
line make_line(MemoryContext, ingest::hub*, const connection&);

// For a fault that came from asking: address, time-out and last cause where nobody answered, the
// login's refusal where that was the reason. Throws.
[[noreturn]] void fail(const line&, fault);

// The answer, at the latest after the line's time-out. Interrupts work at once. Throws fault_error,
// pg_error.
template <class T>
T await(const line& l, ingest::ticket<T> ticket)
{
    // The hub answers within the time-out by itself; the rest is for a thread that hangs.
    const auto patience = l.timeout + std::chrono::milliseconds(500);
    if (!pg::wait_until(l.hub->bell(), patience, [&] { return ticket.ready(); }))
        fail(l, {.kind = fault_kind::broker_unreachable});
    result<T> answer = ticket.take();
    if (!answer)
        fail(l, std::move(answer.error()));
    return std::move(answer.value());
}

// The topics of a table (of its list or pattern) with their partitions, narrowed to the option
// partitions. A missing topic is an error (with near names) unless missing_ok, and then left out.
ingest::layout ask_topics(const line&, const topic_table&, bool missing_ok = false);

// All partitions of a layout.
std::vector<ingest::topic_partition> partitions_of(const ingest::layout&);

// First and end offsets (the last stable one) of each; the first fault is an error.
std::vector<ingest::watermarks> ask_ends(const line&, const ingest::layout&);

// The same connection with a client whose ends count records of open transactions too: for questions
// only.
line with_uncommitted_ends(const line&, connection);

} // namespace ke::topic
