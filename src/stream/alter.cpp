// The words MATERIALIZED VIEW on a continuous view, which is a table (or, with kafka.into, a view):
// statements are rewritten to its real kind and left to the server; kafka options are ours.
#include "stream/ddl.h"

extern "C" {
#include "catalog/namespace.h"
#include "commands/defrem.h"
#include "commands/tablecmds.h"
#include "nodes/makefuncs.h"
#include "utils/acl.h"
#include "utils/lsyscache.h"
}

#include "pg/guard.h"
#include "stream/options.h"
#include "stream/registry.h"
#include "stream/sql.h"

namespace ke::stream {

namespace {

// The relation's OID where it is a continuous view, else InvalidOid. No lock: the server locks and
// looks again; a relation swapped in between gets the server's own judgement.
Oid find_view(RangeVar* name)
{
    Oid relid = name ? RangeVarGetRelid(name, NoLock, true) : InvalidOid;
    return OidIsValid(relid) && is_continuous_view(relid) ? relid : InvalidOid;
}

void rewrite(ObjectType* kind, RangeVar* name)
{
    if (*kind != OBJECT_MATVIEW)
        return;
    if (Oid view = find_view(name); OidIsValid(view))
        *kind = get_rel_relkind(view) == RELKIND_VIEW ? OBJECT_VIEW : OBJECT_TABLE;
}

RangeVar* name_of(Node* object)
{
    return IsA(object, List) ? makeRangeVarFromNameList(castNode(List, object)) : nullptr;
}

void check_alterable(DefElem* d, bool set)
{
    const char* value = d->arg ? defGetString(d) : "true";
    const option_row* o = find_option(d->defname);
    if (set || !o)
        check_view_option(d->defname, value);
    if (!o->alterable)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("option \"kafka.%s\" cannot be changed by ALTER", d->defname),
                        errhint("%s", o->otherwise.data())));
}

void store_option(Oid view, DefElem* d, bool set)
{
    sql_arguments a;
    a.add_oid(view);
    a.add_text(d->defname);
    if (set)
        a.add_text(d->arg ? defGetString(d) : "true");
    spi_stretch spi;
    spi.begin();
    run(set ? "UPDATE kafka.registry SET options = options || jsonb_build_object($2, $3) WHERE view = $1"
            : "UPDATE kafka.registry SET options = options - $2 WHERE view = $1",
        a);
    spi.end();
}

// Takes one command's options of ours out; whether anything is left of it.
bool take_options(Oid view, const char* name, AlterTableCmd* cmd)
{
    bool set = cmd->subtype == AT_SetRelOptions;
    List* rest = NIL;
    ListCell* lc;
    foreach (lc, castNode(List, cmd->def)) {
        DefElem* d = lfirst_node(DefElem, lc);
        if (!is_ours(d)) {
            rest = lappend(rest, d);
            continue;
        }
        if (!OidIsValid(view))
            ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                            errmsg("\"%s\" is not a continuous view", name),
                            errhint("Options that begin with kafka. belong to views created WITH "
                                    "(kafka.continuous).")));
        check_alterable(d, set);
        store_option(view, d, set);
    }
    cmd->def = reinterpret_cast<Node*>(rest);
    return rest != NIL;
}

bool sets_our_options(Node* node)
{
    AlterTableCmd* cmd = castNode(AlterTableCmd, node);
    return (cmd->subtype == AT_SetRelOptions || cmd->subtype == AT_ResetRelOptions) && cmd->def &&
           has_kafka_options(castNode(List, cmd->def));
}

} // namespace

void check_view_option(const char* name, const char* value)
{
    pg::entry([&] { pg::check(check_option(name, value)); });
}

void check_options_of(Oid view)
{
    pg::entry([&] {
        for (registered_view& v : load_registry())
            if (v.view == view && !v.invalid.empty())
                throw pg::fault_error(
                    {.kind = fault_kind::refused_option, .message = std::move(v.invalid)});
    });
}

void log_state(Oid view, const char* state, const char* reason)
{
    sql_arguments a;
    a.add_oid(view);
    a.add_text(state);
    a.add_text(reason);
    a.add_text(GetUserNameFromId(GetUserId(), false));
    spi_stretch spi;
    spi.begin();
    run("INSERT INTO kafka.state_log (view, state, reason, by) VALUES ($1, $2, $3, $4)", a);
    spi.end();
}

bool is_continuous_view(Oid relid)
{
    if (!registry_exists())
        return false;
    sql_arguments a;
    a.add_oid(relid);
    spi_stretch spi;
    spi.begin();
    bool found = run("SELECT 1 FROM kafka.registry WHERE view = $1", a) > 0;
    spi.end();
    return found;
}

void rewrite_kind(Node* node)
{
    switch (nodeTag(node)) {
    case T_AlterTableStmt: {
        auto* s = castNode(AlterTableStmt, node);
        rewrite(&s->objtype, s->relation);
        break;
    }
    case T_RenameStmt: {
        auto* s = castNode(RenameStmt, node);
        rewrite(s->renameType == OBJECT_COLUMN ? &s->relationType : &s->renameType, s->relation);
        break;
    }
    case T_AlterObjectSchemaStmt: {
        auto* s = castNode(AlterObjectSchemaStmt, node);
        rewrite(&s->objectType, s->relation);
        break;
    }
    case T_AlterObjectDependsStmt: {
        auto* s = castNode(AlterObjectDependsStmt, node);
        rewrite(&s->objectType, s->relation);
        break;
    }
    case T_CommentStmt: {
        auto* s = castNode(CommentStmt, node);
        if (s->objtype == OBJECT_MATVIEW)
            rewrite(&s->objtype, name_of(s->object));
        break;
    }
    case T_SecLabelStmt: {
        auto* s = castNode(SecLabelStmt, node);
        if (s->objtype == OBJECT_MATVIEW)
            rewrite(&s->objtype, name_of(s->object));
        break;
    }
    default:
        break;
    }
}

bool take_alter_options(AlterTableStmt* stmt)
{
    bool any = false;
    ListCell* lc;
    foreach (lc, stmt->cmds)
        any = any || sets_our_options(static_cast<Node*>(lfirst(lc)));
    if (!any)
        return true;
    // The owner's alone, and held against DROP; workers go on under this lock.
    Oid relid = RangeVarGetRelidExtended(stmt->relation, ShareUpdateExclusiveLock,
                                         stmt->missing_ok ? RVR_MISSING_OK : 0,
                                         RangeVarCallbackOwnsRelation, nullptr);
    if (!OidIsValid(relid))
        return true; // the server says the rest
    Oid view = is_continuous_view(relid) ? relid : InvalidOid;
    List* rest = NIL;
    foreach (lc, stmt->cmds) {
        auto* cmd = lfirst_node(AlterTableCmd, lc);
        if (!sets_our_options(reinterpret_cast<Node*>(cmd)) ||
            take_options(view, stmt->relation->relname, cmd))
            rest = lappend(rest, cmd);
    }
    stmt->cmds = rest;
    if (OidIsValid(view))
        check_options_of(view);
    notify_at_commit();
    return rest != NIL;
}

} // namespace ke::stream
