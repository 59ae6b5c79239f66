// Waiting on the server's thread for threads of ours: latch, bell and interrupts in one place.
#pragma once

#include "pg/compat.h"

#include <chrono>

#include "base/doorbell.h"
#include "pg/guard.h"

namespace ke::pg {

// Sleeps until the bell rings, the latch is set or timeout_ms (-1: none) has passed; then looks at
// interrupts. Interrupts come out as pg_error: call it from frames that own C++ objects, inside
// entry(). The bell's sleeper protocol: doze() before the last look, so callers use wait_until().
void sleep_on(doorbell& bell, long timeout_ms);

// Sleeps until ready() or the time is over; whether it became ready.
template <class F>
bool wait_until(doorbell& bell, std::chrono::milliseconds timeout, F ready)
{
    const auto until = std::chrono::steady_clock::now() + timeout;
    for (;;) {
        bell.doze();
        if (ready()) {
            bell.wake();
            return true;
        }
        auto left = std::chrono::duration_cast<std::chrono::milliseconds>(
                        until - std::chrono::steady_clock::now())
                        .count();
        if (left < 0) {
            bell.wake();
            return false;
        }
        sleep_on(bell, static_cast<long>(left) + 1);
    }
}

} // namespace ke::pg
