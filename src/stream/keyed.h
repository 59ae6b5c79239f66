// Views whose rows have a key (kafka.key, kafka.on_conflict, kafka.delete_when): what the options ask
// for, the columns that the hidden query needs for it, the unique index. Server's thread, in the user's
// transaction; plain data.
#pragma once

#include "pg/compat.h"

#include <cstdint>

extern "C" {
#include "nodes/parsenodes.h"
}

namespace ke::stream {

enum class conflict : std::uint8_t { error, nothing, update, merge };

struct keying {
    List* names = NIL; // of the query's columns, String nodes; NIL: rows have no key
    conflict how = conflict::error;
    const char* delete_when = nullptr;
    bool unavailable = true; // columns keep what a change event does not have
};

// The options of a view that belong to each other, against its query; null: not given. Raises.
keying judge_keying(const Query*, const char* key, const char* on_conflict,
                    const char* delete_when);

// Columns of a key, as the option has them: String nodes.
List* key_names(const char* option);

conflict conflict_of(const char* option);

// Appends the order of arrival; with kafka.delete_when whether the row deletes its key; of change events the
// names of columns whose values they do not have.
void add_hidden_columns(Query*, Oid topic_table, const keying&);

// The unique index that stands behind a conflict on these columns of a table: found, or made.
// one_of_null: a null in the key is a value like others (groups), else the columns must not be null.
void find_or_make_index(Oid table, List* names, bool one_of_null);
// The primary key of a view that is a table.
void make_primary_key(Oid table, List* names);

} // namespace ke::stream
