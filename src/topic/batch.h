// The seam between topic scans and continuous views. While a worker applies a batch, every scan of
// the batch's topic table (at any depth of the query) returns the batch's rows; a scan of another
// topic there is an error. Otherwise a scan reads Kafka itself (topic/reader).
#pragma once

#include "pg/compat.h"

#include <cstdint>
#include <memory>
#include <string>
#include <vector>

#include "decode/plan.h"
#include "ingest/hub.h"
#include "topic/topic.h"

namespace ke::topic {

// SQLSTATE, never seen by users: the view's plan reads a column that the batch was decoded without.
// The worker builds the feed again from what the views read now.
inline constexpr int errcode_stale_feed = MAKE_SQLSTATE('K', 'E', '0', '0', '1');

struct batch {
    Oid topic_table;
    std::vector<std::string> topics;    // names, by topic number of the feed
    const decode_columns* columns;      // the feed's: cells by attribute number
    std::vector<ingest::chunk*> chunks; // in order of arrival

    // Which messages a scan returns: those numbered [first, last), counted over all chunks, whose
    // offset is not below floor(topic, partition), and that are not left out.
    std::uint32_t first_message = 0;
    std::uint32_t last_message = UINT32_MAX;
    // Lowest offset that the view has not stored yet, floors[topic][partition]; absent or no_offset:
    // everything.
    std::vector<std::vector<message_offset>> floors;
    std::vector<std::uint32_t> left_out; // numbers of messages, ascending (rejected ones)
    // Where `wanted` is set it holds filters of the view on this topic table, as the plan's scan has them,
    // and `chosen` are all messages that may pass them, ascending: a scan with all of these goes to no
    // others.
    struct choice {
        std::uint32_t message; // its number
        bool passes;           // all its rows do, for certain
    };
    const List* wanted = nullptr;
    std::vector<choice> chosen;

    // A row's ctid is its place in the order in which a scan of the batch returns rows.

    // Filled by the scan: the number of the message whose row was returned last.
    std::uint32_t at_message = 0;
    bool rescanned = false; // the messages were gone through more than once
    // The column whose value was being made when an error was raised; "" where it came from elsewhere.
    char at_column[NAMEDATALEN] = "";

    // Attributes (offset as in a scan's plan) that a scan wants and the batch was decoded without: named
    // before errcode_stale_feed is raised.
    std::vector<int> missing;

    const char* topic_name(std::uint32_t number) const
    {
        return number < topics.size() ? topics[number].c_str() : "?";
    }
};

// A walk over the messages that a scan of the batch returns. Plain data.
struct batch_cursor {
    batch* source; // in a scan's state: null where it reads Kafka
    std::size_t chunk;
    std::uint32_t chunk_first; // number of the chunk's first message
    std::uint32_t message;     // in the chunk
    std::uint32_t row;         // of the message, to be returned next
    std::uint32_t rows;        // of the message; 0: not begun
    std::size_t left_out;      // into the batch's
    bool by_choice;            // only the batch's chosen ones
    std::size_t chosen;        // into the batch's
    std::uint64_t returned;    // rows so far: the next one's place in the order of arrival

    const decode::rows& chunk_rows() const { return source->chunks[chunk]->rows; }
    const decode::message_ref& at() const { return chunk_rows().messages[message]; }
    std::uint32_t number() const { return chunk_first + message; }
    bool passes() const { return !by_choice || source->chosen[chosen].passes; }
};

// Moves to the next message that the batch's view takes, from where the cursor stands on: behind a
// message by ++message; false: none left. The cursor then stands on it, with no row begun.
bool find_message(batch_cursor&);

// Set by the worker around the execution of one view's plan, null otherwise (also after errors).
extern batch* current_batch;

// While it lives scans of the batch's topic table return its records. Not nested.
struct batch_in_force {
    explicit batch_in_force(batch* b) { current_batch = b; }
    ~batch_in_force() { current_batch = nullptr; }
    batch_in_force(const batch_in_force&) = delete;
    batch_in_force& operator=(const batch_in_force&) = delete;
};

} // namespace ke::topic
