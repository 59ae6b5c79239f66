// How rows get into a view's table. Five shapes: a plain INSERT; groups merged by ON CONFLICT; keyed rows
// of which the newest wins, column by column where changes may lack values, or the first ("Views that merge"
// in src/README.md). Rows are sorted by key wherever they meet rows that are there, so that two workers take
// row locks in one order.
#include "stream/statements.h"

extern "C" {
#include "access/table.h"
#include "catalog/pg_type.h"
#include "optimizer/tlist.h"
#include "rewrite/rewriteHandler.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/typcache.h"
}

#include "pg/guard.h"
#include "stream/aggregates.h"
#include "stream/body.h"
#include "stream/changes.h"
#include "stream/keyed.h"

namespace ke::stream {

namespace {

// A column that is stored.
struct column {
    const char* target; // quoted
    const char* source; // in the hidden query, quoted
    const char* value;  // source, cast to the target's type where it has another
    const char* equal;  // of keys that rows are found by: t.column = d.column
    const char* lacks;  // names of the topic's columns that it is computed from, or null
    const char* known;  // of change events: a name for whether one says what it is
    bool key;
    merge how; // of groups
    Oid aggregate;
};

struct shape {
    const char *target, *source; // qualified
    int count;
    column* columns;
    bool grouped;
    conflict how;
    const char *arrival, *deletes, *unavailable; // quoted, or null
};

const char* qualified_name(Oid relid)
{
    char* name = get_rel_name(relid);
    if (!name)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("relation with OID %u does not exist", relid)));
    return quote_qualified_identifier(get_namespace_name(get_rel_namespace(relid)), name);
}

const char* quoted_column(Oid relid, int number)
{
    return quote_identifier(get_attname(relid, static_cast<AttrNumber>(number), false));
}

struct column_type {
    Oid type; // no domain
    std::int32_t modifier;
};

column_type type_of_column(Oid relid, int number)
{
    column_type t;
    Oid collation;
    get_atttypetypmodcoll(relid, static_cast<AttrNumber>(number), &t.type, &t.modifier, &collation);
    t.type = getBaseTypeAndTypmod(t.type, &t.modifier);
    return t;
}

// What the column will hold, so that keys that become one are seen as one. Types that a cast would cut off
// have no length here: a value that is too long is an error when it is stored, never another key.
const char* value_of_type(const char* source, Oid query, int number, Oid target, int attribute)
{
    const column_type given = type_of_column(query, number);
    column_type wanted = type_of_column(target, attribute);
    const Oid element = get_element_type(wanted.type);
    switch (OidIsValid(element) ? element : wanted.type) {
    case BPCHAROID:
    case VARCHAROID:
    case BITOID:
    case VARBITOID:
        wanted.modifier = -1;
        break;
    default:
        break;
    }
    if (given.type == wanted.type && (wanted.modifier < 0 || given.modifier == wanted.modifier))
        return source;
    return psprintf("CAST(%s AS %s)", source,
                    format_type_extended(wanted.type, wanted.modifier,
                                         FORMAT_TYPE_TYPEMOD_GIVEN | FORMAT_TYPE_FORCE_QUALIFY));
}

// t.column = d.column, by the equality that unique indexes and DISTINCT go by, which may stand in any schema.
const char* equality_of(Oid relid, int number)
{
    const Oid type = type_of_column(relid, number).type;
    const Oid equal = lookup_type_cache(type, TYPECACHE_EQ_OPR)->eq_opr;
    if (!OidIsValid(equal))
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_FUNCTION),
                        errmsg("could not identify an equality operator for type %s",
                               format_type_be(type))));
    const char* column = quoted_column(relid, number);
    StringInfoData s;
    initStringInfo(&s);
    generate_operator_clause(&s, psprintf("t.%s", column), type, equal, psprintf("d.%s", column),
                             type);
    return s.data;
}

bool groups_by(const Query* q, const TargetEntry* t)
{
    ListCell* lc;
    foreach (lc, q->groupClause)
        if (t->ressortgroupref &&
            lfirst_node(SortGroupClause, lc)->tleSortGroupRef == t->ressortgroupref)
            return true;
    return false;
}

void look_at_groups(shape* s, const Query* q)
{
    for (int i = 0; i < s->count; i++) {
        auto* t = list_nth_node(TargetEntry, q->targetList, i);
        column& c = s->columns[i];
        c.key = groups_by(q, t);
        c.how = c.key                  ? merge::key
                : IsA(t->expr, Aggref) ? merge_of(castNode(Aggref, t->expr), &c.aggregate)
                                       : merge::newest;
    }
}

void look_at_keys(shape* s, Oid query, List* names)
{
    ListCell* lc;
    foreach (lc, names)
        for (int i = 0; i < s->count; i++)
            if (strcmp(get_attname(query, static_cast<AttrNumber>(i + 1), false),
                       strVal(lfirst(lc))) == 0)
                s->columns[i].key = true;
}

struct plain_view { // what is needed of a registered_view
    Oid query, target, topic_table;
    const std::int16_t* attributes;
    int count;
    const char *key, *on_conflict, *delete_when; // "": not given
};

// Columns whose values a change event may not have.
void look_at_lacks(shape* s, const plain_view& v, int number)
{
    Relation rel = table_open(v.query, NoLock);
    Query* q = static_cast<Query*>(copyObjectImpl(get_view_query(rel)));
    const bool there = RelationGetNumberOfAttributes(rel) >= number;
    table_close(rel, NoLock);
    if (!there) {
        if (unavailable_column(v.topic_table) == 0)
            return;
        ereport(ERROR,
                (errcode(ERRCODE_OBJECT_NOT_IN_PREREQUISITE_STATE),
                 errmsg("the view was made before its topic table had the column _unavailable"),
                 errdetail("It would store nulls for values that change events do not have."),
                 errhint("Drop the column, or make the view anew.")));
    }
    for (int i = 0; i < s->count; i++) {
        column& c = s->columns[i];
        if (!c.key)
            c.lacks =
                source_columns(q, list_nth_node(TargetEntry, q->targetList, i), v.topic_table);
        if (c.lacks)
            s->unavailable = quoted_column(v.query, number);
    }
}

shape shape_of(const plain_view& v)
{
    shape s{qualified_name(v.target), qualified_name(v.query), v.count};
    s.columns = static_cast<column*>(palloc0(sizeof(column) * v.count));
    for (int i = 0; i < v.count; i++) {
        column& c = s.columns[i];
        c.target = quoted_column(v.target, v.attributes[i]);
        c.known = psprintf("\"knows %d\"", i + 1);
        c.source = quoted_column(v.query, i + 1);
        c.value = value_of_type(c.source, v.query, i + 1, v.target, v.attributes[i]);
    }
    Relation rel = table_open(v.query, NoLock);
    const Query* q = get_view_query(rel);
    s.grouped = q->groupClause != NIL || q->hasAggs;
    if (s.grouped)
        look_at_groups(&s, q);
    table_close(rel, NoLock);
    if (s.grouped)
        return s;
    s.how = *v.on_conflict   ? conflict_of(v.on_conflict)
            : *v.delete_when ? conflict::update
                             : conflict::error;
    if (s.how == conflict::error)
        return s;
    look_at_keys(&s, v.query, key_names(v.key));
    s.arrival = quoted_column(v.query, v.count + 1);
    s.deletes = *v.delete_when ? quoted_column(v.query, v.count + 2) : nullptr;
    if (s.how == conflict::update)
        look_at_lacks(&s, v, v.count + (s.deletes ? 3 : 2));
    for (int i = 0; (s.deletes || s.unavailable) && i < v.count; i++)
        if (s.columns[i].key)
            s.columns[i].equal = equality_of(v.target, v.attributes[i]);
    return s;
}

// ------------------------------------------------------------------ pieces

enum class which : std::uint8_t { all, keys, others };

template <class F>
char* join(const shape& s, which w, const char* between, F&& text)
{
    StringInfoData out;
    initStringInfo(&out);
    for (int i = 0; i < s.count; i++) {
        const column& c = s.columns[i];
        if ((w == which::keys && !c.key) || (w == which::others && c.key))
            continue;
        appendStringInfo(&out, "%s%s", out.len ? between : "", text(c));
    }
    return out.data;
}

const char* target_of(const column& c)
{
    return c.target;
}

const char* source_of(const column& c)
{
    return c.source;
}

const char* value_of(const column& c)
{
    return c.value;
}

char* insert_head(const shape& s, const char* columns)
{
    return psprintf("INSERT INTO %s AS t (%s) SELECT %s", s.target,
                    join(s, which::all, ", ", target_of), columns);
}

char* conflict_clause(const shape& s, const char* assignments)
{
    const char* keys = join(s, which::keys, ", ", target_of);
    if (!*keys)
        keys = "(true)"; // the one row of a view without GROUP BY
    return *assignments ? psprintf("ON CONFLICT (%s) DO UPDATE SET %s", keys, assignments)
                        : psprintf("ON CONFLICT (%s) DO NOTHING", keys);
}

// ------------------------------------------------------------------ shapes

char* plain_statement(const shape& s)
{
    return psprintf("INSERT INTO %s (%s) SELECT %s FROM %s", s.target,
                    join(s, which::all, ", ", target_of), join(s, which::all, ", ", source_of),
                    s.source);
}

char* merge_statement(const shape& s)
{
    const char* order = join(s, which::keys, ", ", source_of);
    const char* sets = join(s, which::others, ", ", [](const column& c) -> const char* {
        return psprintf("%s = %s", c.target, merge_expression(c.how, c.target, c.aggregate));
    });
    return psprintf("%s FROM %s%s%s %s", insert_head(s, join(s, which::all, ", ", source_of)),
                    s.source, *order ? " ORDER BY " : "", order, conflict_clause(s, sets));
}

// The rows of a batch that say what becomes of a key. One that deletes and has none says nothing: it must
// not stand for others without a key, which are refused.
const char* rows_of(const shape& s)
{
    if (!s.deletes)
        return psprintf("%s r", s.source);
    const char* no_key = join(s, which::keys, " OR ", [](const column& c) -> const char* {
        return psprintf("%s IS NULL", c.value);
    });
    return psprintf("(SELECT * FROM %s WHERE %s IS NOT TRUE OR NOT (%s)) r", s.source, s.deletes,
                    no_key);
}

char* newest_wins(const shape& s)
{
    return join(s, which::others, ", ", [](const column& c) -> const char* {
        return psprintf("%s = excluded.%s", c.target, c.target);
    });
}

char* update_statement(const shape& s)
{
    const char* keys = join(s, which::keys, ", ", value_of);
    return psprintf("%s FROM (SELECT DISTINCT ON (%s) * FROM %s ORDER BY %s, %s DESC) x%s %s",
                    insert_head(s, join(s, which::all, ", ", source_of)), keys, rows_of(s), keys,
                    s.arrival, s.deletes ? psprintf(" WHERE %s IS NOT TRUE", s.deletes) : "",
                    conflict_clause(s, newest_wins(s)));
}

// Whether the row says what the column is; a delete says that it is nothing.
const char* knows(const shape& s, const column& c)
{
    if (!c.lacks)
        return "true";
    return psprintf("(%s(%s OPERATOR(pg_catalog.&&) %s) IS NOT TRUE)",
                    s.deletes ? psprintf("%s OR ", s.deletes) : "", s.unavailable, c.lacks);
}

// The batch's rows in the order of their changes, under the names of the table's columns.
char* changes_in_order(const shape& s)
{
    const char* columns = join(s, which::all, ", ", [&](const column& c) -> const char* {
        return c.lacks ? psprintf("%s AS %s, %s AS %s", c.value, c.target, knows(s, c), c.known)
                       : psprintf("%s AS %s", c.value, c.target);
    });
    return psprintf("SELECT %s, %s AS \"it deletes\" FROM %s ORDER BY %s, r.%s", columns,
                    s.deletes ? s.deletes : "false", rows_of(s),
                    join(s, which::keys, ", ", target_of), s.arrival);
}

// Column by column the newest value that is known, from behind the last delete; where there is none, the one
// that is stored (o), if there is.
char* change_statement(const shape& s)
{
    const char* newest = join(s, which::all, ", ", [](const column& c) -> const char* {
        return c.lacks ? psprintf("kafka.newest(%s, %s) AS %s, pg_catalog.bool_or(%s) AS %s",
                                  c.target, c.known, c.target, c.known, c.known)
                       : psprintf("kafka.newest(%s, true) AS %s", c.target, c.target);
    });
    const char* values = join(s, which::all, ", ", [](const column& c) -> const char* {
        return c.lacks
                   ? psprintf("CASE WHEN d.%s THEN d.%s ELSE o.%s END", c.known, c.target, c.target)
                   : psprintf("d.%s", c.target);
    });
    StringInfoData complete;
    initStringInfo(&complete);
    for (int i = 0; i < s.count; i++)
        if (s.columns[i].lacks)
            appendStringInfo(&complete, "%sd.%s", complete.len ? " AND " : "", s.columns[i].known);
    const char* stored = join(s, which::others, ", ", [](const column& c) -> const char* {
        return psprintf("t.%s", c.target);
    });
    const char* equal =
        join(s, which::keys, " AND ", [](const column& c) -> const char* { return c.equal; });
    const char* order = join(s, which::keys, ", ", [](const column& c) -> const char* {
        return psprintf("d.%s", c.target);
    });
    return psprintf(
        "%s FROM (SELECT %s, kafka.newest(\"it deletes\", true) AS \"it deletes\""
        " FROM (%s) c GROUP BY %s) d"
        " LEFT JOIN LATERAL (SELECT %s FROM %s t WHERE NOT (%s) AND %s LIMIT 1) o ON true"
        " WHERE d.\"it deletes\" IS NOT TRUE ORDER BY %s %s",
        insert_head(s, values), newest, changes_in_order(s), join(s, which::keys, ", ", target_of),
        stored, s.target, complete.data, equal, order, conflict_clause(s, newest_wins(s)));
}

// The first one of each key wins, counted from behind the last delete.
char* nothing_statement(const shape& s)
{
    const char* keys = join(s, which::keys, ", ", value_of);
    const char* from = s.source;
    if (s.deletes)
        from = psprintf(
            "(SELECT *, max(%s) FILTER (WHERE %s) OVER (PARTITION BY %s) AS %s FROM %s) x"
            " WHERE %s IS NOT TRUE AND (x.%s IS NULL OR %s > x.%s)",
            s.arrival, s.deletes, keys, quote_identifier("last delete"), rows_of(s), s.deletes,
            quote_identifier("last delete"), s.arrival, quote_identifier("last delete"));
    return psprintf("%s FROM %s ORDER BY %s, %s %s",
                    insert_head(s, join(s, which::all, ", ", source_of)), from, keys, s.arrival,
                    conflict_clause(s, ""));
}

char* delete_statement(const shape& s)
{
    const char* keys = join(s, which::keys, ", ", [](const column& c) -> const char* {
        return psprintf("%s AS %s", c.value, c.target);
    });
    const char* equal =
        join(s, which::keys, " AND ", [](const column& c) -> const char* { return c.equal; });
    return psprintf("DELETE FROM %s t USING (SELECT DISTINCT %s FROM %s WHERE %s) d WHERE %s",
                    s.target, keys, s.source, s.deletes, equal);
}

char* store_statement(const shape& s)
{
    if (s.grouped)
        return merge_statement(s);
    switch (s.how) {
    case conflict::update:
        return s.unavailable ? change_statement(s) : update_statement(s);
    case conflict::nothing:
        return nothing_statement(s);
    default:
        return plain_statement(s);
    }
}

} // namespace

bool merge_alike(const Query* a, const Query* b)
{
    const int count = list_length(a->targetList);
    if (count != list_length(b->targetList))
        return false;
    shape of[2] = {};
    const Query* queries[] = {a, b};
    for (int i = 0; i < 2; i++) {
        of[i].count = count;
        of[i].columns = static_cast<column*>(palloc0(sizeof(column) * (count + 1)));
        look_at_groups(&of[i], queries[i]);
    }
    for (int i = 0; i < count; i++) {
        const column &x = of[0].columns[i], &y = of[1].columns[i];
        if (x.key != y.key || x.how != y.how || x.aggregate != y.aggregate)
            return false;
    }
    return true;
}

std::vector<std::string> statements_of(const registered_view& v)
{
    if (!v.body.empty())
        return statements_of_body(v.body);
    const plain_view plain{v.query,
                           v.target,
                           v.topic_table,
                           v.target_columns.data(),
                           static_cast<int>(v.target_columns.size()),
                           v.options.key.c_str(),
                           v.options.on_conflict.c_str(),
                           v.options.delete_when.c_str()};
    struct {
        const char *deletes, *stores;
    } made{};
    pg::call([&] {
        shape s = shape_of(plain);
        made = {s.deletes ? delete_statement(s) : "", store_statement(s)};
    });
    std::vector<std::string> all;
    if (*made.deletes)
        all.emplace_back(made.deletes);
    all.emplace_back(made.stores);
    return all;
}

} // namespace ke::stream
