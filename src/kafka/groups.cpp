// Positions of consumer groups, read and stored by the Admin API: no membership.
//
// Reading is done by a client of its own that has a group.id: without one librdkafka 2.0.2
// dereferences null when the answer is "coordinator is loading" (rd_kafka_handle_OffsetFetch asks
// rk_cgrp for the coordinator). Storing has the guard.
#include <chrono>
#include <map>
#include <thread>

#include "kafka/control.h"
#include "kafka/fault.h"
#include "kafka/handles.h"
#include "kafka/offsets.h"

#include "base/no_backend.h"

namespace ke::kafka {

namespace {

// Waits for the answer that comes by the queue, in short turns, so that a halt is heard.
event_ptr await(rd_kafka_queue_t* queue, patience& p)
{
    while (!p.over())
        if (event_ptr event{rd_kafka_queue_poll(queue, p.rest(100))})
            return event;
    return nullptr;
}

options_ptr make_options(client& c, rd_kafka_admin_op_t op, patience& p)
{
    options_ptr options(rd_kafka_AdminOptions_new(c.handle(), op));
    char words[256];
    rd_kafka_AdminOptions_set_request_timeout(options.get(), p.rest(300'000), words, sizeof words);
    return options;
}

fault group_fault(client& c, rd_kafka_resp_err_t err, const char* words, const std::string& group)
{
    fault f = make_fault(err, c.address(), words != nullptr ? words : "");
    if (f.kind == fault_kind::authorization)
        f.message =
            "Kafka at \"" + c.address() + "\" denies access to consumer group \"" + group + "\"";
    return f;
}

// The list of the one group in an answer, or what went wrong.
result<const rd_kafka_topic_partition_list_t*> only_group(client& c, rd_kafka_event_t* event,
                                                          const rd_kafka_group_result_t** groups,
                                                          std::size_t count,
                                                          const std::string& group)
{
    if (rd_kafka_resp_err_t err = rd_kafka_event_error(event))
        return group_fault(c, err, rd_kafka_event_error_string(event), group);
    if (count != 1)
        return group_fault(c, RD_KAFKA_RESP_ERR__BAD_MSG, "An answer without the group", group);
    if (const rd_kafka_error_t* error = rd_kafka_group_result_error(groups[0]))
        return group_fault(c, rd_kafka_error_code(error), rd_kafka_error_string(error), group);
    return rd_kafka_group_result_partitions(groups[0]);
}

} // namespace

namespace {

// Answers that pass by themselves: the group's coordinator is starting or moving.
bool coordinator_moves(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS ||
           err == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
           err == RD_KAFKA_RESP_ERR_NOT_COORDINATOR || err == RD_KAFKA_RESP_ERR__WAIT_COORD;
}

// One question; again: whether the same question may be answered a moment later.
result<std::vector<resolved_offset>> ask_group(client& c, const std::string& group,
                                               const std::vector<topic_partition>& of, patience& p,
                                               bool& again)
{
    again = false;
    queue_ptr queue(rd_kafka_queue_new(c.handle()));
    partitions_ptr list(rd_kafka_topic_partition_list_new(static_cast<int>(of.size())));
    for (const topic_partition& at : of)
        rd_kafka_topic_partition_list_add(list.get(), at.topic.c_str(), at.partition.value);
    rd_kafka_ListConsumerGroupOffsets_t* request =
        rd_kafka_ListConsumerGroupOffsets_new(group.c_str(), list.get());
    options_ptr options = make_options(c, RD_KAFKA_ADMIN_OP_LISTCONSUMERGROUPOFFSETS, p);
    rd_kafka_ListConsumerGroupOffsets(c.handle(), &request, 1, options.get(), queue.get());
    rd_kafka_ListConsumerGroupOffsets_destroy(request);

    event_ptr event = await(queue.get(), p);
    if (!event)
        return group_fault(c, RD_KAFKA_RESP_ERR__TIMED_OUT, c.last_words().c_str(), group);
    std::size_t count = 0;
    const rd_kafka_group_result_t** groups = nullptr;
    if (auto* answer = rd_kafka_event_ListConsumerGroupOffsets_result(event.get()))
        groups = rd_kafka_ListConsumerGroupOffsets_result_groups(answer, &count);
    again = coordinator_moves(rd_kafka_event_error(event.get())) ||
            (count == 1 && rd_kafka_group_result_error(groups[0]) != nullptr &&
             coordinator_moves(rd_kafka_error_code(rd_kafka_group_result_error(groups[0]))));
    auto found = only_group(c, event.get(), groups, count, group);
    if (!found)
        return found.error();

    std::map<std::pair<std::string_view, std::int32_t>, const rd_kafka_topic_partition_t*> by_name;
    for (int i = 0; i < found.value()->cnt; ++i) {
        const rd_kafka_topic_partition_t& e = found.value()->elems[i];
        by_name[{e.topic, e.partition}] = &e;
    }
    std::vector<resolved_offset> answer;
    for (const topic_partition& at : of) {
        resolved_offset r{.at = at, .offset = no_offset, .error = {}};
        if (auto e = by_name.find({at.topic, at.partition.value}); e != by_name.end()) {
            if (e->second->err != RD_KAFKA_RESP_ERR_NO_ERROR)
                r.error = make_topic_fault(e->second->err, c.address(), "", at.topic,
                                           at.partition.value);
            else if (e->second->offset >= 0)
                r.offset = message_offset(e->second->offset);
        }
        answer.push_back(std::move(r));
    }
    return answer;
}

} // namespace

result<std::vector<resolved_offset>> find_group(client& c, const std::string& group,
                                                const std::vector<topic_partition>& of, patience& p)
{
    settings with_group = c.given();
    with_group.emplace_back("group.id", group);
    auto own = client::make(with_group, true);
    if (!own)
        return own.error();
    for (;;) {
        bool again = false;
        auto answer = ask_group(*own.value(), group, of, p, again);
        if (!again || p.over())
            return answer;
        std::this_thread::sleep_for(std::chrono::milliseconds(p.rest(100)));
    }
}

result<done> store_group(client& c, const std::string& group,
                         const std::vector<std::pair<topic_partition, message_offset>>& of,
                         patience& p)
{
    queue_ptr queue(rd_kafka_queue_new(c.handle()));
    partitions_ptr list(rd_kafka_topic_partition_list_new(static_cast<int>(of.size())));
    for (const auto& [at, offset] : of)
        rd_kafka_topic_partition_list_add(list.get(), at.topic.c_str(), at.partition.value)->offset =
            offset.value;
    rd_kafka_AlterConsumerGroupOffsets_t* request =
        rd_kafka_AlterConsumerGroupOffsets_new(group.c_str(), list.get());
    options_ptr options = make_options(c, RD_KAFKA_ADMIN_OP_ALTERCONSUMERGROUPOFFSETS, p);
    rd_kafka_AlterConsumerGroupOffsets(c.handle(), &request, 1, options.get(), queue.get());
    rd_kafka_AlterConsumerGroupOffsets_destroy(request);

    event_ptr event = await(queue.get(), p);
    if (!event)
        return group_fault(c, RD_KAFKA_RESP_ERR__TIMED_OUT, c.last_words().c_str(), group);
    std::size_t count = 0;
    const rd_kafka_group_result_t** groups = nullptr;
    if (auto* answer = rd_kafka_event_AlterConsumerGroupOffsets_result(event.get()))
        groups = rd_kafka_AlterConsumerGroupOffsets_result_groups(answer, &count);
    auto found = only_group(c, event.get(), groups, count, group);
    if (!found)
        return found.error();
    for (int i = 0; i < found.value()->cnt; ++i)
        if (rd_kafka_resp_err_t err = found.value()->elems[i].err)
            return make_topic_fault(err, c.address(), "", found.value()->elems[i].topic,
                                    found.value()->elems[i].partition);
    return done{};
}

} // namespace ke::kafka
