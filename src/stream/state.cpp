#include "stream/state.h"

extern "C" {
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "common/hashfn.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/regproc.h"
#include "utils/syscache.h"
}

namespace ke::stream {

namespace {

// Before the payload: the format of this head, what follows, the server's major version where that
// matters, and whose state it is.
struct head {
    std::uint8_t format;
    char kind; // 'n' null, 'v' value as the type's send function has it, 'i' serialised
    std::uint16_t major;
    std::uint32_t unused;
    std::uint64_t signature;
};
static_assert(sizeof(head) == 16);

constexpr std::uint8_t current_format = 1;

[[noreturn]] void refuse(Oid aggregate)
{
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                    errmsg("states of %s cannot be kept", format_procedure(aggregate))));
    pg_unreachable();
}

std::uint64_t signature_of(Oid aggregate, Oid state_type)
{
    const char* text = psprintf("%s %s", format_procedure_qualified(aggregate),
                                format_type_be_qualified(state_type));
    return hash_bytes_extended(reinterpret_cast<const unsigned char*>(text),
                               static_cast<int>(strlen(text)), 0);
}

void find_function(Oid function, FmgrInfo* into, MemoryContext context)
{
    if (OidIsValid(function))
        fmgr_info_cxt(function, into, context);
}

void find_initial(aggregate_facts* a, HeapTuple tuple)
{
    Datum written =
        SysCacheGetAttr(AGGFNOID, tuple, Anum_pg_aggregate_agginitval, &a->initial_null);
    if (a->initial_null)
        return;
    Oid input, parameter;
    getTypeInputInfo(a->state_type, &input, &parameter);
    a->initial = OidInputFunctionCall(input, TextDatumGetCString(written), parameter, -1);
}

void find_transport(aggregate_facts* a, MemoryContext context)
{
    Oid send, receive;
    bool varlena;
    getTypeBinaryOutputInfo(a->state_type, &send, &varlena);
    getTypeBinaryInputInfo(a->state_type, &receive, &a->receive_parameter);
    find_function(send, &a->send, context);
    find_function(receive, &a->receive, context);
}

[[noreturn]] void refuse_state(const aggregate_facts* a, const head& h)
{
    // A class that is the query's fault, never a record's.
    const int major = pg::server_major;
    ereport(
        ERROR,
        (errcode(ERRCODE_DATATYPE_MISMATCH),
         errmsg("a stored state is not one of %s on this server", format_procedure(a->aggregate)),
         h.kind == 'i' && h.major != major
             ? errdetail("It was stored by version %d, this is version %d.", h.major, major)
             : errdetail("The aggregate or its types have changed."),
         errhint("REFRESH MATERIALIZED VIEW makes the states anew from the topic; then "
                 "kafka.resume(view).")));
    pg_unreachable();
}

bytea* with_head(const aggregate_facts* a, char kind, const bytea* payload)
{
    std::size_t size = payload ? VARSIZE_ANY_EXHDR(payload) : 0;
    auto* out = static_cast<bytea*>(palloc(VARHDRSZ + sizeof(head) + size));
    SET_VARSIZE(out, VARHDRSZ + sizeof(head) + size);
    head h{current_format, kind, static_cast<std::uint16_t>(kind == 'i' ? pg::server_major : 0), 0,
           a->signature};
    memcpy(VARDATA(out), &h, sizeof(head));
    if (size)
        memcpy(VARDATA(out) + sizeof(head), VARDATA_ANY(payload), size);
    return out;
}

} // namespace

aggregate_facts* look_up_aggregate(Oid aggregate, MemoryContext context)
{
    HeapTuple tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(aggregate));
    if (!HeapTupleIsValid(tuple))
        ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                        errmsg("function with OID %u is not an aggregate", aggregate)));
    auto* form = reinterpret_cast<Form_pg_aggregate>(GETSTRUCT(tuple));
    MemoryContext old = MemoryContextSwitchTo(context);
    auto* a = static_cast<aggregate_facts*>(palloc0(sizeof(aggregate_facts)));
    a->aggregate = aggregate;
    a->state_type = form->aggtranstype;
    a->internal = form->aggtranstype == INTERNALOID;
    get_typlenbyval(a->state_type, &a->length, &a->by_value);
    if (form->aggkind != AGGKIND_NORMAL || !OidIsValid(form->aggcombinefn) ||
        IsPolymorphicType(a->state_type) ||
        (a->internal && (!OidIsValid(form->aggserialfn) || !OidIsValid(form->aggdeserialfn))))
        refuse(aggregate);
    find_function(form->aggtransfn, &a->transition, context);
    find_function(form->aggcombinefn, &a->combine, context);
    find_function(form->aggfinalfn, &a->final, context);
    a->arguments = get_func_nargs(form->aggtransfn);
    a->final_arguments =
        form->aggfinalextra && OidIsValid(form->aggfinalfn) ? get_func_nargs(form->aggfinalfn) : 1;
    if (a->internal) {
        find_function(form->aggserialfn, &a->serialise, context);
        find_function(form->aggdeserialfn, &a->deserialise, context);
    } else {
        find_transport(a, context);
    }
    find_initial(a, tuple);
    a->signature = signature_of(aggregate, a->state_type);
    MemoryContextSwitchTo(old);
    ReleaseSysCache(tuple);
    return a;
}

Datum call_as_aggregate(const FmgrInfo* function, Node* context, Oid collation, int count,
                        const NullableDatum* arguments, bool* null)
{
    LOCAL_FCINFO(call, FUNC_MAX_ARGS);
    InitFunctionCallInfoData(*call, const_cast<FmgrInfo*>(function), count, collation, context,
                             nullptr);
    for (int i = 0; i < count; i++)
        call->args[i] = arguments[i];
    if (function->fn_strict)
        for (int i = 0; i < count; i++)
            if (arguments[i].isnull) {
                *null = true;
                return Datum(0);
            }
    Datum result = FunctionCallInvoke(call);
    *null = call->isnull;
    return result;
}

bytea* pack_state(const aggregate_facts* a, Datum value, bool null, Node* context)
{
    if (null)
        return with_head(a, 'n', nullptr);
    if (!a->internal)
        return with_head(a, 'v', SendFunctionCall(const_cast<FmgrInfo*>(&a->send), value));
    NullableDatum state{value, false};
    bool nothing;
    Datum bytes = call_as_aggregate(&a->serialise, context, InvalidOid, 1, &state, &nothing);
    if (nothing)
        return with_head(a, 'n', nullptr);
    return with_head(a, 'i', DatumGetByteaPP(bytes));
}

Datum unpack_state(const aggregate_facts* a, const varlena* state, Node* context, bool* null)
{
    head h;
    const std::size_t size = VARSIZE_ANY_EXHDR(state);
    if (size < sizeof(head))
        ereport(ERROR,
                (errcode(ERRCODE_DATA_CORRUPTED), errmsg("a state is too short: %zu bytes", size)));
    memcpy(&h, VARDATA_ANY(state), sizeof(head));
    if (h.format != current_format || h.signature != a->signature ||
        (h.kind == 'i' && h.major != pg::server_major) ||
        (h.kind == 'i') != (a->internal && h.kind != 'n'))
        refuse_state(a, h);
    *null = h.kind == 'n';
    if (*null)
        return Datum(0);
    const char* payload = VARDATA_ANY(state) + sizeof(head);
    const int length = static_cast<int>(size - sizeof(head));
    if (a->internal) {
        NullableDatum in[2] = {{PointerGetDatum(cstring_to_text_with_len(payload, length)), false},
                               {Datum(0), false}};
        return call_as_aggregate(&a->deserialise, context, InvalidOid, 2, in, null);
    }
    StringInfoData buffer;
    initStringInfo(&buffer);
    appendBinaryStringInfo(&buffer, payload, length);
    return ReceiveFunctionCall(const_cast<FmgrInfo*>(&a->receive), &buffer, a->receive_parameter,
                               -1);
}

} // namespace ke::stream

KE_FUNCTION(kafka_engine_state_in)
{
    if (!superuser())
        ereport(ERROR, (errcode(ERRCODE_INSUFFICIENT_PRIVILEGE),
                        errmsg("permission denied to make a kafka.state from text"),
                        errhint("Only superusers may: a restore of a dump is one's.")));
    return DirectFunctionCall1(byteain, PG_GETARG_DATUM(0));
}

KE_FUNCTION(kafka_engine_state_out)
{
    return DirectFunctionCall1(byteaout, PG_GETARG_DATUM(0));
}
