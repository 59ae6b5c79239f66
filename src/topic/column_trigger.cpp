// The event trigger kafka_engine_columns: after DDL on foreign tables, types of columns against
// their roles and formats. Session's thread. Preload or not, any role: it looks and raises, no
// more.
//
// Where check_function_bodies is off it does nothing: dumps set that, and they give columns their
// options after the table was made. A wrong column is then refused by its first use.
#include "pg/compat.h"

extern "C" {
#include "catalog/pg_class.h"
#include "catalog/pg_inherits.h"
#include "commands/event_trigger.h"
#include "executor/spi.h"
#include "utils/guc.h"
#include "utils/lsyscache.h"
}

#include "pg/guard.h"
#include "topic/columns.h"
#include "topic/topic.h"

namespace ke::topic {

namespace {

constexpr const char* changed_relations =
    "SELECT DISTINCT objid FROM pg_catalog.pg_event_trigger_ddl_commands()"
    " WHERE classid OPERATOR(pg_catalog.=) 'pg_catalog.pg_class'::pg_catalog.regclass";

// Foreign tables that the command made or changed, those below a changed parent among them; in the
// current memory context.
List* changed_foreign_tables()
{
    MemoryContext context = CurrentMemoryContext;
    List* found = NIL;
    SPI_connect();
    SPI_execute(changed_relations, true, 0);
    for (uint64 i = 0; i < SPI_processed; ++i) {
        bool null;
        Oid relid =
            DatumGetObjectId(SPI_getbinval(SPI_tuptable->vals[i], SPI_tuptable->tupdesc, 1, &null));
        if (null)
            continue;
        MemoryContext old = MemoryContextSwitchTo(context);
        const char kind = get_rel_relkind(relid);
        if (kind == RELKIND_FOREIGN_TABLE)
            found = list_append_unique_oid(found, relid);
        else if ((kind == RELKIND_RELATION || kind == RELKIND_PARTITIONED_TABLE) &&
                 has_subclass(relid))
            found =
                list_concat_unique_oid(found, find_all_inheritors(relid, AccessShareLock, nullptr));
        MemoryContextSwitchTo(old);
    }
    SPI_finish();
    return found;
}

} // namespace

} // namespace ke::topic

KE_FUNCTION(kafka_engine_check_columns)
{
    using namespace ke;
    if (!CALLED_AS_EVENT_TRIGGER(fcinfo))
        ereport(ERROR, (errcode(ERRCODE_E_R_I_E_EVENT_TRIGGER_PROTOCOL_VIOLATED),
                        errmsg("kafka.check_columns can only be called as an event trigger")));
    if (!check_function_bodies)
        PG_RETURN_NULL();
    List* tables = topic::changed_foreign_tables();
    for (int i = 0; i < list_length(tables); ++i) {
        const Oid relid = list_nth_oid(tables, i);
        pg::entry([&] {
            if (topic::is_topic_table(relid))
                topic::check_columns(topic::read_columns(relid));
        });
    }
    PG_RETURN_NULL();
}
