// DROP MATERIALIZED VIEW where its list names a continuous view: all of the list goes in one deletion,
// real materialized views as well, so that those which depend on one another can go together. What
// belongs to a view besides its table goes in the sql_drop event trigger (events.cpp), for every way
// in which the table can go.
#include "stream/ddl.h"

extern "C" {
#include "catalog/catalog.h"
#include "catalog/dependency.h"
#include "catalog/namespace.h"
#include "commands/event_trigger.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
}

#include "pg/guard.h"
#include "stream/event_frame.h"
#include "stream/registry.h"

namespace ke::stream {

namespace {

// Before the lock: the owner of the relation, or of its schema, may drop it.
void check_owner(const RangeVar* name, Oid relid, Oid, void*)
{
    if (!OidIsValid(relid) || pg::owns_relation(relid, GetUserId()) ||
        pg::owns_schema(get_rel_namespace(relid), GetUserId()))
        return;
    aclcheck_error(ACLCHECK_NOT_OWNER, get_relkind_objtype(get_rel_relkind(relid)), name->relname);
}

void refuse_kind(const RangeVar* name)
{
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                    errmsg("\"%s\" is not a materialized view", name->relname),
                    errhint("Use the DROP statement of its own kind.")));
}

void report_missing(const RangeVar* name, bool missing_ok)
{
    if (!missing_ok)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("materialized view \"%s\" does not exist", name->relname)));
    ereport(NOTICE, (errmsg("materialized view \"%s\" does not exist, skipping", name->relname)));
}

void drop_all(DropStmt* stmt)
{
    ObjectAddresses* all = new_object_addresses();
    ListCell* lc;
    foreach (lc, stmt->objects) {
        RangeVar* name = makeRangeVarFromNameList(static_cast<List*>(lfirst(lc)));
        AcceptInvalidationMessages();
        Oid relid = RangeVarGetRelidExtended(name, AccessExclusiveLock, RVR_MISSING_OK, check_owner,
                                             nullptr);
        if (!OidIsValid(relid)) {
            report_missing(name, stmt->missing_ok);
            continue;
        }
        if (get_rel_relkind(relid) != RELKIND_MATVIEW && !is_continuous_view(relid))
            refuse_kind(name);
        ObjectAddress address;
        ObjectAddressSet(address, RelationRelationId, relid);
        add_exact_object_address(&address, all);
    }
    performMultipleDeletions(all, stmt->behavior, 0);
    free_object_addresses(all);
}

} // namespace

bool drops_continuous_view(DropStmt* stmt)
{
    if (stmt->removeType != OBJECT_MATVIEW)
        return false;
    ListCell* lc;
    foreach (lc, stmt->objects) {
        RangeVar* name = makeRangeVarFromNameList(static_cast<List*>(lfirst(lc)));
        Oid relid = RangeVarGetRelid(name, NoLock, true);
        if (OidIsValid(relid) && is_continuous_view(relid))
            return true;
    }
    return false;
}

void drop_materialized_views(DropStmt* stmt)
{
    with_event_triggers(reinterpret_cast<Node*>(stmt), [&] {
        drop_all(stmt);
        EventTriggerSQLDrop(reinterpret_cast<Node*>(stmt));
    });
}

} // namespace ke::stream
