#include "base/doorbell.h"

#include <cerrno>
#include <cstdint>
#include <poll.h>
#include <sys/eventfd.h>
#include <system_error>
#include <unistd.h>

#include "base/no_backend.h"

namespace ke {

doorbell::doorbell() : fd_(eventfd(0, EFD_CLOEXEC | EFD_NONBLOCK))
{
    if (fd_ < 0)
        throw std::system_error(errno, std::generic_category(),
                                "could not create an event descriptor");
}

doorbell::~doorbell()
{
    close(fd_);
}

void doorbell::ring() noexcept
{
    if (asleep_.exchange(false)) {
        std::uint64_t one = 1;
        [[maybe_unused]] auto n = write(fd_, &one, sizeof one); // full counter: already rung
    }
}

void doorbell::doze() noexcept
{
    asleep_.exchange(true);
}

void doorbell::wake() noexcept
{
    asleep_.exchange(false);
    std::uint64_t count;
    [[maybe_unused]] auto n = read(fd_, &count, sizeof count); // empty: EAGAIN, fine
}

void doorbell::wait(int timeout_ms) noexcept
{
    pollfd p{fd_, POLLIN, 0};
    poll(&p, 1, timeout_ms);
}

} // namespace ke
