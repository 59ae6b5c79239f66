// The table of settings kafka.*: name, variable, default, range, who may change it, help.
#include "pg/compat.h"

extern "C" {
#include "utils/guc.h"
}

#include "pg/guc.h"
#include "pg/parts.h"

namespace ke::pg {

namespace settings {
int workers = 4;
int lanes = 1;
int view_timeout_ms = 5000;
bool accept_refresh_gap = false;
} // namespace settings

namespace {

struct integer_setting {
    const char* name;
    int* variable;
    int initial, least, most;
    GucContext context;
    int flags; // GUC_UNIT_MS and the like
    const char* help;
};

const integer_setting integers[] = {
    {"kafka.workers", &settings::workers, 4, 1, 1024, PGC_SIGHUP, 0,
     "Most background workers that read Kafka in one database."},
    {"kafka.lanes", &settings::lanes, 1, 1, 16, PGC_SIGHUP, 0,
     "Threads of a worker that share the partitions of a topic, each with a connection of its own."},
    {"kafka.view_timeout", &settings::view_timeout_ms, 5000, 0, INT_MAX, PGC_SIGHUP, GUC_UNIT_MS,
     "How long a view's part of a batch may take while other views wait for the worker; 0 for ever."},
};

int refresh_gap; // the enumeration behind accept_refresh_gap
const config_enum_entry refresh_gaps[] = {
    {"refuse", false, false}, {"accept", true, false}, {nullptr, 0, false}};

} // namespace

void init_settings()
{
    for (const integer_setting& s : integers)
        DefineCustomIntVariable(s.name, s.help, nullptr, s.variable, s.initial, s.least, s.most,
                                s.context, s.flags, nullptr, nullptr, nullptr);
    DefineCustomEnumVariable(
        "kafka.refresh_gap",
        "Whether REFRESH goes on where the topic does not hold all that the view was made of.",
        nullptr, &refresh_gap, false, refresh_gaps, PGC_USERSET, 0, nullptr,
        [](int value, void*) { settings::accept_refresh_gap = value; }, nullptr);
    MarkGUCPrefixReserved("kafka");
}

} // namespace ke::pg
