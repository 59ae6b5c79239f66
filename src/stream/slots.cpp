// Database and worker slots: who is there, who is told of a commit, how a worker comes and goes.
// All plain members are changed under control::lock; nothing here raises with it held.
#include "stream/shmem_layout.h"

extern "C" {
#include "postmaster/bgworker.h"
#include "storage/ipc.h"
}

#include <cstring>

namespace ke::stream {

namespace {

worker_slot* mine;           // a worker's own
std::uint32_t my_generation; //

void leave_slot(int code, Datum)
{
    LWLockReleaseAll(); // a lock may be held still, by whatever failed
    locked l;
    if (!mine || mine->generation != my_generation)
        return;
    mine->process.clear();
    mine->statistics.batch_began_at = 0;
    mine->exited = true;
    mine->exit_code = code;
    database_slot* d = mine->home;
    mine = nullptr;
    if (d->supervisor.pid != 0)
        d->supervisor.set_latch();
    ConditionVariableBroadcast(&d->moved);
}

// With the lock held: whether the slot's worker is there.
bool is_alive(int slot, std::uint32_t generation)
{
    if (slot < 0)
        return false;
    const worker_slot& w = shared->worker[slot];
    return w.database != InvalidOid && w.generation == generation && w.process.pid != 0;
}

} // namespace

database_slot* find_database(Oid database)
{
    for (int i = 0; i < shared->databases; i++)
        if (shared->database[i].database == database)
            return &shared->database[i];
    return nullptr;
}

database_slot* take_database(Oid database)
{
    if (database_slot* d = find_database(database))
        return d;
    database_slot* d = find_database(InvalidOid);
    if (d)
        d->database = database;
    return d;
}

// Counters go on counting, so that nobody takes a successor's for his own.
void free_database(database_slot* d)
{
    d->database = InvalidOid;
    d->supervisor.clear();
    d->generation++;
    d->wanted = d->launched = d->staying = d->no_process = false;
    d->blocked = d->failures = 0;
    d->next_start = d->launched_at = 0;
}

void free_worker(worker_slot* w)
{
    w->database = InvalidOid;
    w->home = nullptr;
    w->process.clear();
    w->generation++;
    w->stop = w->exited = false;
    w->exit_code = 0;
    w->launched_at = 0;
    worker_statistics& s = w->statistics;
    for (auto* n : {&s.rows, &s.bytes, &s.batches, &s.rejects, &s.fetch_us, &s.decode_us,
                    &s.ring_us, &s.apply_us, &s.commit_us, &s.wal_bytes, &s.topics, &s.partitions,
                    &s.last_batch_at, &s.batch_began_at})
        *n = 0;
    s.views = 0;
    s.held_by = InvalidOid;
}

worker_slot* my_slot()
{
    return mine;
}

void bump_database(Oid database) noexcept
{
    if (!shared)
        return;
    locked l;
    database_slot* d = take_database(database);
    if (!d) {
        shared->look_everywhere = true;
        shared->launcher.set_latch();
        return;
    }
    d->commits++;
    if (d->supervisor.pid != 0) {
        d->supervisor.set_latch();
        for (int i = 0; i < shared->workers; i++)
            if (shared->worker[i].database == database)
                shared->worker[i].process.set_latch();
    } else {
        d->wanted = true;
        shared->launcher.set_latch();
    }
    ConditionVariableBroadcast(&d->moved);
}

bool attach_worker(int slot, Oid* database)
{
    if (!shared || slot < 0 || slot >= shared->workers)
        return false;
    pg::call([] { attach_tables(); });
    std::uint32_t generation;
    std::memcpy(&generation, MyBgworkerEntry->bgw_extra, sizeof generation);
    {
        locked l;
        worker_slot* w = &shared->worker[slot];
        if (w->database == InvalidOid || w->generation != generation || w->stop ||
            w->home->blocked > 0)
            return false;
        w->process.become_me();
        mine = w;
        my_generation = generation;
        *database = w->database;
        if (w->home->supervisor.pid != 0)
            w->home->supervisor.set_latch();
    }
    before_shmem_exit(leave_slot, 0);
    return true;
}

std::uint64_t database_generation()
{
    return mine->home->commits.load() + mine->home->assignments.load();
}

std::vector<unit> my_units()
{
    std::vector<unit> result;
    bool let_go = false;
    const int me = static_cast<int>(mine - shared->worker);
    // Collected before anything that may throw a C++ exception: the scan holds a lock.
    result.reserve(64);
    for (;;) {
        std::size_t wanted = 0;
        with_table([&] {
            dshash_seq_status s;
            dshash_seq_init(&s, units, true);
            while (auto* u = static_cast<unit_entry*>(dshash_seq_next(&s))) {
                if (u->key.database != mine->database)
                    continue;
                const bool assigned = u->slot == me && u->slot_generation == my_generation;
                const bool held = u->holder == me && u->holder_generation == my_generation;
                if (!assigned && held) {
                    u->holder = -1; // the new one may begin
                    let_go = true;
                }
                if (!assigned)
                    continue;
                if (!held && is_alive(u->holder, u->holder_generation))
                    continue; // its worker has not let go yet; we are told when it does
                u->holder = me;
                u->holder_generation = my_generation;
                if (wanted++ < result.capacity())
                    result.push_back({u->key.topic_table, u->key.consumer, u->consumers});
            }
            dshash_seq_term(&s);
        });
        if (wanted <= result.size())
            break;
        result.clear();
        result.reserve(wanted * 2);
    }
    if (let_go) {
        locked l;
        mine->home->assignments++;
        for (int i = 0; i < shared->workers; i++)
            if (i != me && shared->worker[i].database == mine->database)
                shared->worker[i].process.set_latch();
    }
    return result;
}

worker_statistics& my_statistics()
{
    return mine->statistics;
}

bool told_to_leave() noexcept
{
    locked l(LW_SHARED);
    return mine->stop;
}

void letters_wait()
{
    if (mine && mine->home) {
        mine->home->letters++;
        call_supervisor();
    }
}

void call_supervisor()
{
    if (mine && mine->home)
        mine->home->supervisor.set_latch();
}

} // namespace ke::stream
