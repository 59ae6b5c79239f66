// EXPLAIN of a topic scan: topics, conditions pushed, partitions and offsets that they leave; with
// ANALYZE what was read. Needs no broker unless ANALYZE runs the query.
#include "topic/kafka_scan.h"

extern "C" {
#include "executor/executor.h"
#include "nodes/makefuncs.h"
#include "utils/rel.h"
#include "utils/ruleutils.h"
}

#include "pg/guard.h"

namespace ke::topic {

namespace {

// Ranges listed one by one; more are counted.
constexpr std::size_t most_ranges = 16;

// Nothing after the dash where the interval ends at highest: it has no end.
std::string show(const interval& i, std::int64_t highest)
{
    if (i.first == i.last)
        return std::to_string(i.first);
    return std::to_string(i.first) + "-" + (i.last == highest ? "" : std::to_string(i.last));
}

std::string show(const std::vector<interval>& parts, std::int64_t highest = interval_set::highest)
{
    std::string s;
    for (std::size_t i = 0; i < parts.size() && i < most_ranges; i++)
        s += (i ? "," : "") + show(parts[i], highest);
    if (parts.size() > most_ranges)
        s += ",... (" + std::to_string(parts.size()) + " ranges)";
    return s.empty() ? "none" : s;
}

// Text for ExplainPropertyText, which may raise: a copy that the server owns.
char* to_server(const std::string& s)
{
    return pg::call([&] { return pstrdup(s.c_str()); });
}

char* topics_of(Relation table)
{
    const topic_table t = load_topic_table(RelationGetRelid(table), GetUserId());
    std::string s;
    for (const std::string& name : t.topics)
        s += (s.empty() ? "" : ", ") + name;
    return to_server(t.pattern.empty() ? s : "/" + t.pattern + "/");
}

// What the condition leaves of a column, or null where that is everything.
char* left_of(const condition* c, decode::role what, std::int64_t highest)
{
    interval_set all = interval_set::of(0, highest);
    interval_set left = projection(c, what) & all;
    return left == all ? nullptr : to_server(show(left.parts(), highest));
}

char* ranges_of(const kafka_scan& k)
{
    std::string s;
    std::size_t n = 0;
    for (const partition_ranges& r : k.ranges()) {
        if (++n > most_ranges)
            break;
        s += (s.empty() ? "" : ", ") + r.topic + "/" + std::to_string(r.partition) + ":" +
             show(r.ranges);
    }
    if (k.ranges().size() > most_ranges)
        s += ", ... (" + std::to_string(k.ranges().size()) + " partitions)";
    return to_server(s.empty() ? "none" : s);
}

void show_pushed(ForeignScanState* node, scan_state* scan, ExplainState* es)
{
    if (scan->plan.pushed == NIL)
        return;
    List* context = set_deparse_context_plan(es->deparse_cxt, node->ss.ps.plan, NIL);
    Node* all = reinterpret_cast<Node*>(make_ands_explicit(scan->plan.pushed));
    const bool prefix = list_length(es->rtable) > 1 || es->verbose;
    ExplainPropertyText("Pushed", deparse_expression(all, context, prefix, false), es);
}

} // namespace

void explain_scan(ForeignScanState* node, ExplainState* es)
{
    auto* scan = static_cast<scan_state*>(node->fdw_state);
    ExplainPropertyText("Topic", topics_of(node->ss.ss_currentRelation), es);
    show_pushed(node, scan, es);
    if (scan->explain_only)
        evaluate(scan->pushed, stage::starting, node->ss.ps.ps_ExprContext, scan->values);
    if (char* partitions = left_of(scan->pushed, decode::role::partition, INT32_MAX))
        ExplainPropertyText("Partitions", partitions, es);
    if (char* offsets = left_of(scan->pushed, decode::role::offset, interval_set::highest))
        ExplainPropertyText("Offsets", offsets, es);
    if (!es->analyze || !scan->kafka)
        return;
    const kafka_scan& k = *scan->kafka;
    ExplainPropertyText("Ranges", ranges_of(k), es);
    ExplainPropertyInteger("Records Read", nullptr, k.records(), es);
    ExplainPropertyInteger("Bytes", nullptr, k.bytes(), es);
    ExplainPropertyInteger("Rows Rejected", nullptr, k.rejected + scan->maker->refused, es);
}

} // namespace ke::topic
