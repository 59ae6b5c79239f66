#include "topic/options.h"

#include <algorithm>
#include <cerrno>
#include <cstdio>
#include <cstring>
#include <fcntl.h>
#include <memory>
#include <sys/stat.h>
#include <unistd.h>

#include "decode/decoder.h"
#include "pg/errors.h"
#include "pg/guard.h"
#include "topic/columns.h"
#include "topic/values.h"

namespace ke::topic {

namespace {

constexpr std::int64_t second = 1000000; // durations are microseconds

void check_timeout(std::string_view n, const std::string& v)
{
    read_duration(n, v, 1000, 3600 * second);
}
void check_topics(std::string_view n, const std::string& v)
{
    read_topics(n, v);
}
void check_partitions(std::string_view n, const std::string& v)
{
    read_partitions(n, v);
}
void check_consumers(std::string_view n, const std::string& v)
{
    read_count(n, v, 1, 1024);
}
void check_start(std::string_view, const std::string& v)
{
    read_start(v);
}
void check_gap(std::string_view n, const std::string& v)
{
    read_choice(n, v, {"stop", "earliest", "latest"});
}
void check_error(std::string_view n, const std::string& v)
{
    read_choice(n, v, {"dead_letter", "skip", "stop"});
}
void check_rows(std::string_view n, const std::string& v)
{
    read_count(n, v, 1, 10000000);
}
void check_bytes(std::string_view n, const std::string& v)
{
    read_size(n, v, 1024);
}
void check_interval(std::string_view n, const std::string& v)
{
    read_duration(n, v, 0, 60 * second);
}
void check_source(std::string_view n, const std::string& v)
{
    read_choice(n, v, {"value", "key"});
}

// librdkafka takes an empty list and waits for ever.
void check_addresses(std::string_view n, const std::string& v)
{
    constexpr const char* hint = "Give host:port, or several separated by commas.";
    constexpr std::size_t most_bytes = 65536; // the library copies the list onto its stack
    if (v.size() > most_bytes)
        refuse_value(n, v.substr(0, 100), "The list has at most 65536 bytes.");
    for (std::size_t from = 0; from <= v.size();) {
        const std::size_t to = std::min(v.find(',', from), v.size());
        std::string_view host = std::string_view(v).substr(from, to - from);
        const std::size_t colon = host.rfind(':');
        const bool has_port = colon != host.npos && host.find(']', colon) == host.npos;
        if (has_port && host.substr(colon + 1).find_first_not_of("0123456789") == host.npos &&
            colon + 1 < host.size())
            read_count("port", std::string(host.substr(colon + 1)), 1, 65535);
        else if (has_port)
            refuse_value(n, v, hint);
        if (host.substr(0, has_port ? colon : host.npos).find_first_not_of(" ") == host.npos)
            refuse_value(n, v, hint);
        from = to + 1;
    }
}

// The login belongs in the user mapping, so none may stand in the address.
void check_registry(std::string_view n, const std::string& v)
{
    constexpr const char* hint = "Give http://host:port or https://host:port, or several by comma.";
    if (v.find('@') != v.npos)
        // The value may hold a password.
        throw pg::fault_error({.kind = fault_kind::refused_option,
                               .message = "option \"" + std::string(n) + "\" holds a login",
                               .hint =
                                   "Use schema_registry_username and schema_registry_password in "
                                   "the user mapping."});
    for (const std::string& url : read_urls(v)) {
        const std::size_t scheme = url.starts_with("http://")    ? 7
                                   : url.starts_with("https://") ? 8
                                                                 : 0;
        const bool odd = url.find_first_of(" \t\r\n\"<>?#\\") != url.npos;
        if (scheme == 0 || url.size() == scheme || url[scheme] == '/' || odd)
            refuse_value(n, v, hint);
    }
    if (read_urls(v).empty())
        refuse_value(n, v, hint);
}

void check_file(std::string_view n, const std::string& v)
{
    if (!v.starts_with('/'))
        refuse_value(n, v, "Give an absolute path.");
}

// They go into a header's line. The value is not shown.
void check_secret(std::string_view n, const std::string& v)
{
    if (v.find_first_of("\r\n") != v.npos)
        throw pg::fault_error({.kind = fault_kind::refused_option,
                               .message = "option \"" + std::string(n) + "\" holds a line end"});
}

void check_username(std::string_view n, const std::string& v)
{
    check_secret(n, v);
    if (v.find(':') != v.npos)
        refuse_value(n, v, "A name has no colon.");
}

void check_format(std::string_view n, const std::string& v)
{
    if (decode::find_format(v))
        return;
    std::string list;
    for (const decode::format_row& f : decode::formats())
        list += (list.empty() ? "" : ", ") + std::string(f.name);
    refuse_value(n, v, "Formats are: " + list + ".");
}

void check_metadata(std::string_view n, const std::string& v)
{
    if (!find_role(v))
        refuse_value(n, v, "Metadata are: " + role_names() + ".");
}

void check_path(std::string_view n, const std::string& v)
{
    if (auto path = decode::parse_path(v); !path)
        refuse_value(n, v,
                     path.error().hint.empty() ? "Give a path such as '$.a.b[0]'."
                                               : path.error().hint);
}

const option_row table[] = {
    {"bootstrap_servers", place::server, "list of host:port", "", "Required. Brokers to ask first.",
     check_addresses},
    {"connect_timeout", place::server, "time", "10s",
     "How long a statement waits for a broker that does not answer.", check_timeout},
    {"schema_registry_url", place::server, "list of URLs", "",
     "Where a schema registry answers; several are tried in turn.", check_registry},
    {"schema_registry_timeout", place::server, "time", "5s",
     "How long a request to it may take, and how long a schema that it does not know is asked for.",
     check_timeout},
    {"schema_registry_ssl_ca_pem", place::server, "PEM", "",
     "Certificates of the authorities that its certificate is checked by; else the system's.",
     nullptr},
    {"schema_registry_ssl_ca_location", place::server, "file", "",
     "The same in a file. Superusers.", check_file, option_access::superuser},

    {"schema_registry_username", place::user_mapping, "text", "", "Its basic login.",
     check_username},
    {"schema_registry_password", place::user_mapping, "text", "", "Its password.", check_secret,
     option_access::secret},
    {"schema_registry_token", place::user_mapping, "text", "", "A bearer token, instead.",
     check_secret, option_access::secret},
    {"schema_registry_ssl_certificate_pem", place::user_mapping, "PEM", "",
     "A client's certificate.", nullptr},
    {"schema_registry_ssl_key_pem", place::user_mapping, "PEM", "", "Its key.", nullptr,
     option_access::secret},
    {"schema_registry_ssl_key_password", place::user_mapping, "text", "", "The key's password.",
     check_secret, option_access::secret},

    {"topic", place::table, "list of topics", "", "The topic, or several separated by commas.",
     check_topics},
    {"topic_pattern", place::table, "regular expression", "",
     "Instead of topic: every topic whose whole name matches; new ones join by themselves.",
     check_pattern},
    {"format", place::table, "format", "json", "How the payload is decoded.", check_format},
    {"key_format", place::table, "format", "",
     "How the key is decoded, for columns with source 'key'.", check_format},
    {"partitions", place::table, "list of ranges", "", "Only these partitions: '0-3,8'.",
     check_partitions},
    {"consumers", place::table, "number", "1", "Workers that share the partitions.",
     check_consumers},
    {"start", place::table, "starting point", "earliest", "Default of kafka.start for its views.",
     check_start},
    {"on_gap", place::table, "stop, earliest or latest", "stop",
     "Default of kafka.on_gap for its views.", check_gap},
    {"on_error", place::table, "dead_letter, skip or stop", "dead_letter",
     "Default of kafka.on_error for its views.", check_error},
    {"batch_rows", place::table, "number", "65536", "Default of kafka.batch_rows for its views.",
     check_rows},
    {"batch_bytes", place::table, "size", "16MB", "Default of kafka.batch_bytes for its views.",
     check_bytes},
    {"flush_interval", place::table, "time", "20ms",
     "Default of kafka.flush_interval for its views.", check_interval},

    {"metadata", place::column, "role", "",
     "Which metadata of the record the column carries, or 'header.x' for one header.",
     check_metadata},
    {"path", place::column, "path", "", "Where in the document the value stands; '$' is all of it.",
     check_path},
    {"source", place::column, "value or key", "value", "Which part of the record it is taken from.",
     check_source},
};

} // namespace

std::string_view name_of(place p)
{
    switch (p) {
    case place::server:
        return "server";
    case place::user_mapping:
        return "user mapping";
    case place::table:
        return "foreign table";
    case place::column:
        return "column";
    }
    return "";
}

std::span<const option_row> options()
{
    return table;
}

const option_row* find_option_row(std::string_view name, place where)
{
    for (const option_row& r : table)
        if (r.where == where && r.name == name)
            return &r;
    return nullptr;
}

bool is_format_option(std::string_view name)
{
    for (const decode::format_row& f : decode::formats())
        for (const decode::format_option& o : f.options)
            if (o.name == name || (name.starts_with("key_") && name.substr(4) == o.name))
                return true;
    return false;
}

std::string read_option_file(const std::string& option, const std::string& path, std::size_t most)
{
    auto fail = [&](const std::string& why) {
        throw pg::fault_error({.kind = fault_kind::refused_option,
                               .message = "could not read the file of option \"" + option + "\"",
                               .detail = why + "."});
    };
    // Not to wait: nobody may ever write to a pipe, and nothing would interrupt its opening.
    const int fd = open(path.c_str(), O_RDONLY | O_NONBLOCK | O_CLOEXEC);
    if (fd < 0)
        fail(strerror(errno));
    std::unique_ptr<FILE, int (*)(FILE*)> f(fdopen(fd, "r"), fclose);
    if (!f) {
        const int e = errno;
        close(fd);
        fail(strerror(e));
    }
    struct stat is = {};
    if (fstat(fd, &is) != 0)
        fail(strerror(errno));
    if (!S_ISREG(is.st_mode))
        fail("It is not a regular file");
    std::string text;
    char part[8192];
    while (const std::size_t n = fread(part, 1, sizeof part, f.get())) {
        text.append(part, n);
        if (text.size() > most)
            fail("It has more than " + std::to_string(most) + " bytes");
    }
    if (ferror(f.get()))
        fail(strerror(errno));
    return text;
}

std::string_view secret_in_file(std::string_view name)
{
    if (!name.ends_with("_file"))
        return {};
    name.remove_suffix(5);
    const kafka::property_row* p = kafka::find_property(name);
    const option_row* ours = find_option_row(name, place::user_mapping);
    const bool secret =
        (p && p->who == kafka::access::secret) || (ours && ours->who == option_access::secret);
    return secret ? name : std::string_view();
}

} // namespace ke::topic
