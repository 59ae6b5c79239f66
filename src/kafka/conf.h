// From a list of settings to a configuration of librdkafka: theirs, our defaults where they gave
// none, and what is ours alone. Included by .cpp files of this folder only.
#pragma once

#include "base/result.h"
#include "kafka/answers.h"
#include "kafka/handles.h"

namespace ke::kafka {

// Does not ask who may set what: that was done when the option was given (kafka/property.h); only what
// is ours is refused here as well.
// brisk: for a reader that lives shortly and starts partitions often.
// group: whose positions are read or stored (kafka/groups.cpp); "" for everything else.
result<conf_ptr> make_conf(const settings&, bool brisk, const std::string& group = {});

// For a producer.
result<conf_ptr> make_producing_conf(const settings&);

// The value of the last setting of this name; null: none.
const std::string* find_setting(const settings&, std::string_view name);

} // namespace ke::kafka
