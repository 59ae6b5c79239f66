// Walking through the text of a JSON value that is known to be well formed.
#pragma once

#include <cstddef>
#include <string_view>

namespace ke::decode {

inline bool is_digit(char c)
{
    return c >= '0' && c <= '9';
}

inline bool is_json_space(char c)
{
    return c == ' ' || c == '\t' || c == '\n' || c == '\r';
}

inline std::string_view trim_end(std::string_view s)
{
    while (!s.empty() && is_json_space(s.back()))
        s.remove_suffix(1);
    return s;
}

inline std::string_view trim_json(std::string_view s)
{
    while (!s.empty() && is_json_space(s.front()))
        s.remove_prefix(1);
    return trim_end(s);
}

// What of a payload is JSON: no byte order mark, no white space around.
inline std::string_view json_document(std::string_view payload)
{
    if (payload.starts_with("\xEF\xBB\xBF"))
        payload.remove_prefix(3);
    return trim_json(payload);
}

// The members of an array or object, one after the other, each cut out without white space around
// it. For an object key() is the member's name with its quotes.
class json_members {
  public:
    explicit json_members(std::string_view container)
        : rest_(trim_json(container.substr(1, container.size() - 2))),
          object_(container.front() == '{')
    {
    }

    bool next()
    {
        if (rest_.empty())
            return false;
        if (object_) {
            key_ = take(':');
            value_ = take(',');
        } else {
            value_ = take(',');
        }
        return true;
    }
    std::string_view key() const { return key_; }
    std::string_view value() const { return value_; }

  private:
    // Up to the next end character outside of strings and brackets, which is passed over.
    std::string_view take(char end)
    {
        std::size_t at = 0;
        int depth = 0;
        for (; at < rest_.size(); at++) {
            const char c = rest_[at];
            if (c == '"') {
                for (++at; at < rest_.size() && rest_[at] != '"'; at++)
                    if (rest_[at] == '\\')
                        ++at;
            } else if (c == '{' || c == '[') {
                ++depth;
            } else if (c == '}' || c == ']') {
                --depth;
            } else if (c == end && depth == 0) {
                break;
            }
        }
        if (at > rest_.size())
            at = rest_.size();
        const std::string_view taken = trim_json(rest_.substr(0, at));
        rest_.remove_prefix(at < rest_.size() ? at + 1 : at);
        return taken;
    }

    std::string_view rest_;
    bool object_;
    std::string_view key_;
    std::string_view value_;
};

} // namespace ke::decode
