// A document's walk: simdjson's on-demand parser straight into the cells of a row.
#include "decode/json_decoder.h"

#include <cstring>
#include <new>

#include "decode/json_text.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace ondemand = simdjson::ondemand;

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
        if (row_.states[c] == refused_cell) {
            *why_ = *reinterpret_cast<const problem*>(row_.cells[c]);
            return false;
        }
    return true;
}

// --- what a value is for its columns ---

// plain: there are no escapes in it.
bool json_decoder::judge_string(std::string_view quoted, bool& plain)
{
    if (quoted.size() < 2 || quoted.back() != '"')
        return fail(simdjson::UNCLOSED_STRING);
    plain = !std::memchr(quoted.data(), '\\', quoted.size());
    return plain || judge_escapes(quoted);
}

bool json_decoder::judge_escapes(std::string_view quoted)
{
    const json_string s = unescape_json(quoted, string_);
    return s.malformed ? fail(s.flaw) : true;
}

bool json_decoder::judge_literal(std::string_view token)
{
    return is_json_literal(token) ||
           fail("A value is neither a string, a number, true, false nor null.");
}

// What most values are, by the type of their column alone; false: it takes json_values to say.
inline bool json_decoder::fill_usual(int column, std::string_view value, bool plain)
{
    const target& to = targets_[static_cast<std::size_t>(column)];
    cell& out = row_.cells[column];
    std::int64_t n;
    switch (to.usual) {
    case cell_type::text: {
        if (!plain)
            return false;
        char* text = make_varlena(*values_.convert.memory, value.size() - 2);
        std::memcpy(text + 4, value.data() + 1, value.size() - 2);
        out = pointer_cell(text);
        break;
    }
    case cell_type::int4:
    case cell_type::int8:
        if (plain || !parse_short(value, n) ||
            (to.usual == cell_type::int4 && n != static_cast<std::int32_t>(n)))
            return false;
        out = number_cell(n);
        break;
    case cell_type::timestamp:
    case cell_type::timestamptz:
        if (!plain || !parse_timestamp(value.substr(1, value.size() - 2),
                                       to.usual == cell_type::timestamptz, n))
            return false;
        out = number_cell(n);
        break;
    case cell_type::numeric:
        if (plain || !numeric_to_cell(value, to.type.typmod, *values_.convert.memory, out))
            return false;
        break;
    default:
        return false;
    }
    row_.states[column] = cell_state::value;
    return true;
}

void json_decoder::fill(const json_node& node, std::string_view value, bool plain)
{
    for (int c : node.columns) {
        if (fill_usual(c, value, plain))
            continue;
        const outcome o =
            values_.make(value, targets_[static_cast<std::size_t>(c)].type, row_.cells[c], plain);
        row_.states[c] = static_cast<cell_state>(o);
        if (o == outcome::refused)
            keep_refusal(c);
    }
}

// --- the walk; node: the branch we are in, null where nobody wants anything ---

inline bool json_decoder::walk_scalar(ondemand::value& value, std::string_view token,
                                      json_node* node)
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

// Within its caller: most values are scalars of an object, and calls are most of what one costs.
inline bool json_decoder::walk_here(ondemand::value& value, json_node* node, int depth)
{
    const std::string_view token = value.raw_json_token();
    if (token.front() != '{' && token.front() != '[')
        return walk_scalar(value, token, node);
    return walk_container(value, token.data(), node, depth);
}

bool json_decoder::walk(ondemand::value& value, json_node* node, int depth)
{
    return walk_here(value, node, depth);
}

bool json_decoder::walk_container(ondemand::value& value, const char* start, json_node* node,
                                  int depth)
{
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
        // Where a payload leaves a string open, the walk gets to keys of the next.
        if (!(wanted && key < text_end_ &&
              node->guess(key, static_cast<std::size_t>(text_end_ - key), last, branch)) &&
            !walk_key(key, value, wanted ? node : nullptr, last, branch))
            return false;
        if (!walk_here(value, branch, depth + 1))
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

} // namespace ke::decode
