#include "stream/target.h"

extern "C" {
#include "catalog/catalog.h"
#include "catalog/namespace.h"
#include "catalog/pg_inherits.h"
#include "nodes/value.h"
#include "parser/parse_coerce.h"
#include "utils/acl.h"
#include "utils/builtins.h"
#include "utils/lsyscache.h"
#include "utils/rel.h"
#include "utils/syscache.h"
}

namespace ke::stream {

namespace {

const char local_hint[] =
    "A continuous view feeds permanent ordinary or partitioned tables of this database.";

[[noreturn]] void refuse(const char* name, const char* kind)
{
    ereport(ERROR, (errcode(ERRCODE_WRONG_OBJECT_TYPE),
                    errmsg("a continuous view cannot feed \"%s\"", name),
                    errdetail("\"%s\" is %s.", name, kind), errhint("%s", local_hint)));
    pg_unreachable();
}

const char* kind_of(char relkind)
{
    switch (relkind) {
    case RELKIND_VIEW:
        return "a view";
    case RELKIND_MATVIEW:
        return "a materialized view";
    case RELKIND_FOREIGN_TABLE:
        return "a foreign table";
    default:
        return "not a table";
    }
}

// From the catalog alone, so that nobody's ALTER locks what it does not touch.
void check_one(Oid relid)
{
    HeapTuple tuple = SearchSysCache1(RELOID, ObjectIdGetDatum(relid));
    if (!HeapTupleIsValid(tuple))
        return; // being dropped
    auto* c = reinterpret_cast<Form_pg_class>(GETSTRUCT(tuple));
    const char* name = pstrdup(NameStr(c->relname));
    if (c->relkind != RELKIND_RELATION && c->relkind != RELKIND_PARTITIONED_TABLE)
        refuse(name, kind_of(c->relkind));
    if (c->relpersistence == RELPERSISTENCE_TEMP)
        refuse(name, "a temporary table");
    if (c->relpersistence == RELPERSISTENCE_UNLOGGED)
        refuse(name, "an unlogged table, which a crash would empty while the positions stay");
    if (IsSystemClass(relid, c))
        refuse(name, "a catalog");
    ReleaseSysCache(tuple);
}

} // namespace

void check_target(Oid target)
{
    check_one(target);
    if (get_rel_relkind(target) != RELKIND_PARTITIONED_TABLE)
        return;
    ListCell* lc;
    foreach (lc, find_all_inheritors(target, NoLock, nullptr))
        check_one(lfirst_oid(lc));
}

// One column of the target, fit for what the query gives.
static AttrNumber match_column(Oid target, const char* name, Oid type)
{
    const char* table = get_rel_name(target);
    HeapTuple tuple = SearchSysCacheAttName(target, name);
    if (!HeapTupleIsValid(tuple) ||
        reinterpret_cast<Form_pg_attribute>(GETSTRUCT(tuple))->attnum < 0)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_COLUMN),
                        errmsg("table \"%s\" has no column \"%s\"", table, name),
                        errhint("Columns are matched by name: name the query's columns as the "
                                "table's, with AS or a column list.")));
    const FormData_pg_attribute a = *reinterpret_cast<Form_pg_attribute>(GETSTRUCT(tuple));
    ReleaseSysCache(tuple);
    check_column(target, &a, type);
    return a.attnum;
}

void check_column(Oid target, const FormData_pg_attribute* a, Oid type)
{
    const char* table = get_rel_name(target);
    if (a->attgenerated || a->attidentity == ATTRIBUTE_IDENTITY_ALWAYS)
        ereport(ERROR, (errcode(ERRCODE_GENERATED_ALWAYS),
                        errmsg("column \"%s\" of table \"%s\" is fed by a continuous view and must "
                               "not be generated",
                               NameStr(a->attname), table)));
    Oid given = type, wanted = a->atttypid;
    if (!can_coerce_type(1, &given, &wanted, COERCION_ASSIGNMENT))
        ereport(
            ERROR,
            (errcode(ERRCODE_DATATYPE_MISMATCH),
             errmsg("column \"%s\" of table \"%s\" is of type %s but the query of the continuous "
                    "view gives %s",
                    NameStr(a->attname), table, format_type_be(wanted), format_type_be(given)),
             errhint("Cast it in the query.")));
}

void match_columns(Oid target, List* names, List* types, std::int16_t* attributes)
{
    for (int i = 0; i < list_length(names); i++) {
        const char* name = strVal(list_nth(names, i));
        attributes[i] = match_column(target, name, list_nth_oid(types, i));
        for (int earlier = 0; earlier < i; earlier++)
            if (attributes[earlier] == attributes[i])
                ereport(ERROR, (errcode(ERRCODE_DUPLICATE_COLUMN),
                                errmsg("column \"%s\" specified more than once", name)));
    }
}

static void check_right(Oid target, const std::int16_t* attributes, int count, Oid role,
                        AclMode right)
{
    if (pg_class_aclcheck(target, role, right) == ACLCHECK_OK)
        return;
    if (right == ACL_DELETE)
        aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(target));
    for (int i = 0; i < count; i++)
        if (pg_attribute_aclcheck(target, attributes[i], role, right) != ACLCHECK_OK)
            aclcheck_error(ACLCHECK_NO_PRIV, OBJECT_TABLE, get_rel_name(target));
}

void check_feed_rights(Oid target, const std::int16_t* attributes, int count, Oid role,
                       bool updates, bool deletes)
{
    check_right(target, attributes, count, role, ACL_INSERT);
    if (updates || deletes)
        check_right(target, attributes, count, role, ACL_SELECT); // old values, keys
    if (updates)
        check_right(target, attributes, count, role, ACL_UPDATE);
    if (deletes)
        check_right(target, attributes, count, role, ACL_DELETE);
}

} // namespace ke::stream
