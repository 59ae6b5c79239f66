// Included last in every .cpp above the border (base, kafka, decode, ingest): a compile error if a
// server header came in by some way.
#pragma once

#if defined(PG_VERSION_NUM) || defined(POSTGRES_H)
#error "server headers must not be included above the border (see src/README.md)"
#endif
