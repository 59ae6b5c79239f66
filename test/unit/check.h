// The unit tests' own few words. A file of tests is
//
//   TEST(numbers_that_do_not_fit)
//   {
//       CHECK(!parse("99999999999999999999"));
//       CHECK_EQ(parse("7").value(), 7);
//   }
//
// A failed CHECK is told with its place and the test goes on; REQUIRE ends the test. main.cpp runs
// all, or those whose names contain one of its arguments.
#pragma once

#include <exception>
#include <functional>
#include <sstream>
#include <string>
#include <string_view>
#include <type_traits>
#include <vector>

namespace ke::test {

struct test_case {
    const char* file;
    const char* name;
    void (*body)();
};

inline std::vector<test_case>& all_tests()
{
    static std::vector<test_case> tests;
    return tests;
}

struct registration {
    registration(const char* file, const char* name, void (*body)())
    {
        all_tests().push_back({file, name, body});
    }
};

// Counts the failed check of the running test and tells it.
void fail(const char* file, int line, const std::string& what);

struct required_failed : std::exception {};

template <class T>
std::string show(const T& value)
{
    if constexpr (std::is_enum_v<T>) {
        return std::to_string(static_cast<long long>(value));
    } else if constexpr (requires(std::ostream & o) { o << value; }) {
        std::ostringstream o;
        o << std::boolalpha << value;
        return o.str();
    } else {
        return "(a value without text)";
    }
}

template <class A, class B>
void check_eq(const char* file, int line, const char* expression, const A& found, const B& expected)
{
    if (!(found == expected))
        fail(file, line,
             std::string(expression) + ": found " + show(found) + ", expected " + show(expected));
}

} // namespace ke::test

#define TEST(name)                                                                                 \
    static void name();                                                                            \
    static const ke::test::registration registration_of_##name{__FILE__, #name, name};             \
    static void name()

#define CHECK(...)                                                                                 \
    do {                                                                                           \
        if (!(__VA_ARGS__))                                                                        \
            ke::test::fail(__FILE__, __LINE__, #__VA_ARGS__);                                      \
    } while (0)

#define CHECK_EQ(found, expected)                                                                  \
    ke::test::check_eq(__FILE__, __LINE__, #found, (found), (expected))

#define REQUIRE(...)                                                                               \
    do {                                                                                           \
        if (!(__VA_ARGS__)) {                                                                      \
            ke::test::fail(__FILE__, __LINE__, #__VA_ARGS__);                                      \
            throw ke::test::required_failed();                                                     \
        }                                                                                          \
    } while (0)
