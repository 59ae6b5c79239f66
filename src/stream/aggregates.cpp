#include "stream/aggregates.h"

extern "C" {
#include "catalog/pg_aggregate.h"
#include "catalog/pg_proc.h"
#include "catalog/pg_type.h"
#include "nodes/makefuncs.h"
#include "optimizer/optimizer.h"
#include "parser/parse_coerce.h"
#include "parser/parse_func.h"
#include "parser/parse_oper.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/syscache.h"
}

namespace ke::stream {

namespace {

struct direct_row {
    const char* name; // in pg_catalog
    merge how;
};

// Stored as they are: the result type is the type of what is merged.
const direct_row direct_table[] = {
    {"count", merge::add},
    {"sum", merge::add},
    {"min", merge::least},
    {"max", merge::greatest},
    {"bool_and", merge::both},
    {"every", merge::both},
    {"bool_or", merge::either},
    {"bit_and", merge::bits_and},
    {"bit_or", merge::bits_or},
    {"bit_xor", merge::bits_xor},
    {"range_agg", merge::add}, // of multiranges: the union
    {"range_intersect_agg", merge::intersect},
    {"any_value", merge::any},
};

struct spread_row {
    const char* name; // in pg_catalog
    bool sample;
    bool root;
};

// By n, sum and sum of squares, exactly, for integers and numerics.
const spread_row spread_table[] = {
    {"var_pop", false, false},   {"var_samp", true, false},   {"variance", true, false},
    {"stddev_pop", false, true}, {"stddev_samp", true, true}, {"stddev", true, true},
};

const char* builtin_name(Oid function)
{
    return get_func_namespace(function) == PG_CATALOG_NAMESPACE ? get_func_name(function) : "";
}

const direct_row* find_direct(const Aggref* a)
{
    const char* name = builtin_name(a->aggfnoid);
    for (const direct_row& d : direct_table)
        if (strcmp(d.name, name) == 0)
            return &d;
    return nullptr;
}

const spread_row* find_spread(const char* name)
{
    for (const spread_row& s : spread_table)
        if (strcmp(s.name, name) == 0)
            return &s;
    return nullptr;
}

bool is_exact(Oid type)
{
    return type == INT2OID || type == INT4OID || type == INT8OID || type == NUMERICOID;
}

enum class keeping : std::uint8_t { direct, mean, spread, state };

keeping keeping_of(const Aggref* a)
{
    if (find_direct(a))
        return keeping::direct;
    const char* name = builtin_name(a->aggfnoid);
    // Parts evaluate their argument once each: a volatile one must be seen once.
    if (list_length(a->aggargtypes) != 1 ||
        contain_volatile_functions(reinterpret_cast<Node*>(a->args)))
        return keeping::state;
    Oid type = linitial_oid(a->aggargtypes);
    if (strcmp(name, "avg") == 0 &&
        (is_exact(type) || type == FLOAT4OID || type == FLOAT8OID || type == INTERVALOID))
        return keeping::mean;
    if (find_spread(name) && is_exact(type))
        return keeping::spread;
    return keeping::state;
}

// ------------------------------------------------------------------ refusals

[[noreturn]] void refuse(const char* what, const Aggref* a, const char* hint)
{
    ereport(ERROR, (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                    errmsg("continuous views do not support %s", what),
                    errdetail("The query uses it in %s().", get_func_name(a->aggfnoid)),
                    errhint("%s", hint)));
    pg_unreachable();
}

const char rows_hint[] = "Store the rows, and aggregate in an ordinary view on them.";

void check_form(const Aggref* a)
{
    if (a->aggkind != AGGKIND_NORMAL)
        refuse("an ordered-set aggregate", a, rows_hint);
    if (a->aggdistinct != NIL)
        refuse(
            "DISTINCT inside an aggregate", a,
            "Group by the argument in a continuous view, and count its rows in an ordinary view.");
    if (a->aggorder != NIL)
        refuse("ORDER BY inside an aggregate", a, rows_hint);
}

void check_state(const Aggref* a)
{
    HeapTuple tuple = SearchSysCache1(AGGFNOID, ObjectIdGetDatum(a->aggfnoid));
    if (!HeapTupleIsValid(tuple))
        elog(ERROR, "cache lookup failed for aggregate %u", a->aggfnoid);
    const FormData_pg_aggregate form = *reinterpret_cast<Form_pg_aggregate>(GETSTRUCT(tuple));
    ReleaseSysCache(tuple);
    const bool internal = form.aggtranstype == INTERNALOID;
    if (!OidIsValid(form.aggcombinefn) ||
        (internal && (!OidIsValid(form.aggserialfn) || !OidIsValid(form.aggdeserialfn))))
        refuse("an aggregate whose states cannot be combined", a, rows_hint);
    if (a->aggvariadic || a->aggargtypes == NIL)
        refuse("an aggregate of this kind without, or with VARIADIC, arguments", a, rows_hint);
    Oid* declared;
    int count;
    Oid result = get_func_signature(a->aggfnoid, &declared, &count);
    bool polymorphic = IsPolymorphicType(result) || IsPolymorphicType(form.aggtranstype);
    for (int i = 0; i < count; i++)
        polymorphic = polymorphic || IsPolymorphicType(declared[i]) || declared[i] == ANYOID;
    if (polymorphic)
        refuse("a polymorphic aggregate with a state", a, rows_hint);
}

// ------------------------------------------------------------------ parts

Aggref* builtin_part(const Aggref* a, const char* name, Oid declared, Expr* argument)
{
    Aggref* part = static_cast<Aggref*>(copyObjectImpl(a));
    List* names = list_make2(makeString(pstrdup("pg_catalog")), makeString(pstrdup(name)));
    part->aggfnoid = LookupFuncName(names, 1, &declared, false);
    part->aggtype = get_func_rettype(part->aggfnoid);
    part->aggcollid = InvalidOid;
    part->aggargtypes = list_make1_oid(exprType(reinterpret_cast<Node*>(argument)));
    part->args = list_make1(makeTargetEntry(argument, 1, nullptr, false));
    return part;
}

Expr* argument_of(const Aggref* a)
{
    auto* e = static_cast<TargetEntry*>(copyObjectImpl(linitial(a->args)));
    return e->expr;
}

Expr* as_type(Expr* e, Oid type)
{
    Node* node = reinterpret_cast<Node*>(e);
    if (exprType(node) == type)
        return e;
    node = coerce_to_target_type(nullptr, node, exprType(node), type, -1, COERCION_EXPLICIT,
                                 COERCE_EXPLICIT_CAST, -1);
    return reinterpret_cast<Expr*>(node);
}

Expr* square(Expr* e)
{
    ParseState* state = make_parsestate(nullptr);
    List* name = list_make2(makeString(pstrdup("pg_catalog")), makeString(pstrdup("*")));
    Node* left = reinterpret_cast<Node*>(e);
    Expr* product =
        make_op(state, name, left, static_cast<Node*>(copyObjectImpl(left)), nullptr, -1);
    free_parsestate(state);
    return product;
}

Oid our_function(const char* name, int count, const Oid* types)
{
    List* names = list_make2(makeString(pstrdup("kafka")), makeString(pstrdup(name)));
    return LookupFuncName(names, count, types, false);
}

Oid state_type()
{
    return GetSysCacheOid2(TYPENAMENSP, Anum_pg_type_oid, CStringGetDatum("state"),
                           ObjectIdGetDatum(get_namespace_oid("kafka", false)));
}

Expr* aggregate_name(Oid aggregate)
{
    return reinterpret_cast<Expr*>(makeConst(REGPROCEDUREOID, -1, InvalidOid, sizeof(Oid),
                                             ObjectIdGetDatum(aggregate), false, true));
}

Oid partial_aggregate()
{
    Oid types[] = {REGPROCEDUREOID, ANYOID};
    return our_function("partial", 2, types);
}

Aggref* state_part(const Aggref* a)
{
    Aggref* part = static_cast<Aggref*>(copyObjectImpl(a));
    part->aggfnoid = partial_aggregate();
    part->aggtype = state_type();
    part->aggcollid = InvalidOid;
    part->aggargtypes = lcons_oid(REGPROCEDUREOID, part->aggargtypes);
    part->args = lcons(makeTargetEntry(aggregate_name(a->aggfnoid), 1, nullptr, false), part->args);
    ListCell* lc;
    foreach (lc, part->args)
        lfirst_node(TargetEntry, lc)->resno =
            static_cast<AttrNumber>(foreach_current_index(lc) + 1);
    return part;
}

Expr* boolean(bool value)
{
    return reinterpret_cast<Expr*>(makeBoolConst(value, false));
}

Expr* call(const char* name, Oid result, Oid collation, List* arguments)
{
    Oid types[8];
    int n = 0;
    ListCell* lc;
    foreach (lc, arguments)
        types[n++] = exprType(static_cast<Node*>(lfirst(lc)));
    return reinterpret_cast<Expr*>(makeFuncExpr(our_function(name, n, types), result, arguments,
                                                collation, InvalidOid, COERCE_EXPLICIT_CALL));
}

} // namespace

List* parts_of(const Aggref* a)
{
    check_form(a);
    switch (keeping_of(a)) {
    case keeping::direct:
        return list_make1(copyObjectImpl(a));
    case keeping::mean: {
        Expr* x = argument_of(a);
        Oid type = linitial_oid(a->aggargtypes);
        if (type == FLOAT4OID) // whose sum would be rounded to a float4
            x = as_type(x, type = FLOAT8OID);
        return list_make2(builtin_part(a, "count", ANYOID, argument_of(a)),
                          builtin_part(a, "sum", type, x));
    }
    case keeping::spread: {
        Expr* x = as_type(argument_of(a), NUMERICOID);
        Expr* squared = square(as_type(argument_of(a), NUMERICOID));
        return list_make3(builtin_part(a, "count", ANYOID, argument_of(a)),
                          builtin_part(a, "sum", NUMERICOID, x),
                          builtin_part(a, "sum", NUMERICOID, squared));
    }
    case keeping::state:
        break;
    }
    check_state(a);
    return list_make1(state_part(a));
}

Expr* value_of(const Aggref* a, List* columns)
{
    switch (keeping_of(a)) {
    case keeping::direct:
        return static_cast<Expr*>(linitial(columns));
    case keeping::mean:
        return call("mean", a->aggtype, InvalidOid, list_copy(columns));
    case keeping::spread: {
        const spread_row* s = find_spread(builtin_name(a->aggfnoid));
        return call("variance", a->aggtype, InvalidOid,
                    lappend(lappend(list_copy(columns), boolean(s->sample)), boolean(s->root)));
    }
    case keeping::state:
        break;
    }
    Expr* as = reinterpret_cast<Expr*>(makeNullConst(a->aggtype, -1, a->aggcollid));
    Oid types[] = {REGPROCEDUREOID, state_type(), ANYELEMENTOID};
    FuncExpr* f = makeFuncExpr(our_function("final", 3, types), a->aggtype,
                               list_make3(aggregate_name(a->aggfnoid), linitial(columns), as),
                               a->aggcollid, a->inputcollid, COERCE_EXPLICIT_CALL);
    return reinterpret_cast<Expr*>(f);
}

merge merge_of(const Aggref* part, Oid* aggregate)
{
    *aggregate = InvalidOid;
    if (const direct_row* d = find_direct(part))
        return d->how;
    if (part->aggfnoid != partial_aggregate())
        elog(ERROR, "aggregate %u is not one that is merged", part->aggfnoid);
    auto* first = castNode(TargetEntry, linitial(part->args));
    *aggregate = DatumGetObjectId(castNode(Const, first->expr)->constvalue);
    return merge::state;
}

char* merge_expression(merge how, const char* c, Oid aggregate)
{
    // Of two values where either may be null: the other one then.
    auto with = [c](const char* op) {
        return psprintf("coalesce(t.%s %s excluded.%s, t.%s, excluded.%s)", c, op, c, c, c);
    };
    switch (how) {
    case merge::add:
        return with("+");
    case merge::both:
        return with("AND");
    case merge::either:
        return with("OR");
    case merge::bits_and:
        return with("&");
    case merge::bits_or:
        return with("|");
    case merge::bits_xor:
        return with("#");
    case merge::intersect:
        return with("*");
    case merge::least:
        return psprintf("least(t.%s, excluded.%s)", c, c);
    case merge::greatest:
        return psprintf("greatest(t.%s, excluded.%s)", c, c);
    case merge::any:
        return psprintf("coalesce(t.%s, excluded.%s)", c, c);
    case merge::state:
        return psprintf("kafka.combine(%u::oid::regprocedure, t.%s, excluded.%s)", aggregate, c, c);
    case merge::key:
    case merge::newest:
        break;
    }
    return psprintf("excluded.%s", c);
}

} // namespace ke::stream
