#include "pg/guard.h"

#include "pg/errors.h"

namespace ke::pg::detail {

ErrorData* try_call(void (*fn)(void*), void* arg)
{
    MemoryContext context = CurrentMemoryContext;
    ErrorData* volatile error = nullptr;
    PG_TRY();
    {
        fn(arg);
    }
    PG_CATCH();
    {
        MemoryContextSwitchTo(context);
        error = CopyErrorData();
        FlushErrorState();
    }
    PG_END_TRY();
    return error;
}

// What entry() caught. Static: nothing may be allocated by the server inside a catch block, and the
// server's thread raises one error at a time.
static ErrorData* kept_error;
static std::unique_ptr<fault> kept_fault;

void keep_current_exception() noexcept
{
    kept_error = nullptr;
    kept_fault.reset();
    try {
        try {
            throw;
        } catch (const pg_error& e) {
            kept_error = e.data();
        } catch (const fault_error& e) {
            kept_fault = std::make_unique<fault>(e.get());
        } catch (const std::bad_alloc&) {
            kept_fault = nullptr;
        } catch (const std::exception& e) {
            kept_fault = std::make_unique<fault>();
            kept_fault->message = e.what();
        }
    } catch (...) {
        kept_fault = nullptr; // no memory even to say so
    }
}

void raise_kept()
{
    if (kept_error)
        ReThrowError(kept_error);
    if (kept_fault) {
        const plain_fault p = to_plain(*kept_fault);
        kept_fault.reset();
        raise(p);
    }
    ereport(ERROR, (errcode(ERRCODE_OUT_OF_MEMORY), errmsg("out of memory")));
    pg_unreachable();
}

} // namespace ke::pg::detail
