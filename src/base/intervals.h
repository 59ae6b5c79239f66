// Sets of 64-bit integers as sorted, disjoint intervals with both ends included: which offsets,
// partitions or times a condition leaves. Plain values, one thread at a time.
#pragma once

#include <algorithm>
#include <cstdint>
#include <limits>
#include <vector>

namespace ke {

struct interval {
    std::int64_t first;
    std::int64_t last; // included
    friend bool operator==(const interval&, const interval&) = default;
};

class interval_set {
  public:
    static constexpr std::int64_t lowest = std::numeric_limits<std::int64_t>::min();
    static constexpr std::int64_t highest = std::numeric_limits<std::int64_t>::max();

    interval_set() = default; // nothing
    static interval_set everything() { return of(lowest, highest); }
    // Nothing where first > last.
    static interval_set of(std::int64_t first, std::int64_t last)
    {
        interval_set s;
        if (first <= last)
            s.parts_.push_back({first, last});
        return s;
    }
    // In any order, overlapping or not; empty ones are dropped.
    static interval_set of(std::vector<interval> parts)
    {
        interval_set s;
        std::sort(parts.begin(), parts.end(),
                  [](const interval& a, const interval& b) { return a.first < b.first; });
        for (const interval& i : parts)
            s.append(i);
        return s;
    }

    bool empty() const { return parts_.empty(); }
    bool is_everything() const
    {
        return parts_.size() == 1 && parts_[0] == interval{lowest, highest};
    }
    const std::vector<interval>& parts() const { return parts_; }

    bool contains(std::int64_t v) const
    {
        auto after =
            std::upper_bound(parts_.begin(), parts_.end(), v,
                             [](std::int64_t x, const interval& i) { return x < i.first; });
        return after != parts_.begin() && std::prev(after)->last >= v;
    }

    // How many integers, as a double: for estimates.
    double count() const
    {
        double n = 0;
        for (const interval& i : parts_)
            n += static_cast<double>(i.last) - static_cast<double>(i.first) + 1;
        return n;
    }

    interval_set complement() const
    {
        interval_set s;
        std::int64_t from = lowest;
        for (const interval& i : parts_) {
            if (i.first > from)
                s.parts_.push_back({from, i.first - 1});
            if (i.last == highest)
                return s;
            from = i.last + 1;
        }
        s.parts_.push_back({from, highest});
        return s;
    }

    friend interval_set operator|(const interval_set& a, const interval_set& b)
    {
        std::vector<interval> all = a.parts_;
        all.insert(all.end(), b.parts_.begin(), b.parts_.end());
        return of(std::move(all));
    }

    friend interval_set operator&(const interval_set& a, const interval_set& b)
    {
        interval_set s;
        auto i = a.parts_.begin();
        auto j = b.parts_.begin();
        while (i != a.parts_.end() && j != b.parts_.end()) {
            interval common{std::max(i->first, j->first), std::min(i->last, j->last)};
            if (common.first <= common.last)
                s.parts_.push_back(common);
            if (i->last < j->last)
                ++i;
            else
                ++j;
        }
        return s;
    }

    // Intervals with at most gap integers between them made one: a superset with fewer parts.
    interval_set bridged(std::int64_t gap) const
    {
        interval_set s;
        for (const interval& i : parts_) {
            if (!s.parts_.empty() && distance(s.parts_.back().last, i.first) <= gap)
                s.parts_.back().last = i.last;
            else
                s.parts_.push_back(i);
        }
        return s;
    }

    friend bool operator==(const interval_set&, const interval_set&) = default;

  private:
    // Integers strictly between last and first; last < first.
    static std::int64_t distance(std::int64_t last, std::int64_t first)
    {
        std::uint64_t d = static_cast<std::uint64_t>(first) - static_cast<std::uint64_t>(last) - 1;
        return d > static_cast<std::uint64_t>(highest) ? highest : static_cast<std::int64_t>(d);
    }

    // i.first is not below the first of any part.
    void append(const interval& i)
    {
        if (i.first > i.last)
            return;
        if (!parts_.empty() && (parts_.back().last == highest || parts_.back().last + 1 >= i.first))
            parts_.back().last = std::max(parts_.back().last, i.last);
        else
            parts_.push_back(i);
    }

    std::vector<interval> parts_;
};

} // namespace ke
