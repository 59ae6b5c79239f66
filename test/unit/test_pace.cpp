// stream/pace: how a view that held up others comes back.
#include "check.h"

#include "stream/pace.h"

#include "base/no_backend.h"

using ke::stream::pace;
using ms = pace::duration;

namespace {

constexpr ms limit{1000};
constexpr std::int64_t most = 1000;

// Batches as large as it may have, each record taking so long; until it is a view like others, or n of them.
int batches_until_whole(pace& p, ms fixed, std::chrono::microseconds each, int n)
{
    for (int i = 1; i <= n; i++) {
        const std::int64_t records = p.rows(most);
        const ms took = fixed + std::chrono::ceil<ms>(records * each);
        if (took > p.allowed(limit))
            p.cut_off(records / 2);
        else
            p.stored(records, took, limit, most);
        if (!p.slow())
            return i;
    }
    return 0;
}

} // namespace

TEST(pace_of_a_view_that_was_never_cut_off)
{
    pace p;
    CHECK(!p.slow());
    CHECK_EQ(p.rows(most), most);
    p.stored(10, ms(900), limit, most);
    CHECK(!p.slow());
}

TEST(pace_with_a_quarter_of_what_came)
{
    pace p;
    p.cut_off(400);
    CHECK(p.slow());
    CHECK_EQ(p.rows(most), 100);
    CHECK(p.allowed(limit) == limit);
    p.cut_off(100);
    CHECK_EQ(p.rows(most), 25);
    CHECK(p.allowed(limit) == 2 * limit);
    for (int i = 0; i < 10; i++)
        p.cut_off(0);
    CHECK_EQ(p.rows(most), 1);
    CHECK(p.allowed(limit) == 8 * limit);
}

TEST(pace_back_after_one_stall)
{
    pace p;
    p.cut_off(0);
    CHECK(batches_until_whole(p, ms(0), std::chrono::microseconds(10), 20) > 0);
    CHECK_EQ(p.rows(most), most);
}

TEST(pace_by_lone_records_too)
{
    pace p;
    p.cut_off(4);
    for (int i = 0; i < 3000 && p.slow(); i++)
        p.stored(1, ms(0), limit, most);
    CHECK(!p.slow());
}

TEST(pace_of_a_view_that_has_much_to_do_first)
{
    pace p;
    p.cut_off(most);
    CHECK(batches_until_whole(p, ms(1400), std::chrono::microseconds(10), 40) > 0);
}

TEST(pace_stays_below_the_limit)
{
    pace p;
    p.cut_off(0);
    CHECK_EQ(batches_until_whole(p, ms(0), std::chrono::milliseconds(20), 100), 0);
    CHECK(p.rows(most) * 20 <= 1000);
    CHECK(p.rows(most) > 10);
}

TEST(pace_without_a_limit_is_forgotten)
{
    pace p;
    p.cut_off(0);
    p.stored(1, ms(5000), ms(0), most);
    CHECK(!p.slow());
}
