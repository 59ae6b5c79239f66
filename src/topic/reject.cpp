// The error of a SELECT that meets a bad record: where it stands, which column, and what its payload
// looks like.
#include "topic/kafka_scan.h"

extern "C" {
#include "lib/stringinfo.h"
#include "mb/pg_wchar.h"
#include "utils/rel.h"
}

#include "pg/errors.h"
#include "pg/guard.h"

namespace ke::topic {

namespace {

constexpr int excerpt_bytes = 120;

// The payload's first bytes, fit for a message of the server: printable ASCII as it is, other valid
// UTF-8 too where the server's encoding is UTF-8, the rest as \xNN.
char* excerpt(bytes payload)
{
    if (payload.absent())
        return pstrdup("(null)");
    const auto* p = reinterpret_cast<const unsigned char*>(payload.data);
    const int n = payload.size < excerpt_bytes ? static_cast<int>(payload.size) : excerpt_bytes;
    const bool utf8 = GetDatabaseEncoding() == PG_UTF8;
    StringInfoData s;
    initStringInfo(&s);
    for (int i = 0; i < n;) {
        int length = 1;
        if (utf8 && p[i] >= 0x80) {
            length = pg_utf_mblen(p + i);
            if (i + length > n || !pg_utf8_islegal(p + i, length))
                length = 0;
        } else if (p[i] < 0x20 || p[i] >= 0x7f) {
            length = 0;
        }
        if (length) {
            appendBinaryStringInfo(&s, reinterpret_cast<const char*>(p + i), length);
            i += length;
        } else {
            appendStringInfo(&s, "\\x%02x", p[i++]);
        }
    }
    if (payload.size > static_cast<std::size_t>(n))
        appendStringInfo(&s, "... (" UINT64_FORMAT " bytes)",
                         static_cast<std::uint64_t>(payload.size));
    return s.data;
}

} // namespace

void raise_reject(Relation table, const kafka_scan* k, const decode::reject* r)
{
    const decode::message_ref& m = k->chunk().rows.messages[k->message()];
    const auto& columns = k->columns().plan->columns;
    const char* column = r->column >= 0 && static_cast<std::size_t>(r->column) < columns.size()
                             ? pg::to_server(columns[r->column].name)
                             : nullptr;
    const char* reason = pg::to_server(r->reason);
    const char* detail = r->detail.empty() ? nullptr : pg::to_server(r->detail);
    const char* payload = excerpt(r->record.value);
    ereport(
        ERROR,
        (errcode(MAKE_SQLSTATE(r->sqlstate[0], r->sqlstate[1], r->sqlstate[2], r->sqlstate[3],
                               r->sqlstate[4])),
         column ? errmsg("column \"%s\": %s", column, reason) : errmsg("%s", reason),
         detail ? errdetail("%s\nPayload: %s", detail, payload) : errdetail("Payload: %s", payload),
         errhint("Add a column _error text (and _raw bytea) to \"%s\" to get bad records as rows, "
                 "or leave the record out by its _partition and _offset.",
                 RelationGetRelationName(table)),
         errcontext("record of topic \"%s\", partition %d, offset " INT64_FORMAT,
                    k->topic().c_str(), m.partition.value, m.offset.value)));
    pg_unreachable();
}

} // namespace ke::topic
