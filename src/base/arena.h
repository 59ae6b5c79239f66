// Bump allocator for one chunk of records: nothing is freed alone, reset() keeps the blocks for the
// next chunk. One thread at a time; who holds the chunk holds its arena.
#pragma once

#include <cstddef>
#include <cstdint>
#include <cstring>
#include <memory>
#include <string_view>
#include <vector>

namespace ke {

class arena {
  public:
    static constexpr std::size_t alignment = 8; // the server's MAXALIGN
    static constexpr std::size_t block_size = 64 * 1024;

    // n bytes, aligned to 8, uninitialised. Throws std::bad_alloc; callers on a message's path are
    // below one catch in the lane.
    char* take(std::size_t n)
    {
        n = (n + alignment - 1) & ~(alignment - 1);
        if (n > left_)
            grow(n);
        char* p = at_;
        at_ += n;
        left_ -= n;
        used_ += n;
        return p;
    }

    // n bytes to write into, of which the next take() keeps what it asks for.
    char* room(std::size_t n)
    {
        if (n > left_)
            grow(n);
        return at_;
    }

    std::string_view copy(std::string_view s)
    {
        char* p = take(s.size() + 1);
        if (!s.empty())
            std::memcpy(p, s.data(), s.size());
        p[s.size()] = '\0';
        return {p, s.size()};
    }

    std::size_t used() const { return used_; }

    // How much more may be taken, to a block; take() and room() throw too_much behind it.
    struct too_much {};
    void allow(std::size_t more) { most_ = more < SIZE_MAX - used_ ? used_ + more : SIZE_MAX; }

    // Forget everything taken. Blocks beyond keep bytes go back to the heap.
    void reset(std::size_t keep = 6 * block_size)
    {
        std::size_t kept = 0;
        std::size_t n = 0;
        while (n < blocks_.size() && kept + blocks_[n].size <= keep)
            kept += blocks_[n++].size;
        blocks_.resize(n);
        next_ = 0;
        at_ = nullptr;
        left_ = 0;
        used_ = 0;
        most_ = SIZE_MAX;
    }

  private:
    struct block {
        std::unique_ptr<char[]> memory;
        std::size_t size;
    };

    void grow(std::size_t n)
    {
        if (used_ > most_ || n > most_ - used_)
            throw too_much();
        while (next_ < blocks_.size()) {
            block& b = blocks_[next_++];
            if (b.size >= n) {
                at_ = b.memory.get();
                left_ = b.size;
                return;
            }
        }
        std::size_t size = n > block_size ? n : block_size;
        blocks_.push_back({std::unique_ptr<char[]>(new char[size]), size});
        next_ = blocks_.size();
        at_ = blocks_.back().memory.get();
        left_ = size;
    }

    std::vector<block> blocks_;
    std::size_t next_ = 0; // first block not yet handed out
    char* at_ = nullptr;
    std::size_t left_ = 0;
    std::size_t used_ = 0;
    std::size_t most_ = SIZE_MAX;
};

} // namespace ke
