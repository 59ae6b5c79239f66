// The worker's process: signals, connection, loop. See "The worker" in src/README.md.
#include "stream/worker.h"

extern "C" {
#include "access/xact.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "storage/latch.h"
#include "storage/proc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/syscache.h"
}

#include "pg/hubs.h"
#include "pg/wait.h"
#include "stream/batch_scope.h"
#include "stream/patience.h"

namespace ke::stream {

namespace {

worker* the_worker; // for invalidation callbacks

void relation_changed(Datum, Oid relid)
{
    if (the_worker)
        the_worker->mark_stale(relid);
}

void login_changed(Datum, int, uint32)
{
    if (the_worker)
        the_worker->mark_stale(InvalidOid);
}

// Whatever database and role settings say. The source OVERRIDE beats them and reloads; what a batch
// sets for itself beats this.
void pin_settings()
{
    static const char* const pinned[][2] = {
        {"default_transaction_isolation", "read committed"},
        {"default_transaction_read_only", "off"},
        {"default_transaction_deferrable", "off"},
        {"synchronous_commit", "off"},
        {"statement_timeout", "0"},
        {"idle_in_transaction_session_timeout", "0"},
        {"lock_timeout", "500ms"},
        {"search_path", "pg_catalog, pg_temp"},
        {"max_parallel_workers_per_gather", "0"},
        {"jit", "off"},
        {"row_security", "on"},
        {"session_replication_role", "origin"},
        {"client_min_messages", "warning"},
    };
    for (auto& [name, value] : pinned)
        SetConfigOption(name, value, PGC_SUSET, PGC_S_OVERRIDE);
    if (pg::server_major >= 17)
        SetConfigOption("transaction_timeout", "0", PGC_SUSET, PGC_S_OVERRIDE);
}

void connect(Oid database)
{
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGINT, StatementCancelHandler);
    pqsignal(SIGTERM, die);
    BackgroundWorkerUnblockSignals();
    BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
    pin_settings();
    init_batch_timer();
    init_patience();
    CacheRegisterRelcacheCallback(relation_changed, Datum(0));
    CacheRegisterSyscacheCallback(FOREIGNSERVEROID, login_changed, Datum(0));
    CacheRegisterSyscacheCallback(USERMAPPINGOID, login_changed, Datum(0));
    pgstat_report_appname("kafka worker");
    pgstat_report_activity(STATE_IDLE, nullptr);
}

// Outside of batches a cancel has nothing to cancel.
template <class F>
void cancellable(F&& fn)
{
    try {
        fn();
    } catch (const pg::pg_error& e) {
        if (e.data()->sqlerrcode != ERRCODE_QUERY_CANCELED)
            throw;
    }
}

} // namespace

void worker::mark_stale(Oid topic_table) noexcept
{
    for (auto& s : sources_)
        if (!OidIsValid(topic_table) || s->table.relid == topic_table)
            s->stale = true;
}

void worker::run()
{
    MemoryContext round = pg::call([] {
        return AllocSetContextCreate(TopMemoryContext, "kafka worker round", ALLOCSET_SMALL_SIZES);
    });
    while (!told_to_leave()) {
        // Errors are copied into the context that is current when they are caught.
        MemoryContextReset(round);
        MemoryContextSwitchTo(round);
        reload_if_told();
        tend_sources();
        bool busy = serve_feeds();
        publish_states();
        mirror_positions();
        MemoryContextSwitchTo(round);
        if (!busy)
            sleep();
        look_at_interrupts();
    }
}

worker::feeds worker::all_feeds()
{
    feeds live, behind;
    for (auto& s : sources_)
        for (auto& f : s->feeds)
            (f->catching_up ? behind : live).push_back(f.get());
    live.insert(live.end(), behind.begin(), behind.end());
    return live;
}

bool worker::exists(const feed_state* f)
{
    for (auto& s : sources_)
        for (auto& x : s->feeds)
            if (x.get() == f)
                return true;
    return false;
}

bool worker::anything_ready()
{
    if (database_generation() != generation_)
        return true;
    const auto now = steady::now();
    for (auto& s : sources_) {
        if ((s->layout.pending() && s->layout.ready()) || (s->marks.pending() && s->marks.ready()))
            return true;
        for (auto& f : s->feeds)
            if (now >= f->held_until && !f->full() && f->reader->ready())
                return true;
    }
    return false;
}

milliseconds worker::time_to_sleep()
{
    const auto now = steady::now();
    auto until = now + milliseconds(1000);
    auto sooner = [&](steady::time_point t) {
        if (t < until)
            until = t;
    };
    sooner(reload_at_);
    for (auto& s : sources_) {
        if (!s->layout.pending())
            sooner(s->ask_layout_at);
        if (s->reopen && s->known && !s->marking)
            sooner(s->reopen_at);
        for (auto& v : s->views)
            if (v->at == phase::resting)
                sooner(v->rest.until);
        for (auto& f : s->feeds)
            if (!f->gathered.empty())
                sooner(std::max(
                    {f->held_until, f->last_commit + f->flush, last_shared_commit_ + f->flush}));
    }
    auto left = std::chrono::ceil<milliseconds>(until - now);
    return std::max(left, milliseconds(0));
}

// Sleeps on latch and bell.
void worker::sleep()
{
    pgstat_report_stat(false);
    hub_.bell().doze();
    if (anything_ready()) {
        hub_.bell().wake();
        return;
    }
    milliseconds timeout = time_to_sleep();
    cancellable([&] { pg::sleep_on(hub_.bell(), static_cast<long>(timeout.count())); });
}

void worker::look_at_interrupts()
{
    cancellable([] { pg::call([] { CHECK_FOR_INTERRUPTS(); }); });
    if (ConfigReloadPending) {
        ConfigReloadPending = false;
        pg::call([] { ProcessConfigFile(PGC_SIGHUP); });
    }
}

} // namespace ke::stream

extern "C" {
PGDLLEXPORT void kafka_engine_worker_main(Datum slot);
}

void kafka_engine_worker_main(Datum slot)
{
    using namespace ke;
    pg::entry([&] {
        Oid database = InvalidOid;
        if (!stream::attach_worker(DatumGetInt32(slot), &database))
            proc_exit(0);
        pg::call([&] { stream::connect(database); });
        auto* hub = pg::keep_until_exit(pg::check(ingest::hub::make()));
        // Lives as long as the process: nothing of it may be destroyed beside the hub's own end.
        stream::the_worker = new stream::worker(*hub);
        stream::the_worker->run();
    });
}
