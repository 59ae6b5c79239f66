#include "decoding.h"

#include <bit>
#include <cstring>
#include <sstream>
#include <stdexcept>

#include "decode/scalars.h"
#include "decode/utf8.h"
#include "base/no_backend.h"

namespace ke::test {

using namespace decode;

type_desc type_of(cell_type type, int typmod)
{
    type_desc t;
    t.type = type;
    t.typmod = typmod;
    return t;
}

type_desc array_of(type_desc element)
{
    type_desc t;
    t.type = cell_type::other;
    t.element = std::make_shared<type_desc>(std::move(element));
    return t;
}

column from_payload(std::string name, type_desc type, std::string_view path)
{
    column c;
    c.name = std::move(name);
    c.type = std::move(type);
    if (!path.empty()) {
        c.where = parse_path(path).value();
        c.whole_document = c.where.empty();
    }
    return c;
}

column from_key(std::string name, type_desc type, std::string_view path)
{
    column c = from_payload(std::move(name), std::move(type), path);
    c.source = column_source::key;
    return c;
}

column from_role(std::string name, type_desc type, role role, std::string header)
{
    column c;
    c.name = std::move(name);
    c.type = std::move(type);
    c.source = column_source::metadata;
    c.metadata = role;
    c.header_name = std::move(header);
    return c;
}

table::table(std::vector<column> columns, std::string format)
{
    plan.format = std::move(format);
    plan.columns = std::move(columns);
    for (column& c : plan.columns) {
        if (c.source != column_source::metadata) {
            auto& names = c.source == column_source::key ? plan.key_names : plan.payload_names;
            c.ordinal = static_cast<int>(names.size());
            names.push_back(c.name);
        }
        plan.payload_columns += c.source == column_source::payload;
        plan.payload_needed |= c.source == column_source::payload;
        plan.key_needed |= c.source == column_source::key || c.metadata == role::key;
        plan.has_error_column |= c.metadata == role::error;
    }
}

table& table::option(std::string name, std::string value)
{
    plan.options.emplace_back(std::move(name), std::move(value));
    return *this;
}

table& table::key_format(std::string name)
{
    plan.key_format = std::move(name);
    return *this;
}

record record_of(std::string_view value)
{
    record r;
    r.topic = "clicks";
    r.topic_no = topic_number(0);
    r.partition = partition_id(3);
    r.offset = message_offset(42);
    r.value = bytes(value);
    return r;
}

decoding::decoding(const table& t)
    : plan(std::make_shared<const row_plan>(t.plan)), rows(t.plan.columns.size())
{
    auto made = record_decoder::make(plan);
    if (!made)
        throw std::runtime_error(made.error().message);
    decoder = std::move(made.value());
}

std::string decoding::decode(const record& r)
{
    decoder->decode(r, rows);
    return shown(static_cast<std::uint32_t>(rows.messages.size()) - 1);
}

std::string decoding::shown(std::uint32_t message) const
{
    for (const reject& r : rows.rejects) {
        if (r.message != message)
            continue;
        std::string text = "!" + std::string(r.sqlstate) + " ";
        if (r.column >= 0)
            text += plan->columns[static_cast<std::size_t>(r.column)].name + ": ";
        text += r.reason;
        if (!r.detail.empty())
            text += " (" + std::string(r.detail) + ")";
        return text;
    }
    const message_ref& m = rows.messages[message];
    if (m.row_count == 0)
        return "-";
    std::string text;
    for (std::uint32_t row = m.first_row; row < m.first_row + m.row_count; row++) {
        text += row > m.first_row ? "|" : "";
        for (std::size_t c = 0; c < rows.columns(); c++) {
            text += c > 0 ? "," : "";
            text += show_cell(rows.cells(row)[c], rows.states(row)[c], plan->columns[c].type);
        }
    }
    return text;
}

namespace {

std::string_view content(cell value)
{
    const char* p = reinterpret_cast<const char*>(value);
    std::uint32_t header;
    std::memcpy(&header, p, 4);
    return {p + 4, (header >> 2) - 4};
}

// The short form, digit for digit.
std::string show_numeric(std::string_view n)
{
    std::uint16_t header;
    std::memcpy(&header, n.data(), 2);
    const int scale = header >> 7 & 63;
    const int weight = (header & 0x3F) - (header & 0x40);
    auto group = [&](int i) {
        std::int16_t g = 0;
        if (i >= 0 && i < static_cast<int>(n.size() / 2) - 1)
            std::memcpy(&g, n.data() + 2 + i * 2, 2);
        return static_cast<int>(g);
    };
    std::string text = header & 0x2000 ? "-" : "";
    std::string whole;
    for (int i = 0; i <= weight; i++) {
        std::string g = std::to_string(group(i));
        whole += whole.empty() ? g : std::string(4 - g.size(), '0') + g;
    }
    text += whole.empty() ? "0" : whole;
    std::string after;
    for (int i = weight + 1; static_cast<int>(after.size()) < scale; i++) {
        std::string g = std::to_string(group(i));
        after += std::string(4 - g.size(), '0') + g;
    }
    if (weight < -1)
        after = after.substr(0); // groups before the first are zero: group() says so for i < 0
    return scale ? text + "." + after.substr(0, static_cast<std::size_t>(scale)) : text;
}

} // namespace

std::string show_cell(cell value, cell_state state, const type_desc& type)
{
    if (state == cell_state::null)
        return "null";
    if (state == cell_state::pending)
        return "<" + std::string(reinterpret_cast<const char*>(value)) + ">";
    const auto n = static_cast<std::int64_t>(value);
    std::string text;
    std::ostringstream number;
    switch (type.type) {
    case cell_type::boolean:
        return n == 1 ? "t" : n == 0 ? "f" : "?";
    case cell_type::int2:
    case cell_type::int4:
    case cell_type::int8:
    case cell_type::date:
    case cell_type::time:
        return std::to_string(n);
    case cell_type::timestamp:
    case cell_type::timestamptz:
        append_timestamp(text, n, type.type == cell_type::timestamptz);
        return text;
    case cell_type::float4:
        number << std::bit_cast<float>(static_cast<std::int32_t>(n));
        return number.str();
    case cell_type::float8:
        number.precision(17);
        number << std::bit_cast<double>(value);
        return number.str();
    case cell_type::numeric:
        return show_numeric(content(value));
    case cell_type::bytea:
        append_hex(text, content(value));
        return "x" + text;
    case cell_type::uuid:
        append_hex(text, {reinterpret_cast<const char*>(value), 16});
        return text;
    default:
        return std::string(content(value));
    }
}

std::string decoded(std::string_view json, type_desc type)
{
    decoding d(table({from_payload("a", std::move(type))}));
    return d.decode("{\"a\": " + std::string(json) + "}");
}

std::string decoded(std::string_view json, cell_type type, int typmod)
{
    return decoded(json, type_of(type, typmod));
}

} // namespace ke::test
