#include "topic/topic.h"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_language.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_user_mapping.h"
#include "access/reloptions.h"
#include "foreign/foreign.h"
#include "utils/builtins.h"
#include "utils/syscache.h"
}

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>

#include "pg/guard.h"
#include "topic/options.h"
#include "topic/values.h"

namespace ke::topic {

namespace {

// The wrapper is ours if its handler is our C function, whatever it is called.
bool is_our_handler(Oid function)
{
    HeapTuple t = SearchSysCache1(PROCOID, ObjectIdGetDatum(function));
    if (!HeapTupleIsValid(t))
        return false;
    bool ours = false;
    bool null;
    Datum source = SysCacheGetAttr(PROCOID, t, Anum_pg_proc_prosrc, &null);
    if (!null && reinterpret_cast<Form_pg_proc>(GETSTRUCT(t))->prolang == ClanguageId)
        ours = strcmp(TextDatumGetCString(source), "kafka_engine_fdw_handler") == 0;
    ReleaseSysCache(t);
    return ours;
}

bool is_our_server(Oid server)
{
    ForeignDataWrapper* w = GetForeignDataWrapper(GetForeignServer(server)->fdwid);
    return OidIsValid(w->fdwhandler) && is_our_handler(w->fdwhandler);
}

// Options of the role's own mapping, else of PUBLIC's, else none.
List* mapping_options(Oid user, Oid server)
{
    HeapTuple t =
        SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(user), ObjectIdGetDatum(server));
    if (!HeapTupleIsValid(t))
        t = SearchSysCache2(USERMAPPINGUSERSERVER, ObjectIdGetDatum(InvalidOid),
                            ObjectIdGetDatum(server));
    if (!HeapTupleIsValid(t))
        return NIL;
    bool null;
    Datum d = SysCacheGetAttr(USERMAPPINGUSERSERVER, t, Anum_pg_user_mapping_umoptions, &null);
    List* options = null ? NIL : untransformRelOptions(d);
    ReleaseSysCache(t);
    return options;
}

// A secret from a file that a superuser named; without its last line end.
std::string read_secret(const std::string& option, const std::string& path)
{
    std::string secret = read_option_file(option, path, 65536);
    while (!secret.empty() && (secret.back() == '\n' || secret.back() == '\r'))
        secret.pop_back();
    return secret;
}

void put(ingest::properties& list, std::string_view name, std::string value)
{
    for (auto& [key, old] : list)
        if (key == name) {
            old = std::move(value);
            return;
        }
    list.emplace_back(name, std::move(value));
}

void add_properties(ingest::properties& list, const option_list& options)
{
    for (const auto& [name, value] : options) {
        if (const std::string_view secret = secret_in_file(name); !secret.empty()) {
            if (const kafka::property_row* p = kafka::find_property(secret))
                put(list, p->name, read_secret(name, value));
        } else if (const kafka::property_row* p = kafka::find_property(name))
            put(list, p->name, value);
    }
}

// What options of the server and the mapping say of the schema registry.
void add_registry(registry::settings& to, const option_list& options)
{
    const std::pair<std::string_view, std::string*> texts[] = {
        {"schema_registry_ssl_ca_pem", &to.ca_pem},
        {"schema_registry_ssl_ca_location", &to.ca_location},
        {"schema_registry_username", &to.username},
        {"schema_registry_password", &to.password},
        {"schema_registry_token", &to.token},
        {"schema_registry_ssl_certificate_pem", &to.certificate_pem},
        {"schema_registry_ssl_key_pem", &to.key_pem},
        {"schema_registry_ssl_key_password", &to.key_password},
    };
    for (const auto& [name, value] : options) {
        const std::string_view secret = secret_in_file(name);
        for (const auto& [option, member] : texts) {
            if (option == name)
                *member = value;
            else if (option == secret)
                *member = read_secret(name, value);
        }
        if (name == "schema_registry_url")
            to.urls = read_urls(value);
        else if (name == "schema_registry_timeout")
            to.timeout_ms = read_duration(name, value, 1000, 3600000000) / 1000;
    }
}

constexpr std::string_view view_defaults[] = {"start",      "on_gap",      "on_error",
                                              "batch_rows", "batch_bytes", "flush_interval"};

void read_table_options(topic_table& t, const option_list& options)
{
    for (const auto& [name, value] : options) {
        if (name == "topic")
            t.topics = read_topics(name, value);
        else if (name == "topic_pattern")
            t.pattern = value;
        else if (name == "partitions")
            t.partitions = read_partitions(name, value);
        else if (name == "consumers")
            t.consumers = static_cast<int>(read_count(name, value, 1, 1024));
        else if (std::find(std::begin(view_defaults), std::end(view_defaults), name) !=
                 std::end(view_defaults))
            t.view_defaults.emplace_back(name, value);
    }
}

} // namespace

connection load_connection(Oid server, Oid userid)
{
    struct {
        List* server;
        List* mapping;
        bool ours;
        const char* name;
    } lists{};
    pg::call([&] {
        ForeignServer* s = GetForeignServer(server);
        lists.ours = is_our_server(server);
        lists.name = s->servername;
        lists.server = s->options;
        lists.mapping = mapping_options(userid, server);
    });
    if (!lists.ours)
        throw pg::fault_error({.kind = fault_kind::wrong_object,
                               .message = std::string("server \"") + lists.name +
                                          "\" is not a server of kafka_engine",
                               .hint = "Give a server that uses the foreign data wrapper kafka."});
    connection c;
    c.server = server;
    const option_list options = to_options(lists.server);
    add_properties(c.properties, options);
    add_properties(c.properties, to_options(lists.mapping));
    add_registry(c.registry, options);
    add_registry(c.registry, to_options(lists.mapping));
    std::sort(c.properties.begin(), c.properties.end()); // equal ones share a client
    if (const std::string* timeout = find_option(options, "connect_timeout"))
        c.connect_timeout_ms =
            static_cast<int>(read_duration("connect_timeout", *timeout, 1000, 3600000000) / 1000);
    return c;
}

topic_table load_topic_table(Oid relid, Oid userid)
{
    struct {
        Oid server;
        List* options;
    } found{};
    pg::call([&] {
        ForeignTable* f = GetForeignTable(relid);
        found.server = f->serverid;
        found.options = f->options;
    });
    connection c = load_connection(found.server, userid);
    topic_table t{};
    t.relid = relid;
    t.server = found.server;
    t.connection = std::move(c.properties);
    t.registry = std::move(c.registry);
    t.connect_timeout_ms = c.connect_timeout_ms;
    t.consumers = 1;
    read_table_options(t, to_options(found.options));
    return t;
}

bool is_topic_table(Oid relid)
{
    return pg::call([&] {
        HeapTuple t = SearchSysCache1(FOREIGNTABLEREL, ObjectIdGetDatum(relid));
        if (!HeapTupleIsValid(t))
            return false;
        Oid server = reinterpret_cast<Form_pg_foreign_table>(GETSTRUCT(t))->ftserver;
        ReleaseSysCache(t);
        return is_our_server(server);
    });
}

} // namespace ke::topic
