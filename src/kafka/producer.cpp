#include "kafka/producer.h"

#include <atomic>
#include <cstdlib>
#include <mutex>

#include "kafka/client.h"
#include "kafka/conf.h"
#include "kafka/control.h"
#include "kafka/fault.h"
#include "kafka/handles.h"

#include "base/no_backend.h"

namespace ke::kafka {

namespace {

using headers_ptr = std::unique_ptr<rd_kafka_headers_t, destroyer<rd_kafka_headers_destroy>>;
using error_ptr = std::unique_ptr<rd_kafka_error_t, destroyer<rd_kafka_error_destroy>>;

fault why(rd_kafka_resp_err_t err, const std::string& address, std::string_view words,
          const std::string& topic)
{
    fault f = make_topic_fault(err, address, words, topic, -1);
    if (f.kind == fault_kind::protocol)
        f.message = "could not write to topic \"" + topic + "\"";
    return f;
}

// Deliveries on their way from the control thread to the server's.
class mailbox {
  public:
    mailbox(std::shared_ptr<doorbell> bell, std::string address)
        : bell_(std::move(bell)), address_(std::move(address))
    {
    }

    // Server's thread: room for the delivery of one record more, so that put() needs no memory.
    void expect_one()
    {
        std::lock_guard lock(mutex_);
        letters_.reserve(++expected_);
    }
    void expect_less()
    {
        std::lock_guard lock(mutex_);
        --expected_;
    }

    // Control thread.
    void put(const rd_kafka_message_t& m) noexcept
    {
        delivery d;
        d.number = reinterpret_cast<std::uintptr_t>(m._private);
        d.partition = partition_id(m.partition);
        d.offset = message_offset(m.offset);
        try {
            if (m.err != RD_KAFKA_RESP_ERR_NO_ERROR)
                d.trouble = why(m.err, address_, "", rd_kafka_topic_name(m.rkt));
        } catch (...) {
            d.trouble = fault{.kind = fault_kind::out_of_memory, .message = "out of memory"};
        }
        std::lock_guard lock(mutex_);
        letters_.push_back(std::move(d));
    }
    void ring() noexcept { bell_->ring(); }

    void take(std::vector<delivery>& taken)
    {
        std::lock_guard lock(mutex_);
        taken.reserve(letters_.size());
        expected_ -= letters_.size();
        for (delivery& d : letters_)
            taken.push_back(std::move(d));
        letters_.clear(); // keeps its room
    }
    bool empty() const
    {
        std::lock_guard lock(mutex_);
        return letters_.empty();
    }

  private:
    const std::shared_ptr<doorbell> bell_;
    const std::string address_;
    mutable std::mutex mutex_; // guards what follows
    std::vector<delivery> letters_;
    std::size_t expected_ = 0; // sent and not taken
};

rd_kafka_headers_t* copy_of(std::span<const outgoing_header> given)
{
    headers_ptr copy(rd_kafka_headers_new(given.size()));
    for (const outgoing_header& h : given)
        rd_kafka_header_add(copy.get(), h.name.data(), static_cast<ssize_t>(h.name.size()),
                            h.value.data, static_cast<ssize_t>(h.value.size));
    return copy.release();
}

class producer_impl final : public producer {
  public:
    producer_impl(std::shared_ptr<client> c, std::shared_ptr<mailbox> m)
        : client_(c), mailbox_(std::move(m)), control_(c, c)
    {
    }

    result<bool> send(const outgoing& o) noexcept override
    try {
        mailbox_->expect_one();
        rd_kafka_vu_t with[8];
        std::size_t n = 0;
        auto add = [&](rd_kafka_vtype_t kind) -> rd_kafka_vu_t& {
            with[n].vtype = kind;
            return with[n++];
        };
        add(RD_KAFKA_VTYPE_TOPIC).u.cstr = o.topic.c_str();
        add(RD_KAFKA_VTYPE_PARTITION).u.i32 = o.partition;
        add(RD_KAFKA_VTYPE_MSGFLAGS).u.i = RD_KAFKA_MSG_F_COPY;
        add(RD_KAFKA_VTYPE_KEY).u.mem = {const_cast<char*>(o.key.data), o.key.size};
        add(RD_KAFKA_VTYPE_VALUE).u.mem = {const_cast<char*>(o.value.data), o.value.size};
        add(RD_KAFKA_VTYPE_OPAQUE).u.ptr = reinterpret_cast<void*>(o.number);
        if (o.timestamp_ms > 0)
            add(RD_KAFKA_VTYPE_TIMESTAMP).u.i64 = o.timestamp_ms;
        headers_ptr headers(copy_of(o.headers));
        if (headers)
            add(RD_KAFKA_VTYPE_HEADERS).u.headers = headers.get();
        error_ptr wrong(rd_kafka_produceva(client_->handle(), with, n));
        if (!wrong) {
            headers.release(); // the record's now
            return true;
        }
        mailbox_->expect_less();
        const rd_kafka_resp_err_t err = rd_kafka_error_code(wrong.get());
        if (err == RD_KAFKA_RESP_ERR__QUEUE_FULL)
            return false;
        return why(err, client_->address(), rd_kafka_error_string(wrong.get()), o.topic);
    } catch (...) {
        return fault{.kind = fault_kind::out_of_memory, .message = "out of memory"};
    }

    std::vector<delivery> take() noexcept override
    {
        std::vector<delivery> taken;
        try {
            mailbox_->take(taken);
            // "Message timed out" says less than what the client complains of.
            for (delivery& d : taken)
                if (d.trouble && d.trouble->kind == fault_kind::broker_unreachable)
                    if (auto complaint = client_->complaint())
                        d.trouble = std::move(complaint);
        } catch (...) { // without memory: what was not taken stays for the next time
        }
        return taken;
    }

    bool ready() const noexcept override { return !mailbox_->empty(); }

  private:
    std::shared_ptr<client> client_;
    std::shared_ptr<mailbox> mailbox_;
    control control_;
};

} // namespace

result<std::unique_ptr<producer>> make_producer(const settings& given,
                                                std::shared_ptr<doorbell> bell) noexcept
try {
    const std::string* address = find_setting(given, "bootstrap.servers");
    auto box = std::make_shared<mailbox>(std::move(bell), address != nullptr ? *address : "");
    auto made = client::make_producing(given, [box](rd_kafka_op_s* event) {
        while (const rd_kafka_message_t* m = rd_kafka_event_message_next(event))
            box->put(*m);
        box->ring();
    });
    if (!made)
        return made.error();
    return std::unique_ptr<producer>(
        std::make_unique<producer_impl>(std::move(made.value()), std::move(box)));
} catch (...) {
    return fault{.kind = fault_kind::out_of_memory, .message = "out of memory"};
}

} // namespace ke::kafka
