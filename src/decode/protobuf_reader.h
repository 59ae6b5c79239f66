// Protobuf's wire format: fields out of bytes, and values as JSON. Never reads past the end; nesting is
// bounded. A false result: error() says what is wrong; where it is empty, values has the problem.
//
// As the library does it: a field with another wire type than its declaration allows counts as unknown,
// of a singular field the last occurrence counts, those of a message are merged (which is what reading
// them one behind the other does), repeated numbers come packed or not.
#pragma once

#include <cstdint>
#include <string>
#include <string_view>

#include "decode/protobuf_schema.h"
#include "decode/typed_values.h"

namespace ke::decode {

// One field as it stands in the bytes: a number, or a stretch (of a group, what is inside it).
struct wire_field {
    std::int32_t number = 0;
    std::uint8_t type = 0; // 0 varint, 1 eight bytes, 2 a stretch, 3 a group, 5 four bytes
    std::uint64_t n = 0;
    std::string_view s;
};

class proto_reader {
  public:
    static constexpr int most_depth = 100;

    const char* error() const { return error_; }
    bool fail(const char* why)
    {
        error_ = why;
        return false;
    }

    // Takes the next field off in.
    bool next(std::string_view& in, wire_field& f, int depth = 0)
    {
        // Most are a stretch: a small field's number, a short length.
        if (in.size() >= 2) {
            const auto tag = static_cast<unsigned char>(in[0]);
            const auto size = static_cast<unsigned char>(in[1]);
            if (tag >= 8 && tag < 0x80 && (tag & 7) == 2 && size < 0x80 && size <= in.size() - 2) {
                f.number = tag >> 3;
                f.type = 2;
                f.s = {in.data() + 2, size};
                in.remove_prefix(std::size_t{size} + 2);
                return true;
            }
        }
        return any_next(in, f, depth);
    }
    static bool varint(std::string_view& in, std::uint64_t& n)
    {
        if (in.empty() || static_cast<unsigned char>(in.front()) >= 0x80)
            return long_varint(in, n);
        n = static_cast<unsigned char>(in.front());
        in.remove_prefix(1);
        return true;
    }

    // Whether a field may come so; of repeated numbers packed ones not counted.
    static bool fits(const proto_field& f, const wire_field& w);
    static bool is_packed(const proto_field& f, const wire_field& w);

    // The scalar value of a field that fits. it.has_raw: an enum's number, whose name is it.s.
    static void scalar(const proto_field& f, const wire_field& w, item& it);
    static void default_of(const proto_field& f, item& it);

    // Calls each(wire_field) for all occurrences of one field, packed ones one by one.
    template <class F>
    bool each(std::string_view in, const proto_field& f, const F& call)
    {
        wire_field w;
        while (!in.empty()) {
            if (!next(in, w))
                return false;
            if (w.number != f.number)
                continue;
            if (fits(f, w)) {
                if (!call(w))
                    return false;
            } else if (is_packed(f, w)) {
                std::string_view all = w.s;
                while (!all.empty()) {
                    if (!unpack(all, f, w))
                        return false;
                    if (!call(w))
                        return false;
                }
            }
        }
        return true;
    }

    // The one value of a message's field that holds: the last occurrence of a scalar, of a message all
    // of them in one stretch (in buffer where they are several). found: whether there is one.
    bool last_of(std::string_view in, const proto_message& type, const proto_field& f,
                 wire_field& w, bool& found, std::string& buffer);

    // A message of google.protobuf that is a scalar: time, duration, wrapped value. False with an empty
    // error(): it is none of these, or holds an enum nobody knows.
    static bool is_scalar(const proto_message& type)
    {
        return type.meaning == proto_meaning::timestamp ||
               type.meaning == proto_meaning::duration || type.meaning == proto_meaning::wrapper;
    }
    bool scalar_message(const proto_message& type, std::string_view in, item& it);

    // Appends as JSON.
    bool render(const proto_schema& of, const proto_message& type, std::string_view in, int depth,
                typed_values& values, std::string& json);
    bool render_repeated(const proto_schema& of, std::string_view in, const proto_field& f,
                         int depth, typed_values& values, std::string& json);

  private:
    bool any_next(std::string_view& in, wire_field& f, int depth);
    static bool long_varint(std::string_view& in, std::uint64_t& n);
    bool unpack(std::string_view& in, const proto_field& f, wire_field& w);
    bool fields(const proto_schema& of, const proto_message& type, std::string_view in, int depth,
                typed_values& values, std::string& json, bool& first);
    bool element(const proto_schema& of, const proto_field& f, const wire_field& w, int depth,
                 typed_values& values, std::string& json);
    bool any(const proto_schema& of, const proto_message& type, std::string_view in, int depth,
             typed_values& values, std::string& json);
    bool dynamic(const proto_schema& of, const proto_message& type, std::string_view in, int depth,
                 typed_values& values, std::string& json);

    const char* error_ = "";
    std::string text_; // of a duration
};

} // namespace ke::decode
