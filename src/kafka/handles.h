// librdkafka's handles, each with its destroy function in the type. Included by .cpp files of this
// folder only: the rest of the program does not see librdkafka.
#pragma once

#include <memory>

#include <librdkafka/rdkafka.h>

namespace ke::kafka {

template <auto destroy>
struct destroyer {
    template <class T>
    void operator()(T* p) const
    {
        destroy(p);
    }
};

using conf_ptr = std::unique_ptr<rd_kafka_conf_t, destroyer<rd_kafka_conf_destroy>>;
using topic_conf_ptr =
    std::unique_ptr<rd_kafka_topic_conf_t, destroyer<rd_kafka_topic_conf_destroy>>;
using topic_ptr = std::unique_ptr<rd_kafka_topic_t, destroyer<rd_kafka_topic_destroy>>;
using queue_ptr = std::unique_ptr<rd_kafka_queue_t, destroyer<rd_kafka_queue_destroy>>;
using event_ptr = std::unique_ptr<rd_kafka_event_t, destroyer<rd_kafka_event_destroy>>;
using partitions_ptr = std::unique_ptr<rd_kafka_topic_partition_list_t,
                                       destroyer<rd_kafka_topic_partition_list_destroy>>;
using metadata_ptr =
    std::unique_ptr<const rd_kafka_metadata_t, destroyer<rd_kafka_metadata_destroy>>;
using options_ptr =
    std::unique_ptr<rd_kafka_AdminOptions_t, destroyer<rd_kafka_AdminOptions_destroy>>;

} // namespace ke::kafka
