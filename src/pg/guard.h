// The border between C++ and the server. Two ways across, no third:
//
//   entry(fn)  C++ that may throw, in a function the server called. Whatever fn throws becomes a
//              server error, raised here, after every object of fn has been destroyed.
//   call(fn)   server code that may raise (longjmp), from a frame that owns C++ objects. The server
//              error becomes a C++ exception, pg_error, with the whole ErrorData.
//
// Inside entry(), with nothing alive but plain data, the server may be called directly.
// A pg_error that was caught must be raised again (entry does) or its (sub)transaction aborted.
// Server's thread only.
#pragma once

#include "pg/compat.h"

#include <exception>
#include <memory>
#include <new>
#include <type_traits>
#include <utility>

#include "base/result.h"

namespace ke::pg {

// A server error on its way through C++ frames. The ErrorData lives in the memory context that was
// current at call() (never ErrorContext).
class pg_error : public std::exception {
  public:
    explicit pg_error(ErrorData* e) : error_(e) {}
    const char* what() const noexcept override { return error_->message; }
    ErrorData* data() const { return error_; }

  private:
    ErrorData* error_;
};

// A fault of the upper half on its way to the border, where it is raised with its SQLSTATE.
class fault_error : public std::exception {
  public:
    explicit fault_error(fault f) : fault_(std::move(f)) {}
    const char* what() const noexcept override { return fault_.message.c_str(); }
    const fault& get() const { return fault_; }

  private:
    fault fault_;
};

// The value, or its fault thrown.
template <class T>
T check(result<T> r)
{
    if (!r)
        throw fault_error(std::move(r.error()));
    return std::move(r.value());
}

namespace detail {
// Runs fn(arg) under PG_TRY; null, or a copy of the server error in the caller's memory context.
ErrorData* try_call(void (*fn)(void*), void* arg);
// Inside a catch block: keeps what is being thrown in static storage...
void keep_current_exception() noexcept;
// ... and raises it, once the block has been left.
[[noreturn]] void raise_kept();
} // namespace detail

template <class F>
auto entry(F&& fn) -> decltype(fn())
{
    try {
        return fn();
    } catch (...) {
        detail::keep_current_exception();
    }
    detail::raise_kept();
}

template <class F>
auto call(F&& fn) -> decltype(fn())
{
    using R = decltype(fn());
    if constexpr (std::is_void_v<R>) {
        auto body = [](void* arg) { (*static_cast<std::remove_reference_t<F>*>(arg))(); };
        if (ErrorData* e = detail::try_call(body, const_cast<void*>(static_cast<const void*>(&fn))))
            throw pg_error(e);
    } else {
        static_assert(std::is_trivially_destructible_v<R>, "a server call returns plain data");
        struct both {
            std::remove_reference_t<F>* fn;
            R value;
        } b{&fn, R{}};
        auto body = [](void* arg) {
            both* p = static_cast<both*>(arg);
            p->value = (*p->fn)();
        };
        if (ErrorData* e = detail::try_call(body, &b))
            throw pg_error(e);
        return b.value;
    }
}

// A C++ object owned by a memory context: destroyed when the context is reset or deleted, last made
// first. The object itself is on the C++ heap.
template <class T>
T* adopt(MemoryContext context, std::unique_ptr<T> object)
{
    auto* cb = call([&] {
        return static_cast<MemoryContextCallback*>(
            MemoryContextAllocZero(context, sizeof(MemoryContextCallback)));
    });
    T* raw = object.release();
    cb->arg = raw;
    cb->func = [](void* p) { delete static_cast<T*>(p); };
    MemoryContextRegisterResetCallback(context, cb);
    return raw;
}

} // namespace ke::pg
