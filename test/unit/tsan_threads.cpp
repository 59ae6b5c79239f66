// Under the thread sanitizer only: C11's threads, which librdkafka uses, by way of the POSIX ones,
// which the sanitizer knows. (glibc's C11 types are the POSIX ones under another name.) And what the
// library does by itself is not judged: its atomics are not instrumented.
#if defined(__has_feature)
#if __has_feature(thread_sanitizer)
#define __SANITIZE_THREAD__ 1
#endif
#endif
#if defined(__SANITIZE_THREAD__)

#include <cerrno>
#include <cstdint>
#include <pthread.h>
#include <threads.h>

namespace {

struct start {
    thrd_start_t run;
    void* with;
};

void* run(void* p)
{
    start s = *static_cast<start*>(p);
    delete static_cast<start*>(p);
    return reinterpret_cast<void*>(static_cast<std::intptr_t>(s.run(s.with)));
}

int said(int err)
{
    return err == 0 ? thrd_success : err == ETIMEDOUT ? thrd_timedout : thrd_error;
}

auto* posix(mtx_t* m)
{
    return reinterpret_cast<pthread_mutex_t*>(m);
}
auto* posix(cnd_t* c)
{
    return reinterpret_cast<pthread_cond_t*>(c);
}

} // namespace

extern "C" {

const char* __tsan_default_suppressions()
{
    return "race:librdkafka.so\n";
}

int thrd_create(thrd_t* t, thrd_start_t f, void* with)
{
    return said(pthread_create(t, nullptr, run, new start{f, with}));
}
int thrd_join(thrd_t t, int* code)
{
    void* p = nullptr;
    int err = pthread_join(t, &p);
    if (code != nullptr)
        *code = static_cast<int>(reinterpret_cast<std::intptr_t>(p));
    return said(err);
}
int thrd_detach(thrd_t t)
{
    return said(pthread_detach(t));
}
int mtx_init(mtx_t* m, int type)
{
    pthread_mutexattr_t a;
    pthread_mutexattr_init(&a);
    if (type & mtx_recursive)
        pthread_mutexattr_settype(&a, PTHREAD_MUTEX_RECURSIVE);
    int err = pthread_mutex_init(posix(m), &a);
    pthread_mutexattr_destroy(&a);
    return said(err);
}
void mtx_destroy(mtx_t* m)
{
    pthread_mutex_destroy(posix(m));
}
int mtx_lock(mtx_t* m)
{
    return said(pthread_mutex_lock(posix(m)));
}
int mtx_trylock(mtx_t* m)
{
    int err = pthread_mutex_trylock(posix(m));
    return err == EBUSY ? thrd_busy : said(err);
}
int mtx_unlock(mtx_t* m)
{
    return said(pthread_mutex_unlock(posix(m)));
}
int cnd_init(cnd_t* c)
{
    return said(pthread_cond_init(posix(c), nullptr));
}
void cnd_destroy(cnd_t* c)
{
    pthread_cond_destroy(posix(c));
}
int cnd_signal(cnd_t* c)
{
    return said(pthread_cond_signal(posix(c)));
}
int cnd_broadcast(cnd_t* c)
{
    return said(pthread_cond_broadcast(posix(c)));
}
int cnd_wait(cnd_t* c, mtx_t* m)
{
    return said(pthread_cond_wait(posix(c), posix(m)));
}
int cnd_timedwait(cnd_t* c, mtx_t* m, const timespec* until)
{
    return said(pthread_cond_timedwait(posix(c), posix(m), until));
}

} // extern "C"

#endif
