// The server's headers, as C++ sees them, and every difference between server versions 15 to 18.
// The only place that tests PG_VERSION_NUM. All server-side files include this first.
#pragma once

extern "C" {
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/elog.h"
#include "utils/memutils.h"
}

// Server 15's c.h defines PGDLLEXPORT as nothing; the Makefile gives it default visibility.

// The head of a function that SQL calls: KE_FUNCTION(kafka_engine_x) { ... fcinfo ... }. Server 15's
// PG_FUNCTION_INFO_V1 alone would leave it hidden.
#define KE_FUNCTION(name)                                                                          \
    extern "C" {                                                                                   \
    PGDLLEXPORT Datum name(PG_FUNCTION_ARGS);                                                      \
    PG_FUNCTION_INFO_V1(name);                                                                     \
    }                                                                                              \
    Datum name(PG_FUNCTION_ARGS)

#if PG_VERSION_NUM < 150000
#error "kafka_engine needs PostgreSQL 15 or later"
#endif

extern "C" {
#include "catalog/namespace.h"
#include "catalog/pg_class.h"
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_namespace.h"
#include "executor/executor.h"
#include "lib/dshash.h"
#include "nodes/execnodes.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/pathnode.h"
#include "storage/proc.h"
#include "utils/acl.h"

#if PG_VERSION_NUM >= 180000
#include "commands/explain_format.h"
#include "commands/explain_state.h"
#endif
}

namespace ke::pg {

inline constexpr int server_major = PG_VERSION_NUM / 10000;

// This process's place in the server's array of processes.
inline int my_process_number()
{
#if PG_VERSION_NUM >= 170000
    return MyProcNumber;
#else
    return MyProc->pgprocno;
#endif
}

// Keys of a dshash that are plain bytes.
inline void keys_are_bytes(dshash_parameters* p)
{
    p->compare_function = dshash_memcmp;
    p->hash_function = dshash_memhash;
#if PG_VERSION_NUM >= 170000
    p->copy_function = dshash_memcpy;
#endif
}

using node_walker = bool (*)(Node*, void*);

inline bool walk_expression(Node* node, node_walker walker, void* context)
{
#if PG_VERSION_NUM >= 160000
    return expression_tree_walker(node, walker, context);
#else
    // Through void(*)(), which compilers take as "the cast is meant".
    auto any = reinterpret_cast<void (*)()>(walker);
    return expression_tree_walker(node, reinterpret_cast<bool (*)()>(any), context);
#endif
}

// A path of a foreign scan that re-checks all its clauses itself.
inline ForeignPath* make_foreign_path(PlannerInfo* root, RelOptInfo* rel, double rows,
                                      Cost startup_cost, Cost total_cost, Relids required_outer)
{
#if PG_VERSION_NUM >= 180000
    return create_foreignscan_path(root, rel, nullptr, rows, 0, startup_cost, total_cost, NIL,
                                   required_outer, nullptr, NIL, NIL);
#elif PG_VERSION_NUM >= 170000
    return create_foreignscan_path(root, rel, nullptr, rows, startup_cost, total_cost, NIL,
                                   required_outer, nullptr, NIL, NIL);
#else
    return create_foreignscan_path(root, rel, nullptr, rows, startup_cost, total_cost, NIL,
                                   required_outer, nullptr, NIL);
#endif
}

// Whose rights and login a foreign scan uses.
inline Oid scan_user(ForeignScanState* node)
{
#if PG_VERSION_NUM >= 160000
    Oid user = castNode(ForeignScan, node->ss.ps.plan)->checkAsUser;
#else
    Index rel = castNode(ForeignScan, node->ss.ps.plan)->scan.scanrelid;
    Oid user = exec_rt_fetch(rel, node->ss.ps.state)->checkAsUser;
#endif
    return OidIsValid(user) ? user : GetUserId();
}

inline bool owns_relation(Oid relid, Oid role)
{
#if PG_VERSION_NUM >= 160000
    return object_ownercheck(RelationRelationId, relid, role);
#else
    return pg_class_ownercheck(relid, role);
#endif
}

inline bool owns_schema(Oid schema, Oid role)
{
#if PG_VERSION_NUM >= 160000
    return object_ownercheck(NamespaceRelationId, schema, role);
#else
    return pg_namespace_ownercheck(schema, role);
#endif
}

// Whether the current user may read what the query reads itself (subqueries apart); raises if not.
inline void check_rights(Query* query)
{
#if PG_VERSION_NUM >= 160000
    (void)ExecCheckPermissions(query->rtable, query->rteperminfos, true);
#else
    (void)ExecCheckRTPerms(query->rtable, true);
#endif
}

// Enters a row that is in its table into the table's indexes; a conflict raises.
inline void insert_index_tuples(ResultRelInfo* table, TupleTableSlot* row, EState* estate)
{
#if PG_VERSION_NUM >= 160000
    list_free(ExecInsertIndexTuples(table, row, estate, false, false, nullptr, NIL, false));
#else
    list_free(ExecInsertIndexTuples(table, row, estate, false, false, nullptr, NIL));
#endif
}

inline bool has_generated_columns(TupleDesc tuple)
{
#if PG_VERSION_NUM >= 180000
    return tuple->constr &&
           (tuple->constr->has_generated_stored || tuple->constr->has_generated_virtual);
#else
    return tuple->constr && tuple->constr->has_generated_stored;
#endif
}

inline bool walk_query(Query* query, node_walker walker, void* context, int flags)
{
#if PG_VERSION_NUM >= 160000
    return query_tree_walker(query, walker, context, flags);
#else
    auto any = reinterpret_cast<void (*)()>(walker);
    return query_tree_walker(query, reinterpret_cast<bool (*)()>(any), context, flags);
#endif
}

} // namespace ke::pg

extern "C" {
#include "catalog/pg_foreign_server.h"
#include "catalog/pg_proc.h"
#include "utils/acl.h"
}

namespace ke::pg {

// Whether a role may run a function.
inline bool may_execute(Oid function, Oid role)
{
#if PG_VERSION_NUM >= 160000
    return object_aclcheck(ProcedureRelationId, function, role, ACL_EXECUTE) == ACLCHECK_OK;
#else
    return pg_proc_aclcheck(function, role, ACL_EXECUTE) == ACLCHECK_OK;
#endif
}

// Whether a role has these rights on a foreign server.
inline AclResult server_aclcheck(Oid server, Oid role, AclMode rights)
{
#if PG_VERSION_NUM >= 160000
    return object_aclcheck(ForeignServerRelationId, server, role, rights);
#else
    return pg_foreign_server_aclcheck(server, role, rights);
#endif
}

} // namespace ke::pg

extern "C" {
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "parser/parse_node.h"
#include "parser/parse_relation.h"
#include "utils/rel.h"
}

namespace ke::pg {

using node_mutator = Node* (*)(Node*, void*);

inline Node* mutate_expression(Node* node, node_mutator mutator, void* context)
{
#if PG_VERSION_NUM >= 160000
    return expression_tree_mutator(node, mutator, context);
#else
    auto any = reinterpret_cast<void (*)()>(mutator);
    return expression_tree_mutator(node, reinterpret_cast<Node* (*)()>(any), context);
#endif
}

// Expressions of GROUP BY stand in the target list and HAVING themselves: 18 has references to an
// entry of their own instead, the last of the range table.
inline void flatten_groups(Query* query)
{
#if PG_VERSION_NUM >= 180000
    if (!query->hasGroupRTE)
        return;
    query->targetList = reinterpret_cast<List*>(
        flatten_group_exprs(nullptr, query, reinterpret_cast<Node*>(query->targetList)));
    query->havingQual = flatten_group_exprs(nullptr, query, query->havingQual);
    query->hasGroupRTE = false;
    query->rtable = list_delete_last(query->rtable);
#else
    (void)query;
#endif
}

// Columns of a table in FROM are read: rights are checked for them.
inline void mark_selected(Query* query, RangeTblEntry* entry, AttrNumber column)
{
    const int bit = column - FirstLowInvalidHeapAttributeNumber;
#if PG_VERSION_NUM >= 160000
    RTEPermissionInfo* rights = getRTEPermissionInfo(query->rteperminfos, entry);
    rights->selectedCols = bms_add_member(rights->selectedCols, bit);
#else
    (void)query;
    entry->selectedCols = bms_add_member(entry->selectedCols, bit);
#endif
}

// The range table of a query that reads one relation, all of its columns.
inline void read_from(Query* query, Relation relation)
{
    ParseState* state = make_parsestate(nullptr);
    (void)addRangeTableEntryForRelation(state, relation, AccessShareLock, nullptr, true, true);
    query->rtable = state->p_rtable;
#if PG_VERSION_NUM >= 160000
    query->rteperminfos = state->p_rteperminfos;
#endif
    free_parsestate(state);
    auto* entry = static_cast<RangeTblEntry*>(linitial(query->rtable));
    for (int i = 1; i <= RelationGetNumberOfAttributes(relation); i++)
        mark_selected(query, entry, static_cast<AttrNumber>(i));
}

} // namespace ke::pg

extern "C" {
#include "catalog/objectaddress.h"
#include "catalog/pg_language.h"
#include "catalog/pg_type.h"
#include "utils/builtins.h"
}

namespace ke::pg {

// A procedure in SQL without parameters: its text, or the analyzed body. Nothing is checked.
inline ObjectAddress create_procedure(const char* name, Oid schema, Oid owner, const char* text,
                                      Node* body)
{
    const Datum none = PointerGetDatum(nullptr);
    return ProcedureCreate(name, schema, false, false, VOIDOID, owner, SQLlanguageId, InvalidOid,
                           text, nullptr, body, PROKIND_PROCEDURE, false, false, false,
                           PROVOLATILE_VOLATILE, PROPARALLEL_UNSAFE, buildoidvector(nullptr, 0),
                           none, none, none, NIL, none,
#if PG_VERSION_NUM >= 180000
                           NIL,
#endif
                           none, InvalidOid, 100, 0);
}

} // namespace ke::pg
