// librdkafka's errors sorted by what somebody has to do about them; its words go along as detail.
#include "kafka/fault.h"

#include <charconv>

#include "base/no_backend.h"

namespace ke::kafka {

fault_kind kind_of(rd_kafka_resp_err_t err) noexcept
{
    switch (err) {
    case RD_KAFKA_RESP_ERR__TRANSPORT:
    case RD_KAFKA_RESP_ERR__RESOLVE:
    case RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN:
    case RD_KAFKA_RESP_ERR__TIMED_OUT:
    case RD_KAFKA_RESP_ERR__TIMED_OUT_QUEUE:
    case RD_KAFKA_RESP_ERR__MSG_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS:
    case RD_KAFKA_RESP_ERR_NOT_ENOUGH_REPLICAS_AFTER_APPEND:
    case RD_KAFKA_RESP_ERR__WAIT_COORD:
    case RD_KAFKA_RESP_ERR_REQUEST_TIMED_OUT:
    case RD_KAFKA_RESP_ERR_NETWORK_EXCEPTION:
    case RD_KAFKA_RESP_ERR_BROKER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_LEADER_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_LEADER_FOR_PARTITION:
    case RD_KAFKA_RESP_ERR_REPLICA_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS:
    case RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE:
    case RD_KAFKA_RESP_ERR_NOT_COORDINATOR:
    case RD_KAFKA_RESP_ERR_KAFKA_STORAGE_ERROR:
        return fault_kind::broker_unreachable;
    case RD_KAFKA_RESP_ERR__AUTHENTICATION:
    case RD_KAFKA_RESP_ERR__SSL:
    case RD_KAFKA_RESP_ERR_SASL_AUTHENTICATION_FAILED:
    case RD_KAFKA_RESP_ERR_UNSUPPORTED_SASL_MECHANISM:
    case RD_KAFKA_RESP_ERR_ILLEGAL_SASL_STATE:
        return fault_kind::authentication;
    case RD_KAFKA_RESP_ERR_TOPIC_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_GROUP_AUTHORIZATION_FAILED:
    case RD_KAFKA_RESP_ERR_CLUSTER_AUTHORIZATION_FAILED:
        return fault_kind::authorization;
    case RD_KAFKA_RESP_ERR__UNKNOWN_TOPIC:
    case RD_KAFKA_RESP_ERR__UNKNOWN_PARTITION:
    case RD_KAFKA_RESP_ERR_UNKNOWN_TOPIC_OR_PART:
    case RD_KAFKA_RESP_ERR_TOPIC_EXCEPTION:
        return fault_kind::topic_missing;
    case RD_KAFKA_RESP_ERR_OFFSET_OUT_OF_RANGE:
    case RD_KAFKA_RESP_ERR__AUTO_OFFSET_RESET:
        return fault_kind::offset_out_of_range;
    case RD_KAFKA_RESP_ERR__INVALID_ARG:
        return fault_kind::refused_option;
    case RD_KAFKA_RESP_ERR__DESTROY:
        return fault_kind::halted;
    default:
        return fault_kind::protocol;
    }
}

std::string sentence(std::string_view words)
{
    std::string s(words);
    while (!s.empty() && (s.back() == '.' || s.back() == ' ' || s.back() == '\n'))
        s.pop_back();
    if (!s.empty())
        s += '.';
    return s;
}

namespace {

constexpr std::string_view invalid_size = "Invalid response size ";

// The library tells an answer that is too long and one that is no answer at all, whose first four bytes
// are no length, by the same words, and whoever asks meanwhile gets an error of another kind. Text
// ("HTTP", "<htm") read as a length is beyond 800 MB, TLS begins with 15 03.
void judge_answer(fault& f, const std::string& address, std::string_view words)
{
    words.remove_prefix(words.find(invalid_size) + invalid_size.size());
    std::int32_t size = -1;
    std::from_chars(words.data(), words.data() + words.size(), size);
    if (size > 0 && size < 800'000'000 && size >> 16 != 0x1503) {
        f.kind = fault_kind::too_large;
        f.message = "a record of Kafka at \"" + address + "\" is larger than what may be received";
        f.hint =
            "Raise option \"receive_message_max_bytes\" of the server beyond the record's size, or "
            "that of the producer's batch it stands in.";
        return;
    }
    f.kind = fault_kind::protocol;
    f.message = "what answers at \"" + address + "\" does not speak Kafka's protocol";
    f.hint = "Check the server options \"bootstrap_servers\" and \"security_protocol\".";
}

} // namespace

fault make_fault(rd_kafka_resp_err_t err, const std::string& address, std::string_view words)
{
    fault f;
    f.kind = kind_of(err);
    f.detail = sentence(words.empty() ? rd_kafka_err2str(err) : words);
    switch (f.kind) {
    case fault_kind::broker_unreachable:
        f.message = "could not reach Kafka at \"" + address + "\"";
        f.hint = "Check the server option \"bootstrap_servers\", and that the broker is running.";
        break;
    case fault_kind::authentication:
        f.message =
            (err == RD_KAFKA_RESP_ERR__SSL ? "could not make a secure connection to Kafka at \""
                                           : "could not log in to Kafka at \"") +
            address + "\"";
        f.hint = "Check the server's options for security and the user mapping.";
        break;
    case fault_kind::authorization:
        f.message = "Kafka at \"" + address + "\" denies access";
        f.hint = "The broker's access control decides this, by the login of the user mapping.";
        break;
    case fault_kind::halted:
        f.message = "shut down before Kafka answered";
        break;
    default:
        f.message = "Kafka at \"" + address + "\" answered with an error";
        break;
    }
    if (err == RD_KAFKA_RESP_ERR__BAD_COMPRESSION) // the library does not say which
        f.hint = "It is damaged, or larger than the server option \"receive_message_max_bytes\" "
                 "takes once it is decompressed.";
    if (words.find(invalid_size) != words.npos)
        judge_answer(f, address, words);
    return f;
}

fault make_topic_fault(rd_kafka_resp_err_t err, const std::string& address, std::string_view words,
                       const std::string& topic, std::int32_t partition)
{
    fault f = make_fault(err, address, words);
    f.topic = topic;
    f.partition = partition;
    std::string where = "topic \"" + topic + "\"";
    if (partition >= 0)
        where = "partition " + std::to_string(partition) + " of " + where;
    switch (f.kind) {
    case fault_kind::topic_missing:
        f.message = where + " does not exist";
        break;
    case fault_kind::authorization:
        f.message = "Kafka at \"" + address + "\" denies access to " + where;
        break;
    case fault_kind::offset_out_of_range:
        f.message = "the position is not in " + where + " any more";
        break;
    case fault_kind::broker_unreachable:
    case fault_kind::authentication:
    case fault_kind::too_large:
    case fault_kind::halted:
        break;
    default:
        f.message = "could not read " + where;
        break;
    }
    return f;
}

} // namespace ke::kafka
