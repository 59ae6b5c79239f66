// Patterns of topics' names: what matches, and what is refused before it can hurt.
#include "check.h"
#include "kafka/pattern.h"

using namespace ke;
using namespace ke::kafka;

namespace {

bool is_taken(const std::string& text)
{
    return pattern::make(text).ok();
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
}

TEST(pattern_of_ordinary_size_is_taken)
{
    for (const char* text :
         {".*", "a{2,}", "a{,3}", "[[:alnum:]_.-]+", "[]a]*", "[^]x]",
          "([a-z]+[.])*[0-9]{4}-[0-9]{2}", "\\{\\}\\(\\)", "(a|b|)+", "((((a+)+)+)+)+", ".{200}"})
        CHECK(is_taken(text));
}

// Each would take the stack, all memory or for ever.
TEST(pattern_that_could_hurt_is_refused)
{
    CHECK(!is_taken(repeated("(", 100000) + repeated(")", 100000)));
    CHECK(!is_taken("((a{1,255}){1,255}){1,255}"));
    CHECK(!is_taken("((a{,255}){255,}){255}"));
    CHECK(!is_taken("((a{200})*{200})*{200}"));
    CHECK(!is_taken("a{99999999999999999999}"));
    CHECK(!is_taken("(a*){1,999}"));
    CHECK(!is_taken("(a*){1,200}"));
    CHECK(is_taken(repeated("orders|", 140)));
    CHECK(!is_taken("((a{200})[[:alpha:])]{200}){200}"));
    CHECK(!is_taken("((a{200}){200}){200}[[:alpha:](]"));
    std::string nested = "a";
    for (int i = 0; i < 30; ++i)
        nested = "(" + nested + ")+";
    CHECK(!is_taken(nested));
    CHECK(!is_taken("(a*)*\\1"));
}

TEST(pattern_says_what_is_wrong)
{
    auto bad = pattern::make("a(");
    REQUIRE(!bad.ok());
    CHECK_EQ(bad.error().kind, fault_kind::refused_option);
    CHECK(bad.error().hint.find("nmatched") != std::string::npos);
}
