// See the header. The timer's handler runs in signal context: one async-signal-safe call.
#include "stream/batch_scope.h"

extern "C" {
#include "utils/timeout.h"
#include "utils/timestamp.h"
}

#include "pg/guard.h"
#include "stream/processes.h"
#include "stream/shmem.h"

namespace ke::stream {

namespace {

constexpr int patience_ms = 150; // before that no lock of a batch is worth a look

TimeoutId timer;

void batch_is_long()
{
    call_supervisor();
}

} // namespace

void init_batch_timer()
{
    timer = RegisterTimeout(USER_TIMEOUT, batch_is_long);
}

batch_scope::batch_scope()
{
    my_statistics().batch_began_at = steady_now();
    pg::call([] { enable_timeout_after(timer, patience_ms); });
}

batch_scope::~batch_scope()
{
    disable_timeout(timer, false);
    my_statistics().batch_began_at = 0;
    // A cancel that came too late is none.
    QueryCancelPending = false;
}

} // namespace ke::stream
