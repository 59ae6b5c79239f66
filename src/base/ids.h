// The numbers that must not be mixed up. Each is a type of its own; none converts into another.
#pragma once

#include <compare>
#include <cstdint>

namespace ke {

template <class Tag, class Rep>
struct strong {
    Rep value{};
    constexpr strong() = default;
    constexpr explicit strong(Rep v) : value(v) {}
    friend constexpr auto operator<=>(strong, strong) = default;
};

// Partition of a topic: 0 and up.
using partition_id = strong<struct partition_tag, std::int32_t>;

// Offset of a record in its partition: 0 and up. A position is the *next* offset to read.
using message_offset = strong<struct offset_tag, std::int64_t>;

// Where in a feed's list of topics a record's topic stands.
using topic_number = strong<struct topic_tag, std::uint16_t>;

// "No end": a feed that reads for ever.
inline constexpr message_offset no_offset{-1};

} // namespace ke
