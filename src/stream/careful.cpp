// The careful replay: a batch in which some record is at fault is applied again for that view alone,
// in pieces, each in a subtransaction, one at a time, from left to right; what fails alone is the
// record. Good records, refusals and positions then commit together. Server's thread, inside the
// batch's transaction.
#include "pg/compat.h"

extern "C" {
#include "access/xact.h"
#include "utils/resowner.h"
}

#include "stream/share.h"

namespace ke::stream {

namespace {

// The error data must outlive the throw: trouble that was judged, on its way out of the replay.
[[noreturn]] void give_up(const trouble& t)
{
    pg::call([&] {
        ereport(ERROR, (errcode(t.sqlstate), errmsg("%s", t.message.c_str()),
                        t.detail.empty() ? 0 : errdetail("%s", t.detail.c_str()),
                        t.hint.empty() ? 0 : errhint("%s", t.hint.c_str())));
    });
    pg_unreachable();
}

// Runs the plan over messages [first, last) in a subtransaction: rows stored, or the trouble.
std::optional<trouble> attempt(share& s, std::uint32_t first, std::uint32_t last)
{
    MemoryContext context = CurrentMemoryContext;
    ResourceOwner owner = CurrentResourceOwner;
    s.rows.first_message = first;
    s.rows.last_message = last;
    s.rows.at_message = UINT32_MAX;
    pg::call([&] {
        BeginInternalSubTransaction(nullptr);
        MemoryContextSwitchTo(context);
    });
    try {
        std::int64_t stored = run_plan(*s.view, s.rows);
        pg::call([&] {
            ReleaseCurrentSubTransaction();
            MemoryContextSwitchTo(context);
            CurrentResourceOwner = owner;
        });
        s.stored += stored;
        return std::nullopt;
    } catch (const pg::pg_error& e) {
        trouble t = first == last ? describe(e.data()) : describe_applied(e.data());
        pg::call([&] {
            RollbackAndReleaseCurrentSubTransaction();
            MemoryContextSwitchTo(context);
            CurrentResourceOwner = owner;
        });
        return t;
    }
}

refused refusal_of(const share& s, std::uint32_t number, const trouble& t)
{
    refused f = at_message(s, number);
    f.sqlstate = t.code();
    f.reason = t.message;
    f.detail = t.detail;
    f.column = t.column;
    return f;
}

// How much of n messages from `at` to try next, when they failed together: up to the one the scan
// gave last, which is likely the bad one, unless the error came after all of them.
std::uint32_t smaller(const share& s, std::uint32_t at, std::uint32_t n, bool& by_hint)
{
    std::uint32_t hint = s.rows.at_message;
    by_hint = hint == UINT32_MAX || hint < at + n - 1;
    if (!by_hint)
        return n / 2;
    return hint == UINT32_MAX || hint <= at ? 1 : hint - at;
}

// Refused before this message, by the decoder: not counted if the view stops earlier.
void stop_at(share& s, std::uint32_t number, const refused& f)
{
    std::erase_if(s.refusals, [&](const refused& r) { return r.number >= number; });
    s.cut = number;
    s.stop = report_of(f);
    find_moves(s);
}

} // namespace

void apply_carefully(share& s)
{
    s.stored = 0;
    // With no records at all: what fails now is no record's fault.
    if (auto t = attempt(s, 0, 0))
        give_up(*t);

    const bool skip = s.view->is.options.on_error == "skip";
    const std::uint32_t end = s.cut;
    std::uint32_t at = 0;
    std::uint32_t step = end;
    std::int64_t good = 0;
    std::optional<trouble> schema; // class 42, and nothing else so far
    bool by_hint = true;
    while (at < end) {
        std::uint32_t n = std::min(step, end - at);
        auto t = attempt(s, at, at + n);
        if (!t) {
            good += n;
            at += n;
            step = by_hint ? end - at : n * 2;
            continue;
        }
        if (t->what != remedy::record)
            give_up(*t);
        if (n > 1) {
            step = smaller(s, at, n, by_hint);
            continue;
        }
        if (looks_like_schema(*t) && good == 0)
            schema = t;
        refused f = refusal_of(s, at, *t);
        if (!skip) {
            stop_at(s, at, f);
            if (schema)
                s.stop->reason = "query or target: " + t->message;
            break;
        }
        s.refusals.push_back(std::move(f));
        at++;
        step = by_hint ? end - at : 1;
    }
    if (skip && schema && good == 0) { // every record met it: never skip them all for that
        schema->what = remedy::schema;
        give_up(*schema);
    }
}

} // namespace ke::stream
