// Errors as values: a result<T> is a T or the fault that stands in its place. Nothing here throws
// on a message's path; a fault becomes an ereport only at the border (pg/errors.h).
#pragma once

#include <cassert>
#include <cstdint>
#include <string>
#include <utility>
#include <variant>

namespace ke {

// What went wrong, as far as somebody must act differently. pg/errors.cpp has one SQLSTATE for each.
enum class fault_kind : std::uint8_t {
    unknown_option,       // no such option or property
    refused_option,       // a value that librdkafka or we refuse
    missing_option,       // a required one was not given
    not_permitted,        // the role may not do this here
    wrong_object,         // not a topic table, or not one that can do this
    column_type,          // a type that a role or a format cannot fill
    broker_unreachable,   // nobody answers; transient
    authentication,       // login refused; transient (goes on once mended)
    authorization,        // the broker denies topic, group or cluster; transient
    topic_missing,        // no such topic or partition; transient
    offset_out_of_range,  // a gap: the position is not in the log
    log_in_doubt,         // by a new connection: perhaps another log; for feeds without an end
    other_cluster,        // another cluster behind the same address
    protocol,             // an answer that makes no sense, a broker too old; transient
    too_large,            // an answer beyond what the client takes; transient (goes on once raised)
    registry_unreachable, // the schema registry does not answer; transient
    registry_refused,     // it refuses the login; transient
    bad_record,           // bytes that do not decode
    out_of_memory,
    halted, // the asker was shut down first
    internal,
};

struct fault {
    fault_kind kind = fault_kind::internal;
    std::string message; // primary line: lower case, no full stop
    std::string detail;  // sentence, or empty
    std::string hint;    // sentence, or empty
    std::string topic;   // where it concerns one topic
    std::int32_t partition = -1;
};

template <class T>
class [[nodiscard]] result {
  public:
    result(T value) : state_(std::move(value)) {}
    result(fault f) : state_(std::move(f)) {}

    bool ok() const { return state_.index() == 0; }
    explicit operator bool() const { return ok(); }

    T& value()
    {
        assert(ok());
        return *std::get_if<0>(&state_);
    }
    const T& value() const
    {
        assert(ok());
        return *std::get_if<0>(&state_);
    }
    fault& error()
    {
        assert(!ok());
        return *std::get_if<1>(&state_);
    }
    const fault& error() const
    {
        assert(!ok());
        return *std::get_if<1>(&state_);
    }

  private:
    std::variant<T, fault> state_;
};

// A result without a value.
struct done {};

} // namespace ke
