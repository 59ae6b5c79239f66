// csv, tsv, raw, text: the way back. csv and tsv write what COPY TO STDOUT would, and so what COPY FROM reads.
#include "decode/encoder.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

using kind = value::kind;

char one(const given_options& given, std::string_view name, char otherwise)
{
    const std::string_view s = given.get(name, "");
    return s.empty() ? otherwise : s.front();
}

class copy_encoder final : public payload_encoder {
  public:
    explicit copy_encoder(const encode_request& r, bool csv)
        : csv_(csv), delimiter_(one(r.options, "delimiter", csv ? ',' : '\t')),
          quote_(one(r.options, "quote", '"')), escape_(one(r.options, "escape", quote_)),
          null_(r.options.get("null", csv ? "" : "\\N")),
          header_(r.options.get("header", "false") != "false")
    {
    }

    result<std::string> encode(const encode_request& r) override
    {
        std::string out;
        const bool alone = r.columns.size() == 1;
        for (std::size_t i = 0; header_ && i < r.columns.size(); i++) {
            if (i)
                out += delimiter_;
            csv_ ? quoted(out, r.columns[i]->name, alone) : escaped(out, r.columns[i]->name);
        }
        if (header_)
            out += '\n';
        for (std::size_t i = 0; i < r.values.size(); i++) {
            if (i)
                out += delimiter_;
            if (r.values[i].what == kind::null)
                out += null_;
            else
                csv_ ? quoted(out, r.values[i].s, alone) : escaped(out, r.values[i].s);
        }
        out += '\n';
        return out;
    }

  private:
    // In quotes only where it must be: it reads as null, ends a field or a line, or is the end mark.
    void quoted(std::string& out, std::string_view text, bool alone)
    {
        bool needs = text == null_ || (alone && text == "\\.");
        for (char c : text)
            needs |= c == delimiter_ || c == quote_ || c == '\n' || c == '\r';
        if (!needs) {
            out += text;
            return;
        }
        out += quote_;
        for (char c : text) {
            if (c == quote_ || c == escape_)
                out += escape_;
            out += c;
        }
        out += quote_;
    }

    void escaped(std::string& out, std::string_view text)
    {
        for (char c : text) {
            static constexpr std::string_view named = "\b\f\n\r\t\v", letters = "bfnrtv";
            const std::size_t at = named.find(c);
            if (at != named.npos && c != delimiter_)
                out.append({'\\', letters[at]});
            else if (c == '\\' || c == delimiter_)
                out.append({'\\', c});
            else
                out += c;
        }
    }

    const bool csv_;
    const char delimiter_, quote_, escape_;
    const std::string null_;
    const bool header_;
};

class plain_encoder final : public payload_encoder {
  public:
    result<std::string> encode(const encode_request& r) override
    {
        if (r.values.size() != 1)
            return bad_value("the format holds one column", {});
        if (r.values[0].what == kind::null)
            return bad_value("the payload cannot be null");
        return std::string(r.values[0].s);
    }
};

} // namespace

result<std::unique_ptr<payload_encoder>> make_copy_encoder(const encode_request& r, bool csv)
{
    return std::unique_ptr<payload_encoder>(std::make_unique<copy_encoder>(r, csv));
}

result<std::unique_ptr<payload_encoder>> make_plain_encoder(const encode_request&, bool)
{
    return std::unique_ptr<payload_encoder>(std::make_unique<plain_encoder>());
}

} // namespace ke::decode
