// influx: the way back, one line. Columns with path 'tag.x' are tags, all others fields but measurement and
// time; nulls are left out.
#include "decode/encoder.h"

#include <cmath>

#include "decode/scalars.h"

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

std::string text_of(const value& v)
{
    std::string json;
    switch (v.what) {
    case kind::text:
    case kind::interval:
    case kind::json:
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
    default:
        append_json(json, v, false);
        if (v.what == kind::bytes)
            json = json.substr(1, json.size() - 2);
        return json;
    }
}

void append_field(std::string& out, const value& v)
{
    if (v.what == kind::boolean) {
        out += v.i ? "true" : "false";
    } else if (v.what == kind::integer) {
        out += std::to_string(v.i) + 'i';
    } else if (v.what == kind::number ||
               ((v.what == kind::real4 || v.what == kind::real8) && std::isfinite(v.f))) {
        out += text_of(v);
    } else {
        out += '"';
        append_escaped(out, text_of(v), "\"\\");
        out += '"';
    }
}

class influx_encoder final : public payload_encoder {
  public:
    result<std::string> encode(const encode_request& r) override
    {
        std::string tags, fields, time;
        const value* measurement = nullptr;
        for (std::size_t i = 0; i < r.columns.size(); i++) {
            const column& c = *r.columns[i];
            const value& v = r.values[i];
            const bool own = c.where.empty();
            const std::string& first = own ? c.name : c.where[0].name;
            const bool one = own || c.where.size() == 1;
            if (c.whole_document || (one && !own && (first == "tags" || first == "fields")))
                return bad_value("column \"" + c.name + "\" has no way back into a line",
                                 "Columns of single tags and fields have.");
            if (one && first == "measurement")
                measurement = &v;
            else if (v.what == kind::null)
                continue;
            else if (one && first == "time")
                time = time_of(r, v);
            else if (c.where.size() == 2 && first == "tag")
                append_tag(tags, c.where[1].name, v);
            else {
                fields += fields.empty() ? "" : ",";
                append_escaped(fields, one ? first : c.where[1].name, ",= ");
                fields += '=';
                append_field(fields, v);
            }
        }
        if (!measurement || measurement->what == kind::null || fields.empty())
            return bad_value("a line needs a measurement and a field that is not null");
        std::string out;
        append_escaped(out, text_of(*measurement), ", ");
        return out + tags + ' ' + fields + (time.empty() ? "" : ' ' + time) + '\n';
    }

  private:
    static void append_tag(std::string& tags, std::string_view name, const value& v)
    {
        tags += ',';
        append_escaped(tags, name, ",= ");
        tags += '=';
        append_escaped(tags, text_of(v), ",= ");
    }

    static std::string time_of(const encode_request& r, const value& v)
    {
        if (v.what != kind::timestamp && v.what != kind::timestamptz)
            return text_of(v);
        const __int128 us = v.i;
        switch (read_time_unit(r.options.get("timestamp_unit", "ns"))) {
        case time_unit::s:
            return std::to_string(v.i / 1000000 - (v.i % 1000000 < 0));
        case time_unit::ms:
            return std::to_string(v.i / 1000 - (v.i % 1000 < 0));
        case time_unit::us:
            return std::to_string(v.i);
        default:
            return std::to_string(static_cast<std::int64_t>(us * 1000));
        }
    }
};

} // namespace

result<std::unique_ptr<payload_encoder>> make_influx_encoder(const encode_request&)
{
    return std::unique_ptr<payload_encoder>(std::make_unique<influx_encoder>());
}

} // namespace ke::decode
