// The server's types as decoders see them: the tree of a scalar, an array, a composite. What is not
// certain to have a fast path is `other`: its text goes through the type's own input function.
#include "pg/compat.h"

extern "C" {
#include "access/htup_details.h"
#include "access/tupdesc.h"
#include "catalog/pg_type.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
#include "utils/typcache.h"
}

#include "pg/guard.h"
#include "topic/columns.h"

namespace ke::topic {

namespace {

struct base_type {
    Oid oid;
    decode::cell_type cell;
};
const base_type base_types[] = {
    {BOOLOID, decode::cell_type::boolean},
    {INT2OID, decode::cell_type::int2},
    {INT4OID, decode::cell_type::int4},
    {INT8OID, decode::cell_type::int8},
    {FLOAT4OID, decode::cell_type::float4},
    {FLOAT8OID, decode::cell_type::float8},
    {NUMERICOID, decode::cell_type::numeric},
    {TEXTOID, decode::cell_type::text},
    {VARCHAROID, decode::cell_type::varchar},
    {BPCHAROID, decode::cell_type::bpchar},
    {BYTEAOID, decode::cell_type::bytea},
    {DATEOID, decode::cell_type::date},
    {TIMEOID, decode::cell_type::time},
    {TIMESTAMPOID, decode::cell_type::timestamp},
    {TIMESTAMPTZOID, decode::cell_type::timestamptz},
    {UUIDOID, decode::cell_type::uuid},
    {JSONOID, decode::cell_type::json},
    {JSONBOID, decode::cell_type::jsonb},
};

decode::cell_type cell_of(Oid type, std::int32_t typmod)
{
    for (const base_type& b : base_types)
        if (b.oid == type)
            return b.cell == decode::cell_type::varchar && typmod < 0 ? decode::cell_type::text
                                                                      : b.cell;
    return decode::cell_type::other;
}

// What the catalogs say of a type; plain data.
struct type_facts {
    Oid element;      // of a true array; else InvalidOid
    char delimiter;   // of the element
    TupleDesc fields; // of a composite, a copy; else null
};

type_facts facts_of(Oid type)
{
    type_facts f{InvalidOid, ',', nullptr};
    f.element = get_element_type(type);
    if (OidIsValid(f.element)) {
        HeapTuple t = SearchSysCache1(TYPEOID, ObjectIdGetDatum(f.element));
        if (HeapTupleIsValid(t)) {
            f.delimiter = reinterpret_cast<Form_pg_type>(GETSTRUCT(t))->typdelim;
            ReleaseSysCache(t);
        }
    } else if (get_typtype(type) == TYPTYPE_COMPOSITE) {
        f.fields = lookup_rowtype_tupdesc_copy(type, -1);
    }
    return f;
}

} // namespace

decode::type_desc describe_type(Oid type, std::int32_t typmod)
{
    // A domain is decoded as what it stands on; pg/datums checks its constraints.
    type = pg::call([&] { return getBaseTypeAndTypmod(type, &typmod); });
    decode::type_desc d;
    d.typmod = typmod;
    d.type = cell_of(type, typmod);
    d.interval = type == INTERVALOID;
    d.bits = type == BITOID || type == VARBITOID;
    if (d.type != decode::cell_type::other || d.interval || d.bits)
        return d;
    const type_facts f = pg::call([&] { return facts_of(type); });
    if (OidIsValid(f.element)) {
        d.element = std::make_shared<const decode::type_desc>(describe_type(f.element, typmod));
        d.delimiter = f.delimiter;
    } else if (f.fields) {
        for (int i = 0; i < f.fields->natts; ++i) {
            const FormData_pg_attribute* a = TupleDescAttr(f.fields, i);
            if (!a->attisdropped)
                d.fields.push_back({NameStr(a->attname), describe_type(a->atttypid, a->atttypmod)});
        }
    }
    return d;
}

} // namespace ke::topic
