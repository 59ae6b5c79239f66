// DROP DATABASE and its like, run from a session in another database while a supervisor and workers
// are connected to it: they are stopped and kept away until the command's transaction has ended, so
// that the command works without FORCE. Session's process; plain data only.
#include "stream/processes.h"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_database.h"
#include "commands/dbcommands.h"
#include "commands/defrem.h"
#include "nodes/parsenodes.h"
#include "nodes/pg_list.h"
#include "storage/ipc.h"
#include "utils/acl.h"
#include "utils/syscache.h"
#include "utils/timestamp.h"
#include "utils/wait_event.h"
}

#include <csignal>

#include "stream/after_commit.h"
#include "stream/shmem_layout.h"

namespace ke::stream {

namespace {

constexpr TimestampTz patience = 5000000;

Oid blocked;      // by this session
Oid to_look_into; // once this transaction has committed
bool registered;

void unblock()
{
    if (!OidIsValid(blocked))
        return;
    locked l;
    database_slot* d = find_database(blocked);
    blocked = InvalidOid;
    if (!d || d->blocked == 0)
        return;
    d->blocked--;
    shared->launcher.set_latch();
}

void on_transaction_end(bool committed)
{
    unblock();
    if (committed && OidIsValid(to_look_into))
        bump_database(to_look_into);
    to_look_into = InvalidOid;
}

void on_exit(int, Datum)
{
    unblock();
}

void listen()
{
    if (registered)
        return;
    after_transactions(on_transaction_end);
    before_shmem_exit(on_exit, 0);
    registered = true;
}

// Tells all processes of ours in the database to end; whether there are any.
bool terminate(database_slot* d)
{
    bool any = false;
    locked l;
    if (d->supervisor.pid != 0) {
        kill(d->supervisor.pid, SIGTERM);
        any = true;
    }
    for (int i = 0; i < shared->workers; i++) {
        worker_slot* w = &shared->worker[i];
        if (w->database != d->database)
            continue;
        w->stop = true;
        if (w->process.pid != 0) {
            kill(w->process.pid, SIGTERM);
            any = true;
        }
    }
    return any;
}

bool owns(Oid database)
{
    HeapTuple tuple = SearchSysCache1(DATABASEOID, ObjectIdGetDatum(database));
    if (!HeapTupleIsValid(tuple))
        return false;
    const Oid owner = reinterpret_cast<Form_pg_database>(GETSTRUCT(tuple))->datdba;
    ReleaseSysCache(tuple);
    return has_privs_of_role(GetUserId(), owner);
}

DefElem* find_option(List* options, const char* name)
{
    ListCell* lc;
    foreach (lc, options)
        if (strcmp(lfirst_node(DefElem, lc)->defname, name) == 0)
            return lfirst_node(DefElem, lc);
    return nullptr;
}

} // namespace

// What a statement needs without connections; InvalidOid: nothing, or the caller may not do it anyway.
static Oid database_of(Node* node)
{
    const char* name = nullptr;
    switch (nodeTag(node)) {
    case T_DropdbStmt:
        name = castNode(DropdbStmt, node)->dbname;
        break;
    case T_RenameStmt:
        if (castNode(RenameStmt, node)->renameType == OBJECT_DATABASE)
            name = castNode(RenameStmt, node)->subname;
        break;
    case T_AlterDatabaseStmt:
        if (find_option(castNode(AlterDatabaseStmt, node)->options, "tablespace"))
            name = castNode(AlterDatabaseStmt, node)->dbname;
        break;
    case T_CreatedbStmt:
        if (DefElem* d = find_option(castNode(CreatedbStmt, node)->options, "template"))
            name = d->arg ? defGetString(d) : nullptr;
        break;
    default:
        break;
    }
    const Oid database = name ? get_database_oid(name, true) : InvalidOid;
    if (!OidIsValid(database))
        return InvalidOid;
    return owns(database) ? database : InvalidOid;
}

void before_database_statement(Node* node)
{
    before_database_command(database_of(node));
}

void after_database_statement(Node* node)
{
    if (shared && IsA(node, CreatedbStmt))
        look_into_at_commit(get_database_oid(castNode(CreatedbStmt, node)->dbname, true));
}

void before_database_command(Oid database)
{
    if (!shared || !OidIsValid(database) || database == MyDatabaseId)
        return;
    listen();
    unblock();
    database_slot* d;
    {
        locked l;
        d = take_database(database);
        if (!d)
            return; // so many databases with views: the command has to wait for its luck
        d->blocked++;
        blocked = database;
    }
    const TimestampTz until = steady_now() + patience;
    ConditionVariablePrepareToSleep(&d->moved);
    while (terminate(d) && steady_now() < until)
        (void)ConditionVariableTimedSleep(&d->moved, 100, PG_WAIT_EXTENSION);
    ConditionVariableCancelSleep();
}

void look_into_at_commit(Oid database)
{
    if (!shared || !OidIsValid(database))
        return;
    listen();
    to_look_into = database;
}

} // namespace ke::stream
