// A pattern of topics' names: a POSIX extended regular expression that a whole name matches. Anybody
// who may make a topic table may give one, so it is measured before the C library compiles it: nested
// brackets without end would take its stack, nested repetitions all memory, back-references all time.
// Any thread.
#pragma once

#include <memory>
#include <string>

#include "base/result.h"

namespace ke::kafka {

class pattern {
  public:
    // Fault refused_option, with what is wrong as its hint.
    static result<pattern> make(const std::string& text);
    bool matches(const char* topic) const;

  private:
    struct compiled;
    std::shared_ptr<const compiled> compiled_;
};

} // namespace ke::kafka
