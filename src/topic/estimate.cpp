#include "topic/estimate.h"

extern "C" {
#include "executor/executor.h"
#include "optimizer/optimizer.h"
#include "postmaster/bgworker.h"
#include "utils/memutils.h"
}

#include <algorithm>
#include <map>

#include "pg/guard.h"
#include "topic/batch.h"

namespace ke::topic {

namespace {

using clock = std::chrono::steady_clock;
using std::chrono::milliseconds;

// Records of a topic of which nothing is known.
constexpr double guess = 100000;

// Records of a batch: so few that a view's query looks rows up by index rather than reading a large
// table for each batch, and enough that it hashes a small one.
constexpr double batch_guess = 1000;

// Ends as seen by this process are good for plans this long,
constexpr auto fresh = std::chrono::seconds(10);
// a broker that did not answer is not asked again for a plan this long,
constexpr auto sulk = std::chrono::seconds(30);
// and planning waits at most this long for one.
constexpr milliseconds patience(250);

struct seen_ends {
    clock::time_point at;
    std::vector<partition_ends> ends;
};
std::map<Oid, seen_ends>& seen() // by table
{
    static auto* map = new std::map<Oid, seen_ends>;
    return *map;
}
std::map<Oid, clock::time_point>& silent() // by server
{
    static auto* map = new std::map<Oid, clock::time_point>;
    return *map;
}

// The client stays for the scan that follows: it is let go with the memory of this planning.
void ask(Oid relid, Oid user)
{
    topic_table table;
    try {
        table = load_topic_table(relid, user);
        auto failed = silent().find(table.server);
        if (failed != silent().end() && clock::now() - failed->second < sulk)
            return;
        statement* s = pg::adopt(CurrentMemoryContext, std::make_unique<statement>());
        line l = s->open_line(CurrentMemoryContext, table);
        l.timeout = std::min(patience, l.timeout);
        remember(relid, s->ends(l, table));
        silent().erase(table.server);
    } catch (const pg::fault_error&) {
        silent()[table.server] = clock::now(); // the scan itself will say what is wrong
    }
}

// What is known of the ends, or null.
const std::vector<partition_ends>* known_ends(Oid relid, Oid user, bool analyzed)
{
    auto found = seen().find(relid);
    const bool good = found != seen().end() && clock::now() - found->second.at < fresh;
    if (!good && !analyzed) {
        ask(relid, user);
        found = seen().find(relid);
    }
    return found == seen().end() ? nullptr : &found->second.ends;
}

// Whether a view's query is planned, whose scan reads batches.
bool plans_for_batches()
{
    return current_batch ||
           (MyBgworkerEntry && strcmp(MyBgworkerEntry->bgw_library_name, "kafka_engine") == 0);
}

// Whether planning can say exactly which records the expression leaves.
bool exact(const condition* c)
{
    if (c->kind == test_kind::test)
        return c->known && c->what != decode::role::timestamp;
    for (int i = 0; i < c->count; i++)
        if (!exact(c->children[i]))
            return false;
    return true;
}

double count(const std::vector<partition_ends>& ends, const condition* c)
{
    double n = 0;
    for (const partition_ends& e : ends)
        n += (leaves(c, {&e.topic, e.partition}) & interval_set::of(e.low, e.end - 1)).count();
    return n;
}

int count_partitions(const std::vector<partition_ends>& ends, const condition* c)
{
    return static_cast<int>(std::count_if(ends.begin(), ends.end(), [&](const partition_ends& e) {
        return !(leaves(c, {&e.topic, e.partition}) & interval_set::of(e.low, e.end - 1)).empty();
    }));
}

// The condition with the values that planning knows, in the current memory context.
condition* evaluate_for_plan(List* pushed, const pushed_columns& columns)
{
    condition* c = compile(pushed, columns, nullptr);
    if (!c)
        return nullptr;
    ExprContext* econtext = CreateStandaloneExprContext();
    MemoryContext values =
        AllocSetContextCreate(CurrentMemoryContext, "kafka pushed values", ALLOCSET_SMALL_SIZES);
    evaluate(c, stage::planning, econtext, values);
    FreeExprContext(econtext, true);
    return c;
}

} // namespace

void remember(Oid relid, const std::vector<partition_ends>& ends)
{
    if (seen().size() > 1000)
        seen().clear(); // tables come and go; this is a cache
    seen()[relid] = {clock::now(), ends};
}

estimate estimate_records(PlannerInfo* root, RelOptInfo* rel, Oid relid, List* pushed,
                          const pushed_columns& columns)
{
    const bool analyzed = rel->tuples >= 0 && rel->pages > 0;
    const Oid user = OidIsValid(rel->userid) ? rel->userid : GetUserId();
    const condition* c = evaluate_for_plan(pushed, columns);
    const bool worker = plans_for_batches();
    const std::vector<partition_ends>* ends = worker ? nullptr : known_ends(relid, user, analyzed);

    estimate e;
    e.records = worker     ? batch_guess
                : ends     ? count(*ends, nullptr)
                : analyzed ? rel->tuples
                           : guess;
    e.fetched = ends ? count(*ends, c) : e.records;
    e.partitions = ends ? count_partitions(*ends, c) : 1;
    // Clauses not counted exactly have the selectivity that the planner thinks they have.
    List* counted = NIL;
    for (int i = 0; ends && c && i < c->count; i++)
        if (exact(c->children[i]))
            counted = lappend(counted, list_nth(pushed, i));
    e.fetched *= clauselist_selectivity(root, list_difference_ptr(pushed, counted), rel->relid,
                                        JOIN_INNER, nullptr);
    List* others = NIL;
    ListCell* lc;
    foreach (lc, rel->baserestrictinfo)
        if (!list_member_ptr(pushed, lfirst_node(RestrictInfo, lc)->clause))
            others = lappend(others, lfirst(lc));
    e.left_by_others = clauselist_selectivity(root, others, rel->relid, JOIN_INNER, nullptr);
    return e;
}

} // namespace ke::topic
