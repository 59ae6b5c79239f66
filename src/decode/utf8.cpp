#include "decode/json_text.h"
#include "decode/utf8.h"

#include <array>
#include <cstdint>
#include <cstring>

#include <simdjson.h>

#include "base/no_backend.h"

namespace ke::decode {

namespace {

// Most texts are, and short: then nothing more need be asked.
bool is_ascii(std::string_view text)
{
    constexpr std::uint64_t high = 0x8080808080808080;
    std::uint64_t all = 0, eight;
    if (text.size() < sizeof eight) {
        for (char c : text)
            all |= static_cast<unsigned char>(c);
        return (all & high) == 0;
    }
    const char* const last = text.data() + text.size() - sizeof eight;
    for (const char* at = text.data(); at < last; at += sizeof eight) {
        std::memcpy(&eight, at, sizeof eight);
        all |= eight;
    }
    std::memcpy(&eight, last, sizeof eight);
    return ((all | eight) & high) == 0;
}

} // namespace

bool is_utf8(std::string_view text)
{
    constexpr std::size_t short_one = 64;
    return (text.size() <= short_one && is_ascii(text)) ||
           simdjson::validate_utf8(text.data(), text.size());
}

bool is_text(std::string_view bytes)
{
    return bytes.empty() || (!std::memchr(bytes.data(), 0, bytes.size()) && is_utf8(bytes));
}

std::size_t count_characters(std::string_view text)
{
    std::size_t n = 0;
    for (char c : text)
        n += (c & 0xC0) != 0x80;
    return n;
}

std::string_view excerpt(std::string_view text)
{
    constexpr std::size_t most = 100;
    if (text.size() <= most)
        return text;
    std::size_t n = most;
    while (n > most - 4 && (text[n] & 0xC0) == 0x80)
        --n;
    return text.substr(0, n);
}

void append_utf8(std::string& out, char32_t code)
{
    auto put = [&](char32_t byte) { out.push_back(static_cast<char>(byte)); };
    if (code < 0x80) {
        put(code);
    } else if (code < 0x800) {
        put(0xC0 | code >> 6);
        put(0x80 | (code & 0x3F));
    } else if (code < 0x10000) {
        put(0xE0 | code >> 12);
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
    } else {
        put(0xF0 | code >> 18);
        put(0x80 | (code >> 12 & 0x3F));
        put(0x80 | (code >> 6 & 0x3F));
        put(0x80 | (code & 0x3F));
    }
}

namespace {

constexpr char base64_digits[] = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
constexpr char hex_digits[] = "0123456789abcdef";

// Value of each digit, -1 for what is none.
constexpr std::array<std::int8_t, 256> values_of(const char* digits, int count, bool fold)
{
    std::array<std::int8_t, 256> values{};
    for (auto& v : values)
        v = -1;
    for (int i = 0; i < count; i++) {
        values[static_cast<unsigned char>(digits[i])] = static_cast<std::int8_t>(i);
        if (fold && digits[i] >= 'a' && digits[i] <= 'z')
            values[static_cast<unsigned char>(digits[i] - 'a' + 'A')] = static_cast<std::int8_t>(i);
    }
    return values;
}
constexpr auto base64_values = values_of(base64_digits, 64, false);
constexpr auto hex_values = values_of(hex_digits, 16, true);

} // namespace

void append_base64(std::string& out, std::string_view bytes)
{
    const auto* p = reinterpret_cast<const unsigned char*>(bytes.data());
    std::size_t n = bytes.size();
    for (; n >= 3; p += 3, n -= 3) {
        const std::uint32_t v = p[0] << 16 | p[1] << 8 | p[2];
        const char four[] = {base64_digits[v >> 18], base64_digits[v >> 12 & 63],
                             base64_digits[v >> 6 & 63], base64_digits[v & 63]};
        out.append(four, 4);
    }
    if (n) {
        const std::uint32_t v = p[0] << 16 | (n == 2 ? p[1] << 8 : 0);
        const char four[] = {base64_digits[v >> 18], base64_digits[v >> 12 & 63],
                             n == 2 ? base64_digits[v >> 6 & 63] : '=', '='};
        out.append(four, 4);
    }
}

bool decode_base64(std::string_view text, std::string& out)
{
    std::uint32_t bits = 0;
    int have = 0;      // digits of the group at hand
    int padding = 0;   // '=' seen
    bool over = false; // a padded group ends the text
    for (char c : text) {
        if (is_json_space(c))
            continue;
        if (over)
            return false;
        if (c == '=') {
            if (have + padding < 2)
                return false;
            ++padding;
        } else {
            const int v = base64_values[static_cast<unsigned char>(c)];
            if (v < 0 || padding)
                return false;
            bits = bits << 6 | static_cast<std::uint32_t>(v);
            ++have;
        }
        if (have + padding < 4)
            continue;
        bits <<= 6 * padding;
        out.push_back(static_cast<char>(bits >> 16));
        if (padding < 2)
            out.push_back(static_cast<char>(bits >> 8));
        if (padding < 1)
            out.push_back(static_cast<char>(bits));
        over = padding > 0;
        bits = 0;
        have = padding = 0;
    }
    return have + padding == 0;
}

void append_hex(std::string& out, std::string_view bytes)
{
    for (char c : bytes) {
        const auto b = static_cast<unsigned char>(c);
        out.push_back(hex_digits[b >> 4]);
        out.push_back(hex_digits[b & 15]);
    }
}

bool decode_hex(std::string_view text, std::string& out)
{
    if (text.starts_with("\\x"))
        text.remove_prefix(2);
    if (text.size() % 2)
        return false;
    for (std::size_t i = 0; i < text.size(); i += 2) {
        const int high = hex_values[static_cast<unsigned char>(text[i])];
        const int low = hex_values[static_cast<unsigned char>(text[i + 1])];
        if (high < 0 || low < 0)
            return false;
        out.push_back(static_cast<char>(high << 4 | low));
    }
    return true;
}

void append_json_string(std::string& out, std::string_view text)
{
    const bool valid = is_utf8(text);
    out.push_back('"');
    for (char c : text) {
        if (c == '"' || c == '\\') {
            out.push_back('\\');
            out.push_back(c);
        } else if (static_cast<unsigned char>(c) < 0x20) {
            out.append("\\u00");
            append_hex(out, {&c, 1});
        } else if (!valid && (c & 0x80)) {
            out.append("\xEF\xBF\xBD");
        } else {
            out.push_back(c);
        }
    }
    out.push_back('"');
}

} // namespace ke::decode
