#include "stream/patience.h"

extern "C" {
#include "miscadmin.h"
#include "utils/timeout.h"
#include "utils/timestamp.h"
}

#include <algorithm>

#include "pg/guard.h"

namespace ke::stream {

patience::patience(std::chrono::milliseconds limit)
    : limit_(limit), began_(std::chrono::steady_clock::now())
{
    const int ms = static_cast<int>(std::min<std::int64_t>(limit.count(), INT_MAX));
    if (ms > 0)
        pg::call([ms] {
            enable_timeout_every(STATEMENT_TIMEOUT,
                                 TimestampTzPlusMilliseconds(GetCurrentTimestamp(), ms), ms);
        });
}

patience::~patience()
{
    if (limit_.count() == 0)
        return;
    disable_timeout(STATEMENT_TIMEOUT, true);
    if (get_timeout_indicator(STATEMENT_TIMEOUT, true))
        QueryCancelPending = false; // it came too late
}

void patience::judge(trouble& t) const
{
    const bool own = t.sqlstate == ERRCODE_QUERY_CANCELED || t.what == remedy::record;
    if (limit_.count() == 0 || !own || spent() < limit_)
        return;
    t.what = remedy::slow;
    t.message = "its part of a batch took longer than " + std::to_string(limit_.count()) +
                " ms while other views waited";
    t.detail.clear();
    t.hint = "It goes on by itself, with fewer records at a time and more time. The setting "
             "kafka.view_timeout says how long a part may take.";
}

} // namespace ke::stream
