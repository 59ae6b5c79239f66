// json: simdjson's on-demand parser straight into cells. One or more objects per payload, or one
// array of objects; each object is a row. The document is walked to its end whatever its use:
// UTF-8, strings, brackets and literals are judged everywhere, values only where a column wants
// them.
#include "decode/format.h"

#include <cstring>
#include <new>

#include <simdjson.h>

#include "decode/json_batch.h"
#include "decode/json_text.h"
#include "decode/json_tree.h"
#include "decode/json_values.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

namespace ondemand = simdjson::ondemand;

// A cell refused so far; its cell points to the problem. A later duplicate of the key overwrites
// it.
constexpr cell_state refused = static_cast<cell_state>(outcome::refused);

class json_decoder final : public payload_decoder {
  public:
    json_decoder(const payload_request& request, json_options options);

    void expect(std::span<const bytes> payloads) override { batch_.expect(payloads); }
    bool decode(bytes payload, rows& out, arena& memory, problem& why) override;

  private:
    static constexpr int most_depth = 1000;               // of brackets
    static constexpr std::size_t kept_size = 1024 * 1024; // buffers beyond go back to the heap

    bool decode_expected(bytes payload, bool& good);
    bool decode_text(std::string_view text);
    bool decode_objects(std::string_view text);
    bool decode_more_objects(std::string_view text);
    bool decode_array(std::string_view text);
    bool decode_scalar(std::string_view text);

    template <class Document>
    bool object_row(Document& document, const char* start);
    bool element_row(ondemand::value& element);
    void begin_row();
    bool end_row();

    bool walk(ondemand::value& value, json_node* node, int depth);
    bool walk_object(ondemand::object& object, json_node* node, int depth);
    bool walk_array(ondemand::array& array, json_node* node, int depth);
    bool walk_key(const char* key, ondemand::value& value, json_node* node,
                  json_node::place& last, json_node*& branch);
    bool walk_scalar(ondemand::value& value, std::string_view token, json_node* node);
    bool judge_string(std::string_view quoted, bool& plain);
    bool judge_literal(std::string_view token);

    void fill(const json_node& node, std::string_view value, bool plain);
    void keep_refusal(int column);
    void forget(const json_node& node);

    void make_room(std::size_t size);
    bool fail(const char* detail);
    bool fail(simdjson::error_code error);

    std::vector<int> columns_;
    std::vector<type_desc> types_; // by the plan's index; of columns_
    std::vector<char> texts_;      // likewise: whether it takes a string without escapes as it is
    bool sole_document_;
    json_node root_;
    json_values values_;

    json_batch batch_;
    ondemand::parser parser_;
    std::unique_ptr<char[]> buffer_; // the payload with the padding that simdjson wants
    std::size_t room_ = 0;
    std::string key_;    // a name with escapes, undone
    std::string string_; // a string with escapes, undone to be judged

    // While decode() runs.
    rows* out_ = nullptr;
    problem* why_ = nullptr;
    const char* text_end_ = nullptr;
    rows::row row_{};
    int refusals_ = 0; // cells of the row ever refused
};

json_decoder::json_decoder(const payload_request& request, json_options options)
    : columns_(request.columns), types_(request.plan.columns.size()),
      texts_(request.plan.columns.size()),
      sole_document_(request.sole_document), values_(options, request.plan.server_encoding_utf8)
{
#ifdef SIMDJSON_THREADS_ENABLED
    parser_.threaded = false; // no thread of its own for streams
#endif
    for (int c : columns_) {
        const column& col = request.plan.columns[static_cast<std::size_t>(c)];
        types_[static_cast<std::size_t>(c)] = col.type;
        texts_[static_cast<std::size_t>(c)] = col.type.is_plain() &&
                                              col.type.type == cell_type::text &&
                                              request.plan.server_encoding_utf8;
        const path own{path_step{col.name}};
        root_.add(col.whole_document || !col.where.empty() ? col.where : own, c);
    }
}

bool json_decoder::decode(bytes payload, rows& out, arena& memory, problem& why)
{
    out_ = &out;
    why_ = &why;
    values_.convert.memory = &memory;

    bool good;
    if (decode_expected(payload, good))
        return good;
    const std::string_view text = json_document(payload.view());
    if (text.empty())
        return fail("The document is empty.");
    good = decode_text(text);
    if (room_ > kept_size) {
        parser_ = ondemand::parser();
#ifdef SIMDJSON_THREADS_ENABLED
        parser_.threaded = false;
#endif
        buffer_.reset();
        room_ = 0;
    }
    return good;
}

// As one of many that were parsed together; false: it is to be parsed by itself, whatever is wrong.
bool json_decoder::decode_expected(bytes payload, bool& good)
{
    std::string_view text;
    ondemand::value* const object = batch_.next(payload, text);
    if (!object)
        return false;
    text_end_ = text.data() + text.size();
    const std::uint32_t had = out_->row_count();
    if (!object_row(*object, text.data()) || !batch_.ended()) {
        batch_.give_up();
        out_->truncate(had);
        return false;
    }
    good = end_row();
    return true;
}

bool json_decoder::decode_text(std::string_view text)
{
    if (text.front() != '{' && text.front() != '[')
        return decode_scalar(text);
    make_room(text.size());
    std::memcpy(buffer_.get(), text.data(), text.size());
    std::memset(buffer_.get() + text.size(), 0, simdjson::SIMDJSON_PADDING);
    text = {buffer_.get(), text.size()};
    text_end_ = text.data() + text.size();
    return text.front() == '{' ? decode_objects(text) : decode_array(text);
}

void json_decoder::make_room(std::size_t size)
{
    if (size <= room_)
        return;
    const std::size_t room = size <= kept_size ? std::max<std::size_t>(size * 2, 4096) : size;
    buffer_.reset(new char[room + simdjson::SIMDJSON_PADDING]);
    room_ = room;
    if (parser_.allocate(room) != simdjson::SUCCESS) {
        room_ = 0;
        throw std::bad_alloc();
    }
}

bool json_decoder::decode_objects(std::string_view text)
{
    ondemand::document document;
    auto error = parser_.iterate(text.data(), text.size(), text.size() + simdjson::SIMDJSON_PADDING)
                     .get(document);
    if (error)
        return fail(error);
    if (!object_row(document, text.data()) || !end_row())
        return false;
    const char* rest;
    if (document.current_location().get(rest))
        return true; // at the end
    return decode_more_objects({rest, static_cast<std::size_t>(text_end_ - rest)});
}

// Behind the first object of a payload. UTF-8 and strings have been judged with the first.
bool json_decoder::decode_more_objects(std::string_view text)
{
    ondemand::document_stream stream;
    if (auto error = parser_.iterate_many(text.data(), text.size(), room_).get(stream))
        return fail(error);
    bool any = false;
    for (auto i = stream.begin(); i != stream.end(); ++i) {
        ondemand::document_reference document;
        if (auto error = (*i).get(document))
            return fail(error);
        const char* start;
        if (document.current_location().get(start) || *start != '{')
            return fail("After an object comes another one, or the end.");
        if (!object_row(document, start) || !end_row())
            return false;
        any = true;
    }
    if (!any || stream.truncated_bytes() > 0)
        return fail("After an object comes another one, or the end.");
    return true;
}

bool json_decoder::decode_array(std::string_view text)
{
    ondemand::document document;
    auto error = parser_.iterate(text.data(), text.size(), text.size() + simdjson::SIMDJSON_PADDING)
                     .get(document);
    if (error)
        return fail(error);
    ondemand::array array;
    if (auto e = document.get_array().get(array))
        return fail(e);
    for (auto i : array) {
        ondemand::value element;
        if (auto e = i.get(element))
            return fail(e);
        if (!element_row(element))
            return false;
    }
    const char* rest;
    if (!document.current_location().get(rest))
        return fail("There is more behind the array.");
    return true;
}

// A document that is one scalar: simdjson is not needed.
bool json_decoder::decode_scalar(std::string_view text)
{
    if (auto error = simdjson::validate_utf8(text.data(), text.size()) ? simdjson::SUCCESS
                                                                       : simdjson::UTF8_ERROR)
        return fail(error);
    if (text.front() == '"') {
        for (std::size_t at = 1; at < text.size(); at++) {
            if (static_cast<unsigned char>(text[at]) < 0x20)
                return fail(simdjson::UNESCAPED_CHARS);
            if (text[at] == '\\')
                ++at;
            else if (text[at] == '"' && at + 1 < text.size())
                return fail("There is more behind the string.");
        }
    }
    bool plain = false;
    if (text.front() == '"' ? !judge_string(text, plain) : !judge_literal(text))
        return false;
    if (!sole_document_)
        return fail("The document is neither an object nor an array of objects.");
    begin_row();
    fill(root_, text, plain);
    return end_row();
}

// A row but for end_row(). start: where the object begins.
template <class Document>
bool json_decoder::object_row(Document& document, const char* start)
{
    ondemand::object object;
    if (auto error = document.get_object().get(object))
        return fail(error);
    begin_row();
    if (!walk_object(object, &root_, 1))
        return false;
    if (!root_.columns.empty()) {
        const char* end;
        if (document.current_location().get(end))
            end = text_end_;
        fill(root_, trim_json({start, static_cast<std::size_t>(end - start)}), false);
    }
    return true;
}

bool json_decoder::element_row(ondemand::value& element)
{
    if (*element.raw_json_token().data() != '{' && !sole_document_)
        return fail("The document is an array of something else than objects.");
    begin_row();
    return walk(element, &root_, 2) && end_row();
}

void json_decoder::begin_row()
{
    row_ = out_->add_row();
    refusals_ = 0;
}

bool json_decoder::end_row()
{
    if (refusals_ == 0)
        return true;
    for (int c : columns_)
        if (row_.states[c] == refused) {
            *why_ = *reinterpret_cast<const problem*>(row_.cells[c]);
            return false;
        }
    return true;
}

// --- the walk; node: the branch we are in, null where nobody wants anything ---

bool json_decoder::walk(ondemand::value& value, json_node* node, int depth)
{
    const std::string_view token = value.raw_json_token();
    const char* start = token.data();
    if (*start != '{' && *start != '[')
        return walk_scalar(value, token, node);
    if (node && node->leads_on())
        forget(*node);
    if (depth > most_depth)
        return fail("The document is nested too deep.");
    if (*start == '{') {
        ondemand::object object;
        if (auto error = value.get_object().get(object))
            return fail(error);
        if (!walk_object(object, node, depth))
            return false;
    } else {
        ondemand::array array;
        if (auto error = value.get_array().get(array))
            return fail(error);
        if (!walk_array(array, node, depth))
            return false;
    }
    if (node && !node->columns.empty()) {
        const char* end;
        if (value.current_location().get(end))
            end = text_end_;
        fill(*node, trim_json({start, static_cast<std::size_t>(end - start)}), false);
    }
    return true;
}

bool json_decoder::walk_object(ondemand::object& object, json_node* node, int depth)
{
    const bool wanted = node && node->leads_on();
    json_node::place last = json_node::at_start;
    for (auto f : object) {
        if (auto error = f.error())
            return fail(error);
        // Where it lies: copies of simdjson's values, field by field, are the dearest part of the walk.
        ondemand::field& field = f.value_unsafe();
        ondemand::value& value = field.value();
        const char* key = field.key().raw();
        json_node* branch = nullptr;
        if (!(wanted && node->guess(key, static_cast<std::size_t>(text_end_ - key), last, branch)) &&
            !walk_key(key, value, wanted ? node : nullptr, last, branch))
            return false;
        if (!walk(value, branch, depth + 1))
            return false;
    }
    return true;
}

// A key that was not guessed. Its end: back from the value, over the colon.
bool json_decoder::walk_key(const char* key, ondemand::value& value, json_node* node,
                            json_node::place& last, json_node*& branch)
{
    const char* const value_start = value.raw_json_token().data();
    std::string_view name = trim_end({key, static_cast<std::size_t>(value_start - key)});
    name = trim_end(name.substr(0, name.empty() ? 0 : name.size() - 1));
    if (name.empty() || name.back() != '"')
        return fail(simdjson::TAPE_ERROR);
    const std::string_view quoted{key - 1, name.size() + 1};
    name.remove_suffix(1);
    bool plain;
    if (!node)
        return judge_string(quoted, plain);
    if (name.empty() || !std::memchr(name.data(), '\\', name.size())) {
        branch = node->member(name, last);
        return true;
    }
    const json_string s = unescape_json(quoted, key_);
    if (s.malformed)
        return fail(s.flaw);
    branch = s.flaw ? nullptr : node->escaped_member(s.text);
    return true;
}

bool json_decoder::walk_array(ondemand::array& array, json_node* node, int depth)
{
    std::int64_t position = 0;
    for (auto e : array) {
        ondemand::value element;
        if (auto error = e.get(element))
            return fail(error);
        json_node* branch = node && node->leads_on() ? node->element(position) : nullptr;
        if (!walk(element, branch, depth + 1))
            return false;
        ++position;
    }
    return true;
}

bool json_decoder::walk_scalar(ondemand::value& value, std::string_view token, json_node* node)
{
    token = trim_end(token);
    bool plain = false;
    if (token.front() == '"') {
        // Taken explicitly: simdjson's own skipping would take a string before ':' for a key.
        ondemand::raw_json_string ignored;
        if (auto error = value.get_raw_json_string().get(ignored))
            return fail(error);
        if (!judge_string(token, plain))
            return false;
    } else if (!judge_literal(token)) {
        return false;
    }
    if (node) {
        if (node->leads_on())
            forget(*node);
        fill(*node, token, plain);
    }
    return true;
}

// plain: there are no escapes in it.
bool json_decoder::judge_string(std::string_view quoted, bool& plain)
{
    if (quoted.size() < 2 || quoted.back() != '"')
        return fail(simdjson::UNCLOSED_STRING);
    plain = !std::memchr(quoted.data(), '\\', quoted.size());
    if (plain)
        return true;
    const json_string s = unescape_json(quoted, string_);
    return s.malformed ? fail(s.flaw) : true;
}

bool json_decoder::judge_literal(std::string_view token)
{
    return is_json_literal(token) ||
           fail("A value is neither a string, a number, true, false nor null.");
}

void json_decoder::fill(const json_node& node, std::string_view value, bool plain)
{
    for (int c : node.columns) {
        const auto i = static_cast<std::size_t>(c);
        if (plain && texts_[i]) {
            const std::size_t n = value.size() - 2;
            char* text = make_varlena(*values_.convert.memory, n);
            std::memcpy(text + 4, value.data() + 1, n);
            row_.cells[c] = pointer_cell(text);
            row_.states[c] = cell_state::value;
            continue;
        }
        const outcome o = values_.make(value, types_[i], row_.cells[c], plain);
        row_.states[c] = static_cast<cell_state>(o);
        if (o == outcome::refused)
            keep_refusal(c);
    }
}

void json_decoder::keep_refusal(int c)
{
    ++refusals_;
    auto* kept = new (values_.convert.memory->take(sizeof(problem))) problem(values_.convert.why);
    kept->column = c;
    row_.cells[c] = pointer_cell(reinterpret_cast<const char*>(kept));
}

// A key may come twice, the last wins: what an earlier one left below it is gone.
void json_decoder::forget(const json_node& node)
{
    for (int c : node.below)
        row_.states[c] = cell_state::null;
}

bool json_decoder::fail(const char* detail)
{
    values_.convert.refuse("22P02", "invalid input syntax for type json", detail);
    *why_ = values_.convert.why;
    return false;
}

bool json_decoder::fail(simdjson::error_code error)
{
    switch (error) {
    case simdjson::MEMALLOC:
        throw std::bad_alloc();
    case simdjson::UTF8_ERROR:
        values_.convert.refuse("22021", "invalid byte sequence for encoding \"UTF8\"");
        *why_ = values_.convert.why;
        return false;
    case simdjson::UNCLOSED_STRING:
        return fail("A string is not closed.");
    case simdjson::UNESCAPED_CHARS:
        return fail("A string holds a control character that must be escaped.");
    case simdjson::INCOMPLETE_ARRAY_OR_OBJECT:
        return fail("A bracket is not closed.");
    case simdjson::TAPE_ERROR:
        return fail("A comma, a colon, a key or a bracket is missing or misplaced.");
    case simdjson::CAPACITY:
        return fail("The document is too long.");
    default:
        return fail(simdjson::error_message(error));
    }
}

const format_option options[] = {
    {"timestamp_unit", "s, ms, us, ns", "what numbers in timestamp columns count since 1970 (ms)"},
    {"bytea_format", "base64, hex", "how strings in bytea columns are written (base64)"},
};

} // namespace

const format_row json_format = {
    .name = "json",
    .help = "one or more JSON objects, or one array of objects; each object is a row",
    .options = options,
    .takes_paths = true,
    .accepts = [](const type_desc&) -> result<done> { return done{}; },
    .make = [](const payload_request& r) -> result<std::unique_ptr<payload_decoder>> {
        json_options o;
        o.unit = read_time_unit(r.options.get("timestamp_unit", "ms"));
        o.hex = r.options.get("bytea_format", "base64") == "hex";
        return std::unique_ptr<payload_decoder>(std::make_unique<json_decoder>(r, o));
    },
};

} // namespace ke::decode
