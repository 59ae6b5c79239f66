// debezium: change events in JSON, with or without Connect's schema around them, or in Avro with a
// schema registry: then written out as JSON first, in which what the schema says is already done. The
// row's columns come from `after`, of a delete from `before`; events that the usual transform has
// flattened are rows themselves. What an encoded value means (days, microseconds, unscaled decimals)
// is said by the schema where there is one, else by the column's type and the options.
//
//   _op                c, u, d, r (snapshot), t (truncate), m (message)
//   _source_ts         when the source made the change;  _ts: when the connector saw it
//   _source_lsn, ...   a member of `source`;  _source, _before, _after: JSON of them
#include "decode/format.h"

#include <unordered_map>

#include <simdjson.h>

#include "decode/avro_reader.h"
#include "decode/connect_schema.h"
#include "decode/framing.h"
#include "decode/json_text.h"
#include "decode/typed_values.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

using kind = item::kind;

struct debezium_options {
    json_options json;
    bool text_decimals = false;
    bool unavailable_is_null = false;
    bool avro = false;
};

// The parts of an event, as JSON; empty: absent.
struct event {
    std::string_view op, before, after, source, ts;
    std::string_view row;    // what the columns come from
    std::string_view schema; // Connect's, of the whole event
};

class debezium_decoder final : public payload_decoder {
  public:
    debezium_decoder(const payload_request& request, debezium_options options);

    bool prepare(const record& r, bytes payload, const std::weak_ptr<registry::listener>& who,
                 std::shared_ptr<const fault>& trouble) override;
    void look_at(const record& r) override { frame_.look_at(r); }
    bool decode(bytes payload, rows& out, arena& memory, problem& why) override;

  private:
    bool read_json(std::string_view& text);
    bool read_avro(bytes payload, std::string_view& text);
    bool split(std::string_view text);
    bool fill_fields(std::string_view row);
    bool fill_roles();
    bool put(int c, outcome o);
    outcome convert(std::string_view value, const connect_meaning* m, const type_desc& type, cell& out);
    outcome convert_text(std::string_view value, const connect_meaning* m, const type_desc& type,
                         cell& out);
    outcome convert_number(std::string_view value, const connect_meaning* m, const type_desc& type,
                           cell& out);
    outcome convert_object(std::string_view value, const type_desc& type, cell& out);
    outcome decimal(std::string_view base64, std::int32_t scale, const type_desc& type, cell& out);
    outcome bits(std::string_view base64, std::int32_t length, const type_desc& type, cell& out);
    outcome unavailable();
    outcome epoch(std::string_view value, cell& out, const type_desc& type);
    bool fail(const char* detail);

    const debezium_options options_;
    std::vector<type_desc> types_; // by the plan's index
    std::unordered_map<std::string, std::vector<int>> by_name_;
    std::vector<std::pair<std::string, int>> roles_; // _op and the like, without the underscore
    json_values values_;
    typed_values typed_;
    simdjson::dom::parser parser_;
    schema_frame frame_;
    written_schemas<shared_avro_schema> schemas_;
    avro_reader reader_;
    std::string avro_text_; // an event in Avro, as JSON

    // Of the newest schema: the fields of the row, by name.
    std::string schema_text_;
    connect_meanings meanings_;

    // While decode() runs.
    event event_;
    rows::row row_{};
    std::string name_, buffer_, bytes_;
};

bool is_scalar(const type_desc& type, cell_type of)
{
    return !type.is_array() && !type.is_composite() && type.type == of;
}

constexpr std::string_view role_names[] = {"_op", "_ts", "_source", "_before", "_after"};

// ------------------------------------------------------------------ an event

debezium_decoder::debezium_decoder(const payload_request& request, debezium_options options)
    : options_(options), types_(request.plan.columns.size()),
      values_(options.json, request.plan.server_encoding_utf8),
      typed_(options.json, request.plan.server_encoding_utf8), frame_(request.options),
      schemas_(request.plan.schemas, parse_registered_avro)
{
    for (int c : request.columns) {
        const column& col = request.at(c);
        types_[static_cast<std::size_t>(c)] = col.type;
        bool is_role = col.name.starts_with("_source_");
        for (std::string_view r : role_names)
            is_role |= col.name == r;
        if (is_role)
            roles_.emplace_back(col.name.substr(1), c);
        else
            by_name_[col.name].push_back(c);
    }
}

bool debezium_decoder::fail(const char* detail)
{
    values_.convert.refuse("22P02", "invalid input for format debezium", detail);
    return false;
}

bool debezium_decoder::decode(bytes payload, rows& out, arena& memory, problem& why)
{
    values_.convert.memory = typed_.convert().memory = &memory;
    auto all = [&] {
        std::string_view text = trim_json(payload.view());
        if (payload.size == 0)
            return fail("The payload is empty.");
        if (!(options_.avro ? read_avro(payload, text) : read_json(text)))
            return false;
        row_ = out.add_row();
        return split(text) && (is_null(event_.row) || fill_fields(event_.row)) && fill_roles();
    };
    const bool good = all();
    if (!good)
        why = values_.convert.why;
    if (payload.size > 1024 * 1024)
        parser_ = simdjson::dom::parser();
    return good;
}

// The whole document is judged first; then it can be cut into its parts.
bool debezium_decoder::read_json(std::string_view& text)
{
    simdjson::dom::element root;
    if (text.empty())
        return fail("The payload is empty.");
    if (auto error = parser_.parse(text.data(), text.size()).get(root))
        return fail(simdjson::error_message(error));
    return root.is_object() || fail("The payload is not an object.");
}

bool debezium_decoder::prepare(const record& r, bytes payload,
                               const std::weak_ptr<registry::listener>& who,
                               std::shared_ptr<const fault>& trouble)
{
    bytes rest;
    if (!options_.avro)
        return true;
    frame_.look_at(r);
    return frame_.open(payload, rest) || schemas_.prepare(frame_.key(), who, trouble);
}

bool debezium_decoder::read_avro(bytes payload, std::string_view& text)
{
    bytes rest;
    std::string_view why;
    auto detail = [&](std::string_view s) {
        return fail(values_.convert.memory->copy(s).data());
    };
    if (const char* flaw = frame_.open(payload, rest))
        return fail(flaw);
    const shared_avro_schema* schema = schemas_.get(frame_.key(), why);
    if (!schema)
        return detail(why);
    reader_.open(rest.view());
    reader_.fail("");
    avro_text_.clear();
    if (!reader_.render((*schema)->root(), nullptr, 1, typed_, avro_text_)) {
        if (*reader_.error())
            return fail(reader_.error());
        values_.convert.why = typed_.convert().why;
        return false;
    }
    if (!reader_.at_end())
        return fail("There is more behind the datum.");
    text = avro_text_;
    return text.starts_with('{') || fail("The event is not a record.");
}

bool debezium_decoder::split(std::string_view text)
{
    event_ = {};
    int members = 0;
    for (json_members m(text); m.next();)
        ++members;
    if (members == 2 && !member(text, "schema").empty() && !member(text, "payload").empty()) {
        event_.schema = member(text, "schema");
        text = member(text, "payload");
    }
    if (!text.starts_with('{'))
        return is_null(text) || fail("The event is not an object.");
    const std::string_view op = member(text, "op");
    const bool envelope = op.starts_with('"') && (!member(text, "source").empty() ||
                                                  !member(text, "after").empty() ||
                                                  !member(text, "before").empty());
    if (!envelope) { // flattened, or a key
        event_.row = event_.after = text;
        event_.op = member(text, "__op");
        event_.ts = member(text, "__ts_ms");
        if (member(text, "__deleted") == "\"true\"")
            event_.op = "\"d\"";
    } else {
        event_.op = op;
        event_.before = member(text, "before");
        event_.after = member(text, "after");
        event_.source = member(text, "source");
        event_.ts = member(text, "ts_ms");
        event_.row = op == "\"d\"" ? event_.before : event_.after;
    }
    if (event_.schema != schema_text_) {
        schema_text_ = event_.schema;
        meanings_ = read_connect_schema(event_.schema);
    }
    return true;
}

bool debezium_decoder::put(int c, outcome o)
{
    if (o == outcome::refused) {
        values_.convert.why.column = c;
        return false;
    }
    row_.states[c] = static_cast<cell_state>(o);
    return true;
}

bool debezium_decoder::fill_fields(std::string_view row)
{
    if (!row.starts_with('{'))
        return fail("The row of the event is not an object.");
    for (json_members m(row); m.next();) {
        const json_string key = unescape_json(m.key(), buffer_);
        name_ = key.text;
        const auto found = by_name_.find(name_);
        if (found == by_name_.end())
            continue;
        const auto known = meanings_.find(name_);
        const connect_meaning* of = known == meanings_.end() ? nullptr : &known->second;
        for (int c : found->second)
            if (!put(c, convert(m.value(), of, types_[static_cast<std::size_t>(c)], row_.cells[c])))
                return false;
    }
    return true;
}

// Milliseconds since 1970.
outcome debezium_decoder::epoch(std::string_view value, cell& out, const type_desc& type)
{
    item it{.what = kind::timestamptz, .has_raw = true};
    if (is_null(value))
        return outcome::null;
    if (parse_whole(value, it.raw) != whole::yes ||
        !to_microseconds(it.raw, time_unit::ms, it.i)) {
        fail("A time of the event is no number.");
        return outcome::refused;
    }
    const outcome o = typed_.make(it, type, out);
    values_.convert.why = typed_.convert().why;
    return o;
}

bool debezium_decoder::fill_roles()
{
    for (const auto& [role, c] : roles_) {
        const type_desc& type = types_[static_cast<std::size_t>(c)];
        cell& out = row_.cells[c];
        std::string_view value;
        if (role == "op")
            value = event_.op;
        else if (role == "source")
            value = event_.source;
        else if (role == "before")
            value = event_.before;
        else if (role == "after")
            value = event_.after;
        else if (role == "ts" || role == "source_ts") {
            const bool flat = event_.source.empty();
            value = role == "ts" ? event_.ts
                    : flat       ? member(event_.row, "__source_ts_ms")
                                 : member(event_.source, "ts_ms");
            if (!put(c, epoch(value, out, type)))
                return false;
            continue;
        } else if (event_.source.empty()) {
            value = member(event_.row, "__" + role);
        } else {
            value = member(event_.source, std::string_view(role).substr(7));
            if (value.empty() && role == "source_txid")
                value = member(event_.source, "txId");
        }
        if (!put(c, is_null(value) ? outcome::null : values_.make(value, type, out)))
            return false;
    }
    return true;
}

// ------------------------------------------------------------------ values

outcome debezium_decoder::unavailable()
{
    if (options_.unavailable_is_null)
        return outcome::null;
    return values_.convert.refuse("22P02", "the value is not in the change event",
                                  "It is large and was not changed. REPLICA IDENTITY FULL at the "
                                  "source includes it; the option unavailable 'null' makes it "
                                  "null.");
}

outcome debezium_decoder::convert(std::string_view value, const connect_meaning* m,
                                  const type_desc& type, cell& out)
{
    if (is_null(value))
        return outcome::null;
    if (is_unavailable(value, is_scalar(type, cell_type::bytea)))
        return unavailable();
    if (value.front() == '"')
        return convert_text(value, m, type, out);
    if (value.front() == '{')
        return convert_object(value, type, out);
    if (value.front() == '-' || (value.front() >= '0' && value.front() <= '9'))
        return convert_number(value, m, type, out);
    return values_.make(value, type, out);
}

outcome debezium_decoder::convert_text(std::string_view value, const connect_meaning* m,
                                       const type_desc& type, cell& out)
{
    const json_string s = unescape_json(value, buffer_);
    if (s.flaw || s.has_nul)
        return values_.make(value, type, out); // refuses it in its words
    if (m && m->name == "org.apache.kafka.connect.data.Decimal" && m->has_scale)
        return decimal(s.text, m->scale, type, out);
    if (m && m->name == "io.debezium.data.Bits")
        return bits(s.text, m->length, type, out);
    if (is_scalar(type, cell_type::numeric) && schema_text_.empty() && !options_.text_decimals &&
        !options_.avro) {
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

outcome debezium_decoder::convert_number(std::string_view value, const connect_meaning* m,
                                         const type_desc& type, cell& out)
{
    if (type.is_array() || type.is_composite())
        return values_.make(value, type, out);
    const std::string_view name = m ? std::string_view(m->name) : std::string_view();
    const bool is_time = type.type == cell_type::date || type.type == cell_type::time ||
                         type.type == cell_type::timestamp || type.type == cell_type::timestamptz;
    const bool is_duration = name.ends_with("Duration");
    if (!is_time && !is_duration)
        return values_.make(value, type, out);
    item it;
    if (parse_whole(value, it.i) != whole::yes)
        return values_.convert.refuse_syntax("a time", value);
    // What the connector writes for a timestamp's infinities.
    constexpr std::int64_t infinity = 9223372036825200000, minus_infinity = -9223372036832400000;
    if (type.type == cell_type::date ? name.empty() || name.ends_with("Date")
                                     : name.ends_with("Date")) {
        it.what = kind::date;
    } else if (it.i == infinity || it.i == minus_infinity) {
        return make_pending(it.i > 0 ? "infinity" : "-infinity", values_.convert, out);
    } else {
        time_unit unit = options_.json.unit;
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
    const outcome o = typed_.make(it, type, out);
    if (o == outcome::refused)
        values_.convert.why = typed_.convert().why;
    return o;
}

// A decimal with its own scale, a geometry; else a document or a composite.
outcome debezium_decoder::convert_object(std::string_view value, const type_desc& type, cell& out)
{
    if (is_scalar(type, cell_type::numeric)) {
        std::int64_t scale;
        const std::string base64 = text_of(member(value, "value"));
        if (parse_whole(member(value, "scale"), scale) == whole::yes && scale >= -16383 &&
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

outcome debezium_decoder::decimal(std::string_view base64, std::int32_t scale,
                                  const type_desc& type, cell& out)
{
    bytes_.clear();
    std::string number;
    if (!decode_base64(base64, bytes_))
        return values_.convert.refuse("22023", "invalid base64 data");
    if (!append_decimal(number, bytes_, scale))
        return values_.convert.refuse("22003", "value overflows numeric format");
    return values_.make(number, type, out);
}

outcome debezium_decoder::bits(std::string_view base64, std::int32_t length, const type_desc& type,
                               cell& out)
{
    bytes_.clear();
    if (!decode_base64(base64, bytes_))
        return values_.convert.refuse("22023", "invalid base64 data");
    if (is_scalar(type, cell_type::bytea))
        return make_bytea(bytes_, values_.convert, out);
    std::string text;
    append_bits(text, bytes_, length);
    return text_to_cell(text, type, values_.convert, out);
}

const format_option options[] = {
    {"encoding", "json, avro", "how events are written; avro: framed, with a schema registry (json)"},
    schema_id_option,
    {"timestamp_unit", "s, ms, us, ns",
     "what numbers in time and timestamp columns count where no schema says it (us)"},
    {"bytea_format", "base64, hex", "how bytes are written (base64)"},
    {"decimals", "precise, string",
     "what a string in a numeric column is, where no schema says it (precise)"},
    {"unavailable", "error, null", "what a large value that was not changed becomes (error)"},
};

} // namespace

const format_row debezium_format = {
    .name = "debezium",
    .help = "Debezium's change events in JSON, with or without their schema, or in Avro",
    .options = options,
    .asks_registry = true,
    .accepts = [](const type_desc&) -> result<done> { return done{}; },
    .make = [](const payload_request& r) -> result<std::unique_ptr<payload_decoder>> {
        debezium_options o;
        o.json.unit = read_time_unit(r.options.get("timestamp_unit", "us"));
        o.json.hex = r.options.get("bytea_format", "base64") == "hex";
        o.text_decimals = r.options.get("decimals", "precise") == "string";
        o.avro = r.options.get("encoding", "json") == "avro";
        if (o.avro && !r.plan.schemas)
            return no_registry("debezium");
        o.unavailable_is_null = r.options.get("unavailable", "error") == "null";
        return std::unique_ptr<payload_decoder>(std::make_unique<debezium_decoder>(r, o));
    },
};

} // namespace ke::decode
