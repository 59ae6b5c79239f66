// Hubs inside a server process: who owns them, and how a process ends that has had threads.
//
// A hub of a statement belongs to a memory context, so that errors, cancelled cursors and rolled-back
// savepoints free it; at process exit the server's own abort deletes that context. What lives longer
// (a worker's pipeline) belongs to the process: keep_until_exit() destroys it before the process
// leaves shared memory.
//
// exit() beside live threads would run OpenSSL's and C++'s atexit handlers under their feet: a crash
// that resets the whole cluster. Therefore the process waits a moment for its threads and then, where
// one still lives, ends by _exit with the same code, after every callback of the server has run.
#pragma once

#include "pg/compat.h"

#include <memory>

#include "ingest/hub.h"
#include "pg/guard.h"

namespace ke::pg {

// Before the first thread of ours is born in this process; cheap to repeat. Throws pg_error.
void expect_threads();

// A new hub, owned by the context. Throws fault_error, pg_error.
ingest::hub* open_hub(MemoryContext);

namespace detail {
void destroy_at_exit(void (*destroy)(void*), void* object);
}

// An object of the whole process, destroyed when it ends, last kept first. Throws pg_error.
template <class T>
T* keep_until_exit(std::unique_ptr<T> object)
{
    call([] { expect_threads(); });
    detail::destroy_at_exit([](void* p) { delete static_cast<T*>(p); }, object.get());
    return object.release();
}

} // namespace ke::pg
