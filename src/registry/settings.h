// How to reach a schema registry: what the options of a server and of a user mapping say together.
// Two equal ones share a client. Holds secrets: nothing of it but the address is ever shown.
#pragma once

#include <cstdint>
#include <string>
#include <vector>

namespace ke::registry {

struct settings {
    std::vector<std::string> urls; // tried in turn; none: no registry
    std::string username, password, token;
    std::string ca_location, ca_pem;
    std::string certificate_pem, key_pem, key_password;
    // Of a request; and how long an unknown schema is asked for again.
    std::int64_t timeout_ms = 5000;

    bool operator==(const settings&) const = default;
};

} // namespace ke::registry
