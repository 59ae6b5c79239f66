#include "topic/scan.h"

extern "C" {
#include "access/sysattr.h"
#include "access/xact.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/resowner.h"
}

#include "pg/errors.h"
#include "pg/guard.h"

namespace ke::topic {

namespace {

void name_record(void* arg)
{
    auto* maker = static_cast<row_maker*>(arg);
    if (current_batch && maker->map->at)
        strlcpy(current_batch->at_column, maker->map->at->name, NAMEDATALEN);
    // Data exceptions without a hint of their own.
    if (maker->table && ERRCODE_TO_CATEGORY(geterrcode()) == ERRCODE_DATA_EXCEPTION &&
        geterrcode() != ERRCODE_DATETIME_FIELD_OVERFLOW)
        errhint(
            "Add a column _error text (and _raw bytea) to \"%s\" to get bad records as rows, or "
            "leave the record out by its _partition and _offset.",
            maker->table);
    if (maker->message && maker->topic)
        errcontext("record of topic \"%s\", partition %d, offset " INT64_FORMAT, maker->topic,
                   maker->message->partition.value, maker->message->offset.value);
}

// fill_values, with the record named in errors.
void fill(row_maker* maker, const decode::rows& rows, std::uint32_t row, Datum* values, bool* nulls)
{
    ErrorContextCallback context = {error_context_stack, name_record, maker};
    error_context_stack = &context;
    pg::fill_values(maker->map, rows, row, values, nulls);
    error_context_stack = context.previous;
}

// Whether making the row can meet a value that its type refuses.
bool may_fail(const row_maker* maker, const decode::rows& rows, std::uint32_t row)
{
    const decode::cell_state* states = rows.states(row);
    for (int i = 0; i < maker->map->count; i++) {
        const pg::datum_column& c = maker->map->columns[i];
        if (c.is_domain || states[c.cell] == decode::cell_state::pending)
            return true;
    }
    return false;
}

// Whether an error of an input function is the record's fault, and not the moment's or the server's.
bool fault_of_record(int sqlstate)
{
    switch (ERRCODE_TO_CATEGORY(sqlstate)) {
    case ERRCODE_TO_CATEGORY(ERRCODE_CONNECTION_EXCEPTION):
    case ERRCODE_TO_CATEGORY(ERRCODE_TRANSACTION_ROLLBACK):
    case ERRCODE_TO_CATEGORY(ERRCODE_INSUFFICIENT_RESOURCES):
    case ERRCODE_TO_CATEGORY(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE):
    case ERRCODE_TO_CATEGORY(ERRCODE_OPERATOR_INTERVENTION):
    case ERRCODE_TO_CATEGORY(ERRCODE_SYSTEM_ERROR):
    case ERRCODE_TO_CATEGORY(ERRCODE_INTERNAL_ERROR):
        return false;
    }
    return true;
}

// All rows of the message in work, in maker->memory.
void fill_all(row_maker* maker, const decode::rows& rows)
{
    const pg::datum_map* map = maker->map;
    const std::size_t count = map->count;
    const std::uint32_t n = maker->message->row_count;
    auto* values = static_cast<Datum*>(palloc(sizeof(Datum) * (map->natts + 1)));
    auto* nulls = static_cast<bool*>(palloc(map->natts + 1));
    maker->made_values = static_cast<Datum*>(
        MemoryContextAllocHuge(CurrentMemoryContext, sizeof(Datum) * (count * n + 1)));
    maker->made_nulls =
        static_cast<bool*>(MemoryContextAllocHuge(CurrentMemoryContext, count * n + 1));
    for (std::uint32_t i = 0; i < n; i++) {
        CHECK_FOR_INTERRUPTS();
        fill(maker, rows, maker->message->first_row + i, values, nulls);
        for (std::size_t c = 0; c < count; c++) {
            maker->made_values[count * i + c] = values[map->columns[c].attribute];
            maker->made_nulls[count * i + c] = nulls[map->columns[c].attribute];
        }
    }
    maker->made_rows = n;
}

// The same in a subtransaction; null, or the error, which is then the record's fault.
ErrorData* try_fill_all(row_maker* maker, const decode::rows& rows)
{
    MemoryContext context = CurrentMemoryContext;
    ResourceOwner owner = CurrentResourceOwner;
    BeginInternalSubTransaction(nullptr);
    MemoryContextSwitchTo(context);
    ErrorData* error = nullptr;
    try {
        pg::call([&] { fill_all(maker, rows); });
    } catch (const pg::pg_error& e) {
        error = e.data();
    }
    if (error)
        RollbackAndReleaseCurrentSubTransaction();
    else
        ReleaseCurrentSubTransaction();
    MemoryContextSwitchTo(context);
    CurrentResourceOwner = owner;
    if (error && !fault_of_record(error->sqlerrcode))
        ReThrowError(error);
    return error;
}

// One row that says what was wrong: metadata as the record has it, nothing of the payload.
void make_error_row(row_maker* maker, const decode::rows& rows, const ErrorData* error)
{
    pg::datum_map* map = maker->map;
    const std::uint32_t row = maker->message->first_row;
    maker->made_values = static_cast<Datum*>(palloc0(sizeof(Datum) * (map->count + 1)));
    maker->made_nulls = static_cast<bool*>(palloc(map->count + 1));
    memset(maker->made_nulls, true, map->count + 1);
    for (int i = 0; i < map->count; i++) {
        const pg::datum_column& c = map->columns[i];
        const decode::column& column = maker->plan->columns[c.cell];
        if (column.metadata == decode::role::error) {
            maker->made_values[i] = CStringGetTextDatum(
                psprintf("column \"%s\": %s", map->at ? map->at->name : "?", error->message));
            maker->made_nulls[i] = false;
        } else if (column.source != decode::column_source::payload &&
                   rows.states(row)[c.cell] == decode::cell_state::value) {
            maker->made_values[i] = static_cast<Datum>(rows.cells(row)[c.cell]);
            maker->made_nulls[i] = false;
        }
    }
    maker->made_rows = 1;
    maker->refused++;
}

void make_at_once(row_maker* maker, const decode::rows& rows)
{
    MemoryContextReset(maker->memory);
    MemoryContext old = MemoryContextSwitchTo(maker->memory);
    maker->map->at = nullptr;
    if (ErrorData* error = try_fill_all(maker, rows))
        make_error_row(maker, rows, error);
    maker->map->at = nullptr;
    maker->made = true;
    MemoryContextSwitchTo(old);
}

// The cell of attribute number attnum; -1: none.
int cell_of(const decode_columns& columns, AttrNumber attnum)
{
    const std::size_t i = attnum - 1;
    return i < columns.cell_of_attribute.size() ? columns.cell_of_attribute[i] : -1;
}

bool is_read(const Bitmapset* attributes, AttrNumber attnum)
{
    constexpr int whole_row = 0 - FirstLowInvalidHeapAttributeNumber;
    return bms_is_member(attnum + whole_row, attributes) || bms_is_member(whole_row, attributes);
}

// _error is a word about the whole record: where it is read, every column is judged.
bool reads_error(const decode_columns& columns, const Bitmapset* attributes)
{
    for (std::size_t i = 0; i < columns.cell_of_attribute.size(); i++) {
        const int cell = columns.cell_of_attribute[i];
        if (cell >= 0 && columns.plan->columns[cell].metadata == decode::role::error)
            return is_read(attributes, i + 1);
    }
    return false;
}

} // namespace

AttrNumber missing_attribute(TupleDesc tuple, const decode_columns& columns,
                             const Bitmapset* attributes)
{
    for (AttrNumber attnum = 1; attnum <= tuple->natts; attnum++)
        if (!TupleDescAttr(tuple, attnum - 1)->attisdropped && is_read(attributes, attnum) &&
            cell_of(columns, attnum) < 0)
            return attnum;
    return 0;
}

row_maker* make_row_maker(TupleDesc tuple, const decode_columns& columns,
                          const Bitmapset* attributes)
{
    auto* maker = static_cast<row_maker*>(palloc0(sizeof(row_maker)));
    auto* cells = static_cast<int*>(palloc(sizeof(int) * (tuple->natts + 1)));
    const bool all = reads_error(columns, attributes);
    for (int i = 0; i < tuple->natts; i++)
        cells[i] = all || is_read(attributes, i + 1) ? cell_of(columns, i + 1) : -1;
    maker->map = pg::make_datum_map(tuple, {cells, static_cast<std::size_t>(tuple->natts)});
    maker->plan = columns.plan.get();
    maker->errors_are_rows = columns.plan->has_error_column;
    maker->memory =
        AllocSetContextCreate(CurrentMemoryContext, "kafka message", ALLOCSET_SMALL_SIZES);
    return maker;
}

bool has_pending(const row_maker* maker, const ingest::chunk& chunk, const decode::message_ref& m)
{
    for (std::uint32_t i = 0; i < m.row_count; i++)
        if (may_fail(maker, chunk.rows, m.first_row + i))
            return true;
    return false;
}

std::uint32_t begin_message(row_maker* maker, const ingest::chunk& chunk, std::uint32_t m,
                            const char* topic)
{
    maker->message = &chunk.rows.messages[m];
    maker->topic = topic;
    maker->made = false;
    if (!maker->errors_are_rows || !has_pending(maker, chunk, *maker->message))
        return maker->message->row_count;
    make_at_once(maker, chunk.rows);
    return maker->made_rows;
}

void store_row(row_maker* maker, const ingest::chunk& chunk, std::uint32_t row,
               TupleTableSlot* slot)
{
    ExecClearTuple(slot);
    if (maker->made) {
        const std::size_t count = maker->map->count;
        memset(slot->tts_isnull, true, maker->map->natts);
        for (std::size_t c = 0; c < count; c++) {
            const int attribute = maker->map->columns[c].attribute;
            slot->tts_values[attribute] = maker->made_values[count * row + c];
            slot->tts_isnull[attribute] = maker->made_nulls[count * row + c];
        }
    } else {
        fill(maker, chunk.rows, maker->message->first_row + row, slot->tts_values,
             slot->tts_isnull);
    }
    ExecStoreVirtualTuple(slot);
}

} // namespace ke::topic
