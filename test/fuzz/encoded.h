// Values to bytes and back again; see encoded.cpp.
#pragma once

#include <string_view>

namespace ke::fuzz {

// A row, made of the fuzzer's bytes: encoded in each format, and decoded.
void encode_and_decode(std::string_view input);

} // namespace ke::fuzz
