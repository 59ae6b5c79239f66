// What a registry answers, out of its JSON.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

#include "base/result.h"
#include "registry/schema.h"

namespace ke::registry {

struct reference {
    std::string name, subject;
    std::int64_t version = 0;
};

struct schema_answer {
    schema what; // without needs
    std::vector<reference> references;
};

// Fails with protocol where it is no schema.
result<schema_answer> read_schema(const std::string& body);

struct error_answer {
    std::int64_t code = 0; // 0: none given
    std::string message;   // at most a line; empty: none given
};
error_answer read_error(const std::string& body);

} // namespace ke::registry
