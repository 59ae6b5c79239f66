// What kafka.decode and kafka.encode share.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "fmgr.h"
}

namespace ke::topic {

// The topic table whose row type the function's first argument has. Raises.
Oid table_of_argument(FunctionCallInfo);

} // namespace ke::topic
