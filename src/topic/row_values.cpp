#include "topic/row_values.h"

extern "C" {
#include "access/htup_details.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "mb/pg_wchar.h"
#include "miscadmin.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
#include "utils/typcache.h"
}

namespace ke::topic {

namespace {

using decode::value;
using kind = value::kind;

constexpr std::int64_t us_to_2000 = 946684800000000, days_to_2000 = 10957;

std::string_view to_utf8(const char* text, int size)
{
    char* converted = pg_server_to_any(text, size, PG_UTF8);
    return {converted, converted == text ? static_cast<std::size_t>(size) : strlen(converted)};
}

// As the type's output function has it.
value text_value(Datum d, Oid type, kind what)
{
    Oid function;
    bool is_varlena;
    getTypeOutputInfo(type, &function, &is_varlena);
    const char* text = OidOutputFunctionCall(function, d);
    value v{what};
    v.s = to_utf8(text, static_cast<int>(strlen(text)));
    return v;
}

value number_value(kind what, std::int64_t n)
{
    value v{what};
    v.i = n;
    return v;
}

value bytes_value(Datum d)
{
    bytea* b = DatumGetByteaPP(d);
    value v{kind::bytes};
    v.s = {VARDATA_ANY(b), static_cast<std::size_t>(VARSIZE_ANY_EXHDR(b))};
    return v;
}

value interval_value(Datum d, Oid type)
{
    const Interval* i = DatumGetIntervalP(d);
    value v = text_value(d, type, kind::interval);
    v.i = i->time;
    v.days = i->day;
    v.months = i->month;
    return v;
}

// Elements of one dimension, in which further ones are nested.
value array_part(const ArrayType* a, int dimension, const Datum* elements, const bool* nulls,
                 int& at)
{
    value v{kind::array};
    const int n = ARR_NDIM(a) > 0 ? ARR_DIMS(a)[dimension] : 0;
    auto* items = static_cast<value*>(palloc0(sizeof(value) * (n + 1)));
    for (int i = 0; i < n; i++) {
        if (dimension + 1 < ARR_NDIM(a)) {
            items[i] = array_part(a, dimension + 1, elements, nulls, at);
        } else {
            items[i] = make_value(elements[at], nulls[at], ARR_ELEMTYPE(a), false);
            at++;
        }
    }
    v.items = {items, static_cast<std::size_t>(n)};
    return v;
}

value array_value(Datum d, Oid element)
{
    ArrayType* a = DatumGetArrayTypeP(d);
    std::int16_t length;
    bool by_value;
    char align;
    get_typlenbyvalalign(element, &length, &by_value, &align);
    Datum* elements;
    bool* nulls;
    int n, at = 0;
    deconstruct_array(a, element, length, by_value, align, &elements, &nulls, &n);
    return array_part(a, 0, elements, nulls, at);
}

value record_value(Datum d)
{
    HeapTupleHeader head = DatumGetHeapTupleHeader(d);
    TupleDesc desc =
        lookup_rowtype_tupdesc_copy(HeapTupleHeaderGetTypeId(head), HeapTupleHeaderGetTypMod(head));
    HeapTupleData tuple{};
    tuple.t_len = HeapTupleHeaderGetDatumLength(head);
    tuple.t_data = head;
    auto* values = static_cast<Datum*>(palloc(sizeof(Datum) * (desc->natts + 1)));
    auto* nulls = static_cast<bool*>(palloc(desc->natts + 1));
    heap_deform_tuple(&tuple, desc, values, nulls);
    auto* items = static_cast<value*>(palloc0(sizeof(value) * (desc->natts + 1)));
    auto* names =
        static_cast<std::string_view*>(palloc0(sizeof(std::string_view) * (desc->natts + 1)));
    std::size_t n = 0;
    for (int i = 0; i < desc->natts; i++) {
        const FormData_pg_attribute* a = TupleDescAttr(desc, i);
        if (a->attisdropped)
            continue;
        const char* name = pstrdup(NameStr(a->attname));
        names[n] = to_utf8(name, static_cast<int>(strlen(name)));
        items[n++] = make_value(values[i], nulls[i], a->atttypid, false);
    }
    value v{kind::record};
    v.items = {items, n};
    v.names = {names, n};
    return v;
}

value other_value(Datum d, Oid type)
{
    if (Oid element = get_element_type(type); OidIsValid(element))
        return array_value(d, element);
    return type_is_rowtype(type) ? record_value(d) : text_value(d, type, kind::text);
}

// A number that a document can hold as one; others are text.
value numeric_value(Datum d, Oid type)
{
    value v = text_value(d, type, kind::number);
    if (v.s.find_first_not_of("-.0123456789eE+") != v.s.npos)
        v.what = kind::text;
    return v;
}

} // namespace

value make_value(Datum d, bool isnull, Oid type, bool as_text)
{
    check_stack_depth();
    if (isnull)
        return {};
    type = getBaseType(type);
    if (as_text)
        return text_value(d, type, kind::text);
    switch (type) {
    case BOOLOID:
        return number_value(kind::boolean, DatumGetBool(d));
    case INT2OID:
        return number_value(kind::integer, DatumGetInt16(d));
    case INT4OID:
        return number_value(kind::integer, DatumGetInt32(d));
    case INT8OID:
        return number_value(kind::integer, DatumGetInt64(d));
    case FLOAT4OID:
    case FLOAT8OID: {
        value v{type == FLOAT4OID ? kind::real4 : kind::real8};
        v.f = type == FLOAT4OID ? static_cast<double>(DatumGetFloat4(d)) : DatumGetFloat8(d);
        return v;
    }
    case NUMERICOID:
        return numeric_value(d, type);
    case BYTEAOID:
        return bytes_value(d);
    case DATEOID:
        if (DATE_NOT_FINITE(DatumGetDateADT(d)))
            break;
        return number_value(kind::date, DatumGetDateADT(d) + days_to_2000);
    case TIMEOID:
        return number_value(kind::time, DatumGetTimeADT(d));
    case TIMESTAMPOID:
    case TIMESTAMPTZOID:
        if (TIMESTAMP_NOT_FINITE(DatumGetTimestamp(d)))
            break;
        return number_value(type == TIMESTAMPOID ? kind::timestamp : kind::timestamptz,
                            DatumGetTimestamp(d) + us_to_2000);
    case INTERVALOID:
        return interval_value(d, type);
    case JSONOID:
    case JSONBOID:
        return text_value(d, type, kind::json);
    default:
        return other_value(d, type);
    }
    return text_value(d, type, kind::text); // infinity
}

} // namespace ke::topic
