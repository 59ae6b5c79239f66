// Codecs that the blocks of Avro's object containers are packed by. Each has its library, which may be
// missing at build time: then the codec is known, and refused. The only place that includes them.
#pragma once

#include <cstddef>
#include <string_view>
#include <vector>

namespace ke::decode {

// Where a block is unpacked to: never more than most bytes, whatever the block claims.
class unpacked {
  public:
    // Forgets what is there; the memory stays for the next.
    void begin(std::size_t most)
    {
        used_ = 0;
        most_ = most;
    }
    void release() { std::vector<char>().swap(bytes_); }

    // Room to write into: hint bytes or a part of them, none where the bound is reached.
    struct part {
        char* data;
        std::size_t size;
    };
    part room(std::size_t hint);
    void took(std::size_t n) { used_ += n; }

    std::size_t left() const { return most_ - used_; }
    std::string_view view() const { return {bytes_.data(), used_}; }
    std::size_t memory() const { return bytes_.size(); }

  private:
    std::vector<char> bytes_;
    std::size_t used_ = 0, most_ = 0;
};

struct codec {
    std::string_view name;
    // Null, or a sentence that says what is wrong. No function: the library was missing.
    const char* (*unpack)(std::string_view block, unpacked& out);
};

// Null: nobody knows it.
const codec* find_codec(std::string_view name);

} // namespace ke::decode
