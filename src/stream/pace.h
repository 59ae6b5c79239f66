// How a view goes on that held up others (patience.h): with fewer records at a time, a quarter of those
// that it got through in its time; cut off again, with more time too, so that one that has to begin with
// a long look at a table gets there. While there is time left it gets more records, until it is a view like
// others. Plain values; worker's.
#pragma once

#include <algorithm>
#include <chrono>
#include <cstdint>

namespace ke::stream {

class pace {
  public:
    using duration = std::chrono::milliseconds;

    bool slow() const { return rows_ != 0; }
    // Records of a batch, of `most` that its options say.
    std::int64_t rows(std::int64_t most) const { return slow() ? std::min(rows_, most) : most; }
    duration allowed(duration limit) const { return limit * (1 << doublings_); }

    // Cut off, or too late, after so many of its records.
    void cut_off(std::int64_t came)
    {
        cut_at_ = std::chrono::steady_clock::now();
        if (slow())
            doublings_ = std::min(doublings_ + 1, most_doublings);
        rows_ = std::max<std::int64_t>(came / 4, 1);
        seen_ = 0;
        spent_ = {};
    }
    // Stored so many records in so much time. limit: 0: none.
    void stored(std::int64_t records, duration took, duration limit, std::int64_t most)
    {
        if (limit.count() == 0)
            *this = {};
        if (!slow())
            return;
        seen_ += records;
        spent_ += took;
        if (seen_ < rows_)
            return;
        // So many that it gets through if each of them took its part of the time.
        if (spent_ < allowed(limit) / 2)
            rows_ *= 2;
        else if (spent_ < allowed(limit) * 3 / 4)
            rows_ += std::max<std::int64_t>(rows_ / 4, 1);
        if (spent_ < limit / 2)
            doublings_ = 0;
        seen_ = 0;
        spent_ = {};
        if (rows_ >= most)
            *this = {};
    }

    // With nothing left to read batches are small: after so long it is a view like others.
    bool is_over(duration limit) const
    {
        return slow() && std::chrono::steady_clock::now() - cut_at_ > 12 * limit;
    }

  private:
    static constexpr int most_doublings = 3;

    std::int64_t rows_ = 0; // 0: not slow
    int doublings_ = 0;     // of its time
    std::int64_t seen_ = 0; // since the last step
    duration spent_{};
    std::chrono::steady_clock::time_point cut_at_{};
};

} // namespace ke::stream
