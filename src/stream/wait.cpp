// kafka.wait: a session sleeps until a view holds what the topic held at the call, or one record. Ends
// are asked of the broker, positions come from shared memory, where each worker publishes them after
// its commit and wakes the sleepers; what they say is believed once the row in kafka.progress, read
// with a fresh snapshot, agrees: then the caller's next statement sees the rows as well.
#include "stream/shmem_layout.h"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "catalog/pg_class.h"
#include "catalog/pg_type.h"
#include "nodes/parsenodes.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

#include <algorithm>
#include <optional>
#include <vector>

#include "stream/processes.h"
#include "stream/sql.h"
#include "topic/ask.h"

namespace ke::stream {

namespace {

constexpr TimestampTz second = 1000000;

struct goal {
    std::string topic;
    int partition;
    std::int64_t position; // reached at it or beyond
};

struct stored_position {
    char* topic;
    int partition;
    std::int64_t next;
};

struct stored_positions {
    std::uint64_t count;
    stored_position* list;
};

struct registration {
    Oid topic_table;
    Oid owner;
};

// ---- plain: raise ----

void refuse_state(const char* name, const char* state)
{
    const bool paused = strcmp(state, "paused") == 0;
    ereport(ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             errmsg("continuous view \"%s\" is %s", name, paused ? "paused" : "stopped"),
             paused ? errhint("Let it go on with kafka.resume.")
                    : errhint("kafka.views shows the reason; let it go on with kafka.resume.")));
}

// The view as it is now, if it is one and works.
registration check_view(Oid view)
{
    const char* name = get_rel_name(view);
    if (!name)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("relation with OID %u does not exist", view)));
    spi_stretch spi;
    spi.begin();
    sql_arguments a;
    a.add_oid(view);
    const std::uint64_t n =
        run("SELECT r.topic_table::oid, c.relowner, r.state FROM kafka.registry r"
            " JOIN pg_class c ON c.oid = r.query WHERE r.view = $1",
            a);
    if (n == 0)
        ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                        errmsg("\"%s\" is not a continuous view", name),
                        errhint("kafka.views lists the continuous views.")));
    const registration r = {oid_field(0, 1), oid_field(0, 2)};
    const char* state = field(0, 3);
    if (strcmp(state, "active") != 0)
        refuse_state(name, state);
    spi.end();
    return r;
}

void check_call(Oid view)
{
    if (IsolationUsesXactSnapshot())
        ereport(ERROR,
                (errcode(ERRCODE_ACTIVE_SQL_TRANSACTION),
                 errmsg("kafka.wait cannot be used in a transaction that keeps one snapshot"),
                 errdetail("Rows that come while it waits would not be seen."),
                 errhint("Use isolation level READ COMMITTED.")));
    if (RecoveryInProgress())
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("kafka.wait cannot be used during recovery")));
    if (!shared)
        ereport(ERROR, (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                        errmsg("kafka_engine is not preloaded: no worker will come"),
                        errhint("Put kafka_engine into shared_preload_libraries and restart the "
                                "server.")));
    const AclResult acl = pg_class_aclcheck(view, GetUserId(), ACL_SELECT);
    if (acl != ACLCHECK_OK && get_rel_name(view))
        aclcheck_error(acl, get_relkind_objtype(get_rel_relkind(view)), get_rel_name(view));
}

// By a snapshot of this moment.
stored_positions read_positions(Oid view)
{
    MemoryContext to = CurrentMemoryContext;
    spi_stretch spi;
    spi.begin();
    sql_arguments a;
    a.add_oid(view);
    stored_positions s;
    s.count = run("SELECT topic, partition, next_offset FROM kafka.progress WHERE view = $1", a);
    s.list = static_cast<stored_position*>(MemoryContextAlloc(to, (s.count + 1) * sizeof(*s.list)));
    for (std::uint64_t i = 0; i < s.count; i++) {
        bool null;
        HeapTuple row = SPI_tuptable->vals[i];
        TupleDesc d = SPI_tuptable->tupdesc;
        s.list[i].topic = MemoryContextStrdup(to, field(i, 1));
        s.list[i].partition = DatumGetInt32(SPI_getbinval(row, d, 2, &null));
        s.list[i].next = DatumGetInt64(SPI_getbinval(row, d, 3, &null));
    }
    spi.end();
    return s;
}

database_slot* my_database()
{
    for (int i = 0; i < 2; i++) {
        {
            locked l(LW_SHARED);
            if (database_slot* d = find_database(MyDatabaseId))
                return d;
        }
        bump_database(MyDatabaseId); // nobody has looked into it yet
    }
    return nullptr;
}

// At most a second, since states are looked at between.
void sleep_on_positions(database_slot* home, TimestampTz until)
{
    const TimestampTz now = steady_now();
    long ms = 1000;
    if (until != 0 && until - now < second)
        ms = until <= now ? 1 : static_cast<long>((until - now) / 1000 + 1);
    if (home) {
        (void)ConditionVariableTimedSleep(&home->moved, ms, PG_WAIT_EXTENSION);
        return;
    }
    (void)WaitLatch(MyLatch, WL_LATCH_SET | WL_TIMEOUT | WL_EXIT_ON_PM_DEATH, std::min(ms, 100L),
                    PG_WAIT_EXTENSION);
    ResetLatch(MyLatch);
    CHECK_FOR_INTERRUPTS();
}

// ---- C++: throw ----

// None: a topic of the table's list is not there, and has no end that could be reached.
std::optional<std::vector<goal>> ask_ends(topic::line line, const topic::topic_table& table,
                                          TimestampTz until)
{
    if (until != 0) {
        const auto left =
            std::chrono::microseconds(std::max<TimestampTz>(until - steady_now(), 1000));
        line.timeout =
            std::min(line.timeout, std::chrono::duration_cast<std::chrono::milliseconds>(left));
    }
    const ingest::layout layout = topic::ask_topics(line, table, true);
    for (const std::string& named : table.topics)
        if (std::none_of(layout.topics.begin(), layout.topics.end(),
                         [&](const ingest::topic_layout& t) { return t.topic == named; }))
            return std::nullopt;
    std::vector<goal> goals;
    for (const ingest::watermarks& w : topic::ask_ends(line, layout))
        if (w.high > w.low)
            goals.push_back({w.at.topic, w.at.partition.value, w.high.value});
    return goals;
}

// The ends of a topic that is not there yet are asked for once a second, until it is. None: it was not in
// time.
std::optional<std::vector<goal>> ask_goals(Oid view, const registration& r, TimestampTz until)
{
    topic::topic_table table = topic::load_topic_table(r.topic_table, r.owner);
    const topic::line line = topic::open_line(CurrentMemoryContext, table);
    const auto over = [until] { return until != 0 && steady_now() >= until; };
    for (;;) {
        if (auto goals = ask_ends(line, table, until))
            return goals;
        for (const TimestampTz asked = steady_now(); !over() && steady_now() - asked < second;)
            pg::call([&] { sleep_on_positions(nullptr, until); });
        if (over())
            return std::nullopt;
        pg::call([&] { check_view(view); });
        table = topic::load_topic_table(r.topic_table, r.owner);
    }
}

// What shared memory says of all goals: whether it is worth a look at the rows.
bool seem_reached(Oid view, const std::vector<goal>& goals)
{
    for (const goal& g : goals) {
        const auto seen = seen_position(MyDatabaseId, view, g.topic.c_str(), g.partition);
        if (!seen || seen->next < g.position)
            return false;
    }
    return true;
}

// Removes the goals that are reached for certain; whether none is left.
bool confirm(Oid view, std::vector<goal>* goals)
{
    const stored_positions stored = pg::call([&] { return read_positions(view); });
    std::erase_if(*goals, [&](const goal& g) {
        for (std::uint64_t i = 0; i < stored.count; i++) {
            const stored_position& s = stored.list[i];
            if (s.partition != g.partition || g.topic != s.topic)
                continue;
            std::int64_t at = s.next;
            const auto seen = seen_position(MyDatabaseId, view, s.topic, s.partition);
            if (seen && seen->stored == at) // beyond it there were only control records
                at = seen->next;
            return at >= g.position;
        }
        return false;
    });
    return goals->empty();
}

bool wait_for(Oid view, std::vector<goal> goals, TimestampTz until)
{
    MemoryContext context = pg::call([] {
        return AllocSetContextCreate(CurrentMemoryContext, "kafka.wait", ALLOCSET_DEFAULT_SIZES);
    });
    database_slot* home = pg::call([] { return my_database(); });
    TimestampTz looked = 0;
    if (home)
        ConditionVariablePrepareToSleep(&home->moved);
    for (;;) {
        const TimestampTz now = steady_now();
        if (looked == 0 || now - looked >= second || seem_reached(view, goals)) {
            MemoryContextReset(context);
            MemoryContext old = MemoryContextSwitchTo(context);
            const bool reached = confirm(view, &goals);
            if (!reached)
                pg::call([&] { check_view(view); });
            MemoryContextSwitchTo(old);
            looked = now;
            if (reached)
                break;
        }
        if (until != 0 && now >= until)
            break;
        pg::call([&] { sleep_on_positions(home, until); });
    }
    ConditionVariableCancelSleep();
    MemoryContextDelete(context);
    return goals.empty();
}

// 0: wait on.
TimestampTz end_of(FunctionCallInfo fcinfo, int argument)
{
    if (PG_ARGISNULL(argument))
        return 0;
    const TimestampTz now = GetCurrentTimestamp();
    const Datum end = DirectFunctionCall2(timestamptz_pl_interval, TimestampTzGetDatum(now),
                                          PG_GETARG_DATUM(argument));
    return steady_now() + (DatumGetTimestampTz(end) - now);
}

bool is_silence(const pg::fault_error& e)
{
    return e.get().kind == fault_kind::broker_unreachable;
}

} // namespace

} // namespace ke::stream

using namespace ke;
using namespace ke::stream;

// (view, timeout)
KE_FUNCTION(kafka_engine_wait)
{
    if (PG_ARGISNULL(0))
        PG_RETURN_NULL();
    const Oid view = PG_GETARG_OID(0);
    check_call(view);
    const TimestampTz until = end_of(fcinfo, 1);
    const registration r = check_view(view);
    const bool reached = pg::entry([&] {
        try {
            auto goals = ask_goals(view, r, until);
            return goals && wait_for(view, std::move(*goals), until);
        } catch (const pg::fault_error& e) {
            if (until != 0 && steady_now() >= until && is_silence(e))
                return false;
            throw;
        }
    });
    PG_RETURN_BOOL(reached);
}

// (view, topic, partition, record_offset, timeout)
KE_FUNCTION(kafka_engine_wait_record)
{
    for (int i = 0; i < 4; i++)
        if (PG_ARGISNULL(i))
            PG_RETURN_NULL();
    const Oid view = PG_GETARG_OID(0);
    const char* topic = text_to_cstring(PG_GETARG_TEXT_PP(1));
    const int partition = PG_GETARG_INT32(2);
    const int64 offset = PG_GETARG_INT64(3);
    check_call(view);
    const TimestampTz until = end_of(fcinfo, 4);
    check_view(view);
    if (partition < 0 || offset < 0 || offset == PG_INT64_MAX)
        ereport(ERROR, (errcode(ERRCODE_INVALID_PARAMETER_VALUE),
                        errmsg("partition and offset of a record are not negative")));
    const bool reached = pg::entry([&] {
        return wait_for(view, {goal{topic, partition, offset + 1}}, until);
    });
    PG_RETURN_BOOL(reached);
}
