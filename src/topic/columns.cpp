#include "topic/columns.h"

extern "C" {
#include "access/table.h"
#include "catalog/pg_type.h"
#include "foreign/foreign.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

#include "pg/guard.h"
#include "topic/catalog.h"
#include "topic/options.h"
#include "topic/topic.h"

namespace ke::topic {

namespace {

using decode::column_source;
using decode::role;

const role_row roles[] = {
    {"topic", role::topic, TEXTOID, "text", "The record's topic."},
    {"partition", role::partition, INT4OID, "integer", "Its partition."},
    {"offset", role::offset, INT8OID, "bigint", "Its offset in the partition."},
    {"timestamp", role::timestamp, TIMESTAMPTZOID, "timestamp with time zone", "Its time."},
    {"timestamp_type", role::timestamp_type, TEXTOID, "text",
     "Who set the time: create (the producer) or append (the broker)."},
    {"leader_epoch", role::leader_epoch, INT4OID, "integer",
     "The leader's epoch; null where the client library does not tell."},
    {"key", role::key, InvalidOid, "bytea", "Its key: bytea, text, varchar, json or jsonb."},
    {"headers", role::headers, JSONBOID, "jsonb", "Its headers, order and repeats kept."},
    {"raw", role::raw, BYTEAOID, "bytea", "The payload's bytes."},
    {"tombstone", role::tombstone, BOOLOID, "boolean", "Whether the payload is null."},
    {"error", role::error, TEXTOID, "text", "Why the record could not be decoded; else null."},
};

// One header by name: text as in _headers, or its bytes.
const role_row header_role = {"header", role::header, InvalidOid, "text",
                              "One header by name: metadata 'header.x'."};

constexpr std::string_view header_prefix = "header.";
constexpr std::string_view default_format = "json";

// What the relation and its columns' options say, copied into the caller's context: plain data.
struct raw_column {
    AttrNumber number;
    Oid type;
    std::int32_t typmod;
    const char* name;
    List* options;
};
struct raw_table {
    const char* name;
    int attributes;
    int live;
    raw_column* columns;
    List* options;
};

raw_table read_relation(Oid relid)
{
    Relation rel = table_open(relid, AccessShareLock);
    TupleDesc desc = RelationGetDescr(rel);
    raw_table t{};
    t.name = pstrdup(RelationGetRelationName(rel));
    t.attributes = desc->natts;
    t.columns = static_cast<raw_column*>(palloc0(sizeof(raw_column) * (desc->natts + 1)));
    t.options = GetForeignTable(relid)->options;
    for (int i = 0; i < desc->natts; ++i) {
        const FormData_pg_attribute* a = TupleDescAttr(desc, i);
        if (a->attisdropped)
            continue;
        t.columns[t.live++] = {a->attnum, a->atttypid, a->atttypmod, pstrdup(NameStr(a->attname)),
                               GetForeignColumnOptions(relid, a->attnum)};
    }
    table_close(rel, AccessShareLock);
    return t;
}

// Where a column's value comes from, by its options or, without any, by its name.
void set_source(decode::column& c, const option_list& options)
{
    const std::string* metadata = find_option(options, "metadata");
    const std::string* path = find_option(options, "path");
    const std::string* source = find_option(options, "source");
    std::string role_name;
    if (metadata)
        role_name = *metadata;
    else if (!path && !source && c.name.size() > 1 && c.name[0] == '_' &&
             find_role(c.name.substr(1)) &&
             !c.name.starts_with("_header.")) // a header needs the option
        role_name = c.name.substr(1);
    if (!role_name.empty()) {
        const role_row* r = find_role(role_name);
        if (!r)
            throw pg::fault_error({.kind = fault_kind::refused_option,
                                   .message = "unknown metadata \"" + role_name + "\""});
        c.source = column_source::metadata;
        c.metadata = r->what;
        if (r->what == role::header)
            c.header_name = role_name.substr(header_prefix.size());
        return;
    }
    c.source = source && *source == "key" ? column_source::key : column_source::payload;
    if (path) {
        c.where = pg::check(decode::parse_path(*path));
        c.whole_document = c.where.empty();
    }
}

std::string quoted(const std::string& s)
{
    return "\"" + s + "\"";
}

std::string type_name(Oid type, std::int32_t typmod)
{
    return pg::call(
        [&] { return static_cast<const char*>(format_type_with_typemod(type, typmod)); });
}

[[noreturn]] void refuse_type(const topic_columns& t, const topic_column& c, std::string message,
                              std::string hint)
{
    fault f;
    f.kind = fault_kind::column_type;
    f.message = std::move(message);
    f.detail = "Column " + quoted(c.column.name) + " of foreign table " + quoted(t.table) +
               " has type " + type_name(c.type, c.typmod) + ".";
    f.hint = std::move(hint);
    throw pg::fault_error(std::move(f));
}

bool is_one_of(Oid type, std::initializer_list<Oid> types)
{
    for (Oid t : types)
        if (t == type)
            return true;
    return false;
}

// A role's column against its type.
void check_role(const topic_columns& t, const topic_column& c, const role_row& r)
{
    bool fits;
    std::string takes(r.type_name);
    if (OidIsValid(r.type)) {
        fits = c.type == r.type;
    } else if (r.what == role::header) {
        fits = is_one_of(c.type, {TEXTOID, BYTEAOID});
        takes = "text or bytea";
    } else {
        fits = is_one_of(c.type, {BYTEAOID, TEXTOID, VARCHAROID, JSONOID, JSONBOID});
        takes = "bytea, text, varchar, json or jsonb";
    }
    if (fits)
        return;
    std::string what =
        r.what == role::header ? "header." + c.column.header_name : std::string(r.name);
    std::string hint = "Declare it as " + quoted(c.column.name) + " " + std::string(r.type_name);
    if (r.what == role::key)
        hint += ", or decode the key: a column of another name with the option source 'key', and "
                "key_format on the table";
    refuse_type(t, c, "metadata " + quoted(what) + " needs a column of type " + takes, hint + ".");
}

// A payload's or key's column against its format.
void check_format(const topic_columns& t, const topic_column& c, const decode::format_row& format,
                  std::string_view option)
{
    const bool path = !c.column.where.empty() || (c.column.whole_document && !format.single_column);
    if (path && !format.takes_paths)
        throw pg::fault_error(
            {.kind = fault_kind::refused_option,
             .message = std::string(option) + " " + quoted(std::string(format.name)) +
                        " has no paths, but column " + quoted(c.column.name) + " gives one",
             .hint = "Leave the column option path out."});
    result<done> accepted = format.accepts(c.column.type);
    if (accepted)
        return;
    refuse_type(t, c,
                std::string(option) + " " + quoted(std::string(format.name)) +
                    " cannot fill column " + quoted(c.column.name),
                accepted.error().hint.empty() ? accepted.error().message : accepted.error().hint);
}

[[noreturn]] void refuse_table(fault_kind kind, std::string message, std::string hint)
{
    fault f;
    f.kind = kind;
    f.message = std::move(message);
    f.hint = std::move(hint);
    throw pg::fault_error(std::move(f));
}

} // namespace

const role_row* find_role(std::string_view name)
{
    if (name.starts_with(header_prefix) && name.size() > header_prefix.size())
        return &header_role;
    for (const role_row& r : roles)
        if (r.name == name)
            return &r;
    return nullptr;
}

const role_row& row_of(role what)
{
    for (const role_row& r : roles)
        if (r.what == what)
            return r;
    return header_role;
}

std::string role_names()
{
    std::string names;
    for (const role_row& r : roles)
        names += std::string(r.name) + ", ";
    return names + "header.<name>";
}

topic_columns read_columns(Oid relid)
{
    if (!is_topic_table(relid)) {
        const char* name = pg::call([&] { return static_cast<const char*>(get_rel_name(relid)); });
        refuse_table(fault_kind::wrong_object, quoted(name ? name : "?") + " is not a topic table",
                     "Give a foreign table whose server uses the foreign data wrapper kafka.");
    }
    const raw_table raw = pg::call([&] { return read_relation(relid); });
    topic_columns t;
    t.table = raw.name;
    t.attributes = raw.attributes;
    t.format = default_format;
    for (auto& [name, value] : to_options(raw.options)) {
        if (name == "format")
            t.format = value;
        else if (name == "key_format")
            t.key_format = value;
        else if (is_format_option(name))
            t.options.emplace_back(name, value);
    }
    for (int i = 0; i < raw.live; ++i) {
        const raw_column& r = raw.columns[i];
        topic_column c{r.number, r.type, r.typmod, {}};
        c.column.name = r.name;
        c.column.type = describe_type(r.type, r.typmod);
        set_source(c.column, to_options(r.options));
        t.columns.push_back(std::move(c));
    }
    return t;
}

void check_columns(const topic_columns& t)
{
    const decode::format_row* format = decode::find_format(t.format);
    const decode::format_row* key_format = decode::find_format(t.key_format);
    int payload = 0, from_key = 0;
    for (const topic_column& c : t.columns) {
        switch (c.column.source) {
        case column_source::metadata:
            check_role(t, c, row_of(c.column.metadata));
            break;
        case column_source::payload:
            ++payload;
            if (format)
                check_format(t, c, *format, "format");
            break;
        case column_source::key:
            ++from_key;
            if (!key_format)
                refuse_table(fault_kind::missing_option,
                             "column " + quoted(c.column.name) +
                                 " comes from the key, but the table has no key_format",
                             "Set the table's option key_format, for example to 'json'.");
            check_format(t, c, *key_format, "key_format");
            break;
        }
    }
    if (format && format->single_column && payload > 1)
        refuse_table(fault_kind::column_type,
                     "format " + quoted(t.format) + " fills one column, but foreign table " +
                         quoted(t.table) + " has " + std::to_string(payload) + " payload columns",
                     "Leave one column for the payload, and give the others a role by the column "
                     "option metadata.");
    if (key_format && key_format->single_column && from_key > 1)
        refuse_table(fault_kind::column_type,
                     "key_format " + quoted(t.key_format) +
                         " fills one column, but foreign table " + quoted(t.table) + " has " +
                         std::to_string(from_key) + " columns from the key",
                     "Leave one column with the option source 'key'.");
}

} // namespace ke::topic
