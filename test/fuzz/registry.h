// A schema registry without a thread or a net, in place of src/registry/client.cpp and http.cpp: what a
// decoder asks is answered at once by the lines of `answers`, in turn, the last one again and again. A
// line is a body behind a status ("404 {...}"), which may be left out.
#pragma once

#include <memory>
#include <string>
#include <vector>

#include "registry/client.h"

namespace ke::fuzz {

struct registry {
    std::vector<std::string> answers;
    std::size_t asked = 0;
};
registry& the_registry(); // of the one thread

// A client that knows nothing yet.
std::shared_ptr<ke::registry::client> new_client();

} // namespace ke::fuzz
