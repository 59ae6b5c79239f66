// What each part of the extension sets up when the library is loaded; _PG_init calls them in this
// order (pg/module.cpp). Needs neither the server's headers nor the parts' own, so that pg/ does not
// look up at topic/ and stream/. A new part adds its line here and its call there.
//
// All run once per process, in the postmaster where the library is preloaded; none may start threads.
#pragma once

namespace ke::pg {
void init_settings(); // pg/guc
} // namespace ke::pg
namespace ke::stream {
void init_processes(); // stream/launcher: shared memory and the launcher, where preloaded
void init_hook();      // stream/hook: the utility hook
} // namespace ke::stream
