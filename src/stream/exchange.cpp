// See exchange.h. Two ways, as the server has them for its own materialized views: new files, which is
// fast and which nothing but the table itself may notice; and the difference by a unique key, which is
// ordinary DML, so that foreign keys, publications, triggers and columns of the user's are served.
#include "stream/exchange.h"

extern "C" {
#include "access/heapam.h"
#include "access/multixact.h"
#include "access/table.h"
#include "access/tableam.h"
#include "access/tupconvert.h"
#include "access/xact.h"
#include "catalog/dependency.h"
#include "commands/cluster.h"
#include "commands/tablecmds.h"
#include "nodes/value.h"
#include "pgstat.h"
#include "storage/lmgr.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/snapmgr.h"
}

#include "stream/relations.h"
#include "stream/sql.h"

namespace ke::stream {

namespace {

const char* name_of(Oid relid)
{
    return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)),
                                      get_rel_name(relid));
}

// Why new files would not do: the first reason, as a sentence; null: they do.
const char* reason_against_swap(Oid table)
{
    static const struct {
        const char* sql;
        const char* reason;
    } reasons[] = {
        {"SELECT 1 FROM pg_constraint WHERE contype = 'f' AND $1 IN (conrelid, confrelid)",
         "It has a foreign key, or one refers to it."},
        {"SELECT 1 FROM pg_publication WHERE puballtables"
         " UNION ALL SELECT 1 FROM pg_publication_rel WHERE prrelid = $1"
         " UNION ALL SELECT 1 FROM pg_publication_namespace n JOIN pg_class c"
         " ON c.relnamespace = n.pnnspid WHERE c.oid = $1",
         "It is published."},
        {"SELECT 1 FROM pg_trigger WHERE tgrelid = $1 AND NOT tgisinternal", "It has triggers."},
        {"SELECT 1 FROM pg_class WHERE oid = $1 AND (relhasrules OR relispartition)"
         " UNION ALL SELECT 1 FROM pg_inherits WHERE $1 IN (inhparent, inhrelid)",
         "It has rules, or is part of a hierarchy of tables."},
    };
    sql_arguments a;
    a.add_oid(table);
    const char* found = nullptr;
    spi_stretch spi;
    spi.begin();
    for (const auto& r : reasons)
        if (!found && run(r.sql, a, 1) > 0)
            found = r.reason;
    spi.end();
    return found;
}

bool has_more_columns(Oid table, List* fed)
{
    sql_arguments a;
    a.add_oid(table);
    spi_stretch spi;
    spi.begin();
    const std::uint64_t n = run(
        "SELECT 1 FROM pg_attribute WHERE attrelid = $1 AND attnum > 0 AND NOT attisdropped", a);
    spi.end();
    return n > static_cast<std::uint64_t>(list_length(fed));
}

bool among(List* names, const char* name)
{
    ListCell* lc;
    foreach (lc, names)
        if (strcmp(strVal(lfirst(lc)), name) == 0)
            return true;
    return false;
}

// The columns of a unique index that tells any two rows apart and is made of fed columns alone; the
// primary key first. found: there is one; NIL where it is the one of a table with one row.
List* find_key(Oid table, List* fed, bool* found)
{
    MemoryContext outer = CurrentMemoryContext;
    sql_arguments a;
    a.add_oid(table);
    spi_stretch spi;
    spi.begin();
    // One row for each column of each index; no column: the index is on an expression.
    const std::uint64_t n = run(
        "SELECT i.indexrelid::oid, a.attname, pg_get_expr(i.indexprs, i.indrelid)"
        " FROM pg_index i LEFT JOIN LATERAL unnest(i.indkey[0:i.indnkeyatts - 1]) k (attnum) ON true"
        " LEFT JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = k.attnum AND k.attnum > 0"
        " WHERE i.indrelid = $1 AND i.indisunique AND i.indisvalid AND i.indimmediate"
        " AND i.indpred IS NULL AND (i.indexprs IS NULL OR pg_get_expr(i.indexprs, i.indrelid) = 'true')"
        " AND (i.indnullsnotdistinct OR NOT EXISTS (SELECT 1 FROM pg_attribute b"
        " WHERE b.attrelid = i.indrelid AND b.attnum = ANY (i.indkey) AND NOT b.attnotnull))"
        " ORDER BY i.indisprimary DESC, i.indexrelid",
        a);
    List* keys = NIL;
    *found = false;
    MemoryContext inner = MemoryContextSwitchTo(outer);
    for (std::uint64_t i = 0; i < n && !*found;) {
        const Oid index = oid_field(i, 1);
        keys = NIL;
        bool fits = true;
        for (; i < n && oid_field(i, 1) == index; i++) {
            const char* column = field(i, 2);
            if (column && among(fed, column))
                keys = lappend(keys, makeString(pstrdup(column)));
            else
                fits = fits && !column && field(i, 3); // ((true))
        }
        *found = fits;
    }
    MemoryContextSwitchTo(inner);
    spi.end();
    return *found ? keys : NIL;
}

} // namespace

exchange_plan plan_exchange(Oid table, List* fed, bool concurrently, const char* view_name)
{
    const char* against = reason_against_swap(table);
    if (!against && has_more_columns(table, fed))
        against = "It has columns that its query does not give.";
    if (!concurrently && !against)
        return {exchange_way::swap, NIL};
    bool found;
    List* keys = find_key(table, fed, &found);
    if (!found)
        ereport(
            ERROR,
            (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
             concurrently
                 ? errmsg("cannot refresh materialized view \"%s\" concurrently", view_name)
                 : errmsg("cannot refresh continuous view \"%s\" without a unique index",
                          view_name),
             concurrently ? 0 : errdetail("%s Its rows are exchanged one by one then.", against),
             errhint("Create a unique index with no WHERE clause on one or more columns of the "
                     "materialized view, all of them NOT NULL.")));
    return {exchange_way::difference, keys};
}

// Statements that make the table, each of one column of the result, in order. The unique indexes come
// once it is the owner's: their expressions are the owner's to run. The sequences of identity columns
// give the numbers here too. What a trigger of the user's does it does when rows are exchanged.
const char beside_sql[] =
    "SELECT format('CREATE UNLOGGED TABLE kafka.%I (LIKE %s INCLUDING CONSTRAINTS INCLUDING DEFAULTS"
    " INCLUDING GENERATED INCLUDING STORAGE INCLUDING COMPRESSION)', $2, $1::regclass)"
    " UNION ALL SELECT format('ALTER TABLE kafka.%I ALTER %I SET DEFAULT nextval(%L)', $2, attname,"
    " pg_get_serial_sequence(attrelid::regclass::text, attname)) FROM pg_attribute"
    " WHERE attrelid = $1 AND attidentity <> '' AND NOT attisdropped"
    " UNION ALL SELECT format('ALTER TABLE kafka.%I OWNER TO %s', $2, $3::regrole)"
    " UNION ALL SELECT format('CREATE UNIQUE INDEX ON kafka.%I %s', $2, substr(d.def, 1 + length("
    "format('CREATE UNIQUE INDEX %I ON %I.%I ', i.relname, s.nspname, t.relname))))"
    " FROM pg_index x JOIN pg_class i ON i.oid = x.indexrelid JOIN pg_class t ON t.oid = x.indrelid"
    " JOIN pg_namespace s ON s.oid = t.relnamespace CROSS JOIN pg_get_indexdef(x.indexrelid) d (def)"
    " WHERE x.indrelid = $1 AND x.indisunique AND x.indisvalid"
    " UNION ALL SELECT format('ALTER TABLE kafka.%I ADD %s', $2, pg_get_constraintdef(oid))"
    " FROM pg_constraint WHERE conrelid = $1 AND contype = 'x'"
    // references.cpp; keys that are not enforced, and those with PERIOD, which only rows that are
    // exchanged meet, are newer than some servers.
    " UNION ALL SELECT format('CREATE TRIGGER %1$s_%2$s AFTER %1$s ON kafka.%3$I REFERENCING NEW TABLE AS fresh"
    " FOR EACH STATEMENT EXECUTE FUNCTION kafka.check_references(%2$L)', event, c.oid, $2)"
    " FROM pg_constraint c, unnest('{INSERT,UPDATE}'::text[]) event WHERE conrelid = $1 AND contype = 'f'"
    " AND NOT to_jsonb(c) @> '{\"conperiod\": true}' AND NOT to_jsonb(c) @> '{\"conenforced\": false}'";

Oid make_beside(Oid table, Oid owner)
{
    const char* name = psprintf("r_%u", table);
    sql_arguments a;
    a.add_oid(table);
    a.add_text(name);
    a.add_oid(owner);
    MemoryContext outer = CurrentMemoryContext;
    spi_stretch spi;
    spi.begin();
    const std::uint64_t n = run(beside_sql, a);
    List* statements = NIL;
    MemoryContext inner = MemoryContextSwitchTo(outer);
    for (std::uint64_t i = 0; i < n; i++)
        statements = lappend(statements, pstrdup(field(i, 1)));
    MemoryContextSwitchTo(inner);
    ListCell* lc;
    foreach (lc, statements)
        run(static_cast<const char*>(lfirst(lc)), {});
    spi.end();
    return get_relname_relid(name, get_namespace_oid("kafka", false));
}

void drop_beside(Oid beside)
{
    privileged who = begin_privileged();
    ObjectAddress address;
    ObjectAddressSet(address, RelationRelationId, beside);
    performDeletion(&address, DROP_RESTRICT, PERFORM_DELETION_INTERNAL);
    end_privileged(who);
    CommandCounterIncrement();
}

// ------------------------------------------------------------------ new files

namespace {

// Every row, frozen: whoever looks at the new files later sees all of them.
std::uint64_t copy_rows(Relation from, Relation to)
{
    std::uint64_t n = 0;
    TupleConversionMap* map = convert_tuples_by_name(RelationGetDescr(from), RelationGetDescr(to));
    TupleTableSlot* read = table_slot_create(from, nullptr);
    TupleTableSlot* written = table_slot_create(to, nullptr);
    BulkInsertState state = GetBulkInsertState();
    const CommandId command = GetCurrentCommandId(true);
    TableScanDesc scan = table_beginscan(from, GetActiveSnapshot(), 0, nullptr);
    while (table_scan_getnextslot(scan, ForwardScanDirection, read)) {
        CHECK_FOR_INTERRUPTS();
        if (map)
            execute_attr_map_slot(map->attrMap, read, written);
        else
            ExecCopySlot(written, read);
        table_tuple_insert(to, written, command, TABLE_INSERT_SKIP_FSM | TABLE_INSERT_FROZEN,
                           state);
        n++;
    }
    table_endscan(scan);
    FreeBulkInsertState(state);
    ExecDropSingleTupleTableSlot(read);
    ExecDropSingleTupleTableSlot(written);
    table_finish_bulk_insert(to, TABLE_INSERT_SKIP_FSM | TABLE_INSERT_FROZEN);
    return n;
}

} // namespace

std::uint64_t swap_rows(Oid table, Oid beside)
{
    privileged who = begin_privileged();
    Relation rel = table_open(table, ExclusiveLock);
    CheckTableNotInUse(rel, "REFRESH MATERIALIZED VIEW");
    const char persistence = rel->rd_rel->relpersistence;
    const Oid files = make_new_heap(table, rel->rd_rel->reltablespace, rel->rd_rel->relam,
                                    persistence, ExclusiveLock);
    CommandCounterIncrement();
    Relation from = table_open(beside, AccessShareLock);
    Relation to = table_open(files, AccessExclusiveLock);
    PushActiveSnapshot(GetLatestSnapshot());
    const std::uint64_t n = copy_rows(from, to);
    PopActiveSnapshot();
    table_close(to, NoLock);
    table_close(from, NoLock);
    pgstat_count_truncate(rel);
    pgstat_count_heap_insert(rel, static_cast<PgStat_Counter>(n));
    table_close(rel, NoLock);
    LockRelationOid(table, AccessExclusiveLock);
    finish_heap_swap(table, files, false, false, false, true, RecentXmin, ReadNextMultiXactId(),
                     persistence);
    end_privileged(who);
    return n;
}

// ------------------------------------------------------------------ the difference

namespace {

// Each name in a format that takes it once, by commas.
char* each(List* names, const char* format, const char* between = ", ")
{
    StringInfoData s;
    initStringInfo(&s);
    ListCell* lc;
    foreach (lc, names) {
        if (foreach_current_index(lc))
            appendStringInfoString(&s, between);
        for (const char* p = format; *p; p++)
            if (*p == '%')
                appendStringInfoString(&s, quote_identifier(strVal(lfirst(lc))));
            else
                appendStringInfoChar(&s, *p);
    }
    return s.data;
}

std::uint64_t execute(const char* sql)
{
    const int code = SPI_execute(sql, false, 0);
    if (code < 0)
        elog(ERROR, "SPI failed: %s", SPI_result_code_string(code));
    return SPI_processed;
}

} // namespace

std::uint64_t apply_difference(Oid table, Oid beside, List* fed, List* keys)
{
    const char *t = name_of(table), *s = name_of(beside);
    List* others = NIL;
    ListCell* lc;
    foreach (lc, fed)
        if (!among(keys, strVal(lfirst(lc))))
            others = lappend(others, lfirst(lc));
    std::uint64_t n = 0;
    if (SPI_connect() != SPI_OK_CONNECT)
        elog(ERROR, "SPI_connect failed");
    if (keys != NIL)
        n += execute(
            psprintf("DELETE FROM ONLY %s WHERE ctid IN (SELECT max(\"where it stands\") FROM"
                     " (SELECT %s, ctid, true FROM ONLY %s UNION ALL SELECT %s, NULL, false"
                     " FROM %s) u (%s, \"where it stands\", \"it is old\")"
                     " GROUP BY %s HAVING bool_and(\"it is old\"))",
                     t, list_of(keys), t, list_of(keys), s, list_of(keys), list_of(keys)));
    // Compared as bytes, as for REFRESH CONCURRENTLY: not every type knows equality.
    const char* update = others == NIL
                             ? "NOTHING"
                             : psprintf("UPDATE SET %s WHERE ROW(%s)::record *<> ROW(%s)::record",
                                        each(others, "% = excluded.%"), each(others, "t.%"),
                                        each(others, "excluded.%"));
    n += execute(psprintf("INSERT INTO %s AS t (%s) SELECT %s FROM %s ON CONFLICT (%s) DO %s", t,
                          list_of(fed), list_of(fed), s, keys == NIL ? "(true)" : list_of(keys),
                          update));
    SPI_finish();
    return n;
}

} // namespace ke::stream
