#include "base/living.h"

#include <atomic>

#include "base/thread.h"

#include "base/no_backend.h"

namespace ke {

namespace {
std::atomic<int> alive{0};
}

living::living() noexcept
{
    alive.fetch_add(1);
}

living::living(const living&) noexcept
{
    alive.fetch_add(1);
}

living::~living()
{
    alive.fetch_sub(1);
}

int living::count() noexcept
{
    return alive.load();
}

bool start_detached(const std::string& name, std::function<void()> body) noexcept
{
    try {
        // The body goes before the token: what it held may take long to destroy.
        auto run = [token = living(), body = std::move(body)]() mutable {
            try {
                body();
            } catch (...) { // out of memory; a thread that ends is better than a server that does
            }
            body = nullptr;
        };
        start_thread(name, std::move(run)).detach();
        return true;
    } catch (...) {
        return false;
    }
}

} // namespace ke
