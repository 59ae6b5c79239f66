#include "decode/avro_reader.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <vector>

#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

using kind = item::kind;

} // namespace

bool avro_reader::scalar(const avro_type& type, item& it, const avro_type* reader)
{
    std::string_view s;
    switch (type.kind) {
    case avro_kind::boolean:
        it.what = kind::boolean;
        if (!take(1, s))
            return false;
        it.i = s[0];
        return it.i == 0 || it.i == 1 || fail("A boolean is neither 0 nor 1.");
    case avro_kind::int_:
    case avro_kind::long_:
        it.what = kind::integer;
        if (!number(it.i))
            return false;
        if (type.kind == avro_kind::int_ && it.i != static_cast<std::int32_t>(it.i))
            return fail("An int has more than 32 bits.");
        return type.meaning == avro_meaning::plain || meaning(type, it);
    case avro_kind::float_: {
        std::uint32_t bits;
        it.what = kind::real4;
        if (!take(4, s))
            return false;
        std::memcpy(&bits, s.data(), 4);
        it.f = std::bit_cast<float>(bits);
        return true;
    }
    case avro_kind::double_: {
        std::uint64_t bits;
        it.what = kind::real8;
        if (!take(8, s))
            return false;
        std::memcpy(&bits, s.data(), 8);
        it.f = std::bit_cast<double>(bits);
        return true;
    }
    case avro_kind::bytes:
    case avro_kind::fixed:
        it.what = kind::bytes;
        if (type.kind == avro_kind::fixed && type.size == 0 && !spend(1))
            return false;
        if (!(type.kind == avro_kind::fixed ? take(type.size, it.s) : string(it.s)))
            return false;
        return type.meaning == avro_meaning::plain || meaning(type, it);
    case avro_kind::string:
        it.what = kind::text;
        return string(it.s);
    case avro_kind::enumeration:
        return symbol(type, it, reader);
    default:
        return spend(1); // null
    }
}

// A reader that does not know a symbol takes its default for it.
bool avro_reader::symbol(const avro_type& type, item& it, const avro_type* reader)
{
    std::int64_t n;
    it.what = kind::text;
    if (!number(n))
        return false;
    if (n < 0 || static_cast<std::uint64_t>(n) >= type.symbols.size())
        return fail("An enum has no such symbol.");
    it.s = type.symbols[static_cast<std::size_t>(n)];
    if (!reader ||
        std::find(reader->symbols.begin(), reader->symbols.end(), it.s) != reader->symbols.end())
        return true;
    it.s = reader->default_symbol;
    return !it.s.empty() || fail("An enum has a symbol that the reader's schema does not know.");
}

const avro_type* avro_reader::counterpart(const avro_type& type, const avro_type* reader)
{
    if (!reader || reader == &type)
        return nullptr;
    if (reader->kind != avro_kind::union_)
        return reader->kind == type.kind ? reader : nullptr;
    // Of several that would do, the one of the same name.
    const avro_type* found = nullptr;
    for (const avro_type* b : reader->branches)
        if (b->kind == type.kind && (!found || b->name == type.name))
            found = b;
    return found;
}

std::string unwritten_field(std::string_view name)
{
    return "Field " + std::string(name) +
           " of the reader's schema was not written, and has no default there that fits it.";
}

const avro_field* reader_field(const avro_type& reader, std::string_view written)
{
    for (const avro_field& f : reader.fields)
        if (f.name == written)
            return &f;
    for (const avro_field& f : reader.fields)
        if (std::find(f.aliases.begin(), f.aliases.end(), written) != f.aliases.end())
            return &f;
    return nullptr;
}

// What a number or bytes mean by their logical type.
bool avro_reader::meaning(const avro_type& type, item& it)
{
    it.raw = it.i;
    it.has_raw = type.kind != avro_kind::bytes && type.kind != avro_kind::fixed;
    time_unit unit = time_unit::us;
    switch (type.meaning) {
    case avro_meaning::plain:
        return true;
    case avro_meaning::decimal:
        number_.clear();
        if (!append_decimal(number_, it.s, type.scale))
            return fail("A decimal is out of range.");
        it.what = kind::number;
        it.s = number_;
        return true;
    case avro_meaning::uuid:
        it.what = kind::uuid; // text is one by itself
        return true;
    case avro_meaning::duration:
        return duration(it);
    case avro_meaning::bits:
        number_.clear();
        if (!append_bits(number_, it.s, type.scale))
            return fail("A bit string is longer than its schema says.");
        it.what = kind::word;
        it.s = number_;
        return true;
    case avro_meaning::date:
        it.what = kind::date;
        return true;
    case avro_meaning::time_ms:
    case avro_meaning::timestamp_ms:
    case avro_meaning::local_ms:
        unit = time_unit::ms;
        break;
    case avro_meaning::time_ns:
    case avro_meaning::timestamp_ns:
    case avro_meaning::local_ns:
    case avro_meaning::duration_ns:
        unit = time_unit::ns;
        break;
    default:
        break;
    }
    // What Debezium writes for a timestamp's infinities.
    constexpr std::int64_t infinity = 9223372036825200000, minus_infinity = -9223372036832400000;
    if (it.raw == infinity || it.raw == minus_infinity) {
        it.what = kind::word;
        it.s = it.raw > 0 ? "infinity" : "-infinity";
        return true;
    }
    if (!to_microseconds(it.raw, unit, it.i))
        return fail("A time is out of range.");
    switch (type.meaning) {
    case avro_meaning::time_ms:
    case avro_meaning::time_us:
    case avro_meaning::time_ns:
        it.what = kind::time;
        break;
    case avro_meaning::timestamp_ms:
    case avro_meaning::timestamp_us:
    case avro_meaning::timestamp_ns:
        it.what = kind::timestamptz;
        break;
    case avro_meaning::duration_us:
    case avro_meaning::duration_ns:
        number_ = std::to_string(it.i) + " microseconds";
        it.what = kind::word;
        it.s = number_;
        break;
    default:
        it.what = kind::timestamp;
        break;
    }
    return true;
}

// Months, days, milliseconds, each in 4 bytes, the least significant first.
bool avro_reader::duration(item& it)
{
    std::uint32_t part[3];
    std::memcpy(part, it.s.data(), sizeof part);
    number_ = std::to_string(part[0]) + " mons " + std::to_string(part[1]) + " days " +
              std::to_string(std::uint64_t{part[2]} * 1000) + " microseconds";
    it.what = kind::word;
    it.s = number_;
    return true;
}

bool avro_reader::skip(const avro_type& type, int depth)
{
    if (depth > most_depth)
        return fail("The payload is nested too deep.");
    std::string_view s;
    std::int64_t n;
    switch (type.kind) {
    case avro_kind::record: {
        const std::size_t began = at_;
        if (!spend(1))
            return false;
        for (const avro_field& f : type.fields)
            if (!skip(*f.type, depth + 1))
                return false;
        end_record(began);
        return true;
    }
    case avro_kind::union_: {
        const avro_type* chosen = branch(type);
        return chosen && skip(*chosen, depth + 1);
    }
    case avro_kind::array:
    case avro_kind::map:
        return items([&](std::int64_t) {
            return (type.kind == avro_kind::array || string(s)) && skip(*type.element, depth + 1);
        });
    case avro_kind::int_:
    case avro_kind::long_:
        return number(n);
    case avro_kind::bytes:
    case avro_kind::string:
        return string(s);
    case avro_kind::fixed:
        return take(type.size, s) && (type.size > 0 || spend(1));
    default: {
        item it;
        return scalar(type, it);
    }
    }
}

namespace {

void append_name(std::string& json, std::string_view name, bool first)
{
    json += first ? "" : ", ";
    append_json_string(json, name);
    json += ": ";
}

} // namespace

// With a reader: its names, without what it does not know, with its defaults for what was not written.
bool avro_reader::render_record(const avro_type& type, const avro_type* reader, int depth,
                                typed_values& values, std::string& json)
{
    bool first = true;
    std::vector<bool> written(reader ? reader->fields.size() : 0);
    const std::size_t began = at_;
    if (!spend(1))
        return false;
    json += '{';
    for (const avro_field& f : type.fields) {
        const avro_field* r = reader ? reader_field(*reader, f.name) : nullptr;
        if (r)
            written[static_cast<std::size_t>(r - reader->fields.data())] = true;
        if (reader && !r) {
            if (!skip(*f.type, depth + 1))
                return false;
            continue;
        }
        append_name(json, r ? r->name : f.name, first);
        first = false;
        if (!render(*f.type, r ? r->type : nullptr, depth + 1, values, json))
            return false;
    }
    for (std::size_t i = 0; reader && i < reader->fields.size(); i++) {
        const avro_field& r = reader->fields[i];
        if (written[i])
            continue;
        if (!r.has_default)
            return fail(values.convert().memory->copy(unwritten_field(r.name)).data());
        append_name(json, r.name, first);
        first = false;
        if (!aside(r.default_value,
                   [&] { return render(*r.type, nullptr, depth + 1, values, json); }))
            return false;
    }
    json += '}';
    end_record(began);
    return true;
}

// Appends the value as JSON; a union's is its branch's.
bool avro_reader::render(const avro_type& type, const avro_type* reader, int depth,
                         typed_values& values, std::string& json)
{
    constexpr std::size_t most_json = 256 << 20; // few bytes may stand for many: defaults, decimals
    if (depth > most_depth)
        return fail("The payload is nested too deep.");
    if (json.size() > most_json)
        return fail("The payload is more than 256 MB as JSON.");
    if (type.kind != avro_kind::union_)
        reader = counterpart(type, reader);
    switch (type.kind) {
    case avro_kind::union_: {
        const avro_type* chosen = branch(type);
        return chosen && render(*chosen, reader, depth + 1, values, json);
    }
    case avro_kind::record:
        return render_record(type, reader, depth, values, json);
    case avro_kind::array:
    case avro_kind::map: {
        const bool map = type.kind == avro_kind::map;
        json += map ? '{' : '[';
        const bool good = items([&](std::int64_t n) {
            std::string_view key;
            if (map) {
                if (!string(key))
                    return false;
                if (!is_utf8(key))
                    return fail("A key of a map is not UTF-8.");
                append_name(json, key, n == 0);
            } else if (n > 0) {
                json += ", ";
            }
            return render(*type.element, reader ? reader->element : nullptr, depth + 1, values,
                          json);
        });
        json += map ? '}' : ']';
        return good;
    }
    default: {
        item it;
        return scalar(type, it, reader) &&
               (values.append_json(json, it) != outcome::refused || fail(""));
    }
    }
}

const avro_type* avro_reader::branch(const avro_type& type)
{
    std::int64_t n;
    if (!number(n))
        return nullptr;
    if (n < 0 || static_cast<std::uint64_t>(n) >= type.branches.size()) {
        fail("A union has no such branch.");
        return nullptr;
    }
    ++budget_; // the branch may take no bytes, its number did
    return type.branches[static_cast<std::size_t>(n)];
}

// ------------------------------------------------------------------ bytes

// A zigzag number in groups of seven bits, the least significant first.
bool avro_reader::number(std::int64_t& n)
{
    std::uint64_t value = 0;
    for (unsigned shift = 0; at_ < in_.size(); shift += 7) {
        const auto b = static_cast<unsigned char>(in_[at_++]);
        if (shift == 63 && b > 1)
            return fail("A number has more than 64 bits.");
        value |= std::uint64_t{b & 0x7Fu} << shift;
        if (b < 0x80) {
            n = static_cast<std::int64_t>(value >> 1 ^ (~(value & 1) + 1));
            return true;
        }
    }
    return fail("The payload ends within a value.");
}

bool avro_reader::take(std::uint64_t n, std::string_view& s)
{
    if (n > in_.size() - at_)
        return fail("The payload ends within a value.");
    s = in_.substr(at_, n);
    at_ += n;
    return true;
}

bool avro_reader::string(std::string_view& s)
{
    std::int64_t n;
    if (!number(n))
        return false;
    return n >= 0 ? take(static_cast<std::uint64_t>(n), s) : fail("A length is negative.");
}

bool avro_reader::spend(std::uint64_t items)
{
    if (items > budget_)
        return fail("The payload has more items than it can hold.");
    budget_ -= items;
    return true;
}

} // namespace ke::decode
