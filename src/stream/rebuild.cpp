#include "stream/rebuild.h"

extern "C" {
#include "commands/copy.h"
#include "commands/progress.h"
#include "pgstat.h"
#include "utils/lsyscache.h"
}

#include <algorithm>

#include "stream/replay.h"

namespace ke::stream {

namespace {

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
        view_.plan.columns = columns_for(view_.is.topic_table, view_.is.owner, view_.plan.attributes,
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

void rebuilding::read(std::vector<topic::partition_ranges> ranges)
{
    std::erase_if(ranges, [](const topic::partition_ranges& r) { return r.ranges.empty(); });
    if (ranges.empty())
        return;
    topic::reader reader(line_, view_.plan.columns.plan, std::move(ranges), false);
    while (ingest::chunk* c = reader.next()) {
        pg::call([] { CHECK_FOR_INTERRUPTS(); });
        apply(reader, *c);
        records_ += static_cast<std::int64_t>(c->rows.messages.size());
        pgstat_progress_update_param(PROGRESS_COPY_TUPLES_PROCESSED, records_);
    }
}

void rebuilding::apply(topic::reader& reader, ingest::chunk& chunk)
{
    topic::batch& rows = share_.rows;
    rows.topics.clear();
    for (const decode::message_ref& m : chunk.rows.messages)
        while (rows.topics.size() <= m.topic.value)
            rows.topics.push_back(reader.topic(
                topic_number(static_cast<std::uint16_t>(rows.topics.size()))));
    rows.chunks = {&chunk};

    std::vector<refused> bad = refused_of(chunk);
    std::optional<trouble> schema; // class 42, and nothing else so far
    replay r{view_, rows};
    r.refuse = [&](std::uint32_t number, const trouble& t) {
        if (looks_like_schema(t) && r.good == 0)
            schema = t;
        refused f = at_message(share_, number);
        give_reason(f, t, rows.at_column);
        bad.push_back(std::move(f));
        return view_.is.options.on_error != "stop";
    };
    run_replay(r, static_cast<std::uint32_t>(chunk.rows.messages.size()));
    if (schema && r.good == 0) {
        schema->what = remedy::schema;
        raise_trouble(*schema);
    }
    judge(std::move(bad));
    // One refused after the other goes on across chunks.
    share_.after_last = share_.after_last == chunk.rows.messages.size() ? 0 : UINT32_MAX;
    rows.chunks.clear();
}

// Those that did not decode.
std::vector<refused> rebuilding::refused_of(const ingest::chunk& chunk)
{
    std::vector<refused> all;
    for (const decode::reject& r : chunk.rows.rejects) {
        refused f = at_message(share_, r.message);
        f.record = &r.record;
        give_reason(f, r, *view_.plan.columns.plan);
        all.push_back(std::move(f));
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
                                   .message = "REFRESH of \"" + name_ + "\" met a record at which "
                                              "the view stops",
                                   .detail = stop->reason + ": " + stop->error,
                                   .hint = "The view is as it was. Mend the query, the table or the "
                                           "format, or change kafka.on_error."});
        note(share_, std::move(f));
    }
    write_refusals(share_);
    share_.room -= static_cast<std::int64_t>(share_.refusals.size());
}

} // namespace ke::stream
