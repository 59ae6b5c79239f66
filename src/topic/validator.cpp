// Options checked when their DDL runs: kafka.fdw_validator. The server hands over all options as
// they would stand after the statement, so an ALTER is judged as a whole. Session's thread.
#include "pg/compat.h"

extern "C" {
#include "access/reloptions.h"
#include "catalog/pg_attribute.h"
#include "catalog/pg_authid.h"
#include "catalog/pg_foreign_data_wrapper.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_foreign_table.h"
#include "catalog/pg_user_mapping.h"
#include "miscadmin.h"
#include "utils/acl.h"
#include "utils/builtins.h"
}

#include <algorithm>

#include "decode/decoder.h"
#include "pg/errors.h"
#include "pg/guard.h"
#include "topic/options.h"
#include "topic/values.h"

namespace ke::topic {

namespace {

using kafka::access;
using kafka::property_row;

// Properties that belong to a login and so may stand in a user mapping, besides all secrets. The
// rest, addresses above all, is the server's owner's to say.
constexpr std::string_view login_prefixes[] = {"sasl.",         "ssl.certificate.", "ssl.key.",
                                               "ssl.keystore.", "enable.sasl.",     "client.id"};

std::string quoted(std::string_view s)
{
    return "\"" + std::string(s) + "\"";
}

[[noreturn]] void refuse(fault_kind kind, std::string message, std::string detail, std::string hint)
{
    fault f;
    f.kind = kind;
    f.message = std::move(message);
    f.detail = std::move(detail);
    f.hint = std::move(hint);
    throw pg::fault_error(std::move(f));
}

bool is_login(const property_row& p)
{
    return p.who == access::secret ||
           std::any_of(std::begin(login_prefixes), std::end(login_prefixes),
                       [&](std::string_view prefix) { return p.name.starts_with(prefix); });
}

// ------------------------------------------------------------------ unknown options

// Every option of our own and of the formats that may stand at a place.
std::vector<std::string> names_at(place where)
{
    std::vector<std::string> names;
    for (const option_row& r : options())
        if (r.where == where)
            names.emplace_back(r.name);
    if (where == place::table)
        for (const decode::format_row& f : decode::formats())
            for (const decode::format_option& o : f.options)
                if (std::find(names.begin(), names.end(), o.name) == names.end())
                    names.emplace_back(o.name);
    return names;
}

std::string joined(const std::vector<std::string>& names)
{
    std::string list;
    for (const std::string& n : names)
        list += (list.empty() ? "" : ", ") + n;
    return list;
}

// The place where an option of that name is at home; null: nowhere.
const option_row* home_of(std::string_view name)
{
    for (const option_row& r : options())
        if (r.name == name)
            return &r;
    return nullptr;
}

[[noreturn]] void refuse_unknown(place where, const std::string& name)
{
    const bool takes_properties = where == place::server || where == place::user_mapping;
    std::vector<std::string> known = names_at(where);
    if (takes_properties)
        for (std::string& n : kafka::near_properties(name))
            if (std::find(known.begin(), known.end(), n) == known.end())
                known.push_back(std::move(n));
    const std::vector<std::string> near = kafka::near_names(name, known);
    std::string hint;
    if (const option_row* home = home_of(name))
        hint = std::string(home->who == option_access::secret ? "It is a secret and" : "It") +
               " is an option of a " + std::string(name_of(home->where)) + ".";
    else if (!near.empty())
        hint = "Perhaps you meant: " + joined(near) + ".";
    else if (takes_properties)
        hint = "Every property of librdkafka is an option, written with \"_\" for \".\".";
    else
        hint = "Valid options are: " + joined(names_at(where)) + ".";
    refuse(fault_kind::unknown_option,
           "unknown option " + quoted(name) + " of a " + std::string(name_of(where)), "", hint);
}

// ------------------------------------------------------------------ librdkafka's properties

void check_property(place where, const std::string& name, const std::string& value,
                    const property_row& p, bool superuser)
{
    // The library copies some values onto its stack.
    constexpr std::size_t most_bytes = 65536;
    if (value.size() > most_bytes)
        refuse(fault_kind::refused_option, "the value of option " + quoted(name) + " is too long",
               "", "It has at most " + std::to_string(most_bytes) + " bytes.");
    if (p.who == access::ours)
        refuse(fault_kind::refused_option, "option " + quoted(name) + " cannot be set",
               "Reason: " + std::string(p.why) + ".", "");
    if (p.who == access::secret && where != place::user_mapping)
        refuse(fault_kind::refused_option,
               "option " + quoted(name) + " is a secret and belongs in a user mapping", "",
               "Use CREATE USER MAPPING FOR ... SERVER ... OPTIONS (" + name + " '...').");
    if (where == place::user_mapping && !is_login(p))
        refuse(fault_kind::refused_option,
               "option " + quoted(name) + " is not part of a login and belongs on the server", "",
               "Use CREATE SERVER ... OPTIONS (" + name + " '...').");
    if (kafka::needs_superuser(p, value) && !superuser)
        refuse(fault_kind::not_permitted,
               "only superusers may set option " + quoted(name) +
                   ", or change other options beside it",
               "It loads code, runs commands, or uses files or credentials of the server's host.",
               "");
    (void)pg::check(kafka::check_value(p, value));
}

// <secret>_file, for superusers.
void check_secret_file(const option_list& all, const std::string& name, const std::string& value,
                       bool superuser)
{
    const std::string secret = name.substr(0, name.size() - 5);
    if (!superuser)
        refuse(fault_kind::not_permitted,
               "only superusers may set option " + quoted(name) +
                   ", or change other options beside it",
               "It reads a file of the server's host.", "Use option " + quoted(secret) + ".");
    if (!value.starts_with('/'))
        refuse_value(name, value, "Give an absolute path.");
    if (find_option(all, secret))
        refuse(fault_kind::refused_option,
               "options " + quoted(secret) + " and " + quoted(name) + " exclude each other", "",
               "");
}

// Our own options that not everybody may set.
void check_access(const option_list& all, const option_row& row, bool superuser)
{
    if (row.who == option_access::superuser && !superuser)
        refuse(fault_kind::not_permitted,
               "only superusers may set option " + quoted(row.name) +
                   ", or change other options beside it",
               "It reads a file of the server's host.", "");
    const std::string in_file = std::string(row.name) + "_file";
    if (row.who == option_access::secret && find_option(all, in_file))
        refuse(fault_kind::refused_option,
               "options " + quoted(row.name) + " and " + quoted(in_file) + " exclude each other",
               "", "");
}

// A property by the name that options use; null: no such property, or dots in the name.
const property_row* property_of(const std::string& name)
{
    return name.find('.') == name.npos ? kafka::find_property(name) : nullptr;
}

void check_connection_option(place where, const option_list& all, const std::string& name,
                             const std::string& value, bool superuser)
{
    const bool secret = !secret_in_file(name).empty();
    if (secret && where == place::user_mapping)
        check_secret_file(all, name, value, superuser);
    else if (secret)
        refuse(fault_kind::refused_option, "option " + quoted(name) + " belongs in a user mapping",
               "", "Use CREATE USER MAPPING FOR ... SERVER ... OPTIONS (" + name + " '...').");
    else if (const property_row* p = property_of(name))
        check_property(where, name, value, *p, superuser);
    else
        refuse_unknown(where, name);
}

// ------------------------------------------------------------------ formats and whole objects

// A file of the server's host, as file_fdw's: judged when it is named, not when it is read.
void check_format_file(const std::string& name, const std::string& value, bool superuser)
{
    const bool may = superuser || pg::call([] {
                         return has_privs_of_role(GetUserId(), ROLE_PG_READ_SERVER_FILES);
                     });
    if (!may)
        refuse(fault_kind::not_permitted,
               "only superusers and members of pg_read_server_files may set option " +
                   quoted(name) + ", or change other options beside it",
               "It reads a file of the server's host.",
               "Use option " + quoted(name.substr(0, name.size() - 5)) + ".");
    if (!value.starts_with('/'))
        refuse_value(name, value, "Give an absolute path.");
}

// An option of a format belongs to a format that the table uses.
void check_format_option(const option_list& all, const std::string& name, const std::string& given,
                         bool superuser)
{
    const std::string* format = find_option(all, "format");
    const std::string* key_format = find_option(all, "key_format");
    const decode::format_row* value = decode::find_format(format ? *format : "json");
    const decode::format_row* key = key_format ? decode::find_format(*key_format) : nullptr;
    const decode::format_option* option =
        value ? decode::find_format_option(*value, name, false) : nullptr;
    if (!option && key)
        option = decode::find_format_option(*key, name, true);
    if (option && option->names_file)
        check_format_file(name, given, superuser);
    if (option)
        return;
    refuse(fault_kind::unknown_option,
           "option " + quoted(name) + " does not belong to format " +
               quoted(format ? *format : "json"),
           "", "Set it together with a format that has it.");
}

// The formats take their options.
void check_formats(const option_list& all)
{
    const std::string* format = find_option(all, "format");
    const std::string* key_format = find_option(all, "key_format");
    if (const auto* f = decode::find_format(format ? *format : "json"))
        (void)pg::check(decode::check_format_options(*f, {all}));
    if (const auto* f = key_format ? decode::find_format(*key_format) : nullptr)
        (void)pg::check(decode::check_format_options(*f, {all, true}));
}

void refuse_property_here(place where, const std::string& name)
{
    const property_row* p = property_of(name);
    const bool secret = (p && p->who == access::secret) || !secret_in_file(name).empty();
    if (!p && !secret)
        return;
    refuse(fault_kind::refused_option,
           "option " + quoted(name) + " cannot be set on a " + std::string(name_of(where)), "",
           secret ? "It is a secret and belongs in a user mapping." : "It belongs on the server.");
}

void check_server(const option_list& all)
{
    if (!find_option(all, "bootstrap_servers"))
        refuse(fault_kind::missing_option, "option \"bootstrap_servers\" is required", "",
               "Use CREATE SERVER ... OPTIONS (bootstrap_servers 'host:9092').");
}

void check_table(const option_list& all)
{
    const bool list = find_option(all, "topic"), pattern = find_option(all, "topic_pattern");
    if (!list && !pattern)
        refuse(fault_kind::missing_option, "option \"topic\" or \"topic_pattern\" is required", "",
               "Use CREATE FOREIGN TABLE ... OPTIONS (topic 'name', format 'json').");
    if (list && pattern)
        refuse(fault_kind::refused_option,
               "options \"topic\" and \"topic_pattern\" exclude each other", "", "");
    check_formats(all);
}

void check_column(const option_list& all)
{
    if (find_option(all, "metadata") && (find_option(all, "path") || find_option(all, "source")))
        refuse(fault_kind::refused_option, "option \"metadata\" excludes \"path\" and \"source\"",
               "", "A column carries metadata or a part of the record, not both.");
}

// Validation of one statement; false with the fault where something is wrong.
bool find_fault(Datum options, Oid catalog, pg::plain_fault* found)
{
    return pg::entry([&] {
        List* list = pg::call([&] { return untransformRelOptions(options); });
        const option_list all = to_options(list);
        try {
            switch (catalog) {
            case ForeignDataWrapperRelationId:
                if (!all.empty())
                    refuse(fault_kind::unknown_option, "foreign data wrapper kafka has no options",
                           "", "Options belong to servers, user mappings and foreign tables.");
                break;
            case ForeignServerRelationId:
                check_options(place::server, all, superuser());
                break;
            case UserMappingRelationId:
                check_options(place::user_mapping, all, superuser());
                break;
            case ForeignTableRelationId:
                check_options(place::table, all, superuser());
                break;
            case AttributeRelationId:
                check_options(place::column, all, superuser());
                break;
            }
        } catch (const pg::fault_error& e) {
            *found = pg::call([&] { return pg::to_plain(e.get()); });
            return true;
        }
        return false;
    });
}

} // namespace

void check_options(place where, const option_list& all, bool superuser)
{
    for (const auto& [name, value] : all) {
        const option_row* row = find_option_row(name, where);
        if (row) {
            check_access(all, *row, superuser);
            if (row->check)
                row->check(name, value);
        } else if (where == place::server || where == place::user_mapping)
            check_connection_option(where, all, name, value, superuser);
        else if (where == place::table && is_format_option(name))
            check_format_option(all, name, value, superuser);
        else {
            refuse_property_here(where, name);
            refuse_unknown(where, name);
        }
    }
    if (where == place::server)
        check_server(all);
    else if (where == place::table)
        check_table(all);
    else if (where == place::column)
        check_column(all);
}

} // namespace ke::topic

// kafka.fdw_validator(text[], oid). Any of these statements may hold secrets, misspelt ones too:
// they are kept out of the log together with the error.
KE_FUNCTION(kafka_engine_fdw_validator)
{
    ke::pg::plain_fault fault;
    if (ke::topic::find_fault(PG_GETARG_DATUM(0), PG_GETARG_OID(1), &fault))
        ke::pg::raise(fault, true);
    PG_RETURN_VOID();
}
