#include "stream/restored.h"

extern "C" {
#include "access/xact.h"
#include "catalog/dependency.h"
#include "catalog/pg_class.h"
#include "utils/acl.h"
}

#include "stream/ddl.h"
#include "stream/registry.h"
#include "stream/sql.h"

namespace ke::stream {

bool adopt_copies(const char* by)
{
    spi_stretch spi;
    spi.begin();
    sql_arguments a;
    a.add_oid(MyDatabaseId);
    a.add_text(by);
    // Numbers of columns are anew where the table had lost some: the names say which.
    const bool any =
        run("WITH copied AS (UPDATE kafka.registry r SET database = $1, target_columns ="
            " coalesce((SELECT array_agg(a.attnum ORDER BY u.n) FROM unnest(r.target_names)"
            " WITH ORDINALITY u (name, n) JOIN pg_attribute a ON a.attrelid = r.target"
            " AND a.attname = u.name AND NOT a.attisdropped), '{}'),"
            " reason = CASE r.state WHEN 'active' THEN 'restored' ELSE r.reason END,"
            " since = CASE r.state WHEN 'active' THEN clock_timestamp() ELSE r.since END,"
            " state = CASE r.state WHEN 'active' THEN 'paused' ELSE r.state END"
            " WHERE database <> $1 RETURNING r.view, r.state, r.reason),"
            // The original sends its dead letters; those of paused views wait for the resume.
            " unsent AS (UPDATE kafka.dead_letter_log d SET to_topic = NULL, stage = NULL FROM copied c"
            " WHERE d.view = c.view AND c.state = 'stopped' AND d.to_topic IS NOT NULL)"
            " INSERT INTO kafka.state_log (view, state, reason, by)"
            " SELECT view, state, reason, $2 FROM copied",
            a) > 0;
    spi.end();
    CommandCounterIncrement();
    return any;
}

void record_dependencies()
{
    spi_stretch spi;
    spi.begin();
    const std::uint64_t n =
        run("SELECT v.oid, w.class, w.oid FROM kafka.registry r JOIN pg_class v ON v.oid = r.view"
            " CROSS JOIN LATERAL (SELECT 'pg_class'::regclass::oid AS class, q.oid FROM pg_class q"
            " WHERE q.oid = r.query AND r.body IS NULL UNION ALL SELECT 'pg_proc'::regclass, b.oid"
            " FROM pg_proc b WHERE b.proname = r.body AND b.pronamespace = 'kafka'::regnamespace) w"
            " WHERE NOT EXISTS (SELECT 1 FROM pg_depend d WHERE d.classid = 'pg_class'::regclass"
            " AND d.objid = r.view AND d.objsubid = 0 AND d.refclassid = w.class"
            " AND d.refobjid = w.oid)",
            {});
    for (std::uint64_t i = 0; i < n; i++) {
        ObjectAddress view, query;
        ObjectAddressSet(view, RelationRelationId, oid_field(i, 1));
        ObjectAddressSet(query, oid_field(i, 2), oid_field(i, 3));
        recordDependencyOn(&view, &query, DEPENDENCY_NORMAL);
    }
    spi.end();
    CommandCounterIncrement();
}

namespace {

// Those of the caller; how many.
std::int64_t resume_restored()
{
    if (adopt_copies(GetUserNameFromId(GetUserId(), false)))
        record_dependencies();
    sql_arguments a;
    a.add_oid(GetUserId());
    a.add_text(GetUserNameFromId(GetUserId(), false));
    spi_stretch spi;
    spi.begin();
    const auto n = static_cast<std::int64_t>(
        run("WITH resumed AS (UPDATE kafka.registry r SET state = 'active', reason = NULL,"
            " since = clock_timestamp() FROM pg_class c WHERE c.oid = r.view AND r.state = 'paused'"
            " AND r.reason = 'restored' AND pg_has_role($1, c.relowner, 'USAGE') RETURNING r.view)"
            " INSERT INTO kafka.state_log (view, state, reason, by)"
            " SELECT view, 'starting', 'resumed', $2 FROM resumed",
            a));
    spi.end();
    notify_at_commit();
    return n;
}

} // namespace

} // namespace ke::stream

KE_FUNCTION(kafka_engine_resume_restored)
{
    (void)fcinfo;
    PG_RETURN_INT64(ke::stream::resume_restored());
}
