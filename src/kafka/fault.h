// librdkafka's error codes as faults. Included by .cpp files of this folder only.
#pragma once

#include <string>

#include <librdkafka/rdkafka.h>

#include "base/result.h"

namespace ke::kafka {

// What an error asks of us.
fault_kind kind_of(rd_kafka_resp_err_t err) noexcept;

// "Local: Broker transport failure" and the like, as a sentence of a detail line.
std::string sentence(std::string_view words);

// A fault for an error of the broker at address; words: librdkafka's longer text, or empty.
fault make_fault(rd_kafka_resp_err_t err, const std::string& address, std::string_view words);

// The same, of a topic (partition -1: of all of it).
fault make_topic_fault(rd_kafka_resp_err_t err, const std::string& address, std::string_view words,
                       const std::string& topic, std::int32_t partition);

} // namespace ke::kafka
