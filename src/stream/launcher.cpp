// The launcher: one static background worker of the server, never on a standby. It looks into every
// database once, one at a time, by starting a supervisor there, which leaves at once where there is
// nothing to do; from then on it starts a supervisor where a commit asks for one, and again, with a
// growing delay, where one failed. It is connected to the shared catalogs only and owns the database
// slots. Plain data on the stack: it may end by an error anywhere; the server starts it anew after
// 5 s, and supervisors that run go on meanwhile.
#include "stream/processes.h"

extern "C" {
#include "access/genam.h"
#include "access/heapam.h"
#include "access/htup_details.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/xact.h"
#include "catalog/pg_database.h"
#include "common/pg_prng.h"
#include "nodes/pg_list.h"
#include "pgstat.h"
#include "postmaster/bgworker.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/ps_status.h"
#include "utils/snapmgr.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

#include <csignal>

#include "pg/parts.h"
#include "stream/shmem_layout.h"

extern "C" {
PGDLLEXPORT void kafka_engine_launcher_main(Datum);
}

namespace ke::stream {

TimestampTz steady_now()
{
    timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return t.tv_sec * second + t.tv_nsec / 1000;
}

TimestampTz next_try(TimestampTz now, int failures, int most_ms)
{
    double ms = 250;
    for (int i = 1; i < failures && ms < most_ms; i++)
        ms *= 2;
    if (ms > most_ms)
        ms = most_ms;
    ms = ms / 2 + ms / 2 * pg_prng_double(&pg_global_prng_state);
    return now + static_cast<TimestampTz>(ms * 1000);
}

long milliseconds_until(TimestampTz now, TimestampTz then)
{
    return then <= now ? 1 : static_cast<long>((then - now) / 1000 + 1);
}

BackgroundWorker describe_process(const char* kind, const char* name, int number,
                                  std::uint32_t generation)
{
    BackgroundWorker w = {};
    strlcpy(w.bgw_name, name, BGW_MAXLEN);
    snprintf(w.bgw_type, BGW_MAXLEN, "kafka_engine %s", kind);
    strlcpy(w.bgw_library_name, "kafka_engine", BGW_MAXLEN);
    snprintf(w.bgw_function_name, BGW_MAXLEN, "kafka_engine_%s_main", kind);
    w.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    w.bgw_start_time = BgWorkerStart_RecoveryFinished;
    w.bgw_restart_time = BGW_NEVER_RESTART;
    w.bgw_notify_pid = MyProcPid;
    w.bgw_main_arg = Int32GetDatum(number);
    memcpy(w.bgw_extra, &generation, sizeof generation);
    return w;
}

void init_processes()
{
    if (!process_shared_preload_libraries_in_progress || IsBinaryUpgrade)
        return;
    init_shared_memory();
    BackgroundWorker w = {};
    strlcpy(w.bgw_name, "kafka_engine launcher", BGW_MAXLEN);
    strlcpy(w.bgw_type, "kafka_engine launcher", BGW_MAXLEN);
    strlcpy(w.bgw_library_name, "kafka_engine", BGW_MAXLEN);
    strlcpy(w.bgw_function_name, "kafka_engine_launcher_main", BGW_MAXLEN);
    w.bgw_flags = BGWORKER_SHMEM_ACCESS | BGWORKER_BACKEND_DATABASE_CONNECTION;
    w.bgw_start_time = BgWorkerStart_RecoveryFinished;
    w.bgw_restart_time = 5;
    RegisterBackgroundWorker(&w);
}

namespace {

BackgroundWorkerHandle** handles; // by database slot; null: none, or lost with an earlier launcher
List* to_look;                    // OIDs of databases not looked into yet
database_slot* looking;           // the one being looked into
bool said_no_process;             // the warning is given once until a start succeeds

void leave(int, Datum)
{
    LWLockReleaseAll();
    locked l;
    shared->launcher.clear();
}

// All databases that a supervisor can connect to, but for templates, which must stay free for copies.
List* list_databases(Oid only)
{
    MemoryContext result_context = CurrentMemoryContext;
    List* result = NIL;
    StartTransactionCommand();
    (void)GetTransactionSnapshot();
    Relation rel = table_open(DatabaseRelationId, AccessShareLock);
    TableScanDesc scan = table_beginscan_catalog(rel, 0, nullptr);
    while (HeapTuple tuple = heap_getnext(scan, ForwardScanDirection)) {
        auto* form = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple));
        if (!form->datallowconn || form->datistemplate || form->datconnlimit == -2)
            continue;
        if (OidIsValid(only) && form->oid != only)
            continue;
        MemoryContext old = MemoryContextSwitchTo(result_context);
        result = lappend_oid(result, form->oid);
        MemoryContextSwitchTo(old);
    }
    table_endscan(scan);
    table_close(rel, AccessShareLock);
    CommitTransactionCommand();
    MemoryContextSwitchTo(result_context);
    return result;
}

// With the lock held: ends what workers a supervisor left behind; whether one is still there.
bool end_workers(Oid database)
{
    bool any = false;
    for (int i = 0; i < shared->workers; i++) {
        worker_slot* w = &shared->worker[i];
        if (w->database != database)
            continue;
        w->stop = true;
        if (w->process.pid == 0) {
            free_worker(w);
            continue;
        }
        kill(w->process.pid, SIGTERM);
        any = true;
    }
    return any;
}

// Back to the free slots, unless a commit asked for a supervisor just now; false: try again soon. What
// the hashes know goes before: only the launcher can bring the database back to life.
bool let_go(database_slot* d)
{
    const Oid database = d->database;
    purge_database(database);
    locked l;
    if (d->wanted || d->supervisor.pid != 0 || d->launched || d->blocked > 0)
        return true;
    if (end_workers(database))
        return false;
    free_database(d);
    return true;
}

void start(database_slot* d, int number, TimestampTz now)
{
    std::uint32_t generation;
    Oid database;
    {
        locked l;
        if (d->blocked > 0 || d->supervisor.pid != 0)
            return;
        generation = ++d->generation;
        database = d->database;
        d->launched = true;
        d->staying = false;
        d->launched_at = now;
    }
    char name[BGW_MAXLEN];
    snprintf(name, sizeof name, "kafka_engine supervisor for database %u", database);
    BackgroundWorker w = describe_process("supervisor", name, number, generation);
    MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
    if (handles[number])
        pfree(handles[number]);
    handles[number] = nullptr;
    const bool registered = RegisterDynamicBackgroundWorker(&w, &handles[number]);
    MemoryContextSwitchTo(old);
    if (registered) {
        said_no_process = false;
        return;
    }
    if (!said_no_process)
        ereport(WARNING, (errcode(ERRCODE_CONFIGURATION_LIMIT_EXCEEDED),
                          errmsg("no free background worker for the kafka_engine supervisor of "
                                 "database %u",
                                 database),
                          errhint("Raise max_worker_processes.")));
    said_no_process = true;
    locked l;
    d->launched = false;
    d->no_process = true;
    d->next_start = next_try(now, 4);
}

// A supervisor that was launched and is not there: whether it died before it could attach.
void check_launched(database_slot* d, int number, TimestampTz now)
{
    pid_t pid;
    bool dead;
    if (handles[number])
        dead = GetBackgroundWorkerPid(handles[number], &pid) == BGWH_STOPPED;
    else
        dead = now - d->launched_at > 30 * second; // the launcher before this one started it
    if (!dead)
        return;
    locked l;
    if (!d->launched)
        return; // it attached meanwhile
    d->launched = false;
    d->generation++;
    if (d->blocked == 0) {
        d->failures++;
        d->next_start = next_try(now, d->failures);
    }
}

// One step for one slot; the time of the next one, or 0.
TimestampTz step(database_slot* d, int number, TimestampTz now)
{
    if (d->database == InvalidOid || d->supervisor.pid != 0)
        return 0;
    if (d->launched) {
        check_launched(d, number, now);
        return now + 5 * second;
    }
    if (d->blocked > 0)
        return 0; // the command sets our latch at its end
    if (!d->wanted)
        return let_go(d) ? 0 : now + second / 10;
    if (d->next_start > now)
        return d->next_start;
    List* there = list_databases(d->database);
    if (there == NIL) {
        {
            locked l;
            d->wanted = false;
        }
        return let_go(d) ? 0 : now + second / 10;
    }
    list_free(there);
    start(d, number, now);
    return now + 5 * second;
}

// Keeps one database at a time under a first look.
void look_further()
{
    if (looking) {
        locked l(LW_SHARED);
        if (looking->database != InvalidOid && looking->blocked == 0 && !looking->no_process &&
            looking->failures == 0 && !looking->staying &&
            (looking->wanted || looking->launched || looking->supervisor.pid != 0))
            return;
    }
    looking = nullptr;
    while (to_look != NIL && !looking) {
        const Oid database = linitial_oid(to_look);
        to_look = list_delete_first(to_look);
        locked l;
        database_slot* d = take_database(database);
        if (!d) {
            shared->look_everywhere = true;
            return;
        }
        if (d->supervisor.pid == 0 && !d->launched) {
            d->wanted = true;
            looking = d;
        }
    }
}

void take_orders()
{
    if (ConfigReloadPending) {
        ConfigReloadPending = false;
        ProcessConfigFile(PGC_SIGHUP);
    }
    bool everywhere;
    {
        locked l;
        everywhere = shared->look_everywhere;
        shared->look_everywhere = false;
    }
    if (everywhere && to_look == NIL) {
        MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
        to_look = list_databases(InvalidOid);
        MemoryContextSwitchTo(old);
    }
}

void run()
{
    for (;;) {
        CHECK_FOR_INTERRUPTS();
        take_orders();
        look_further();
        const TimestampTz now = steady_now();
        TimestampTz next = 0;
        for (int i = 0; i < shared->databases; i++) {
            const TimestampTz t = step(&shared->database[i], i, now);
            if (t != 0 && (next == 0 || t < next))
                next = t;
        }
        pgstat_report_activity(STATE_IDLE, nullptr);
        const int events = WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (next ? WL_TIMEOUT : 0);
        (void)WaitLatch(MyLatch, events, next ? milliseconds_until(now, next) : -1,
                        PG_WAIT_EXTENSION);
        ResetLatch(MyLatch);
    }
}

} // namespace

} // namespace ke::stream

void kafka_engine_launcher_main(Datum)
{
    using namespace ke::stream;
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, die);
    BackgroundWorkerUnblockSignals();
    BackgroundWorkerInitializeConnection(nullptr, nullptr, 0);
    pgstat_report_appname("kafka_engine launcher");
    attach_tables();
    {
        locked l;
        shared->launcher.become_me();
        shared->look_everywhere = true;
    }
    before_shmem_exit(leave, 0);
    MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
    handles = static_cast<BackgroundWorkerHandle**>(
        palloc0(shared->databases * sizeof(BackgroundWorkerHandle*)));
    MemoryContextSwitchTo(old);
    run();
}
