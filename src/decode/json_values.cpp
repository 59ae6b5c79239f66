#include "decode/json_values.h"

#include <cstring>

#include "decode/json_text.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

// Four hexadecimal digits, or -1.
int hex4(std::string_view s)
{
    if (s.size() < 4)
        return -1;
    int value = 0;
    for (int i = 0; i < 4; i++) {
        const char c = s[static_cast<std::size_t>(i)];
        const int d = is_digit(c)            ? c - '0'
                      : c >= 'a' && c <= 'f' ? c - 'a' + 10
                      : c >= 'A' && c <= 'F' ? c - 'A' + 10
                                             : -1;
        if (d < 0)
            return -1;
        value = value * 16 + d;
    }
    return value;
}

} // namespace

json_string unescape_json(std::string_view quoted, std::string& buffer)
{
    json_string result;
    std::string_view in = quoted.substr(1, quoted.size() - 2);
    const void* backslash = in.empty() ? nullptr : std::memchr(in.data(), '\\', in.size());
    if (!backslash) {
        result.text = in;
        return result;
    }
    buffer.clear();
    auto malformed = [&](const char* flaw) {
        result.flaw = flaw;
        result.malformed = true;
        return result;
    };
    std::size_t at = 0;
    while (at < in.size()) {
        std::size_t next = std::min(in.find('\\', at), in.size());
        buffer.append(in, at, next - at);
        if (next == in.size())
            break;
        if (next + 1 >= in.size())
            return malformed("A string ends in a backslash.");
        at = next + 2;
        switch (in[next + 1]) {
        case '"':
        case '\\':
        case '/':
            buffer.push_back(in[next + 1]);
            break;
        case 'b':
            buffer.push_back('\b');
            break;
        case 'f':
            buffer.push_back('\f');
            break;
        case 'n':
            buffer.push_back('\n');
            break;
        case 'r':
            buffer.push_back('\r');
            break;
        case 't':
            buffer.push_back('\t');
            break;
        case 'u': {
            int code = hex4(in.substr(at));
            if (code < 0)
                return malformed("\"\\u\" must be followed by four hexadecimal digits.");
            at += 4;
            if (code >= 0xD800 && code <= 0xDBFF) {
                const int low = in.substr(at).starts_with("\\u") ? hex4(in.substr(at + 2)) : -1;
                if (low >= 0xDC00 && low <= 0xDFFF) {
                    code = 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00);
                    at += 6;
                } else {
                    result.flaw = "Unicode low surrogate must follow a high surrogate.";
                }
            } else if (code >= 0xDC00 && code <= 0xDFFF) {
                result.flaw = "Unicode low surrogate must follow a high surrogate.";
            }
            result.has_nul |= code == 0;
            append_utf8(buffer, static_cast<char32_t>(code));
            break;
        }
        default:
            return malformed("A string holds an escape that JSON does not have.");
        }
    }
    result.text = buffer;
    return result;
}

bool is_json_literal(std::string_view t)
{
    const char* at = t.data();
    const char* const end = at + t.size();
    const auto some_digits = [&] {
        const char* const from = at;
        while (at < end && is_digit(*at))
            ++at;
        return at > from;
    };
    if (at < end && *at == '-')
        ++at;
    const char* const first = at;
    if (!some_digits())
        return t == "null" || t == "true" || t == "false";
    if (*first == '0' && at > first + 1)
        return false;
    if (at < end && *at == '.') {
        ++at;
        if (!some_digits())
            return false;
    }
    if (at < end && (*at == 'e' || *at == 'E')) {
        ++at;
        if (at < end && (*at == '+' || *at == '-'))
            ++at;
        if (!some_digits())
            return false;
    }
    return at == end;
}

outcome json_values::refuse_nul()
{
    return convert.refuse("22P05", "unsupported Unicode escape sequence",
                          "\\u0000 cannot be converted to text.");
}

outcome json_values::make(std::string_view value, const type_desc& type, cell& out, bool plain)
{
    const char first = value.front();
    if (plain && type.is_plain())
        return text_to_cell(value.substr(1, value.size() - 2), type, convert, out);
    if (first == 'n')
        return outcome::null;
    if (type.is_array() || type.is_composite()) {
        std::string text;
        const outcome o = text_form(value, type, text);
        return o == outcome::value ? make_pending(text, convert, out) : o;
    }
    if (type.type == cell_type::json)
        return make_text(value, convert, out);
    if (type.type == cell_type::jsonb)
        return make_pending(value, convert, out);
    if (first == '"')
        return make_string(value, type, out);
    if (is_digit(first) || first == '-')
        return json_number_to_cell(value, type, options_.unit, convert, out);
    if (type.type == cell_type::bytea) // an object, an array, true or false
        return convert.refuse_syntax("bytea", value);
    return text_to_cell(value, type, convert, out);
}

outcome json_values::make_string(std::string_view quoted, const type_desc& type, cell& out)
{
    const json_string s = unescape_json(quoted, unescaped_);
    if (s.flaw)
        return convert.refuse("22P02", "invalid input syntax for type json", s.flaw);
    if (s.has_nul)
        return refuse_nul();
    if (type.type == cell_type::bytea)
        return make_decoded_bytea(s.text, out);
    return text_to_cell(s.text, type, convert, out);
}

bool json_values::decode_bytea(std::string_view text, std::string& out)
{
    return options_.hex ? decode_hex(text, out) : decode_base64(text, out);
}

outcome json_values::make_decoded_bytea(std::string_view text, cell& out)
{
    bytes_.clear();
    if (!decode_bytea(text, bytes_))
        return convert.refuse("22023",
                              options_.hex ? "invalid hexadecimal data" : "invalid base64 data");
    return make_bytea(bytes_, convert, out);
}

// The text that the type's input function takes; null where the value is.
outcome json_values::text_form(std::string_view value, const type_desc& type, std::string& out)
{
    const char first = value.front();
    if (first == 'n')
        return outcome::null;
    if (type.is_array() && first == '[')
        return array_form(value, type, 1, out);
    if (!type.is_array() && type.is_composite() && first == '{')
        return record_form(value, type, out);
    const bool scalar = !type.is_array() && !type.is_composite();
    if (scalar && (type.type == cell_type::json || type.type == cell_type::jsonb)) {
        out.append(value);
        return outcome::value;
    }
    if (first == '"') {
        std::string buffer;
        const json_string s = unescape_json(value, buffer);
        if (s.flaw)
            return convert.refuse("22P02", "invalid input syntax for type json", s.flaw);
        if (s.has_nul)
            return refuse_nul();
        if (!scalar || type.type != cell_type::bytea) {
            out.append(s.text);
            return outcome::value;
        }
        bytes_.clear();
        if (!decode_bytea(s.text, bytes_))
            return convert.refuse("22023", options_.hex ? "invalid hexadecimal data"
                                                        : "invalid base64 data");
        out.append("\\x");
        append_hex(out, bytes_);
        return outcome::value;
    }
    if (!scalar) {
        out.append(value); // neither array nor object: for the input function to refuse
        return outcome::value;
    }
    const bool number = is_digit(first) || first == '-';
    const bool time = type.type == cell_type::timestamp || type.type == cell_type::timestamptz;
    std::int64_t n;
    if (type.type == cell_type::bytea)
        return convert.refuse_syntax("bytea", value);
    if (number && time) {
        if (!parse_epoch(value, options_.unit, n))
            return convert.refuse("22008", "timestamp out of range");
        append_timestamp(out, n, type.type == cell_type::timestamptz);
        return outcome::value;
    }
    const bool integer = type.type == cell_type::int2 || type.type == cell_type::int4 ||
                         type.type == cell_type::int8;
    if (number && integer && parse_whole(value, n) == whole::yes)
        out.append(std::to_string(n));
    else
        out.append(value);
    return outcome::value;
}

namespace {

void append_quoted(std::string& out, std::string_view text)
{
    out.push_back('"');
    for (char c : text) {
        if (c == '"' || c == '\\')
            out.push_back('\\');
        out.push_back(c);
    }
    out.push_back('"');
}

} // namespace

// {a,b,{...}}: JSON arrays inside are further dimensions, unless the elements are JSON themselves.
outcome json_values::array_form(std::string_view array, const type_desc& type, int dimension,
                                std::string& out)
{
    constexpr int most_dimensions = 6; // the server's MAXDIM
    if (dimension > most_dimensions)
        return convert.refuse("54000",
                              "number of array dimensions exceeds the maximum allowed (6)");
    const type_desc& element = *type.element;
    const bool json = !element.is_composite() &&
                      (element.type == cell_type::json || element.type == cell_type::jsonb);
    out.push_back('{');
    bool first = true;
    std::string text;
    for (json_members m(array); m.next(); first = false) {
        if (!first)
            out.push_back(type.delimiter);
        if (m.value().front() == '[' && !json) {
            if (array_form(m.value(), type, dimension + 1, out) == outcome::refused)
                return outcome::refused;
            continue;
        }
        text.clear();
        const outcome o = text_form(m.value(), element, text);
        if (o == outcome::refused)
            return o;
        if (o == outcome::null)
            out.append("NULL");
        else
            append_quoted(out, text);
    }
    out.push_back('}');
    return outcome::value;
}

// (a,,"c"): the type's columns in order, by name; what the object lacks is null.
outcome json_values::record_form(std::string_view object, const type_desc& type, std::string& out)
{
    std::vector<std::string_view> values(type.fields.size());
    std::string buffer;
    for (json_members m(object); m.next();) {
        const std::string_view name = unescape_json(m.key(), buffer).text;
        for (std::size_t i = 0; i < type.fields.size(); i++)
            if (type.fields[i].name == name)
                values[i] = m.value();
    }
    out.push_back('(');
    std::string text;
    for (std::size_t i = 0; i < values.size(); i++) {
        if (i > 0)
            out.push_back(',');
        if (values[i].empty())
            continue;
        text.clear();
        const outcome o = text_form(values[i], type.fields[i].type, text);
        if (o == outcome::refused)
            return o;
        if (o == outcome::value)
            append_quoted(out, text);
    }
    out.push_back(')');
    return outcome::value;
}

} // namespace ke::decode
