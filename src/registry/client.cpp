// The cache and the thread; what is asked stands in fetch.cpp.
#include "registry/client.h"

#include <algorithm>
#include <random>

#include "base/living.h"

#include "base/no_backend.h"

namespace ke::registry {

namespace {

using std::chrono::milliseconds;

constexpr auto newest_holds = std::chrono::seconds(60); // the newest version of a subject
constexpr auto idle = std::chrono::seconds(3);          // then the thread leaves
constexpr auto first_pause = milliseconds(100), most_pause = milliseconds(10000);
constexpr auto first_rest = milliseconds(10000), most_rest = milliseconds(300000);
constexpr int tries_before_trouble = 3;    // a hiccup is not told
constexpr std::size_t most_missing = 1000; // remembered
constexpr std::size_t most_found = 10000;  // remembered, and so many bytes of their text
constexpr std::size_t most_text = 64 << 20;
constexpr std::size_t most_waiting = 64;

// Every client of the process, so that what it knows outlives the statement that asked. Never
// destroyed: threads may be in it at the process's end.
struct all_clients {
    std::mutex mutex;
    std::vector<std::shared_ptr<client>> list;
};
all_clients& everybody()
{
    static auto* all = new all_clients;
    return *all;
}
constexpr std::size_t most_clients = 16;

milliseconds jittered(milliseconds pause)
{
    thread_local std::minstd_rand random{std::random_device{}()};
    return milliseconds(
        std::uniform_int_distribution<std::int64_t>(pause.count() * 3 / 4, pause.count())(random));
}

void call_all(const std::vector<std::weak_ptr<listener>>& who) noexcept
{
    for (const auto& w : who)
        if (auto l = w.lock())
            l->call();
}

} // namespace

std::string schema_key::text() const
{
    switch (what) {
    case kind::id:
        return "schema " + std::to_string(id);
    case kind::guid:
        return "schema " + name;
    case kind::latest:
        break;
    }
    return "the newest schema of subject \"" + name + "\"";
}

std::shared_ptr<client> client::of(const settings& wanted)
{
    http::prepare();
    all_clients& all = everybody();
    std::lock_guard lock(all.mutex);
    for (const auto& c : all.list)
        if (c->of_ == wanted && !c->halted_.load())
            return c;
    auto made = std::make_shared<client>(wanted);
    if (all.list.size() >= most_clients) { // logins that are no more; whoever uses one holds it
        all.list.front()->halted_.store(all.list.front().use_count() == 1);
        all.list.erase(all.list.begin());
    }
    all.list.push_back(made);
    return made;
}

void client::halt_all() noexcept
{
    all_clients& all = everybody();
    std::lock_guard lock(all.mutex);
    for (const auto& c : all.list) {
        c->halted_.store(true);
        std::lock_guard its(c->mutex_);
        c->wake_.notify_all();
    }
}

// ------------------------------------------------------------------ any thread

lookup client::find(const schema_key& key, const std::weak_ptr<listener>& who)
{
    std::lock_guard lock(mutex_);
    const auto now = clock::now();
    auto [at, is_new] = entries_.try_emplace(key);
    entry& e = at->second;
    const bool old = e.at == lookup::state::found && key.what == schema_key::kind::latest &&
                     now >= e.asked_again;
    const bool once_more = e.at == lookup::state::missing && now >= e.asked_again;
    if (is_new || old || once_more) {
        e.wanted = true;
        e.next = e.first_asked = now;
        e.tries = 0;
        if (is_new) {
            drop_missing();
            drop_found();
        } else {
            e.asked_again = now + (old ? milliseconds(newest_holds) : e.rest);
        }
    }
    if (e.at == lookup::state::coming && who.lock()) {
        const bool there = std::any_of(e.waiting.begin(), e.waiting.end(), [&](const auto& w) {
            return !w.owner_before(who) && !who.owner_before(w);
        });
        if (!there && e.waiting.size() < most_waiting)
            e.waiting.push_back(who);
    }
    if (e.wanted && !halted_.load()) {
        if (!running_)
            running_ =
                start_detached("kafka registry", [self = shared_from_this()] { self->run(); });
        wake_.notify_all();
    }
    return {e.at, e.what, e.why, e.at == lookup::state::coming ? e.trouble : nullptr};
}

// Numbers that are no schema's come without end where bytes are no frames. Under the lock.
void client::drop_missing()
{
    const auto missing = std::count_if(entries_.begin(), entries_.end(), [](const auto& p) {
        return p.second.at == lookup::state::missing;
    });
    if (static_cast<std::size_t>(missing) < most_missing)
        return;
    std::erase_if(entries_, [](const auto& p) {
        return p.second.at == lookup::state::missing && !p.second.wanted;
    });
}

// All of them, where they are very many: what is needed is asked for again. Under the lock.
void client::drop_found()
{
    std::size_t many = 0, text = 0;
    for (const auto& [key, e] : entries_)
        if (e.at == lookup::state::found) {
            many++;
            text += e.what->size();
        }
    if (many >= most_found || text >= most_text)
        std::erase_if(entries_, [](const auto& p) {
            return p.second.at == lookup::state::found && !p.second.wanted;
        });
}

// ------------------------------------------------------------------ client's thread

void client::run() noexcept
{
    try {
        http line(of_, halted_);
        while (serve(line)) {
        }
    } catch (...) { // no memory: what waits is asked again with the next find()
        std::lock_guard lock(mutex_);
        running_ = false;
    }
}

// One request, or a sleep. False: left, and running_ says so.
bool client::serve(http& line)
{
    schema_key key;
    {
        std::unique_lock lock(mutex_);
        auto soonest = clock::now() + idle;
        auto due = next_due(clock::now(), soonest);
        if (due == entries_.end() && !halted_.load()) {
            const bool nothing = std::none_of(entries_.begin(), entries_.end(),
                                              [](const auto& p) { return p.second.wanted; });
            const bool called = wake_.wait_until(lock, soonest) == std::cv_status::no_timeout;
            if (called || !nothing)
                return true;
        }
        if (due == entries_.end() || halted_.load()) {
            running_ = false;
            return false;
        }
        key = due->first;
    }
    auto answer = fetch(line, key);
    std::vector<std::weak_ptr<listener>> to_call;
    {
        std::lock_guard lock(mutex_);
        if (auto at = entries_.find(key); at != entries_.end())
            settle(at->second, std::move(answer), to_call);
    }
    call_all(to_call);
    return true;
}

// What is to be asked now; those that nobody waits for any more are let go. Under the lock.
client::entries::iterator client::next_due(clock::time_point now, clock::time_point& soonest)
{
    std::erase_if(entries_, [&](const auto& p) {
        const entry& e = p.second;
        const bool alone = std::all_of(e.waiting.begin(), e.waiting.end(),
                                       [](const auto& w) { return w.expired(); });
        return e.at == lookup::state::coming && e.tries > 0 && alone && now >= e.next;
    });
    auto best = entries_.end();
    for (auto at = entries_.begin(); at != entries_.end(); ++at)
        if (at->second.wanted && (best == entries_.end() || at->second.next < best->second.next))
            best = at;
    if (best != entries_.end() && best->second.next > now) {
        soonest = std::min(soonest, best->second.next);
        best = entries_.end();
    }
    return best;
}

// What an answer makes of its entry. Under the lock.
void client::settle(entry& e, result<reply> answer, std::vector<std::weak_ptr<listener>>& to_call)
{
    const auto now = clock::now();
    ++e.tries;
    const auto pause =
        std::min<milliseconds>(first_pause * (1 << std::min(e.tries - 1, 10)), most_pause);
    if (answer && answer.value().what) {
        e.at = lookup::state::found;
        e.what = answer.value().what;
        e.wanted = false;
        e.trouble.reset();
        e.asked_again = now + newest_holds;
        patience_ = of_.timeout_ms;
    } else if (answer) {
        // A first answer while an older one holds, or was missing before, is believed at once.
        const bool patient =
            e.at == lookup::state::coming && now - e.first_asked < milliseconds(patience_);
        if (patient) {
            e.next = now + std::min<milliseconds>(pause, milliseconds(1000));
            return;
        }
        if (e.at == lookup::state::coming)
            patience_ /= 2;
        e.rest = e.at == lookup::state::missing ? std::min<milliseconds>(e.rest * 2, most_rest)
                                                : first_rest;
        e.at = lookup::state::missing;
        e.what.reset();
        e.why = answer.value().none;
        e.wanted = false;
        e.trouble.reset();
        e.asked_again = now + e.rest;
    } else {
        e.next = now + jittered(pause);
        if (e.at != lookup::state::coming) {
            e.wanted = e.tries < tries_before_trouble; // what is known holds
            return;
        }
        const bool refused = answer.error().kind == fault_kind::registry_refused;
        if (e.tries < tries_before_trouble && !refused)
            return;
        e.trouble = std::make_shared<const fault>(std::move(answer.error()));
    }
    to_call.swap(e.waiting);
}

} // namespace ke::registry
