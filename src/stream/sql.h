// Our own SQL on our own catalogs, run inside a user's statement: as a superuser, since users have no
// rights on kafka.registry and its like, and with a search_path that nobody can put operators into.
// Server's thread; plain data only. After an error the (sub)transaction's abort sets all back.
#pragma once

#include "pg/compat.h"

#include <cstdint>

extern "C" {
#include "executor/spi.h"
}

namespace ke::stream {

struct privileged {
    Oid user;
    int security_context;
    int guc_level;
};
privileged begin_privileged();
void end_privileged(const privileged&);

// Arguments of one statement, each by type.
struct sql_arguments {
    static constexpr int most = 16;
    int count = 0;
    Oid types[most];
    Datum values[most];
    char nulls[most + 1];

    void add(Oid type, Datum value, bool null = false);
    void add_oid(Oid);
    void add_text(const char*); // null pointer: NULL
};

// Runs one statement; the number of rows. Between begin and end of an spi_stretch. Sees what has been
// committed so far, as DDL does, in a transaction that keeps one snapshot too.
std::uint64_t run(const char* sql, const sql_arguments&, long limit = 0);

// begin_privileged and SPI together; results (SPI_tuptable) live until end(). Processes without a
// portal (workers) get the snapshot that SPI wants below those of its statements.
struct spi_stretch {
    privileged who;
    bool snapshot_pushed;
    void begin();
    void end();
};

// Field of a row of the last result; null pointer for NULL. In SPI's context.
char* field(std::uint64_t row, int column);
Oid oid_field(std::uint64_t row, int column);

} // namespace ke::stream
