#include "kafka/pattern.h"

#include <algorithm>
#include <charconv>
#include <regex.h>
#include <string_view>
#include <vector>

#include "kafka/fault.h"

#include "base/no_backend.h"

namespace ke::kafka {

struct pattern::compiled {
    regex_t regex{};
    bool made = false;
    ~compiled()
    {
        if (made)
            regfree(&regex);
    }
};

namespace {

constexpr std::size_t most_bytes = 1000;
constexpr std::size_t most_weight = 10000;
// Of it by repetition. Where what is repeated may be empty the C library's time grows by the cube, and
// nothing can interrupt it: (a*){1,99} takes 0.3 s, (a*){1,400} a quarter of a minute. Such counts more.
constexpr std::size_t most_repeated = 400, loose_weight = 4;

bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// Digits at the front, taken away; 0 where there are none.
std::size_t number(std::string_view& s)
{
    if (s.empty() || !is_digit(s.front()))
        return 0;
    std::size_t n = 0;
    const auto [end, error] = std::from_chars(s.data(), s.data() + s.size(), n);
    s.remove_prefix(static_cast<std::size_t>(end - s.data()));
    return error == std::errc{} ? std::min(n, most_weight) : most_weight;
}

// Behind a bracket expression whose bracket stands before at: classes such as [:digit:] within it have
// brackets of their own, and a bracket that comes first is meant literally.
std::size_t behind_bracket(std::string_view s, std::size_t at)
{
    if (at < s.size() && s[at] == '^')
        ++at;
    for (std::size_t first = at; at < s.size(); ++at) {
        if (s[at] == ']' && at > first)
            return at + 1;
        if (s[at] != '[' || at + 1 >= s.size() || std::string_view(":.=").find(s[at + 1]) == s.npos)
            continue;
        const char end[] = {s[at + 1], ']', '\0'};
        const std::size_t closed = s.find(end, at + 2);
        if (closed != s.npos)
            at = closed + 1;
    }
    return s.size();
}

// {3} {3,} {,5} {3,5} behind its bracket: how often at most what comes before it is written out.
std::size_t read_times(std::string_view s, std::size_t& at)
{
    std::string_view rest = s.substr(at);
    std::size_t times = number(rest) + 1;
    if (rest.starts_with(',')) {
        rest.remove_prefix(1);
        times = std::max(times, number(rest));
    }
    at = s.size() - rest.size();
    return times;
}

// What the compiled form weighs, in atoms with every repetition written out: the C library writes them
// out. Stops at a little more than most_weight.
std::size_t weight_of(std::string_view s)
{
    std::vector<std::size_t> groups{0}; // weights so far, the innermost last
    std::size_t last = 0;               // of the atom before
    std::size_t loose_at = 0;           // groups that are open around the newest * or ?, and it
    bool last_is_loose = false;         // the atom before is a group with one
    const auto add = [&](std::size_t weight) {
        last_is_loose = false;
        last = std::min(weight, most_weight + 1);
        groups.back() = std::min(groups.back() + last, most_weight + 1);
    };
    for (std::size_t at = 0; at < s.size();) {
        const char c = s[at++];
        if (c == '(') {
            groups.push_back(1);
        } else if (c == ')' && groups.size() > 1) {
            const std::size_t group = groups.back();
            const bool loose = loose_at >= groups.size();
            groups.pop_back();
            loose_at = std::min(loose_at, groups.size());
            add(group);
            last_is_loose = loose;
        } else if (c == '[') {
            at = behind_bracket(s, at);
            add(1);
        } else if (c == '+') {
            add(last * 2); // a+ is aa*
        } else if (c == '{') {
            add(last * read_times(s, at) * (last_is_loose ? loose_weight : 1));
        } else if (c == '\\' && at < s.size()) {
            ++at;
            add(1);
        } else if (c == '*' || c == '?') {
            loose_at = groups.size();
        } else {
            add(1);
        }
    }
    std::size_t sum = 0;
    for (std::size_t g : groups)
        sum += g;
    return sum;
}

bool refers_back(std::string_view s)
{
    for (std::size_t at = 0; at + 1 < s.size(); ++at)
        if (s[at] == '\\') {
            ++at;
            if (is_digit(s[at]))
                return true;
        }
    return false;
}

fault refused(const std::string& text, std::string hint)
{
    return {.kind = fault_kind::refused_option,
            .message = "invalid pattern for topics: \"" + text.substr(0, 100) +
                       (text.size() > 100 ? "...\"" : "\""),
            .hint = std::move(hint)};
}

} // namespace

result<pattern> pattern::make(const std::string& text)
{
    if (text.size() > most_bytes)
        return refused(text, "A pattern has at most " + std::to_string(most_bytes) + " bytes.");
    if (refers_back(text))
        return refused(text, "A pattern has no back-references.");
    if (weight_of(text) > text.size() + most_repeated)
        return refused(text, "Its repetitions, written out, are too long.");
    auto made = std::make_shared<compiled>();
    const int error = regcomp(&made->regex, ("^(" + text + ")$").c_str(), REG_EXTENDED | REG_NOSUB);
    if (error != 0) {
        char words[256] = "";
        regerror(error, &made->regex, words, sizeof words);
        return refused(text, "The regular expression is not valid: " + sentence(words));
    }
    made->made = true;
    pattern p;
    p.compiled_ = std::move(made);
    return p;
}

bool pattern::matches(const char* topic) const
{
    return regexec(&compiled_->regex, topic, 0, nullptr, 0) == 0;
}

} // namespace ke::kafka
