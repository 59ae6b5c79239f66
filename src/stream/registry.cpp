// Reading the catalog of continuous views. Server's thread; the lists returned are the caller's.
#include "stream/registry.h"

extern "C" {
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "commands/dbcommands.h"
#include "commands/extension.h"
#include "foreign/foreign.h"
#include "nodes/value.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
}

#include "pg/guard.h"
#include "stream/options.h"
#include "stream/sql.h"

namespace ke::stream {

namespace {

// A registry row as plain data, in the memory context of load_registry's caller. Names and values
// of options and settings in turns.
struct plain_row {
    Oid view, query, topic_table, target, owner;
    char state;
    char *name, *group, *cluster_id, *body;
    int option_words, setting_words, columns, defaults;
    char **options, **settings, **default_words;
    std::int16_t* target_columns;
};

struct plain_rows {
    std::uint64_t count;
    plain_row* rows;
};

const char load_sql[] =
    "SELECT r.view::oid, r.query::oid, r.topic_table::oid, r.target::oid, q.relowner,"
    " CASE WHEN r.database = $1 THEN r.state ELSE 'paused' END,"
    " n.nspname, v.relname, r.cluster_id,"
    " ARRAY(SELECT w FROM jsonb_each_text(r.options) e, unnest(ARRAY[e.key, e.value]) w),"
    " ARRAY(SELECT w FROM jsonb_each_text(r.settings) e, unnest(ARRAY[e.key, e.value]) w),"
    " r.target_columns, r.body"
    " FROM kafka.registry r JOIN pg_class v ON v.oid = r.view JOIN pg_namespace n ON n.oid = v.relnamespace"
    " JOIN pg_class q ON q.oid = r.query"
    " JOIN pg_foreign_table t ON t.ftrelid = r.topic_table"
    " ORDER BY r.view::oid";

Datum array_field(std::uint64_t row, int column)
{
    bool null;
    return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, &null);
}

char** words(Datum array, MemoryContext to, int* count)
{
    Datum* elements;
    deconstruct_array(DatumGetArrayTypeP(array), TEXTOID, -1, false, TYPALIGN_INT, &elements,
                      nullptr, count);
    MemoryContext old = MemoryContextSwitchTo(to);
    char** out = static_cast<char**>(palloc(sizeof(char*) * (*count + 1)));
    for (int i = 0; i < *count; i++)
        out[i] = TextDatumGetCString(elements[i]);
    MemoryContextSwitchTo(old);
    return out;
}

// What the topic table says for all its views: options of its own that are also a view's.
char** topic_defaults(Oid topic_table, MemoryContext to, int* count)
{
    List* given = GetForeignTable(topic_table)->options;
    MemoryContext old = MemoryContextSwitchTo(to);
    char** out = static_cast<char**>(palloc(sizeof(char*) * (2 * list_length(given) + 1)));
    *count = 0;
    ListCell* lc;
    foreach (lc, given) {
        DefElem* d = lfirst_node(DefElem, lc);
        static const char* const names[] = {"on_gap", "on_error", "batch_rows", "batch_bytes",
                                            "flush_interval"};
        for (const char* name : names)
            if (strcmp(d->defname, name) == 0) {
                out[(*count)++] = pstrdup(d->defname);
                out[(*count)++] = pstrdup(strVal(d->arg));
            }
    }
    MemoryContextSwitchTo(old);
    return out;
}

std::int16_t* numbers(Datum array, MemoryContext to, int* count)
{
    Datum* elements;
    deconstruct_array(DatumGetArrayTypeP(array), INT2OID, 2, true, TYPALIGN_SHORT, &elements,
                      nullptr, count);
    auto* out = static_cast<std::int16_t*>(MemoryContextAlloc(to, 2 * (*count + 1)));
    for (int i = 0; i < *count; i++)
        out[i] = DatumGetInt16(elements[i]);
    return out;
}

plain_row read_row(std::uint64_t i, MemoryContext to)
{
    plain_row r{};
    r.view = oid_field(i, 1);
    r.query = oid_field(i, 2);
    r.topic_table = oid_field(i, 3);
    r.target = oid_field(i, 4);
    r.owner = oid_field(i, 5);
    r.state = field(i, 6)[0];
    char *schema = field(i, 7), *name = field(i, 8), *cluster = field(i, 9);
    r.name = MemoryContextStrdup(to, quote_qualified_identifier(schema, name));
    r.group = MemoryContextStrdup(
        to, psprintf("%s.%s.%s", get_database_name(MyDatabaseId), schema, name));
    r.cluster_id = MemoryContextStrdup(to, cluster ? cluster : "");
    r.options = words(array_field(i, 10), to, &r.option_words);
    r.settings = words(array_field(i, 11), to, &r.setting_words);
    r.target_columns = numbers(array_field(i, 12), to, &r.columns);
    char* body = field(i, 13);
    r.body = MemoryContextStrdup(to, body ? body : "");
    r.default_words = topic_defaults(r.topic_table, to, &r.defaults);
    return r;
}

plain_rows read_rows()
{
    MemoryContext to = CurrentMemoryContext;
    spi_stretch spi;
    spi.begin();
    sql_arguments a;
    a.add_oid(MyDatabaseId); // what came by a restore is not served before somebody says so
    plain_rows all{run(load_sql, a), nullptr};
    all.rows = static_cast<plain_row*>(MemoryContextAlloc(to, sizeof(plain_row) * (all.count + 1)));
    for (std::uint64_t i = 0; i < all.count; i++)
        all.rows[i] = read_row(i, to);
    spi.end();
    return all;
}

option_list pairs(char** words, int count)
{
    option_list out;
    for (int i = 0; i + 1 < count; i += 2)
        out.emplace_back(words[i], words[i + 1]);
    return out;
}

view_state state_of(char c)
{
    return static_cast<view_state>(c);
}

registered_view make_view(const plain_row& r)
{
    registered_view v{r.view,  r.query,           r.topic_table, r.target,
                      r.owner, state_of(r.state), r.name,        r.cluster_id};
    v.settings = pairs(r.settings, r.setting_words);
    v.body = r.body;
    v.target_columns.assign(r.target_columns, r.target_columns + r.columns);
    try {
        v.options = resolve_options(pairs(r.options, r.option_words),
                                    pairs(r.default_words, r.defaults), r.group);
    } catch (const pg::fault_error& e) {
        v.invalid = e.get().message;
    }
    return v;
}

} // namespace

bool registry_exists()
{
    Oid extension = get_extension_oid("kafka_engine", true);
    Oid schema = OidIsValid(extension) ? get_namespace_oid("kafka", true) : InvalidOid;
    Oid registry = OidIsValid(schema) ? get_relname_relid("registry", schema) : InvalidOid;
    return OidIsValid(registry) && getExtensionOfObject(RelationRelationId, registry) == extension;
}

std::vector<registered_view> load_registry()
{
    plain_rows all = pg::call([] { return read_rows(); });
    std::vector<registered_view> views;
    for (std::uint64_t i = 0; i < all.count; i++)
        views.push_back(make_view(all.rows[i]));
    return views;
}

registered_view load_view(Oid view)
{
    for (registered_view& v : load_registry())
        if (v.view == view)
            return std::move(v);
    throw pg::fault_error(
        {.kind = fault_kind::wrong_object,
         .message = "relation with OID " + std::to_string(view) + " is not a continuous view"});
}

} // namespace ke::stream
