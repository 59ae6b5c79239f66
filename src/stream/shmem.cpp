// The shared memory of launcher, supervisors, workers and sessions: made by the postmaster when the
// library is preloaded, attached to by any process on first use. A crash of a process makes the
// postmaster start all anew, with this memory empty; the catalogs then tell all again.
#include "stream/shmem_layout.h"

extern "C" {
#include "common/hashfn.h"
#include "mb/pg_wchar.h"
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
}

#include <cstring>
#include <new>

namespace ke::stream {

control* shared = nullptr;
dsa_area* area = nullptr;
dshash_table* units = nullptr;
dshash_table* views = nullptr;
dshash_table* positions = nullptr;
dshash_table* ends = nullptr;

namespace {

constexpr Size area_size = 1024 * 1024; // in the main segment; beyond it the server adds segments
constexpr const char* tranche_name = "kafka_engine";

shmem_request_hook_type earlier_request_hook;
shmem_startup_hook_type earlier_startup_hook;

// A database whose supervisor could not be started keeps its slot, hence more than can run.
int database_slots()
{
    return max_worker_processes + 56;
}
int worker_slots()
{
    return max_worker_processes;
}

Size shared_size()
{
    Size size = MAXALIGN(sizeof(control));
    size = add_size(size, MAXALIGN(mul_size(database_slots(), sizeof(database_slot))));
    size = add_size(size, MAXALIGN(mul_size(worker_slots(), sizeof(worker_slot))));
    return add_size(size, area_size);
}

template <class Key, class Entry>
dshash_parameters table_of(int tranche)
{
    dshash_parameters p = {};
    p.key_size = sizeof(Key);
    p.entry_size = sizeof(Entry);
    pg::keys_are_bytes(&p);
    p.tranche_id = tranche;
    return p;
}
#define UNITS table_of<unit_key, unit_entry>(shared->tranche)
#define VIEWS table_of<view_key, view_entry>(shared->tranche)
#define POSITIONS table_of<position_key, position_entry>(shared->tranche)
#define ENDS table_of<end_key, end_entry>(shared->tranche)

dshash_table_handle make_table(dsa_area* in, const dshash_parameters& p)
{
    dshash_table* t = dshash_create(in, &p, nullptr);
    const dshash_table_handle h = dshash_get_hash_table_handle(t);
    dshash_detach(t);
    return h;
}

// Postmaster. The tables must lie in the main segment, which the size limit sees to.
void make_tables()
{
    dsa_area* made = dsa_create_in_place(shared->area, area_size, shared->tranche, nullptr);
    dsa_pin(made);
    dsa_set_size_limit(made, area_size);
    shared->units = make_table(made, UNITS);
    shared->views = make_table(made, VIEWS);
    shared->positions = make_table(made, POSITIONS);
    shared->ends = make_table(made, ENDS);
    dsa_set_size_limit(made, -1);
    dsa_detach(made);
}

void on_request()
{
    if (earlier_request_hook)
        earlier_request_hook();
    RequestAddinShmemSpace(shared_size());
    RequestNamedLWLockTranche(tranche_name, 1);
}

void on_startup()
{
    if (earlier_startup_hook)
        earlier_startup_hook();
    bool found;
    LWLockAcquire(AddinShmemInitLock, LW_EXCLUSIVE);
    char* at = static_cast<char*>(ShmemInitStruct(tranche_name, shared_size(), &found));
    shared = reinterpret_cast<control*>(at);
    if (!found) {
        new (shared) control;
        shared->lock = &GetNamedLWLockTranche(tranche_name)->lock;
        shared->tranche = shared->lock->tranche;
        shared->databases = database_slots();
        shared->workers = worker_slots();
        at += MAXALIGN(sizeof(control));
        shared->database = reinterpret_cast<database_slot*>(at);
        for (int i = 0; i < shared->databases; i++)
            ConditionVariableInit(&(new (&shared->database[i]) database_slot)->moved);
        at += MAXALIGN(shared->databases * sizeof(database_slot));
        shared->worker = reinterpret_cast<worker_slot*>(at);
        for (int i = 0; i < shared->workers; i++)
            new (&shared->worker[i]) worker_slot;
        at += MAXALIGN(shared->workers * sizeof(worker_slot));
        shared->area = at;
        make_tables();
    }
    LWLockRelease(AddinShmemInitLock);
}

template <class Key, class Entry>
void forget_database(dshash_table* table, Oid database)
{
    dshash_seq_status s;
    dshash_seq_init(&s, table, true);
    while (auto* e = static_cast<Entry*>(dshash_seq_next(&s)))
        if (e->key.database == database)
            dshash_delete_current(&s);
    dshash_seq_term(&s);
}

} // namespace

void init_shared_memory()
{
    earlier_request_hook = shmem_request_hook;
    shmem_request_hook = on_request;
    earlier_startup_hook = shmem_startup_hook;
    shmem_startup_hook = on_startup;
}

bool attach_tables()
{
    if (!shared)
        return false;
    if (ends)
        return true;
    MemoryContext old = MemoryContextSwitchTo(TopMemoryContext);
    if (!area) {
        area = dsa_attach_in_place(shared->area, nullptr);
        dsa_pin_mapping(area);
        on_shmem_exit(dsa_on_shmem_exit_release_in_place, PointerGetDatum(shared->area));
    }
    const dshash_parameters u = UNITS, v = VIEWS, p = POSITIONS, e = ENDS;
    units = dshash_attach(area, &u, shared->units, nullptr);
    views = dshash_attach(area, &v, shared->views, nullptr);
    positions = dshash_attach(area, &p, shared->positions, nullptr);
    ends = dshash_attach(area, &e, shared->ends, nullptr);
    MemoryContextSwitchTo(old);
    return true;
}

void process_ref::become_me()
{
    pid = MyProcPid;
    number = pg::my_process_number();
}

void purge_database(Oid database)
{
    with_table([&] {
        attach_tables();
        forget_database<unit_key, unit_entry>(units, database);
        forget_database<view_key, view_entry>(views, database);
        forget_database<position_key, position_entry>(positions, database);
        forget_database<end_key, end_entry>(ends, database);
    });
}

topic_hash hash_of(const char* topic)
{
    const auto* s = reinterpret_cast<const unsigned char*>(topic);
    const int n = static_cast<int>(std::strlen(topic));
    return {hash_bytes_extended(s, n, 0x6b61666b61), hash_bytes_extended(s, n, 0x656e67696e65)};
}

void fill(char* to, std::size_t size, const std::string& text)
{
    const int n =
        pg_mbcliplen(text.data(), static_cast<int>(text.size()), static_cast<int>(size) - 1);
    std::memcpy(to, text.data(), n);
    to[n] = '\0';
}

} // namespace ke::stream
