#include "stream/outbox.h"

extern "C" {
#include "access/xact.h"
#include "catalog/pg_type.h"
#include "utils/array.h"
#include "utils/builtins.h"
#include "utils/guc.h"
}

#include <algorithm>

#include "stream/letters.h"
#include "stream/processes.h"
#include "stream/serving.h"
#include "stream/shmem.h"
#include "stream/sql.h"
#include "stream/transaction.h"

namespace ke::stream {

namespace {

// A page ends at either; so much may be on its way over all views.
constexpr int page_rows = 500;
constexpr std::int64_t page_bytes = 8 << 20;
constexpr std::size_t most_bytes = 32 << 20;
// How often a view with the option is looked at though nobody said a word.
constexpr TimestampTz look_anyway = 60 * second;
// So many are put aside, one by one, before the view rests.
constexpr std::size_t most_held = 1000;
// A producer that nobody needs is let go.
constexpr TimestampTz idle_wire = 30 * second;

// A letter with what its headers say besides.
struct addressed {
    letter is;
    char* to;
    char* stage;
    char* sqlstate;
    bytes message, detail, view; // UTF-8
};
struct page {
    std::uint64_t count;
    addressed* all;
};

Datum id_array(const std::vector<std::int64_t>& ids)
{
    auto* d = static_cast<Datum*>(palloc(sizeof(Datum) * (ids.size() + 1)));
    for (std::size_t i = 0; i < ids.size(); i++)
        d[i] = Int64GetDatum(ids[i]);
    return PointerGetDatum(
        construct_array(d, static_cast<int>(ids.size()), INT8OID, 8, true, TYPALIGN_DOUBLE));
}

page read_page(Oid view, const char* name, int rows, const std::vector<std::int64_t>& without,
               MemoryContext to)
{
    spi_stretch spi;
    spi.begin();
    sql_arguments a;
    a.add_oid(view);
    a.add(INT4OID, Int32GetDatum(rows));
    a.add(INT8OID, Int64GetDatum(page_bytes));
    a.add_text(name);
    a.add(INT8ARRAYOID, id_array(without));
    page p{};
    p.count = run(
        "SELECT " LETTER_COLUMNS ", d.to_topic, d.stage, d.sqlstate,"
        " convert_to(d.message, 'UTF8'), convert_to(d.detail, 'UTF8'), convert_to($4, 'UTF8') FROM ("
        "SELECT w.*, sum(coalesce(octet_length(key), 0)::int8"
        " + coalesce(octet_length(value), 0)) OVER (ORDER BY id ROWS BETWEEN UNBOUNDED"
        " PRECEDING AND 1 PRECEDING) AS before"
        " FROM (SELECT * FROM kafka.dead_letter_log WHERE view = $1 AND to_topic IS NOT NULL"
        " AND id <> ALL ($5) ORDER BY id LIMIT $2) w) d WHERE coalesce(d.before, 0) < $3 ORDER BY d.id",
        a);
    p.all = static_cast<addressed*>(MemoryContextAlloc(to, sizeof(addressed) * (p.count + 1)));
    for (std::uint64_t i = 0; i < p.count; i++) {
        p.all[i].is = letter_of(i, to);
        p.all[i].to = MemoryContextStrdup(to, field(i, 11));
        p.all[i].stage = MemoryContextStrdup(to, field(i, 12));
        p.all[i].sqlstate = MemoryContextStrdup(to, field(i, 13));
        p.all[i].message = bytes_of(i, 14, to);
        p.all[i].detail = bytes_of(i, 15, to);
        p.all[i].view = bytes_of(i, 16, to);
    }
    spi.end();
    return p;
}

// The commit of this transaction goes to disk before it returns, and with it every commit before it:
// all that was read here.
void commit_to_disk()
{
    (void)GetCurrentTransactionId();
    ForceSyncCommit();
}

void mark_delivered(const std::vector<std::int64_t>& ids)
{
    sql_arguments a;
    a.add(INT8ARRAYOID, id_array(ids));
    spi_stretch spi;
    spi.begin();
    // Never behind a session that retries or discards them; then they are sent again, or gone.
    run("UPDATE kafka.dead_letter_log l SET to_topic = NULL, stage = NULL FROM (SELECT id"
        " FROM kafka.dead_letter_log WHERE id = ANY ($1) ORDER BY id FOR UPDATE SKIP LOCKED) d"
        " WHERE l.id = d.id",
        a);
    spi.end();
}

// The record's own headers, and behind them what Kafka Connect says of a dead letter.
std::vector<ingest::outgoing_header> headers_of(const addressed& l, const std::string& partition,
                                                const std::string& offset)
{
    std::vector<ingest::outgoing_header> all;
    for (int i = 0; i < l.is.headers.count; i++)
        all.push_back({l.is.headers.all[i].name, l.is.headers.all[i].value});
    auto add = [&](const char* name, bytes value) {
        all.push_back({std::string("__connect.errors.") + name, value});
    };
    add("topic", bytes(std::string_view(l.is.topic)));
    add("partition", bytes(partition));
    add("offset", bytes(offset));
    add("connector.name", l.view);
    add("task.id", bytes(std::string_view("0")));
    add("stage", bytes(std::string_view(l.stage)));
    add("class.name", bytes(std::string_view("kafka_engine")));
    add("exception.class.name", bytes(std::string_view(l.sqlstate)));
    add("exception.message", l.message);
    add("exception.stacktrace", l.detail);
    return all;
}

std::string words_of(const fault& f)
{
    return f.message + (f.detail.empty() ? "" : ": " + f.detail);
}

} // namespace

// A view's letters: nothing under way -> a page handed over -> confirmed or not -> marked.
struct outbox::exit {
    Oid view;
    Oid server;
    Oid owner;
    std::string name;
    ingest::properties login;
    bool open = false;    // not paused
    bool watched = false; // has the option
    TimestampTz next = 1; // when to look for letters; 0: when told
    int failures = 0;
    std::string trouble; // newest, said in the log once

    std::shared_ptr<wire> by;
    std::map<std::int64_t, std::size_t> under_way; // their bytes
    std::vector<std::int64_t> delivered;
    // The page under way: how many, the last of them, the first fault.
    int count = 0;
    std::int64_t last = 0;
    std::optional<fault> refused;

    // The broker refuses a whole request for one record that it does not take (too large): then pages
    // become smaller until it stands alone, and the others go before it is tried again.
    int rows = page_rows;
    std::vector<std::int64_t> held;
};

struct outbox::wire {
    ingest::properties login;
    std::unique_ptr<ingest::producer> producer;
    TimestampTz used = 0;
};

void outbox::want(const std::vector<registered_view>& views,
                  const std::map<Oid, topic::topic_table>& tables)
{
    std::map<Oid, std::shared_ptr<exit>> next;
    for (const registered_view& v : views) {
        auto table = tables.find(v.topic_table);
        auto old = exits_.find(v.view);
        auto e = old != exits_.end() ? old->second : std::make_shared<exit>();
        e->view = v.view;
        e->owner = v.owner;
        e->name = v.name;
        e->open = v.state != view_state::paused && table != tables.end();
        e->watched = !v.options.dead_letter_topic.empty();
        if (table != tables.end()) {
            e->server = table->second.server;
            e->login = table->second.connection;
            // Dead letters go one by one, in no transaction of Kafka's.
            std::erase_if(e->login, [](const auto& p) { return p.first == "transactional.id"; });
        }
        if (e->next == 0 && e->watched)
            e->next = 1; // resumed perhaps
        next.emplace(v.view, std::move(e));
    }
    exits_ = std::move(next);
    bytes_ = 0;
    for (const auto& [view, e] : exits_)
        for (const auto& [id, size] : e->under_way)
            bytes_ += size;
}

void outbox::look()
{
    for (const auto& [view, e] : exits_) {
        if (e->watched && e->under_way.empty() && e->failures == 0)
            e->next = 1; // behind a page under way comes another look anyway
    }
}

bool outbox::ready() const
{
    return std::any_of(wires_.begin(), wires_.end(),
                       [](const auto& w) { return w->producer->ready(); });
}

void outbox::hear()
{
    for (const auto& w : wires_) {
        for (ingest::delivery& d : w->producer->take()) {
            const auto id = static_cast<std::int64_t>(d.number);
            for (const auto& [view, e] : exits_) {
                auto at = e->under_way.find(id);
                if (at == e->under_way.end() || e->by != w)
                    continue;
                bytes_ -= at->second;
                e->under_way.erase(at);
                if (!d.trouble)
                    e->delivered.push_back(id);
                else if (!e->refused)
                    e->refused = std::move(d.trouble);
                break;
            }
        }
    }
}

void outbox::fail(exit& e, const std::string& words, TimestampTz now)
{
    e.failures++;
    e.next = next_try(now, e.failures + 2);
    e.held.clear();
    say(e, words);
}

void outbox::say(exit& e, const std::string& words)
{
    if (words == e.trouble)
        return;
    e.trouble = words;
    pg::call([&] {
        ereport(WARNING,
                (errmsg("dead letters of view %s do not reach their topic yet", e.name.c_str()),
                 errdetail("%s", words.c_str())));
    });
}

// All of a page has been answered.
void outbox::settle(exit& e, TimestampTz now)
{
    e.by->used = now;
    e.by.reset();
    if (!e.delivered.empty()) {
        const auto wrong = in_transaction([&] { pg::call([&] { mark_delivered(e.delivered); }); });
        e.delivered.clear();
        if (wrong) {
            e.refused.reset();
            return fail(e, wrong->message, now);
        }
    }
    e.next = e.count > 0 ? now : now + second; // there may be more; the queue was full
    if (!e.refused) {
        e.rows = std::min(e.rows * 2, page_rows);
        if (e.held.empty()) {
            e.failures = 0;
            e.trouble.clear();
        }
        return;
    }
    const fault why = std::move(*e.refused);
    e.refused.reset();
    const std::string words = words_of(why);
    if (why.kind != fault_kind::protocol || e.held.size() >= most_held)
        return fail(e, words, now);
    say(e, words);
    if (e.count > 1)
        e.rows = e.count / 2;
    else
        e.held.push_back(e.last);
}

outbox::wire* outbox::wire_of(exit& e, ingest::hub& hub, TimestampTz now)
{
    auto at = std::find_if(wires_.begin(), wires_.end(),
                           [&](const auto& w) { return w->login == e.login; });
    if (at == wires_.end()) {
        auto made = hub.open_producer(e.login);
        if (!made) {
            fail(e, words_of(made.error()), now);
            return nullptr;
        }
        auto fresh = std::make_shared<wire>();
        fresh->login = e.login;
        fresh->producer = std::move(made.value());
        at = wires_.insert(wires_.end(), std::move(fresh));
    }
    e.by = *at;
    return at->get();
}

void outbox::send_page(exit& e, ingest::hub& hub, TimestampTz now)
{
    MemoryContext memory = pg::call([] {
        return AllocSetContextCreate(CurrentMemoryContext, "kafka outbox", ALLOCSET_DEFAULT_SIZES);
    });
    page p{};
    const auto wrong = in_transaction([&] {
        check_usage(e.server, e.owner);
        p = pg::call([&] { return read_page(e.view, e.name.c_str(), e.rows, e.held, memory); });
        if (p.count > 0)
            pg::call([] { commit_to_disk(); });
    });
    e.next = e.watched ? now + look_anyway : 0;
    e.count = 0;
    if (wrong)
        fail(e, wrong->message, now);
    else if (p.count == 0 && !e.held.empty())
        fail(e, std::string(e.trouble), now); // they alone are left
    wire* w = !wrong && p.count > 0 ? wire_of(e, hub, now) : nullptr;
    for (std::uint64_t i = 0; w && i < p.count; i++) {
        const addressed& l = p.all[i];
        const std::string partition = std::to_string(l.is.partition);
        const std::string offset = std::to_string(l.is.offset);
        const auto headers = headers_of(l, partition, offset);
        auto sent = w->producer->send({.number = static_cast<std::uint64_t>(l.is.id),
                                       .topic = l.to,
                                       .key = l.is.key,
                                       .value = l.is.value,
                                       .timestamp_ms = l.is.timestamp_ms,
                                       .headers = headers});
        if (sent && !sent.value())
            break; // full: the rest is a page of its own
        e.count++;
        e.last = l.is.id;
        if (!sent) {
            if (!e.refused)
                e.refused = std::move(sent.error());
        } else {
            const std::size_t size = l.is.key.size + l.is.value.size;
            e.under_way.emplace(l.is.id, size);
            bytes_ += size;
        }
    }
    pg::call([&] { MemoryContextDelete(memory); });
}

TimestampTz outbox::step(TimestampTz now, end_watch& hubs)
{
    hear();
    TimestampTz next = 0;
    auto sooner = [&](TimestampTz t) { next = next == 0 ? t : std::min(next, t); };
    for (const auto& [view, e] : exits_) {
        if (e->by && e->under_way.empty())
            settle(*e, now);
        if (e->by || !e->open)
            continue;
        if (e->next != 0 && e->next <= now) {
            ingest::hub* h = bytes_ < most_bytes ? hubs.hub() : nullptr;
            if (!h)
                e->next = now + second;
            else
                send_page(*e, *h, now);
        }
        if (e->by && e->under_way.empty())
            settle(*e, now); // nothing of it could be handed over
        if (!e->by && e->next != 0)
            sooner(e->next);
    }
    std::erase_if(wires_, [&](const auto& w) {
        for (const auto& [view, e] : exits_)
            if (e->by == w)
                return false;
        if (w->used == 0)
            w->used = now;
        if (now - w->used >= idle_wire)
            return true;
        sooner(w->used + idle_wire);
        return false;
    });
    return next == 0 ? 0 : std::max(next, now + 1000);
}

} // namespace ke::stream
