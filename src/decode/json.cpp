// json: one or more objects per payload, or one array of objects; each object is a row.
#include "decode/encoder.h"
#include "decode/json_decoder.h"

#include <cstring>
#include <new>

#include "decode/json_text.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace ondemand = simdjson::ondemand;

namespace {

constexpr const char* more_behind_array = "There is more behind the array.";
constexpr const char* more_behind_object =
    "There is more behind the object, and it is no other one.";

// What stands behind the object or array with which the text begins; empty where that is not closed.
std::string_view behind(std::string_view text)
{
    int depth = 0;
    bool in_string = false;
    for (std::size_t i = 0; i < text.size(); i++) {
        const char c = text[i];
        if (in_string && c == '\\')
            ++i;
        else if (c == '"')
            in_string = !in_string;
        else if (!in_string && (c == '{' || c == '['))
            ++depth;
        else if (!in_string && (c == '}' || c == ']') && --depth == 0)
            return trim_json(text.substr(i + 1));
    }
    return {};
}

// The parser says of both that a bracket is not closed.
bool has_more_behind_objects(std::string_view text)
{
    do
        text = behind(text);
    while (text.starts_with('{'));
    return !text.empty();
}

cell_type usual_type(const type_desc& type, bool utf8_server)
{
    const bool time = type.type == cell_type::timestamp || type.type == cell_type::timestamptz;
    if (!type.is_plain() || (type.type == cell_type::text && !utf8_server) ||
        (time && type.typmod >= 0))
        return cell_type::other;
    return type.type;
}

} // namespace

json_decoder::json_decoder(const payload_request& request, json_options options)
    : columns_(request.columns), targets_(request.plan.columns.size()),
      sole_document_(request.sole_document), values_(options, request.plan.server_encoding_utf8)
{
#ifdef SIMDJSON_THREADS_ENABLED
    parser_.threaded = false; // no thread of its own for streams
#endif
    for (int c : columns_) {
        const column& col = request.plan.columns[static_cast<std::size_t>(c)];
        targets_[static_cast<std::size_t>(c)] = {
            col.type, usual_type(col.type, request.plan.server_encoding_utf8)};
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
            return fail(more_behind_object);
        if (!object_row(document, start) || !end_row())
            return false;
        any = true;
    }
    if (!any || stream.truncated_bytes() > 0)
        return fail(more_behind_object);
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
        return behind(text).empty() ? fail(e) : fail(more_behind_array);
    for (auto i : array) {
        ondemand::value element;
        if (auto e = i.get(element))
            return fail(e);
        if (!element_row(element))
            return false;
    }
    const char* rest;
    if (!document.current_location().get(rest))
        return fail(more_behind_array);
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
        return has_more_behind_objects({start, static_cast<std::size_t>(text_end_ - start)})
                   ? fail(more_behind_object)
                   : fail(error);
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

namespace {

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
    .make_encoder = make_json_encoder,
};

} // namespace ke::decode
