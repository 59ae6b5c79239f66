// Views that came by pg_restore or with a database made from a template: registered in another database
// than this one. Inside a transaction; raises.
#pragma once

#include "pg/compat.h"

namespace ke::stream {

// Makes them this database's, the active ones paused with the reason `restored`; whether there were any.
// by: who, in kafka.history.
bool adopt_copies(const char* by);

// What no dump says: a view depends on the hidden one with its query, a stream on its body.
void record_dependencies();

} // namespace ke::stream
