// Preloaded into a server of the tests: disks that are full or broken and names that do not resolve, while
// somebody wants it so. The first bytes of the file that KAFKA_ENGINE_FAULTS names say what is wrong now;
// every process of the server has it mapped, and whoever tests writes into it (cluster.py: Cluster.fault).
//
//   D  data files cannot be written: no space left      E  the same: I/O error
//   L  WAL cannot be written: no space left             R  data files cannot be read: I/O error
//   F  nothing can be flushed: I/O error                N  names do not resolve
//   A  the clock is a day ahead                         B  the clock is a day behind
#include <cerrno>
#include <cstdlib>
#include <cstring>

#include <dlfcn.h>
#include <fcntl.h>
#include <netdb.h>
#include <sys/mman.h>
#include <sys/time.h>
#include <sys/uio.h>
#include <time.h>
#include <unistd.h>

namespace {

const volatile char* now = "-";

__attribute__((constructor)) void map_faults()
{
    const char* path = getenv("KAFKA_ENGINE_FAULTS");
    const int fd = path != nullptr ? open(path, O_RDONLY) : -1;
    if (fd < 0)
        return;
    void* at = mmap(nullptr, 1, PROT_READ, MAP_SHARED, fd, 0);
    if (at != MAP_FAILED)
        now = static_cast<const char*>(at);
    close(fd);
}

// Whether the file's name has that part.
bool is_in(int fd, const char* part)
{
    char link[64] = "/proc/self/fd/", name[512];
    char digits[16];
    int n = 0, of = fd;
    do
        digits[n++] = static_cast<char>('0' + of % 10);
    while ((of /= 10) > 0);
    std::size_t end = std::strlen(link);
    while (n > 0)
        link[end++] = digits[--n];
    link[end] = '\0';
    const ssize_t length = readlink(link, name, sizeof name - 1);
    if (length < 0)
        return false;
    name[length] = '\0';
    return std::strstr(name, part) != nullptr;
}

// The errno that a write, read or flush of the file meets now; 0: none.
int write_fault(int fd)
{
    switch (*now) {
    case 'D':
        return is_in(fd, "/base/") ? ENOSPC : 0;
    case 'E':
        return is_in(fd, "/base/") ? EIO : 0;
    case 'L':
        return is_in(fd, "/pg_wal/") ? ENOSPC : 0;
    default:
        return 0;
    }
}

int read_fault(int fd)
{
    return *now == 'R' && is_in(fd, "/base/") ? EIO : 0;
}

int flush_fault(int fd)
{
    return *now == 'F' && (is_in(fd, "/base/") || is_in(fd, "/pg_wal/")) ? EIO : 0;
}

template <class F>
F* next(const char* name)
{
    return reinterpret_cast<F*>(dlsym(RTLD_NEXT, name));
}

} // namespace

// A call that fails with an errno where `fault` gives one.
#define WRAP(result, name, fault, parameters, ...)                                                 \
    extern "C" result name parameters                                                              \
    {                                                                                              \
        static auto* const real = next<result parameters>(#name);                                  \
        if (*now != '-')                                                                           \
            if (const int wrong = fault) {                                                         \
                errno = wrong;                                                                     \
                return -1;                                                                         \
            }                                                                                      \
        return real(__VA_ARGS__);                                                                  \
    }

WRAP(ssize_t, write, write_fault(fd), (int fd, const void* p, size_t n), fd, p, n)
WRAP(ssize_t, pwrite, write_fault(fd), (int fd, const void* p, size_t n, off_t o), fd, p, n, o)
WRAP(ssize_t, pwrite64, write_fault(fd), (int fd, const void* p, size_t n, off64_t o), fd, p, n, o)
WRAP(ssize_t, pwritev, write_fault(fd), (int fd, const iovec* v, int n, off_t o), fd, v, n, o)
WRAP(ssize_t, pwritev64, write_fault(fd), (int fd, const iovec* v, int n, off64_t o), fd, v, n, o)
WRAP(ssize_t, pread, read_fault(fd), (int fd, void* p, size_t n, off_t o), fd, p, n, o)
WRAP(ssize_t, pread64, read_fault(fd), (int fd, void* p, size_t n, off64_t o), fd, p, n, o)
WRAP(ssize_t, preadv, read_fault(fd), (int fd, const iovec* v, int n, off_t o), fd, v, n, o)
WRAP(int, fsync, flush_fault(fd), (int fd), fd)
WRAP(int, fdatasync, flush_fault(fd), (int fd), fd)

// Seconds by which the clock is off.
static long clock_error()
{
    constexpr long day = 86400;
    return *now == 'A' ? day : *now == 'B' ? -day : 0;
}

extern "C" int gettimeofday(timeval* t, void* zone) noexcept
{
    static auto* const real = next<int(timeval*, void*)>("gettimeofday");
    const int r = real(t, zone);
    t->tv_sec += clock_error();
    return r;
}

extern "C" int clock_gettime(clockid_t which, timespec* t) noexcept
{
    static auto* const real = next<int(clockid_t, timespec*)>("clock_gettime");
    const int r = real(which, t);
    if (which == CLOCK_REALTIME)
        t->tv_sec += clock_error();
    return r;
}

extern "C" int posix_fallocate(int fd, off_t from, off_t length)
{
    static auto* const real = next<int(int, off_t, off_t)>("posix_fallocate");
    const int wrong = *now != '-' ? write_fault(fd) : 0;
    return wrong != 0 ? wrong : real(fd, from, length);
}

extern "C" int posix_fallocate64(int fd, off64_t from, off64_t length)
{
    static auto* const real = next<int(int, off64_t, off64_t)>("posix_fallocate64");
    const int wrong = *now != '-' ? write_fault(fd) : 0;
    return wrong != 0 ? wrong : real(fd, from, length);
}

extern "C" int getaddrinfo(const char* node, const char* service, const addrinfo* hints,
                           addrinfo** found)
{
    static auto* const real =
        next<int(const char*, const char*, const addrinfo*, addrinfo**)>("getaddrinfo");
    return *now == 'N' ? EAI_AGAIN : real(node, service, hints, found);
}
