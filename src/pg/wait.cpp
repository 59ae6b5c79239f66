#include "pg/wait.h"

extern "C" {
#include "pgstat.h"
#include "storage/latch.h"
#include "utils/wait_event.h"
}

namespace ke::pg {

void sleep_on(doorbell& bell, long timeout_ms)
{
    int events = WL_LATCH_SET | WL_SOCKET_READABLE | WL_EXIT_ON_PM_DEATH;
    if (timeout_ms >= 0)
        events |= WL_TIMEOUT;
    int happened = call([&] {
        return WaitLatchOrSocket(MyLatch, events, bell.fd(), timeout_ms, PG_WAIT_EXTENSION);
    });
    bell.wake();
    if (happened & WL_LATCH_SET)
        ResetLatch(MyLatch);
    if (InterruptPending)
        call([] { CHECK_FOR_INTERRUPTS(); });
}

} // namespace ke::pg
