// The utility hook: statements that concern continuous views are taken over or rewritten, always in a
// copy (the statement may be a cached plan's); everything else passes through untouched. Each session's
// server thread.
#include "stream/ddl.h"

extern "C" {
#include "access/xact.h"
#include "access/xlog.h"
#include "commands/event_trigger.h"
#include "nodes/plannodes.h"
#include "tcop/utility.h"
}

#include "pg/parts.h"
#include "stream/event_frame.h"
#include "stream/processes.h"
#include "stream/registry.h"
#include "stream/shmem.h"

namespace ke::stream {

namespace {

ProcessUtility_hook_type earlier_hook;

struct call_arguments {
    const char* query_text;
    bool read_only_tree;
    ProcessUtilityContext context;
    ParamListInfo params;
    QueryEnvironment* environment;
    DestReceiver* destination;
    QueryCompletion* completion;
};

void pass_on(PlannedStmt* stmt, const call_arguments& a)
{
    (earlier_hook ? earlier_hook : standard_ProcessUtility)(stmt, a.query_text, a.read_only_tree,
                                                            a.context, a.params, a.environment,
                                                            a.destination, a.completion);
}

void check_may_write(Node* statement)
{
    refuse_in_batch();
    const char* name = CreateCommandName(statement);
    PreventCommandIfReadOnly(name);
    PreventCommandIfParallelMode(name);
    PreventCommandDuringRecovery(name);
}

bool is_continuous_create(Node* node)
{
    if (!IsA(node, CreateTableAsStmt))
        return false;
    auto* s = castNode(CreateTableAsStmt, node);
    return s->objtype == OBJECT_MATVIEW && has_kafka_options(s->into->options);
}

void create(Node* node, const call_arguments& a)
{
    auto* stmt = castNode(CreateTableAsStmt, copyObjectImpl(node));
    check_may_write(node);
    with_event_triggers(node, [&] {
        ObjectAddress made = create_continuous_view(stmt, a.query_text);
        if (OidIsValid(made.objectId))
            EventTriggerCollectSimpleCommand(made, InvalidObjectAddress, node);
    });
    // Functions expect of CREATE ... AS what they get where rows were put in at once; a person is told
    // what was done.
    if (a.completion && a.context != PROCESS_UTILITY_TOPLEVEL && !stmt->into->skipData)
        SetQueryCompletion(a.completion, CMDTAG_SELECT, 0);
}

void refuse_explain(ExplainStmt* stmt)
{
    Query* query = castNode(Query, stmt->query);
    if (query->commandType == CMD_UTILITY && is_continuous_create(query->utilityStmt))
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("EXPLAIN cannot show the making of a continuous view"),
                        errhint("EXPLAIN its query instead.")));
}

bool is_continuous_refresh(Node* node)
{
    if (!IsA(node, RefreshMatViewStmt))
        return false;
    Oid relid = RangeVarGetRelid(castNode(RefreshMatViewStmt, node)->relation, NoLock, true);
    return OidIsValid(relid) && is_continuous_view(relid);
}

void refresh(Node* node, const call_arguments& a)
{
    check_may_write(node);
    std::uint64_t rows = 0;
    with_event_triggers(
        node, [&] { rows = refresh_continuous_view(castNode(RefreshMatViewStmt, node)); });
    if (a.completion)
        SetQueryCompletion(a.completion, CMDTAG_REFRESH_MATERIALIZED_VIEW, rows);
}

// Statements whose words are rewritten.
bool may_need_rewrite(Node* node)
{
    switch (nodeTag(node)) {
    case T_AlterTableStmt: {
        auto* s = castNode(AlterTableStmt, node);
        if (s->objtype == OBJECT_MATVIEW)
            return true;
        ListCell* lc;
        foreach (lc, s->cmds) {
            auto* cmd = lfirst_node(AlterTableCmd, lc);
            if ((cmd->subtype == AT_SetRelOptions || cmd->subtype == AT_ResetRelOptions) &&
                cmd->def && has_kafka_options(castNode(List, cmd->def)))
                return true;
        }
        return false;
    }
    case T_RenameStmt: {
        auto* s = castNode(RenameStmt, node);
        return s->renameType == OBJECT_MATVIEW ||
               (s->renameType == OBJECT_COLUMN && s->relationType == OBJECT_MATVIEW);
    }
    case T_AlterObjectSchemaStmt:
        return castNode(AlterObjectSchemaStmt, node)->objectType == OBJECT_MATVIEW;
    case T_AlterObjectDependsStmt:
        return castNode(AlterObjectDependsStmt, node)->objectType == OBJECT_MATVIEW;
    case T_CommentStmt:
        return castNode(CommentStmt, node)->objtype == OBJECT_MATVIEW;
    case T_SecLabelStmt:
        return castNode(SecLabelStmt, node)->objtype == OBJECT_MATVIEW;
    default:
        return false;
    }
}

void rewrite_and_pass(PlannedStmt* stmt, call_arguments a)
{
    refuse_in_batch();
    auto* copy = castNode(PlannedStmt, copyObjectImpl(stmt));
    rewrite_kind(copy->utilityStmt);
    if (IsA(copy->utilityStmt, AlterTableStmt)) {
        check_may_write(copy->utilityStmt);
        if (!take_alter_options(castNode(AlterTableStmt, copy->utilityStmt)))
            return;
    }
    a.read_only_tree = false;
    pass_on(copy, a);
}

// Changes of rights that no event trigger tells.
bool changes_rights(Node* node)
{
    switch (nodeTag(node)) {
    case T_ReassignOwnedStmt:
    case T_GrantRoleStmt:
    case T_AlterExtensionStmt:
        return true;
    case T_DropStmt:
        return castNode(DropStmt, node)->removeType == OBJECT_EXTENSION ||
               castNode(DropStmt, node)->removeType == OBJECT_FDW;
    default:
        return false;
    }
}

void process(PlannedStmt* stmt, const call_arguments& a)
{
    Node* node = stmt->utilityStmt;
    if (is_continuous_create(node)) {
        create(node, a);
        return;
    }
    if (IsA(node, ExplainStmt))
        refuse_explain(castNode(ExplainStmt, node));
    if (is_continuous_refresh(node)) {
        refresh(node, a);
        return;
    }
    if (IsA(node, DropStmt) && drops_continuous_view(castNode(DropStmt, node))) {
        check_may_write(node);
        drop_materialized_views(castNode(DropStmt, copyObjectImpl(node)));
        return;
    }
    if (may_need_rewrite(node)) {
        rewrite_and_pass(stmt, a);
        return;
    }
    const bool commits_prepared =
        IsA(node, TransactionStmt) &&
        castNode(TransactionStmt, node)->kind == TRANS_STMT_COMMIT_PREPARED;
    const bool rights = changes_rights(node) && registry_exists();
    before_database_statement(node);
    pass_on(stmt, a);
    after_database_statement(node);
    if (rights)
        notify_at_commit();
    if (commits_prepared && registry_exists())
        bump_database(MyDatabaseId);
}

void on_utility(PlannedStmt* stmt, const char* query_text, bool read_only_tree,
                ProcessUtilityContext context, ParamListInfo params, QueryEnvironment* environment,
                DestReceiver* destination, QueryCompletion* completion)
{
    process(stmt,
            {query_text, read_only_tree, context, params, environment, destination, completion});
}

} // namespace

void init_hook()
{
    earlier_hook = ProcessUtility_hook;
    ProcessUtility_hook = on_utility;
}

} // namespace ke::stream
