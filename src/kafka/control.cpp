#include "kafka/control.h"

#include <algorithm>
#include <condition_variable>
#include <deque>
#include <list>
#include <mutex>
#include <set>

#include "base/doorbell.h"
#include "kafka/fault.h"
#include "kafka/handles.h"
#include "kafka/metadata.h"

#include "base/no_backend.h"

namespace ke::kafka {

using std::chrono::milliseconds;
using std::chrono::seconds;

namespace {
constexpr int most_askers = 4;
constexpr seconds asker_idle{5};
constexpr milliseconds probe_every{1000};
} // namespace

int patience::slice()
{
    if (over())
        return 0;
    int ms = rest(next_ms_);
    if (++count_ % 2 == 0)
        next_ms_ *= 2;
    return ms;
}

int patience::rest(int at_most) const
{
    auto left = std::chrono::duration_cast<milliseconds>(deadline_ - clock::now()).count();
    return static_cast<int>(std::clamp<long long>(left, 1, at_most));
}

// Shared by the control thread, the askers and the owner; the last one frees it.
struct control::state : std::enable_shared_from_this<control::state> {
    state(std::shared_ptr<client> fetching, std::shared_ptr<client> asking)
        : of(std::move(fetching)), asked(std::move(asking))
    {
    }

    std::shared_ptr<client> of, asked;
    doorbell bell; // of the control thread
    std::atomic<bool> halted{false};

    using entry = std::shared_ptr<question>;
    std::mutex mutex; // guards the rest
    std::condition_variable more;
    std::deque<entry> waiting; // for an asker
    std::list<entry> pending;  // not past their deadlines: waiting or running
    int askers = 0;
    int idle = 0;
    bool probing = false;

    void serve();
    void answer();
    int expire_and_sleep_ms(unsigned& refusals, clock::time_point& next_probe);
    void probe();
    bool one_more_asker();
};

namespace {

bool in_trouble(const client& c)
{
    return c.complaining() || c.doubtful();
}

fault late(const client& of, const client& asked, bool halted)
{
    if (halted)
        return make_fault(RD_KAFKA_RESP_ERR__DESTROY, of.address(), "");
    for (const client* c : {&of, &asked})
        if (auto complaint = c->complaint())
            return *complaint;
    const std::string words = of.last_words().empty() ? asked.last_words() : of.last_words();
    fault f = make_fault(RD_KAFKA_RESP_ERR__TIMED_OUT, of.address(), words);
    if (words.empty())
        f.detail = "No answer within the time-out.";
    return f;
}

void refuse(const control::question& q, const client& of, const client& asked, bool halted) noexcept
{
    try {
        q.give_up(late(of, asked, halted));
    } catch (...) {
        q.give_up({.kind = fault_kind::out_of_memory, .message = "out of memory"});
    }
}

} // namespace

// --------------------------------------------------------------------- the control thread

void control::state::serve()
{
    of->notify(bell.fd());
    asked->notify(bell.fd());
    unsigned refusals = of->refusals() + asked->refusals();
    auto next_probe = clock::now();
    while (!halted.load()) {
        int ms = 100; // where memory lacked: a little later there may be some
        try {
            of->serve();
            asked->serve();
            ms = expire_and_sleep_ms(refusals, next_probe);
        } catch (...) {
        }
        bell.doze();
        if (!halted.load())
            bell.wait(ms);
        bell.wake();
    }
    of->notify(-1);
    asked->notify(-1);
    std::list<entry> left;
    {
        std::lock_guard lock(mutex);
        left.swap(pending);
        waiting.clear();
    }
    more.notify_all();
    for (const entry& q : left)
        refuse(*q, *of, *asked, true);
}

// Answers what is past its time, and all that is asked once a login was refused; says how long
// nothing will be due.
int control::state::expire_and_sleep_ms(unsigned& refusals, clock::time_point& next_probe)
{
    auto now = clock::now();
    auto due = now + seconds(3600);
    const unsigned heard = of->refusals() + asked->refusals();
    bool refused = heard != refusals;
    refusals = heard;
    std::list<entry> expired;
    {
        std::lock_guard lock(mutex);
        for (auto at = pending.begin(); at != pending.end();) {
            auto next = std::next(at);
            if (refused || (*at)->deadline <= now)
                expired.splice(expired.end(), pending, at);
            else
                due = std::min(due, (*at)->deadline);
            at = next;
        }
        std::erase_if(waiting, [&](const entry& q) {
            return std::find(expired.begin(), expired.end(), q) != expired.end();
        });
    }
    for (const entry& q : expired)
        refuse(*q, *of, *asked, false);
    if (in_trouble(*of) || in_trouble(*asked)) {
        if (next_probe <= now) {
            next_probe = now + probe_every;
            probe();
        }
        due = std::min(due, next_probe);
    }
    auto ms = std::chrono::ceil<milliseconds>(due - clock::now()).count();
    return static_cast<int>(std::clamp<long long>(ms, 0, 3600'000));
}

// A small request that shows whether the broker is back; one at a time.
void control::state::probe()
{
    std::lock_guard lock(mutex);
    if (probing || halted.load())
        return;
    auto q = std::make_shared<question>();
    q->deadline = clock::now() + seconds(2);
    q->run = [this](client&, patience& p) {
        for (client* c : std::set{of.get(), asked.get()}) {
            if (!in_trouble(*c))
                continue;
            if (ping(*c, p.rest(1000)))
                c->works();
            else
                c->fails();
        }
        std::lock_guard again(mutex);
        probing = false;
        return true;
    };
    waiting.push_back(std::move(q)); // not pending: nobody waits for it
    if (one_more_asker())
        probing = true;
    else
        waiting.pop_back();
    more.notify_one();
}

// --------------------------------------------------------------------- askers

void control::state::answer()
{
    std::unique_lock lock(mutex);
    while (!halted.load()) {
        if (waiting.empty()) {
            ++idle;
            bool woken =
                more.wait_for(lock, asker_idle, [&] { return halted.load() || !waiting.empty(); });
            --idle;
            if (!woken)
                break;
            continue;
        }
        entry q = std::move(waiting.front());
        waiting.pop_front();
        lock.unlock();
        patience p(q->deadline, halted);
        bool answered = true;
        try {
            answered = q->run(*asked, p);
        } catch (...) {
            if (q->give_up)
                q->give_up({.kind = fault_kind::out_of_memory, .message = "out of memory"});
        }
        lock.lock();
        if (answered)
            pending.remove(q);
    }
    --askers;
}

// With the mutex held. False: nobody is there to answer.
bool control::state::one_more_asker()
{
    if (idle >= static_cast<int>(waiting.size()) || askers >= most_askers)
        return true;
    if (!start_detached("kafka ask", [self = shared_from_this()] { self->answer(); }))
        return askers > 0;
    ++askers;
    return true;
}

// --------------------------------------------------------------------- any thread

control::control(std::shared_ptr<client> fetching, std::shared_ptr<client> asking)
    : state_(std::make_shared<state>(std::move(fetching), std::move(asking)))
{
    if (!start_detached("kafka control", [s = state_] { s->serve(); }))
        throw std::bad_alloc();
}

void control::ask(question asked) noexcept
{
    std::shared_ptr<question> q;
    try {
        q = std::make_shared<question>(std::move(asked));
        std::unique_lock lock(state_->mutex);
        if (state_->halted.load()) {
            lock.unlock();
            refuse(*q, *state_->of, *state_->asked, true);
            return;
        }
        state_->pending.push_back(q);
        if (q->run) {
            state_->waiting.push_back(q);
            if (!state_->one_more_asker()) {
                state_->waiting.pop_back();
                state_->pending.pop_back();
                lock.unlock();
                q->give_up(
                    {.kind = fault_kind::out_of_memory, .message = "could not start a thread"});
                return;
            }
            state_->more.notify_one();
        }
    } catch (...) {
        if (q)
            q->give_up({.kind = fault_kind::out_of_memory, .message = "out of memory"});
        return;
    }
    state_->bell.ring(); // a new deadline
}

void control::halt() noexcept
{
    if (!state_)
        return;
    {
        std::lock_guard lock(state_->mutex);
        state_->halted.store(true);
    }
    state_->more.notify_all();
    state_->bell.ring();
    state_.reset();
}

} // namespace ke::kafka
