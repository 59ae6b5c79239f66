// The statements of a stream: SQL in the body of a procedure in schema kafka. DML stands there as the
// server itself keeps the bodies of SQL functions (BEGIN ATOMIC): analyzed, so that dependencies, renames
// and dumps are the server's own. CALL cannot: it is kept as text, with every name qualified. Nobody
// calls the procedure; workers prepare its statements one by one. Server's thread.
#pragma once

#include "pg/compat.h"

#include <string>
#include <vector>

extern "C" {
#include "catalog/objectaddress.h"
#include "nodes/pg_list.h"
}

namespace ke::stream {

// What a user gave as statements, judged: Query nodes. Raises unless they are DML that reads this topic
// and no other, or calls of procedures, and the current role may do all of it.
List* judge_statements(const char* text, Oid topic_table);

// The procedure, for the owner.
ObjectAddress make_body(const char* name, List* queries, Oid owner);

// The statements as text, with names qualified. Throws pg_error.
std::vector<std::string> statements_of_body(const std::string& name);

// Its OID; InvalidOid where it is gone.
Oid find_body(const char* name);

} // namespace ke::stream
