// The paths of a table's columns as a tree, and which member of an object belongs to which branch.
// Objects of a topic look alike: each known name remembers which came after it last time, so that
// mostly one comparison finds the next; a hash finds the rest.
#pragma once

#include <cstdint>
#include <cstring>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <unordered_map>
#include <utility>
#include <vector>

#include "decode/plan.h"

namespace ke::decode {

class json_node {
  public:
    std::vector<int> columns; // filled with this very value
    std::vector<int> below;   // filled from inside it

    // Where one object's reading stands among the known names.
    using place = std::int32_t;
    static constexpr place at_start = -1;

    // Whether the name is what came next last time; then its branch, or null.
    bool guess(std::string_view name, place& last, json_node*& branch) const
    {
        const known_name* known = next_known(last);
        return known && known->text == name && take(*known, last, branch);
    }
    // The same for a name of unknown length: it begins at key, behind a quote, and ends before one;
    // `left` bytes are left of the document, and 16 more may be read.
    bool guess(const char* key, std::size_t left, place& last, json_node*& branch) const
    {
        const known_name* known = next_known(last);
        if (!known)
            return false;
        const std::size_t n = known->text.size();
        return n < left && key[n] == '"' && same(key, known->text.data(), n) &&
               take(*known, last, branch);
    }
    // The branch of a name that is free of escapes, or null; the next guess learns from it.
    json_node* member(std::string_view name, place& last);
    // The branch of a name that was written with escapes.
    json_node* escaped_member(std::string_view name) const;

    // The branch of a position in an array, or null.
    json_node* element(std::int64_t position) const;

    bool leads_on() const { return !below.empty(); }
    bool has_elements() const { return !elements_.empty(); }

    void add(std::span<const path_step> steps, int column);

  private:
    // Names that no column wants are remembered too, up to this many.
    static constexpr std::size_t most_names = 512;

    struct known_name {
        std::string text;
        json_node* branch; // null: nobody wants it
        place next = -1;   // what followed last time; free of escapes and quotes
    };
    struct hash {
        using is_transparent = void;
        std::size_t operator()(std::string_view s) const
        {
            return std::hash<std::string_view>{}(s);
        }
    };

    // Of both at least 8 bytes may be read (a std::string has 16 in itself).
    static bool same(const char* a, const char* b, std::size_t n)
    {
        if (n > 16)
            return std::memcmp(a, b, n) == 0;
        const auto differ = [&](std::size_t at) {
            std::uint64_t x, y;
            std::memcpy(&x, a + at, sizeof x);
            std::memcpy(&y, b + at, sizeof y);
            return x ^ y;
        };
        if (n >= 8)
            return (differ(0) | differ(n - 8)) == 0;
        return differ(0) << 8 << (56 - 8 * n) == 0;
    }
    const known_name* next_known(place last) const
    {
        const place next = last < 0 ? first_ : names_[static_cast<std::size_t>(last)].next;
        return next < 0 ? nullptr : &names_[static_cast<std::size_t>(next)];
    }
    bool take(const known_name& known, place& last, json_node*& branch) const
    {
        last = static_cast<place>(&known - names_.data());
        branch = known.branch;
        return true;
    }
    json_node& branch_of(const path_step& step);

    std::vector<std::unique_ptr<json_node>> branches_;
    std::vector<known_name> names_;
    std::unordered_map<std::string, place, hash, std::equal_to<>> by_name_;
    std::vector<std::pair<std::int64_t, json_node*>> elements_;
    place first_ = -1;
};

} // namespace ke::decode
