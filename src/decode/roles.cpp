#include "decode/roles.h"

#include <charconv>

#include "decode/scalars.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

void append_headers(std::string& out, std::span<const header> headers)
{
    out.push_back('[');
    for (const header& h : headers) {
        out.append(&h == headers.data() ? "{\"name\": " : ", {\"name\": ");
        append_json_string(out, h.name);
        out.append(", \"value\": ");
        if (h.value.absent()) {
            out.append("null");
        } else if (is_text(h.value.view())) {
            append_json_string(out, h.value.view());
        } else {
            out.push_back('"');
            append_base64(out, h.value.view());
            out.append("\", \"base64\": true");
        }
        out.push_back('}');
    }
    out.push_back(']');
}

outcome role_values::make(const record& r, const column& col, cell& out)
{
    switch (col.metadata) {
    case role::topic:
        return make_word(r.topic, col.type, out);
    case role::partition:
        return make_integer(r.partition.value, col.type, out);
    case role::offset:
        return make_integer(r.offset.value, col.type, out);
    case role::timestamp: {
        std::int64_t us;
        char text[24];
        const auto end = std::to_chars(text, text + sizeof text, r.timestamp_ms).ptr;
        if (r.timestamp_ms < 0)
            return outcome::null;
        if (!parse_epoch({text, static_cast<std::size_t>(end - text)}, time_unit::ms, us))
            return convert.refuse("22008", "timestamp out of range");
        return timestamp_to_cell(us, col.type, convert, out);
    }
    case role::timestamp_type:
        if (r.time_type == timestamp_type::none)
            return outcome::null;
        return make_word(r.time_type == timestamp_type::create ? "create" : "append", col.type,
                         out);
    case role::leader_epoch:
        return r.leader_epoch < 0 ? outcome::null : make_integer(r.leader_epoch, col.type, out);
    case role::key:
        return make_key(r.key, col.type, out);
    case role::headers:
        buffer_.clear();
        append_headers(buffer_, r.headers);
        return make_word(buffer_, col.type, out);
    case role::header:
        return make_header(r, col, out);
    case role::raw:
        return make_key(r.value, col.type, out);
    case role::tombstone:
        return make_word(r.value.absent() ? "true" : "false", col.type, out);
    case role::none:
    case role::error:
        break;
    }
    return outcome::null;
}

outcome role_values::make_integer(std::int64_t n, const type_desc& type, cell& out)
{
    char text[24];
    const auto end = std::to_chars(text, text + sizeof text, n).ptr;
    if (type.type != cell_type::int4 && type.type != cell_type::int8)
        return text_to_cell({text, static_cast<std::size_t>(end - text)}, type, convert, out);
    if (type.type == cell_type::int4 && n != static_cast<std::int32_t>(n))
        return convert.refuse_range("integer", {text, static_cast<std::size_t>(end - text)});
    out = number_cell(n);
    return outcome::value;
}

outcome role_values::make_word(std::string_view text, const type_desc& type, cell& out)
{
    return text_to_cell(text, type, convert, out);
}

// Bytes as they are into bytea, else as text.
outcome role_values::make_key(bytes key, const type_desc& type, cell& out)
{
    if (key.absent())
        return outcome::null;
    if (type.type == cell_type::bytea && !type.is_array())
        return make_bytea(key.view(), convert, out);
    if (!is_utf8(key.view()))
        return convert.refuse("22021", "invalid byte sequence for encoding \"UTF8\"");
    return text_to_cell(key.view(), type, convert, out);
}

// The last header of the name, as Kafka's own clients look one up.
outcome role_values::make_header(const record& r, const column& col, cell& out)
{
    const header* found = nullptr;
    for (const header& h : r.headers)
        if (h.name == col.header_name)
            found = &h;
    if (!found || found->value.absent())
        return outcome::null;
    if (col.type.type == cell_type::bytea && !col.type.is_array())
        return make_bytea(found->value.view(), convert, out);
    if (is_text(found->value.view()))
        return text_to_cell(found->value.view(), col.type, convert, out);
    buffer_.clear();
    append_base64(buffer_, found->value.view());
    return text_to_cell(buffer_, col.type, convert, out);
}

} // namespace ke::decode
