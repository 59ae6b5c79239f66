// Feeds on a mock broker: every record once and in order, ends, back-pressure, conflicts, faults.
#include <map>

#include "mock.h"

using namespace ke;
using namespace ke::ingest;
using namespace ke::test;

namespace {

std::shared_ptr<decode::row_plan> raw_plan()
{
    auto plan = std::make_shared<decode::row_plan>();
    plan->format = "raw";
    decode::column c;
    c.name = "payload";
    c.type.type = decode::cell_type::bytea;
    c.whole_document = true;
    plan->columns.push_back(c);
    plan->payload_columns = 1;
    plan->payload_needed = true;
    return plan;
}

feed_spec whole(const std::string& topic, int partitions, std::int64_t end)
{
    feed_spec spec;
    spec.topics = {topic};
    spec.plan = raw_plan();
    for (int p = 0; p < partitions; ++p)
        spec.partitions.push_back(
            {topic_number(0), partition_id(p), message_offset(0), message_offset(end)});
    return spec;
}

std::string payload(const chunk& c, std::uint32_t row)
{
    const char* p = reinterpret_cast<const char*>(c.rows.cells(row)[0]);
    std::uint32_t header;
    std::memcpy(&header, p, 4);
    return {p + 4, (header >> 2) - 4};
}

// What a reader has seen, and whether it came as promised.
struct seen {
    std::map<int, std::int64_t> next; // by partition
    std::map<int, std::vector<std::string>> values;
    std::vector<fault> faults;
    std::size_t chunks = 0;

    void take(const chunk& c)
    {
        ++chunks;
        for (const auto& m : c.rows.messages) {
            auto& expected = next[m.partition.value];
            CHECK(m.offset.value >= expected);
            expected = m.offset.value + 1;
            for (std::uint32_t r = 0; r < m.row_count; ++r)
                values[m.partition.value].push_back(payload(c, m.first_row + r));
        }
        for (const auto& a : c.advances) {
            CHECK(a.next.value >= next[a.partition.value]);
            CHECK(a.first <= a.next);
            next[a.partition.value] = a.next.value;
        }
        faults.insert(faults.end(), c.faults.begin(), c.faults.end());
    }

    bool read(hub& h, feed& f, const std::function<bool()>& enough, int ms = 20000)
    {
        auto end = std::chrono::steady_clock::now() + std::chrono::milliseconds(ms);
        while (!enough()) {
            if (chunk* c = f.take()) {
                take(*c);
                f.give_back(c);
                continue;
            }
            h.bell().doze();
            if (!f.ready() && !enough())
                h.bell().wait(50);
            h.bell().wake();
            if (std::chrono::steady_clock::now() > end)
                return false;
        }
        return true;
    }
    bool read_all(hub& h, feed& f, int ms = 20000)
    {
        return read(
            h, f, [&] { return f.exhausted(); }, ms);
    }
};

struct setting {
    mock broker;
    std::unique_ptr<hub> h = std::move(hub::make().value());
    client_handle* c = h->client({{"bootstrap.servers", broker.address()}}).value();
};

} // namespace

TEST(feed_reads_to_its_end)
{
    {
        setting s;
        s.broker.topic("t", 3);
        for (int i = 0; i < 3000; ++i)
            s.broker.produce("t", i % 3, "value " + std::to_string(i / 3));
        s.broker.flush();
        auto f = s.h->open_feed(s.c, whole("t", 3, 900));
        REQUIRE(f.ok());
        seen got;
        CHECK(got.read_all(*s.h, *f.value()));
        for (int p = 0; p < 3; ++p) {
            REQUIRE(got.values[p].size() == 900);
            CHECK_EQ(got.next[p], 900);
            for (int i = 0; i < 900; ++i)
                CHECK_EQ(got.values[p][i], "value " + std::to_string(i));
        }
        CHECK(got.faults.empty());
        CHECK(f.value()->exhausted());
    }
    CHECK(all_gone());
}

TEST(feed_of_empty_ranges_is_exhausted)
{
    {
        setting s;
        s.broker.topic("t", 2);
        auto spec = whole("t", 2, 0);
        auto f = s.h->open_feed(s.c, spec);
        REQUIRE(f.ok());
        seen got;
        CHECK(got.read_all(*s.h, *f.value()));
        CHECK_EQ(got.chunks, std::size_t{0});
    }
    CHECK(all_gone());
}

TEST(questions_are_answered)
{
    {
        setting s;
        s.broker.topic("orders", 4);
        for (int i = 0; i < 10; ++i)
            s.broker.produce("orders", 2, "x");
        s.broker.flush();
        using namespace std::chrono_literals;
        auto asked = s.h->ask_layout(s.c, {"orders", "ordres"}, 5s);
        auto l = answer(*s.h, asked);
        REQUIRE(l.ok());
        REQUIRE(l.value().topics.size() == 2);
        CHECK_EQ(l.value().topics[0].partitions.size(), std::size_t{4});
        auto w = s.h->ask_watermarks(
            s.c,
            {{"orders", partition_id(2)}, {"orders", partition_id(9)}, {"orders", partition_id(0)}},
            5s);
        auto marks = answer(*s.h, w);
        REQUIRE(marks.ok());
        CHECK_EQ(marks.value()[0].low.value, 0);
        CHECK_EQ(marks.value()[0].high.value, 10);
        CHECK(marks.value()[1].error.has_value());
        CHECK_EQ(marks.value()[2].high.value, 0);
        auto b = s.h->ask_brokers(s.c, 5s);
        auto report = answer(*s.h, b);
        REQUIRE(report.ok());
        CHECK_EQ(report.value().brokers.size(), std::size_t{1});
    }
    CHECK(all_gone());
}

// Rounds of many askers at once: each is told of its own topics, in its own order.
TEST(layouts_asked_at_once_keep_apart)
{
    {
        setting s;
        for (int i = 1; i <= 4; ++i)
            s.broker.topic("t" + std::to_string(i), i);
        using namespace std::chrono_literals;
        std::vector<std::pair<std::vector<int>, ticket<layout>>> asked;
        for (int i = 0; i < 100; ++i) {
            std::vector<int> of{1 + i % 4, 1 + (i * 7 + 2) % 4};
            if (i % 3 == 0)
                of.pop_back();
            std::vector<std::string> names;
            for (int n : of)
                names.push_back("t" + std::to_string(n));
            asked.emplace_back(of, s.h->ask_layout(s.c, names, 5s));
        }
        for (auto& [of, t] : asked) {
            auto l = answer(*s.h, t);
            REQUIRE(l.ok());
            REQUIRE(l.value().topics.size() == of.size());
            for (std::size_t i = 0; i < of.size(); ++i) {
                CHECK_EQ(l.value().topics[i].topic, "t" + std::to_string(of[i]));
                CHECK_EQ(l.value().topics[i].partitions.size(), static_cast<std::size_t>(of[i]));
            }
        }
    }
    CHECK(all_gone());
}

TEST(feed_follows_a_log_and_tells_its_end)
{
    {
        setting s;
        s.broker.topic("t", 2);
        s.broker.produce("t", 0, "a");
        s.broker.flush();
        auto f = s.h->open_feed(s.c, whole("t", 2, -1));
        REQUIRE(f.ok());
        seen got;
        CHECK(got.read(*s.h, *f.value(), [&] { return f.value()->at_end(); }));
        CHECK_EQ(got.values[0].size(), std::size_t{1});
        CHECK(!f.value()->exhausted());
        for (int i = 0; i < 5; ++i) {
            s.broker.produce("t", 1, "b" + std::to_string(i));
            s.broker.flush();
            CHECK(got.read(*s.h, *f.value(), [&] { return got.next[1] == i + 1; }));
        }
        CHECK(got.read(*s.h, *f.value(), [&] { return f.value()->at_end(); }));
    }
    CHECK(all_gone());
}

TEST(feed_starts_and_ends_inside_a_compressed_batch)
{
    {
        setting s;
        s.broker.topic("t", 1);
        for (int i = 0; i < 100; ++i)
            s.broker.produce("t", 0, std::to_string(i));
        s.broker.flush();
        auto spec = whole("t", 1, 60);
        spec.partitions[0].next = message_offset(37);
        auto f = s.h->open_feed(s.c, spec);
        REQUIRE(f.ok());
        seen got;
        CHECK(got.read_all(*s.h, *f.value()));
        REQUIRE(got.values[0].size() == 23);
        CHECK_EQ(got.values[0][0], "37");
        CHECK_EQ(got.values[0][22], "59");
    }
    CHECK(all_gone());
}

TEST(feed_beyond_the_log_is_a_gap)
{
    {
        setting s;
        s.broker.topic("t", 2);
        s.broker.produce("t", 0, "a");
        s.broker.produce("t", 1, "b");
        s.broker.flush();
        auto spec = whole("t", 2, -1);
        spec.partitions[0].next = message_offset(50);
        auto f = s.h->open_feed(s.c, spec);
        REQUIRE(f.ok());
        seen got;
        CHECK(got.read(*s.h, *f.value(),
                       [&] { return !got.faults.empty() && !got.values[1].empty(); }));
        REQUIRE(got.faults.size() == 1);
        CHECK_EQ(got.faults[0].kind, fault_kind::offset_out_of_range);
        CHECK_EQ(got.faults[0].topic, "t");
        CHECK_EQ(got.faults[0].partition, 0);
        CHECK(got.values[0].empty());
    }
    CHECK(all_gone());
}

TEST(feed_ring_holds_back_its_own_feed_only)
{
    {
        setting s;
        s.broker.topic("big", 1);
        s.broker.topic("small", 1);
        std::string block(1000, 'x');
        for (int i = 0; i < 5000; ++i)
            s.broker.produce("big", 0, block);
        for (int i = 0; i < 100; ++i)
            s.broker.produce("small", 0, "y");
        s.broker.flush();
        auto spec = whole("big", 1, 5000);
        spec.ring_bytes = 100'000;
        spec.chunk_bytes = 20'000;
        auto full = s.h->open_feed(s.c, spec);
        REQUIRE(full.ok());
        CHECK(eventually([&] { return full.value()->ready(); }));
        std::this_thread::sleep_for(std::chrono::milliseconds(200)); // its ring is full by now
        auto other = s.h->open_feed(s.c, whole("small", 1, 100));
        REQUIRE(other.ok());
        seen small;
        CHECK(small.read_all(*s.h, *other.value(), 3000));
        CHECK_EQ(small.values[0].size(), std::size_t{100});
        seen big;
        CHECK(big.read_all(*s.h, *full.value()));
        CHECK_EQ(big.values[0].size(), std::size_t{5000});
    }
    CHECK(all_gone());
}

TEST(feeds_of_one_partition_are_independent)
{
    {
        setting s;
        s.broker.topic("t", 2);
        for (int i = 0; i < 2000; ++i)
            s.broker.produce("t", i % 2, std::to_string(i));
        s.broker.flush();
        auto one = s.h->open_feed(s.c, whole("t", 2, 1000));
        auto two = s.h->open_feed(s.c, whole("t", 2, 1000));
        REQUIRE(one.ok() && two.ok());
        seen a, b;
        CHECK(a.read_all(*s.h, *one.value()));
        CHECK(b.read_all(*s.h, *two.value()));
        CHECK_EQ(a.values[0].size() + a.values[1].size(), std::size_t{2000});
        CHECK_EQ(b.values[0].size() + b.values[1].size(), std::size_t{2000});
        // The same partitions again at once, many times over, on the same handle.
        for (int i = 0; i < 20; ++i) {
            one.value().reset();
            one = s.h->open_feed(s.c, whole("t", 2, 1000));
            REQUIRE(one.ok());
            seen again;
            if (i % 2 == 0) {
                CHECK(again.read_all(*s.h, *one.value()));
                CHECK_EQ(again.values[0].size(), std::size_t{1000});
            }
        }
    }
    CHECK(all_gone());
}

TEST(feed_with_lanes_reads_all)
{
    {
        setting s;
        s.broker.topic("t", 5);
        for (int i = 0; i < 5000; ++i)
            s.broker.produce("t", i % 5, std::to_string(i / 5));
        s.broker.flush();
        auto spec = whole("t", 5, 1000);
        spec.lanes = 2;
        spec.ring_bytes = 20'000;
        auto f = s.h->open_feed(s.c, spec);
        REQUIRE(f.ok());
        seen got;
        CHECK(got.read_all(*s.h, *f.value()));
        for (int p = 0; p < 5; ++p)
            CHECK_EQ(got.values[p].size(), std::size_t{1000});
    }
    CHECK(all_gone());
}

TEST(feed_outlives_its_hub)
{
    {
        setting s;
        s.broker.topic("t", 1);
        s.broker.produce("t", 0, "a");
        s.broker.flush();
        auto f = s.h->open_feed(s.c, whole("t", 1, -1));
        REQUIRE(f.ok());
        REQUIRE(eventually([&] { return f.value()->ready(); }));
        s.h.reset();
        std::this_thread::sleep_for(std::chrono::milliseconds(50));
        chunk* c = f.value()->take();
        REQUIRE(c != nullptr);
        CHECK_EQ(payload(*c, 0), "a");
        f.value()->give_back(c);
        CHECK(f.value()->take() == nullptr);
        CHECK(!f.value()->exhausted());
    }
    CHECK(all_gone());
}
