// What a client asks: schemas and what they refer to. Client's thread.
#include "registry/answers.h"
#include "registry/client.h"

#include <algorithm>

#include "base/no_backend.h"

namespace ke::registry {

namespace {

constexpr int most_depth = 32; // of references
constexpr std::size_t most_needs = 1000;

std::string path_of(const schema_key& key)
{
    switch (key.what) {
    case schema_key::kind::id:
        return "/schemas/ids/" + std::to_string(key.id);
    case schema_key::kind::guid:
        return "/schemas/guids/" + http::escape(key.name);
    case schema_key::kind::latest:
        break;
    }
    return "/subjects/" + http::escape(key.name) + "/versions/latest";
}

// Behind the message of a registry's error; some give codes of their own, some none.
std::string words_of(const http_answer& a)
{
    const error_answer e = read_error(a.body);
    std::string words = "It answers " + std::to_string(a.status);
    if (!e.message.empty())
        words += ": " + e.message;
    return words.ends_with('.') ? words : words + ".";
}

fault trouble(fault_kind kind, std::string message, std::string detail)
{
    fault f;
    f.kind = kind;
    f.message = std::move(message);
    f.detail = std::move(detail);
    return f;
}

} // namespace

// The body of an answer; empty with `none` saying why where there is no such thing. The addresses are
// tried in turn, from the one that answered last.
result<std::string> client::ask(http& line, const std::string& path, std::string& none)
{
    fault last;
    for (std::size_t i = 0; i < of_.urls.size(); ++i) {
        const std::size_t n = (url_ + i) % of_.urls.size();
        const std::string& url = of_.urls[n];
        auto got = line.get(url, path);
        if (!got) {
            last = std::move(got.error());
            continue;
        }
        const http_answer& a = got.value();
        if (a.status == 401 || a.status == 403) {
            last = trouble(fault_kind::registry_refused,
                           "schema registry " + url + " refuses the login", words_of(a));
            last.hint = "Set schema_registry_username and schema_registry_password, or "
                        "schema_registry_token, in the user mapping.";
            continue;
        }
        if (a.status == 408 || a.status == 429 || a.status >= 500 || a.status < 200) {
            last = trouble(fault_kind::registry_unreachable,
                           "schema registry " + url + " does not answer as it should", words_of(a));
            continue;
        }
        url_ = n;
        if (a.status == 200)
            return got.value().body;
        if (a.status == 404 || a.status == 400 || a.status == 422) {
            none = words_of(a);
            return std::string();
        }
        return trouble(fault_kind::registry_unreachable,
                       "schema registry " + url + " does not answer as a schema registry does",
                       words_of(a));
    }
    return last;
}

result<client::reply> client::fetch(http& line, const schema_key& key)
{
    std::string none;
    auto body = ask(line, path_of(key), none);
    if (!body)
        return std::move(body.error());
    if (!none.empty())
        return reply{nullptr, std::move(none)};
    auto read = read_schema(body.value());
    if (!read) {
        read.error().kind = fault_kind::registry_unreachable;
        return std::move(read.error());
    }
    auto made = std::make_shared<schema>(std::move(read.value().what));
    if (made->id < 0 && key.what == schema_key::kind::id)
        made->id = key.id;
    result<reply> bad = reply{};
    std::vector<std::string> seen;
    if (!add_needs(line, *made, read.value().references, 0, seen, bad))
        return bad;
    return reply{std::move(made), {}};
}

// What the references name, each behind its own; one that is on the way already is left out, so that
// a circle ends. False: bad says why.
bool client::add_needs(http& line, schema& to, const std::vector<reference>& references, int depth,
                       std::vector<std::string>& seen, result<reply>& bad)
{
    for (const reference& r : references) {
        if (std::find(seen.begin(), seen.end(), r.name) != seen.end())
            continue;
        seen.push_back(r.name);
        if (depth >= most_depth || seen.size() > most_needs) {
            bad = reply{nullptr, "It refers to more schemas than can be followed."};
            return false;
        }
        std::string none;
        const std::string version = r.version < 0 ? "latest" : std::to_string(r.version);
        auto body =
            ask(line, "/subjects/" + http::escape(r.subject) + "/versions/" + version, none);
        if (!body) {
            bad = std::move(body.error());
            return false;
        }
        if (!none.empty()) {
            bad = reply{nullptr, "It refers to version " + version + " of subject \"" + r.subject +
                                     "\", which cannot be had. " + none};
            return false;
        }
        auto read = read_schema(body.value());
        if (!read) {
            bad = std::move(read.error());
            bad.error().kind = fault_kind::registry_unreachable;
            return false;
        }
        if (!add_needs(line, to, read.value().references, depth + 1, seen, bad))
            return false;
        to.needs.push_back({r.name, std::move(read.value().what.text)});
    }
    return true;
}

} // namespace ke::registry
