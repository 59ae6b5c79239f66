// Offsets that the brokers know: ends of partitions, offsets for times, positions of groups; and what
// the times of a topic are.
// Blocking; asker threads only.
#pragma once

#include <string>
#include <utility>
#include <vector>

#include "base/result.h"
#include "kafka/answers.h"
#include "kafka/client.h"

namespace ke::kafka {

class patience;

// In the order asked for; each with an error of its own.
result<std::vector<watermarks>> find_watermarks(client&, const std::vector<topic_partition>&,
                                                patience&);
// Times in milliseconds.
result<std::vector<resolved_offset>>
find_times(client&, const std::vector<std::pair<topic_partition, std::int64_t>>&, patience&);

// Whether the brokers stamp each topic's records with the time of their arrival. False too where
// nobody says so: no right to see settings, no answer in time.
result<std::vector<bool>> find_append_time(client&, const std::vector<std::string>& topics,
                                           patience&);

result<std::vector<resolved_offset>> find_group(client&, const std::string& group,
                                                const std::vector<topic_partition>&, patience&);
result<done> store_group(client&, const std::string& group,
                         const std::vector<std::pair<topic_partition, message_offset>>&, patience&);

} // namespace ke::kafka
