// kafka.partial, kafka.combine and kafka.final: any aggregate that has a combine function, run over one
// batch, merged with what is stored, and finished for the reader, by its own functions. They are called
// as the server's executor calls them (nodeAgg.c is the model), so that they see what they expect.
// Server's thread; plain data.
#include "stream/state.h"

extern "C" {
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/execnodes.h"
#include "parser/parse_agg.h"
#include "parser/parse_coerce.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/datum.h"
#include "utils/lsyscache.h"
#include "utils/numeric.h"
#include "utils/regproc.h"
}

namespace ke::stream {

namespace {

// The state of one group while a batch is read; in the aggregation's memory.
struct running {
    const aggregate_facts* facts;
    Datum value;
    bool null;
    bool fresh; // no input yet, and the first one becomes the state
};

// The arguments are what the aggregate takes, to the letter: nobody has checked that before. What the
// query's own expression knows of them is told to the transition function.
void check_types(aggregate_facts* a, FunctionCallInfo fcinfo, MemoryContext context)
{
    const int inputs = PG_NARGS() - 2;
    Oid* declared;
    int count;
    (void)get_func_signature(a->aggregate, &declared, &count);
    Oid types[FUNC_MAX_ARGS];
    bool fit = count == inputs && a->arguments == inputs + 1;
    for (int i = 0; i < inputs; i++) {
        types[i] = get_fn_expr_argtype(fcinfo->flinfo, i + 2);
        fit = fit && IsBinaryCoercible(types[i], declared[i]);
    }
    if (!fit)
        ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                        errmsg("%s does not take these arguments", format_procedure(a->aggregate)),
                        errhint("Cast them to its argument types.")));
    MemoryContext old = MemoryContextSwitchTo(context);
    Expr* expression;
    build_aggregate_transfn_expr(types, inputs, 0, false, a->state_type, PG_GET_COLLATION(),
                                 a->transition.fn_oid, InvalidOid, &expression, nullptr);
    fmgr_info_set_expr(reinterpret_cast<Node*>(expression), &a->transition);
    MemoryContextSwitchTo(old);
}

aggregate_facts* facts_of(FunctionCallInfo fcinfo, int argument, bool transitions)
{
    auto* a = static_cast<aggregate_facts*>(fcinfo->flinfo->fn_extra);
    const Oid wanted = PG_GETARG_OID(argument);
    if (a && a->aggregate == wanted)
        return a;
    a = look_up_aggregate(wanted, fcinfo->flinfo->fn_mcxt);
    if (!pg::may_execute(wanted, GetUserId()))
        aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_AGGREGATE, get_func_name(wanted));
    if (transitions)
        check_types(a, fcinfo, fcinfo->flinfo->fn_mcxt);
    fcinfo->flinfo->fn_extra = a;
    return a;
}

void copy_in(running* r, Datum value, bool null, MemoryContext context)
{
    const aggregate_facts* a = r->facts;
    if (!a->by_value && !null && (r->null || DatumGetPointer(value) != DatumGetPointer(r->value))) {
        MemoryContext old = MemoryContextSwitchTo(context);
        value = datumCopy(value, a->by_value, a->length);
        MemoryContextSwitchTo(old);
        if (!r->null)
            pfree(DatumGetPointer(r->value));
    }
    r->value = value;
    r->null = null;
}

running* begin(const aggregate_facts* a, MemoryContext context)
{
    auto* r = static_cast<running*>(MemoryContextAllocZero(context, sizeof(running)));
    r->facts = a;
    r->null = true;
    r->fresh = a->initial_null;
    if (!a->initial_null)
        copy_in(r, a->initial, false, context);
    return r;
}

void step(running* r, FunctionCallInfo fcinfo, MemoryContext context)
{
    const aggregate_facts* a = r->facts;
    const int inputs = PG_NARGS() - 2;
    NullableDatum arguments[FUNC_MAX_ARGS];
    for (int i = 0; i < inputs; i++)
        arguments[i + 1] = fcinfo->args[i + 2];
    if (a->transition.fn_strict) {
        for (int i = 1; i <= inputs; i++)
            if (arguments[i].isnull)
                return;
        if (r->fresh) {
            copy_in(r, arguments[1].value, false, context);
            r->fresh = false;
            return;
        }
        if (r->null)
            return;
    }
    r->fresh = false;
    arguments[0] = {r->value, r->null};
    bool null;
    Datum value = call_as_aggregate(&a->transition, fcinfo->context, PG_GET_COLLATION(), inputs + 1,
                                    arguments, &null);
    copy_in(r, value, null, context);
}

// Stands for the aggregation node that combine and final functions look for.
Node* aggregate_frame()
{
    AggState* frame = makeNode(AggState);
    frame->curaggcontext = CreateStandaloneExprContext();
    frame->tmpcontext = frame->curaggcontext;
    return reinterpret_cast<Node*>(frame);
}

void free_frame(Node* frame)
{
    FreeExprContext(castNode(AggState, frame)->curaggcontext, true);
    pfree(frame);
}

Datum merge_states(FunctionCallInfo fcinfo)
{
    const aggregate_facts* a = facts_of(fcinfo, 0, false);
    Node* frame = aggregate_frame();
    NullableDatum s[2];
    for (int i = 0; i < 2; i++)
        s[i].value = unpack_state(a, PG_GETARG_VARLENA_PP(i + 1), frame, &s[i].isnull);
    Datum value;
    bool null;
    if (a->combine.fn_strict && (s[0].isnull || s[1].isnull)) {
        const NullableDatum& other = s[0].isnull ? s[1] : s[0];
        value = other.value;
        null = other.isnull;
    } else {
        value = call_as_aggregate(&a->combine, frame, PG_GET_COLLATION(), 2, s, &null);
    }
    bytea* packed = pack_state(a, value, null, frame);
    free_frame(frame);
    return PointerGetDatum(packed);
}

Datum finish(FunctionCallInfo fcinfo, bool* null)
{
    const aggregate_facts* a = facts_of(fcinfo, 0, false);
    NullableDatum arguments[FUNC_MAX_ARGS];
    for (NullableDatum& n : arguments)
        n = {Datum(0), true};
    const Oid wanted = get_fn_expr_rettype(fcinfo->flinfo), given = get_func_rettype(a->aggregate);
    if (wanted != given)
        ereport(ERROR, (errcode(ERRCODE_DATATYPE_MISMATCH),
                        errmsg("%s gives %s, not %s", format_procedure(a->aggregate),
                               format_type_be(given), format_type_be(wanted))));
    Node* frame = aggregate_frame();
    if (PG_ARGISNULL(1))
        arguments[0] = {a->initial, a->initial_null};
    else
        arguments[0].value = unpack_state(a, PG_GETARG_VARLENA_PP(1), frame, &arguments[0].isnull);
    Datum result = arguments[0].value;
    *null = arguments[0].isnull;
    if (OidIsValid(a->final.fn_oid))
        result = call_as_aggregate(&a->final, frame, PG_GET_COLLATION(), a->final_arguments,
                                   arguments, null);
    if (!*null) { // it may lie in the frame's memory
        std::int16_t length;
        bool by_value;
        get_typlenbyval(given, &length, &by_value);
        result = datumCopy(result, by_value, length);
    }
    free_frame(frame);
    return result;
}

// As numeric's own: (n * squares - total^2) / (n * (n - 1)), or n * n.
Datum variance_of(std::int64_t n, Datum total, Datum squares, bool sample, bool root)
{
    Datum count = NumericGetDatum(int64_to_numeric(n));
    Datum above = DirectFunctionCall2(numeric_sub, DirectFunctionCall2(numeric_mul, count, squares),
                                      DirectFunctionCall2(numeric_mul, total, total));
    Datum zero = NumericGetDatum(int64_to_numeric(0));
    if (numeric_is_nan(DatumGetNumeric(above)) || numeric_is_inf(DatumGetNumeric(above)))
        return DirectFunctionCall3(numeric_in, CStringGetDatum("NaN"), ObjectIdGetDatum(InvalidOid),
                                   Int32GetDatum(-1));
    if (DatumGetBool(DirectFunctionCall2(numeric_le, above, zero)))
        return zero;
    Datum below = DirectFunctionCall2(numeric_mul, count,
                                      NumericGetDatum(int64_to_numeric(sample ? n - 1 : n)));
    Datum variance = DirectFunctionCall2(numeric_div, above, below);
    if (!root)
        return variance;
    // The root with as many digits: taken with more, then rounded once.
    int scale = DatumGetInt32(DirectFunctionCall1(numeric_scale, variance));
    Datum longer = DirectFunctionCall2(numeric_round, variance, Int32GetDatum(scale + 16));
    return DirectFunctionCall2(numeric_round, DirectFunctionCall1(numeric_sqrt, longer),
                               Int32GetDatum(scale));
}

} // namespace

} // namespace ke::stream

KE_FUNCTION(kafka_engine_partial_step)
{
    using namespace ke::stream;
    MemoryContext context;
    if (!AggCheckCallContext(fcinfo, &context))
        elog(ERROR, "kafka.partial_step called outside an aggregate");
    running* r;
    if (PG_ARGISNULL(0)) {
        if (PG_ARGISNULL(1))
            ereport(ERROR, (errcode(ERRCODE_NULL_VALUE_NOT_ALLOWED),
                            errmsg("kafka.partial needs the name of an aggregate")));
        r = begin(facts_of(fcinfo, 1, true), context);
    } else {
        r = reinterpret_cast<running*>(PG_GETARG_POINTER(0));
    }
    step(r, fcinfo, context);
    PG_RETURN_POINTER(r);
}

KE_FUNCTION(kafka_engine_partial_end)
{
    using namespace ke::stream;
    if (!AggCheckCallContext(fcinfo, nullptr))
        elog(ERROR, "kafka.partial_end called outside an aggregate");
    if (PG_ARGISNULL(0))
        PG_RETURN_NULL(); // no rows
    auto* r = reinterpret_cast<running*>(PG_GETARG_POINTER(0));
    PG_RETURN_BYTEA_P(pack_state(r->facts, r->value, r->null, fcinfo->context));
}

KE_FUNCTION(kafka_engine_combine)
{
    if (PG_ARGISNULL(0))
        PG_RETURN_NULL();
    if (PG_ARGISNULL(1) || PG_ARGISNULL(2)) {
        if (PG_ARGISNULL(1) && PG_ARGISNULL(2))
            PG_RETURN_NULL();
        return PG_GETARG_DATUM(PG_ARGISNULL(1) ? 2 : 1);
    }
    return ke::stream::merge_states(fcinfo);
}

KE_FUNCTION(kafka_engine_final)
{
    if (PG_ARGISNULL(0))
        PG_RETURN_NULL();
    bool null;
    Datum value = ke::stream::finish(fcinfo, &null);
    if (null)
        PG_RETURN_NULL();
    return value;
}

KE_FUNCTION(kafka_engine_variance)
{
    const std::int64_t n = PG_GETARG_INT64(0);
    const bool sample = PG_GETARG_BOOL(3);
    if (n < (sample ? 2 : 1))
        PG_RETURN_NULL();
    return ke::stream::variance_of(n, PG_GETARG_DATUM(1), PG_GETARG_DATUM(2), sample,
                                   PG_GETARG_BOOL(4));
}
