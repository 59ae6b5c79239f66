#include "decode/protobuf_reader.h"

#include <algorithm>
#include <bit>
#include <cstdio>
#include <cstring>

#include "decode/json_values.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

using kind = item::kind;

// By kind, in the order of proto_kind.
constexpr std::uint8_t wire_types[] = {1, 5, 0, 0, 0, 0, 1, 5, 1, 5, 0, 0, 0, 0, 2, 2, 2, 3};

std::uint8_t wire_type_of(proto_kind k)
{
    return wire_types[static_cast<std::size_t>(k)];
}

std::int64_t unzigzag(std::uint64_t n)
{
    return static_cast<std::int64_t>(n >> 1 ^ (~(n & 1) + 1));
}

template <class T>
bool take(std::string_view& in, std::uint64_t& n)
{
    T value;
    if (in.size() < sizeof value)
        return false;
    std::memcpy(&value, in.data(), sizeof value);
    in.remove_prefix(sizeof value);
    n = value;
    return true;
}

void append_name(std::string& json, std::string_view name, bool& first)
{
    json += first ? "" : ", ";
    first = false;
    append_json_string(json, name);
    json += ": ";
}

} // namespace

// ------------------------------------------------------------------ bytes

bool proto_reader::long_varint(std::string_view& in, std::uint64_t& n)
{
    n = 0;
    const char* at = in.data();
    const char* const end = at + std::min<std::size_t>(in.size(), 10);
    for (unsigned shift = 0; at < end; shift += 7) {
        const auto b = static_cast<unsigned char>(*at++);
        n |= std::uint64_t{b & 0x7Fu} << shift;
        if (b < 0x80) {
            in.remove_prefix(static_cast<std::size_t>(at - in.data()));
            return true;
        }
    }
    return false;
}

bool proto_reader::any_next(std::string_view& in, wire_field& f, int depth)
{
    std::uint64_t tag, size;
    if (!varint(in, tag))
        return fail("The payload ends within a field, or a number has more than ten bytes.");
    if (tag > UINT32_MAX || tag >> 3 == 0)
        return fail("A field has no valid number.");
    f.number = static_cast<std::int32_t>(tag >> 3);
    f.type = tag & 7;
    switch (f.type) {
    case 0:
        return varint(in, f.n) || fail("The payload ends within a number, or it has more than ten "
                                       "bytes.");
    case 1:
        return take<std::uint64_t>(in, f.n) || fail("The payload ends within a number.");
    case 5:
        return take<std::uint32_t>(in, f.n) || fail("The payload ends within a number.");
    case 2:
        if (!varint(in, size) || size > in.size())
            return fail("The payload ends within a field.");
        f.s = in.substr(0, size);
        in.remove_prefix(size);
        return true;
    case 3: {
        if (depth > most_depth)
            return fail("The payload is nested too deep.");
        const std::string_view start = in;
        for (wire_field inner;;) {
            const char* const at = in.data();
            if (in.empty())
                return fail("The payload ends within a group.");
            std::string_view look = in;
            if (varint(look, tag) && (tag & 7) == 4) {
                if (tag >> 3 != static_cast<std::uint32_t>(f.number))
                    return fail("A group ends that has not begun.");
                f.s = start.substr(0, static_cast<std::size_t>(at - start.data()));
                in = look;
                return true;
            }
            if (!next(in, inner, depth + 1))
                return false;
        }
    }
    default:
        return fail("A field has no valid type.");
    }
}

bool proto_reader::fits(const proto_field& f, const wire_field& w)
{
    return w.type == wire_type_of(f.kind);
}

bool proto_reader::is_packed(const proto_field& f, const wire_field& w)
{
    const std::uint8_t own = wire_type_of(f.kind);
    return f.repeated && w.type == 2 && own != 2 && own != 3;
}

bool proto_reader::unpack(std::string_view& in, const proto_field& f, wire_field& w)
{
    const std::uint8_t type = wire_type_of(f.kind);
    const bool good = type == 0   ? varint(in, w.n)
                      : type == 1 ? take<std::uint64_t>(in, w.n)
                                  : take<std::uint32_t>(in, w.n);
    return good || fail("Packed numbers end within one.");
}

// ------------------------------------------------------------------ scalars

void proto_reader::scalar(const proto_field& f, const wire_field& w, item& it)
{
    it = item{};
    it.what = kind::integer;
    switch (f.kind) {
    case proto_kind::real8:
        it.what = kind::real8;
        it.f = std::bit_cast<double>(w.n);
        return;
    case proto_kind::real4:
        it.what = kind::real4;
        it.f = std::bit_cast<float>(static_cast<std::uint32_t>(w.n));
        return;
    case proto_kind::int64:
    case proto_kind::sfixed64:
        it.i = static_cast<std::int64_t>(w.n);
        return;
    case proto_kind::uint64:
    case proto_kind::fixed64:
        it.what = kind::unsigned_integer;
        it.i = static_cast<std::int64_t>(w.n);
        return;
    case proto_kind::int32:
    case proto_kind::sfixed32:
        it.i = static_cast<std::int32_t>(w.n);
        return;
    case proto_kind::uint32:
    case proto_kind::fixed32:
        it.i = static_cast<std::uint32_t>(w.n);
        return;
    case proto_kind::sint32:
        it.i = static_cast<std::int32_t>(unzigzag(static_cast<std::uint32_t>(w.n)));
        return;
    case proto_kind::sint64:
        it.i = unzigzag(w.n);
        return;
    case proto_kind::boolean:
        it.what = kind::boolean;
        it.i = w.n != 0;
        return;
    case proto_kind::enumeration: {
        it.i = static_cast<std::int32_t>(w.n);
        const auto at = f.enumeration->names.find(static_cast<std::int32_t>(it.i));
        if (at == f.enumeration->names.end())
            return; // a number without a name
        it.what = kind::text;
        it.has_raw = true;
        it.raw = it.i;
        it.s = at->second;
        return;
    }
    case proto_kind::text:
        it.what = kind::text;
        it.s = w.s;
        return;
    case proto_kind::bytes:
    case proto_kind::message:
    case proto_kind::group:
        it.what = kind::bytes;
        it.s = w.s;
        return;
    }
}

void proto_reader::default_of(const proto_field& f, item& it)
{
    wire_field w;
    w.n = f.default_bits;
    w.s = f.default_text;
    scalar(f, w, it);
}

bool proto_reader::last_of(std::string_view in, const proto_message& type, const proto_field& f,
                           wire_field& w, bool& found, std::string& buffer)
{
    wire_field now;
    std::size_t times = 0;
    found = false;
    while (!in.empty()) {
        if (!next(in, now))
            return false;
        if (now.number != f.number) {
            const proto_field* other = f.oneof >= 0 ? type.find(now.number) : nullptr;
            if (other && other->oneof == f.oneof && fits(*other, now))
                found = false; // another of the oneof
            continue;
        }
        const bool unknown =
            !fits(f, now) || (f.enumeration && f.enumeration->closed &&
                              !f.enumeration->names.contains(static_cast<std::int32_t>(now.n)));
        if (unknown)
            continue;
        times = found ? times + 1 : 1;
        if (times > 1 && f.message) {
            if (times == 2)
                buffer = w.s;
            buffer += now.s;
        }
        w = now;
        found = true;
    }
    if (found && times > 1 && f.message)
        w.s = buffer;
    return true;
}

bool proto_reader::scalar_message(const proto_message& type, std::string_view in, item& it)
{
    it = item{};
    wire_field w;
    if (type.meaning == proto_meaning::wrapper) {
        bool found;
        std::string none;
        const proto_field* f = type.find(1);
        if (!f || !last_of(in, type, *f, w, found, none))
            return f != nullptr ? false : fail("A wrapper has no value.");
        if (found)
            scalar(*f, w, it);
        else
            default_of(*f, it);
        return true;
    }
    std::int64_t part[2] = {0, 0}; // seconds, nanoseconds: the last of each counts
    const proto_field* const of[2] = {type.find(1), type.find(2)};
    if (!of[0] || !of[1])
        return fail("A time has no seconds.");
    while (!in.empty()) {
        if (!next(in, w))
            return false;
        const int i = w.number - 1;
        if ((i == 0 || i == 1) && fits(*of[i], w))
            part[i] = i == 0 ? static_cast<std::int64_t>(w.n) : static_cast<std::int32_t>(w.n);
    }
    constexpr std::int64_t most_seconds = 315576000000; // ten thousand years
    const bool time = type.meaning == proto_meaning::timestamp;
    const std::int64_t nanos = part[1];
    if (part[0] > most_seconds || part[0] < -most_seconds || nanos >= 1000000000 ||
        nanos <= -1000000000 || (time && nanos < 0))
        return fail(time ? "A timestamp is out of range." : "A duration is out of range.");
    const std::int64_t us = part[0] * 1000000 + (nanos - (nanos < 0 ? 999 : 0)) / 1000;
    if (time) {
        it.what = kind::timestamptz;
        it.i = us;
        return true;
    }
    // 1.5s, as its JSON has it, which an interval takes too.
    char text[40];
    const std::int64_t cut = part[0] * 1000000 + nanos / 1000;
    const std::uint64_t size =
        cut < 0 ? 0 - static_cast<std::uint64_t>(cut) : static_cast<std::uint64_t>(cut);
    std::snprintf(text, sizeof text, "%s%llu.%06llus", cut < 0 ? "-" : "",
                  static_cast<unsigned long long>(size / 1000000),
                  static_cast<unsigned long long>(size % 1000000));
    text_ = text;
    it.what = kind::word;
    it.s = text_;
    return true;
}

// ------------------------------------------------------------------ JSON

bool proto_reader::render(const proto_schema& of, const proto_message& type, std::string_view in,
                          int depth, typed_values& values, std::string& json)
{
    if (depth > most_depth)
        return fail("The payload is nested too deep.");
    if (is_scalar(type)) {
        item it;
        return scalar_message(type, in, it) &&
               (values.append_json(json, it) != outcome::refused || fail(""));
    }
    if (type.meaning == proto_meaning::any)
        return any(of, type, in, depth, values, json);
    if (type.meaning != proto_meaning::plain)
        return dynamic(of, type, in, depth, values, json);
    bool first = true;
    json += '{';
    if (!fields(of, type, in, depth, values, json, first))
        return false;
    json += '}';
    return true;
}

// Fields without presence are there with their defaults, others where they came.
bool proto_reader::fields(const proto_schema& of, const proto_message& type, std::string_view in,
                          int depth, typed_values& values, std::string& json, bool& first)
{
    wire_field w;
    for (std::string_view look = in; !look.empty();) // judged whole, also where nothing is known
        if (!next(look, w))
            return false;
    for (const proto_field& f : type.fields) {
        if (f.repeated) {
            append_name(json, f.name, first);
            if (!render_repeated(of, in, f, depth, values, json))
                return false;
            continue;
        }
        bool found;
        std::string buffer;
        if (!last_of(in, type, f, w, found, buffer))
            return false;
        if (!found && (f.message || (f.has_presence && !f.has_default)))
            continue;
        append_name(json, f.name, first);
        if (found) {
            if (!element(of, f, w, depth, values, json))
                return false;
            continue;
        }
        item it;
        default_of(f, it);
        if (values.append_json(json, it) == outcome::refused)
            return fail("");
    }
    return true;
}

bool proto_reader::element(const proto_schema& of, const proto_field& f, const wire_field& w,
                           int depth, typed_values& values, std::string& json)
{
    if (f.message)
        return render(of, *f.message, w.s, depth + 1, values, json);
    item it;
    scalar(f, w, it);
    return values.append_json(json, it) != outcome::refused || fail("");
}

// An array; of a map an object, in which of the same keys the last one counts as JSON has it.
bool proto_reader::render_repeated(const proto_schema& of, std::string_view in,
                                   const proto_field& f, int depth, typed_values& values,
                                   std::string& json)
{
    bool first = true;
    json += f.map ? '{' : '[';
    const bool good = each(in, f, [&](const wire_field& w) {
        if (!f.map) {
            json += first ? "" : ", ";
            first = false;
            return element(of, f, w, depth, values, json);
        }
        const proto_field *key = f.message->find(1), *value = f.message->find(2);
        if (!key || !value)
            return fail("A map has no keys.");
        item k;
        wire_field part;
        bool found;
        std::string buffer, name;
        if (!last_of(w.s, *f.message, *key, part, found, buffer))
            return false;
        if (found)
            scalar(*key, part, k);
        else
            default_of(*key, k);
        if (values.append_json(name, k) == outcome::refused)
            return fail("");
        json += first ? "" : ", ";
        first = false;
        json += k.what == kind::text ? name + ": " : "\"" + name + "\": ";
        if (!last_of(w.s, *f.message, *value, part, found, buffer))
            return false;
        if (found)
            return element(of, *value, part, depth + 1, values, json);
        if (value->message)
            return render(of, *value->message, {}, depth + 1, values, json);
        default_of(*value, k);
        return values.append_json(json, k) != outcome::refused || fail("");
    });
    json += f.map ? '}' : ']';
    return good;
}

// google.protobuf.Any: its message with "@type" in front, where the schema knows it.
bool proto_reader::any(const proto_schema& of, const proto_message& type, std::string_view in,
                       int depth, typed_values& values, std::string& json)
{
    wire_field url, value;
    bool has_url = false, has_value = false;
    std::string none;
    const proto_field *first_field = type.find(1), *second = type.find(2);
    if (!first_field || !second || !last_of(in, type, *first_field, url, has_url, none) ||
        !last_of(in, type, *second, value, has_value, none))
        return *error_ ? false : fail("An Any has no type.");
    if (!has_url) {
        json += "{}";
        return true;
    }
    if (!is_utf8(url.s))
        return fail("The type of an Any is not UTF-8.");
    bool first = true;
    json += '{';
    append_name(json, "@type", first);
    append_json_string(json, url.s);
    const std::string_view content = has_value ? value.s : std::string_view();
    const std::size_t slash = url.s.rfind('/');
    const proto_message* inner = of.find(slash == url.s.npos ? url.s : url.s.substr(slash + 1));
    if (inner && inner->meaning == proto_meaning::plain) {
        if (depth > most_depth)
            return fail("The payload is nested too deep.");
        if (!fields(of, *inner, content, depth + 1, values, json, first))
            return false;
    } else {
        append_name(json, "value", first);
        item it{.what = kind::bytes};
        it.s = content;
        if (inner ? !render(of, *inner, content, depth + 1, values, json)
                  : values.append_json(json, it) == outcome::refused)
            return false;
    }
    json += '}';
    return true;
}

// google.protobuf.Struct, Value and ListValue: JSON in Protobuf's clothes.
bool proto_reader::dynamic(const proto_schema& of, const proto_message& type, std::string_view in,
                           int depth, typed_values& values, std::string& json)
{
    if (type.meaning != proto_meaning::value) { // fields = 1, values = 1
        const proto_field* all = type.find(1);
        return all ? render_repeated(of, in, *all, depth, values, json)
                   : fail("A Struct has no fields.");
    }
    for (std::int32_t number = 2; number <= 6; number++) { // all but null_value
        const proto_field* f = type.find(number);
        wire_field w;
        bool found = false;
        std::string buffer;
        if (!f || !last_of(in, type, *f, w, found, buffer))
            return f ? false : fail("A Value has no kinds.");
        if (found)
            return element(of, *f, w, depth, values, json);
    }
    json += "null";
    return true;
}

} // namespace ke::decode
