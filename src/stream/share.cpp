// From gathered chunks to what each view does with them. Work per chunk and per refused record,
// never per row. Server's thread; plain C++, no server calls.
#include "stream/share.h"

#include <algorithm>

namespace ke::stream {

namespace {

const ingest::chunk& chunk_at(const topic::batch& b, std::uint32_t& number)
{
    std::size_t i = 0;
    while (number >= b.chunks[i]->rows.messages.size())
        number -= static_cast<std::uint32_t>(b.chunks[i++]->rows.messages.size());
    return *b.chunks[i];
}

std::vector<std::vector<message_offset>> floors_of(const feed_state& f, const served_view& v)
{
    std::vector<std::vector<message_offset>> floors(f.topics.size());
    for (std::size_t i = 0; i < f.partitions.size(); i++) {
        auto& of_topic = floors[f.topic_of[i]];
        auto n = static_cast<std::size_t>(f.partitions[i].partition.value);
        if (of_topic.size() <= n)
            of_topic.resize(n + 1, no_offset);
        auto found = v.positions.find(f.partitions[i]);
        of_topic[n] = message_offset(found == v.positions.end() ? INT64_MAX : found->second.ahead);
    }
    return floors;
}

std::int64_t floor_of(const share& s, topic_number t, partition_id p)
{
    const auto& of_topic = s.rows.floors[t.value];
    auto n = static_cast<std::size_t>(p.value);
    return n < of_topic.size() ? of_topic[n].value : INT64_MAX;
}

// Whether a record refused for this column of the feed's plan would have been refused if only this
// view's columns had been decoded.
bool concerns(const share& s, const decode::reject& r)
{
    const decode::row_plan& own = *s.view->plan.columns.plan;
    if (r.column < 0) // the document as a whole
        return own.payload_needed || own.key_needed;
    const auto& name = s.feed->columns.plan->columns[static_cast<std::size_t>(r.column)].name;
    return std::any_of(own.columns.begin(), own.columns.end(),
                       [&](const decode::column& c) { return c.name == name; });
}

// Records that did not decode.
void judge_rejects(share& s)
{
    std::uint32_t base = 0;
    for (const ingest::chunk* c : s.rows.chunks) {
        for (const decode::reject& r : c->rows.rejects) {
            const decode::message_ref& m = c->rows.messages[r.message];
            if (m.offset.value < floor_of(s, m.topic, m.partition))
                continue;
            if (!concerns(s, r)) {
                s.foreign = true;
                continue;
            }
            refused f = at_message(s, base + r.message);
            f.record = &r.record;
            give_reason(f, r, *s.feed->columns.plan);
            if (auto stop = must_stop(s, f)) {
                s.cut = f.number;
                s.stop = std::move(stop);
                return;
            }
            note(s, std::move(f));
        }
        base += static_cast<std::uint32_t>(c->rows.messages.size());
    }
}

// For a view without columns of the payload each record is a row, as none is parsed for it; for others
// it may hold many, or none.
bool has_others_rows(const share& s)
{
    if (s.view->plan.columns.plan->payload_needed || !s.feed->columns.plan->payload_needed)
        return false;
    for (const ingest::chunk* c : s.rows.chunks)
        for (const decode::message_ref& m : c->rows.messages)
            if (m.row_count != 1 && m.offset.value >= floor_of(s, m.topic, m.partition))
                return true;
    return false;
}

// The last of a chunk's first n messages that is of this partition.
std::optional<log_mark> last_of(const ingest::chunk& c, std::uint32_t n, topic_number t,
                                partition_id p)
{
    while (n-- > 0) {
        const decode::message_ref& m = c.rows.messages[n];
        if (m.topic == t && m.partition == p)
            return log_mark{m.offset.value, m.timestamp_ms, static_cast<std::int32_t>(m.size)};
    }
    return std::nullopt;
}

} // namespace

refused at_message(const share& s, std::uint32_t number)
{
    std::uint32_t within = number;
    const ingest::chunk& c = chunk_at(s.rows, within);
    const decode::message_ref& m = c.rows.messages[within];
    refused f;
    f.number = number;
    f.topic = s.rows.topics[m.topic.value];
    f.partition = m.partition.value;
    f.offset = m.offset.value;
    f.timestamp_ms = m.timestamp_ms;
    if (!c.rows.origins.empty())
        f.record = &c.rows.origins[within];
    return f;
}

void find_moves(share& s)
{
    struct reached {
        std::int64_t next = 0;
        std::int32_t epoch = -1;
        log_mark mark = {};
    };
    std::map<partition_key, reached> to;
    s.works = false;
    std::uint32_t base = 0;
    for (const ingest::chunk* c : s.rows.chunks) {
        auto n = static_cast<std::uint32_t>(c->rows.messages.size());
        std::uint32_t applied = s.cut > base ? std::min(n, s.cut - base) : 0;
        for (const ingest::advance& a : c->advances) {
            std::int64_t floor = floor_of(s, a.topic, a.partition);
            std::int64_t next = a.next.value;
            // Only up to the first message of this partition that is left for later.
            for (std::uint32_t i = applied; i < n; i++) {
                const decode::message_ref& m = c->rows.messages[i];
                if (m.topic == a.topic && m.partition == a.partition) {
                    next = std::min(next, m.offset.value);
                    break;
                }
            }
            if (next > floor) {
                s.uncovered = s.uncovered || floor < s.feed->begun_at(a.topic, a.partition);
                reached& r = to[{s.feed->topics[a.topic.value], a.partition}];
                r.next = std::max(r.next, next);
                r.epoch = std::max(r.epoch, a.leader_epoch);
                if (auto mark = last_of(*c, applied, a.topic, a.partition))
                    r.mark = *mark;
                s.works = s.works || (applied > 0 && a.first.value < a.next.value);
            }
        }
        base += n;
        if (s.cut < base)
            break; // later chunks belong to the time after
    }
    s.moves.clear();
    for (const auto& [key, p] : s.view->positions) {
        auto found = to.find(key);
        std::int64_t next = std::max(p.ahead, found == to.end() ? 0 : found->second.next);
        if (next > p.next)
            s.moves.push_back({s.view, key, p.next, next,
                               found == to.end() ? p.epoch : found->second.epoch, 0, 0,
                               found == to.end() ? log_mark{} : found->second.mark});
    }
}

share make_share(feed_state& f, served_view& v)
{
    share s;
    s.view = &v;
    s.feed = &f;
    s.rows.topic_table = v.is.topic_table;
    s.rows.topics = f.topics;
    s.rows.columns = &f.columns;
    s.rows.chunks = f.gathered;
    s.rows.floors = floors_of(f, v);
    for (const ingest::chunk* c : f.gathered)
        s.cut += static_cast<std::uint32_t>(c->rows.messages.size());
    s.in_a_row = v.bad.in_a_row;
    s.room = v.is.options.max_dead_letters - std::max<std::int64_t>(v.bad.counted, 0) - v.bad.added;
    s.foreign = has_others_rows(s);
    judge_rejects(s);
    s.rows.last_message = s.cut;
    find_moves(s);
    return s;
}

} // namespace ke::stream
