// A view's insert statement as a kept plan, run as the view's owner: in a security-restricted
// context, with a safe search_path and the settings of the session that made the view. Server's
// thread, inside a transaction; the plans live as long as their views are served.
#include "pg/compat.h"

extern "C" {
#include "access/genam.h"
#include "catalog/pg_class.h"
#include "catalog/pg_foreign_server.h"
#include "foreign/foreign.h"
#include "storage/lmgr.h"
#include "utils/acl.h"
#include "utils/guc.h"
#include "utils/plancache.h"
#include "utils/snapmgr.h"
#include "utils/syscache.h"
}

#include <algorithm>
#include <utility>

#include "stream/serving.h"
#include "stream/statements.h"

namespace ke::stream {

owner_scope become_owner(const registered_view& v)
{
    owner_scope s;
    GetUserIdAndSecContext(&s.user, &s.security_context);
    SetUserIdAndSecContext(v.owner, s.security_context | SECURITY_RESTRICTED_OPERATION);
    s.guc_level = NewGUCNestLevel();
    set_config_option("search_path", "pg_catalog, pg_temp", PGC_USERSET, PGC_S_SESSION,
                      GUC_ACTION_SAVE, true, 0, false);
    for (std::size_t i = 0; i < v.settings.size(); i++)
        set_config_option(v.settings[i].first.c_str(), v.settings[i].second.c_str(), PGC_USERSET,
                          PGC_S_SESSION, GUC_ACTION_SAVE, true, 0, false);
    return s;
}

void become_self(const owner_scope& s)
{
    AtEOXact_GUC(false, s.guc_level);
    SetUserIdAndSecContext(s.user, s.security_context);
}

namespace {

SPIPlanPtr make_plan(const registered_view& v, const char* sql)
{
    owner_scope before = become_owner(v);
    SPI_connect();
    SPIPlanPtr plan = SPI_prepare(sql, 0, nullptr);
    if (!plan)
        elog(ERROR, "could not prepare \"%s\": %s", sql, SPI_result_code_string(SPI_result));
    SPI_keepplan(plan);
    SPI_finish();
    become_self(before);
    return plan;
}

struct plans_seen {
    bool newer; // than the generation given; else nothing was looked at
    Bitmapset* used;
    plain_shape* shape; // null: none
    bool filtered;      // it has filters, those of the kept route
};

CachedPlan* cached_plan(const registered_view& v, SPIPlanPtr plan)
{
    CachedPlan* cached = SPI_plan_get_cached_plan(plan);
    if (!cached)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("rules turn the insert into \"%s\" into several statements",
                               v.name.c_str()),
                        errhint("Drop the rules on the view's target.")));
    return cached;
}

// Adds what one plan reads; in the current memory context, the route in the kept plan's.
void see_plan(const registered_view& v, const CachedPlan* cached, kept_plan* kept, plans_seen* seen)
{
    ListCell* cell;
    foreach (cell, cached->stmt_list) {
        auto* statement = lfirst_node(PlannedStmt, cell);
        seen->used = bms_add_members(seen->used, topic::attributes_used(statement, v.topic_table));
        MemoryContext caller = MemoryContextSwitchTo(kept->memory);
        if (!kept->by)
            kept->by = find_route(statement, v.topic_table);
        MemoryContextSwitchTo(caller);
    }
    if (kept->before.empty() && list_length(cached->stmt_list) == 1)
        seen->shape = find_shape(linitial_node(PlannedStmt, cached->stmt_list), v.topic_table);
    seen->filtered = seen->shape && seen->shape->filters;
    if (seen->filtered && !(kept->by && equal(kept->by->filters, seen->shape->filters)))
        seen->shape = nullptr;
}

void forget_route(kept_plan* kept)
{
    kept->by = nullptr;
    if (kept->memory)
        MemoryContextReset(kept->memory);
    else
        kept->memory = AllocSetContextCreate(TopMemoryContext, "kafka view", ALLOCSET_SMALL_SIZES);
}

// What of the topic the plans read, as planned now; in the context that is current.
plans_seen see_plans(const registered_view& v, kept_plan* kept, std::int64_t* generation)
{
    MemoryContext caller = CurrentMemoryContext;
    plans_seen seen = {false, nullptr, nullptr, false};
    owner_scope before = become_owner(v);
    SPI_connect();
    PushActiveSnapshot(GetTransactionSnapshot());
    List* all = NIL;
    std::int64_t now = 0;
    for (std::size_t i = 0; i <= kept->before.size(); i++) {
        CachedPlan* cached = cached_plan(v, i < kept->before.size() ? kept->before[i] : kept->plan);
        all = lappend(all, cached);
        now += cached->generation;
    }
    seen.newer = now != *generation;
    *generation = now;
    if (seen.newer)
        forget_route(kept);
    ListCell* cell;
    MemoryContext spi = MemoryContextSwitchTo(caller);
    foreach (cell, all) {
        auto* cached = static_cast<CachedPlan*>(lfirst(cell));
        if (seen.newer)
            see_plan(v, cached, kept, &seen);
        ReleaseCachedPlan(cached, CurrentResourceOwner);
    }
    MemoryContextSwitchTo(spi);
    PopActiveSnapshot();
    SPI_finish();
    become_self(before);
    return seen;
}

} // namespace

bool lock_relations(const std::vector<const registered_view*>& views, std::vector<bool>& locked)
{
    std::map<Oid, LOCKMODE> wanted; // by OID: the order everybody keeps
    for (const registered_view* v : views) {
        wanted.emplace(v->query, RowShareLock); // against kafka.pause and kafka.seek (control)
        wanted.emplace(v->topic_table, AccessShareLock);
        wanted[v->target] = RowExclusiveLock;
    }
    std::set<Oid> missing;
    for (auto [oid, mode] : wanted) {
        bool got = pg::call([&, o = oid, m = mode] {
            return ConditionalLockRelationOid(o, m) &&
                   SearchSysCacheExists1(RELOID, ObjectIdGetDatum(o));
        });
        if (!got)
            missing.insert(oid);
    }
    locked.clear();
    bool all = true;
    for (const registered_view* v : views) {
        bool has = !missing.contains(v->query) && !missing.contains(v->topic_table) &&
                   !missing.contains(v->target);
        locked.push_back(has);
        all = all && has;
    }
    return all;
}

bool plan_view(served_view& v)
{
    // A kept plan looks its names up again when something changed: another table may have the target's.
    std::vector<std::string> now = statements_of(v.is);
    if (v.plan.plan && v.plan.sql != now) {
        std::set<int> of_functions = std::move(v.plan.of_functions);
        free_plan(v.plan);
        v.plan.of_functions = std::move(of_functions);
    }
    if (!v.plan.plan) {
        for (SPIPlanPtr left : std::exchange(v.plan.before, {}))
            pg::call([&] { SPI_freeplan(left); });
        for (std::size_t i = 0; i + 1 < now.size(); i++)
            v.plan.before.push_back(pg::call([&] { return make_plan(v.is, now[i].c_str()); }));
        v.plan.plan = pg::call([&] { return make_plan(v.is, now.back().c_str()); });
        v.plan.sql = std::move(now);
        v.plan.generation = -1;
    }
    std::int64_t generation = v.plan.generation;
    plans_seen seen = pg::call([&] { return see_plans(v.is, &v.plan, &generation); });
    if (!seen.newer)
        return false;
    std::set<int> used = v.plan.of_functions;
    for (int a = -1; (a = bms_next_member(seen.used, a)) >= 0;)
        used.insert(a);
    std::vector<int> attributes(used.begin(), used.end());
    tuple_shape shape;
    if (seen.shape)
        shape.assign(seen.shape->attributes, seen.shape->attributes + seen.shape->count);
    bool changed = attributes != v.plan.attributes || shape != v.plan.shape;
    v.plan.attributes = std::move(attributes);
    v.plan.shape = std::move(shape);
    v.plan.filtered = seen.filtered;
    // Its records may go on to be judged without being prepared anew (apply).
    if (changed || !v.plan.columns.plan)
        v.plan.columns = columns_for(v.is.topic_table, v.is.owner, v.plan.attributes);
    v.plan.generation = generation;
    return changed;
}

void want_attributes(served_view& v, const topic::batch& rows)
{
    v.plan.of_functions.insert(rows.missing.begin(), rows.missing.end());
    v.plan.generation = -1;
}

topic::decode_columns columns_for(Oid topic_table, Oid owner, const std::vector<int>& attributes,
                                  bool keeps_records)
{
    Bitmapset* set = pg::call([&] {
        Bitmapset* all = nullptr;
        for (int a : attributes)
            all = bms_add_member(all, a);
        return all;
    });
    return topic::make_decode_columns(topic_table, owner, set, keeps_records);
}

std::int64_t run_plan(served_view& v, topic::batch& rows)
{
    topic::batch_in_force scope(&rows);
    return pg::call([&]() -> std::int64_t {
        owner_scope before = become_owner(v.is);
        SPI_connect();
        std::int64_t stored = 0;
        const std::size_t first = v.plan.before.size();
        for (std::size_t i = 0; i <= first; i++) {
            SPIPlanPtr plan = i < first ? v.plan.before[i] : v.plan.plan;
            int code = SPI_execute_plan(plan, nullptr, nullptr, false, 0);
            if (code < 0)
                elog(ERROR, "could not run the plan of view \"%s\": %s", v.is.name.c_str(),
                     SPI_result_code_string(code));
            stored += static_cast<std::int64_t>(SPI_processed);
        }
        SPI_finish();
        become_self(before);
        return stored;
    });
}

void check_usage(Oid server, Oid role)
{
    bool may =
        pg::call([&] { return pg::server_aclcheck(server, role, ACL_USAGE) == ACLCHECK_OK; });
    if (may)
        return;
    const char* owner = pg::call([&] { return GetUserNameFromId(role, true); });
    const char* name = pg::call([&] {
        ForeignServer* s = GetForeignServerExtended(server, FSV_MISSING_OK);
        return s ? s->servername : nullptr;
    });
    fault f;
    f.kind = fault_kind::authorization;
    f.message = "permission denied for foreign server " + std::string(name ? name : "?");
    f.detail =
        "Role " + std::string(owner ? owner : "?") + ", owner of the view, lacks USAGE on it.";
    f.hint = "GRANT USAGE ON FOREIGN SERVER; the view then goes on by itself.";
    throw pg::fault_error(std::move(f));
}

void free_plan(kept_plan& p)
{
    std::vector<SPIPlanPtr> plans = std::move(p.before);
    plans.push_back(p.plan);
    if (p.memory)
        MemoryContextDelete(p.memory);
    p = kept_plan{};
    for (SPIPlanPtr plan : plans)
        if (plan)
            pg::call([&] { SPI_freeplan(plan); });
}

} // namespace ke::stream
