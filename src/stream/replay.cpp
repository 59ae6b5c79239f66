#include "stream/replay.h"

extern "C" {
#include "access/xact.h"
#include "commands/trigger.h"
#include "nodes/makefuncs.h"
#include "utils/guc.h"
}

namespace ke::stream {

void settle_session()
{
    set_config_option("row_security", "on", PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
                      false);
    ConstraintsSetStmt* all = makeNode(ConstraintsSetStmt);
    all->deferred = false;
    AfterTriggerSetState(all);
}

void raise_trouble(const trouble& t)
{
    pg::call([&] {
        ereport(ERROR, (errcode(t.sqlstate), errmsg("%s", t.message.c_str()),
                        t.detail.empty() ? 0 : errdetail("%s", t.detail.c_str()),
                        t.hint.empty() ? 0 : errhint("%s", t.hint.c_str())));
    });
    pg_unreachable();
}

void subtransaction::begin()
{
    context_ = CurrentMemoryContext;
    owner_ = CurrentResourceOwner;
    pg::call([&] {
        BeginInternalSubTransaction(nullptr);
        MemoryContextSwitchTo(context_);
    });
    open_ = true;
}

void subtransaction::release()
{
    pg::call([&] {
        ReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(context_);
        CurrentResourceOwner = owner_;
    });
    open_ = false;
}

void subtransaction::roll_back()
{
    open_ = false;
    pg::call([&] {
        RollbackAndReleaseCurrentSubTransaction();
        MemoryContextSwitchTo(context_);
        CurrentResourceOwner = owner_;
    });
}

std::int64_t run_piece(served_view& v, topic::batch& rows, std::uint32_t first, std::uint32_t last)
{
    rows.first_message = first;
    rows.last_message = last;
    rows.at_message = UINT32_MAX;
    rows.rescanned = false;
    rows.at_column[0] = '\0';
    return run_plan(v, rows);
}

namespace {

// Messages [first, last) in a subtransaction: the trouble, or nothing.
std::optional<trouble> attempt(replay& r, std::uint32_t first, std::uint32_t last)
{
    subtransaction s;
    s.begin();
    try {
        const std::int64_t stored = run_piece(r.view, r.rows, first, last);
        s.release();
        r.stored += stored;
        return std::nullopt;
    } catch (const pg::pg_error& e) {
        trouble t = first == last ? describe(e.data()) : describe_applied(e.data());
        s.roll_back();
        return t;
    } catch (...) {
        s.roll_back();
        throw;
    }
}

message_offset floor_of(const topic::batch& b, const decode::message_ref& m)
{
    const auto& of_topic = b.floors[m.topic.value];
    const auto p = static_cast<std::size_t>(m.partition.value);
    return p < of_topic.size() ? of_topic[p] : no_offset;
}

// How many of the messages [first, last) the view takes: a feed may begin below its position.
std::int64_t taken(const topic::batch& b, std::uint32_t first, std::uint32_t last)
{
    std::int64_t count = 0;
    std::uint32_t base = 0;
    for (const ingest::chunk* c : b.chunks) {
        const auto& messages = c->rows.messages;
        const auto n = static_cast<std::uint32_t>(messages.size());
        for (std::uint32_t i = first > base ? first - base : 0; i < n && base + i < last; i++)
            count += !b.floors.empty() && messages[i].offset < floor_of(b, messages[i]) ? 0 : 1;
        base += n;
    }
    return count;
}

// How many of n messages from `at` to try next, when they failed together.
std::uint32_t smaller(const replay& r, std::uint32_t n, bool& by_hint)
{
    const std::uint32_t hint = r.rows.at_message;
    by_hint = hint == UINT32_MAX || hint < r.at + n - 1;
    if (!by_hint)
        return n / 2;
    return hint == UINT32_MAX || hint <= r.at ? 1 : hint - r.at;
}

} // namespace

void run_replay(replay& r, std::uint32_t end)
{
    if (auto t = attempt(r, 0, 0))
        raise_trouble(*t);
    std::uint32_t step = end;
    bool by_hint = true;
    while (r.at < end && (!r.go_on || r.go_on())) {
        const std::uint32_t n = std::min(step, end - r.at);
        auto t = attempt(r, r.at, r.at + n);
        if (!t) {
            r.good += taken(r.rows, r.at, r.at + n);
            r.at += n;
            step = by_hint ? end - r.at : n * 2;
            continue;
        }
        if (t->what != remedy::record)
            raise_trouble(*t);
        // The first one failed before any other was looked at: it is known without trying it alone.
        const bool alone = n == 1 || (r.rows.at_message == r.at && !r.rows.rescanned);
        if (!alone) {
            step = smaller(r, n, by_hint);
            continue;
        }
        if (!r.refuse(r.at, *t))
            return;
        r.at++;
        step = by_hint || n > 1 ? end - r.at : 1;
    }
}

} // namespace ke::stream
