// Random inputs for the oracle: mostly what a type takes, often nearly so, sometimes garbage.
#pragma once

#include <cstdint>
#include <random>
#include <string>
#include <string_view>

namespace ke::oracle {

using random_source = std::mt19937_64;

// What an input is made to look like.
enum class look : std::uint8_t {
    boolean,
    integer,
    decimal, // numeric
    floating,
    words, // text types
    date,
    time,
    timestamp,
    uuid,
    json_number,
    json_document,
};

// UTF-8 without NULs.
std::string make_input(look kind, random_source& random);

} // namespace ke::oracle
