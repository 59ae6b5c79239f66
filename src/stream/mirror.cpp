// Committed positions to the views' Kafka groups, for tools that show lag: best effort, at most once
// in mirror_interval, and only positions whose commit is on disk: an asynchronous commit may be lost
// in a crash, and `start = 'group'` must never be ahead of the rows.
#include "stream/worker.h"

extern "C" {
#include "access/xlog.h"
}

namespace ke::stream {

void worker::mirror_positions()
{
    for (auto& s : sources_)
        for (auto& v : s->views)
            if (s->client && v->feed)
                mirror_view(*s, *v);
}

void worker::mirror_view(source& s, served_view& v)
{
    auto& m = v.mirror;
    if (m.answer.pending()) {
        if (!m.answer.ready())
            return;
        (void)m.answer.take(); // best effort: the next one says it again
    }
    const auto now = steady::now();
    if (now < m.next)
        return;
    if (m.positions.empty()) {
        if (XLogRecPtrIsInvalid(m.lsn))
            return; // nothing committed since the last
        for (const partition_key& k : s.partitions)
            if (auto p = v.positions.find(k); p != v.positions.end())
                m.positions.emplace_back(k, message_offset(p->second.next));
        m.taken = m.lsn;
        m.lsn = InvalidXLogRecPtr;
    }
    if (GetFlushRecPtr(nullptr) < m.taken)
        return; // the server's writer flushes within some 200 ms
    m.next = now + mirror_interval;
    if (m.positions != m.sent) {
        m.sent = m.positions;
        m.answer = hub_.mirror(s.client, v.is.options.group_id, m.positions,
                               milliseconds(s.table.connect_timeout_ms));
    }
    m.positions.clear();
}

} // namespace ke::stream
