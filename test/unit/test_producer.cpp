// Records handed over and what is told of them: delivered in order with their places, refused, or
// still on their way when the producer goes.
#include "mock.h"

using namespace ke;
using namespace ke::ingest;
using namespace ke::test;
using namespace std::chrono_literals;

namespace {

std::vector<delivery> take_all(producer& p, std::size_t n)
{
    std::vector<delivery> all;
    CHECK(eventually([&] {
        for (delivery& d : p.take())
            all.push_back(std::move(d));
        return all.size() >= n;
    }));
    return all;
}

} // namespace

TEST(producer_tells_what_was_delivered)
{
    mock broker;
    broker.topic("t", 2);
    {
        auto h = std::move(hub::make().value());
        auto p = std::move(h->open_producer({{"bootstrap.servers", broker.address()}}).value());
        const std::vector<outgoing_header> headers = {{"a", bytes("x", 1)}, {"n", {}}};
        for (std::uint64_t i = 0; i < 1000; ++i) {
            const std::string value = "v" + std::to_string(i);
            auto sent = p->send({.number = i + 7,
                                 .topic = "t",
                                 .partition = static_cast<std::int32_t>(i % 2),
                                 .value = bytes(std::string_view(value)),
                                 .timestamp_ms = 1000,
                                 .headers = headers});
            REQUIRE(sent.ok());
            CHECK(sent.value());
        }
        auto all = take_all(*p, 1000);
        CHECK_EQ(all.size(), 1000u);
        std::int64_t next[2] = {0, 0};
        for (const delivery& d : all) {
            CHECK(!d.trouble);
            const std::uint64_t i = d.number - 7;
            CHECK_EQ(d.partition.value, static_cast<std::int32_t>(i % 2));
            CHECK_EQ(d.offset.value, next[i % 2]++);
        }
        CHECK(!p->ready());
    }
    CHECK(all_gone());
}

TEST(producer_tells_what_was_not_and_goes_at_once)
{
    mock broker;
    {
        auto h = std::move(hub::make().value());
        auto lost = std::move(
            h->open_producer({{"bootstrap.servers", "127.0.0.1:1"}, {"message.timeout.ms", "300"}})
                .value());
        REQUIRE(lost->send({.number = 1, .topic = "t", .value = bytes("x", 1)}).ok());
        auto told = take_all(*lost, 1);
        REQUIRE(told.size() == 1 && told[0].trouble);
        CHECK_EQ(told[0].number, 1u);
        CHECK_EQ(told[0].trouble->kind, fault_kind::broker_unreachable);

        auto tight = std::move(h->open_producer({{"bootstrap.servers", broker.address()},
                                                 {"message.max.bytes", "1000"},
                                                 {"queue.buffering.max.messages", "1"},
                                                 {"linger.ms", "20000"}})
                                   .value());
        const std::string large(2000, 'x');
        auto refused = tight->send({.topic = "t", .value = bytes(std::string_view(large))});
        REQUIRE(!refused.ok());
        CHECK(refused.error().detail.find("large") != std::string::npos);
        CHECK(tight->send({.topic = "t", .value = bytes("x", 1)}).value());
        CHECK(!tight->send({.topic = "t", .value = bytes("x", 1)}).value()); // full

        CHECK(!h->open_producer({{"bootstrap.servers", "x"}, {"linger.ms", "soon"}}).ok());
        const auto began = std::chrono::steady_clock::now();
        tight.reset();
        lost.reset();
        h.reset();
        CHECK(std::chrono::steady_clock::now() - began < 1s);
    }
    CHECK(all_gone());
}
