// Avro's bytes, read as a schema says. Never reads past the end, never believes a count: what takes
// no bytes is bounded by a budget (records within records may make many of nothing). A false or null
// result: error() says what is wrong.
#pragma once

#include <string>
#include <string_view>
#include <utility>

#include "decode/avro_schema.h"
#include "decode/typed_values.h"

namespace ke::decode {

class avro_reader {
  public:
    static constexpr int most_depth = 200;

    void open(std::string_view in)
    {
        in_ = in;
        at_ = 0;
        // Values may take no bytes at all (nulls, records of them): their number is bounded otherwise.
        budget_ = in.size() + 65536;
    }
    // Another part of the same payload, on the same budget and what its own bytes add to it.
    void go_on(std::string_view in)
    {
        in_ = in;
        at_ = 0;
        budget_ += in.size();
    }
    bool at_end() const { return at_ == in_.size(); }
    std::size_t position() const { return at_; }
    std::size_t left() const { return in_.size() - at_; }
    // A place to come back to, to read the same again.
    struct place {
        std::size_t at;
        std::uint64_t budget;
    };
    place here() const { return {at_, budget_}; }
    void seek(place p)
    {
        at_ = p.at;
        budget_ = p.budget;
    }
    const char* error() const { return error_; }
    bool fail(const char* why)
    {
        error_ = why;
        return false;
    }

    // Where a reader's schema is given, it is counterpart()'s answer, or null: as written.

    // A value that is neither a record, an array, a map nor a union. What it points to holds until
    // the next one.
    bool scalar(const avro_type& type, item& it, const avro_type* reader = nullptr);
    // How a reader that expects `reader` knows a value that was written as type (no union); null: no
    // differently.
    static const avro_type* counterpart(const avro_type& type, const avro_type* reader);
    // The branch of a union that comes next, or null.
    const avro_type* branch(const avro_type& type);
    bool skip(const avro_type& type, int depth);
    // Appends the value as JSON; a union's is its branch's. False with an empty error(): text that
    // is no UTF-8, or a time beyond all calendars; values then has the problem.
    bool render(const avro_type& type, const avro_type* reader, int depth, typed_values& values,
                std::string& json);

    // The items of an array or map, block by block; item is called with the number of each.
    template <class F>
    bool items(const F& item)
    {
        for (std::int64_t n = 0;;) {
            std::int64_t count, size;
            if (!number(count))
                return false;
            if (count == 0)
                return true;
            if (count < 0) {
                if (count == INT64_MIN || !number(size))
                    return fail("A block has no valid size.");
                count = -count;
            }
            if (!spend(static_cast<std::uint64_t>(count)))
                return false;
            for (; count > 0; count--, n++)
                if (!item(n))
                    return false;
        }
    }
    // What does not stand in the payload but in a schema, read by read(); then the payload goes on.
    template <class F>
    bool aside(std::string_view in, const F& read)
    {
        const std::string_view payload = std::exchange(in_, in);
        const place before = here();
        at_ = 0;
        budget_ = in.size() + (1 << 20); // what a schema's defaults are bounded by
        const bool good = read();
        in_ = payload;
        seek(before);
        return good;
    }
    bool spend(std::uint64_t items);
    // A record that began there: one that took bytes is bounded by them, and costs nothing.
    void end_record(std::size_t began) { budget_ += at_ != began; }

    bool number(std::int64_t& n);
    bool take(std::uint64_t n, std::string_view& s);
    bool string(std::string_view& s);

  private:
    bool render_record(const avro_type& type, const avro_type* reader, int depth,
                       typed_values& values, std::string& json);
    bool symbol(const avro_type& type, item& it, const avro_type* reader);
    bool meaning(const avro_type& type, item& it);
    bool duration(item& it);

    std::string_view in_;
    std::size_t at_ = 0;
    std::uint64_t budget_ = 0; // items of arrays and maps, values of no bytes that may still come
    std::string number_;       // a value written out
    const char* error_ = "";
};

// What is wrong where the reader's schema has a field that was not written, and no default for it.
std::string unwritten_field(std::string_view name);

// The reader's field for a field as written: of that name, or with that alias; null: none.
const avro_field* reader_field(const avro_type& reader, std::string_view written);

} // namespace ke::decode
