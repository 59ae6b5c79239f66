// csv and tsv: the payload is what COPY FROM STDIN would be given, in its CSV and in its text
// format. Each line is a row, its fields the table's payload columns in order. Lines, quotes,
// escapes, the end marker, the null string, and what is wrong with them are as COPY judges them
// (server 15's; test/flow/test_copy.py compares the two on random input).
#include "decode/encoder.h"
#include "decode/format.h"

#include <cstring>

#include "decode/scalars.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

struct copy_options {
    bool csv;
    char delimiter, quote, escape;
    std::string null;
    bool header, header_match;
};

// One field: its text without quotes and escapes, or null.
struct field {
    std::string_view text;
    bool null;
};

class copy_decoder final : public payload_decoder {
  public:
    copy_decoder(const payload_request& request, copy_options options);

    bool decode(bytes payload, rows& out, arena& memory, problem& why) override;

  private:
    enum class line_end : char { unknown, newline, carriage_return, both };

    bool next_line(bool& last);
    bool end_of_line(char c);
    bool end_marker(bool& found);
    bool split();
    bool split_text();
    bool split_csv();
    bool unescape(std::string_view in, std::size_t& at, char c, bool& check);
    bool check_header();
    bool make_row(rows& out);
    bool fail(std::string_view reason, std::string_view detail = {});

    const copy_options options_;
    const std::vector<std::string> names_; // of all payload columns
    std::vector<int> columns_;             // by field: the plan's column, or -1
    std::vector<type_desc> types_;         // by field
    conversion convert_;

    // While decode() runs.
    std::string_view text_;
    std::size_t at_ = 0;
    std::string_view line_;
    line_end ending_ = line_end::unknown;
    std::vector<field> fields_;
    std::unique_ptr<char[]> buffer_; // fields without quotes and escapes
    std::size_t room_ = 0;
    char* to_ = nullptr; // in buffer_
};

copy_decoder::copy_decoder(const payload_request& request, copy_options options)
    : options_(std::move(options)), names_(request.all_columns), columns_(names_.size(), -1),
      types_(names_.size())
{
    convert_.utf8_server = request.plan.server_encoding_utf8;
    for (int c : request.columns) {
        const auto field = static_cast<std::size_t>(request.at(c).ordinal);
        columns_[field] = c;
        types_[field] = request.at(c).type;
    }
}

bool copy_decoder::decode(bytes payload, rows& out, arena& memory, problem& why)
{
    convert_.memory = &memory;
    text_ = payload.view();
    at_ = 0;
    ending_ = line_end::unknown;
    auto all_rows = [&] {
        if (text_.empty())
            return fail("the payload is empty");
        if (!is_utf8(text_))
            return convert_.refuse("22021", "invalid byte sequence for encoding \"UTF8\"") !=
                   outcome::refused;
        if (std::memchr(text_.data(), 0, text_.size()))
            return convert_.refuse("22021", "invalid byte sequence for encoding \"UTF8\": 0x00") !=
                   outcome::refused;
        bool last = false;
        if (options_.header) {
            if (!next_line(last) || (options_.header_match && !(split() && check_header())))
                return false;
        }
        while (!last) {
            if (!next_line(last))
                return false;
            if (last && line_.empty())
                break;
            if (!split() || !make_row(out))
                return false;
        }
        return true;
    };
    const bool good = all_rows();
    if (!good)
        why = convert_.why;
    if (room_ > 1024 * 1024) {
        buffer_.reset();
        room_ = 0;
    }
    return good;
}

bool copy_decoder::fail(std::string_view reason, std::string_view detail)
{
    convert_.refuse("22P04", reason, detail); // bad_copy_file_format
    return false;
}

// ------------------------------------------------------------------ lines

// Cuts off the next line; last: the payload's end, or the end marker, stands behind it.
bool copy_decoder::next_line(bool& last)
{
    const std::size_t start = at_;
    bool quoted = false, escaped = false;
    const char escape = options_.csv && options_.escape != options_.quote ? options_.escape : '\0';
    last = false;
    while (at_ < text_.size()) {
        const char c = text_[at_++];
        if (options_.csv) {
            // An escape counts inside of quotes, and not behind another one.
            if (quoted && escape && c == escape)
                escaped = !escaped;
            if (c == options_.quote && !escaped)
                quoted = !quoted;
            if (c != escape)
                escaped = false;
        }
        if ((c == '\n' || c == '\r') && !quoted) {
            const std::size_t end = at_ - 1;
            if (!end_of_line(c))
                return false;
            line_ = text_.substr(start, end - start);
            return true;
        }
        if (c == '\\' && at_ < text_.size() && (!options_.csv || at_ - 1 == start)) {
            const std::size_t end = at_ - 1;
            bool found = false;
            if (text_[at_] == '.') {
                if (!end_marker(found))
                    return false;
            } else if (!options_.csv) {
                ++at_; // whatever it is, a line's end too
            }
            if (found) {
                line_ = text_.substr(start, end - start);
                last = true;
                return true;
            }
        }
    }
    line_ = text_.substr(start);
    last = true;
    return true;
}

// Behind an unquoted \n or \r: the first one says how all lines of the payload end.
bool copy_decoder::end_of_line(char c)
{
    if (c == '\n') {
        if (ending_ == line_end::carriage_return || ending_ == line_end::both)
            return options_.csv
                       ? fail("unquoted newline found in data",
                              "Use quoted CSV field to represent newline.")
                       : fail("literal newline found in data", "Use \"\\n\" to represent newline.");
        ending_ = line_end::newline;
        return true;
    }
    const bool newline = at_ < text_.size() && text_[at_] == '\n';
    if (ending_ == line_end::newline || (ending_ == line_end::both && !newline))
        return options_.csv ? fail("unquoted carriage return found in data",
                                   "Use quoted CSV field to represent carriage return.")
                            : fail("literal carriage return found in data",
                                   "Use \"\\r\" to represent carriage return.");
    if (ending_ == line_end::carriage_return)
        return true;
    ending_ = newline ? line_end::both : line_end::carriage_return;
    at_ += newline;
    return true;
}

// At the point of \. : whether it ends the data. In csv only alone on a line, else it is data.
bool copy_decoder::end_marker(bool& found)
{
    auto char_at = [&](std::size_t i) { return i < text_.size() ? text_[i] : '\0'; };
    constexpr const char* corrupt = "end-of-copy marker corrupt";
    constexpr const char* mismatch = "end-of-copy marker does not match previous newline style";
    std::size_t i = at_ + 1;
    char c;
    if (ending_ == line_end::both) {
        c = char_at(i++);
        if (c == '\n')
            return options_.csv ? true : fail(mismatch);
        if (c != '\r')
            return options_.csv ? true : fail(corrupt);
    }
    c = char_at(i++);
    if (c != '\r' && c != '\n')
        return options_.csv ? true : fail(corrupt);
    if (ending_ != line_end::unknown && c != (ending_ == line_end::carriage_return ? '\r' : '\n'))
        return fail(mismatch);
    at_ = std::min(i, text_.size());
    found = true;
    return true;
}

// ------------------------------------------------------------------ fields

bool copy_decoder::split()
{
    const std::size_t need = line_.size() + 1;
    if (need > room_) {
        buffer_.reset(new char[need * 2]);
        room_ = need * 2;
    }
    to_ = buffer_.get();
    fields_.clear();
    return options_.csv ? split_csv() : split_text();
}

bool copy_decoder::split_csv()
{
    const char delimiter = options_.delimiter, quote = options_.quote, escape = options_.escape;
    const std::size_t size = line_.size();
    for (std::size_t at = 0;; at++) {
        const std::size_t start = at;
        char* const from = to_;
        bool saw_quote = false;
        for (; at < size && line_[at] != delimiter; at++) {
            if (line_[at] != quote) {
                *to_++ = line_[at];
                continue;
            }
            saw_quote = true;
            for (++at;; at++) {
                if (at >= size)
                    return fail("unterminated CSV quoted field");
                const char c = line_[at];
                if (c == escape && at + 1 < size &&
                    (line_[at + 1] == escape || line_[at + 1] == quote))
                    *to_++ = line_[++at];
                else if (c == quote)
                    break;
                else
                    *to_++ = c;
            }
        }
        const bool null = !saw_quote && line_.substr(start, at - start) == options_.null;
        fields_.push_back({{from, static_cast<std::size_t>(to_ - from)}, null});
        if (at >= size)
            return true;
    }
}

bool copy_decoder::split_text()
{
    const std::size_t size = line_.size();
    for (std::size_t at = 0;; at++) {
        const std::size_t start = at;
        char* const from = to_;
        bool check = false; // bytes were made that may be no text
        std::size_t end = size;
        for (; at < size; at++) {
            const char c = line_[at];
            if (c == options_.delimiter)
                break;
            if (c != '\\') {
                *to_++ = c;
            } else if (at + 1 >= size) {
                end = at; // a lone backslash at the end stands for nothing
                at = size;
                break;
            } else {
                ++at;
                unescape(line_, at, line_[at], check);
            }
        }
        end = std::min(end, at);
        const bool null = line_.substr(start, end - start) == options_.null;
        const std::string_view text{from, static_cast<std::size_t>(to_ - from)};
        const bool used = fields_.size() < columns_.size() && columns_[fields_.size()] >= 0;
        if (check && !null && used && !is_text(text)) {
            convert_.refuse("22021", "invalid byte sequence for encoding \"UTF8\"");
            return false;
        }
        fields_.push_back({text, null});
        if (at >= size)
            return true;
    }
}

// in[at] is c, the character behind a backslash; at is left on the last one used.
bool copy_decoder::unescape(std::string_view in, std::size_t& at, char c, bool& check)
{
    auto digit = [&](int base) {
        const char d = at + 1 < in.size() ? in[at + 1] : '\0';
        const int v = d >= '0' && d <= '9'   ? d - '0'
                      : d >= 'a' && d <= 'f' ? d - 'a' + 10
                      : d >= 'A' && d <= 'F' ? d - 'A' + 10
                                             : 99;
        if (v >= base)
            return -1;
        ++at;
        return v;
    };
    int value = -1;
    if (c >= '0' && c <= '7') {
        value = c - '0';
        for (int i = 0; i < 2; i++) {
            const int d = digit(8);
            if (d < 0)
                break;
            value = value * 8 + d;
        }
    } else if (c == 'x') {
        value = digit(16);
        if (value >= 0)
            if (const int d = digit(16); d >= 0)
                value = value * 16 + d;
    }
    if (value >= 0) {
        value &= 0xFF;
        check |= value == 0 || value >= 0x80;
        *to_++ = static_cast<char>(value);
        return true;
    }
    static constexpr std::string_view letters = "bfnrtv", values = "\b\f\n\r\t\v";
    const std::size_t known = letters.find(c);
    *to_++ = known == letters.npos ? c : values[known];
    return true;
}

// ------------------------------------------------------------------ rows

bool copy_decoder::check_header()
{
    auto keep = [&](const std::string& s) { return convert_.memory->copy(s); };
    if (fields_.size() != names_.size())
        return fail(keep("wrong number of fields in header line: got " +
                         std::to_string(fields_.size()) + ", expected " +
                         std::to_string(names_.size())));
    for (std::size_t i = 0; i < names_.size(); i++) {
        if (!fields_[i].null && fields_[i].text == names_[i])
            continue;
        const std::string got = fields_[i].null
                                    ? "null value (\"" + options_.null + "\")"
                                    : "\"" + std::string(excerpt(fields_[i].text)) + "\"";
        return fail(keep("column name mismatch in header line field " + std::to_string(i + 1) +
                         ": got " + got + ", expected \"" + names_[i] + "\""));
    }
    return true;
}

bool copy_decoder::make_row(rows& out)
{
    if (fields_.size() > columns_.size())
        return fail("extra data after last expected column");
    const rows::row row = out.add_row();
    for (std::size_t i = 0; i < columns_.size(); i++) {
        if (i >= fields_.size())
            return fail(convert_.memory->copy("missing data for column \"" + names_[i] + "\""));
        const int c = columns_[i];
        if (c < 0 || fields_[i].null)
            continue;
        const outcome o = text_to_cell(fields_[i].text, types_[i], convert_, row.cells[c]);
        if (o == outcome::refused) {
            convert_.why.column = c;
            return false;
        }
        row.states[c] = static_cast<cell_state>(o);
    }
    return true;
}

// ------------------------------------------------------------------ options

const format_option csv_options[] = {
    {"delimiter", "", "what separates the fields (a comma; tsv: a tab)"},
    {"null", "", "what stands for null, unquoted (nothing; tsv: \\N)"},
    {"header", "true, false, match",
     "whether the first line of a payload is a header; match: with the columns' names (false)"},
    {"quote", "", "csv: what quotes a field (\")"},
    {"escape", "", "csv: what stands before a quote that is data (the quote)"},
};
constexpr auto tsv_options = std::span(csv_options).first(3);

copy_options read_options(const given_options& given, bool csv)
{
    copy_options o;
    auto first = [](std::string_view s) { return s.empty() ? '\0' : s[0]; };
    o.csv = csv;
    o.delimiter = first(given.get("delimiter", csv ? "," : "\t"));
    o.quote = csv ? first(given.get("quote", "\"")) : '\0';
    o.escape = csv ? first(given.get("escape", given.get("quote", "\""))) : '\0';
    o.null = given.get("null", csv ? "" : "\\N");
    const std::string_view header = given.get("header", "false");
    o.header = header != "false";
    o.header_match = header == "match";
    return o;
}

result<done> check_options(const given_options& given, bool csv)
{
    for (const char* name : {"delimiter", "quote", "escape"})
        if (const std::string* s = csv || *name == 'd' ? given.find(name) : nullptr)
            if (s->size() != 1)
                return refuse_option(std::string(name) + " must be a single one-byte character");
    const copy_options o = read_options(given, csv);
    if (o.delimiter == '\n' || o.delimiter == '\r')
        return refuse_option("delimiter cannot be newline or carriage return");
    if (o.null.find_first_of("\r\n") != o.null.npos)
        return refuse_option("null representation cannot use newline or carriage return");
    // Letters and digits could not be told from escapes.
    if (!csv && std::strchr("\\.abcdefghijklmnopqrstuvwxyz0123456789", o.delimiter))
        return refuse_option(std::string("delimiter cannot be \"") + o.delimiter + "\"");
    if (csv && o.delimiter == o.quote)
        return refuse_option("delimiter and quote must be different");
    if (o.null.find(o.delimiter) != o.null.npos)
        return refuse_option("delimiter must not appear in the null specification");
    if (csv && o.null.find(o.quote) != o.null.npos)
        return refuse_option("quote must not appear in the null specification");
    return done{};
}

template <bool csv>
result<done> check(const given_options& given)
{
    return check_options(given, csv);
}

template <bool csv>
result<std::unique_ptr<payload_decoder>> make(const payload_request& r)
{
    return std::unique_ptr<payload_decoder>(
        std::make_unique<copy_decoder>(r, read_options(r.options, csv)));
}

result<done> accepts_any(const type_desc&)
{
    return done{};
}

} // namespace

const format_row csv_format = {
    .name = "csv",
    .help = "lines as COPY's CSV format takes them, each a row, columns in order",
    .options = csv_options,
    .check = check<true>,
    .accepts = accepts_any,
    .make = make<true>,
    .make_encoder = [](const encode_request& r) { return make_copy_encoder(r, true); },
};

const format_row tsv_format = {
    .name = "tsv",
    .help = "lines as COPY's text format takes them, each a row, columns in order",
    .options = tsv_options,
    .check = check<false>,
    .accepts = accepts_any,
    .make = make<false>,
    .make_encoder = [](const encode_request& r) { return make_copy_encoder(r, false); },
};

} // namespace ke::decode
