#include "kafka/pattern.h"

#include <algorithm>
#include <string_view>

#include <re2/re2.h>

#include "kafka/fault.h"

#include "base/no_backend.h"

namespace ke::kafka {

namespace {

constexpr std::size_t most_bytes = 1000;
// Of a compiled pattern. It bounds the time too: some 0.03 s to compile the worst of 1000 bytes,
// 0.02 s to match a name of 249. Takes .{1000}, and as many names as the bytes allow.
constexpr std::int64_t most_memory = 64 << 10;

bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

// A number of RE2's repetitions at the front, taken away.
bool take_number(std::string_view& s)
{
    const std::string_view digits =
        s.substr(0, std::min(s.find_first_not_of("0123456789"), s.size()));
    s.remove_prefix(digits.size());
    return digits.size() == 1 || (digits.size() > 1 && digits.size() < 5 && digits[0] != '0');
}

// {3} {3,} {3,5}, of what follows the bracket.
bool is_repetition(std::string_view s)
{
    if (!take_number(s))
        return false;
    if (s.starts_with(',')) {
        s.remove_prefix(1);
        if (!s.starts_with('}') && !take_number(s))
            return false;
    }
    return s.starts_with('}');
}

// What RE2 would take for characters that no topic's name has, but other libraries do not: such a
// pattern would never match. Returns what to do about it, or null.
const char* misread(std::string_view s)
{
    for (std::size_t at = 0; at < s.size(); ++at) {
        if (s[at] == '\\') {
            const std::string_view escaped = s.substr(++at, 1);
            if (!escaped.empty() && is_digit(escaped[0]))
                return "A pattern has no back-references.";
            if (escaped.find_first_of("<>`'") != escaped.npos)
                return "The bounds of a word are \\b, those of a name need not be written.";
        } else if (s[at] == '{' && !is_repetition(s.substr(at + 1))) {
            return "Repetitions are {n}, {n,} and {n,m}, of at most 1000.";
        } else if (s.substr(at).starts_with("[[.") || s.substr(at).starts_with("[[=")) {
            return "A pattern has no collating elements and no equivalence classes.";
        }
    }
    return nullptr;
}

std::string cut(const std::string& s)
{
    return s.size() > 100 ? s.substr(0, 100) + "..." : s;
}

fault refused(const std::string& text, std::string hint)
{
    return {.kind = fault_kind::refused_option,
            .message = "invalid pattern for topics: \"" + cut(text) + "\"",
            .hint = std::move(hint)};
}

// With \w, \s and \b, which many libraries know beside POSIX. Names are ASCII.
re2::RE2::Options options()
{
    re2::RE2::Options o;
    o.set_posix_syntax(true);
    o.set_perl_classes(true);
    o.set_word_boundary(true);
    o.set_never_capture(true);
    o.set_encoding(re2::RE2::Options::EncodingLatin1);
    o.set_max_mem(most_memory);
    o.set_log_errors(false);
    return o;
}

} // namespace

result<pattern> pattern::make(const std::string& text)
{
    if (text.size() > most_bytes)
        return refused(text, "A pattern has at most " + std::to_string(most_bytes) + " bytes.");
    if (const char* hint = misread(text))
        return refused(text, hint);
    auto made = std::make_shared<const re2::RE2>(text, options());
    if (made->error_code() == re2::RE2::ErrorPatternTooLarge)
        return refused(text, "Its repetitions, written out, are too long.");
    if (!made->ok())
        return refused(text,
                       "The regular expression is not valid: " + sentence(cut(made->error())));
    pattern p;
    p.compiled_ = std::move(made);
    return p;
}

bool pattern::matches(const char* topic) const
{
    return re2::RE2::FullMatch(topic, *compiled_);
}

} // namespace ke::kafka
