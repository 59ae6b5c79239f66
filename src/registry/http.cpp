#include "registry/http.h"

#include <mutex>
#include <new>

#include <curl/curl.h>

#include "base/thread.h"

#include "base/no_backend.h"

namespace ke::registry {

namespace {

constexpr std::size_t most_bytes = 16u << 20; // of an answer

struct free_handle {
    void operator()(CURL* c) const { curl_easy_cleanup(c); }
};
struct free_list {
    void operator()(curl_slist* l) const { curl_slist_free_all(l); }
};

std::size_t take(char* data, std::size_t one, std::size_t n, void* to) noexcept
{
    auto& body = *static_cast<std::string*>(to);
    if (body.size() + one * n > most_bytes)
        return 0;
    try {
        body.append(data, one * n);
    } catch (...) {
        return 0;
    }
    return one * n;
}

int look(void* halted, curl_off_t, curl_off_t, curl_off_t, curl_off_t) noexcept
{
    return static_cast<const std::atomic<bool>*>(halted)->load() ? 1 : 0;
}

} // namespace

struct http::parts {
    const settings& of;
    std::unique_ptr<CURL, free_handle> handle{curl_easy_init()};
    std::unique_ptr<curl_slist, free_list> headers;
    char words[CURL_ERROR_SIZE] = "";

    void set_text(CURLoption what, const std::string& value)
    {
        if (!value.empty())
            curl_easy_setopt(handle.get(), what, value.c_str());
    }
    // The library reads it where it lies: of outlives the handle.
    void set_blob(CURLoption what, const std::string& value)
    {
        if (value.empty())
            return;
        curl_blob blob{const_cast<char*>(value.data()), value.size(), CURL_BLOB_NOCOPY};
        curl_easy_setopt(handle.get(), what, &blob);
    }
};

void http::prepare()
{
    static std::once_flag once;
    std::call_once(once, [] {
        signals_blocked quiet;
        curl_global_init(CURL_GLOBAL_DEFAULT);
    });
}

http::http(const settings& of, const std::atomic<bool>& halted) : parts_(new parts{of})
{
    CURL* c = parts_->handle.get();
    if (c == nullptr)
        throw std::bad_alloc();
    parts_->headers.reset(curl_slist_append(
        nullptr, "Accept: application/vnd.schemaregistry.v1+json, application/json"));
    curl_easy_setopt(c, CURLOPT_HTTPHEADER, parts_->headers.get());
    curl_easy_setopt(c, CURLOPT_NOSIGNAL, 1L);
    curl_easy_setopt(c, CURLOPT_USERAGENT, "kafka_engine");
    curl_easy_setopt(c, CURLOPT_ERRORBUFFER, parts_->words);
    curl_easy_setopt(c, CURLOPT_WRITEFUNCTION, take);
    curl_easy_setopt(c, CURLOPT_TIMEOUT_MS, static_cast<long>(of.timeout_ms));
    curl_easy_setopt(c, CURLOPT_CONNECTTIMEOUT_MS, static_cast<long>(of.timeout_ms));
    curl_easy_setopt(c, CURLOPT_NOPROGRESS, 0L);
    curl_easy_setopt(c, CURLOPT_XFERINFOFUNCTION, look);
    curl_easy_setopt(c, CURLOPT_XFERINFODATA, const_cast<std::atomic<bool>*>(&halted));
    // A login goes where the options say and nowhere else: no redirects, no proxy of the server's
    // environment, no other protocols.
    curl_easy_setopt(c, CURLOPT_FOLLOWLOCATION, 0L);
    curl_easy_setopt(c, CURLOPT_PROXY, "");
#if LIBCURL_VERSION_NUM >= 0x075500
    curl_easy_setopt(c, CURLOPT_PROTOCOLS_STR, "http,https");
#else
    curl_easy_setopt(c, CURLOPT_PROTOCOLS, CURLPROTO_HTTP | CURLPROTO_HTTPS);
#endif
    if (!of.token.empty()) {
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BEARER);
        parts_->set_text(CURLOPT_XOAUTH2_BEARER, of.token);
    } else if (!of.username.empty()) {
        curl_easy_setopt(c, CURLOPT_HTTPAUTH, CURLAUTH_BASIC);
        parts_->set_text(CURLOPT_USERNAME, of.username);
        parts_->set_text(CURLOPT_PASSWORD, of.password);
    }
    parts_->set_text(CURLOPT_CAINFO, of.ca_location);
    parts_->set_blob(CURLOPT_CAINFO_BLOB, of.ca_pem);
    parts_->set_blob(CURLOPT_SSLCERT_BLOB, of.certificate_pem);
    parts_->set_blob(CURLOPT_SSLKEY_BLOB, of.key_pem);
    parts_->set_text(CURLOPT_KEYPASSWD, of.key_password);
}

http::~http() = default;

result<http_answer> http::get(const std::string& url, const std::string& path)
{
    CURL* c = parts_->handle.get();
    http_answer answer;
    parts_->words[0] = '\0';
    curl_easy_setopt(c, CURLOPT_URL, (url + path).c_str());
    curl_easy_setopt(c, CURLOPT_WRITEDATA, &answer.body);
    const CURLcode code = curl_easy_perform(c);
    if (code != CURLE_OK) {
        fault f;
        f.kind = fault_kind::registry_unreachable;
        f.message = "schema registry " + url + " does not answer";
        f.detail = std::string(parts_->words[0] ? parts_->words : curl_easy_strerror(code)) + ".";
        return f;
    }
    curl_easy_getinfo(c, CURLINFO_RESPONSE_CODE, &answer.status);
    return answer;
}

std::string http::escape(const std::string& part)
{
    constexpr char digits[] = "0123456789ABCDEF";
    std::string out;
    for (char c : part) {
        const bool plain = (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') ||
                           (c >= '0' && c <= '9') || c == '-' || c == '.' || c == '_' || c == '~';
        const auto b = static_cast<unsigned char>(c);
        if (plain)
            out += c;
        else
            out.append({'%', digits[b >> 4], digits[b & 15]});
    }
    return out;
}

} // namespace ke::registry
