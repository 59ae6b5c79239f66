// A record: its metadata, its key, its value, and what becomes of it when one of them is bad.
#include "decode/decoder.h"

#include <cstring>

#include "decode/format.h"
#include "decode/roles.h"
#include "decode/scalars.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

class decoder final : public record_decoder {
  public:
    explicit decoder(std::shared_ptr<const row_plan> plan);
    result<done> open();

    void expect(std::span<const bytes> values) override
    {
        if (payload_)
            payload_->expect(values);
    }
    bool prepare(const record& r, const std::weak_ptr<registry::listener>& who,
                 std::shared_ptr<const fault>& trouble) override;
    bool may_wait() const override { return plan_->schemas && (key_ || payload_); }
    void decode(const record& r, rows& out) override;

  private:
    bool decode_or_refuse(const record& r, rows& out, std::uint32_t first);
    bool decode_rows(const record& r, rows& out, std::uint32_t first);
    bool is_too_much(const char* reason, const char* detail);
    bool decode_metadata(const record& r);
    bool decode_key(const record& r, arena& memory);
    void copy(const std::vector<int>& columns, rows& out, std::uint32_t row) const;
    void add_reject(const origin& as_it_came, rows& out);
    void add_error_row(const record& r, rows& out);
    result<std::unique_ptr<payload_decoder>> open_format(std::string_view name,
                                                         const std::vector<int>& columns);

    const std::shared_ptr<const row_plan> plan_;
    std::vector<int> metadata_columns_, key_columns_, payload_columns_;
    std::vector<int> outside_columns_; // metadata and key: the same in each row of a record
    std::unique_ptr<payload_decoder> key_, payload_; // where their columns are wanted
    role_values roles_;
    // The record's cells of outside_columns_, copied into each of its rows.
    std::vector<cell> cells_;
    std::vector<cell_state> states_;
    rows key_rows_; // what the key's format makes: one row, its memory not used
    problem why_;
};

decoder::decoder(std::shared_ptr<const row_plan> plan)
    : plan_(std::move(plan)), roles_(plan_->server_encoding_utf8), cells_(plan_->columns.size()),
      states_(plan_->columns.size()), key_rows_(plan_->columns.size())
{
    for (std::size_t i = 0; i < plan_->columns.size(); i++) {
        const column_source source = plan_->columns[i].source;
        (source == column_source::metadata ? metadata_columns_
         : source == column_source::key    ? key_columns_
                                           : payload_columns_)
            .push_back(static_cast<int>(i));
    }
    outside_columns_ = metadata_columns_;
    outside_columns_.insert(outside_columns_.end(), key_columns_.begin(), key_columns_.end());
}

std::string names_of_formats()
{
    std::string names;
    for (const format_row& f : formats()) {
        names += names.empty() ? "" : ", ";
        names += f.name;
    }
    return names;
}

// Every option belongs to the value's or the key's format, and they take what is given.
result<done> check_options(const row_plan& plan, const format_row& value, const format_row& key)
{
    for (const auto& [name, given] : plan.options) {
        if (find_format_option(value, name, false) || find_format_option(key, name, true))
            continue;
        fault f = refuse_option("format \"" + plan.format + "\" has no option \"" + name + "\"");
        f.kind = fault_kind::unknown_option;
        return f;
    }
    if (auto checked = check_format_options(value, {plan.options}); !checked)
        return checked;
    return plan.key_format.empty() ? result<done>(done{})
                                   : check_format_options(key, {plan.options, true});
}

result<done> decoder::open()
{
    const std::string key_name = plan_->key_format.empty() ? "raw" : plan_->key_format;
    const format_row* value = find_format(plan_->format);
    const format_row* key = find_format(key_name);
    if (!value || !key)
        return refuse_option("unknown format \"" + (value ? key_name : plan_->format) + "\"",
                             "Valid formats are " + names_of_formats() + ".");
    if (auto checked = check_options(*plan_, *value, *key); !checked)
        return checked;

    if (!payload_columns_.empty()) {
        auto made = open_format(plan_->format, payload_columns_);
        if (!made)
            return made.error();
        payload_ = std::move(made.value());
    }
    if (!key_columns_.empty()) {
        auto made = open_format(key_name, key_columns_);
        if (!made)
            return made.error();
        key_ = std::move(made.value());
    }
    return done{};
}

result<std::unique_ptr<payload_decoder>> decoder::open_format(std::string_view name,
                                                              const std::vector<int>& columns)
{
    const column& first = plan_->columns[static_cast<std::size_t>(columns.front())];
    const bool of_key = first.source == column_source::key;
    const bool one = columns.size() == 1 && (of_key || plan_->payload_columns <= 1);
    const payload_request request{*plan_,
                                  columns,
                                  one && first.whole_document,
                                  {plan_->options, of_key},
                                  of_key ? plan_->key_names : plan_->payload_names};
    return find_format(name)->make(request);
}

// Both are asked, so that what both lack comes at once.
bool decoder::prepare(const record& r, const std::weak_ptr<registry::listener>& who,
                      std::shared_ptr<const fault>& trouble)
{
    bool ready = true;
    if (key_ && !r.key.absent())
        ready &= key_->prepare(r, r.key, who, trouble);
    if (payload_ && !r.value.absent())
        ready &= payload_->prepare(r, r.value, who, trouble);
    return ready;
}

bytes keep(arena& memory, bytes b)
{
    return b.absent() ? b : bytes(memory.copy(b.view()));
}

origin origin_of(const record& r, arena& memory)
{
    origin o{keep(memory, r.key), keep(memory, r.value), {}, r.time_type, r.leader_epoch};
    const std::span<const header> headers =
        r.headers.empty() && r.more != nullptr ? r.more->read() : r.headers;
    if (!headers.empty()) {
        std::string text;
        append_headers(text, headers);
        o.headers = memory.copy(text);
    }
    return o;
}

void decoder::decode(const record& r, rows& out)
{
    const std::uint32_t first = out.row_count();
    const bool good = decode_or_refuse(r, out, first);
    if (!good)
        out.truncate(first);
    out.end_message();
    if (!good && plan_->has_error_column)
        add_error_row(r, out);
    out.messages.push_back({r.topic_no, r.partition, r.offset, r.timestamp_ms, first,
                            out.row_count() - first,
                            static_cast<std::uint32_t>(r.key.size + r.value.size)});
    const bool refused = !good && !plan_->has_error_column;
    if (!refused && !plan_->keeps_records)
        return;
    const origin as_it_came = origin_of(r, out.memory);
    if (refused)
        add_reject(as_it_came, out);
    if (plan_->keeps_records)
        out.origins.push_back(as_it_came);
}

bool decoder::decode_or_refuse(const record& r, rows& out, std::uint32_t first)
try {
    out.begin_message(r.key.size + r.value.size);
    return decode_rows(r, out, first);
} catch (const rows::too_many&) {
    return is_too_much("a record makes too many rows",
                       "Its rows have more values than it has bytes, and more than 8 million.");
} catch (const arena::too_much&) {
    return is_too_much("a record makes too large rows",
                       "Its values take more than 16 times its bytes, and more than 64 MB.");
}

bool decoder::is_too_much(const char* reason, const char* detail)
{
    why_ = problem();
    std::memcpy(why_.sqlstate, "54000", sizeof why_.sqlstate);
    why_.reason = reason;
    why_.detail = detail;
    return false;
}

bool decoder::decode_rows(const record& r, rows& out, std::uint32_t first)
{
    roles_.convert.memory = &out.memory;
    if (!decode_metadata(r) || (key_ && !decode_key(r, out.memory)))
        return false;
    if (payload_ && !r.value.absent()) {
        payload_->look_at(r);
        if (!payload_->decode(r.value, out, out.memory, why_))
            return false;
    } else {
        out.add_row();
    }
    for (std::uint32_t row = first; row < out.row_count(); row++)
        copy(outside_columns_, out, row);
    return true;
}

// All of them, also behind a bad one: a row with _error shows what it can.
bool decoder::decode_metadata(const record& r)
{
    bool good = true;
    for (int c : metadata_columns_) {
        const outcome o = roles_.make(r, plan_->columns[static_cast<std::size_t>(c)],
                                      cells_[static_cast<std::size_t>(c)]);
        if (o == outcome::refused && good) {
            good = false;
            why_ = roles_.convert.why;
            why_.column = c;
        }
        states_[static_cast<std::size_t>(c)] =
            o == outcome::refused ? cell_state::null : static_cast<cell_state>(o);
    }
    return good;
}

// The key makes exactly one row; a null key makes nulls.
bool decoder::decode_key(const record& r, arena& memory)
{
    key_rows_.truncate(0);
    key_rows_.allow_rows(2); // the second is one too many
    bool good = true;
    try {
        if (r.key.absent())
            key_rows_.add_row();
        else if (key_->look_at(r); !key_->decode(r.key, key_rows_, memory, why_))
            return false;
        good = key_rows_.row_count() == 1;
    } catch (const rows::too_many&) {
        good = false;
    }
    if (!good) {
        roles_.convert.refuse("22P02", "the key does not hold exactly one document");
        why_ = roles_.convert.why;
        return false;
    }
    for (int c : key_columns_) {
        cells_[static_cast<std::size_t>(c)] = key_rows_.cells(0)[c];
        states_[static_cast<std::size_t>(c)] = key_rows_.states(0)[c];
    }
    return true;
}

void decoder::copy(const std::vector<int>& columns, rows& out, std::uint32_t row) const
{
    const rows::row to = out.at(row);
    for (int c : columns) {
        to.cells[c] = cells_[static_cast<std::size_t>(c)];
        to.states[c] = states_[static_cast<std::size_t>(c)];
    }
}

void decoder::add_reject(const origin& as_it_came, rows& out)
{
    reject bad;
    bad.message = static_cast<std::uint32_t>(out.messages.size() - 1);
    bad.column = why_.column;
    std::memcpy(bad.sqlstate, why_.sqlstate, sizeof bad.sqlstate);
    bad.reason = why_.reason;
    bad.detail = why_.detail;
    bad.record = as_it_came;
    out.rejects.push_back(bad);
}

// The metadata (raw among it) and what is wrong; all other columns null.
void decoder::add_error_row(const record& r, rows& out)
{
    decode_metadata(r);
    out.add_row();
    copy(metadata_columns_, out, out.row_count() - 1);

    std::string text;
    if (why_.column >= 0)
        text = "column \"" + plan_->columns[static_cast<std::size_t>(why_.column)].name + "\": ";
    text += why_.reason;
    if (!why_.detail.empty())
        text.append(": ").append(why_.detail);
    const rows::row row = out.at(out.row_count() - 1);
    for (int c : metadata_columns_) {
        const column& col = plan_->columns[static_cast<std::size_t>(c)];
        if (col.metadata != role::error)
            continue;
        const outcome o = text_to_cell(text, col.type, roles_.convert, row.cells[c]);
        row.states[c] = o == outcome::refused ? cell_state::null : static_cast<cell_state>(o);
    }
}

} // namespace

result<std::unique_ptr<record_decoder>> record_decoder::make(std::shared_ptr<const row_plan> plan)
{
    auto made = std::make_unique<decoder>(std::move(plan));
    if (auto opened = made->open(); !opened)
        return std::move(opened.error());
    return std::unique_ptr<record_decoder>(std::move(made));
}

} // namespace ke::decode
