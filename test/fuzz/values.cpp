#include "values.h"

#include <algorithm>
#include <bit>
#include <cmath>

#include "decode/utf8.h"

namespace ke::fuzz {

using namespace decode;
using kind = value::kind;

std::uint8_t value_maker::byte()
{
    if (in_.empty())
        return 0;
    const char c = in_.front();
    in_.remove_prefix(1);
    return static_cast<std::uint8_t>(c);
}

std::uint64_t value_maker::bits(int bytes)
{
    std::uint64_t n = 0;
    for (int i = 0; i < bytes; i++)
        n = n << 8 | byte();
    return n;
}

std::string_view value_maker::keep(std::string text)
{
    return texts_.emplace_back(std::move(text));
}

// UTF-8 without NULs.
std::string value_maker::text()
{
    const std::size_t size = std::min<std::size_t>(byte() % 16, in_.size());
    std::string s(in_.substr(0, size));
    in_.remove_prefix(size);
    if (!is_utf8(s) || s.find('\0') != s.npos)
        for (char& c : s)
            c = static_cast<char>(static_cast<unsigned char>(c) % 95 + 32);
    return s;
}

std::string value_maker::digits()
{
    const std::uint8_t form = byte();
    const std::size_t sign = form & 1;
    std::string s(sign, '-');
    for (int i = form / 8 % 4 ? 1 : form / 16; i >= 0; i--)
        s += std::to_string(bits(3));
    if (form & 2)
        s += "." + std::string(form / 4 % 4, '0') + std::to_string(bits(form & 4 ? 1 : 7));
    while (s.size() > sign + 1 && s[sign] == '0' && s[sign + 1] != '.')
        s.erase(sign, 1);
    return s;
}

void value_maker::json(std::string& out, int depth)
{
    const std::uint8_t what = byte();
    value v;
    switch (in_.empty() || depth > 8 ? what % 7 : what % 10) {
    case 0:
        out += "null";
        return;
    case 1:
        out += what & 16 ? "true" : "false";
        return;
    case 2:
        out += std::to_string(static_cast<std::int64_t>(bits(1 << (what / 16 % 4))));
        return;
    case 3:
        v.what = kind::real8;
        v.f = std::bit_cast<double>(bits(8));
        out += std::isfinite(v.f) ? real_text(v) : "1e5";
        return;
    case 4:
        out += digits();
        return;
    case 5:
    case 6:
        append_json_string(out, text());
        return;
    case 7:
        if (const int n = what == 17 ? static_cast<int>(bits(2) % 480) : 0; n > 0) {
            out.append(static_cast<std::size_t>(n), '[').append(static_cast<std::size_t>(n), ']');
            return;
        }
        out += '[';
        for (int i = 0, n = byte() % 5; i < n; i++) {
            out += i ? "," : "";
            json(out, depth + 1);
        }
        out += ']';
        return;
    default:
        out += '{';
        for (int i = 0, n = byte() % 5; i < n; i++) {
            out += i ? "," : "";
            append_json_string(out, text() + static_cast<char>('a' + i)); // no name twice
            out += ':';
            json(out, depth + 1);
        }
        out += '}';
    }
}

value value_maker::array(const type_desc& element)
{
    value v{kind::array};
    std::vector<value>& items = items_.emplace_back(byte() % 4);
    for (value& i : items)
        i = make(element, false);
    v.items = items;
    return v;
}

value value_maker::record(const type_desc& type)
{
    value v{kind::record};
    std::vector<value>& items = items_.emplace_back();
    std::vector<std::string_view>& names = names_.emplace_back();
    for (const type_desc::field& f : type.fields) {
        items.push_back(make(f.type, false));
        names.push_back(f.name);
    }
    v.items = items;
    v.names = names;
    return v;
}

value value_maker::scalar(cell_type type)
{
    constexpr std::int64_t us_per_day = 86400000000, most_days = 1000000;
    value v;
    auto number = [&](kind what, std::int64_t n) {
        v.what = what;
        v.i = n;
    };
    auto some = [&](int bytes) { return static_cast<std::int64_t>(bits(bytes)); };
    switch (type) {
    case cell_type::boolean:
        number(kind::boolean, some(1) & 1);
        break;
    case cell_type::int2:
        number(kind::integer, static_cast<std::int16_t>(some(2)));
        break;
    case cell_type::int4:
        number(kind::integer, static_cast<std::int32_t>(some(4)));
        break;
    case cell_type::int8:
        number(kind::integer, some(8));
        break;
    case cell_type::float4:
        v.what = kind::real4;
        v.f = static_cast<double>(std::bit_cast<float>(static_cast<std::uint32_t>(bits(4))));
        break;
    case cell_type::float8:
        v.what = kind::real8;
        v.f = std::bit_cast<double>(bits(8));
        break;
    case cell_type::numeric:
        v.what = kind::number;
        v.s = keep(digits());
        break;
    case cell_type::bytea:
        v.what = kind::bytes;
        v.s = keep(std::string(in_.substr(0, byte() % 16)));
        break;
    case cell_type::date:
        number(kind::date, some(3) % (2 * most_days) - most_days);
        break;
    case cell_type::time:
        number(kind::time, some(6) % (us_per_day + 1));
        break;
    case cell_type::timestamp:
    case cell_type::timestamptz:
        number(type == cell_type::timestamp ? kind::timestamp : kind::timestamptz,
               some(8) % (most_days * us_per_day));
        if (v.i & 1) // whole milliseconds
            v.i -= v.i % 1000;
        break;
    case cell_type::uuid: {
        std::string s;
        for (int i = 0; i < 16; i++)
            append_hex(s, keep(std::string(1, static_cast<char>(byte()))));
        for (std::size_t at : {20, 16, 12, 8})
            s.insert(at, 1, '-');
        v.what = kind::text;
        v.s = keep(s);
        break;
    }
    case cell_type::json:
    case cell_type::jsonb: {
        std::string s;
        json(s, 1);
        v.what = kind::json;
        v.s = keep(s);
        break;
    }
    default:
        v.what = kind::text;
        v.s = keep(text());
    }
    return v;
}

value value_maker::make(const type_desc& type, bool flat)
{
    if (byte() % 8 == 0)
        return {};
    if (flat)
        return scalar(type.type);
    return type.is_array()       ? array(*type.element)
           : type.is_composite() ? record(type)
                                 : scalar(type.type);
}

value value_maker::written(const value& v)
{
    std::string s(v.s);
    switch (v.what) {
    case kind::null:
        return v;
    case kind::boolean:
        s = v.i ? "t" : "f";
        break;
    case kind::integer:
        s = std::to_string(v.i);
        break;
    case kind::real4:
    case kind::real8:
        s = real_text(v);
        break;
    case kind::bytes:
        s = "\\x";
        append_hex(s, v.s);
        break;
    case kind::date:
    case kind::time:
    case kind::timestamp:
    case kind::timestamptz:
        s = time_text(v);
        break;
    default:
        break;
    }
    value text{kind::text};
    text.s = keep(s);
    return text;
}

} // namespace ke::fuzz
