#include "decode/change_event.h"

#include "decode/connect_schema.h"
#include "decode/json_text.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

// What members of an event, of its schema's wrapping and of a flattened one are looked at.
struct members_seen {
    std::string_view op, before, after, source, ts, schema, payload, flat_op, flat_ts, deleted;
    int count = 0;
    bool flat_source = false; // a member of the source's, in a flattened event
};

constexpr bool is_operation(std::string_view op)
{
    return op.size() == 3 && std::string_view("curdtm").find(op[1]) != std::string_view::npos;
}

members_seen look_at(std::string_view object)
{
    static constexpr struct {
        std::string_view name;
        std::string_view members_seen::*where;
    } known[] = {
        {"\"op\"", &members_seen::op},           {"\"after\"", &members_seen::after},
        {"\"before\"", &members_seen::before},   {"\"source\"", &members_seen::source},
        {"\"ts_ms\"", &members_seen::ts},        {"\"schema\"", &members_seen::schema},
        {"\"payload\"", &members_seen::payload}, {"\"__op\"", &members_seen::flat_op},
        {"\"__ts_ms\"", &members_seen::flat_ts}, {"\"__deleted\"", &members_seen::deleted}};
    members_seen seen;
    for (json_members m(object); m.next(); seen.count++) {
        seen.flat_source |= m.key().starts_with("\"__source_");
        for (const auto& k : known)
            if (m.key() == k.name) {
                seen.*k.where = m.value();
                break;
            }
    }
    return seen;
}

} // namespace

const char* split_change(std::string_view text, change_event& out)
{
    out = {};
    members_seen m = look_at(text);
    if (m.count == 2 && !m.schema.empty() && !m.payload.empty()) {
        out.schema = m.schema;
        text = m.payload;
        if (!text.starts_with('{'))
            return is_null(text) ? nullptr : "The event is not an object.";
        m = look_at(text);
    }
    out.flattened =
        !m.op.starts_with('"') || (m.source.empty() && m.after.empty() && m.before.empty());
    if (out.flattened) {
        // A row that is there, unless it says otherwise.
        out.op = is_null(m.flat_op) ? std::string_view("\"u\"") : m.flat_op;
        if (!is_operation(out.op))
            return "The event's __op is none of c, u, r, d, t and m.";
        if (m.deleted == "\"true\"" || m.deleted == "true")
            out.op = "\"d\"";
        out.row = out.after = text;
        out.ts = m.flat_ts;
        out.has_metadata =
            m.flat_source || !m.flat_op.empty() || !m.flat_ts.empty() || !m.deleted.empty();
        return nullptr;
    }
    if (!is_operation(m.op))
        return "The event's op is none of c, u, r, d, t and m.";
    out.op = m.op;
    out.before = m.before;
    out.after = m.after;
    out.source = m.source;
    out.ts = m.ts;
    out.row = m.op == "\"d\"" ? m.before : m.after;
    out.holds_a_row = m.op == "\"c\"" || m.op == "\"u\"" || m.op == "\"r\"";
    return nullptr;
}

} // namespace ke::decode
