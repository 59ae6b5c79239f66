// Transactions of the background processes, from C++ frames: an error aborts and comes back as words,
// after which the process goes on. Server's thread, no transaction open.
#pragma once

#include "pg/compat.h"

#include <optional>
#include <string>

#include "pg/guard.h"

namespace ke::stream {

struct problem {
    int sqlstate;
    std::string message; // primary line and detail
};

// Raise: for pg::call. begin gives an active snapshot.
void begin_transaction();
void commit_transaction();
void abort_transaction();

problem problem_of(const pg::pg_error&);
problem problem_of(const fault&);

// Runs fn in a transaction of its own; what went wrong, or nothing. The memory context is the same
// afterwards. Interrupts that end the process pass through as they are.
template <class F>
std::optional<problem> in_transaction(F&& fn)
{
    MemoryContext before = CurrentMemoryContext;
    std::optional<problem> wrong;
    try {
        pg::call([] { begin_transaction(); });
        fn();
        pg::call([] { commit_transaction(); });
    } catch (const pg::pg_error& e) {
        wrong = problem_of(e);
    } catch (const pg::fault_error& e) {
        wrong = problem_of(e.get());
    } catch (...) {
        pg::call([] { abort_transaction(); });
        MemoryContextSwitchTo(before);
        throw;
    }
    if (wrong)
        pg::call([] { abort_transaction(); });
    MemoryContextSwitchTo(before);
    return wrong;
}

} // namespace ke::stream
