// base/: words and tools.
#include "check.h"

#include <chrono>
#include <thread>

#include "base/arena.h"
#include "base/bytes.h"
#include "base/doorbell.h"
#include "base/ids.h"
#include "base/result.h"
#include "base/no_backend.h"

using namespace ke;

static_assert(!std::is_convertible_v<int, partition_id>);
static_assert(!std::is_convertible_v<partition_id, message_offset>);

TEST(arena_aligns_and_keeps_what_it_gave)
{
    arena a;
    char* first = a.take(3);
    first[0] = 'x';
    for (int i = 0; i < 1000; i++)
        CHECK_EQ(reinterpret_cast<std::uintptr_t>(a.take(i)) % arena::alignment, 0u);
    CHECK_EQ(first[0], 'x');
    CHECK_EQ(a.copy("word"), std::string_view("word"));
}

TEST(arena_takes_more_than_a_block)
{
    arena a;
    char* p = a.take(arena::block_size * 3);
    p[0] = p[arena::block_size * 3 - 1] = 1;
    a.reset(0);
    CHECK_EQ(a.used(), 0u);
    a.take(8)[7] = 1;
}

TEST(absent_and_empty_bytes_differ)
{
    CHECK(bytes().absent());
    CHECK(!bytes("", 0).absent());
}

TEST(result_is_a_value_or_a_fault)
{
    result<int> good(7);
    result<int> bad(fault{fault_kind::bad_record, "no", "", "", "", -1});
    REQUIRE(good.ok() && !bad.ok());
    CHECK_EQ(good.value(), 7);
    CHECK_EQ(bad.error().message, "no");
}

TEST(doorbell_loses_no_ring)
{
    doorbell bell;
    std::atomic<int> made{0};
    constexpr int n = 20000;
    std::thread ringer([&] {
        for (int i = 0; i < n; i++) {
            made.fetch_add(1);
            bell.ring();
        }
    });
    int seen = 0;
    while (seen < n) {
        bell.doze();
        const int now = made.load();
        if (now != seen) {
            seen = now;
            bell.wake();
            continue;
        }
        // The bell may ring for what was seen before it rang; one that is missed takes all the time.
        const auto began = std::chrono::steady_clock::now();
        bell.wait(10000);
        bell.wake();
        const bool missed = std::chrono::steady_clock::now() - began > std::chrono::seconds(9);
        CHECK(!missed);
        if (missed)
            break;
    }
    ringer.join();
    CHECK_EQ(seen, n);
}
