// Settings of topics, by the Admin API.
#include <string_view>

#include "kafka/control.h"
#include "kafka/handles.h"
#include "kafka/offsets.h"

#include "base/no_backend.h"

namespace ke::kafka {

namespace {

using request_ptr =
    std::unique_ptr<rd_kafka_ConfigResource_t, destroyer<rd_kafka_ConfigResource_destroy>>;

bool says_append_time(const rd_kafka_ConfigResource_t* topic)
{
    std::size_t count = 0;
    const rd_kafka_ConfigEntry_t** entries = rd_kafka_ConfigResource_configs(topic, &count);
    for (std::size_t i = 0; i < count; ++i) {
        const char* value = rd_kafka_ConfigEntry_value(entries[i]);
        if (std::string_view("message.timestamp.type") == rd_kafka_ConfigEntry_name(entries[i]))
            return value != nullptr && std::string_view("LogAppendTime") == value;
    }
    return false;
}

} // namespace

result<std::vector<bool>> find_append_time(client& c, const std::vector<std::string>& topics,
                                           patience& p)
{
    std::vector<bool> answer(topics.size(), false);
    queue_ptr queue(rd_kafka_queue_new(c.handle()));
    std::vector<request_ptr> requests;
    std::vector<rd_kafka_ConfigResource_t*> plain;
    for (const std::string& topic : topics) {
        requests.emplace_back(rd_kafka_ConfigResource_new(RD_KAFKA_RESOURCE_TOPIC, topic.c_str()));
        plain.push_back(requests.back().get());
    }
    options_ptr options(rd_kafka_AdminOptions_new(c.handle(), RD_KAFKA_ADMIN_OP_DESCRIBECONFIGS));
    char words[256];
    rd_kafka_AdminOptions_set_request_timeout(options.get(), p.rest(300'000), words, sizeof words);
    rd_kafka_DescribeConfigs(c.handle(), plain.data(), plain.size(), options.get(), queue.get());

    event_ptr event;
    while (!event && !p.over())
        event.reset(rd_kafka_queue_poll(queue.get(), p.rest(100)));
    const auto* told = event ? rd_kafka_event_DescribeConfigs_result(event.get()) : nullptr;
    if (told == nullptr)
        return answer;
    std::size_t count = 0;
    const rd_kafka_ConfigResource_t** found =
        rd_kafka_DescribeConfigs_result_resources(told, &count);
    for (std::size_t i = 0; i < count; ++i)
        for (std::size_t t = 0; t < topics.size(); ++t)
            if (topics[t] == rd_kafka_ConfigResource_name(found[i]) &&
                rd_kafka_ConfigResource_error(found[i]) == RD_KAFKA_RESP_ERR_NO_ERROR)
                answer[t] = says_append_time(found[i]);
    return answer;
}

} // namespace ke::kafka
