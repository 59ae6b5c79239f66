// What an evaluated condition leaves of a partition, as sets of offsets (pushdown.h). Server calls
// only for comparisons of topics, through pg::call().
#include "topic/pushdown.h"

extern "C" {
#include "utils/builtins.h"
#include "utils/timestamp.h"
}

#include <algorithm>

#include "pg/guard.h"

namespace ke::topic {

namespace {

// Kafka counts milliseconds since 1970, the server microseconds since 2000.
constexpr std::int64_t epoch_shift_ms =
    static_cast<std::int64_t>(POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * SECS_PER_DAY * 1000;

std::int64_t floor_ms(std::int64_t us)
{
    return us / 1000 - (us % 1000 < 0 ? 1 : 0) + epoch_shift_ms;
}
std::int64_t ceil_ms(std::int64_t us)
{
    return us / 1000 + (us % 1000 > 0 ? 1 : 0) + epoch_shift_ms;
}

// Integers i with "i (how) v".
interval_set numbers(comparison how, std::int64_t v)
{
    constexpr auto lowest = interval_set::lowest;
    constexpr auto highest = interval_set::highest;
    switch (how) {
    case comparison::less:
        return v == lowest ? interval_set{} : interval_set::of(lowest, v - 1);
    case comparison::less_equal:
        return interval_set::of(lowest, v);
    case comparison::equal:
        return interval_set::of(v, v);
    case comparison::greater_equal:
        return interval_set::of(v, highest);
    case comparison::greater:
        return v == highest ? interval_set{} : interval_set::of(v + 1, highest);
    case comparison::not_equal:
        return interval_set::of(v, v).complement();
    }
    return interval_set::everything();
}

// Milliseconds whose time compares so with v microseconds; lowest and highest mean "no bound". One
// interval, empty as first > last.
interval milliseconds(comparison how, std::int64_t v)
{
    constexpr interval all{interval_set::lowest, interval_set::highest};
    if (TIMESTAMP_NOT_FINITE(v))
        return all; // what a record beyond the server's calendar shows is not ours to know
    switch (how) {
    case comparison::less:
        return {all.first, ceil_ms(v) - 1};
    case comparison::less_equal:
        return {all.first, floor_ms(v)};
    case comparison::equal:
        return {ceil_ms(v), floor_ms(v)};
    case comparison::greater_equal:
        return {ceil_ms(v), all.last};
    case comparison::greater:
        return {floor_ms(v) + 1, all.last};
    case comparison::not_equal:
        return all;
    }
    return all;
}

// The times a test leaves, as one interval around them all.
interval times_of(const condition* c)
{
    const bool any = !c->is_array || c->any;
    interval sum = any ? interval{interval_set::highest, interval_set::lowest}
                       : interval{interval_set::lowest, interval_set::highest};
    for (int i = 0; i < c->value_count; i++) {
        interval one = c->values[i].null ? interval{interval_set::highest, interval_set::lowest}
                                         : milliseconds(c->how, c->values[i].number);
        if (!any)
            sum = {std::max(sum.first, one.first), std::min(sum.last, one.last)};
        else if (one.first <= one.last)
            sum = {std::min(sum.first, one.first), std::max(sum.last, one.last)};
    }
    return sum;
}

bool topic_passes(const condition* c, const test_value& v, const std::string& topic)
{
    if (v.null)
        return false;
    if (c->how == comparison::equal || c->how == comparison::not_equal) {
        // Deterministic collations only: equal means equal bytes.
        struct varlena* t = reinterpret_cast<struct varlena*>(DatumGetPointer(v.topic));
        bool same = topic == std::string_view(VARDATA_ANY(t), VARSIZE_ANY_EXHDR(t));
        return same == (c->how == comparison::equal);
    }
    return pg::call([&] {
        Datum name = PointerGetDatum(cstring_to_text_with_len(topic.data(), topic.size()));
        return DatumGetBool(OidFunctionCall2Coll(c->function, c->collation, name, v.topic));
    });
}

// A test as a set of its own column's values, or of everything and nothing for _topic.
interval_set values_left(const condition* c, const std::string* topic)
{
    if (!c->known)
        return interval_set::everything();
    if (c->null_array)
        return {};
    if (c->what == decode::role::topic && !topic)
        return interval_set::everything();
    const bool any = !c->is_array || c->any;
    std::vector<interval> parts; // of all values, for ANY: united at once
    interval_set common = interval_set::everything();
    for (int i = 0; i < c->value_count; i++) {
        const test_value& v = c->values[i];
        interval_set one;
        if (c->what == decode::role::topic)
            one = topic_passes(c, v, *topic) ? interval_set::everything() : interval_set{};
        else if (!v.null)
            one = numbers(c->how, v.number);
        if (any)
            parts.insert(parts.end(), one.parts().begin(), one.parts().end());
        else
            common = common & one;
    }
    return any ? interval_set::of(std::move(parts)) : common;
}

interval_set time_left(const condition* c, const partition_facts& p)
{
    if (!c->known)
        return interval_set::everything();
    if (c->null_array)
        return {};
    const interval t = times_of(c);
    if (t.first > t.last)
        return {};
    if (!p.times)
        return interval_set::everything();
    // Of the moments asked about the newest one not after our first serves best, of those after our
    // last the oldest: a superset in both cases.
    std::int64_t first = interval_set::lowest, last = interval_set::highest;
    std::int64_t best_from = 0, best_until = interval_set::highest;
    for (const auto& [time, offset] : *p.times) {
        if (offset == interval_set::lowest)
            continue; // no answer
        if (time <= t.first && time > best_from) {
            best_from = time;
            first = offset;
        }
        if (p.times_ascend && t.last < time - clock_slack_ms && time < best_until) {
            best_until = time;
            last = offset == beyond_the_end ? offset : offset - 1;
        }
    }
    if (first == beyond_the_end)
        return {};
    return interval_set::of(first, last);
}

interval_set test_leaves(const condition* c, const partition_facts& p)
{
    switch (c->what) {
    case decode::role::offset:
        return values_left(c, nullptr);
    case decode::role::partition:
        return values_left(c, nullptr).contains(p.partition) ? interval_set::everything()
                                                             : interval_set{};
    case decode::role::topic:
        return values_left(c, p.topic);
    case decode::role::timestamp:
        return time_left(c, p);
    default:
        return interval_set::everything();
    }
}

// Puts the tests' sets together; of: the set of one test.
template <class F>
interval_set combine(const condition* c, const F& of)
{
    if (!c)
        return interval_set::everything();
    if (c->kind == test_kind::test)
        return of(c);
    interval_set sum = c->kind == test_kind::all_of ? interval_set::everything() : interval_set{};
    for (int i = 0; i < c->count; i++) {
        if (c->kind == test_kind::all_of)
            sum = sum & combine(c->children[i], of);
        else
            sum = sum | combine(c->children[i], of);
    }
    return sum;
}

void collect_times(const condition* c, time_points& points)
{
    if (!c)
        return;
    for (int i = 0; i < c->count; i++)
        collect_times(c->children[i], points);
    if (c->kind != test_kind::test || c->what != decode::role::timestamp || !c->known)
        return;
    const interval t = times_of(c);
    if (t.first > t.last)
        return;
    if (t.first > 0 && t.first != interval_set::highest)
        points.from.push_back(t.first);
    if (t.last > 0 && t.last < interval_set::highest - 1 - clock_slack_ms)
        points.until.push_back(t.last + 1 + clock_slack_ms);
}

void sort_out(std::vector<std::int64_t>& v)
{
    std::sort(v.begin(), v.end());
    v.erase(std::unique(v.begin(), v.end()), v.end());
}

} // namespace

time_points times_asked(const condition* c)
{
    time_points points;
    collect_times(c, points);
    sort_out(points.from);
    sort_out(points.until);
    return points;
}

interval_set leaves(const condition* c, const partition_facts& p)
{
    return combine(c, [&](const condition* test) { return test_leaves(test, p); });
}

interval_set projection(const condition* c, decode::role role)
{
    return combine(c, [&](const condition* test) {
        return test->what == role ? values_left(test, nullptr) : interval_set::everything();
    });
}

} // namespace ke::topic
