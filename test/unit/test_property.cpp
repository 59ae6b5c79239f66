// The table of properties against the linked library: all of its properties are judged.
#include <algorithm>
#include <cstdio>
#include <cstdlib>
#include <set>
#include <string>

#include <librdkafka/rdkafka.h>

#include "check.h"
#include "kafka/conf.h"
#include "kafka/property.h"

using namespace ke;
using namespace ke::kafka;

namespace {

// Names in the library's own table, and in its dumps (which know hidden ones, too).
std::set<std::string> names_of_library()
{
    std::set<std::string> names;
    char* text = nullptr;
    std::size_t size = 0;
    std::FILE* out = open_memstream(&text, &size);
    rd_kafka_conf_properties_show(out);
    std::fclose(out);
    std::string_view left(text, size);
    while (!left.empty()) {
        std::size_t end = std::min(left.find('\n'), left.size());
        std::string_view line = left.substr(0, end);
        left.remove_prefix(std::min(end + 1, left.size()));
        std::size_t bar = line.find('|');
        if (bar == std::string_view::npos || line.starts_with("Property") ||
            line.starts_with("---"))
            continue;
        line = line.substr(0, line.find(' '));
        names.insert(std::string(line));
    }
    std::free(text);

    auto add = [&](const char** dump, std::size_t count) {
        for (std::size_t i = 0; i < count; i += 2)
            names.insert(dump[i]);
        rd_kafka_conf_dump_free(dump, count);
    };
    std::size_t count = 0;
    rd_kafka_conf_t* conf = rd_kafka_conf_new();
    const char** dump = rd_kafka_conf_dump(conf, &count);
    add(dump, count);
    rd_kafka_conf_destroy(conf);
    rd_kafka_topic_conf_t* topic_conf = rd_kafka_topic_conf_new();
    dump = rd_kafka_topic_conf_dump(topic_conf, &count);
    add(dump, count);
    rd_kafka_topic_conf_destroy(topic_conf);
    return names;
}

} // namespace

TEST(property_table_judges_all_of_the_library)
{
    std::set<std::string> names = names_of_library();
    CHECK(names.size() > 140);
    for (const std::string& name : names) {
        const property_row* row = find_property(name);
        if (row == nullptr || row->name != name)
            ke::test::fail(__FILE__, __LINE__, "not in the table: " + name);
    }
}

TEST(property_table_is_in_order)
{
    auto rows = properties();
    for (std::size_t i = 0; i < rows.size(); ++i) {
        CHECK(i == 0 || rows[i - 1].name < rows[i].name);
        CHECK_EQ(rows[i].why.empty(), rows[i].who != access::ours);
    }
}

TEST(property_names_that_smell_are_not_for_anyone)
{
    for (const property_row& row : properties()) {
        auto has = [&](const char* word) { return row.name.find(word) != row.name.npos; };
        if (has("password") || has("secret") || has("passphrase") || has(".key.pem"))
            CHECK_EQ(row.who, access::secret);
        if (has("location") || has("kerberos") || has(".file") || has(".url") || has("plugin") ||
            has("engine.") || has("keytab") || has(".cmd"))
            CHECK_EQ(row.who, access::superuser);
        if (has("_cb"))
            CHECK_EQ(row.who, access::ours);
    }
}

TEST(property_found_by_both_spellings)
{
    CHECK(find_property("fetch.max.bytes") == find_property("fetch_max_bytes"));
    CHECK(find_property("log_level") != nullptr);
    CHECK(find_property("fetch max bytes") == nullptr);
    CHECK(find_property("test.mock.num.brokers") == nullptr ||
          find_property("test.mock.num.brokers")->who == access::ours);
}

TEST(property_near_names)
{
    CHECK_EQ(near_properties("bootstrap_server").at(0), "bootstrap_servers");
    CHECK_EQ(near_properties("fetch_max_byte").at(0), "fetch_max_bytes");
    CHECK_EQ(near_properties("securty_protocol").at(0), "security_protocol");
    CHECK(near_properties("zzzzzzzzzzzz").empty());
    CHECK(near_properties("security").size() >= 1);
}

TEST(property_values_are_judged_by_the_library)
{
    CHECK(check_value(*find_property("fetch.max.bytes"), "1000000").ok());
    auto bad = check_value(*find_property("fetch.max.bytes"), "many");
    REQUIRE(!bad.ok());
    CHECK_EQ(bad.error().kind, fault_kind::refused_option);
    CHECK(bad.error().message.find("fetch_max_bytes") != std::string::npos);
    CHECK(!bad.error().detail.empty());
    CHECK(!check_value(*find_property("security.protocol"), "carrier_pigeon").ok());
    CHECK(check_value(*find_property("acks"), "all").ok()); // a topic's
    // A property of a newer library.
    if (rd_kafka_version() < 0x02020000)
        CHECK_EQ(check_value(*find_property("fetch.queue.backoff.ms"), "10").error().kind,
                 fault_kind::unknown_option);
}

TEST(property_secret_values_are_never_repeated)
{
    auto bad = check_value(*find_property("sasl.oauthbearer.config"), "hunter2");
    if (!bad.ok())
        CHECK((bad.error().message + bad.error().detail).find("hunter2") == std::string::npos);
}

TEST(property_gssapi_needs_superuser)
{
    CHECK(needs_superuser(*find_property("sasl.mechanism"), "GSSAPI"));
    CHECK(!needs_superuser(*find_property("sasl.mechanism"), "PLAIN"));
    CHECK(needs_superuser(*find_property("ssl.ca.location"), "/etc/passwd"));
    // Without a mechanism the library takes GSSAPI; it reads the protocol in any case.
    for (const char* protocol : {"sasl_ssl", "SASL_PLAINTEXT", "Sasl_Ssl", " sasl_plaintext"})
        CHECK(
            !make_conf({{"bootstrap.servers", "x"}, {"security.protocol", protocol}}, false).ok());
}

TEST(property_ours_are_refused)
{
    for (const char* name : {"group.id", "enable.auto.commit", "isolation.level", "rebalance_cb"}) {
        auto refused = make_conf({{name, "x"}}, false);
        REQUIRE(!refused.ok());
        CHECK_EQ(refused.error().kind, fault_kind::refused_option);
    }
    CHECK_EQ(make_conf({{"no.such", "x"}}, false).error().kind, fault_kind::unknown_option);
}
