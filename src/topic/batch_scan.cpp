// The batch seam: a scan inside a worker's batch returns the batch's rows. Runs in the worker's
// transaction, once per view and batch; owns nothing.
#include "topic/scan.h"

extern "C" {
#include "utils/lsyscache.h"
#include "utils/rel.h"
}

#include <algorithm>

#include "pg/guard.h"

namespace ke::topic {

batch* current_batch = nullptr;

namespace {

bool below_floor(const batch& b, const decode::message_ref& m)
{
    if (m.topic.value >= b.floors.size())
        return false;
    const auto& of_topic = b.floors[m.topic.value];
    const std::size_t p = m.partition.value;
    return p < of_topic.size() && of_topic[p] != no_offset && m.offset < of_topic[p];
}

// number is left out; the cursor's place in the list moves along, since numbers only grow.
bool left_out(batch_cursor& c, std::uint32_t number)
{
    const auto& list = c.source->left_out;
    while (c.left_out < list.size() && list[c.left_out] < number)
        c.left_out++;
    return c.left_out < list.size() && list[c.left_out] == number;
}

// Moves to the next chosen message from where the cursor stands on; false: it is in a later chunk, or
// there is none.
bool find_chosen(batch_cursor& c, std::uint32_t messages)
{
    const auto& list = c.source->chosen;
    auto before = [](const batch::choice& x, std::uint32_t number) { return x.message < number; };
    auto at = list.begin() + static_cast<std::ptrdiff_t>(c.chosen);
    if (at != list.end() && before(*at, c.number()) && ++at != list.end() &&
        before(*at, c.number()))
        at = std::lower_bound(at, list.end(), c.number(), before);
    c.chosen = static_cast<std::size_t>(at - list.begin());
    if (at == list.end() || at->message - c.chunk_first >= messages)
        return false;
    c.message = at->message - c.chunk_first;
    return true;
}

// Whether the scan has the filters by which the batch's messages were chosen.
bool has_filter(const ForeignScanState* node, const batch& b)
{
    return b.wanted && list_difference(b.wanted, node->ss.ps.plan->qual) == NIL;
}

} // namespace

bool find_message(batch_cursor& c)
{
    const batch& b = *c.source;
    while (c.chunk < b.chunks.size()) {
        const auto& messages = b.chunks[c.chunk]->rows.messages;
        const std::uint32_t n = messages.size();
        if (c.chunk_first + c.message < b.first_message)
            c.message = std::min(n, b.first_message - c.chunk_first);
        for (; c.message < n; c.message++) {
            if (c.by_choice && !find_chosen(c, n))
                break;
            const std::uint32_t number = c.chunk_first + c.message;
            if (number >= b.last_message)
                return false;
            const decode::message_ref& m = messages[c.message];
            if (m.row_count && !below_floor(b, m) && !left_out(c, number))
                return true;
        }
        c.chunk_first += n;
        c.chunk++;
        c.message = 0;
    }
    return false;
}

void begin_batch(ForeignScanState* node, scan_state* scan, batch* b)
{
    Relation table = node->ss.ss_currentRelation;
    if (RelationGetRelid(table) != b->topic_table)
        ereport(ERROR,
                (errcode(ERRCODE_FEATURE_NOT_SUPPORTED),
                 errmsg("cannot read topic table \"%s\" inside a continuous view of another topic",
                        RelationGetRelationName(table)),
                 errdetail("The view reads \"%s\", batch by batch.", get_rel_name(b->topic_table)),
                 errhint("Make a continuous view of each topic and join the views.")));
    TupleDesc tuple = RelationGetDescr(table);
    if (AttrNumber missing = missing_attribute(tuple, *b->columns, scan->plan.attributes)) {
        for (int a = -1; (a = bms_next_member(scan->plan.attributes, a)) >= 0;)
            b->missing.push_back(a);
        ereport(ERROR, (errcode(errcode_stale_feed),
                        errmsg("the batch was decoded without column \"%s\"",
                               NameStr(TupleDescAttr(tuple, missing - 1)->attname))));
    }
    scan->maker = make_row_maker(tuple, *b->columns, scan->plan.attributes);
    scan->cursor.source = b;
    scan->cursor.by_choice = has_filter(node, *b);
    rewind_batch(scan);
}

void rewind_batch(scan_state* scan)
{
    batch* source = scan->cursor.source;
    source->rescanned = source->rescanned || scan->cursor.chunk > 0 || scan->cursor.message > 0;
    const bool by_choice = scan->cursor.by_choice;
    scan->cursor = {};
    scan->cursor.source = source;
    scan->cursor.by_choice = by_choice;
}

bool next_of_batch(scan_state* scan, TupleTableSlot* slot)
{
    batch_cursor& c = scan->cursor;
    batch& b = *c.source;
    while (c.row >= c.rows) {
        if (c.rows) {
            c.message++;
            c.row = c.rows = 0;
        }
        if (!find_message(c))
            return false;
        const ingest::chunk& chunk = *b.chunks[c.chunk];
        const std::uint32_t topic = chunk.rows.messages[c.message].topic.value;
        b.at_message = c.chunk_first + c.message;
        c.rows = begin_message(scan->maker, chunk, c.message, b.topic_name(topic));
    }
    b.at_message = c.chunk_first + c.message;
    store_row(scan->maker, *b.chunks[c.chunk], c.row++, slot);
    // ctid: the order of arrival, for keyed views (stream/keyed.cpp). 48 bits, compared as one number.
    ItemPointerSet(&slot->tts_tid, static_cast<BlockNumber>(c.returned >> 16),
                   static_cast<OffsetNumber>(c.returned & 0xffff));
    c.returned++;
    return true;
}

} // namespace ke::topic
