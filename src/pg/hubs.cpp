#include "pg/hubs.h"

extern "C" {
#include "storage/ipc.h"
}

#include <chrono>
#include <cstdlib>
#include <thread>
#include <unistd.h>
#include <vector>

#include "registry/client.h"

namespace ke::pg {

namespace {

// How long the end of a process waits for its threads. They have been told to stop before; one that
// sits in getaddrinfo may take many seconds.
constexpr auto patience = std::chrono::milliseconds(300);

struct kept {
    void (*destroy)(void*);
    void* object;
};
std::vector<kept>& kept_objects()
{
    static auto* list = new std::vector<kept>; // never destroyed: static destructors run too late
    return *list;
}

int exit_code;

// Runs first among the atexit handlers, being the last to be registered.
void leave_threads_behind()
{
    const auto until = std::chrono::steady_clock::now() + patience;
    while (ingest::hub::living_threads() != 0) {
        if (std::chrono::steady_clock::now() > until)
            _exit(exit_code);
        std::this_thread::sleep_for(std::chrono::milliseconds(2));
    }
}

void halt_hubs(int, Datum)
{
    std::vector<kept>& list = kept_objects();
    while (!list.empty()) {
        kept k = list.back();
        list.pop_back();
        k.destroy(k.object);
    }
}

// Only the code is noted here: the server's other callbacks still have to run.
void note_exit(int code, Datum)
{
    exit_code = code;
    registry::client::halt_all();
    std::atexit(leave_threads_behind);
}

} // namespace

void expect_threads()
{
    static pid_t expected_in; // per process: a fork inherits the variable, but no callbacks
    if (expected_in == getpid())
        return;
    before_shmem_exit(halt_hubs, 0);
    on_proc_exit(note_exit, 0);
    expected_in = getpid();
}

ingest::hub* open_hub(MemoryContext context)
{
    call([] { expect_threads(); });
    return adopt(context, check(ingest::hub::make()));
}

void detail::destroy_at_exit(void (*destroy)(void*), void* object)
{
    kept_objects().push_back({destroy, object});
}

} // namespace ke::pg
