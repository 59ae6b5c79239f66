#include "decode/change_values.h"

#include "decode/json_text.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

using kind = item::kind;

bool is_scalar(const type_desc& type, cell_type of)
{
    return !type.is_array() && !type.is_composite() && type.type == of;
}

// As the server's input functions call them.
std::string_view time_name(cell_type type)
{
    return type == cell_type::date          ? "date"
           : type == cell_type::time        ? "time"
           : type == cell_type::timestamp   ? "timestamp"
           : type == cell_type::timestamptz ? "timestamp with time zone"
                                            : "interval";
}

} // namespace

outcome change_values::field(std::string_view value, const connect_meaning* m,
                             const type_desc& type, cell& out)
{
    if (is_null(value))
        return outcome::null;
    if (value.front() == '"')
        return text(value, m, type, out);
    if (value.front() == '{')
        return extended_json ? extended(value, type, out) : object(value, type, out);
    if (value.front() == '-' || is_digit(value.front()))
        return number(value, m, type, out);
    if (type.bits && (value == "true" || value == "false")) // a single one
        return text_to_cell(value == "true" ? "1" : "0", type, values_.convert, out);
    return values_.make(value, type, out);
}

outcome change_values::typed(const item& it, const type_desc& type, cell& out)
{
    const outcome o = typed_.make(it, type, out);
    if (o == outcome::refused)
        values_.convert.why = typed_.convert().why;
    return o;
}

outcome change_values::epoch(std::string_view value, const type_desc& type, cell& out)
{
    item it{.what = kind::timestamptz, .has_raw = true};
    if (is_null(value))
        return outcome::null;
    const bool number = value.front() == '-' || is_digit(value.front());
    if (!number || parse_whole(value, it.raw) != whole::yes ||
        !to_microseconds(it.raw, time_unit::ms, it.i))
        return refuse("22P02", "invalid input for format debezium",
                      "A time of the event is no number.");
    return typed(it, type, out);
}

outcome change_values::text(std::string_view value, const connect_meaning* m, const type_desc& type,
                            cell& out)
{
    const json_string s = unescape_json(value, buffer_);
    if (s.flaw || s.has_nul)
        return values_.make(value, type, out); // refuses it in its words
    if (m && m->name == "org.apache.kafka.connect.data.Decimal" && m->has_scale)
        return decimal(s.text, m->scale, type, out);
    if (m && m->name == "io.debezium.data.Bits")
        return bits(s.text, m->length, type, out);
    if (type.bits && !schema_known)
        return bits(s.text, type.typmod, type, out);
    if (is_scalar(type, cell_type::numeric) && !schema_known && !options_.text_decimals) {
        if (type.typmod < 4)
            return values_.convert.refuse(
                "22P02", "the scale of a decimal is not known",
                "Declare the column as numeric(precision, scale) with the source's scale, or set "
                "the option decimals to 'string' where the connector writes strings.");
        return decimal(s.text, (((type.typmod - 4) & 0x7ff) ^ 1024) - 1024, type, out);
    }
    // A document is a string that holds one; ISO dates and times may end in Z.
    if (is_scalar(type, cell_type::json) || is_scalar(type, cell_type::jsonb))
        return make_pending(s.text, values_.convert, out);
    std::string_view text = s.text;
    if ((is_scalar(type, cell_type::date) || is_scalar(type, cell_type::time)) &&
        text.ends_with('Z'))
        return text_to_cell(text.substr(0, text.size() - 1), type, values_.convert, out);
    return values_.make(value, type, out);
}

outcome change_values::number(std::string_view value, const connect_meaning* m,
                              const type_desc& type, cell& out)
{
    if (type.is_array() || type.is_composite())
        return values_.make(value, type, out);
    const std::string_view name = m ? std::string_view(m->name) : std::string_view();
    const bool is_time = type.type == cell_type::date || type.type == cell_type::time ||
                         type.type == cell_type::timestamp || type.type == cell_type::timestamptz;
    const bool is_duration = name.ends_with("Duration") || type.interval;
    if (!is_time && !is_duration)
        return values_.make(value, type, out);
    item it;
    if (parse_whole(value, it.i) != whole::yes)
        return values_.convert.refuse_syntax(time_name(type.type), value);
    // What the connector writes for a timestamp's infinities.
    constexpr std::int64_t infinity = 9223372036825200000, minus_infinity = -9223372036832400000;
    if (type.type == cell_type::date ? name.empty() || name.ends_with("Date")
                                     : name.ends_with("Date")) {
        it.what = kind::date;
    } else if (it.i == infinity || it.i == minus_infinity) {
        return make_pending(it.i > 0 ? "infinity" : "-infinity", values_.convert, out);
    } else {
        const bool coarse =
            options_.adaptive && !is_duration && type.typmod >= 0 && type.typmod <= 3;
        time_unit unit = coarse ? time_unit::ms : options_.json.unit;
        if (name.starts_with("io.debezium.time.Micro"))
            unit = time_unit::us;
        else if (name.starts_with("io.debezium.time.Nano"))
            unit = time_unit::ns;
        else if (name.ends_with(".Time") || name.ends_with(".Timestamp"))
            unit = time_unit::ms;
        if (!to_microseconds(it.i, unit, it.i))
            return values_.convert.refuse("22008", "date or time out of range");
        it.what = type.type == cell_type::time          ? kind::time
                  : type.type == cell_type::timestamptz ? kind::timestamptz
                                                        : kind::timestamp;
    }
    if (is_duration) {
        buffer_ = std::to_string(it.i) + " microseconds";
        it.what = kind::word;
        it.s = buffer_;
    }
    return typed(it, type, out);
}

// A decimal with its own scale, a geometry; else a document or a composite.
outcome change_values::object(std::string_view value, const type_desc& type, cell& out)
{
    if (is_scalar(type, cell_type::numeric)) {
        std::int64_t scale;
        const std::string base64 = text_of(member(value, "value"));
        if (is_json_literal(member(value, "scale")) &&
            parse_whole(member(value, "scale"), scale) == whole::yes && scale >= -16383 &&
            scale <= 16383 && !is_null(member(value, "value")))
            return decimal(base64, static_cast<std::int32_t>(scale), type, out);
    }
    if (is_scalar(type, cell_type::other) && member(value, "wkb").starts_with('"')) {
        bytes_.clear();
        if (!decode_base64(text_of(member(value, "wkb")), bytes_))
            return values_.convert.refuse("22023", "invalid base64 data");
        const std::string_view srid = member(value, "srid");
        buffer_ = is_null(srid) ? "" : "SRID=" + std::string(srid) + ";";
        append_hex(buffer_, bytes_);
        return make_pending(buffer_, values_.convert, out);
    }
    return values_.make(value, type, out);
}

outcome change_values::decimal(std::string_view base64, std::int32_t scale, const type_desc& type,
                               cell& out)
{
    bytes_.clear();
    std::string number;
    if (!decode_base64(base64, bytes_))
        return values_.convert.refuse("22023", "invalid base64 data");
    if (!append_decimal(number, bytes_, scale))
        return values_.convert.refuse("22003", "value overflows numeric format");
    return values_.make(number, type, out);
}

outcome change_values::bits(std::string_view base64, std::int32_t length, const type_desc& type,
                            cell& out)
{
    bytes_.clear();
    if (!decode_base64(base64, bytes_))
        return values_.convert.refuse("22023", "invalid base64 data");
    if (is_scalar(type, cell_type::bytea))
        return make_bytea(bytes_, values_.convert, out);
    std::string text;
    if (!append_bits(text, bytes_, length))
        return values_.convert.refuse(
            "22001", "bit string too long",
            "It has bits beyond the length that its schema or column says.");
    return text_to_cell(text, type, values_.convert, out);
}

// {"$oid": "..."}, {"$numberDecimal": "..."}, {"$date": ...}, {"$binary": ...}: what they hold, in a
// column of its own; in documents they stay what they are.
outcome change_values::extended(std::string_view value, const type_desc& type, cell& out)
{
    json_members m(value);
    const bool document = is_scalar(type, cell_type::json) || is_scalar(type, cell_type::jsonb);
    if (document || !m.next() || !m.key().starts_with("\"$"))
        return object(value, type, out);
    const std::string_view what = m.key(), in = m.value();
    if (what == "\"$oid\"" || what == "\"$symbol\"" || what == "\"$uuid\"" ||
        what.starts_with("\"$number"))
        return values_.make(in, type, out);
    if (what == "\"$date\"" && in.front() == '"')
        return values_.make(in, type, out);
    if (what == "\"$date\"") {
        const std::string_view inside = member(in, "$numberLong");
        const std::string number = inside.empty() ? std::string(in) : text_of(inside);
        return epoch(number, type, out);
    }
    if (what == "\"$binary\"")
        return plain(in.front() == '{' ? member(in, "base64") : in, type, out);
    return object(value, type, out);
}

} // namespace ke::decode
