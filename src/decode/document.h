// Payloads that are trees of typed values (msgpack, cbor): maps by name, arrays by position, paths
// into both. Each top-level map is a row, so is a top-level array, by position, unless it is an
// array of maps: then each of these is one. What no column wants is passed over, not judged.
//
// Reader: bool next(item&, bool wanted) reads one item: a scalar whole, of an array or map the head,
// of an end the mark. Of one that nobody wants only the bytes must be in order, and its kind tells
// no more than whether it is an array, a map or an end. It has position() and seek(), at_end(), and
// error(): why next() said no.
#pragma once

#include <algorithm>
#include <memory>
#include <new>
#include <string>
#include <vector>

#include "decode/format.h"
#include "decode/json_tree.h"
#include "decode/typed_values.h"
#include "decode/utf8.h"

namespace ke::decode {

template <class Reader>
class document_decoder final : public payload_decoder {
  public:
    document_decoder(const payload_request& request, std::string_view format, json_options options)
        : format_(format), columns_(request.columns), types_(request.plan.columns.size()),
          sole_document_(request.sole_document), values_(options, request.plan.server_encoding_utf8)
    {
        for (int c : columns_) {
            const column& col = request.at(c);
            types_[static_cast<std::size_t>(c)] = col.type;
            const bool own = col.where.empty() && !col.whole_document;
            const path name{path_step{col.name}}, place{path_step{{}, col.ordinal}};
            by_name_.add(own ? name : col.where, c);
            by_position_.add(own ? place : col.where, c);
            rows_in_arrays_ &= col.where.empty() || col.where.front().index < 0;
        }
    }

    bool decode(bytes payload, rows& out, arena& memory, problem& why) override
    {
        values_.convert().memory = &memory;
        out_ = &out;
        reader_.open(payload.view());
        most_json_ = std::max(most_json, most_times * payload.size);
        bool good = payload.size > 0 || fail("The payload is empty.");
        while (good && !reader_.at_end())
            good = top_level();
        if (!good)
            why = values_.convert().why;
        return good;
    }

  private:
    static constexpr int most_depth = 500;
    // Six bytes may stand for a number of 16 kB: bytes of JSON, or so many times the payload's.
    static constexpr std::size_t most_json = 64 << 20, most_times = 16;
    static constexpr cell_state refused = static_cast<cell_state>(outcome::refused);

    bool top_level()
    {
        const std::size_t start = reader_.position();
        item it;
        if (!next(it))
            return false;
        if (it.what == item::kind::map)
            return row_at(start, by_name_);
        if (it.what == item::kind::array) {
            const std::size_t content = reader_.position();
            item first;
            const bool has_first = it.i != 0;
            if (rows_in_arrays_ && has_first) {
                if (!next(first, false))
                    return false;
                if (first.what == item::kind::map) {
                    reader_.seek(content);
                    return array_of_rows(it);
                }
            }
            return row_at(start, by_position_);
        }
        if (it.what == item::kind::end || !sole_document_)
            return fail("The payload is neither a map nor an array.");
        return row_at(start, by_name_);
    }

    bool array_of_rows(const item& head)
    {
        for (std::int64_t n = 0; head.i < 0 || n < head.i; n++) {
            const std::size_t start = reader_.position();
            item it;
            if (!next(it))
                return false;
            if (head.i < 0 && it.what == item::kind::end)
                return true;
            if (it.what != item::kind::map)
                return fail("The payload is an array of maps and of something else.");
            if (!row_at(start, by_name_))
                return false;
        }
        return true;
    }

    bool row_at(std::size_t start, json_node& root)
    {
        reader_.seek(start);
        row_ = out_->add_row();
        refusals_ = 0;
        if (!value(&root, 1))
            return false;
        for (std::size_t i = 0; refusals_ > 0 && i < columns_.size(); i++) {
            const int c = columns_[i];
            if (row_.states[c] == refused) {
                values_.convert().why = *reinterpret_cast<const problem*>(row_.cells[c]);
                return false;
            }
        }
        return true;
    }

    // One value from the reader's position on; node: the branch we are in, or null.
    bool value(json_node* node, int depth)
    {
        item it;
        if (!next(it, node != nullptr))
            return false;
        if (it.what == item::kind::end)
            return fail("An end stands where a value belongs.");
        return value(it, node, depth);
    }

    bool value(const item& it, json_node* node, int depth)
    {
        const bool wanted = node && !node->columns.empty();
        const bool leads_on = node && node->leads_on();
        if (leads_on)
            for (int c : node->below)
                row_.states[c] = cell_state::null; // a key came twice: the last one counts
        if (it.what != item::kind::array && it.what != item::kind::map) {
            if (wanted)
                fill(*node, [&](int c) { return values_.make(it, type_of(c), row_.cells[c]); });
            return true;
        }
        if (depth > most_depth)
            return fail("The payload is nested too deep.");
        if (wanted) {
            const std::size_t content = reader_.position();
            json_.clear();
            if (!render(it, depth))
                return false;
            fill(*node, [&](int c) { return values_.make_json(json_, type_of(c), row_.cells[c]); });
            if (!leads_on)
                return true;
            reader_.seek(content);
        }
        return it.what == item::kind::array ? elements(it, leads_on ? node : nullptr, depth)
                                            : pairs(it, leads_on ? node : nullptr, depth);
    }

    bool elements(const item& head, json_node* node, int depth)
    {
        for (std::int64_t n = 0; head.i < 0 || n < head.i; n++) {
            item it;
            json_node* branch = node ? node->element(n) : nullptr;
            if (!next(it, branch != nullptr))
                return false;
            if (it.what == item::kind::end) {
                if (head.i < 0)
                    return true;
                return fail("An end stands where a value belongs.");
            }
            if (!value(it, branch, depth + 1))
                return false;
        }
        return true;
    }

    bool pairs(const item& head, json_node* node, int depth)
    {
        json_node::place last = json_node::at_start;
        bool more = true;
        for (std::int64_t n = 0; head.i < 0 || n < head.i; n++) {
            std::string_view name;
            if (!(node ? key(head, name, more) : pass_key(head, more, depth)))
                return false;
            if (!more)
                return true;
            json_node* branch = nullptr;
            if (node && !node->guess(name, last, branch))
                branch = node->member(name, last);
            if (!value(branch, depth + 1))
                return false;
        }
        return true;
    }

    // A map's next key; integers are written out. more: false at the map's end.
    bool key(const item& head, std::string_view& name, bool& more)
    {
        item it;
        if (!next(it))
            return false;
        more = head.i >= 0 || it.what != item::kind::end;
        if (!more)
            return true;
        switch (it.what) {
        case item::kind::text:
        case item::kind::bytes:
            if (!is_utf8(it.s))
                return fail("A key of a map is not UTF-8.");
            name = it.s;
            return true;
        case item::kind::integer:
        case item::kind::unsigned_integer:
            key_.clear();
            values_.append_json(key_, it);
            name = key_;
            return true;
        default:
            return fail("A key of a map is neither text nor an integer.");
        }
    }

    // The same of a map that nobody wants: any value is a key.
    bool pass_key(const item& head, bool& more, int depth)
    {
        item it;
        if (!next(it, false))
            return false;
        more = head.i >= 0 || it.what != item::kind::end;
        if (more && it.what == item::kind::end)
            return fail("An end stands where a value belongs.");
        return !more || value(it, nullptr, depth + 1);
    }

    // The array or map whose head was read, as JSON.
    bool render(const item& head, int depth)
    {
        if (depth > most_depth)
            return fail("The payload is nested too deep.");
        const bool map = head.what == item::kind::map;
        json_ += map ? '{' : '[';
        bool more = true;
        for (std::int64_t n = 0; head.i < 0 || n < head.i; n++) {
            std::string_view name;
            if (map && !key(head, name, more))
                return false;
            if (!more)
                break;
            item it;
            if (map) {
                json_ += n ? ", " : "";
                append_json_string(json_, name);
                json_ += ": ";
            }
            if (!next(it))
                return false;
            if (it.what == item::kind::end) {
                if (map || head.i >= 0)
                    return fail("An end stands where a value belongs.");
                break;
            }
            if (!map)
                json_ += n ? ", " : "";
            if (it.what == item::kind::array || it.what == item::kind::map) {
                if (!render(it, depth + 1))
                    return false;
            } else if (values_.append_json(json_, it) == outcome::refused) {
                return false;
            }
            if (json_.size() > most_json_)
                return fail("The payload is too large as JSON.");
        }
        json_ += map ? '}' : ']';
        return true;
    }

    // A refused cell points to its problem until the row's end: a later duplicate may overwrite it.
    template <class F>
    void fill(const json_node& node, const F& make)
    {
        for (int c : node.columns) {
            const outcome o = make(c);
            row_.states[c] = static_cast<cell_state>(o);
            if (o != outcome::refused)
                continue;
            ++refusals_;
            auto* kept = new (values_.convert().memory->take(sizeof(problem)))
                problem(values_.convert().why);
            kept->column = c;
            row_.cells[c] = pointer_cell(reinterpret_cast<const char*>(kept));
        }
    }

    const type_desc& type_of(int c) const { return types_[static_cast<std::size_t>(c)]; }

    bool next(item& it, bool wanted = true)
    {
        return reader_.next(it, wanted) || fail(reader_.error());
    }

    bool fail(const char* detail)
    {
        values_.convert().refuse(
            "22P02",
            values_.convert().memory->copy("invalid input for format " + std::string(format_)),
            detail);
        return false;
    }

    const std::string_view format_;
    const std::vector<int> columns_;
    std::vector<type_desc> types_; // by the plan's index; of columns_
    const bool sole_document_;
    bool rows_in_arrays_ = true; // no path begins with a position
    json_node by_name_, by_position_;
    typed_values values_;
    Reader reader_;
    std::string json_, key_;
    std::size_t most_json_ = most_json;

    // While decode() runs.
    rows* out_ = nullptr;
    rows::row row_{};
    int refusals_ = 0;
};

// The options of all formats that take timestamps as numbers.
extern const format_option document_options[1];
json_options read_document_options(const given_options&);

} // namespace ke::decode
