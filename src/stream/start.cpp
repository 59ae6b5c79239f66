// A start (topic/values.h reads its forms) brought down to offsets, with the broker's help where it needs
// it. Server's thread; the broker is asked inside pg::entry() (topic/ask.h).
#include "stream/start.h"

#include <algorithm>
#include <string>
#include <vector>

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
}

#include "pg/guard.h"
#include "stream/sql.h"
#include "topic/ask.h"
#include "topic/topic.h"
#include "topic/values.h"

namespace ke::stream {

namespace {

struct named_offset {
    std::string topic;
    int partition;
    std::int64_t offset;
};

using topic::refuse_start;
using topic::starting_point;
using kind = starting_point::kind;

// ------------------------------------------------------------------ down to offsets

struct found {
    std::string cluster_id;
    std::vector<named_offset> offsets;
    bool is_map = false;
};

bool has_partition(const topic::topic_table& t, int partition)
{
    return t.partitions.empty() ||
           std::any_of(t.partitions.begin(), t.partitions.end(), [&](const auto& range) {
               return partition >= range.first && partition <= range.second;
           });
}

// A map needs no broker; names are held against the table's options.
found resolve_map(const topic::topic_table& t, const std::vector<starting_point::entry>& map)
{
    found out;
    out.is_map = true;
    for (const starting_point::entry& e : map) {
        named_offset m{e.topic, e.partition.value, e.next.value};
        if (m.topic.empty()) {
            if (t.topics.size() != 1)
                refuse_start("a start for several topics must name the topic of each partition", "",
                             "Write '<topic>/<partition>:<offset>', such as 'orders/0:100'.");
            m.topic = t.topics[0];
        } else if (t.pattern.empty() &&
                   std::find(t.topics.begin(), t.topics.end(), m.topic) == t.topics.end())
            refuse_start("topic \"" + m.topic + "\" is not one of the topic table's", "",
                         "Name a topic of the table's option \"topic\".");
        if (!has_partition(t, m.partition))
            refuse_start("partition " + std::to_string(m.partition) +
                             " is not one of the topic table's",
                         "", "The table's option \"partitions\" leaves it out.");
        out.offsets.push_back(std::move(m));
    }
    return out;
}

named_offset named(const ingest::topic_partition& at, message_offset offset)
{
    return {at.topic, at.partition.value, offset.value};
}

void add_ends(const topic::line& line, const ingest::layout& layout,
              const std::vector<ingest::topic_partition>& wanted, found* out)
{
    for (const ingest::watermarks& w : topic::ask_ends(line, layout))
        if (std::find(wanted.begin(), wanted.end(), w.at) != wanted.end())
            out->offsets.push_back(named(w.at, w.high));
}

// Answers with an offset are taken; the partitions of the others come back.
std::vector<ingest::topic_partition>
add_answers(const topic::line& line, std::vector<ingest::resolved_offset> answers, found* out)
{
    std::vector<ingest::topic_partition> open;
    for (ingest::resolved_offset& a : answers) {
        if (a.error)
            topic::fail(line, std::move(*a.error));
        if (a.offset == no_offset)
            open.push_back(a.at);
        else
            out->offsets.push_back(named(a.at, a.offset));
    }
    return open;
}

found ask(const topic::topic_table& t, const starting_point& start, const std::string& group)
{
    const topic::line line = topic::open_line(CurrentMemoryContext, t);
    const ingest::layout layout = topic::ask_topics(line, t);
    const std::vector<ingest::topic_partition> all = topic::partitions_of(layout);
    found out{layout.cluster_id, {}};
    if (start.what == kind::latest)
        add_ends(line, layout, all, &out);
    else if (start.what == kind::time) {
        std::vector<std::pair<ingest::topic_partition, std::int64_t>> times;
        for (const auto& at : all)
            times.emplace_back(at, start.time_ms);
        // Later than every record: from the end.
        auto open = add_answers(
            line, topic::await(line, line.hub->ask_times(line.client, times, line.timeout)), &out);
        if (!open.empty())
            add_ends(line, layout, open, &out);
    } else // where the group has committed nothing, the earliest record is next
        (void)add_answers(
            line, topic::await(line, line.hub->ask_group(line.client, group, all, line.timeout)),
            &out);
    return out;
}

found resolve(Oid topic_table, Oid role, const std::string& given, const std::string& group)
{
    const starting_point start = topic::read_start(given);
    if (start.what == kind::earliest)
        return {};
    const topic::topic_table t = topic::load_topic_table(topic_table, role);
    return start.what == kind::map ? resolve_map(t, start.map) : ask(t, start, group);
}

// Into memory of the server's, in the given context.
start_positions to_plain(const found& f, MemoryContext to)
{
    return pg::call([&] {
        MemoryContext old = MemoryContextSwitchTo(to);
        start_positions out;
        out.positions =
            static_cast<start_position*>(palloc(sizeof(start_position) * (f.offsets.size() + 1)));
        for (const named_offset& o : f.offsets)
            out.positions[out.count++] = {pstrdup(o.topic.c_str()), o.partition, o.offset};
        out.is_map = f.is_map;
        out.cluster_id = f.cluster_id.empty() ? nullptr : pstrdup(f.cluster_id.c_str());
        MemoryContextSwitchTo(old);
        return out;
    });
}

} // namespace

start_positions resolve_start(Oid topic_table, Oid role, const char* start, const char* group)
{
    // Hub and client live in a context of their own, and go with it at once.
    MemoryContext result_context = CurrentMemoryContext;
    MemoryContext own =
        AllocSetContextCreate(CurrentMemoryContext, "kafka start", ALLOCSET_SMALL_SIZES);
    MemoryContextSwitchTo(own);
    start_positions out = pg::entry(
        [&] { return to_plain(resolve(topic_table, role, start, group), result_context); });
    MemoryContextSwitchTo(result_context);
    MemoryContextDelete(own);
    return out;
}

namespace {

Datum array_of(Datum* values, int count, Oid type, int length, bool by_value, char align)
{
    return PointerGetDatum(construct_array(values, count, type, length, by_value, align));
}

// Three arrays of equal length: topics, partitions, offsets.
void add_arrays(sql_arguments* a, const start_positions& p)
{
    auto* topics = static_cast<Datum*>(palloc(sizeof(Datum) * (p.count + 1)));
    auto* partitions = static_cast<Datum*>(palloc(sizeof(Datum) * (p.count + 1)));
    auto* offsets = static_cast<Datum*>(palloc(sizeof(Datum) * (p.count + 1)));
    for (int i = 0; i < p.count; i++) {
        topics[i] = CStringGetTextDatum(p.positions[i].topic);
        partitions[i] = Int32GetDatum(p.positions[i].partition);
        offsets[i] = Int64GetDatum(p.positions[i].next_offset);
    }
    a->add(TEXTARRAYOID, array_of(topics, p.count, TEXTOID, -1, false, TYPALIGN_INT));
    a->add(INT4ARRAYOID, array_of(partitions, p.count, INT4OID, 4, true, TYPALIGN_INT));
    a->add(INT8ARRAYOID, array_of(offsets, p.count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

} // namespace

void write_positions(Oid view, const start_positions& p)
{
    spi_stretch spi;
    spi.begin();
    sql_arguments a;
    a.add_oid(view);
    add_arrays(&a, p);
    if (!p.is_map)
        run("DELETE FROM kafka.progress WHERE view = $1 AND (topic, partition) NOT IN"
            " (SELECT t, n FROM unnest($2, $3) u (t, n))",
            a);
    run("INSERT INTO kafka.progress (view, topic, partition, next_offset)"
        " SELECT $1, t, n, o FROM unnest($2, $3, $4) u (t, n, o)"
        " ON CONFLICT (view, topic, partition)"
        " DO UPDATE SET next_offset = excluded.next_offset, leader_epoch = NULL,"
        " mark_offset = NULL, mark_time = NULL, mark_size = NULL",
        a);
    run("INSERT INTO kafka.begun AS b (view, topic, partition, first_offset)"
        " SELECT $1, t, n, o FROM unnest($2, $3, $4) u (t, n, o)"
        " ON CONFLICT (view, topic, partition)"
        " DO UPDATE SET first_offset = excluded.first_offset"
        " WHERE b.first_offset > excluded.first_offset",
        a);
    spi.end();
}

} // namespace ke::stream
