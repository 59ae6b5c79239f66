// What becomes of a view when records of it are refused: on_error and the limits, and how a view
// stops. Server's thread.
#include "pg/compat.h"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/builtins.h"
}

#include "stream/share.h"
#include "stream/sql.h"

namespace ke::stream {

namespace {

std::string error_of(const refused& r)
{
    std::string s = r.reason;
    if (!r.detail.empty())
        s += " (" + r.detail + ")";
    return s + " [" + r.sqlstate + "]";
}

std::string place_of(const refused& r)
{
    std::string s = "record at topic \"" + r.topic + "\", partition " +
                    std::to_string(r.partition) + ", offset " + std::to_string(r.offset) +
                    " cannot be stored";
    if (!r.column.empty())
        s += ": column \"" + r.column + "\"";
    return s;
}

} // namespace

void give_reason(refused& f, const decode::reject& r, const decode::row_plan& plan)
{
    f.stage = "VALUE_CONVERTER";
    f.sqlstate = r.sqlstate;
    f.reason = r.reason;
    f.detail = r.detail;
    if (r.column >= 0)
        f.column = plan.columns[static_cast<std::size_t>(r.column)].name;
}

void give_reason(refused& f, const trouble& t, const char* at_column)
{
    f.sqlstate = t.code();
    f.reason = t.message;
    f.detail = t.detail;
    f.column = t.column.empty() ? at_column : t.column;
}

std::optional<stop_report> must_stop(const share& s, const refused& f)
{
    const view_options& o = s.view->is.options;
    if (o.on_error == "stop")
        return stop_report{place_of(f), error_of(f)};
    const std::int64_t before = f.number == s.after_last ? s.in_a_row : 0;
    if (before >= o.max_errors_in_a_row)
        return stop_report{
            std::to_string(before) +
                " records in a row could not be stored "
                "(kafka.max_errors_in_a_row): mend the query, the table or the format, "
                "then kafka.retry and kafka.resume",
            place_of(f) + ": " + error_of(f)};
    if (o.on_error == "dead_letter" && static_cast<std::int64_t>(s.refusals.size()) >= s.room)
        return stop_report{"kafka.dead_letters holds " + std::to_string(o.max_dead_letters) +
                               " records of the view (kafka.max_dead_letters): kafka.retry or "
                               "kafka.discard them, then kafka.resume",
                           place_of(f) + ": " + error_of(f)};
    return std::nullopt;
}

void note(share& s, refused f)
{
    s.in_a_row = f.number == s.after_last ? s.in_a_row + 1 : 1;
    s.after_last = f.number + 1;
    s.refusals.push_back(std::move(f));
}

std::int64_t in_a_row_after(const share& s)
{
    return s.after_last == s.cut ? s.in_a_row : 0;
}

bool write_stop(Oid view, const stop_report& report)
{
    bool done = pg::call([&] {
        spi_stretch spi;
        spi.begin();
        sql_arguments row;
        row.add_oid(view);
        // Never waits for whoever pauses or alters the view at this moment.
        bool ours = run("SELECT 1 FROM kafka.registry r WHERE r.view = $1 AND r.state = 'active'"
                        " FOR NO KEY UPDATE SKIP LOCKED",
                        row) == 1;
        if (ours) {
            row.add_text(report.reason.c_str());
            row.add_text(report.error.c_str());
            run("UPDATE kafka.registry SET state = 'stopped', since = pg_catalog.clock_timestamp(),"
                " reason = $2, error = $3, error_at = pg_catalog.clock_timestamp()"
                " WHERE view = $1",
                row);
            sql_arguments entry;
            entry.add_oid(view);
            entry.add_text(report.reason.c_str());
            run("INSERT INTO kafka.state_log (view, state, reason, by)"
                " VALUES ($1, 'stopped', $2, 'worker')",
                entry);
        }
        spi.end();
        return ours;
    });
    if (done)
        notify_at_commit();
    return done;
}

} // namespace ke::stream
