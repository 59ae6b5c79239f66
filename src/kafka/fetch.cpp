#include "kafka/fetch.h"

#include <array>

#include "kafka/fault.h"
#include "kafka/handles.h"

#include "base/no_backend.h"

namespace ke::kafka {

struct fetch_queue::parts {
    struct partition {
        topic_ptr topic; // its own reference; the library counts
        std::string name;
        std::int32_t number = -1; // -1: not being fetched
    };

    std::shared_ptr<client> of; // outlives what follows
    queue_ptr queue;
    std::vector<partition> slots;
    std::array<rd_kafka_message_t*, most_at_once> taken;
    std::size_t count = 0;
    std::uint32_t last = 0; // messages of one partition come in runs

    void give_back()
    {
        for (std::size_t i = 0; i < count; ++i)
            rd_kafka_message_destroy(taken[i]);
        count = 0;
    }

    bool is(std::uint32_t slot, const rd_kafka_message_t& m) const
    {
        return slots[slot].number == m.partition && slots[slot].topic.get() == m.rkt;
    }

    // The slot of a message; false: none.
    bool find(const rd_kafka_message_t& m)
    {
        if (last < slots.size() && is(last, m))
            return true;
        for (std::uint32_t slot = 0; slot < slots.size(); ++slot)
            if (is(slot, m)) {
                last = slot;
                return true;
            }
        return false;
    }
};

fetch_queue::fetch_queue(std::shared_ptr<client> of, int event_fd) : parts_(new parts)
{
    parts_->of = std::move(of);
    parts_->queue.reset(rd_kafka_queue_new(parts_->of->handle()));
    const std::uint64_t one = 1;
    rd_kafka_queue_io_event_enable(parts_->queue.get(), event_fd, &one, sizeof one);
}

fetch_queue::~fetch_queue()
{
    for (std::uint32_t slot = 0; slot < parts_->slots.size(); ++slot)
        stop(slot);
    parts_->give_back();
    // The descriptor is the lane's: nothing may write to it any more.
    rd_kafka_queue_io_event_enable(parts_->queue.get(), -1, nullptr, 0);
}

result<done> fetch_queue::start(std::uint32_t slot, const std::string& topic, partition_id number,
                                message_offset from)
{
    client& c = *parts_->of;
    if (parts_->slots.size() <= slot)
        parts_->slots.resize(slot + 1);
    topic_ptr made(rd_kafka_topic_new(c.handle(), topic.c_str(), nullptr));
    if (!made)
        return make_topic_fault(rd_kafka_last_error(), c.address(), "", topic, number.value);
    if (rd_kafka_consume_start_queue(made.get(), number.value, from.value, parts_->queue.get()) !=
        0)
        return make_topic_fault(rd_kafka_last_error(), c.address(), "", topic, number.value);
    parts_->slots[slot] = {std::move(made), topic, number.value};
    return done{};
}

void fetch_queue::stop(std::uint32_t slot)
{
    if (slot >= parts_->slots.size() || parts_->slots[slot].number < 0)
        return;
    parts::partition& p = parts_->slots[slot];
    rd_kafka_consume_stop(p.topic.get(), p.number);
    p.number = -1;
}

std::size_t fetch_queue::take(std::size_t most)
{
    parts_->give_back();
    if (most > most_at_once)
        most = most_at_once;
    // Asked first: taking from an empty queue costs a system call, and a lane has many queues.
    if (rd_kafka_queue_length(parts_->queue.get()) == 0)
        return 0;
    ssize_t n = rd_kafka_consume_batch_queue(parts_->queue.get(), 0, parts_->taken.data(), most);
    parts_->count = n > 0 ? static_cast<std::size_t>(n) : 0;
    return parts_->count;
}

arrival fetch_queue::at(std::size_t i)
{
    const rd_kafka_message_t& m = *parts_->taken[i];
    arrival a;
    if (!parts_->find(m))
        return a;
    a.slot = parts_->last;
    a.offset = message_offset(m.offset);
    if (m.err == RD_KAFKA_RESP_ERR__PARTITION_EOF) {
        a.what = arrival::kind::end;
        return a;
    }
    if (m.err != RD_KAFKA_RESP_ERR_NO_ERROR) {
        a.what = arrival::kind::failure;
        return a;
    }
    a.what = arrival::kind::record;
    rd_kafka_timestamp_type_t type;
    a.timestamp_ms = rd_kafka_message_timestamp(&m, &type);
    a.log_append_time = type == RD_KAFKA_TIMESTAMP_LOG_APPEND_TIME;
    if (type == RD_KAFKA_TIMESTAMP_NOT_AVAILABLE)
        a.timestamp_ms = -1;
#if RD_KAFKA_VERSION >= 0x020100ff
    a.leader_epoch = rd_kafka_message_leader_epoch(&m);
#endif
    a.broker = rd_kafka_message_broker_id(&m);
    a.key = bytes(static_cast<const char*>(m.key), m.key_len);
    a.value = bytes(static_cast<const char*>(m.payload), m.len);
    return a;
}

void fetch_queue::headers(std::size_t i, std::vector<header_view>& out) const
{
    out.clear();
    rd_kafka_headers_t* all = nullptr;
    if (rd_kafka_message_headers(parts_->taken[i], &all) != RD_KAFKA_RESP_ERR_NO_ERROR)
        return;
    const char* name;
    const void* value;
    std::size_t size;
    for (std::size_t k = 0;
         rd_kafka_header_get_all(all, k, &name, &value, &size) == RD_KAFKA_RESP_ERR_NO_ERROR; ++k)
        out.push_back({name, bytes(static_cast<const char*>(value), size)});
}

fault fetch_queue::failure(std::size_t i)
{
    const rd_kafka_message_t& m = *parts_->taken[i];
    parts_->find(m);
    const parts::partition& p = parts_->slots[parts_->last];
    return make_topic_fault(m.err, parts_->of->address(), rd_kafka_message_errstr(&m), p.name,
                            p.number);
}

int fetch_queue::failure_code(std::size_t i) const
{
    return parts_->taken[i]->err;
}

} // namespace ke::kafka
