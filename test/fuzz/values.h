// Values for encoders, made of the fuzzer's bytes: of each type what the server would give of it.
#pragma once

#include <cstdint>
#include <deque>
#include <string>
#include <string_view>
#include <vector>

#include "decode/encoder.h"

namespace ke::fuzz {

class value_maker {
  public:
    explicit value_maker(std::string_view bytes) : in_(bytes) {}

    // Views in it hold while the maker lives. flat: arrays and composites as any text.
    decode::value make(const decode::type_desc& type, bool flat);
    // As its type's output function has it.
    decode::value written(const decode::value&);

  private:
    std::uint8_t byte(); // zero behind the end
    std::uint64_t bits(int bytes);
    std::string_view keep(std::string text);
    std::string text();
    std::string digits();
    void json(std::string& out, int depth);
    decode::value scalar(decode::cell_type type);
    decode::value array(const decode::type_desc& element);
    decode::value record(const decode::type_desc& type);

    std::string_view in_;
    std::deque<std::string> texts_;
    std::deque<std::vector<decode::value>> items_;
    std::deque<std::vector<std::string_view>> names_;
};

} // namespace ke::fuzz
