// A look at bytes that somebody else owns. Absent (a null payload, a null header) and empty differ.
#pragma once

#include <cstddef>
#include <string_view>

namespace ke {

struct bytes {
    const char* data = nullptr; // null pointer: absent
    std::size_t size = 0;

    constexpr bytes() = default;
    constexpr bytes(const char* d, std::size_t n) : data(d), size(n) {}
    constexpr explicit bytes(std::string_view v) : data(v.data()), size(v.size()) {}

    constexpr bool absent() const { return data == nullptr; }
    constexpr std::string_view view() const { return {data, size}; }
};

} // namespace ke
