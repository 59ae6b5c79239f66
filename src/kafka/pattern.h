// A pattern of topics' names: a POSIX extended regular expression that a whole name matches.
// Anybody who may make a topic table may give one, so it is RE2 that compiles it, in bounded time and
// memory, and matches it, in time linear in the name; the C library would take for ever for some.
// Any thread.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"

namespace re2 {
class RE2;
}

namespace ke::kafka {

class pattern {
  public:
    // Fault refused_option, with what is wrong as its hint. Throws std::bad_alloc.
    static result<pattern> make(const std::string& text);
    bool matches(const char* topic) const;

  private:
    std::shared_ptr<const re2::RE2> compiled_;
};

} // namespace ke::kafka
