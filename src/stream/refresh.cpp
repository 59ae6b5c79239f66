// REFRESH MATERIALIZED VIEW of a continuous view: its rows made anew from what its topic still
// holds. Session's thread, in the user's transaction; the worker goes on meanwhile.
//
//   ends of now ── records up to them, into a table beside ── what the worker stored meanwhile
//        ── batches kept off: the last few ── rows exchanged (exchange.h) ── positions, refusals
//
// Until batches are kept off only DDL on the view is. The view's position is in the end the farther
// one of the worker's and the ends, per partition, so that nothing that readers saw goes away for a
// while.
#include "stream/ddl.h"

extern "C" {
#include "catalog/namespace.h"
#include "catalog/pg_type.h"
#include "commands/copy.h"
#include "commands/progress.h"
#include "commands/tablecmds.h"
#include "foreign/foreign.h"
#include "nodes/value.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
}

#include <algorithm>
#include <map>
#include <set>

#include "pg/guc.h"
#include "stream/exchange.h"
#include "stream/rebuild.h"
#include "stream/replay.h"
#include "stream/restored.h"
#include "stream/sql.h"

namespace ke::stream {

namespace {

using offsets = std::map<partition_key, std::int64_t>;

// Rows of (topic, partition, offset), as our catalogs hold them.
struct plain_offset {
    const char* topic;
    int partition;
    std::int64_t offset;
};
struct plain_offsets {
    std::uint64_t count;
    plain_offset* all;
};

offsets read_offsets(Oid view, const char* sql)
{
    plain_offsets found = pg::call([&] {
        MemoryContext to = CurrentMemoryContext;
        sql_arguments a;
        a.add_oid(view);
        spi_stretch spi;
        spi.begin();
        plain_offsets p{run(sql, a), nullptr};
        p.all = static_cast<plain_offset*>(
            MemoryContextAlloc(to, sizeof(plain_offset) * (p.count + 1)));
        for (std::uint64_t i = 0; i < p.count; i++) {
            bool null;
            p.all[i] = {MemoryContextStrdup(to, field(i, 1)), pg_strtoint32(field(i, 2)),
                        DatumGetInt64(
                            SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 3, &null))};
        }
        spi.end();
        return p;
    });
    offsets out;
    for (std::uint64_t i = 0; i < found.count; i++)
        out[{found.all[i].topic, partition_id(found.all[i].partition)}] = found.all[i].offset;
    return out;
}

offsets begun_of(Oid view)
{
    return read_offsets(view,
                        "SELECT topic, partition, first_offset FROM kafka.begun WHERE view = $1");
}

offsets positions_of(Oid view)
{
    return read_offsets(view,
                        "SELECT topic, partition, next_offset FROM kafka.progress WHERE view = $1");
}

// What is to be done, from first to last.
class refreshing {
  public:
    refreshing(Oid view, bool concurrently);
    std::uint64_t run();

  private:
    void lock_relations();
    void look_at_topic();
    void count_absent(const offsets& begun, const offsets& positions);
    void judge_gaps();
    void take_new(const offsets& to);
    void read_up_to(const offsets&);
    std::uint64_t exchange_rows();
    void settle_catalogs();

    registered_view is_;
    bool concurrently_;
    exchange_plan plan_{};
    List* fed_ = NIL;
    Oid beside_ = InvalidOid;
    const char* state_ = nullptr;
    topic::line line_{};
    offsets first_, done_, ends_; // still held from here on; read so far; ends taken at the start
    std::set<partition_key> cut_; // end below the view's position: made anew
    offsets absent_;              // not the table's any more: where the worker left them
    std::int64_t gone_ = 0;       // records that the topic does not hold any more
    std::unique_ptr<rebuilding> work_;
};

refreshing::refreshing(Oid view, bool concurrently)
    : is_(load_view(view)), concurrently_(concurrently)
{
    if (!is_.invalid.empty())
        throw pg::fault_error({.kind = fault_kind::refused_option,
                               .message = "the options of view \"" + is_.name + "\" do not hold",
                               .detail = is_.invalid});
    if (!is_.body.empty())
        throw pg::fault_error(
            {.kind = fault_kind::wrong_object,
             .message = "\"" + is_.name + "\" is a stream and has no rows of its own",
             .hint = "kafka.seek() makes its statements run over records again."});
    const bool own = is_.target == view || pg::call([&] {
                         return get_rel_namespace(is_.target) == get_namespace_oid("kafka", false);
                     });
    if (!own)
        throw pg::fault_error(
            {.kind = fault_kind::wrong_object,
             .message = "cannot refresh \"" + is_.name + "\", which feeds a table of its own life",
             .detail = "With \"kafka.into\" nobody knows which of the table's rows are the view's.",
             .hint = "In one transaction, delete the rows and call kafka.seek(view, 'earliest')."});
}

// By OID, as everybody; not in the way of batches.
void refreshing::lock_relations()
{
    std::map<Oid, LOCKMODE> wanted = {{is_.query, AccessShareLock},
                                      {is_.topic_table, AccessShareLock}};
    wanted[is_.target] = ShareUpdateExclusiveLock;
    for (auto [oid, mode] : wanted)
        pg::call([o = oid, m = mode] { LockRelationOid(o, m); });
}

void refreshing::look_at_topic()
{
    topic::topic_table table = topic::load_topic_table(is_.topic_table, is_.owner);
    line_ = topic::open_line(CurrentMemoryContext, table);
    const ingest::layout layout = topic::ask_topics(line_, table);
    if (!is_.cluster_id.empty() && !layout.cluster_id.empty() &&
        is_.cluster_id != layout.cluster_id)
        throw pg::fault_error({.kind = fault_kind::other_cluster,
                               .message = "another cluster answers at this address",
                               .detail = "The positions belong to cluster " + is_.cluster_id +
                                         ", this one is " + layout.cluster_id + "."});
    const offsets begun = begun_of(is_.view), positions = positions_of(is_.view);
    for (const ingest::watermarks& w : topic::ask_ends(line_, layout)) {
        const auto from = begun.find(w.at);
        const std::int64_t low = w.low.value, began = from == begun.end() ? low : from->second;
        done_[w.at] = first_[w.at] = std::max(began, low);
        ends_[w.at] = w.high.value;
        gone_ += first_[w.at] - began;
        const auto at = positions.find(w.at);
        if (at != positions.end() && at->second > w.high.value) {
            cut_.insert(w.at);
            done_[w.at] = first_[w.at] = std::min(first_[w.at], w.high.value);
            gone_ += at->second - w.high.value;
        }
    }
    count_absent(begun, positions);
}

// Topics and partitions that the table had once.
void refreshing::count_absent(const offsets& begun, const offsets& positions)
{
    for (const auto& [at, from] : begun) {
        if (ends_.contains(at))
            continue;
        const auto position = positions.find(at);
        absent_[at] = position == positions.end() ? from : std::max(from, position->second);
        gone_ += absent_[at] - from;
    }
}

void refreshing::judge_gaps()
{
    if (gone_ == 0)
        return;
    const char* were = gone_ == 1 ? " record is" : " records are";
    const std::string count = std::to_string(gone_) + (gone_ == 1 ? " record" : " records");
    if (!pg::settings::accept_refresh_gap)
        throw pg::fault_error(
            {.kind = fault_kind::offset_out_of_range,
             .message = "the topic does not hold all that view \"" + is_.name + "\" was made of",
             .detail =
                 "Since the view began " + count + " left the topic: their rows would be gone.",
             .hint = "SET kafka.refresh_gap = 'accept' to go on without them."});
    pg::call([&] {
        ereport(NOTICE, (errmsg("%ld%s no longer in the topic, and the rows no longer in the view",
                                static_cast<long>(gone_), were)));
    });
}

// Partitions that the worker has found since: what it stored of them is read from where it began.
// Those that it has not are its to find.
void refreshing::take_new(const offsets& to)
{
    const auto is_new = [&](const auto& p) {
        return !done_.contains(p.first) && !absent_.contains(p.first);
    };
    if (std::none_of(to.begin(), to.end(), is_new))
        return;
    const offsets begun = begun_of(is_.view);
    for (const auto& [at, next] : to)
        if (const auto from = begun.find(at); is_new(std::pair(at, next)) && from != begun.end())
            done_[at] = first_[at] = from->second;
}

void refreshing::read_up_to(const offsets& to)
{
    take_new(to);
    std::vector<topic::partition_ranges> ranges;
    for (auto& [at, done] : done_) {
        const auto end = to.find(at);
        if (end == to.end() || end->second <= done || (cut_.contains(at) && &to != &ends_))
            continue;
        ranges.push_back({at.topic, at.partition.value, {{done, end->second - 1}}});
        done = end->second;
    }
    work_->read(std::move(ranges));
}

std::uint64_t refreshing::exchange_rows()
{
    return pg::call([&]() -> std::uint64_t {
        if (plan_.way == exchange_way::swap)
            return swap_rows(is_.target, beside_);
        LockRelationOid(is_.target, ShareRowExclusiveLock);
        owner_scope before = become_owner(is_);
        const std::uint64_t n = apply_difference(is_.target, beside_, fed_, plan_.keys);
        become_self(before);
        return n;
    });
}

// Positions only where the worker is behind; where the view begins from now on; refused records.
void refreshing::settle_catalogs()
{
    std::vector<std::pair<partition_key, std::int64_t>> done(done_.begin(), done_.end());
    std::vector<std::pair<partition_key, std::int64_t>> absent(absent_.begin(), absent_.end());
    pg::call([&] {
        spi_stretch spi;
        spi.begin();
        sql_arguments both;
        both.add_oid(is_.view);
        both.add_oid(beside_);
        // What went to the dead-letter topic once does not go there again.
        stream::run("UPDATE kafka.dead_letter_log n SET to_topic = NULL, stage = NULL"
                    " FROM kafka.dead_letter_log o WHERE o.view = $1 AND n.view = $2"
                    " AND o.topic = n.topic AND o.partition = n.partition"
                    " AND o.record_offset = n.record_offset AND o.to_topic IS NULL",
                    both);
        auto place = [&](const partition_key& at, std::int64_t next) {
            sql_arguments a;
            a.add_oid(is_.view);
            a.add_text(at.topic.c_str());
            a.add(INT4OID, Int32GetDatum(at.partition.value));
            a.add(INT8OID, Int64GetDatum(next));
            return a;
        };
        for (const auto& [at, next] : done) {
            sql_arguments a = place(at, next);
            stream::run("INSERT INTO kafka.progress AS p (view, topic, partition, next_offset)"
                        " VALUES ($1, $2, $3, $4) ON CONFLICT (view, topic, partition) DO UPDATE"
                        " SET next_offset = $4, leader_epoch = NULL, mark_offset = NULL,"
                        " mark_time = NULL, mark_size = NULL WHERE p.next_offset <> $4",
                        a);
            a.add(INT8OID, Int64GetDatum(first_.at(at)));
            stream::run("DELETE FROM kafka.dead_letter_log WHERE view = $1 AND topic = $2"
                        " AND partition = $3 AND record_offset < $4 AND record_offset >= $5",
                        a);
            a.count = 4;
            a.values[3] = a.values[4];
            stream::run("INSERT INTO kafka.begun (view, topic, partition, first_offset)"
                        " VALUES ($1, $2, $3, $4) ON CONFLICT (view, topic, partition) DO UPDATE"
                        " SET first_offset = $4",
                        a);
        }
        // Should they come back, they go on where they were left, and the view has them from there.
        for (const auto& [at, next] : absent)
            stream::run("UPDATE kafka.begun SET first_offset = $4"
                        " WHERE view = $1 AND topic = $2 AND partition = $3",
                        place(at, next));
        sql_arguments view;
        view.add_oid(is_.view);
        stream::run("DELETE FROM kafka.skip_log WHERE view = $1", view);
        stream::run("UPDATE kafka.dead_letter_log SET view = $1 WHERE view = $2", both);
        stream::run("UPDATE kafka.skip_log SET view = $1 WHERE view = $2", both);
        spi.end();
    });
}

std::uint64_t refreshing::run()
{
    lock_relations();
    const Oid server = pg::call([&] { return GetForeignTable(is_.topic_table)->serverid; });
    check_usage(server, is_.owner);
    const auto* columns = is_.target_columns.data();
    const std::size_t count = is_.target_columns.size();
    pg::call([&] {
        for (std::size_t i = 0; i < count; i++)
            fed_ = lappend(fed_, makeString(get_attname(is_.target, columns[i], false)));
        plan_ = plan_exchange(is_.target, fed_, concurrently_, get_rel_name(is_.view));
    });
    look_at_topic();
    judge_gaps();
    beside_ = pg::call([&] { return make_beside(is_.target, is_.owner); });
    pg::call([&] {
        pgstat_progress_start_command(PROGRESS_COMMAND_COPY, is_.target);
        pgstat_progress_update_param(PROGRESS_COPY_COMMAND, PROGRESS_COPY_COMMAND_FROM);
        pgstat_progress_update_param(PROGRESS_COPY_TYPE, PROGRESS_COPY_TYPE_CALLBACK);
    });
    work_ = std::make_unique<rebuilding>(is_, beside_, line_);
    read_up_to(ends_);
    read_up_to(positions_of(is_.view));
    pg::call([&] {
        keep_batches_off(is_.query);
        state_ = look_up(is_.view, true).state;
        lock_positions(is_.view);
    });
    read_up_to(positions_of(is_.view));
    work_.reset();
    pg::call([] { pgstat_progress_end_command(); });
    const std::uint64_t rows = exchange_rows();
    settle_catalogs();
    pg::call([&] {
        drop_beside(beside_);
        log_state(is_.view, state_, "refreshed");
        notify_at_commit();
    });
    return rows;
}

} // namespace

std::uint64_t refresh_continuous_view(RefreshMatViewStmt* stmt)
{
    if (stmt->skipData)
        ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                        errmsg("a continuous view cannot be refreshed WITH NO DATA"),
                        errhint("To empty it, in one transaction: TRUNCATE its table, and call "
                                "kafka.seek(view, 'latest').")));
    const Oid view = RangeVarGetRelidExtended(stmt->relation, ShareUpdateExclusiveLock, 0,
                                              RangeVarCallbackOwnsRelation, nullptr);
    if (adopt_copies(
            GetUserNameFromId(GetUserId(), false))) // whose columns have numbers of elsewhere
        record_dependencies();
    const int level = NewGUCNestLevel();
    settle_session();
    const std::uint64_t rows = pg::entry([&] { return refreshing(view, stmt->concurrent).run(); });
    AtEOXact_GUC(false, level);
    return rows;
}

} // namespace ke::stream
