// What is to be done once this session's transaction is over for everybody: its changes visible, its
// invalidation messages sent and its locks released. The server's own callback at commit comes before
// the latter two: who were woken by it could still read old catalog entries from their caches.
#pragma once

#include "pg/compat.h"

namespace ke::stream {

// fn is called at each end of a transaction of this process from now on; whether it has committed
// (a prepared one has not). It must not raise. Registering the same again does nothing.
void after_transactions(void (*fn)(bool committed));

} // namespace ke::stream
