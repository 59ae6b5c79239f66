// Patterns of topics' names: what matches, and what is refused or bounded before it can hurt.
#include <chrono>

#include "check.h"
#include "kafka/pattern.h"

using namespace ke;
using namespace ke::kafka;

namespace {

bool is_taken(const std::string& text)
{
    return pattern::make(text).ok();
}

bool fits(const std::string& text, const char* topic)
{
    auto p = pattern::make(text);
    return p.ok() && p.value().matches(topic);
}

std::string hint_of(const std::string& text)
{
    auto p = pattern::make(text);
    return p.ok() ? "" : p.error().hint;
}

std::string repeated(const std::string& s, int n)
{
    std::string all;
    while (n-- > 0)
        all += s;
    return all;
}

} // namespace

TEST(pattern_matches_whole_names)
{
    auto p = pattern::make("orders[.][0-9]{4}|clicks|x+");
    REQUIRE(p.ok());
    CHECK(p.value().matches("orders.2026"));
    CHECK(p.value().matches("clicks"));
    CHECK(p.value().matches("xxx"));
    CHECK(!p.value().matches("clicks2"));
    CHECK(!p.value().matches("my.orders.2026"));
    CHECK(!p.value().matches("Clicks"));
    CHECK(!p.value().matches(""));
}

TEST(pattern_knows_posix_and_what_gnu_adds)
{
    CHECK(fits("^orders$", "orders"));
    CHECK(fits("a{2,}", "aaa"));
    CHECK(!fits("a{2,3}", "aaaa"));
    CHECK(fits("(a|b|)+c", "abc"));
    CHECK(fits("a**b?+", "aab"));
    CHECK(fits("[[:alnum:]_.-]+", "a_1.b-2"));
    CHECK(fits("[]a-]*", "a-a"));
    CHECK(!fits("[^]x]", "x"));
    CHECK(fits("([a-z]+[.])*[0-9]{4}-[0-9]{2}", "eu.orders.2026-11"));
    CHECK(fits("p\\.q\\-r\\_s", "p.q-r_s"));
    CHECK(!fits("p\\.q", "pxq"));
    CHECK(fits("\\w+\\b.*", "orders.2026"));
    CHECK(fits(repeated("orders|", 140), "orders"));
    CHECK(fits(".{200}", repeated("x", 200).c_str()));
}

TEST(pattern_that_is_wrong_is_refused)
{
    CHECK(hint_of("(a*)*\\1").find("back-references") != std::string::npos);
    for (const char* text : {"a{,3}", "a{x}", "a{1", "a{", "a{99999999999999999999}", "a{1,02}"})
        CHECK(hint_of(text).find("{n,m}") != std::string::npos);
    for (const char* text : {"a{1001}", "a{3,2}", "((a{1,255}){1,255}){1,255}", "*a", "(?i)a", "a)",
                             "[a", "[[:letter:]]", "[z-a]", "[[.-.]]", "[[=a=]]", "\\<a", "a\\"})
        CHECK(!is_taken(text));
    auto bad = pattern::make("a(");
    REQUIRE(!bad.ok());
    CHECK_EQ(bad.error().kind, fault_kind::refused_option);
    CHECK_EQ(bad.error().hint, "The regular expression is not valid: missing ): a(.");
}

TEST(pattern_without_end_is_refused)
{
    CHECK(is_taken(repeated("a", 1000)));
    CHECK(!is_taken(repeated("a", 1001)));
    CHECK(!is_taken(repeated("(", 100000) + repeated(")", 100000)));
    CHECK_EQ(hint_of(repeated("a{0,1000}", 110)), "Its repetitions, written out, are too long.");
    CHECK(!is_taken("(" + repeated("a?", 480) + "){1,100}"));
}

// Many of them take a C library the stack, all memory, or minutes. A second is some twenty times what
// the worst takes, for loaded machines.
TEST(pattern_is_compiled_and_matched_at_once)
{
    const std::string names[] = {repeated("a", 249), repeated("a", 248) + "-", repeated("ab.", 83)};
    for (const std::string& text :
         {std::string("a*{1,395}"), std::string("(){1,300}"), repeated("(a*b*)*", 140),
          repeated("a*+", 200), std::string("(a*){1,999}"), std::string(".*a.{100}"),
          std::string(".*a.{1000}"), std::string("(.*a){1,400}"), repeated("a{0,90}", 110),
          repeated("(a*){9}|", 120), repeated(".{0,90}a", 110),
          repeated("(", 499) + repeated(")", 499), repeated("(", 330) + "a" + repeated(")+", 330),
          "a" + repeated("+", 999)}) {
        const auto before = std::chrono::steady_clock::now();
        if (auto p = pattern::make(text); p.ok())
            for (const std::string& name : names)
                p.value().matches(name.c_str());
        CHECK(std::chrono::steady_clock::now() - before < std::chrono::seconds(1));
    }
    CHECK(fits(".*a.{100}", names[0].c_str()));
    CHECK(fits(repeated("a*+", 200), names[0].c_str()));
    CHECK(!fits(".*a.{100}", (repeated("a", 148) + repeated("b", 101)).c_str()));
}
