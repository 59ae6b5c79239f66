// From the columns somebody uses to the plan by which lanes decode.
#include "topic/topic.h"

extern "C" {
#include "access/sysattr.h"
#include "foreign/foreign.h"
#include "mb/pg_wchar.h"
#include "nodes/nodeFuncs.h"
#include "nodes/plannodes.h"
#include "parser/parsetree.h"
}

#include <cstring>

#include "decode/utf8.h"
#include "pg/guard.h"
#include "pg/hubs.h"
#include "registry/client.h"
#include "topic/columns.h"
#include "topic/options.h"
#include "topic/rights.h"

namespace ke::topic {

namespace {

using decode::column_source;
using decode::role;

bool is_member(const Bitmapset* attributes, int number)
{
    return bms_is_member(number - FirstLowInvalidHeapAttributeNumber, attributes);
}

// Which of the table's columns need a cell. _error is a word about the whole record: where it is
// asked for, every payload and key column is judged. Where the table declares it, it and _raw are
// always there, since any record may turn out to be bad.
std::vector<bool> used_columns(const topic_columns& t, const Bitmapset* attributes)
{
    const bool all = is_member(attributes, 0);
    bool has_error = false, error_used = false;
    for (const topic_column& c : t.columns)
        if (c.column.metadata == role::error) {
            has_error = true;
            error_used = error_used || all || is_member(attributes, c.number);
        }
    std::vector<bool> used;
    for (const topic_column& c : t.columns) {
        bool u = all || is_member(attributes, c.number);
        if (c.column.source != column_source::metadata)
            u = u || error_used;
        else if (c.column.metadata == role::error || c.column.metadata == role::raw)
            u = u || has_error;
        used.push_back(u);
    }
    return used;
}

void note_needs(decode::row_plan& plan, const decode::column& c)
{
    plan.payload_needed |= c.source == column_source::payload;
    plan.key_needed |= c.source == column_source::key || c.metadata == role::key;
    plan.headers_needed |= c.metadata == role::headers || c.metadata == role::header;
}

// Lanes know one encoding, the documents' own; names and options are in the database's.
void to_utf8(std::string& s)
{
    const char* given = s.c_str();
    const int length = static_cast<int>(s.size());
    s = pg::call([=] { return pg_server_to_any(given, length, PG_UTF8); });
}

void to_utf8(decode::type_desc& t)
{
    if (t.element) {
        decode::type_desc element = *t.element;
        to_utf8(element);
        t.element = std::make_shared<const decode::type_desc>(std::move(element));
    }
    for (auto& f : t.fields) {
        to_utf8(f.name);
        to_utf8(f.type);
    }
}

void to_utf8(topic_columns& t)
{
    for (auto& [name, value] : t.options)
        if (name.ends_with("_schema")) // the others are ASCII, or of no use
            to_utf8(value);
    for (topic_column& c : t.columns) {
        to_utf8(c.column.name);
        to_utf8(c.column.type);
        to_utf8(c.column.header_name);
        for (decode::path_step& step : c.column.where)
            to_utf8(step.name);
    }
}

// The client of the server's schema registry, where a format may ask one; else null.
std::shared_ptr<registry::client> registry_of(Oid relid, Oid user, const decode::row_plan& plan)
{
    bool asks = false;
    for (const std::string& name : {plan.format, plan.key_format})
        if (const decode::format_row* f = decode::find_format(name))
            asks = asks || f->asks_registry;
    if (!asks)
        return nullptr;
    const registry::settings where = load_topic_table(relid, user).registry;
    if (where.urls.empty())
        return nullptr;
    pg::call([] { pg::expect_threads(); });
    return registry::client::of(where);
}

// Options of formats that name files become what the files hold.
void read_files(topic_columns& t)
{
    constexpr std::size_t most = 16 << 20;
    for (auto& [name, value] : t.options) {
        bool names_file = false;
        for (const std::string* format : {&t.format, &t.key_format})
            if (const decode::format_row* f = decode::find_format(*format))
                if (const auto* o = decode::find_format_option(*f, name, format == &t.key_format))
                    names_file |= o->names_file;
        if (!names_file)
            continue;
        const std::string content = read_option_file(name, value, most);
        name.resize(name.size() - std::strlen("_file"));
        value.clear();
        decode::append_base64(value, content);
    }
}

} // namespace

decode_columns make_decode_columns(Oid relid, Oid user, const Bitmapset* attributes,
                                   bool keeps_records)
{
    topic_columns t = read_columns(relid);
    check_columns(t); // an option may have changed since the columns were declared
    read_files(t);
    if (GetDatabaseEncoding() != PG_UTF8)
        to_utf8(t);
    auto plan = std::make_shared<decode::row_plan>();
    plan->format = t.format;
    plan->key_format = t.key_format;
    plan->options = t.options;
    plan->keeps_records = keeps_records;
    plan->server_encoding_utf8 = GetDatabaseEncoding() == PG_UTF8;
    decode_columns result;
    result.cell_of_attribute.assign(t.attributes, -1);
    const std::vector<bool> used = used_columns(t, attributes);
    for (std::size_t i = 0; i < t.columns.size(); ++i) {
        topic_column& c = t.columns[i];
        plan->payload_columns += c.column.source == column_source::payload;
        if (c.column.source != column_source::metadata) {
            auto& names =
                c.column.source == column_source::key ? plan->key_names : plan->payload_names;
            c.column.ordinal = static_cast<int>(names.size());
            names.push_back(c.column.name);
        }
        plan->has_error_column |= c.column.metadata == role::error;
        if (!used[i])
            continue;
        note_needs(*plan, c.column);
        result.cell_of_attribute[c.number - 1] = static_cast<int>(plan->columns.size());
        plan->columns.push_back(std::move(c.column));
    }
    plan->schemas = registry_of(relid, user, *plan);
    for (const std::string& name : {plan->format, plan->key_format})
        if (const decode::format_row* f = decode::find_format(name))
            plan->headers_needed |= f->needs_headers || (f->asks_registry && plan->schemas);
    result.plan = std::move(plan);
    return result;
}

void require_registry(Oid relid, const decode_columns& made)
{
    if (made.plan->schemas)
        pg::call([=] { require_usage(GetForeignTable(relid)->serverid); });
}

// ------------------------------------------------------------------ what a finished plan reads

List* pack_attributes(const Bitmapset* attributes)
{
    List* list = NIL;
    for (int x = -1; (x = bms_next_member(attributes, x)) >= 0;)
        list = lappend_int(list, x + FirstLowInvalidHeapAttributeNumber);
    return list;
}

Bitmapset* unpack_attributes(const List* list)
{
    Bitmapset* attributes = nullptr;
    for (int i = 0; i < list_length(list); ++i)
        attributes =
            bms_add_member(attributes, list_nth_int(list, i) - FirstLowInvalidHeapAttributeNumber);
    return attributes;
}

namespace {

struct search {
    PlannedStmt* plan;
    Oid relid;
    List* found; // of ForeignScan
};

bool look_at(Plan* node, search* s);

bool look_at_all(List* plans, search* s)
{
    for (int i = 0; i < list_length(plans); ++i)
        look_at(static_cast<Plan*>(list_nth(plans, i)), s);
    return false;
}

// Scans stand in leaves; every kind of node with more children than two is named here.
bool look_at(Plan* node, search* s)
{
    if (!node)
        return false;
    if (IsA(node, ForeignScan)) {
        ForeignScan* scan = reinterpret_cast<ForeignScan*>(node);
        if (scan->scan.scanrelid > 0 &&
            rt_fetch(scan->scan.scanrelid, s->plan->rtable)->relid == s->relid)
            s->found = lappend(s->found, scan);
    }
    look_at(node->lefttree, s);
    look_at(node->righttree, s);
    switch (nodeTag(node)) {
    case T_Append:
        return look_at_all(reinterpret_cast<Append*>(node)->appendplans, s);
    case T_MergeAppend:
        return look_at_all(reinterpret_cast<MergeAppend*>(node)->mergeplans, s);
    case T_BitmapAnd:
    case T_BitmapOr:
        return false; // indexes only
    case T_SubqueryScan:
        return look_at(reinterpret_cast<SubqueryScan*>(node)->subplan, s);
    case T_CustomScan:
        return look_at_all(reinterpret_cast<CustomScan*>(node)->custom_plans, s);
    default:
        return false;
    }
}

} // namespace

List* scans_of(PlannedStmt* plan, Oid relid)
{
    search s{plan, relid, NIL};
    look_at(plan->planTree, &s);
    look_at_all(plan->subplans, &s);
    return s.found;
}

Bitmapset* attributes_used(PlannedStmt* plan, Oid relid)
{
    Bitmapset* used = nullptr;
    ListCell* cell;
    foreach (cell, scans_of(plan, relid))
        used = bms_add_members(used, unpack_attributes(static_cast<List*>(
                                         linitial(lfirst_node(ForeignScan, cell)->fdw_private))));
    return used;
}

} // namespace ke::topic
