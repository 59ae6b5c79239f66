// base/intervals: sets of integers, against std::set on a small domain.
#include "check.h"

#include <random>
#include <set>

#include "base/intervals.h"
#include "base/no_backend.h"

using namespace ke;

namespace {

constexpr std::int64_t lowest = interval_set::lowest;
constexpr std::int64_t highest = interval_set::highest;

std::set<int> members(const interval_set& s)
{
    std::set<int> m;
    for (int i = -12; i <= 12; i++)
        if (s.contains(i))
            m.insert(i);
    return m;
}

interval_set random_set(std::mt19937& r)
{
    std::vector<interval> parts;
    for (unsigned n = r() % 4; n > 0; n--) {
        std::int64_t first = r() % 10 == 0 ? lowest : static_cast<int>(r() % 21) - 10;
        std::int64_t last = r() % 10 == 0 ? highest : static_cast<int>(r() % 21) - 10;
        parts.push_back({first, last});
    }
    return interval_set::of(parts);
}

bool well_formed(const interval_set& s)
{
    for (std::size_t i = 0; i < s.parts().size(); i++) {
        if (s.parts()[i].first > s.parts()[i].last)
            return false;
        if (i > 0 && s.parts()[i - 1].last + 1 >= s.parts()[i].first)
            return false;
    }
    return true;
}

} // namespace

TEST(interval_sets_are_sets)
{
    std::mt19937 r(1);
    for (int i = 0; i < 5000; i++) {
        const interval_set a = random_set(r), b = random_set(r);
        const interval_set both = a & b, either = a | b, other = a.complement();
        CHECK(well_formed(a) && well_formed(both) && well_formed(either) && well_formed(other));
        for (int v = -12; v <= 12; v++) {
            CHECK_EQ(both.contains(v), a.contains(v) && b.contains(v));
            CHECK_EQ(either.contains(v), a.contains(v) || b.contains(v));
            CHECK_EQ(other.contains(v), !a.contains(v));
        }
        CHECK(other.complement() == a);
    }
}

TEST(interval_sets_reach_the_ends_of_the_numbers)
{
    CHECK(interval_set::everything().complement().empty());
    CHECK(interval_set{}.complement().is_everything());
    CHECK(interval_set::of(lowest, 5).complement() == interval_set::of(6, highest));
    CHECK(interval_set::of(highest, highest).contains(highest));
    CHECK(interval_set::of(3, 2).empty());
    CHECK(interval_set::of({{highest, highest}, {lowest, lowest}}).parts().size() == 2);
    CHECK((interval_set::of(lowest, 0) | interval_set::of(1, highest)).is_everything());
}

TEST(bridged_intervals_are_wider_and_fewer)
{
    std::mt19937 r(2);
    for (int i = 0; i < 2000; i++) {
        const interval_set a = random_set(r), b = a.bridged(3);
        CHECK(well_formed(b));
        CHECK((a & b) == a);
        CHECK(b.parts().size() <= a.parts().size());
    }
    CHECK(interval_set::of({{1, 2}, {6, 7}}).bridged(3) == interval_set::of(1, 7));
    CHECK(interval_set::of({{1, 2}, {7, 8}}).bridged(3).parts().size() == 2);
    CHECK(interval_set::of({{lowest, lowest}, {highest, highest}}).bridged(1000).parts().size() ==
          2);
    CHECK(members(interval_set::of({{1, 2}, {4, 4}}).bridged(0)) == (std::set<int>{1, 2, 4}));
}
