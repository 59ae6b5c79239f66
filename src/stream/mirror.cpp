// Committed positions to the views' Kafka groups, for tools that show lag: best effort, at most once
// in mirror_interval, and only positions whose commit is on disk: an asynchronous commit may be lost
// in a crash, and `start = 'group'` must never be ahead of the rows.
#include <algorithm>

#include "stream/worker.h"

extern "C" {
#include "access/xlog.h"
}

namespace ke::stream {

namespace {
// Coordinators that do not answer must not keep all of a client's askers (kafka/control) from what
// reading needs.
constexpr int most_at_once = 2;
constexpr milliseconds after_refusal{30000};
} // namespace

void worker::mirror_positions()
{
    mirroring_ = 0;
    for (auto& s : sources_)
        mirroring_ += static_cast<int>(std::count_if(s->views.begin(), s->views.end(), [](auto& v) {
            return v->mirror.answer.pending() && !v->mirror.answer.ready();
        }));
    for (auto& s : sources_)
        for (auto& v : s->views)
            if (s->client && v->feed)
                mirror_view(*s, *v);
}

void worker::mirror_view(source& s, served_view& v)
{
    auto& m = v.mirror;
    const auto now = steady::now();
    if (m.answer.pending()) {
        if (!m.answer.ready())
            return;
        if (!m.answer.take()) { // later, also where nothing more comes
            if (m.positions.empty())
                m.positions = std::move(m.sent);
            m.sent.clear();
            m.next = now + after_refusal;
        }
    }
    if (now < m.next || mirroring_ >= most_at_once)
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
        ++mirroring_;
        m.answer = hub_.mirror(s.client, v.is.options.group_id, m.positions,
                               milliseconds(s.table.connect_timeout_ms));
    }
    m.positions.clear();
}

} // namespace ke::stream
