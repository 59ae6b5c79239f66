// influx: line protocol. Each line is a row: measurement, tags, fields, time, by their names.
//
//   line       = measurement *("," key "=" value) SP key "=" field *("," key "=" field) [SP time]
//   field      = number | integer "i" | integer "u" | true | false | DQUOTE text DQUOTE
//
// A backslash escapes comma, space and (in keys and tag values) the equals sign, in quoted text the
// quote and itself; before anything else it is a backslash. A line break in quoted text is text.
// Lines that are empty or begin with # are passed over, but a payload of white space alone is a bad
// one. A line without a time takes the record's.
#include "decode/encoder.h"
#include "decode/format.h"

#include <charconv>
#include <unordered_map>

#include "decode/typed_values.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

using kind = item::kind;

// Columns by the name of their tag or field.
struct name_hash {
    using is_transparent = void;
    std::size_t operator()(std::string_view s) const { return std::hash<std::string_view>{}(s); }
};
using names = std::unordered_map<std::string, std::vector<int>, name_hash, std::equal_to<>>;

class influx_decoder final : public payload_decoder {
  public:
    influx_decoder(const payload_request& request, time_unit unit);

    void look_at(const record& r) override { record_ms_ = r.timestamp_ms; }
    bool decode(bytes payload, rows& out, arena& memory, problem& why) override;

  private:
    void place(const column& col, int c);
    bool line();
    bool tags();
    bool fields();
    bool field_value(item& value);
    bool quoted(item& value);
    bool number(item& value);
    bool time();
    bool end_of_line();
    std::string_view name(std::string_view ends, std::string& buffer);
    bool pair(std::string& json, std::string_view key, const item& value, const names& wanted);
    bool fill(const std::vector<int>& columns, const item& value);
    bool fill_json(const std::vector<int>& columns, std::string_view json);
    bool documents(const item& time);
    bool fail(const char* detail);

    const time_unit unit_;
    std::vector<type_desc> types_; // by the plan's index
    std::vector<int> measurement_, time_, all_tags_, all_fields_, whole_;
    names tags_, fields_;
    typed_values values_;
    bool builds_json_ = false;

    // While decode() runs.
    std::int64_t record_ms_ = -1;
    rows* out_ = nullptr;
    rows::row row_{};
    std::string_view in_;
    std::size_t at_ = 0;
    std::string key_, value_, number_, measurement_name_, tags_json_, fields_json_, json_;
};

influx_decoder::influx_decoder(const payload_request& request, time_unit unit)
    : unit_(unit), types_(request.plan.columns.size()),
      values_({.unit = unit}, request.plan.server_encoding_utf8)
{
    for (int c : request.columns) {
        types_[static_cast<std::size_t>(c)] = request.at(c).type;
        place(request.at(c), c);
    }
    builds_json_ = !all_tags_.empty() || !all_fields_.empty() || !whole_.empty();
}

// Which part of a line a column takes; a path that leads nowhere leaves it null.
void influx_decoder::place(const column& col, int c)
{
    if (col.whole_document)
        return whole_.push_back(c);
    const bool own = col.where.empty();
    const std::string& first = own ? col.name : col.where[0].name;
    if (own || col.where.size() == 1) {
        if (first == "measurement")
            return measurement_.push_back(c);
        if (first == "time")
            return time_.push_back(c);
    }
    if (own || (col.where.size() == 1 && first != "tags" && first != "fields")) {
        tags_[first].push_back(c);
        fields_[first].push_back(c);
    } else if (col.where.size() == 1) {
        (first == "tags" ? all_tags_ : all_fields_).push_back(c);
    } else if (first == "tag" && col.where.size() == 2) {
        tags_[col.where[1].name].push_back(c);
    } else if (first == "field" && col.where.size() == 2) {
        fields_[col.where[1].name].push_back(c);
    }
}

bool influx_decoder::decode(bytes payload, rows& out, arena& memory, problem& why)
{
    values_.convert().memory = &memory;
    out_ = &out;
    in_ = payload.view();
    at_ = 0;
    bool good = in_.find_first_not_of(" \t\r\n") != in_.npos || fail("The payload is empty.");
    while (good && at_ < in_.size()) {
        const char c = in_[at_];
        if (c == '\n' || c == '\r' || c == ' ' || c == '\t')
            ++at_;
        else if (c == '#')
            at_ = std::min(in_.find('\n', at_), in_.size());
        else
            good = line();
    }
    if (!good)
        why = values_.convert().why;
    return good;
}

bool influx_decoder::fail(const char* detail)
{
    values_.convert().refuse("22P02", "invalid input for format influx", detail);
    return false;
}

// A name up to an unescaped one of ends or the line's end; all of them can be escaped.
std::string_view influx_decoder::name(std::string_view ends, std::string& buffer)
{
    const std::size_t start = at_;
    bool escaped = false;
    for (; at_ < in_.size(); at_++) {
        const char c = in_[at_];
        const bool can_escape = c == '\\' && at_ + 1 < in_.size();
        if (can_escape && ends.find(in_[at_ + 1]) != ends.npos && in_[at_ + 1] != '\n') {
            if (!escaped)
                buffer.assign(in_, start, at_ - start);
            escaped = true;
            buffer += in_[++at_];
            continue;
        }
        if (c == '\n' || ends.find(c) != ends.npos)
            break;
        if (escaped)
            buffer += c;
    }
    return escaped ? std::string_view(buffer) : in_.substr(start, at_ - start);
}

bool influx_decoder::line()
{
    row_ = out_->add_row();
    tags_json_ = fields_json_ = "{";
    item measurement{.what = kind::text};
    measurement.s = name(", ", measurement_name_);
    if (measurement.s.empty())
        return fail("A line has no measurement.");
    if (!fill(measurement_, measurement))
        return false;
    if (!whole_.empty()) {
        json_ = "{\"measurement\": ";
        if (values_.append_json(json_, measurement) == outcome::refused)
            return false;
    }
    return tags() && fields() && time() && end_of_line();
}

bool influx_decoder::tags()
{
    while (at_ < in_.size() && in_[at_] == ',') {
        ++at_;
        const std::string_view key = name(",= ", key_);
        if (at_ >= in_.size() || in_[at_] != '=' || key.empty())
            return fail("A tag has no key or no value.");
        ++at_;
        item value{.what = kind::text};
        value.s = name(",= ", value_);
        if (value.s.empty() || (at_ < in_.size() && in_[at_] == '='))
            return fail("A tag has no value, or an equals sign that is not escaped.");
        if (!pair(tags_json_, key, value, tags_))
            return false;
    }
    if (at_ >= in_.size() || in_[at_] != ' ')
        return fail("A line has no fields.");
    while (at_ < in_.size() && in_[at_] == ' ')
        ++at_;
    return true;
}

bool influx_decoder::fields()
{
    for (;;) {
        const std::string_view key = name(",= ", key_);
        if (at_ >= in_.size() || in_[at_] != '=' || key.empty())
            return fail("A field has no key or no value.");
        ++at_;
        item value;
        if (!field_value(value) || !pair(fields_json_, key, value, fields_))
            return false;
        if (at_ >= in_.size() || in_[at_] != ',')
            return true;
        ++at_;
    }
}

bool influx_decoder::field_value(item& value)
{
    if (at_ < in_.size() && in_[at_] == '"')
        return quoted(value);
    const std::size_t end = std::min(in_.find_first_of(", \r\n", at_), in_.size());
    const std::string_view word = in_.substr(at_, end - at_);
    at_ = end;
    value.s = word;
    for (std::string_view yes : {"t", "T", "true", "True", "TRUE"})
        if (word == yes) {
            value = {.what = kind::boolean, .i = 1};
            return true;
        }
    for (std::string_view no : {"f", "F", "false", "False", "FALSE"})
        if (word == no) {
            value = {.what = kind::boolean, .i = 0};
            return true;
        }
    return number(value) || fail("A field's value is neither a number, a boolean nor quoted text.");
}

bool influx_decoder::quoted(item& value)
{
    value.what = kind::text;
    value_.clear();
    for (++at_; at_ < in_.size(); at_++) {
        char c = in_[at_];
        if (c == '"') {
            ++at_;
            value.s = value_;
            return true;
        }
        if (c == '\\' && at_ + 1 < in_.size() && (in_[at_ + 1] == '"' || in_[at_ + 1] == '\\'))
            c = in_[++at_];
        value_ += c;
    }
    return fail("A quoted text is not closed.");
}

// 12i, 12u, or a number as JSON writes it, where 1. and .5 and zeros in front are forgiven.
bool influx_decoder::number(item& value)
{
    const std::string_view word = value.s;
    if (word.empty())
        return false;
    const char* end = word.data() + word.size() - 1;
    if (word.ends_with('i') || word.ends_with('u')) {
        std::uint64_t n = 0;
        const bool is_signed = word.back() == 'i';
        const auto [stop, error] = is_signed ? std::from_chars(word.data(), end, value.i)
                                             : std::from_chars(word.data(), end, n);
        if (!is_signed)
            value.i = static_cast<std::int64_t>(n);
        value.what = value.i < 0 && !is_signed ? kind::unsigned_integer : kind::integer;
        return stop == end && error == std::errc{};
    }
    value.what = kind::number;
    if (is_json_literal(word))
        return word != "null" && word != "true" && word != "false";
    const std::size_t sign = word.starts_with('-');
    std::size_t zeros = sign;
    while (zeros + 1 < word.size() && word[zeros] == '0' && word[zeros + 1] != '.' &&
           word[zeros + 1] != 'e' && word[zeros + 1] != 'E')
        ++zeros;
    number_ = sign ? "-" : "";
    number_ += word.substr(zeros).starts_with('.') ? "0" : "";
    number_ += word.substr(zeros);
    const std::size_t point = number_.find('.');
    const bool bare =
        point != number_.npos &&
        (point + 1 == number_.size() || number_[point + 1] == 'e' || number_[point + 1] == 'E');
    if (bare && word != "." && word != "-.")
        number_.erase(point, 1);
    value.s = number_;
    return is_json_literal(number_);
}

bool influx_decoder::pair(std::string& json, std::string_view key, const item& value,
                          const names& wanted)
{
    if (const auto found = wanted.find(key); found != wanted.end() && !fill(found->second, value))
        return false;
    if (!builds_json_)
        return true;
    if (!is_utf8(key))
        return fail("A key is not UTF-8.");
    json += json.size() > 1 ? ", " : "";
    append_json_string(json, key);
    json += ": ";
    return values_.append_json(json, value) != outcome::refused;
}

// The time, or the record's; then what takes the line as a whole.
bool influx_decoder::time()
{
    if (at_ < in_.size() && in_[at_] != ' ' && in_[at_] != '\n' && in_[at_] != '\r')
        return fail("There is more behind a field's value.");
    while (at_ < in_.size() && in_[at_] == ' ')
        ++at_;
    item value{.what = kind::timestamptz, .has_raw = true};
    if (at_ < in_.size() && in_[at_] != '\n' && in_[at_] != '\r') {
        const char* end = in_.data() + in_.size();
        const auto [stop, error] = std::from_chars(in_.data() + at_, end, value.raw);
        if (error != std::errc{} || !to_microseconds(value.raw, unit_, value.i))
            return fail("A time is not an integer, or out of range.");
        at_ = static_cast<std::size_t>(stop - in_.data());
    } else if (record_ms_ < 0) {
        return documents(item());
    } else {
        static constexpr std::int64_t ns_of[] = {1000000000, 1000000, 1000, 1};
        const std::int64_t unit = ns_of[static_cast<int>(unit_)];
        value.i = record_ms_ * 1000;
        if (__builtin_mul_overflow(record_ms_, std::int64_t{1000000}, &value.raw))
            return fail("A time is out of range.");
        value.raw /= unit;
    }
    return fill(time_, value) && documents(value);
}

bool influx_decoder::documents(const item& time)
{
    if (!builds_json_)
        return true;
    tags_json_ += '}';
    fields_json_ += '}';
    if (!fill_json(all_tags_, tags_json_) || !fill_json(all_fields_, fields_json_))
        return false;
    if (whole_.empty())
        return true;
    json_ += ", \"tags\": " + tags_json_ + ", \"fields\": " + fields_json_ + ", \"time\": ";
    json_ += time.what == kind::null ? "null" : std::to_string(time.raw);
    json_ += '}';
    return fill_json(whole_, json_);
}

bool influx_decoder::end_of_line()
{
    while (at_ < in_.size() && (in_[at_] == ' ' || in_[at_] == '\r'))
        ++at_;
    if (at_ < in_.size() && in_[at_] != '\n')
        return fail("There is more behind a line's time.");
    return true;
}

bool influx_decoder::fill(const std::vector<int>& columns, const item& value)
{
    for (int c : columns) {
        const outcome o = values_.make(value, types_[static_cast<std::size_t>(c)], row_.cells[c]);
        if (o == outcome::refused) {
            values_.convert().why.column = c;
            return false;
        }
        row_.states[c] = static_cast<cell_state>(o);
    }
    return true;
}

bool influx_decoder::fill_json(const std::vector<int>& columns, std::string_view json)
{
    for (int c : columns) {
        const outcome o =
            values_.make_json(json, types_[static_cast<std::size_t>(c)], row_.cells[c]);
        if (o == outcome::refused) {
            values_.convert().why.column = c;
            return false;
        }
        row_.states[c] = static_cast<cell_state>(o);
    }
    return true;
}

const format_option options[] = {
    {"timestamp_unit", "s, ms, us, ns", "what a line's time counts since 1970 (ns)"},
};

} // namespace

const format_row influx_format = {
    .name = "influx",
    .help = "InfluxDB's line protocol: each line is a row",
    .options = options,
    .takes_paths = true,
    .accepts = [](const type_desc&) -> result<done> { return done{}; },
    .make = [](const payload_request& r) -> result<std::unique_ptr<payload_decoder>> {
        return std::unique_ptr<payload_decoder>(std::make_unique<influx_decoder>(
            r, read_time_unit(r.options.get("timestamp_unit", "ns"))));
    },
    .make_encoder = make_influx_encoder,
};

} // namespace ke::decode
