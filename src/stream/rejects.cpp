// What happens to records that cannot be stored, and how a view stops. A refused record is a value
// (serving.h: refused) from the place that found it to the place that decides: on_error 'skip'
// counts it, 'stop' puts the view before it. Server's thread, inside the batch's transaction.
#include "pg/compat.h"

extern "C" {
#include "catalog/pg_type.h"
#include "utils/builtins.h"
}

#include "stream/serving.h"
#include "stream/sql.h"

namespace ke::stream {

stop_report report_of(const refused& r)
{
    stop_report s;
    s.reason = "record at topic \"" + r.topic + "\", partition " + std::to_string(r.partition) +
               ", offset " + std::to_string(r.offset) + " cannot be stored";
    if (!r.column.empty())
        s.reason += ": column \"" + r.column + "\"";
    s.error = r.reason;
    if (!r.detail.empty())
        s.error += " (" + r.detail + ")";
    s.error += " [" + r.sqlstate + "]";
    return s;
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
