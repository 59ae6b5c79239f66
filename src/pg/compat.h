// The server's headers, as C++ sees them, and every difference between server versions 15 to 18.
// The only place that tests PG_VERSION_NUM. All server-side files include this first.
#pragma once

extern "C" {
#include "postgres.h"

#include "fmgr.h"
#include "miscadmin.h"
#include "utils/elog.h"
#include "utils/memutils.h"
}

// Server 15's c.h defines PGDLLEXPORT as nothing; the Makefile gives it default visibility.

#if PG_VERSION_NUM < 150000
#error "kafka_engine needs PostgreSQL 15 or later"
#endif
