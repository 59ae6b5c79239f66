// The forms of a start: judged first, then brought down to offsets, with the broker's help where one
// of them needs it. Server's thread; the broker is asked inside pg::entry() (topic/ask.h).
#include "stream/start.h"

#include <algorithm>
#include <climits>
#include <optional>
#include <string>
#include <vector>

extern "C" {
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/memutils.h"
#include "utils/timestamp.h"
}

#include "pg/guard.h"
#include "stream/sql.h"
#include "topic/ask.h"
#include "topic/topic.h"

namespace ke::stream {

namespace {

enum class form : char { earliest, latest, time, group, map };

struct named_offset {
    std::string topic; // empty: the only one
    int partition;
    std::int64_t offset;
};

struct start_spec {
    form what = form::earliest;
    std::int64_t time_ms = 0;
    std::vector<named_offset> map;
};

constexpr char forms_hint[] =
    "Give earliest, latest, group, a time such as '2026-11-01 00:00+00', or next offsets by "
    "partition such as '0:100,1:250' ('orders/0:100' where there are several topics).";

[[noreturn]] void refuse(std::string message, std::string detail, std::string hint = forms_hint)
{
    throw pg::fault_error({fault_kind::refused_option, std::move(message), std::move(detail),
                           std::move(hint)});
}

std::string_view trimmed(std::string_view s)
{
    while (!s.empty() && (s.front() == ' ' || s.front() == '\n' || s.front() == '\t'))
        s.remove_prefix(1);
    while (!s.empty() && (s.back() == ' ' || s.back() == '\n' || s.back() == '\t'))
        s.remove_suffix(1);
    return s;
}

// Digits only; nothing where there are none or too many.
std::optional<std::int64_t> digits(std::string_view s, std::int64_t most)
{
    if (s.empty() || s.size() > 19)
        return {};
    std::uint64_t n = 0;
    for (char c : s) {
        if (c < '0' || c > '9')
            return {};
        n = n * 10 + static_cast<std::uint64_t>(c - '0');
    }
    if (n > static_cast<std::uint64_t>(most))
        return {};
    return static_cast<std::int64_t>(n);
}

// [topic/]partition:offset
std::optional<named_offset> parse_entry(std::string_view s)
{
    named_offset out{};
    if (std::size_t slash = s.rfind('/'); slash != std::string_view::npos) {
        out.topic = trimmed(s.substr(0, slash));
        s = s.substr(slash + 1);
        if (out.topic.empty())
            return {};
    }
    std::size_t colon = s.find(':');
    if (colon == std::string_view::npos)
        return {};
    auto partition = digits(trimmed(s.substr(0, colon)), INT_MAX);
    auto offset = digits(trimmed(s.substr(colon + 1)), INT64_MAX);
    if (!partition || !offset)
        return {};
    out.partition = static_cast<int>(*partition);
    out.offset = *offset;
    return out;
}

std::optional<std::vector<named_offset>> parse_map(std::string_view s)
{
    std::vector<named_offset> out;
    while (true) {
        std::size_t comma = s.find(',');
        auto one = parse_entry(trimmed(s.substr(0, comma)));
        if (!one)
            return {};
        for (const named_offset& other : out)
            if (other.topic == one->topic && other.partition == one->partition)
                refuse("partition " + std::to_string(one->partition) + " is named twice in a start",
                       "", "Name each partition once.");
        out.push_back(*one);
        if (comma == std::string_view::npos)
            return out;
        s.remove_prefix(comma + 1);
    }
}

// Milliseconds since 1970, rounded up, of what timestamptz's input function takes.
std::int64_t parse_time(const std::string& s)
{
    TimestampTz t = 0;
    try {
        t = pg::call([&] {
            return DatumGetTimestampTz(DirectFunctionCall3(
                timestamptz_in, CStringGetDatum(s.c_str()), ObjectIdGetDatum(InvalidOid),
                Int32GetDatum(-1)));
        });
    } catch (const pg::pg_error& e) { // raised again, in words of ours
        e.data()->message = psprintf("invalid start \"%s\"", s.c_str());
        e.data()->detail = nullptr;
        e.data()->hint = pstrdup(forms_hint);
        throw;
    }
    if (TIMESTAMP_NOT_FINITE(t))
        refuse("invalid start \"" + s + "\"", "A start must be a finite time.");
    std::int64_t us = t + (POSTGRES_EPOCH_JDATE - UNIX_EPOCH_JDATE) * USECS_PER_DAY;
    return us <= 0 ? 0 : (us + 999) / 1000;
}

start_spec parse(const std::string& given)
{
    std::string s(trimmed(given));
    if (s == "earliest")
        return {form::earliest};
    if (s == "latest")
        return {form::latest};
    if (s == "group")
        return {form::group};
    if (s.empty())
        refuse("a start must not be empty", "");
    if (auto map = parse_map(s))
        return {form::map, 0, std::move(*map)};
    return {form::time, parse_time(s)};
}

// ------------------------------------------------------------------ down to offsets

struct found {
    std::string cluster_id;
    std::vector<named_offset> offsets;
};

bool has_partition(const topic::topic_table& t, int partition)
{
    return t.partitions.empty() ||
           std::any_of(t.partitions.begin(), t.partitions.end(), [&](const auto& range) {
               return partition >= range.first && partition <= range.second;
           });
}

// A map needs no broker; names are held against the table's options.
found resolve_map(const topic::topic_table& t, std::vector<named_offset> map)
{
    for (named_offset& m : map) {
        if (m.topic.empty()) {
            if (t.topics.size() != 1)
                refuse("a start for several topics must name the topic of each partition", "",
                       "Write '<topic>/<partition>:<offset>', such as 'orders/0:100'.");
            m.topic = t.topics[0];
        } else if (t.pattern.empty() &&
                   std::find(t.topics.begin(), t.topics.end(), m.topic) == t.topics.end())
            refuse("topic \"" + m.topic + "\" is not one of the topic table's", "",
                   "Name a topic of the table's option \"topic\".");
        if (!has_partition(t, m.partition))
            refuse("partition " + std::to_string(m.partition) + " is not one of the topic table's",
                   "", "The table's option \"partitions\" leaves it out.");
    }
    return {"", std::move(map)};
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
std::vector<ingest::topic_partition> add_answers(const topic::line& line,
                                                 std::vector<ingest::resolved_offset> answers,
                                                 found* out)
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

found ask(const topic::topic_table& t, const start_spec& spec, const std::string& group)
{
    const topic::line line = topic::open_line(CurrentMemoryContext, t);
    const ingest::layout layout = topic::ask_topics(line, t);
    const std::vector<ingest::topic_partition> all = topic::partitions_of(layout);
    found out{layout.cluster_id, {}};
    if (spec.what == form::latest)
        add_ends(line, layout, all, &out);
    else if (spec.what == form::time) {
        std::vector<std::pair<ingest::topic_partition, std::int64_t>> times;
        for (const auto& at : all)
            times.emplace_back(at, spec.time_ms);
        // Later than every record: from the end.
        auto open = add_answers(
            line, topic::await(line, line.hub->ask_times(line.client, times, line.timeout)), &out);
        if (!open.empty())
            add_ends(line, layout, open, &out);
    } else // where the group has committed nothing, the earliest record is next
        (void) add_answers(
            line, topic::await(line, line.hub->ask_group(line.client, group, all, line.timeout)),
            &out);
    return out;
}

found resolve(Oid topic_table, Oid role, const std::string& start, const std::string& group)
{
    const start_spec spec = parse(start);
    if (spec.what == form::earliest)
        return {};
    const topic::topic_table t = topic::load_topic_table(topic_table, role);
    return spec.what == form::map ? resolve_map(t, spec.map) : ask(t, spec, group);
}

// Into memory of the server's, in the given context.
start_positions to_plain(const found& f, MemoryContext to)
{
    return pg::call([&] {
        MemoryContext old = MemoryContextSwitchTo(to);
        start_positions out;
        out.positions = static_cast<start_position*>(
            palloc(sizeof(start_position) * (f.offsets.size() + 1)));
        for (const named_offset& o : f.offsets)
            out.positions[out.count++] = {pstrdup(o.topic.c_str()), o.partition, o.offset};
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
    MemoryContext own = AllocSetContextCreate(CurrentMemoryContext, "kafka start",
                                              ALLOCSET_SMALL_SIZES);
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
    a->add(INT8ARRAYOID,
           array_of(offsets, p.count, INT8OID, 8, FLOAT8PASSBYVAL, TYPALIGN_DOUBLE));
}

} // namespace

void write_positions(Oid view, const start_positions& p)
{
    spi_stretch spi;
    spi.begin();
    sql_arguments a;
    a.add_oid(view);
    add_arrays(&a, p);
    run("DELETE FROM kafka.progress WHERE view = $1 AND (topic, partition) NOT IN"
        " (SELECT t, n FROM unnest($2, $3) u (t, n))",
        a);
    run("INSERT INTO kafka.progress (view, topic, partition, next_offset)"
        " SELECT $1, t, n, o FROM unnest($2, $3, $4) u (t, n, o)"
        " ON CONFLICT (view, topic, partition)"
        " DO UPDATE SET next_offset = excluded.next_offset, leader_epoch = NULL",
        a);
    spi.end();
}

} // namespace ke::stream
