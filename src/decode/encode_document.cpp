// Documents out of columns: a tree by the columns' paths, and JSON of it.
#include "decode/encoder.h"

#include <charconv>
#include <cmath>
#include <vector>

#include "decode/big_number.h"
#include "decode/format.h"
#include "decode/json_text.h"
#include "decode/json_values.h"
#include "decode/scalars.h"
#include "decode/subject.h"
#include "decode/typed_values.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

using kind = value::kind;

fault bad_value(std::string message, std::string detail)
{
    fault f;
    f.kind = fault_kind::bad_record;
    f.message = std::move(message);
    f.detail = std::move(detail);
    return f;
}

namespace {

template <class T>
std::span<T> room_for(std::size_t n, arena& memory)
{
    T* all = reinterpret_cast<T*>(memory.take(sizeof(T) * (n + 1)));
    for (std::size_t i = 0; i < n; i++)
        new (all + i) T();
    return {all, n};
}

template <class T>
void grow(std::span<T>& all, std::size_t n, arena& memory)
{
    std::span<T> more = room_for<T>(n, memory);
    std::copy(all.begin(), all.end(), more.begin());
    all = more;
}

// The place at a step of a path, made where it is not there. Null: something else stands there.
value* step_into(value& at, const path_step& step, arena& memory)
{
    constexpr std::size_t most_elements = 10000;
    const bool of_array = step.index >= 0;
    if (at.what == kind::null && at.s.data() == nullptr) {
        at.what = of_array ? kind::array : kind::record;
        at.of_paths = true;
    }
    if (at.what != (of_array ? kind::array : kind::record))
        return nullptr;
    if (of_array) {
        const auto n = static_cast<std::size_t>(step.index);
        if (n >= most_elements)
            return nullptr;
        if (n >= at.items.size())
            grow(at.items, n + 1, memory);
        return &at.items[n];
    }
    for (std::size_t i = 0; i < at.names.size(); i++)
        if (at.names[i] == step.name)
            return &at.items[i];
    grow(at.items, at.items.size() + 1, memory);
    grow(at.names, at.names.size() + 1, memory);
    at.names.back() = memory.copy(step.name);
    return &at.items.back();
}

} // namespace

bool is_nothing(const value& v)
{
    return v.what == kind::null ||
           (v.of_paths && std::all_of(v.items.begin(), v.items.end(), is_nothing));
}

result<value> document_of(const encode_request& r, arena& memory)
{
    value root;
    root.what = kind::record;
    bool rooted = false;
    for (std::size_t i = 0; i < r.columns.size(); i++) {
        const column& c = *r.columns[i];
        if (c.whole_document) {
            if (r.columns.size() > 1)
                return bad_value("column \"" + c.name +
                                     "\" is the whole document, and there are others",
                                 "Such a table can be read, but its rows have no one way back.");
            return r.values[i];
        }
        const path own{path_step{c.name}};
        const path& where = c.where.empty() ? own : c.where;
        if (!rooted && where.front().index >= 0)
            root.what = kind::array;
        rooted = true;
        value* at = &root;
        for (const path_step& step : where)
            if (!(at = step_into(*at, step, memory)))
                return bad_value("the path of column \"" + c.name +
                                 "\" does not fit with the others'");
        if (at->what != kind::null || !at->names.empty())
            return bad_value("two columns stand at the path of column \"" + c.name + "\"");
        *at = r.values[i];
        if (at->what == kind::null)
            at->s = "null"; // taken: no path leads on from here
    }
    return root;
}

namespace {

bool parse_part(std::string_view text, arena& memory, value& v, int depth)
{
    constexpr int most_depth = 500; // what readers of these formats follow
    if (depth > most_depth)
        return false;
    std::string buffer;
    text = trim_json(text);
    if (text.starts_with('"')) {
        v.what = kind::text;
        v.s = memory.copy(unescape_json(text, buffer).text);
    } else if (text.starts_with('{') || text.starts_with('[')) {
        std::vector<value> items;
        std::vector<std::string_view> names;
        v.what = text.front() == '{' ? kind::record : kind::array;
        for (json_members m(text); m.next();) {
            if (v.what == kind::record)
                names.push_back(memory.copy(unescape_json(m.key(), buffer).text));
            if (!parse_part(m.value(), memory, items.emplace_back(), depth + 1))
                return false;
        }
        v.items = room_for<value>(items.size(), memory);
        std::copy(items.begin(), items.end(), v.items.begin());
        v.names = room_for<std::string_view>(names.size(), memory);
        std::copy(names.begin(), names.end(), v.names.begin());
    } else if (text == "true" || text == "false") {
        v.what = kind::boolean;
        v.i = text == "true";
    } else if (text != "null") {
        v.s = memory.copy(text);
        const char* const end = text.data() + text.size();
        const auto [at, error] = std::from_chars(text.data(), end, v.i);
        v.what = at == end && error == std::errc{} ? kind::integer : kind::number;
        if (v.what == kind::number && float_of(v, v.f)) {
            v.what = kind::real8;
            if (real_text(v) != text) // digits would be lost
                v.what = kind::number;
        }
    }
    return true;
}

} // namespace

bool parse_json(std::string_view text, arena& memory, value& v)
{
    v = value();
    return parse_part(text, memory, v, 1);
}

bool float_of(const value& v, double& f)
{
    switch (v.what) {
    case kind::real4:
    case kind::real8:
        f = v.f;
        return true;
    case kind::integer:
        f = static_cast<double>(v.i);
        return true;
    case kind::text:
        if (v.s != "NaN" && v.s != "Infinity" && v.s != "-Infinity")
            return false;
        [[fallthrough]];
    case kind::number: {
        const char* end = v.s.data() + v.s.size();
        const auto read = std::from_chars(v.s.data(), end, f);
        return read.ec == std::errc{} && read.ptr == end;
    }
    default:
        return false;
    }
}

bool real_of(const value& v, bool single, double& f)
{
    if (!float_of(v, f))
        return false;
    if (!std::isfinite(f) || v.what == kind::real4 || (v.what == kind::real8 && !single))
        return true;           // NaN, infinite; or there is room for all of it
    if (v.what == kind::real8) // it would be read as a double, too
        return f == static_cast<double>(static_cast<float>(f));
    value written{single ? kind::real4 : kind::real8};
    written.f = single ? static_cast<double>(static_cast<float>(f)) : f;
    const std::string given = v.what == kind::integer ? std::to_string(v.i) : std::string(v.s);
    f = written.f;
    return std::isfinite(f) && same_decimal(given, real_text(written));
}

std::string real_text(const value& v)
{
    if (std::isnan(v.f))
        return "NaN";
    if (std::isinf(v.f))
        return v.f > 0 ? "Infinity" : "-Infinity";
    char text[40];
    const auto end = v.what == kind::real4
                         ? std::to_chars(text, text + sizeof text, static_cast<float>(v.f)).ptr
                         : std::to_chars(text, text + sizeof text, v.f).ptr;
    return {text, end};
}

std::string time_text(const value& v)
{
    constexpr std::int64_t us_per_day = 86400000000, us_to_2000 = 946684800000000;
    std::string text;
    if (v.what == kind::time) {
        char s[32];
        const long long all = v.i / 1000000;
        text.assign(s, static_cast<std::size_t>(std::snprintf(
                           s, sizeof s, "%02lld:%02lld:%02lld.%06lld", all / 3600, all / 60 % 60,
                           all % 60, static_cast<long long>(v.i % 1000000))));
        return text;
    }
    if (v.what == kind::date) {
        // Through a timestamp where that reaches, which it does where ISO 8601's four digits do.
        append_timestamp(text, v.i * us_per_day - us_to_2000, false);
        const bool bc = text.ends_with(" BC");
        text.resize(text.find(' '));
        return bc ? text + " BC" : text;
    }
    append_timestamp(text, v.i - us_to_2000, v.what == kind::timestamptz);
    if (text.ends_with(" BC"))
        return text;
    text[text.find(' ')] = 'T';
    if (v.what == kind::timestamptz) {
        text.resize(text.rfind('+'));
        text += 'Z';
    }
    return text;
}

void append_json(std::string& out, const value& v, bool hex)
{
    switch (v.what) {
    case kind::null:
        out += "null";
        break;
    case kind::boolean:
        out += v.i ? "true" : "false";
        break;
    case kind::integer:
        out += std::to_string(v.i);
        break;
    case kind::real4:
    case kind::real8:
        out += std::isfinite(v.f) ? real_text(v) : '"' + real_text(v) + '"';
        break;
    case kind::number:
    case kind::json:
        out += v.s;
        break;
    case kind::text:
    case kind::interval:
        append_json_string(out, v.s);
        break;
    case kind::bytes:
        out += '"';
        hex ? append_hex(out, v.s) : append_base64(out, v.s);
        out += '"';
        break;
    case kind::date:
    case kind::time:
    case kind::timestamp:
    case kind::timestamptz:
        out += '"' + time_text(v) + '"';
        break;
    case kind::array:
    case kind::record: {
        const bool array = v.what == kind::array;
        out += array ? '[' : '{';
        for (std::size_t i = 0; i < v.items.size(); i++) {
            out += i ? "," : "";
            if (!array) {
                append_json_string(out, v.names[i]);
                out += ':';
            }
            append_json(out, v.items[i], hex);
        }
        out += array ? ']' : '}';
        break;
    }
    }
}

namespace {

class json_encoder final : public payload_encoder {
  public:
    json_encoder(const encode_request& r, bool framed) : subject_(r, framed) {}

    bool prepare(const std::weak_ptr<registry::listener>& who,
                 std::shared_ptr<const fault>& trouble) override
    {
        return subject_.prepare(who, trouble);
    }

    result<std::string> encode(const encode_request& r) override
    {
        arena memory;
        auto document = document_of(r, memory);
        if (!document)
            return std::move(document.error());
        if (subject_.asks() && !subject_.what())
            return subject_.missing();
        std::string out = subject_.frame();
        append_json(out, document.value(), r.options.get("bytea_format", "base64") == "hex");
        return out;
    }

  private:
    subject_schema subject_;
};

} // namespace

result<std::unique_ptr<payload_encoder>> make_json_encoder(const encode_request& r)
{
    return std::unique_ptr<payload_encoder>(std::make_unique<json_encoder>(r, false));
}

result<std::unique_ptr<payload_encoder>> make_json_schema_encoder(const encode_request& r)
{
    if (!r.schemas)
        return no_registry("json_schema");
    return std::unique_ptr<payload_encoder>(std::make_unique<json_encoder>(r, true));
}

} // namespace ke::decode
