// Headers of a record from their jsonb, as the column _headers shows them. Plain data in the current
// memory context; raises where the value has another shape. Session's thread.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "utils/jsonb.h"
}

#include "base/bytes.h"

namespace ke::topic {

struct given_header {
    const char* name;
    bytes value;
};
struct given_headers {
    given_header* all;
    int count;
};

given_headers read_headers(Jsonb*);

} // namespace ke::topic
