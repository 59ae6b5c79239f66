// Positions of consumer groups, read and stored: no membership, no rebalance.
//
// Each act takes a client of its own, with the group as its group.id, for as long as it lasts, and
// librdkafka's ordinary commit and committed calls. The Admin API, which would do all groups from one
// client, is not fit for a server in librdkafka 2.0.2: ListConsumerGroupOffsets dereferences null
// where the coordinator is loading (rk_cgrp), and its way to a coordinator that goes away in the
// middle fails an assertion (rd_kafka_enq_once_del_source_return). Both end the process.
#include "base/living.h"
#include "kafka/control.h"
#include "kafka/fault.h"
#include "kafka/handles.h"
#include "kafka/offsets.h"

#include "base/no_backend.h"

namespace ke::kafka {

namespace {

// Answers that pass by themselves: the group's coordinator is starting, moving or looked for.
bool passes(rd_kafka_resp_err_t err)
{
    return err == RD_KAFKA_RESP_ERR_COORDINATOR_LOAD_IN_PROGRESS ||
           err == RD_KAFKA_RESP_ERR_COORDINATOR_NOT_AVAILABLE ||
           err == RD_KAFKA_RESP_ERR_NOT_COORDINATOR || err == RD_KAFKA_RESP_ERR__WAIT_COORD ||
           err == RD_KAFKA_RESP_ERR__TIMED_OUT || err == RD_KAFKA_RESP_ERR__TRANSPORT;
}

result<std::shared_ptr<client>> member_of(const client& c, const std::string& group)
{
    return client::make(c.given(), true, group);
}

fault group_fault(const client& c, rd_kafka_resp_err_t err, const std::string& group)
{
    fault f = make_fault(err, c.address(), c.last_words());
    if (f.kind == fault_kind::authorization)
        f.message =
            "Kafka at \"" + c.address() + "\" denies access to consumer group \"" + group + "\"";
    return f;
}

// Waits for the answer that comes by the queue, in short turns, so that a halt is heard.
event_ptr await(client& c, rd_kafka_queue_t* queue, patience& p)
{
    while (!p.over()) {
        c.serve();
        if (event_ptr event{rd_kafka_queue_poll(queue, p.rest(100))})
            return event;
    }
    return nullptr;
}

// A commit whose coordinator does not answer keeps the library from ending the client, and librdkafka
// 2.0.2 spins a core meanwhile: once it is told to end it runs no timers, and no longer sleeps when one
// is due. So the client is kept until the commit has failed by itself: behind session.timeout.ms where
// it waits for a coordinator (conf.cpp), socket.timeout.ms and its repeats where one was asked.
void keep_until_answered(std::shared_ptr<client> member, queue_ptr queue)
{
    std::shared_ptr<rd_kafka_queue_t> answers = std::move(queue);
    (void)start_detached("kafka outlast", [member, answers]() mutable {
        const auto end = clock::now() + std::chrono::seconds(120);
        while (clock::now() < end && !event_ptr(rd_kafka_queue_poll(answers.get(), 1000)))
            member->serve();
        answers.reset();
        member.reset();
    });
}

} // namespace

result<std::vector<resolved_offset>> find_group(client& c, const std::string& group,
                                                const std::vector<topic_partition>& of, patience& p)
{
    auto own = member_of(c, group);
    if (!own)
        return own.error();
    client& member = *own.value();
    partitions_ptr list(rd_kafka_topic_partition_list_new(static_cast<int>(of.size())));
    for (const topic_partition& at : of)
        rd_kafka_topic_partition_list_add(list.get(), at.topic.c_str(), at.partition.value);

    rd_kafka_resp_err_t err = RD_KAFKA_RESP_ERR__TIMED_OUT;
    while (!p.over()) {
        err = rd_kafka_committed(member.handle(), list.get(), p.rest(500));
        member.serve();
        if (!passes(err))
            break;
    }
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return group_fault(member, err, group);

    std::vector<resolved_offset> answer;
    for (std::size_t i = 0; i < of.size(); ++i) { // the list keeps its order
        const rd_kafka_topic_partition_t& e = list->elems[i];
        resolved_offset r{.at = of[i], .offset = no_offset, .error = {}};
        if (e.err != RD_KAFKA_RESP_ERR_NO_ERROR)
            r.error = make_topic_fault(e.err, c.address(), "", of[i].topic, of[i].partition.value);
        else if (e.offset >= 0)
            r.offset = message_offset(e.offset);
        answer.push_back(std::move(r));
    }
    return answer;
}

result<done> store_group(client& c, const std::string& group,
                         const std::vector<std::pair<topic_partition, message_offset>>& of,
                         patience& p)
{
    auto own = member_of(c, group);
    if (!own)
        return own.error();
    client& member = *own.value();
    partitions_ptr list(rd_kafka_topic_partition_list_new(static_cast<int>(of.size())));
    for (const auto& [at, offset] : of)
        rd_kafka_topic_partition_list_add(list.get(), at.topic.c_str(), at.partition.value)
            ->offset = offset.value;

    queue_ptr queue(rd_kafka_queue_new(member.handle()));
    rd_kafka_resp_err_t err =
        rd_kafka_commit_queue(member.handle(), list.get(), queue.get(), nullptr, nullptr);
    if (err != RD_KAFKA_RESP_ERR_NO_ERROR)
        return group_fault(member, err, group);
    event_ptr event = await(member, queue.get(), p);
    if (!event) {
        fault late = group_fault(member, RD_KAFKA_RESP_ERR__TIMED_OUT, group);
        keep_until_answered(std::move(own.value()), std::move(queue));
        return late;
    }
    if ((err = rd_kafka_event_error(event.get())) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return group_fault(member, err, group);
    const rd_kafka_topic_partition_list_t* stored =
        rd_kafka_event_topic_partition_list(event.get());
    for (int i = 0; stored != nullptr && i < stored->cnt; ++i)
        if (rd_kafka_resp_err_t e = stored->elems[i].err)
            return make_topic_fault(e, c.address(), "", stored->elems[i].topic,
                                    stored->elems[i].partition);
    return done{};
}

} // namespace ke::kafka
