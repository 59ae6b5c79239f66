// What a role needs before the extension speaks to a broker on its behalf. Plain server code: raises,
// so nothing with a destructor may be alive. Session's thread.
#pragma once

#include "pg/compat.h"

namespace ke::topic {

// The current role has USAGE on the server.
void require_usage(Oid server);

// relid is a topic table, and the current role has SELECT on it and USAGE on its server.
void require_topic_table(Oid relid);

} // namespace ke::topic
