#include "stream/rebuild.h"

extern "C" {
#include "commands/copy.h"
#include "commands/progress.h"
#include "pgstat.h"
#include "utils/lsyscache.h"
}

#include <algorithm>

namespace ke::stream {

namespace {

// Batches are small where readers shall see rows soon, which is no matter here.
constexpr int least_rows = 1024;

// Columns by name: numbers differ where the view's table has lost some.
std::vector<std::int16_t> columns_of(Oid beside, const registered_view& v)
{
    std::vector<std::int16_t> found(v.target_columns.size());
    const std::int16_t* numbers = v.target_columns.data();
    std::int16_t* out = found.data();
    const std::size_t count = found.size();
    pg::call([=, target = v.target] {
        for (std::size_t i = 0; i < count; i++)
            out[i] = get_attnum(beside, get_attname(target, numbers[i], false));
    });
    return found;
}

} // namespace

rebuilding::rebuilding(const registered_view& is, Oid beside, const topic::line& line)
    : line_(line), name_(is.name)
{
    view_.is = is;
    view_.is.target_columns = columns_of(beside, is);
    view_.is.target = view_.is.view = beside;
    share_.view = &view_;
    share_.rows.topic_table = is.topic_table;
    share_.room = is.options.max_dead_letters;
    plan();
}

rebuilding::~rebuilding()
{
    try {
        free_plan(view_.plan);
    } catch (...) { // the transaction's end frees what is left
    }
}

// Over no records first: functions of the query may read more of the topic than its plan shows, and a
// view without GROUP BY has its row.
void rebuilding::plan()
{
    for (;;) {
        {
            topic::batch planned_for; // no broker is asked for estimates
            topic::batch_in_force scope(&planned_for);
            plan_view(view_);
        }
        view_.plan.columns =
            columns_for(view_.is.topic_table, view_.is.owner, view_.plan.attributes,
                        view_.is.options.on_error == "dead_letter");
        share_.rows.columns = &view_.plan.columns;
        replay nothing{view_, share_.rows};
        share_.rows.missing.clear();
        try {
            run_replay(nothing, 0);
            return;
        } catch (const pg::pg_error&) {
            if (share_.rows.missing.empty())
                throw;
            want_attributes(view_, share_.rows);
        }
    }
}

void rebuilding::read(ranges wanted)
{
    std::erase_if(wanted, [](const topic::partition_ranges& r) { return r.ranges.empty(); });
    left_ = std::move(wanted);
    while (!left_.empty())
        read_on();
}

// To the end of what is left, or to where something has to be read again.
void rebuilding::read_on()
{
    topic::reader reader(line_, view_.plan.columns.plan, left_, false);
    try {
        apply_batches(reader);
    } catch (const pg::pg_error&) {
        if (piece_.is_open())
            undo_piece();
        if (share_.rows.missing.empty())
            throw;
        // A function of the query reads a column that it did not read so far.
        want_attributes(view_, share_.rows);
        share_.rows.chunks.clear();
        plan();
    } catch (...) {
        if (piece_.is_open())
            undo_piece();
        throw;
    }
}

void rebuilding::apply_batches(topic::reader& reader)
{
    const view_options& o = view_.is.options;
    const auto rows = static_cast<std::size_t>(std::max(o.batch_rows, least_rows));
    for (;;) {
        pg::call([] { CHECK_FOR_INTERRUPTS(); });
        show(reader, reader.gather(rows, static_cast<std::uint64_t>(o.batch_bytes)));
        if (messages_ == 0)
            break;
        if (careful_ == 0 && !apply()) {
            careful_ = count_ + 1;
            size_ = 1;
            undo_piece();
            if (careful_ > 1)
                return; // from the piece's beginning
        }
        if (careful_ > 0) {
            apply_carefully();
            careful_--;
        }
        pass();
        if (piece_.is_open() && ++count_ == size_)
            end_piece();
    }
    if (piece_.is_open())
        end_piece();
    left_.clear();
}

void rebuilding::end_piece()
{
    piece_.release();
    size_ *= 2;
}

void rebuilding::undo_piece()
{
    piece_.roll_back();
    left_ = std::move(before_.left);
    records_ = before_.records;
    share_.in_a_row = before_.in_a_row;
    share_.room = before_.room;
    share_.after_last = before_.after_last;
}

// Makes the chunks what a scan of the topic table returns.
void rebuilding::show(const topic::reader& reader, const std::vector<ingest::chunk*>& chunks)
{
    topic::batch& rows = share_.rows;
    rows.topics.clear();
    rows.chunks = chunks;
    rows.missing.clear();
    messages_ = 0;
    for (const ingest::chunk* c : chunks) {
        messages_ += static_cast<std::uint32_t>(c->rows.messages.size());
        for (const ingest::advance& a : c->advances)
            while (rows.topics.size() <= a.topic.value)
                rows.topics.push_back(
                    reader.topic(topic_number(static_cast<std::uint16_t>(rows.topics.size()))));
    }
}

// The batch is stored: what is left to read lies behind it.
void rebuilding::pass()
{
    for (const ingest::chunk* c : share_.rows.chunks)
        for (const ingest::advance& a : c->advances)
            for (topic::partition_ranges& p : left_)
                if (p.partition == a.partition.value &&
                    p.topic == share_.rows.topics[a.topic.value])
                    p.ranges[0].first = std::max(p.ranges[0].first, a.next.value);
    records_ += messages_;
    pgstat_progress_update_param(PROGRESS_COPY_TUPLES_PROCESSED, records_);
}

// As part of the piece; false: some record is not to be stored.
bool rebuilding::apply()
{
    if (!piece_.is_open()) {
        before_ = {left_, share_.in_a_row, share_.room, records_, share_.after_last};
        count_ = 0;
        piece_.begin();
    }
    try {
        run_piece(view_, share_.rows, 0, messages_);
    } catch (const pg::pg_error& e) {
        if (describe_applied(e.data()).what != remedy::record)
            throw;
        return false;
    }
    judge(undecoded());
    return true;
}

void rebuilding::apply_carefully()
{
    std::vector<refused> bad = undecoded();
    std::optional<trouble> schema; // class 42, and nothing else so far
    replay r{view_, share_.rows};
    r.refuse = [&](std::uint32_t number, const trouble& t) {
        if (looks_like_schema(t) && r.good == 0)
            schema = t;
        refused f = at_message(share_, number);
        give_reason(f, t, share_.rows.at_column);
        bad.push_back(std::move(f));
        return view_.is.options.on_error != "stop";
    };
    run_replay(r, messages_);
    if (schema && r.good == 0) {
        schema->what = remedy::schema;
        raise_trouble(*schema);
    }
    judge(std::move(bad));
}

// Records of the batch that did not decode.
std::vector<refused> rebuilding::undecoded()
{
    std::vector<refused> all;
    std::uint32_t base = 0;
    for (const ingest::chunk* c : share_.rows.chunks) {
        for (const decode::reject& r : c->rows.rejects) {
            refused f = at_message(share_, base + r.message);
            f.record = &r.record;
            give_reason(f, r, *view_.plan.columns.plan);
            all.push_back(std::move(f));
        }
        base += static_cast<std::uint32_t>(c->rows.messages.size());
    }
    return all;
}

void rebuilding::judge(std::vector<refused> bad)
{
    std::sort(bad.begin(), bad.end(),
              [](const refused& a, const refused& b) { return a.number < b.number; });
    share_.refusals.clear();
    for (refused& f : bad) {
        if (auto stop = must_stop(share_, f))
            throw pg::fault_error({.kind = fault_kind::bad_record,
                                   .message = "REFRESH of \"" + name_ +
                                              "\" met a record at which "
                                              "the view stops",
                                   .detail = stop->reason + ": " + stop->error,
                                   .hint =
                                       "The view is as it was. Mend the query, the table or the "
                                       "format, or change kafka.on_error."});
        note(share_, std::move(f));
    }
    write_refusals(share_);
    share_.room -= static_cast<std::int64_t>(share_.refusals.size());
    // One refused after the other goes on across batches.
    share_.after_last = share_.after_last == messages_ ? 0 : UINT32_MAX;
}

} // namespace ke::stream
