// The careful replay of a share: see replay.h. Good records, refusals and positions then commit
// together. Server's thread, inside the batch's transaction.
#include "stream/replay.h"

#include "stream/share.h"

namespace ke::stream {

namespace {

// A transaction of a replay lasts about so long; what is left is read again.
constexpr milliseconds slice{2000};

// Nothing from this message on is applied.
void cut_at(share& s, std::uint32_t number)
{
    s.cut = number;
    find_moves(s);
}

} // namespace

void apply_carefully(share& s)
{
    // Records that did not decode take their places among those that the server refuses.
    std::vector<refused> undecoded = std::move(s.refusals);
    auto next = undecoded.begin();
    auto note_until = [&](std::uint32_t number) {
        for (; next != undecoded.end() && next->number < number; ++next)
            note(s, std::move(*next));
    };
    s.refusals.clear();
    s.in_a_row = s.view->bad.in_a_row;
    s.after_last = 0;

    const view_options& options = s.view->is.options;
    std::optional<trouble> schema; // class 42, and nothing else so far
    replay r{*s.view, s.rows};
    r.refuse = [&](std::uint32_t number, const trouble& t) {
        note_until(number);
        if (looks_like_schema(t) && r.good == 0)
            schema = t;
        refused f = at_message(s, number);
        give_reason(f, t, s.rows.at_column);
        s.stop = must_stop(s, f);
        if (s.stop && schema)
            s.stop->reason = "query or target: " + in_words(t);
        if (s.stop) {
            cut_at(s, number);
            return false;
        }
        if (options.on_error == "dead_letter" && !f.record) {
            s.again = s.keep_records = true;
            cut_at(s, number);
            return false;
        }
        note(s, std::move(f));
        return true;
    };
    const auto began = steady::now();
    r.go_on = [&] { return steady::now() - began < slice; };
    // Before a record that did not decode.
    const std::optional<stop_report> known = std::move(s.stop);
    s.stop.reset();
    run_replay(r, s.cut);
    note_until(s.cut);
    s.stored = r.stored;
    if (options.on_error != "stop" && schema && r.good == 0 && !s.again && !s.stop) {
        // Every record met it: never refuse them all for that.
        schema->what = remedy::schema;
        raise_trouble(*schema);
    }
    if (!s.stop && !s.again && r.at < s.cut) {
        s.again = true;
        cut_at(s, r.at);
    } else if (!s.stop && !s.again) {
        s.stop = known;
    }
}

} // namespace ke::stream
