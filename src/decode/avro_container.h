// An object container: its head, then block by block, unpacked where they are packed. One thread; what
// it gives points into the payload or into its own buffer, until the next block.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "decode/avro_reader.h"
#include "decode/codecs.h"

namespace ke::decode {

class avro_container {
  public:
    // All blocks of a payload together unpack to so much at most, or to so many times its own size.
    static constexpr std::size_t most_unpacked = 64 << 20, most_times = 16;
    // Data that takes no or few bytes may be packed without end; so many rows, and as many as the
    // payload has bytes.
    static constexpr std::int64_t most_rows = 4 << 20;

    // Reads the head.
    bool open(std::string_view payload);
    std::string_view schema() const { return schema_; }

    // The next block. False: there is none, or error() says what is wrong.
    bool next();
    std::string_view block() const { return codec_ ? buffer_.view() : packed_; }
    std::int64_t count() const { return count_; } // of its data

    // A sentence, or empty.
    std::string_view error() const { return error_; }

    // Does not keep much memory until the next payload.
    void close();

  private:
    bool fail(std::string why);
    bool head();
    bool unpack();

    avro_reader reader_;
    std::string_view schema_, mark_, packed_;
    const codec* codec_ = nullptr; // null: not packed
    unpacked buffer_;
    std::size_t left_ = 0; // bytes that blocks may still unpack to
    std::int64_t rows_left_ = 0, count_ = 0;
    std::string error_;
};

} // namespace ke::decode
