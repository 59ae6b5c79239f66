// debezium: change events in JSON, with or without Connect's schema around them, or in Avro with a
// schema registry: then written out as JSON first, in which what the schema says is already done. The
// row's columns come from `after`, of a delete from `before` (change_event); events that the usual
// transform has flattened are rows themselves. MongoDB's `after` is a string that holds the document.
//
//   _op                c, u, d, r (snapshot), t (truncate), m (message); null: a tombstone
//   _source_ts         when the source made the change;  _ts: when the connector saw it
//   _source_lsn, ...   a member of `source`;  _source, _before, _after: JSON of them
//   _unavailable       names of columns whose values the event does not have: they are null in the row,
//                      and a keyed view leaves what it has (stream/statements)
#include "decode/format.h"

#include <algorithm>
#include <new>
#include <unordered_map>

#include <simdjson.h>

#include "decode/avro_reader.h"
#include "decode/change_event.h"
#include "decode/change_values.h"
#include "decode/framing.h"
#include "decode/json_text.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

// What becomes of a value that an event leaves out: an error, null, or null where the event is of a row
// that is there, which keeps what it has.
enum class left_out : std::uint8_t { error, null, keep };

struct debezium_options : change_options {
    left_out unavailable = left_out::error;
    bool avro = false;
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
    bool open_document();
    bool lose_row();
    bool put(int c, outcome o);
    bool fill_fields();
    bool fill_field(std::string_view value, const std::vector<int>& columns);
    bool is_of_table() const;
    bool lose_field(std::string_view name, const std::vector<int>* columns);
    bool fill_roles();
    outcome make_role(std::string_view role, const type_desc& type, cell& out);
    bool put_unavailable();
    bool fail(const char* detail);

    const debezium_options options_;
    std::vector<type_desc> types_; // by the plan's index
    std::unordered_map<std::string, std::vector<int>> by_name_;
    const std::vector<std::string> all_names_;       // of the table's columns, used or not
    std::vector<std::string> row_names_;             // of those and the key's: not roles
    std::vector<std::pair<std::string, int>> roles_; // _op and the like, without the underscore
    int unavailable_column_ = -1;
    change_values values_;
    simdjson::dom::parser parser_;
    schema_frame frame_;
    written_schemas<shared_avro_schema> schemas_;
    avro_reader reader_;
    std::string avro_text_; // an event in Avro, as JSON

    // Of the newest schema: the fields of the row, by name.
    std::string schema_text_;
    connect_meanings meanings_;

    // While decode() runs.
    change_event event_;
    rows::row row_{};
    std::string name_, buffer_, document_;
    std::string unavailable_; // JSON strings, separated by commas
};

bool is_bytes(const type_desc& type)
{
    return !type.is_array() && !type.is_composite() && type.type == cell_type::bytea;
}

constexpr std::string_view role_names[] = {"_op", "_ts", "_source", "_before", "_after"};
constexpr std::string_view unavailable_name = "_unavailable";

bool is_role(std::string_view name)
{
    return name.starts_with("_source_") || name == unavailable_name ||
           std::find(std::begin(role_names), std::end(role_names), name) != std::end(role_names);
}

// ------------------------------------------------------------------ an event

debezium_decoder::debezium_decoder(const payload_request& request, debezium_options options)
    : options_(options), types_(request.plan.columns.size()), all_names_(request.all_columns),
      values_(options, request.plan.server_encoding_utf8), frame_(request.options),
      schemas_(request.plan.schemas, parse_registered_avro)
{
    for (int c : request.columns) {
        const column& col = request.at(c);
        types_[static_cast<std::size_t>(c)] = col.type;
        if (col.name == unavailable_name)
            unavailable_column_ = c;
        else if (is_role(col.name))
            roles_.emplace_back(col.name.substr(1), c);
        else
            by_name_[col.name].push_back(c);
    }
    if (request.options.of_key)
        return; // a key may have any fields
    row_names_ = request.plan.key_names;
    for (const std::string& name : all_names_)
        if (!is_role(name))
            row_names_.push_back(name);
}

bool debezium_decoder::fail(const char* detail)
{
    values_.refuse("22P02", "invalid input for format debezium", detail);
    return false;
}

bool debezium_decoder::decode(bytes payload, rows& out, arena& memory, problem& why)
{
    values_.use(memory);
    unavailable_.clear();
    auto all = [&] {
        std::string_view text = trim_json(payload.view());
        if (payload.size == 0)
            return fail("The payload is empty.");
        if (!(options_.avro ? read_avro(payload, text) : read_json(text)))
            return false;
        row_ = out.add_row();
        return split(text) && fill_fields() && fill_roles() && put_unavailable();
    };
    const bool good = all();
    if (!good)
        why = values_.why();
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
    if (auto error = parser_.parse(text.data(), text.size()).get(root)) {
        if (error == simdjson::MEMALLOC) {
            parser_ = simdjson::dom::parser(); // one that is half made would crash
            throw std::bad_alloc();
        }
        return fail(simdjson::error_message(error));
    }
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
        return fail(values_.typed().convert().memory->copy(s).data());
    };
    if (const char* flaw = frame_.open(payload, rest))
        return fail(flaw);
    const shared_avro_schema* schema = schemas_.get(frame_.key(), why);
    if (!schema)
        return detail(why);
    reader_.open(rest.view());
    reader_.fail("");
    avro_text_.clear();
    if (!reader_.render((*schema)->root(), nullptr, 1, values_.typed(), avro_text_)) {
        if (*reader_.error())
            return fail(reader_.error());
        values_.why() = values_.typed().convert().why;
        return false;
    }
    if (!reader_.at_end())
        return fail("There is more behind the datum.");
    text = avro_text_;
    return text.starts_with('{') || fail("The event is not a record.");
}

bool debezium_decoder::split(std::string_view text)
{
    if (const char* flaw = split_change(text, event_))
        return fail(flaw);
    if (event_.schema != schema_text_) {
        std::string text(event_.schema); // memory may end: before anything is believed
        meanings_ = read_connect_schema(text);
        schema_text_ = std::move(text);
    }
    values_.extended_json = event_.row.starts_with('"');
    values_.schema_known = options_.avro || !schema_text_.empty() || values_.extended_json;
    return !values_.extended_json || open_document();
}

// A row that is a string holds the document.
bool debezium_decoder::open_document()
{
    const json_string s = unescape_json(event_.row, buffer_);
    if (s.flaw)
        return fail("The row of the event is not a document.");
    document_ = s.text;
    std::string_view text = trim_json(document_);
    if (!read_json(text))
        return false;
    event_.row = text;
    return true;
}

bool debezium_decoder::put(int c, outcome o)
{
    if (o == outcome::refused) {
        values_.why().column = c;
        return false;
    }
    row_.states[c] = static_cast<cell_state>(o);
    return true;
}

bool debezium_decoder::fill_fields()
{
    if (is_null(event_.row))
        return !event_.holds_a_row || lose_row();
    if (!event_.row.starts_with('{'))
        return fail("The row of the event is not an object.");
    bool met = !event_.flattened || event_.has_metadata;
    for (json_members m(event_.row); m.next();) {
        const json_string key = unescape_json(m.key(), buffer_);
        name_ = key.text;
        const auto found = by_name_.find(name_);
        const bool used = found != by_name_.end();
        met |= used;
        const bool of_bytes = used && is_bytes(types_[static_cast<std::size_t>(found->second[0])]);
        if (is_unavailable(m.value(), of_bytes || !used)
                ? !lose_field(name_, used ? &found->second : nullptr)
                : used && !fill_field(m.value(), found->second))
            return false;
    }
    return met || is_of_table() ||
           fail("The payload is no change event, and no row of the table's: it has none of its "
                "columns.");
}

// A flattened event and the table have a column in common, or the table has none for its fields.
bool debezium_decoder::is_of_table() const
{
    std::string buffer;
    bool found = row_names_.empty();
    for (json_members m(event_.row); !found && m.next();)
        found = std::find(row_names_.begin(), row_names_.end(),
                          unescape_json(m.key(), buffer).text) != row_names_.end();
    return found;
}

bool debezium_decoder::fill_field(std::string_view value, const std::vector<int>& columns)
{
    const auto known = meanings_.find(name_);
    const connect_meaning* of = known == meanings_.end() ? nullptr : &known->second;
    for (int c : columns)
        if (!put(c, values_.field(value, of, types_[static_cast<std::size_t>(c)], row_.cells[c])))
            return false;
    return true;
}

// A value that the event does not have; columns: null where nobody uses it.
bool debezium_decoder::lose_field(std::string_view name, const std::vector<int>* columns)
{
    const bool is_new = event_.op == "\"c\"" || event_.op == "\"r\"";
    if (columns && options_.unavailable == left_out::keep && is_new) {
        values_.refuse(
            "22P02", "the value is not in the change event",
            "The row is new under this key, and was another one before: REPLICA IDENTITY FULL "
            "at the source sends the value; the option unavailable 'null' makes it null.");
        return put((*columns)[0], outcome::refused);
    }
    if (columns && options_.unavailable == left_out::error) {
        values_.refuse(
            "22P02", "the value is not in the change event",
            "It is large and was not changed. Declare the column _unavailable text[], and "
            "keyed views leave what they have; REPLICA IDENTITY FULL at the source sends "
            "the value; the option unavailable 'null' makes it null.");
        return put((*columns)[0], outcome::refused);
    }
    if (std::find(all_names_.begin(), all_names_.end(), name) == all_names_.end())
        return true;
    unavailable_ += unavailable_.empty() ? "" : ",";
    append_json_string(unavailable_, name);
    return true;
}

// An update that comes without its row, as MongoDB's may.
bool debezium_decoder::lose_row()
{
    const bool is_new = event_.op != "\"u\"";
    if (options_.unavailable == left_out::error || is_new)
        return fail("The event holds no row: the connector has to send whole ones.");
    for (const std::string& name : all_names_)
        if (!name.starts_with('_') && !lose_field(name, nullptr))
            return false;
    return true;
}

bool debezium_decoder::put_unavailable()
{
    const int c = unavailable_column_;
    if (c < 0 || unavailable_.empty())
        return true;
    unavailable_.insert(unavailable_.begin(), '[');
    unavailable_ += ']';
    return put(c, values_.plain(unavailable_, types_[static_cast<std::size_t>(c)], row_.cells[c]));
}

outcome debezium_decoder::make_role(std::string_view role, const type_desc& type, cell& out)
{
    if (role == "op")
        return values_.plain(event_.op, type, out);
    if (role == "source")
        return values_.plain(event_.source, type, out);
    if (role == "before")
        return values_.plain(event_.before, type, out);
    if (role == "after")
        return values_.plain(event_.after, type, out);
    if (role == "ts")
        return values_.epoch(event_.ts, type, out);
    if (event_.flattened) {
        const std::string_view value =
            member(event_.row, role == "source_ts" ? "__source_ts_ms" : "__" + std::string(role));
        return role == "source_ts" ? values_.epoch(value, type, out)
                                   : values_.plain(value, type, out);
    }
    if (role == "source_ts")
        return values_.epoch(member(event_.source, "ts_ms"), type, out);
    std::string_view value = member(event_.source, role.substr(7));
    if (value.empty() && role == "source_txid")
        value = member(event_.source, "txId");
    return values_.plain(value, type, out);
}

bool debezium_decoder::fill_roles()
{
    for (const auto& [role, c] : roles_)
        if (!put(c, make_role(role, types_[static_cast<std::size_t>(c)], row_.cells[c])))
            return false;
    return true;
}

const format_option options[] = {
    {"encoding", "json, avro",
     "how events are written; avro: framed, with a schema registry (json)"},
    schema_id_option,
    {"timestamp_unit", "s, ms, us, ns",
     "what numbers in time and timestamp columns count where no schema says it (us; ms in columns of a "
     "precision up to 3)"},
    {"bytea_format", "base64, hex", "how bytes are written (base64)"},
    {"decimals", "precise, string",
     "what a string in a numeric column is, where no schema says it (precise)"},
    {"unavailable", "error, null",
     "what a large value that was not changed becomes (error; kept with a column _unavailable)"},
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
        o.adaptive = !r.options.find("timestamp_unit");
        o.json.hex = r.options.get("bytea_format", "base64") == "hex";
        o.text_decimals = r.options.get("decimals", "precise") == "string";
        o.avro = r.options.get("encoding", "json") == "avro";
        if (o.avro && !r.plan.schemas)
            return no_registry("debezium");
        const auto& names = r.all_columns;
        const bool named = std::find(names.begin(), names.end(), unavailable_name) != names.end();
        const std::string_view given = r.options.get("unavailable", named ? "keep" : "error");
        o.unavailable = given == "error"  ? left_out::error
                        : given == "null" ? left_out::null
                                          : left_out::keep;
        return std::unique_ptr<payload_decoder>(std::make_unique<debezium_decoder>(r, o));
    },
};

} // namespace ke::decode
