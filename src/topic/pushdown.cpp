#include "topic/pushdown.h"

extern "C" {
#include "access/stratnum.h"
#include "catalog/pg_opfamily.h"
#include "catalog/pg_type.h"
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "nodes/nodeFuncs.h"
#include "optimizer/clauses.h"
#include "optimizer/optimizer.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/date.h"
#include "utils/lsyscache.h"
#include "utils/timestamp.h"
}

namespace ke::topic {

namespace {

// The btree operator family whose comparisons each column understands, across types.
constexpr Oid datetime_family = 434; // pg_opfamily.dat gives it no symbol

struct pushed_role {
    decode::role what;
    Oid family;
};

const pushed_role roles[] = {
    {decode::role::topic, TEXT_BTREE_FAM_OID},
    {decode::role::partition, INTEGER_BTREE_FAM_OID},
    {decode::role::offset, INTEGER_BTREE_FAM_OID},
    {decode::role::timestamp, datetime_family},
};

const pushed_role* role_of(AttrNumber attribute, const pushed_columns& columns)
{
    if (attribute <= 0)
        return nullptr;
    const AttrNumber of[] = {columns.topic, columns.partition, columns.offset, columns.timestamp};
    for (int i = 0; i < 4; i++)
        if (of[i] == attribute)
            return &roles[i];
    return nullptr;
}

// The role of a bare column of rel (0: of any), looking through binary relabelling.
const pushed_role* role_of(Node* node, Index rel, const pushed_columns& columns)
{
    while (IsA(node, RelabelType))
        node = reinterpret_cast<Node*>(castNode(RelabelType, node)->arg);
    if (!IsA(node, Var))
        return nullptr;
    Var* var = castNode(Var, node);
    if (var->varlevelsup != 0 || (rel != 0 && static_cast<Index>(var->varno) != rel))
        return nullptr;
    return role_of(var->varattno, columns);
}

// Whether the expression has one value for the whole scan (or for one rescan of it).
bool steady(Node* node, Index rel)
{
    if (contain_volatile_functions(node) || contain_subplans(node))
        return false;
    List* vars = pull_var_clause(node, PVC_RECURSE_AGGREGATES | PVC_RECURSE_WINDOWFUNCS |
                                           PVC_RECURSE_PLACEHOLDERS);
    ListCell* lc;
    foreach (lc, vars)
        if (rel == 0 || static_cast<Index>(castNode(Var, lfirst(lc))->varno) == rel)
            return false;
    return true;
}

// An operator on a pushed column, the column on its left.
struct understood {
    const pushed_role* role;
    comparison how;
    Oid op;
    Oid value_type;
    Expr* value;
    Oid collation;
    bool is_array;
    bool any;
};

bool understand_operator(Oid op, const pushed_role& role, Oid collation, understood& u)
{
    Oid in_family = op;
    if (get_op_opfamily_strategy(op, role.family) == 0) {
        // "<>" is in no family; its negator is.
        in_family = get_negator(op);
        if (!OidIsValid(in_family) ||
            get_op_opfamily_strategy(in_family, role.family) != BTEqualStrategyNumber)
            return false;
    }
    int strategy;
    Oid left, right;
    get_op_opfamily_properties(in_family, role.family, false, &strategy, &left, &right);
    u.how = in_family == op ? static_cast<comparison>(strategy) : comparison::not_equal;
    u.op = op;
    u.value_type = right;
    u.collation = collation;
    u.role = &role;
    switch (role.what) {
    case decode::role::topic:
        // Names of topics are compared as texts, by bytes where equality means that.
        return left == TEXTOID && right == TEXTOID && OidIsValid(collation) &&
               get_collation_isdeterministic(collation);
    case decode::role::timestamp:
        return left == TIMESTAMPTZOID &&
               (right == TIMESTAMPTZOID || right == TIMESTAMPOID || right == DATEOID);
    default:
        return right == INT2OID || right == INT4OID || right == INT8OID;
    }
}

bool understand(Expr* clause, Index rel, const pushed_columns& columns, understood& u)
{
    u = {};
    if (IsA(clause, OpExpr)) {
        OpExpr* op = castNode(OpExpr, clause);
        if (list_length(op->args) != 2)
            return false;
        Node* left = static_cast<Node*>(linitial(op->args));
        Node* right = static_cast<Node*>(lsecond(op->args));
        if (const pushed_role* role = role_of(left, rel, columns)) {
            u.value = reinterpret_cast<Expr*>(right);
            return understand_operator(op->opno, *role, op->inputcollid, u) && steady(right, rel);
        }
        if (const pushed_role* role = role_of(right, rel, columns)) {
            Oid turned = get_commutator(op->opno);
            u.value = reinterpret_cast<Expr*>(left);
            return OidIsValid(turned) && understand_operator(turned, *role, op->inputcollid, u) &&
                   steady(left, rel);
        }
        return false;
    }
    if (IsA(clause, ScalarArrayOpExpr)) {
        ScalarArrayOpExpr* op = castNode(ScalarArrayOpExpr, clause);
        Node* right = static_cast<Node*>(lsecond(op->args));
        const pushed_role* role = role_of(static_cast<Node*>(linitial(op->args)), rel, columns);
        u.value = reinterpret_cast<Expr*>(right);
        if (!role || !understand_operator(op->opno, *role, op->inputcollid, u))
            return false;
        u.is_array = true;
        u.any = op->useOr;
        return steady(right, rel);
    }
    return false;
}

// --- parameters ---

struct parameters {
    bool of_statement;
    bool of_execution;
};

bool find_parameters(Node* node, void* found)
{
    if (node == nullptr)
        return false;
    if (IsA(node, Param)) {
        auto* p = static_cast<parameters*>(found);
        if (castNode(Param, node)->paramkind == PARAM_EXTERN)
            p->of_statement = true;
        else
            p->of_execution = true;
    }
    return pg::walk_expression(node, find_parameters, found);
}

condition* make_condition(test_kind kind, int count)
{
    auto* c = static_cast<condition*>(palloc0(sizeof(condition)));
    c->kind = kind;
    c->count = count;
    c->children = count ? static_cast<condition**>(palloc0(count * sizeof(condition*))) : nullptr;
    return c;
}

condition* compile_one(Expr* e, const pushed_columns& columns, PlanState* parent)
{
    if (IsA(e, BoolExpr)) {
        BoolExpr* b = castNode(BoolExpr, e);
        condition* c = make_condition(b->boolop == AND_EXPR ? test_kind::all_of : test_kind::any_of,
                                      list_length(b->args));
        for (int i = 0; i < c->count; i++)
            c->children[i] = compile_one(static_cast<Expr*>(list_nth(b->args, i)), columns, parent);
        return c;
    }
    condition* c = make_condition(test_kind::test, 0);
    understood u;
    if (!understand(e, 0, columns, u))
        return c; // the columns changed under a plan: never known, leaves everything
    c->what = u.role->what;
    c->how = u.how;
    c->is_array = u.is_array;
    c->any = u.any;
    c->value_type = u.value_type;
    c->function = get_opcode(u.op);
    c->collation = u.collation;
    c->expression = u.value;
    parameters p{};
    find_parameters(reinterpret_cast<Node*>(u.value), &p);
    c->of_statement = p.of_statement;
    c->of_execution = p.of_execution;
    // At planning only constants are asked for; parameters cannot be compiled there.
    if (parent || !(p.of_statement || p.of_execution))
        c->state =
            parent ? ExecInitExpr(u.value, parent) : ExecInitExprWithParams(u.value, nullptr);
    return c;
}

// --- values ---

std::int64_t to_number(Oid type, Datum d)
{
    int overflow = 0;
    switch (type) {
    case INT2OID:
        return DatumGetInt16(d);
    case INT4OID:
        return DatumGetInt32(d);
    case DATEOID:
        return date2timestamptz_opt_overflow(DatumGetDateADT(d), &overflow);
    case TIMESTAMPOID:
        return timestamp2timestamptz_opt_overflow(DatumGetTimestamp(d), &overflow);
    default: // int8, timestamptz
        return DatumGetInt64(d);
    }
}

test_value to_value(const condition* c, Datum d, bool null)
{
    test_value v{null, 0, 0};
    if (null)
        return v;
    if (c->what == decode::role::topic)
        v.topic = PointerGetDatum(PG_DETOAST_DATUM_COPY(d));
    else
        v.number = to_number(c->value_type, d);
    return v;
}

void evaluate_array(condition* c, Datum d)
{
    ArrayType* array = DatumGetArrayTypeP(d);
    if (ARR_ELEMTYPE(array) != c->value_type) {
        c->known = false;
        return;
    }
    int16 length;
    bool by_value;
    char align;
    Datum* elements;
    bool* nulls;
    get_typlenbyvalalign(c->value_type, &length, &by_value, &align);
    deconstruct_array(array, c->value_type, length, by_value, align, &elements, &nulls,
                      &c->value_count);
    c->values = static_cast<test_value*>(palloc(sizeof(test_value) * (c->value_count + 1)));
    for (int i = 0; i < c->value_count; i++)
        c->values[i] = to_value(c, elements[i], nulls[i]);
}

void evaluate_one(condition* c, stage when, ExprContext* econtext, MemoryContext memory)
{
    for (int i = 0; i < c->count; i++)
        evaluate_one(c->children[i], when, econtext, memory);
    if (c->kind != test_kind::test)
        return;
    c->known = c->state && !(c->of_execution && when != stage::running) &&
               !(c->of_statement && when == stage::planning);
    c->null_array = false;
    c->value_count = 0;
    c->values = nullptr;
    if (!c->known)
        return;
    bool null;
    Datum d = ExecEvalExprSwitchContext(c->state, econtext, &null);
    MemoryContext old = MemoryContextSwitchTo(memory);
    if (c->is_array && null)
        c->null_array = true;
    else if (c->is_array)
        evaluate_array(c, d);
    else {
        c->values = static_cast<test_value*>(palloc(sizeof(test_value)));
        c->values[0] = to_value(c, d, null);
        c->value_count = 1;
    }
    MemoryContextSwitchTo(old);
}

} // namespace

Expr* simplify(Expr* clause, Index rel, const pushed_columns& columns)
{
    if (!IsA(clause, BoolExpr)) {
        understood u;
        return understand(clause, rel, columns, u) ? clause : nullptr;
    }
    BoolExpr* b = castNode(BoolExpr, clause);
    if (b->boolop == NOT_EXPR)
        return nullptr;
    List* kept = NIL;
    ListCell* lc;
    foreach (lc, b->args) {
        Expr* part = simplify(static_cast<Expr*>(lfirst(lc)), rel, columns);
        if (part)
            kept = lappend(kept, part);
        else if (b->boolop == OR_EXPR)
            return nullptr; // an arm that may be true for any record
    }
    if (kept == NIL)
        return nullptr;
    return list_length(kept) == 1 ? static_cast<Expr*>(linitial(kept))
                                  : makeBoolExpr(b->boolop, kept, -1);
}

condition* compile(List* expressions, const pushed_columns& columns, PlanState* parent)
{
    if (expressions == NIL)
        return nullptr;
    condition* c = make_condition(test_kind::all_of, list_length(expressions));
    for (int i = 0; i < c->count; i++)
        c->children[i] = compile_one(static_cast<Expr*>(list_nth(expressions, i)), columns, parent);
    return c;
}

void evaluate(condition* c, stage when, ExprContext* econtext, MemoryContext memory)
{
    if (!c)
        return;
    MemoryContextReset(memory);
    evaluate_one(c, when, econtext, memory);
}

bool has_late_values(const condition* c)
{
    if (!c)
        return false;
    if (c->kind == test_kind::test)
        return c->of_execution;
    for (int i = 0; i < c->count; i++)
        if (has_late_values(c->children[i]))
            return true;
    return false;
}

} // namespace ke::topic
