// The supervisor of one database: reads which continuous views there are, keeps a pool of workers for
// them (pool), knows where their topics end (ends), sends dead letters to their topics (outbox), makes
// long batches give way (give_way), and leaves when there is no view any more. Holds no transaction
// between two looks. An error ends the process; the launcher starts another one, which takes over the
// workers.
#include "stream/pool.h"

extern "C" {
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "commands/extension.h"
#include "pgstat.h"
#include "postmaster/interrupt.h"
#include "storage/ipc.h"
#include "tcop/tcopprot.h"
#include "utils/guc.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

#include <algorithm>
#include <cstring>

#include "pg/hubs.h"
#include "pg/wait.h"
#include "stream/ends.h"
#include "stream/outbox.h"
#include "stream/processes.h"
#include "stream/restored.h"
#include "stream/serving.h"
#include "stream/sql.h"
#include "stream/transaction.h"
#include "topic/topic.h"

extern "C" {
PGDLLEXPORT void kafka_engine_supervisor_main(Datum);
}

namespace ke::stream {

namespace {

database_slot* home; // null once let go
std::uint32_t my_generation;
bool nothing_to_do;  // we leave because there is no view,
std::uint64_t as_of; // as of this commit

void leave(int, Datum)
{
    LWLockReleaseAll();
    locked l;
    if (!home || home->generation != my_generation)
        return;
    home->supervisor.clear();
    home->staying = false;
    // A commit since then found us still there and woke us, who look no more.
    home->wanted = home->wanted || !nothing_to_do || home->commits != as_of;
    if (!nothing_to_do && home->blocked == 0) {
        home->failures++;
        home->next_start = next_try(steady_now(), home->failures);
    }
    ConditionVariableBroadcast(&home->moved);
    shared->launcher.set_latch();
    home = nullptr;
}

bool attach(int number, Oid* database)
{
    attach_tables();
    std::uint32_t generation;
    std::memcpy(&generation, MyBgworkerEntry->bgw_extra, sizeof generation);
    locked l;
    if (number < 0 || number >= shared->databases)
        return false;
    database_slot* d = &shared->database[number];
    if (d->database == InvalidOid || d->generation != generation || d->blocked > 0 ||
        d->supervisor.pid != 0)
        return false;
    d->supervisor.become_me();
    d->launched = d->no_process = d->wanted = false;
    home = d;
    my_generation = generation;
    *database = d->database;
    return true;
}

// Whether the extension is there, and with it the catalogs; put in order once, and again where rows
// were restored meanwhile.
bool prepare(bool* prepared)
{
    if (!OidIsValid(get_extension_oid("kafka_engine", true)))
        return false;
    if (adopt_copies("supervisor") || !*prepared) {
        record_dependencies();
        *prepared = true;
    }
    return true;
}

class supervisor {
  public:
    supervisor() : pool_(home) {}
    void run();

  private:
    bool read();
    void read_topics(std::map<Oid, topic::topic_table>* tables);
    void give_work(const std::map<Oid, topic::topic_table>& tables);
    void stop_holders();
    void show() const;
    void sleep_until(TimestampTz next);
    bool leave_unless_asked();

    pool pool_;
    end_watch ends_; // owns the hub that outbox_ sends by
    outbox outbox_;
    std::uint64_t letters_seen_ = 0;
    std::vector<registered_view> views_;
    std::uint64_t seen_ = 0;     // commits
    TimestampTz read_again_ = 0; // after an error, or a topic table that could not be read
    TimestampTz judge_at_ = 0;   // whether views are stuck; with what else wakes us
    int failures_ = 0;
    bool prepared_ = false;
};

// The registry as it is now; false: nothing to do in this database.
bool supervisor::read()
{
    bool there = false;
    seen_ = home->commits;
    read_again_ = 0;
    const std::optional<problem> wrong = in_transaction([&] {
        there = pg::call([&] { return prepare(&prepared_); });
        views_.clear();
        if (there)
            views_ = load_registry();
    });
    if (wrong) {
        failures_++;
        read_again_ = next_try(steady_now(), failures_ + 2);
        pg::call([&] {
            ereport(LOG, (errcode(wrong->sqlstate),
                          errmsg("the kafka_engine supervisor cannot read its catalogs: %s",
                                 wrong->message.c_str())));
        });
        return true;
    }
    failures_ = 0;
    if (views_.empty())
        return false;
    std::map<Oid, topic::topic_table> tables;
    read_topics(&tables);
    give_work(tables);
    return true;
}

// All topic tables in one transaction; one that cannot be read aborts it, is left out, and the others
// go on in the next.
void supervisor::read_topics(std::map<Oid, topic::topic_table>* tables)
{
    std::size_t i = 0;
    while (i < views_.size()) {
        const std::optional<problem> wrong = in_transaction([&] {
            for (; i < views_.size(); i++)
                if (!tables->count(views_[i].topic_table))
                    tables->emplace(
                        views_[i].topic_table,
                        topic::load_topic_table(views_[i].topic_table, views_[i].owner));
        });
        if (!wrong)
            break;
        if (views_[i].state == view_state::active)
            supervisor_says(views_[i].view, live_state::retrying, wrong->message, false);
        read_again_ = steady_now() + 10000000;
        i++;
    }
}

void supervisor::give_work(const std::map<Oid, topic::topic_table>& tables)
{
    std::vector<unit> units;
    std::multimap<Oid, Oid> views_of_table;
    std::vector<topic::topic_table> watched;
    for (const auto& [relid, table] : tables) {
        bool active = false;
        for (const registered_view& v : views_)
            if (v.topic_table == relid && v.state == view_state::active) {
                active = true;
                views_of_table.emplace(relid, v.view);
            }
        const int consumers = std::max(1, table.consumers);
        for (int i = 0; active && i < consumers; i++)
            units.push_back({relid, i, consumers});
        watched.push_back(table);
    }
    pool_.want(std::move(units), std::move(views_of_table));
    ends_.want(std::move(watched));
    outbox_.want(views_, tables);
    for (const registered_view& v : views_) {
        if (v.state == view_state::paused)
            supervisor_says(v.view, live_state::paused, "", false);
        else if (v.state == view_state::stopped)
            supervisor_says(v.view, live_state::stopped, "", false);
        else if (!pool_.serves(v.topic_table))
            supervisor_says(v.view, live_state::starting, "", false);
    }
}

// Before the next worker is there. At first the view goes on, slowly (worker::remember_hold): one record at a
// time it may get through. Held again, it is stopped; where its row is locked at this moment, the next time.
void supervisor::stop_holders()
{
    const std::string reason =
        "its code catches query_canceled and goes on, and held up the other views of its "
        "worker, which was ended for it";
    const stop_report report = {
        reason, reason + " [57014]. Let query_canceled pass, then kafka.resume. The setting "
                         "kafka.view_timeout says how long a part of a batch may take."};
    for (const Oid view : pool_.take_held()) {
        const auto known = std::find_if(views_.begin(), views_.end(),
                                        [&](const registered_view& v) { return v.view == view; });
        if (known == views_.end())
            continue; // dropped meanwhile
        bool stopped = false;
        const bool again = note_hold(view).times > 1;
        const std::optional<problem> wrong =
            in_transaction([&] { stopped = again && write_stop(view, report); });
        pg::call([&] {
            ereport(LOG, (errmsg("kafka view %s held its worker, which was ended for it",
                                 known->name.c_str()),
                          errdetail("%s",
                                    stopped ? "The view is stopped."
                                    : wrong ? wrong->message.c_str()
                                            : "It goes on by itself, with one record at a time.")));
        });
    }
}

void supervisor::show() const
{
    std::string what = std::to_string(views_.size()) + " continuous views, " +
                       std::to_string(pool_.running()) + " workers";
    pgstat_report_activity(STATE_IDLE, what.c_str());
}

bool supervisor::leave_unless_asked()
{
    locked l(LW_SHARED);
    if (home->commits != seen_ && home->blocked == 0)
        return false;
    nothing_to_do = home->blocked == 0;
    as_of = seen_;
    return true;
}

void supervisor::sleep_until(TimestampTz next)
{
    const long ms = next == 0 ? -1 : milliseconds_until(steady_now(), next);
    if (doorbell* bell = ends_.bell()) {
        bell->doze();
        if (ends_.ready() || outbox_.ready())
            bell->wake();
        else
            pg::sleep_on(*bell, ms);
        return;
    }
    pg::call([&] {
        (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_EXIT_ON_PM_DEATH | (ms >= 0 ? WL_TIMEOUT : 0),
                        ms, PG_WAIT_EXTENSION);
        ResetLatch(MyLatch);
        CHECK_FOR_INTERRUPTS();
    });
}

void supervisor::run()
{
    pool_.adopt();
    MemoryContext context = pg::call([] {
        return AllocSetContextCreate(TopMemoryContext, "kafka_engine supervisor",
                                     ALLOCSET_DEFAULT_SIZES);
    });
    bool first = true;
    for (;;) {
        MemoryContextReset(context);
        MemoryContextSwitchTo(context);
        if (ConfigReloadPending) {
            ConfigReloadPending = false;
            pg::call([] { ProcessConfigFile(PGC_SIGHUP); });
        }
        TimestampTz now = steady_now();
        bool work = true;
        if (first || home->commits != seen_ || (read_again_ != 0 && now >= read_again_))
            work = read();
        first = false;
        if (!work || home->blocked > 0) {
            pool_.stop_all();
            if (leave_unless_asked())
                return;
            continue;
        }
        if (!home->staying) {
            home->staying = true;
            shared->launcher.set_latch(); // it may look into the next database
        }
        now = steady_now();
        if (now >= judge_at_) {
            judge_progress(views_);
            judge_at_ = now + 5000000;
        }
        if (const std::uint64_t letters = home->letters; letters != letters_seen_) {
            letters_seen_ = letters;
            outbox_.look();
        }
        TimestampTz next = read_again_;
        for (TimestampTz t : {pool_.step(now), ends_.step(now), outbox_.step(now, ends_),
                              watch_batches(MyDatabaseId, now)})
            if (t != 0 && (next == 0 || t < next))
                next = t;
        stop_holders();
        show();
        sleep_until(next);
    }
}

} // namespace

} // namespace ke::stream

void kafka_engine_supervisor_main(Datum number)
{
    using namespace ke::stream;
    pqsignal(SIGHUP, SignalHandlerForConfigReload);
    pqsignal(SIGTERM, die);
    Oid database;
    if (!shared || !attach(DatumGetInt32(number), &database))
        proc_exit(0);
    before_shmem_exit(leave, 0);
    BackgroundWorkerUnblockSignals();
    BackgroundWorkerInitializeConnectionByOid(database, InvalidOid, 0);
    // It waits for the local disk, never for a standby.
    SetConfigOption("synchronous_commit", "local", PGC_SUSET, PGC_S_OVERRIDE);
    SetConfigOption("default_transaction_read_only", "off", PGC_SUSET, PGC_S_OVERRIDE);
    pgstat_report_appname("kafka_engine supervisor");
    ke::pg::entry([] { ke::pg::keep_until_exit(std::make_unique<supervisor>())->run(); });
    proc_exit(0);
}
