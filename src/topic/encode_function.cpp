// kafka.encode(row of a topic table), kafka.encode_key(row): the payload and the key that would be decoded to
// the row's columns. Session's thread.
#include "pg/compat.h"

extern "C" {
#include "access/htup_details.h"
#include "access/sysattr.h"
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "funcapi.h"
#include "miscadmin.h"
#include "utils/builtins.h"
#include "utils/guc.h"
#include "utils/inval.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
}

#include <memory>
#include <utility>
#include <vector>

#include "decode/encoder.h"
#include "pg/errors.h"
#include "pg/guard.h"
#include "topic/columns.h"
#include "topic/decode_row.h"
#include "topic/row_values.h"
#include "topic/schemas.h"
#include "topic/topic.h"

namespace ke::topic {

namespace {

using decode::column_source;
using decode::value;

// The row, taken apart: plain data.
struct given_row {
    Oid relid;
    Datum* values;
    bool* nulls;
    TupleDesc desc;
};

given_row take_apart(FunctionCallInfo fcinfo)
{
    given_row r{table_of_argument(fcinfo), nullptr, nullptr, nullptr};
    HeapTupleHeader head = PG_GETARG_HEAPTUPLEHEADER(0);
    r.desc =
        lookup_rowtype_tupdesc_copy(HeapTupleHeaderGetTypeId(head), HeapTupleHeaderGetTypMod(head));
    HeapTupleData tuple{};
    tuple.t_len = HeapTupleHeaderGetDatumLength(head);
    tuple.t_data = head;
    r.values = static_cast<Datum*>(palloc(sizeof(Datum) * (r.desc->natts + 1)));
    r.nulls = static_cast<bool*>(palloc(r.desc->natts + 1));
    heap_deform_tuple(&tuple, r.desc, r.values, r.nulls);
    return r;
}

// Formats that are text hold every value as its type writes it.
bool writes_text(std::string_view format, const decode::type_desc& type)
{
    if (format == "csv" || format == "tsv" || format == "text")
        return true;
    return format == "raw" && type.type != decode::cell_type::bytea;
}

std::string subject_of(const topic_table& t, const decode::given_options& given)
{
    const std::string topic = t.topics.size() == 1 ? t.topics.front() : "";
    return std::string(given.get("schema_subject", topic + (given.of_key ? "-key" : "-value")));
}

// Settings by which types write their texts as they are read wherever they arrive. To be undone by
// AtEOXact_GUC(true, level).
int settle_texts()
{
    const int level = NewGUCNestLevel();
    for (const auto& [name, to] : {std::pair{"datestyle", "ISO"},
                                   {"intervalstyle", "postgres"},
                                   {"extra_float_digits", "1"}})
        (void)set_config_option(name, to, PGC_USERSET, PGC_S_SESSION, GUC_ACTION_SAVE, true, 0,
                                false);
    return level;
}

// What is encoded of a row.
struct given_values {
    std::vector<const decode::column*> columns;
    std::vector<value> values;
    bool something = false; // not all of them are null
};

given_values values_of(const given_row& r, const decode_columns& made, std::string_view format,
                       column_source source)
{
    given_values all;
    std::vector<int> attributes;
    for (std::size_t i = 0; i < made.cell_of_attribute.size(); i++) {
        const int cell = made.cell_of_attribute[i];
        if (cell < 0 || made.plan->columns[static_cast<std::size_t>(cell)].source != source)
            continue;
        all.columns.push_back(&made.plan->columns[static_cast<std::size_t>(cell)]);
        attributes.push_back(static_cast<int>(i));
    }
    all.values.resize(attributes.size());
    pg::call([&] {
        const int level = settle_texts();
        for (std::size_t i = 0; i < attributes.size(); i++)
            all.values[i] = make_value(r.values[attributes[i]], r.nulls[attributes[i]],
                                       TupleDescAttr(r.desc, attributes[i])->atttypid,
                                       writes_text(format, all.columns[i]->type));
        AtEOXact_GUC(true, level);
    });
    for (const value& v : all.values)
        all.something |= v.what != value::kind::null;
    return all;
}

// Counts what may have altered a table, a server or a user mapping: by others, by us, by a rollback.
std::uint64_t changes = 0;

void count_changes()
{
    static bool registered = false;
    if (registered)
        return;
    CacheRegisterRelcacheCallback([](Datum, Oid) { ++changes; }, Datum(0));
    for (int cache : {FOREIGNSERVEROID, USERMAPPINGOID})
        CacheRegisterSyscacheCallback(
            cache, [](Datum, int, uint32) { ++changes; }, Datum(0));
    registered = true;
}

// What the rows of one statement share; in a memory context of its own below the function's, which may
// live longer than a statement (PL/pgSQL keeps an expression for a transaction).
struct encoding {
    MemoryContext in;
    Oid relid, user;
    TimestampTz statement;
    std::uint64_t changes;
    decode_columns made;
    std::string format, subject;
    const decode::format_row* row;
};

std::unique_ptr<encoding> make_encoding(Oid relid, bool of_key)
{
    Bitmapset* whole_row =
        pg::call([] { return bms_make_singleton(0 - FirstLowInvalidHeapAttributeNumber); });
    const Oid user = GetUserId();
    const std::uint64_t before = changes; // another's while it is made is seen at the next row
    auto e = std::make_unique<encoding>(
        encoding{nullptr, relid, user, GetCurrentStatementStartTimestamp(), before,
                 make_decode_columns(relid, user, whole_row), "", "", nullptr});
    require_registry(relid, e->made);
    const decode::row_plan& plan = *e->made.plan;
    e->format = !of_key ? plan.format : plan.key_format.empty() ? "raw" : plan.key_format;
    e->row = decode::find_format(e->format);
    if (!e->row || !e->row->make_encoder)
        throw pg::fault_error({.kind = fault_kind::wrong_object,
                               .message = "format \"" + e->format + "\" is only read"});
    if (plan.schemas)
        e->subject = subject_of(load_topic_table(relid, user), {plan.options, of_key});
    return e;
}

const encoding& encoding_of(FmgrInfo* function, Oid relid, bool of_key)
{
    auto* kept = static_cast<encoding*>(function->fn_extra);
    if (!kept || kept->relid != relid || kept->user != GetUserId() ||
        kept->statement != GetCurrentStatementStartTimestamp() || kept->changes != changes) {
        pg::call([] { count_changes(); });
        function->fn_extra = nullptr;
        auto fresh = make_encoding(relid, of_key);
        fresh->in = pg::call([&] {
            if (kept)
                MemoryContextDelete(kept->in);
            return AllocSetContextCreate(function->fn_mcxt, "kafka.encode", ALLOCSET_SMALL_SIZES);
        });
        MemoryContext in = fresh->in;
        kept = pg::adopt(in, std::move(fresh));
        function->fn_extra = kept;
    }
    return *kept;
}

// null: there is nothing to encode.
bytea* encode_row(const given_row& r, const encoding& e, bool of_key)
{
    const decode::row_plan& plan = *e.made.plan;
    const given_values all =
        values_of(r, e.made, e.format, of_key ? column_source::key : column_source::payload);
    if (of_key && !all.something)
        return nullptr;
    const decode::encode_request request{
        all.columns, all.values, {plan.options, of_key}, plan.schemas, e.subject};
    auto encoder = pg::check(e.row->make_encoder(request));
    await_schemas(*encoder);
    const std::string out = pg::check(encoder->encode(request));
    return pg::call([&] {
        auto* result = static_cast<bytea*>(palloc(out.size() + VARHDRSZ));
        SET_VARSIZE(result, out.size() + VARHDRSZ);
        memcpy(VARDATA(result), out.data(), out.size());
        return result;
    });
}

Datum encode(FunctionCallInfo fcinfo, bool of_key)
{
    const given_row r = take_apart(fcinfo);
    bytea* made = pg::entry(
        [&] { return encode_row(r, encoding_of(fcinfo->flinfo, r.relid, of_key), of_key); });
    if (!made)
        PG_RETURN_NULL();
    PG_RETURN_BYTEA_P(made);
}

} // namespace

} // namespace ke::topic

KE_FUNCTION(kafka_engine_encode)
{
    return ke::topic::encode(fcinfo, false);
}

KE_FUNCTION(kafka_engine_encode_key)
{
    return ke::topic::encode(fcinfo, true);
}
