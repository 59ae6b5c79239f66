// Questions, and brokers that refuse, freeze or vanish: nothing waits for them, nothing stays.
#include <arpa/inet.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <sys/socket.h>
#include <unistd.h>

#include "mock.h"

using namespace ke;
using namespace ke::ingest;
using namespace ke::test;
using namespace std::chrono_literals;

namespace {

// Takes connections and never says a word: a frozen broker.
class silent {
  public:
    silent() : fd_(socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0))
    {
        sockaddr_in at{};
        at.sin_family = AF_INET;
        at.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
        bind(fd_, reinterpret_cast<sockaddr*>(&at), sizeof at);
        listen(fd_, 16);
        socklen_t size = sizeof at;
        getsockname(fd_, reinterpret_cast<sockaddr*>(&at), &size);
        address = "127.0.0.1:" + std::to_string(ntohs(at.sin_port));
    }
    ~silent() { shut(); }
    void shut()
    {
        if (fd_ >= 0)
            close(fd_);
        fd_ = -1;
    }
    std::string address;

  private:
    int fd_;
};

std::unique_ptr<hub> make_hub()
{
    return std::move(hub::make().value());
}

auto now()
{
    return std::chrono::steady_clock::now();
}

} // namespace

TEST(hub_says_when_nobody_answers)
{
    silent frozen;
    silent gone;
    gone.shut();
    {
        auto h = make_hub();
        auto* f = h->client({{"bootstrap.servers", frozen.address}}).value();
        auto* g = h->client({{"bootstrap.servers", gone.address}}).value();
        auto start = now();
        auto one = h->ask_layout(f, {"t"}, 700ms);
        auto two = h->ask_watermarks(g, {{"t", partition_id(0)}}, 700ms);
        auto a = answer(*h, one);
        auto b = answer(*h, two);
        CHECK(elapsed_ms(start) >= 600);
        CHECK(elapsed_ms(start) < 2000);
        REQUIRE(!a.ok() && !b.ok());
        CHECK_EQ(a.error().kind, fault_kind::broker_unreachable);
        CHECK_EQ(b.error().kind, fault_kind::broker_unreachable);
        CHECK(b.error().message.find(gone.address) != std::string::npos);
        CHECK(b.error().detail.find("refused") != std::string::npos);
        CHECK(eventually([&] { return h->complaint(g).has_value(); }));
    }
    CHECK(all_gone());
}

TEST(hub_goes_at_once_whatever_the_broker_does)
{
    silent frozen;
    auto h = make_hub();
    auto* c = h->client({{"bootstrap.servers", frozen.address}}).value();
    auto asked = h->ask_layout(c, {"t"}, 10s);
    auto matched = h->ask_matching(c, "t.*", 10s);
    feed_spec spec;
    spec.topics = {"t"};
    auto plan = std::make_shared<decode::row_plan>();
    plan->format = "raw";
    spec.plan = plan;
    spec.partitions = {{topic_number(0), partition_id(0), message_offset(0)}};
    auto f = h->open_feed(c, spec);
    REQUIRE(f.ok());
    std::this_thread::sleep_for(300ms);
    auto start = now();
    f.value().reset();
    CHECK(elapsed_ms(start) < 50);
    h.reset();
    CHECK(elapsed_ms(start) < 100);
    CHECK(eventually([&] { return asked.ready() && matched.ready(); }, 1000));
    CHECK_EQ(asked.take().error().kind, fault_kind::halted);
    CHECK(all_gone(5000));
}

TEST(hub_answers_in_time_behind_slow_questions)
{
    silent frozen;
    {
        auto h = make_hub();
        auto* c = h->client({{"bootstrap.servers", frozen.address}}).value();
        std::vector<ticket<layout>> slow;
        for (int i = 0; i < 8; ++i)
            slow.push_back(h->ask_layout(c, {"t"}, 5s));
        auto start = now();
        auto quick = h->ask_layout(c, {"t"}, 200ms);
        CHECK(!answer(*h, quick).ok());
        CHECK(elapsed_ms(start) < 1000);
    }
    CHECK(all_gone());
}

TEST(hub_refuses_what_librdkafka_refuses)
{
    {
        auto h = make_hub();
        auto c = h->client({{"bootstrap.servers", "x"}, {"fetch.max.bytes", "10"}});
        REQUIRE(!c.ok());
        CHECK_EQ(c.error().kind, fault_kind::refused_option);
        CHECK(!c.error().detail.empty());
    }
    CHECK(all_gone());
}

TEST(hub_tells_a_refused_login_before_time_is_up)
{
    {
        mock broker; // knows of no logins
        auto h = make_hub();
        auto* c = h->client({{"bootstrap.servers", broker.address()},
                             {"security.protocol", "sasl_plaintext"},
                             {"sasl.mechanism", "PLAIN"},
                             {"sasl.username", "u"},
                             {"sasl.password", "hunter2"}})
                      .value();
        auto start = now();
        auto asked = h->ask_layout(c, {"t"}, 10s);
        auto l = answer(*h, asked);
        REQUIRE(!l.ok());
        CHECK(elapsed_ms(start) < 5000);
        CHECK_EQ(l.error().kind, fault_kind::authentication);
        CHECK((l.error().message + l.error().detail).find("hunter2") == std::string::npos);
        CHECK(eventually([&] { return h->complaint(c).has_value(); }));
    }
    CHECK(all_gone());
}

TEST(hub_complaint_ends_when_the_broker_is_back)
{
    {
        mock broker;
        broker.topic("t", 1);
        auto h = make_hub();
        auto* c = h->client({{"bootstrap.servers", broker.address()}}).value();
        auto first = h->ask_layout(c, {"t"}, 5s);
        REQUIRE(answer(*h, first).ok());
        CHECK(!h->complaint(c));
        rd_kafka_mock_broker_set_down(broker.cluster(), 1);
        CHECK(eventually([&] { return h->complaint(c).has_value(); }));
        CHECK_EQ(h->complaint(c)->kind, fault_kind::broker_unreachable);
        rd_kafka_mock_broker_set_up(broker.cluster(), 1);
        CHECK(eventually([&] { return !h->complaint(c); }, 15000));
    }
    CHECK(all_gone());
}

TEST(hub_finds_topics_by_pattern_and_near_names)
{
    {
        mock broker;
        for (const char* t : {"orders.eu", "orders.us", "clicks", "__internal"})
            broker.topic(t, 1);
        auto h = make_hub();
        auto* c = h->client({{"bootstrap.servers", broker.address()}}).value();
        auto some = h->ask_matching(c, "orders[.].*", 5s);
        auto l = answer(*h, some);
        REQUIRE(l.ok());
        REQUIRE(l.value().topics.size() == 2);
        CHECK_EQ(l.value().topics[0].topic, "orders.eu");
        CHECK(!l.value().cluster_id.empty());
        auto all = h->ask_matching(c, "", 5s);
        CHECK_EQ(answer(*h, all).value().topics.size(), std::size_t{3});
        auto bad = h->ask_matching(c, "(", 5s);
        CHECK_EQ(answer(*h, bad).error().kind, fault_kind::refused_option);
    }
    CHECK(all_gone());
}

TEST(hub_keeps_positions_in_a_group)
{
    {
        mock broker;
        broker.topic("t", 2);
        auto h = make_hub();
        auto* c = h->client({{"bootstrap.servers", broker.address()}}).value();
        auto before = h->ask_group(c, "g", {{"t", partition_id(0)}}, 5s);
        auto none = answer(*h, before);
        REQUIRE(none.ok());
        CHECK(none.value()[0].offset == no_offset);
        auto stored = h->mirror(c, "g", {{{"t", partition_id(1)}, message_offset(42)}}, 5s);
        CHECK(answer(*h, stored).ok());
        auto after = h->ask_group(c, "g", {{"t", partition_id(0)}, {"t", partition_id(1)}}, 5s);
        auto found = answer(*h, after);
        REQUIRE(found.ok());
        CHECK(found.value()[0].offset == no_offset);
        CHECK_EQ(found.value()[1].offset.value, 42);
    }
    CHECK(all_gone());
}

TEST(hub_leaves_no_descriptor)
{
    auto descriptors = [] {
        int n = 0;
        for (int fd = 0; fd < 4096; ++fd)
            n += fcntl(fd, F_GETFD) >= 0;
        return n;
    };
    mock broker;
    broker.topic("t", 1);
    auto round = [&](bool wait) {
        auto h = make_hub();
        auto* c = h->client({{"bootstrap.servers", broker.address()}}).value();
        auto t = h->ask_layout(c, {"t"}, 5s);
        if (wait)
            CHECK(answer(*h, t).ok());
    };
    round(true);
    CHECK(all_gone());
    std::this_thread::sleep_for(200ms); // the mock's end of the connection goes a little later
    int before = descriptors();
    for (int i = 0; i < 20; ++i)
        round(i % 2 == 0);
    CHECK(all_gone());
    CHECK(eventually([&] { return descriptors() <= before; }, 3000));
}
