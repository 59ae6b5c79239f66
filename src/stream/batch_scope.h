// A batch in the way of somebody's lock is given up soon. The worker's side of it: a timer that
// calls the supervisor once a batch has lasted a while; the supervisor looks who waits for whom and
// cancels the batch (SIGINT), which then ends with 57014 like any cancelled statement.
#pragma once

#include "pg/compat.h"

namespace ke::stream {

// Once per process.
void init_batch_timer();

// Around a batch's transaction; C++ frames only.
class batch_scope {
  public:
    batch_scope();
    ~batch_scope();
    batch_scope(const batch_scope&) = delete;
    batch_scope& operator=(const batch_scope&) = delete;
};

} // namespace ke::stream
