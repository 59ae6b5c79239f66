// influx: the way back, one line. Columns with path 'tag.x' are tags, all others fields but measurement and
// time; nulls are left out. What a line cannot hold is refused: line breaks and a backslash at the end of
// names and tags, empty ones, times that are not whole in their unit, bytes that are no text, objects and arrays of JSON.
#include "decode/encoder.h"

#include <cmath>

#include "decode/json_values.h"
#include "decode/scalars.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

using kind = value::kind;

void append_escaped(std::string& out, std::string_view text, std::string_view special)
{
    for (char c : text) {
        if (special.find(c) != special.npos)
            out += '\\';
        out += c;
    }
}

// Arrays and composites: as their type writes them, which is what it reads.
std::string own_text(const value& v, const type_desc& type)
{
    std::string json;
    arena memory;
    json_values values({}, true);
    values.convert.memory = &memory;
    cell text;
    append_json(json, v, false);
    if (values.make(json, type, text) == outcome::pending)
        json = reinterpret_cast<const char*>(text);
    return json;
}

std::string text_of(const value& v, const type_desc& type)
{
    switch (v.what) {
    case kind::text:
    case kind::interval:
    case kind::number:
        return std::string(v.s);
    case kind::integer:
        return std::to_string(v.i);
    case kind::boolean:
        return v.i ? "true" : "false";
    case kind::real4:
    case kind::real8:
        return real_text(v);
    case kind::date:
    case kind::time:
    case kind::timestamp:
    case kind::timestamptz:
        return time_text(v);
    case kind::array:
    case kind::record:
        return own_text(v, type);
    default: // bytes that are text
        return std::string(v.s);
    }
}

void append_field(std::string& out, const value& v, const type_desc& type)
{
    if (v.what == kind::boolean) {
        out += v.i ? "true" : "false";
    } else if (v.what == kind::integer) {
        out += std::to_string(v.i) + 'i';
    } else if (v.what == kind::number ||
               ((v.what == kind::real4 || v.what == kind::real8) && std::isfinite(v.f))) {
        out += text_of(v, type);
    } else {
        out += '"';
        append_escaped(out, text_of(v, type), "\"\\");
        out += '"';
    }
}

// What a line is made of.
class line_parts {
  public:
    std::string why; // of the last that was refused

    bool column(const decode::column& c, const value& v, time_unit unit);
    bool whole(std::string& out)
    {
        if (measurement_.empty() || fields_.empty()) {
            why = "A line needs a measurement, and a field that is not null.";
            return false;
        }
        out = measurement_ + tags_ + ' ' + fields_ + (time_.empty() ? "" : ' ' + time_) + '\n';
        return true;
    }

  private:
    bool refuse(std::string_view name, const char* what)
    {
        why = "Column \"" + std::string(name) + "\": " + what;
        return false;
    }
    // A name or a tag's value, appended with the special characters escaped.
    bool word(const decode::column& c, std::string& out, std::string_view text,
              std::string_view special)
    {
        if (text.empty())
            return refuse(c.name, "names and tags cannot be empty; NULL leaves a tag out.");
        if (text.find_first_of("\r\n") != text.npos || text.ends_with('\\'))
            return refuse(c.name,
                          "names and tags cannot have a line break, or end in a backslash.");
        append_escaped(out, text, special);
        return true;
    }
    bool measurement(const decode::column& c, const value& v);
    bool time(const decode::column& c, const value& v, time_unit unit);

    std::string measurement_, tags_, fields_, time_;
};

bool line_parts::measurement(const decode::column& c, const value& v)
{
    const std::string text = text_of(v, c.type);
    if (text.starts_with('#'))
        return refuse(c.name, "a line that begins with # is a comment.");
    if (text.starts_with('\t'))
        return refuse(c.name, "white space at a line's beginning is passed over.");
    return word(c, measurement_, text, ", ");
}

bool line_parts::time(const decode::column& c, const value& v, time_unit unit)
{
    std::int64_t n = v.i;
    if (v.what == kind::timestamp || v.what == kind::timestamptz) {
        const std::int64_t us = unit == time_unit::s ? 1000000 : unit == time_unit::ms ? 1000 : 1;
        if (n % us != 0)
            return refuse(c.name, "the time is not whole in the unit that timestamp_unit says.");
        n /= us;
        if (unit == time_unit::ns && __builtin_mul_overflow(n, std::int64_t{1000}, &n))
            return refuse(c.name, "the time is beyond what 64 bits of nanoseconds reach.");
    } else if (v.what != kind::integer) {
        return refuse(c.name, "a time is a timestamp, or a whole number.");
    }
    time_ = std::to_string(n);
    return true;
}

bool line_parts::column(const decode::column& c, const value& given, time_unit unit)
{
    arena memory;
    value v = given;
    if (v.what == kind::json &&
        (!parse_json(given.s, memory, v) || v.what == kind::array || v.what == kind::record))
        return refuse(c.name, "a line has no objects or arrays of JSON; it may have their text.");
    const bool own = c.where.empty(), one = own || c.where.size() == 1;
    const std::string& first = own ? c.name : c.where[0].name;
    if (c.whole_document || (one && !own && (first == "tags" || first == "fields")))
        return refuse(c.name,
                      "it has no way back into a line; columns of single tags and fields have.");
    if (v.what == kind::null)
        return true;
    if (v.what == kind::bytes && !is_utf8(v.s))
        return refuse(c.name, "a line holds text, which these bytes are not.");
    if (one && first == "measurement")
        return measurement(c, v);
    if (one && first == "time")
        return time(c, v, unit);
    if (c.where.size() == 2 && first == "tag") {
        tags_ += ',';
        if (!word(c, tags_, c.where[1].name, ",= "))
            return false;
        tags_ += '=';
        return word(c, tags_, text_of(v, c.type), ",= ");
    }
    fields_ += fields_.empty() ? "" : ",";
    if (!word(c, fields_, one ? first : c.where[1].name, ",= "))
        return false;
    fields_ += '=';
    append_field(fields_, v, c.type);
    return true;
}

class influx_encoder final : public payload_encoder {
  public:
    result<std::string> encode(const encode_request& r) override
    {
        const time_unit unit = read_time_unit(r.options.get("timestamp_unit", "ns"));
        line_parts line;
        std::string out;
        bool good = true;
        for (std::size_t i = 0; good && i < r.columns.size(); i++)
            good = line.column(*r.columns[i], r.values[i], unit);
        if (!good || !line.whole(out))
            return bad_value("the row is no line of the line protocol", line.why);
        return out;
    }
};

} // namespace

result<std::unique_ptr<payload_encoder>> make_influx_encoder(const encode_request&)
{
    return std::unique_ptr<payload_encoder>(std::make_unique<influx_encoder>());
}

} // namespace ke::decode
