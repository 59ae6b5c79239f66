// Launcher, supervisors and the commands that need a database without connections: who calls whom.
#pragma once

#include "pg/compat.h"

extern "C" {
#include "datatype/timestamp.h"
#include "nodes/nodes.h"
#include "postmaster/bgworker.h"
}

#include <cstdint>

namespace ke::stream {

// ---- for the utility hook (stream/drop_database) ----

// The statements that need a database without connections (DROP, RENAME, SET TABLESPACE, a copy made
// of it), recognised, and the copies made: called around every utility statement. Raise.
void before_database_statement(Node*);
void after_database_statement(Node*);

// The command that follows needs the database without connections (DROP, RENAME, SET TABLESPACE, a
// copy made of it): stops its supervisor and workers, waits for them (at most 5 s; interruptible) and
// lets none start until this session's transaction has ended, in whatever way. Check the user's right
// to the command first. Does nothing for InvalidOid and without preload. Raises.
void before_database_command(Oid database);

// After CREATE DATABASE: the copy may hold continuous views, which are to be shown as restored.
void look_into_at_commit(Oid database);

// ---- among launcher, supervisor and pool ----

// A process of ours that serves one database ("supervisor", "worker"), to be registered: it begins at
// kafka_engine_<kind>_main(number) and is of this generation (of its slot in shared memory). Whoever
// registers it is told of its end, and nobody else starts it again.
BackgroundWorker describe_process(const char* kind, const char* name, int number,
                                  std::uint32_t generation);

// Microseconds by a clock that nobody sets, the same in every process of the machine: for timers, in
// shared memory too. What users see of times is GetCurrentTimestamp()'s.
TimestampTz steady_now();

// Delay before the next start after so many failures in a row: doubles from 250 ms to most_ms, half
// of it at random, so that what failed together does not come back together.
TimestampTz next_try(TimestampTz now, int failures, int most_ms = 60000);

// Milliseconds until then, for WaitLatch; at least 1.
long milliseconds_until(TimestampTz now, TimestampTz then);

} // namespace ke::stream
