// A batch's transaction: begin, lock, compare, run each view's plan, write positions, commit. All of
// it or nothing. Server's thread; a worker has at most one such transaction, and none of its C++
// objects depends on the transaction's memory once it is over.
//
// Order of locks, here as everywhere: relations by OID, then rows of kafka.progress by (view, topic,
// partition). None of them is waited for.
#include "pg/compat.h"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/trigger.h"
#include "executor/instrument.h"
#include "nodes/makefuncs.h"
#include "nodes/parsenodes.h"
#include "pgstat.h"
#include "storage/lock.h"
#include "utils/guc.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
}

#include <algorithm>

#include "stream/batch_scope.h"
#include "stream/patience.h"
#include "stream/share.h"
#include "stream/short_way.h"

namespace ke::stream {

namespace {
MemoryContext outside; // current before the transaction, and again behind it

// Advisory locks that a view's code took for the session: here no session of a user's ends.
void give_back_locks()
{
    LockReleaseSession(USER_LOCKMETHOD);
}

} // namespace

void begin_work(bool synchronous)
{
    outside = CurrentMemoryContext;
    pg::call([&] {
        SetCurrentStatementStartTimestamp();
        StartTransactionCommand();
        PushActiveSnapshot(GetTransactionSnapshot()); // SPI wants one below those of its statements
        if (synchronous)
            set_config_option("synchronous_commit", "local", PGC_USERSET, PGC_S_SESSION,
                              GUC_ACTION_LOCAL, true, 0, false);
        // Deferred constraints are checked statement by statement, so that a violation is found as
        // its record's; and none can fire inside the restricted context, where it would be refused.
        ConstraintsSetStmt* all = makeNode(ConstraintsSetStmt);
        all->constraints = NIL;
        all->deferred = false;
        AfterTriggerSetState(all);
    });
}

void commit_work()
{
    pg::call([] {
        PopActiveSnapshot();
        CommitTransactionCommand();
        give_back_locks();
    });
    MemoryContextSwitchTo(outside);
}

void abort_work() noexcept
{
    try {
        pg::call([] {
            AbortCurrentTransaction();
            give_back_locks();
        });
        MemoryContextSwitchTo(outside);
    } catch (...) {
        // An abort that fails leaves nothing to stand on: the process ends, the supervisor starts
        // another.
        ereport(FATAL, (errcode(ERRCODE_INTERNAL_ERROR),
                        errmsg("kafka worker could not roll back a batch")));
    }
}

namespace {

// Takes shares out of the list that did not stay in.
void drop_leavers(std::vector<share*>& shares)
{
    std::erase_if(shares, [](const share* s) { return s->end != fate::in; });
}

void lock_tables(std::vector<share*>& shares)
{
    std::vector<const registered_view*> views;
    for (share* s : shares)
        views.push_back(&s->view->is);
    std::vector<bool> locked;
    lock_relations(views, locked);
    for (std::size_t i = 0; i < shares.size(); i++)
        if (!locked[i])
            shares[i]->end = fate::left;
    drop_leavers(shares);
}

bool decodes_all(const share& s)
{
    for (int attribute : s.view->plan.attributes) {
        int number = attribute + FirstLowInvalidHeapAttributeNumber;
        if (number < 0)
            continue; // the order of arrival: made by the scan
        if (number == 0)
            return false; // whole row: its columns may have changed
        auto at = static_cast<std::size_t>(number - 1);
        if (at >= s.feed->columns.cell_of_attribute.size() ||
            s.feed->columns.cell_of_attribute[at] < 0)
            return false;
    }
    return true;
}

// Whether the lanes make the tuples that the view's target takes now.
bool makes_tuples(const share& s)
{
    const auto& made = s.feed->layouts;
    if (s.view->plan.filtered)
        return true; // or the executor serves
    auto layout = make_layout(s.view->plan.shape, s.feed->columns);
    return !layout || made.size() >= feed_state::most_layouts ||
           std::find(made.begin(), made.end(), *layout) != made.end();
}

// With the locks in hand the catalogs stand still: is what was decoded still what is wanted?
void check_descriptors(std::vector<share*>& shares, share*& current, std::optional<patience>& watch)
{
    for (share* s : shares) {
        current = s;
        s->took = {};
        if (s->view->from->stale) {
            s->end = fate::stale;
            continue;
        }
        watch.emplace(s->view->is.view, s->allowed);
        if (s->works && plan_view(*s->view) && !(decodes_all(*s) && makes_tuples(*s)))
            s->end = fate::stale;
        s->took = watch->spent();
    }
    watch.reset();
    current = nullptr;
    drop_leavers(shares);
}

void lock_believed(std::vector<share*>& shares)
{
    std::vector<moved> all;
    std::vector<share*> whose;
    for (share* s : shares)
        for (const moved& m : s->moves) {
            all.push_back(m);
            whose.push_back(s);
        }
    if (!all.empty()) {
        std::vector<belief> beliefs = lock_positions(all);
        for (std::size_t i = 0; i < all.size(); i++) {
            if (beliefs[i] == belief::wrong)
                whose[i]->end = fate::fenced;
            else if (beliefs[i] == belief::locked && whose[i]->end == fate::in)
                whose[i]->end = fate::left;
        }
    }
    drop_leavers(shares);
}

void check_active(std::vector<share*>& shares)
{
    std::vector<Oid> views;
    for (share* s : shares)
        views.push_back(s->view->is.view);
    if (views.empty())
        return;
    std::set<Oid> active = active_views(views);
    for (share* s : shares)
        if (!active.contains(s->view->is.view))
            s->end = fate::over;
    drop_leavers(shares);
}

void apply_share(share& s, bool careful)
{
    s.stored = 0;
    if (s.works) {
        check_usage(s.view->from->table.server, s.view->is.owner);
        if (careful) {
            apply_carefully(s);
        } else {
            s.stored = s.view->plan.before.empty() ? store_rows(s) : run_plan(*s.view, s.rows);
        }
    }
    if (!s.moves.empty()) {
        s.moves.front().rows = s.stored;
        s.moves.front().skipped = static_cast<std::int64_t>(s.refusals.size());
    }
}

void write_all(std::vector<share*>& shares)
{
    std::vector<moved> all;
    for (share* s : shares)
        all.insert(all.end(), s->moves.begin(), s->moves.end());
    if (!all.empty())
        write_positions(all);
}

void write_stops(std::vector<share*>& shares, share*& current)
{
    for (share* s : shares) {
        current = s;
        if (s->stop && !write_stop(s->view->is.view, *s->stop)) {
            fault f;
            f.kind = fault_kind::protocol; // transient: tried again soon
            f.message = "somebody else changes the view at this moment";
            throw pg::fault_error(std::move(f));
        }
    }
    current = nullptr;
}

std::int64_t since_us(steady::time_point t)
{
    return std::chrono::duration_cast<std::chrono::microseconds>(steady::now() - t).count();
}

struct measured {
    std::int64_t apply_us, commit_us;
    std::uint64_t wal_bytes;
};

// What a batch leaves in kafka.workers.
void count(const std::vector<share*>& shares, const measured& m)
{
    worker_statistics& s = my_statistics();
    s.batches += 1;
    s.apply_us += m.apply_us;
    s.commit_us += m.commit_us;
    s.wal_bytes += static_cast<std::int64_t>(m.wal_bytes);
    s.last_batch_at = GetCurrentTimestamp();
    for (const share* p : shares) {
        s.rows += p->stored;
        s.rejects += static_cast<std::int64_t>(p->refusals.size());
    }
}

} // namespace

verdict transact(std::vector<share*>& shares, bool careful)
{
    verdict v;
    share* current = nullptr; // whose error it is
    bool applying = false;
    std::optional<patience> watch; // with the share that is applied
    bool synchronous = std::any_of(shares.begin(), shares.end(), [](const share* s) {
        return s->view->is.options.synchronous_commit;
    });
    std::sort(shares.begin(), shares.end(),
              [](const share* a, const share* b) { return a->view->is.view < b->view->is.view; });
    try {
        const auto began = steady::now();
        const std::uint64_t wal_before = pgWalUsage.wal_bytes;
        batch_scope watched; // somebody who waits for our locks gets them soon
        begin_work(synchronous);
        lock_tables(shares);
        check_descriptors(shares, current, watch);
        lock_believed(shares);
        check_active(shares);
        if (!careful && !choose(shares)) {
            v.again = true;
            abort_work();
            return v;
        }
        for (share* s : shares) {
            current = s;
            applying = s->works;
            watch.emplace(s->view->is.view, s->allowed);
            apply_share(*s, careful);
            s->took += watch->spent();
            watch.reset();
            applying = false;
        }
        current = nullptr;
        if (shares.empty()) {
            abort_work();
            v.committed = true; // nothing to do is done
            return v;
        }
        write_all(shares);
        for (const share* s : shares)
            write_refusals(*s);
        write_stops(shares, current);
        const auto applied = steady::now();
        commit_work();
        count(shares, {since_us(began) - since_us(applied), since_us(applied),
                       pgWalUsage.wal_bytes - wal_before});
        v.committed = true;
        if (std::any_of(shares.begin(), shares.end(), [](const share* s) {
                return !s->refusals.empty() && !s->view->is.options.dead_letter_topic.empty();
            }))
            letters_wait();
    } catch (const pg::pg_error& e) {
        // While a share is applied plainly any error may be a record's; the careful replay has
        // judged it already.
        v.why = applying && !careful ? describe_applied(e.data()) : describe(e.data());
        v.guilty = current;
        if (watch)
            watch->judge(v.why);
        watch.reset();
        abort_work();
        if (current && !current->rows.missing.empty())
            want_attributes(*current->view, current->rows);
    } catch (const pg::fault_error& e) {
        v.why = describe(e.get());
        v.guilty = current;
        watch.reset();
        abort_work();
    }
    return v;
}

} // namespace ke::stream
