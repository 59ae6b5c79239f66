#include "decode/avro_default.h"

#include <algorithm>
#include <bit>
#include <cstring>
#include <limits>
#include <optional>

#include "base/no_backend.h"

namespace ke::decode {

namespace dom = simdjson::dom;

namespace {

std::optional<double> real_of(dom::element e)
{
    double d;
    if (!e.get_double().get(d))
        return d;
    std::string_view word;
    if (e.get_string().get(word))
        return {};
    if (word == "NaN")
        return std::numeric_limits<double>::quiet_NaN();
    if (word == "Infinity" || word == "-Infinity")
        return word[0] == '-' ? -std::numeric_limits<double>::infinity()
                              : std::numeric_limits<double>::infinity();
    return {};
}

template <class Bits, class Real>
bool append_real(dom::element e, std::string& out)
{
    const std::optional<double> d = real_of(e);
    if (!d)
        return false;
    const auto bits = std::bit_cast<Bits>(static_cast<Real>(*d));
    char raw[sizeof bits];
    std::memcpy(raw, &bits, sizeof bits);
    out.append(raw, sizeof raw);
    return true;
}

// Each code point, 0 to 255, is a byte; in UTF-8 those above 127 are two.
std::optional<std::string> bytes_of(dom::element e)
{
    std::string_view s;
    std::string out;
    if (e.get_string().get(s))
        return {};
    for (std::size_t i = 0; i < s.size(); i++) {
        const auto c = static_cast<unsigned char>(s[i]);
        if (c < 0x80) {
            out += s[i];
        } else if ((c == 0xC2 || c == 0xC3) && i + 1 < s.size()) {
            out += static_cast<char>((c & 3) << 6 | (static_cast<unsigned char>(s[++i]) & 0x3F));
        } else {
            return {};
        }
    }
    return out;
}

void append_string(std::string_view s, std::string& out)
{
    append_avro_number(out, static_cast<std::int64_t>(s.size()));
    out += s;
}

bool plain(const avro_type& type, dom::element e, std::string& out)
{
    std::int64_t n;
    std::string_view s;
    switch (type.kind) {
    case avro_kind::null:
        return e.is_null();
    case avro_kind::boolean:
        out += static_cast<char>(e.is_bool() && e.get_bool().value());
        return e.is_bool();
    case avro_kind::int_:
    case avro_kind::long_:
        if (e.get_int64().get(n) ||
            (type.kind == avro_kind::int_ && n != static_cast<std::int32_t>(n)))
            return false;
        append_avro_number(out, n);
        return true;
    case avro_kind::float_:
        return append_real<std::uint32_t, float>(e, out);
    case avro_kind::double_:
        return append_real<std::uint64_t, double>(e, out);
    case avro_kind::string:
        if (e.get_string().get(s))
            return false;
        append_string(s, out);
        return true;
    case avro_kind::enumeration: {
        const auto end = type.symbols.end();
        const auto found = e.get_string().get(s) ? end : std::find(type.symbols.begin(), end, s);
        append_avro_number(out, found - type.symbols.begin());
        return found != end;
    }
    default: {
        const std::optional<std::string> bytes = bytes_of(e);
        if (!bytes || (type.kind == avro_kind::fixed && bytes->size() != type.size))
            return false;
        if (type.kind == avro_kind::fixed)
            out += *bytes;
        else
            append_string(*bytes, out);
        return true;
    }
    }
}

} // namespace

void append_avro_number(std::string& out, std::int64_t n)
{
    std::uint64_t z = (static_cast<std::uint64_t>(n) << 1) ^ static_cast<std::uint64_t>(n >> 63);
    for (; z > 127; z >>= 7)
        out += static_cast<char>(z | 128);
    out += static_cast<char>(z);
}

bool avro_default_writer::write(const avro_type& type, dom::element e, std::string& out, int depth)
{
    constexpr int most_depth = 100;
    if (depth > most_depth || --budget_ < 0)
        return false;
    switch (type.kind) {
    case avro_kind::record:
        return record(type, e, out, depth);
    case avro_kind::array:
    case avro_kind::map:
        return items(type, e, out, depth);
    case avro_kind::union_:
        return alternative(type, e, out, depth);
    default: {
        const std::size_t before = out.size();
        if (!plain(type, e, out))
            return false;
        budget_ -= static_cast<std::int64_t>(out.size() - before);
        return true;
    }
    }
}

// Fields that the default leaves out take their own.
bool avro_default_writer::record(const avro_type& type, dom::element e, std::string& out, int depth)
{
    dom::object members;
    if (e.get_object().get(members))
        return false;
    for (const avro_field& f : type.fields) {
        dom::element given;
        dom::parser parser;
        if (members[f.name].get(given)) {
            budget_ -= static_cast<std::int64_t>(f.default_json.size()) / 16; // to parse it
            if (f.default_json.empty() || parser.parse(f.default_json).get(given))
                return false;
        }
        if (!write(*f.type, given, out, depth + 1))
            return false;
    }
    return true;
}

// One block of all, and the empty one that ends them.
bool avro_default_writer::items(const avro_type& type, dom::element e, std::string& out, int depth)
{
    if (type.kind == avro_kind::array) {
        dom::array list;
        if (e.get_array().get(list))
            return false;
        if (list.begin() != list.end())
            append_avro_number(out, static_cast<std::int64_t>(list.size()));
        for (dom::element item : list)
            if (!write(*type.element, item, out, depth + 1))
                return false;
    } else {
        dom::object members;
        if (e.get_object().get(members))
            return false;
        if (members.begin() != members.end())
            append_avro_number(out, static_cast<std::int64_t>(members.size()));
        for (dom::key_value_pair m : members) {
            append_string(m.key, out);
            budget_ -= static_cast<std::int64_t>(m.key.size());
            if (!write(*type.element, m.value, out, depth + 1))
                return false;
        }
    }
    append_avro_number(out, 0);
    return true;
}

bool avro_default_writer::alternative(const avro_type& type, dom::element e, std::string& out,
                                      int depth)
{
    const std::size_t before = out.size();
    for (std::size_t i = 0; i < type.branches.size(); i++) {
        out.resize(before);
        append_avro_number(out, static_cast<std::int64_t>(i));
        if (write(*type.branches[i], e, out, depth + 1))
            return true;
    }
    return false;
}

} // namespace ke::decode
