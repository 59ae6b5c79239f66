#include "stream/letters.h"

extern "C" {
#include "executor/spi.h"
#include "utils/builtins.h"
#include "utils/timestamp.h"
}

#include "stream/sql.h"

namespace ke::stream {

namespace {

std::int64_t milliseconds_of(Datum time)
{
    constexpr std::int64_t epoch =
        (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * static_cast<std::int64_t>(SECS_PER_DAY) * 1000;
    return DatumGetTimestampTz(time) / 1000 + epoch;
}

} // namespace

Datum column_of(std::uint64_t row, int column, bool* null)
{
    return SPI_getbinval(SPI_tuptable->vals[row], SPI_tuptable->tupdesc, column, null);
}

bytes bytes_of(std::uint64_t row, int column, MemoryContext to)
{
    bool null;
    Datum d = column_of(row, column, &null);
    if (null)
        return {};
    MemoryContext old = MemoryContextSwitchTo(to);
    bytea* b = DatumGetByteaPCopy(d);
    MemoryContextSwitchTo(old);
    return {VARDATA(b), static_cast<std::size_t>(VARSIZE(b) - VARHDRSZ)};
}

letter letter_of(std::uint64_t i, MemoryContext to)
{
    letter l{};
    bool null;
    l.id = DatumGetInt64(column_of(i, 1, &null));
    l.topic = MemoryContextStrdup(to, field(i, 2));
    l.partition = DatumGetInt32(column_of(i, 3, &null));
    l.offset = DatumGetInt64(column_of(i, 4, &null));
    Datum time = column_of(i, 5, &null);
    l.timestamp_ms = null ? -1 : milliseconds_of(time);
    const char* kind = field(i, 6);
    l.time_type = !kind                         ? decode::timestamp_type::none
                  : strcmp(kind, "append") == 0 ? decode::timestamp_type::append
                                                : decode::timestamp_type::create;
    Datum epoch = column_of(i, 7, &null);
    l.leader_epoch = null ? -1 : DatumGetInt32(epoch);
    l.key = bytes_of(i, 8, to);
    l.value = bytes_of(i, 9, to);
    Datum headers = column_of(i, 10, &null);
    if (!null) {
        MemoryContext old = MemoryContextSwitchTo(to);
        l.headers = topic::read_headers(DatumGetJsonbPCopy(headers));
        MemoryContextSwitchTo(old);
    }
    return l;
}

} // namespace ke::stream
