// Settings kafka.* of postgresql.conf: one table (guc.cpp), one variable here for each. Read by any
// server process; written by the server's own machinery alone.
#pragma once

namespace ke::pg::settings {

extern int workers;             // kafka.workers
extern int lanes;               // kafka.lanes
extern int view_timeout_ms;     // kafka.view_timeout; 0: none
extern bool accept_refresh_gap; // kafka.refresh_gap

} // namespace ke::pg::settings
