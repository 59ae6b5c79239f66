#include "kafka/client.h"

#include <sys/socket.h>

#include <cerrno>

#include "base/thread.h"
#include "kafka/conf.h"
#include "kafka/fault.h"
#include "kafka/handles.h"

#include "base/no_backend.h"

namespace ke::kafka {

namespace {
constexpr std::size_t log_lines = 256;
// Beyond the 30 s in which librdkafka does not repeat itself.
constexpr std::chrono::seconds too_large_holds{45};
// Told for so long behind the pause, so that one that slows every answer is told all the time.
constexpr std::chrono::seconds throttle_holds{5};

// A thread of librdkafka's connects to a broker: what the library would do itself, counted.
int count_and_connect(int socket, const sockaddr* to, int size, const char* address, void* of)
{
    try {
        static_cast<client*>(of)->brokers().begin(address);
    } catch (...) {
        return ENOMEM; // the library tries again later
    }
    return connect(socket, to, static_cast<socklen_t>(size)) == 0 || errno == EINPROGRESS ? 0
                                                                                          : errno;
}
} // namespace

result<std::shared_ptr<client>> client::make(const settings& given, bool brisk,
                                             const std::string& group)
{
    auto conf = make_conf(given, brisk, group);
    if (!conf)
        return conf.error();
    return start(given, conf.value().release(), RD_KAFKA_CONSUMER, nullptr);
}

result<std::shared_ptr<client>> client::make_producing(const settings& given, listener deliveries)
{
    auto conf = make_producing_conf(given);
    if (!conf)
        return conf.error();
    return start(given, conf.value().release(), RD_KAFKA_PRODUCER, std::move(deliveries));
}

result<std::shared_ptr<client>> client::start(const settings& given, rd_kafka_conf_s* taken,
                                              int type, listener deliveries)
{
    conf_ptr conf(taken);
    rd_kafka_conf_set_events(conf.get(), RD_KAFKA_EVENT_ERROR | RD_KAFKA_EVENT_STATS |
                                             RD_KAFKA_EVENT_LOG |
                                             (deliveries ? RD_KAFKA_EVENT_DR : 0));

    // Destroying joins the library's threads, one of which may sit in getaddrinfo: never on the
    // thread that lets go. Where not even a thread can be had the handle is left alone, counted.
    auto reap = [](client* c) {
        if (!start_detached("kafka reaper", [c] { delete c; }))
            (void)c;
    };
    std::shared_ptr<client> made(new client, reap);
    made->given_ = given;
    made->deliveries_ = std::move(deliveries);
    const std::string* address = find_setting(given, "bootstrap.servers");
    made->address_ = address != nullptr ? *address : "";

    set_callbacks(conf.get(), made.get());

    char words[512] = "";
    {
        signals_blocked blocked; // its threads inherit the mask
        made->handle_ =
            rd_kafka_new(static_cast<rd_kafka_type_t>(type), conf.get(), words, sizeof words);
    }
    if (made->handle_ == nullptr)
        return fault{.kind = fault_kind::refused_option,
                     .message = "librdkafka refuses the connection's options",
                     .detail = sentence(words)};
    conf.release(); // the handle's now
    made->events_ = rd_kafka_queue_get_main(made->handle_);
    rd_kafka_set_log_queue(made->handle_, made->events_);
    return made;
}

client::~client()
{
    if (events_ != nullptr)
        rd_kafka_queue_destroy(events_);
    if (handle_ != nullptr)
        rd_kafka_destroy_flags(handle_, RD_KAFKA_DESTROY_F_NO_CONSUMER_CLOSE);
}

void client::notify(int event_fd)
{
    const std::uint64_t one = 1;
    rd_kafka_queue_io_event_enable(events_, event_fd, &one, sizeof one);
}

void client::serve()
{
    while (event_ptr event{rd_kafka_queue_poll(events_, 0)}) {
        switch (rd_kafka_event_type(event.get())) {
        case RD_KAFKA_EVENT_ERROR:
            heard_error(rd_kafka_event_error(event.get()),
                        rd_kafka_event_error_string(event.get()));
            break;
        case RD_KAFKA_EVENT_STATS: {
            std::string text = rd_kafka_event_stats(event.get());
            std::lock_guard lock(mutex_);
            statistics_ = std::move(text);
            break;
        }
        case RD_KAFKA_EVENT_LOG: {
            const char *facility = "", *words = "";
            int level = 0;
            if (rd_kafka_event_log(event.get(), &facility, &words, &level) == 0)
                heard_log(std::string(facility) + ": " + words);
            break;
        }
        case RD_KAFKA_EVENT_DR:
            deliveries_(event.get());
            break;
        default:
            break;
        }
    }
}

void client::heard_error(int err, const char* words)
{
    auto code = static_cast<rd_kafka_resp_err_t>(err);
    fault_kind kind = kind_of(code);
    std::lock_guard lock(mutex_);
    if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN) {
        last_words_ = words != nullptr ? words : "";
        last_code_ = err;
        fault f = make_fault(code, address_, last_words_);
        if (f.kind == fault_kind::too_large) {
            too_large_ = std::move(f);
            too_large_until_ = std::chrono::steady_clock::now() + too_large_holds;
        }
    }
    words_are_old_ = false;
    if (kind == fault_kind::authentication) {
        refusals_.fetch_add(1);
    } else if (code != RD_KAFKA_RESP_ERR__ALL_BROKERS_DOWN && !complaint_) {
        doubtful_.store(true); // one connection of several; the rest may do
        return;
    } // else: the complaint gets the newest words
    complain(err, words);
}

// "1/1 brokers are down" says less than why the last of them went.
void client::complain(int err, const char* words)
{
    if (last_code_ != 0)
        err = last_code_;
    complaint_ = make_fault(static_cast<rd_kafka_resp_err_t>(err), address_,
                            last_words_.empty() ? words : last_words_.c_str());
    complaining_.store(true);
}

void client::fails()
{
    std::lock_guard lock(mutex_);
    if (!doubtful_.exchange(false) || complaint_)
        return;
    try {
        complain(RD_KAFKA_RESP_ERR__TRANSPORT, "");
    } catch (...) { // no memory for words: the next loss of a connection brings the doubt back
    }
}

// Throttling is told by serve(), on the thread that calls it.
void client::set_callbacks(rd_kafka_conf_t* conf, client* of)
{
    rd_kafka_conf_set_opaque(conf, of);
    rd_kafka_conf_set_connect_cb(conf, count_and_connect);
    rd_kafka_conf_set_throttle_cb(conf,
                                  [](rd_kafka_t*, const char* broker, int32_t, int ms, void* who) {
                                      static_cast<client*>(who)->heard_throttle(broker, ms);
                                  });
}

void client::heard_throttle(const char* broker, int ms)
{
    if (ms <= 0)
        return;
    std::lock_guard lock(mutex_);
    try {
        holding_back_ = broker;
    } catch (...) { // no memory, and librdkafka above: the next one tells
        return;
    }
    held_back_until_ =
        std::chrono::steady_clock::now() + std::chrono::milliseconds(ms) + throttle_holds;
}

std::string client::held_back_by() const
{
    std::lock_guard lock(mutex_);
    return std::chrono::steady_clock::now() < held_back_until_ ? holding_back_ : std::string();
}

void client::tell(const std::shared_ptr<client>& other)
{
    std::lock_guard lock(telling_);
    std::erase_if(told_, [](const auto& w) { return w.expired(); });
    told_.push_back(other);
    for (const auto& [id, address] : brokers_.addresses())
        other->brokers_.know(id, address);
}

void client::know_broker(int id, const std::string& address)
{
    std::lock_guard lock(telling_);
    brokers_.know(id, address);
    for (const auto& w : told_)
        if (auto other = w.lock())
            other->brokers_.know(id, address);
}

void client::heard_log(std::string line)
{
    std::lock_guard lock(mutex_);
    if (log_.size() == log_lines)
        log_.pop_front();
    log_.push_back(std::move(line));
}

void client::works()
{
    doubtful_.store(false);
    if (!complaining_.load())
        return;
    std::lock_guard lock(mutex_);
    complaint_.reset();
    words_are_old_ = true;
    complaining_.store(false);
}

std::string client::statistics() const
{
    std::lock_guard lock(mutex_);
    return statistics_;
}

std::optional<fault> client::complaint() const
{
    std::lock_guard lock(mutex_);
    if (!complaint_ && too_large_ && std::chrono::steady_clock::now() < too_large_until_)
        return too_large_;
    return complaint_;
}

std::string client::last_words() const
{
    std::lock_guard lock(mutex_);
    return words_are_old_ ? std::string() : last_words_;
}

std::vector<std::string> client::take_log()
{
    std::lock_guard lock(mutex_);
    std::vector<std::string> lines(log_.begin(), log_.end());
    log_.clear();
    return lines;
}

} // namespace ke::kafka
