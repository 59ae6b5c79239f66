// Records that are gone before they were read: expired, deleted, or with a topic that was made
// anew. Each gap is a row of kafka.gap_log, crossed or not. Found when feeds are opened, by the
// partitions' low and high marks (settle.cpp); an offset out of range in a running feed only makes
// it be opened anew. Server's thread, inside a transaction.
#include "pg/compat.h"

extern "C" {
#include "catalog/pg_type.h"
}

#include "stream/serving.h"
#include "stream/sql.h"

namespace ke::stream {

void write_gap(Oid view, const gap& g, bool crossed)
{
    pg::call([&] {
        spi_stretch spi;
        spi.begin();
        sql_arguments row;
        row.add_oid(view);
        row.add_text(g.at.topic.c_str());
        row.add(INT4OID, Int32GetDatum(g.at.partition.value));
        row.add(INT8OID, Int64GetDatum(g.first_missing));
        row.add(INT8OID, Int64GetDatum(g.last_missing));
        row.add_text(g.reason.c_str());
        row.add(BOOLOID, BoolGetDatum(crossed));
        run("INSERT INTO kafka.gap_log"
            " (view, topic, partition, first_missing, last_missing, reason, crossed)"
            " SELECT $1, $2, $3, $4, $5, $6, $7 WHERE $7 OR NOT EXISTS"
            " (SELECT 1 FROM kafka.gap_log g WHERE g.view = $1 AND g.topic = $2"
            " AND g.partition = $3 AND g.first_missing = $4 AND NOT g.crossed)",
            row);
        spi.end();
    });
}

} // namespace ke::stream
