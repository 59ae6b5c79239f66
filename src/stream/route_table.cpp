#include "stream/route_table.h"

extern "C" {
#include "access/nbtree.h"
#include "utils/array.h"
#include "utils/lsyscache.h"
}

#include <algorithm>
#include <cstdint>

namespace ke::stream {

namespace {

// Those who want a constant: number among the views.
struct wanted_constant {
    Datum value;
    std::uint32_t hash;
    int view;
    int next; // of the same place in the table; -1: none
};

} // namespace

struct route_table {
    Oid collation;
    bool ranges;

    FmgrInfo hash_value, hash_constant, equal;
    wanted_constant* all;
    int count;
    int* heads;
    std::uint32_t mask;
    int* found;

    FmgrInfo order;     // of a value and a bound
    FmgrInfo of_bounds; // of two bounds
    Datum* bounds;      // ascending, all different
    int bound_count;
    // Stretch 2k lies before bound k, 2k + 1 is the bound itself; the last is behind all of them. The
    // views of stretch i are views[begins[i]] to before views[begins[i + 1]].
    int* begins;
    int* views;
};

namespace {

// ---- constants

void add_constant(route_table* t, Datum value, int view)
{
    const auto hash = DatumGetUInt32(FunctionCall1Coll(&t->hash_constant, t->collation, value));
    int* head = &t->heads[hash & t->mask];
    t->all[t->count] = {value, hash, view, *head};
    *head = t->count++;
}

// Values of one route's constants; nulls are equal to nothing.
void values_of(const route* r, Datum** values, bool** nulls, int* count)
{
    if (!r->any) {
        *values = &r->constants->constvalue;
        *nulls = &r->constants->constisnull;
        *count = 1;
        return;
    }
    *count = 0;
    if (r->constants->constisnull)
        return;
    ArrayType* array = DatumGetArrayTypeP(r->constants->constvalue);
    std::int16_t length;
    bool by_value;
    char align;
    get_typlenbyvalalign(ARR_ELEMTYPE(array), &length, &by_value, &align);
    deconstruct_array(array, ARR_ELEMTYPE(array), length, by_value, align, values, nulls, count);
}

void gather_constants(route_table* t, const route* const* routes, int views)
{
    Oid of_value, of_constant;
    get_op_hash_functions(routes[0]->equal, &of_value, &of_constant);
    fmgr_info(of_value, &t->hash_value);
    fmgr_info(of_constant, &t->hash_constant);
    fmgr_info(get_opcode(routes[0]->equal), &t->equal);
    std::uint32_t total = 0;
    Datum* values;
    bool* nulls;
    int count;
    for (int v = 0; v < views; v++) {
        values_of(routes[v], &values, &nulls, &count);
        total += static_cast<std::uint32_t>(count);
    }
    t->all = static_cast<wanted_constant*>(palloc(sizeof(wanted_constant) * (total + 1)));
    t->found = static_cast<int*>(palloc(sizeof(int) * (total + 1)));
    for (t->mask = 15; t->mask < total * 2; t->mask = t->mask * 2 + 1)
        ;
    t->heads = static_cast<int*>(palloc(sizeof(int) * (t->mask + 1)));
    std::fill_n(t->heads, t->mask + 1, -1);
    for (int v = 0; v < views; v++) {
        values_of(routes[v], &values, &nulls, &count);
        for (int i = 0; i < count; i++)
            if (!nulls[i])
                add_constant(t, values[i], v);
    }
}

views_found find_constant(route_table* t, Datum value)
{
    const auto hash = DatumGetUInt32(FunctionCall1Coll(&t->hash_value, t->collation, value));
    int count = 0;
    for (int i = t->heads[hash & t->mask]; i >= 0; i = t->all[i].next)
        if (t->all[i].hash == hash &&
            DatumGetBool(FunctionCall2Coll(&t->equal, t->collation, value, t->all[i].value)))
            t->found[count++] = t->all[i].view;
    return {t->found, count};
}

// ---- ranges

int compare_bounds(const void* a, const void* b, void* table)
{
    auto* t = static_cast<route_table*>(table);
    return DatumGetInt32(FunctionCall2Coll(
        &t->of_bounds, t->collation, *static_cast<const Datum*>(a), *static_cast<const Datum*>(b)));
}

// The first bound that is not less than the value; whether it is equal to it.
int find_bound(const route_table* t, FmgrInfo* order, Datum value, bool* same)
{
    int first = 0, behind = t->bound_count;
    *same = false;
    while (first < behind) {
        const int middle = first + (behind - first) / 2;
        const int c =
            DatumGetInt32(FunctionCall2Coll(order, t->collation, value, t->bounds[middle]));
        if (c > 0) {
            first = middle + 1;
        } else {
            behind = middle;
            *same = c == 0;
        }
    }
    return first;
}

// The stretches that a route wants; from > to: none.
struct stretches {
    int from, to;
};

stretches stretches_of(route_table* t, const route* r)
{
    stretches s = {0, 2 * t->bound_count};
    bool same;
    if (r->lower)
        s.from =
            2 * find_bound(t, &t->of_bounds, r->lower->constvalue, &same) + (r->with_lower ? 1 : 2);
    if (r->upper)
        s.to =
            2 * find_bound(t, &t->of_bounds, r->upper->constvalue, &same) + (r->with_upper ? 1 : 0);
    return s;
}

void gather_bounds(route_table* t, const route* const* routes, int views)
{
    fmgr_info(routes[0]->order, &t->order);
    fmgr_info(routes[0]->of_bounds, &t->of_bounds);
    t->bounds = static_cast<Datum*>(palloc(sizeof(Datum) * (2 * static_cast<std::size_t>(views))));
    int count = 0;
    for (int v = 0; v < views; v++)
        for (const Const* bound : {routes[v]->lower, routes[v]->upper})
            if (bound)
                t->bounds[count++] = bound->constvalue;
    // Not std::sort: an operator class may contradict itself.
    qsort_arg(t->bounds, static_cast<std::size_t>(count), sizeof(Datum), compare_bounds, t);
    for (int i = 0; i < count; i++)
        if (i == 0 || compare_bounds(&t->bounds[t->bound_count - 1], &t->bounds[i], t) != 0)
            t->bounds[t->bound_count++] = t->bounds[i];
}

void spread_views(route_table* t, const route* const* routes, int views)
{
    const int stretch_count = 2 * t->bound_count + 1;
    t->begins =
        static_cast<int*>(palloc0(sizeof(int) * (static_cast<std::size_t>(stretch_count) + 2)));
    // begins[i + 2] counts stretch i, becomes where i + 1 begins, and lends itself as a cursor.
    std::size_t total = 0;
    for (int v = 0; v < views; v++) {
        const stretches s = stretches_of(t, routes[v]);
        for (int i = s.from; i <= s.to; i++, total++)
            t->begins[i + 2]++;
    }
    for (int i = 2; i <= stretch_count + 1; i++)
        t->begins[i] += t->begins[i - 1];
    t->views = static_cast<int*>(palloc_extended(sizeof(int) * (total + 1), MCXT_ALLOC_HUGE));
    for (int v = 0; v < views; v++) {
        const stretches s = stretches_of(t, routes[v]);
        for (int i = s.from; i <= s.to; i++)
            t->views[t->begins[i + 1]++] = v;
    }
}

views_found find_range(route_table* t, Datum value)
{
    bool same;
    const int stretch = 2 * find_bound(t, &t->order, value, &same) + (same ? 1 : 0);
    const int begin = t->begins[stretch];
    return {t->views + begin, t->begins[stretch + 1] - begin};
}

} // namespace

route_table* make_route_table(const route* const* routes, int views)
{
    auto* t = static_cast<route_table*>(palloc0(sizeof(route_table)));
    t->collation = routes[0]->collation;
    t->ranges = routes[0]->constants == nullptr;
    if (t->ranges) {
        gather_bounds(t, routes, views);
        spread_views(t, routes, views);
    } else {
        gather_constants(t, routes, views);
    }
    return t;
}

views_found find_views(route_table* t, Datum value)
{
    return t->ranges ? find_range(t, value) : find_constant(t, value);
}

} // namespace ke::stream
