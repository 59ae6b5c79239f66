// The library's door: magic block and _PG_init. Runs in the postmaster where preloaded, else in the
// session that first uses the extension. Owns nothing.
#include "pg/compat.h"

#include "pg/parts.h"

extern "C" {
PG_MODULE_MAGIC;
PGDLLEXPORT void _PG_init(void);
}

void _PG_init(void)
{
    ke::pg::init_settings();
    ke::stream::init_processes();
    ke::stream::init_hook();
}
