// Looking into the table of properties, and librdkafka's judgement of a value. Any thread.
#include "kafka/property.h"

#include <algorithm>
#include <cctype>
#include <memory>

#include <librdkafka/rdkafka.h>

#include "base/no_backend.h"

namespace ke::kafka {

namespace {

char lower(char c)
{
    return static_cast<char>(std::tolower(static_cast<unsigned char>(c)));
}

// An option's spelling of a name: 'fetch.max.bytes' is 'fetch_max_bytes'.
std::string as_option(std::string_view name)
{
    std::string s(name);
    std::replace(s.begin(), s.end(), '.', '_');
    return s;
}

bool same_name(std::string_view a, std::string_view b)
{
    return a.size() == b.size() && std::equal(a.begin(), a.end(), b.begin(), [](char x, char y) {
               return x == y || (x == '.' && y == '_') || (x == '_' && y == '.');
           });
}

// Edits (insert, remove, replace, swap of neighbours) between two names, case ignored.
std::size_t edits(std::string_view a, std::string_view b)
{
    std::vector<std::size_t> before(b.size() + 1), last(b.size() + 1), row(b.size() + 1);
    for (std::size_t j = 0; j <= b.size(); ++j)
        last[j] = j;
    for (std::size_t i = 1; i <= a.size(); ++i) {
        row[0] = i;
        for (std::size_t j = 1; j <= b.size(); ++j) {
            bool equal = lower(a[i - 1]) == lower(b[j - 1]);
            row[j] = std::min({last[j] + 1, row[j - 1] + 1, last[j - 1] + (equal ? 0 : 1)});
            if (i > 1 && j > 1 && lower(a[i - 1]) == lower(b[j - 2]) &&
                lower(a[i - 2]) == lower(b[j - 1]))
                row[j] = std::min(row[j], before[j - 2] + 1);
        }
        std::swap(before, last);
        std::swap(last, row);
    }
    return last[b.size()];
}

struct conf_deleter {
    void operator()(rd_kafka_conf_t* c) const { rd_kafka_conf_destroy(c); }
};

} // namespace

const property_row* find_property(std::string_view name)
{
    for (const property_row& row : properties())
        if (row.name == name)
            return &row;
    for (const property_row& row : properties())
        if (same_name(row.name, name))
            return &row;
    return nullptr;
}

std::vector<std::string> near_names(std::string_view name, std::span<const std::string> list)
{
    // A third of the letters may differ; a name that begins with the other one is near, too.
    std::vector<std::pair<std::size_t, const std::string*>> found;
    for (const std::string& candidate : list) {
        std::size_t d = edits(name, candidate);
        bool begins =
            name.size() >= 4 && (candidate.starts_with(name) || name.starts_with(candidate));
        if (d <= std::max<std::size_t>(1, name.size() / 3) || begins)
            found.emplace_back(d, &candidate);
    }
    std::stable_sort(found.begin(), found.end(),
                     [](const auto& a, const auto& b) { return a.first < b.first; });
    std::vector<std::string> names;
    for (std::size_t i = 0; i < found.size() && i < 3; ++i)
        names.push_back(*found[i].second);
    return names;
}

std::vector<std::string> near_properties(std::string_view name)
{
    std::vector<std::string> list;
    for (const property_row& row : properties())
        if (row.who != access::ours)
            list.push_back(as_option(row.name));
    return near_names(as_option(name), list);
}

result<done> check_value(const property_row& row, const std::string& value)
{
    std::unique_ptr<rd_kafka_conf_t, conf_deleter> conf(rd_kafka_conf_new());
    char words[512] = "";
    std::string name(row.name);
    switch (rd_kafka_conf_set(conf.get(), name.c_str(), value.c_str(), words, sizeof words)) {
    case RD_KAFKA_CONF_OK:
        return done{};
    case RD_KAFKA_CONF_UNKNOWN:
        return fault{.kind = fault_kind::unknown_option,
                     .message = "option \"" + as_option(name) +
                                "\" is not known to this server's librdkafka",
                     .detail =
                         std::string("The library's version is ") + rd_kafka_version_str() + "."};
    case RD_KAFKA_CONF_INVALID:
        break;
    }
    // The value of a secret is nobody's business, and the library's words may repeat it.
    if (row.who == access::secret)
        return fault{.kind = fault_kind::refused_option,
                     .message = "invalid value for option \"" + as_option(name) + "\""};
    return fault{.kind = fault_kind::refused_option,
                 .message =
                     "invalid value for option \"" + as_option(name) + "\": \"" + value + "\"",
                 .detail = std::string(words) + "."};
}

bool needs_superuser(const property_row& row, std::string_view value)
{
    if (row.who == access::superuser)
        return true;
    if (row.name != "sasl.mechanism" && row.name != "sasl.mechanisms")
        return false;
    std::string v(value);
    std::transform(v.begin(), v.end(), v.begin(), lower);
    return v.find("gssapi") != std::string::npos;
}

} // namespace ke::kafka
