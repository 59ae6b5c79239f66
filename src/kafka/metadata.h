// Brokers, topics and partitions. Blocking; asker threads only.
#pragma once

#include <string>
#include <vector>

#include "base/result.h"
#include "kafka/answers.h"
#include "kafka/client.h"

namespace ke::kafka {

class patience;

result<layout> find_layout(client&, const std::vector<std::string>& topics, patience&);
// pattern: POSIX extended regular expression for the whole name; "": all but internal topics.
result<layout> find_matching(client&, const std::string& pattern, patience&);
result<broker_report> find_brokers(client&, patience&);

// Whether a broker answers the smallest of requests.
bool ping(client&, int timeout_ms);

} // namespace ke::kafka
