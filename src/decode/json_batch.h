// Payloads parsed many at once: simdjson's first pass over a record of a hundred bytes costs more than
// over a hundred records that lie side by side. They are laid out as one array, [a,b,c], and an element
// is a record if it begins and ends where the record's payload does; whatever else it may be, it is for
// a parse of that payload alone to say.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include <simdjson.h>

#include "base/bytes.h"

namespace ke::decode {

class json_batch {
  public:
    json_batch();

    // The payloads that come. Those that are no objects, or long, are left out.
    void expect(std::span<const bytes> payloads);

    // The object of the payload, to be walked to its end, and its text in our buffer; null: not here.
    // Payloads before it that were not asked for are passed over.
    simdjson::ondemand::value* next(bytes payload, std::string_view& text);

    // After the walk: whether it ended with the payload.
    bool ended();

    // The walk failed, or did not: from here on every payload is parsed alone.
    void give_up() { running_ = false; }

  private:
    static constexpr std::size_t most_bytes = 256 * 1024; // in the buffer
    static constexpr std::size_t longest = 16 * 1024;     // of a payload

    struct place {
        bytes payload;
        std::size_t start, size; // in the buffer; size 0: not in it
    };

    bool open();

    simdjson::ondemand::parser parser_;
    simdjson::ondemand::document document_;
    simdjson::simdjson_result<simdjson::ondemand::array_iterator> at_, end_;
    simdjson::ondemand::value value_;
    std::vector<place> places_; // the first of them, and more room
    std::size_t count_ = 0, next_ = 0;
    std::unique_ptr<char[]> buffer_;
    std::size_t size_ = 0;
    bool opened_ = false;
    bool running_ = false;
};

} // namespace ke::decode
