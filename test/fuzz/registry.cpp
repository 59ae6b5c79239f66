#include "registry.h"

#include <cstdlib>

#include "registry/http.h"

namespace ke::fuzz {

registry& the_registry()
{
    static registry r;
    return r;
}

std::shared_ptr<ke::registry::client> new_client()
{
    ke::registry::settings of;
    of.urls = {"http://fuzz"};
    return std::make_shared<ke::registry::client>(of);
}

} // namespace ke::fuzz

namespace ke::registry {

struct http::parts {};
http::http(const settings&, const std::atomic<bool>&) {}
http::~http() = default;
std::string http::escape(const std::string& part)
{
    return part;
}

result<http_answer> http::get(const std::string&, const std::string&)
{
    fuzz::registry& r = fuzz::the_registry();
    if (r.answers.empty())
        return http_answer{404, ""};
    const std::string& line = r.answers[std::min(r.asked++, r.answers.size() - 1)];
    const bool status = line.size() > 3 && line[3] == ' ' && std::atol(line.c_str()) >= 100;
    return status ? http_answer{std::atol(line.c_str()), line.substr(4)} : http_answer{200, line};
}

std::string schema_key::text() const
{
    return std::to_string(id) + name;
}

lookup client::find(const schema_key& key, const std::weak_ptr<listener>&)
{
    if (entries_.size() > 2000) // numbers come without end
        entries_.clear();
    auto [at, is_new] = entries_.try_emplace(key);
    entry& e = at->second;
    if (is_new) {
        http line(of_, halted_);
        auto got = fetch(line, key);
        e.at = got && got.value().what ? lookup::state::found : lookup::state::missing;
        if (got) {
            e.what = got.value().what;
            e.why = got.value().none;
        } else {
            e.why = got.error().message + got.error().detail;
        }
    }
    return {e.at, e.what, e.why, nullptr};
}

} // namespace ke::registry
