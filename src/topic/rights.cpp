#include "topic/rights.h"

extern "C" {
#include "foreign/foreign.h"
#include "utils/lsyscache.h"
}

#include "pg/guard.h"
#include "topic/topic.h"

namespace ke::topic {

void require_usage(Oid server)
{
    const AclResult allowed = pg::server_aclcheck(server, GetUserId(), ACL_USAGE);
    if (allowed != ACLCHECK_OK)
        aclcheck_error(allowed, OBJECT_FOREIGN_SERVER, GetForeignServer(server)->servername);
}

void require_topic_table(Oid relid)
{
    const char* name = get_rel_name(relid);
    if (!name)
        ereport(ERROR, (errcode(ERRCODE_UNDEFINED_TABLE),
                        errmsg("relation with OID %u does not exist", relid)));
    if (!pg::entry([&] { return is_topic_table(relid); }))
        ereport(ERROR,
                (errcode(ERRCODE_WRONG_OBJECT_TYPE), errmsg("\"%s\" is not a topic table", name),
                 errhint("Give a foreign table whose server uses the foreign data wrapper "
                         "kafka.")));
    const AclResult allowed = pg_class_aclcheck(relid, GetUserId(), ACL_SELECT);
    if (allowed != ACLCHECK_OK)
        aclcheck_error(allowed, OBJECT_FOREIGN_TABLE, name);
    require_usage(GetForeignTable(relid)->serverid);
}

} // namespace ke::topic
