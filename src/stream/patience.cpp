#include "stream/patience.h"

extern "C" {
#include "miscadmin.h"
#include "utils/timeout.h"
}

#include "pg/guard.h"
#include "pg/guc.h"

namespace ke::stream {

patience::patience(bool others_wait)
    : limit_ms_(others_wait ? pg::settings::view_timeout_ms : 0),
      began_(std::chrono::steady_clock::now())
{
    if (limit_ms_ > 0)
        pg::call([this] { enable_timeout_after(STATEMENT_TIMEOUT, limit_ms_); });
}

patience::~patience()
{
    if (limit_ms_ == 0)
        return;
    disable_timeout(STATEMENT_TIMEOUT, true);
    if (get_timeout_indicator(STATEMENT_TIMEOUT, true))
        QueryCancelPending = false; // it came too late
}

void patience::judge(trouble& t) const
{
    if (limit_ms_ == 0 || t.sqlstate != ERRCODE_QUERY_CANCELED ||
        spent() < std::chrono::milliseconds(limit_ms_))
        return;
    t.what = remedy::slow;
    t.message = "its part of a batch took longer than " + std::to_string(limit_ms_) +
                " ms while other views waited";
    t.detail.clear();
    t.hint =
        "It goes on by itself, with fewer records at a time. The setting kafka.view_timeout says how "
        "long a part may take.";
}

} // namespace ke::stream
