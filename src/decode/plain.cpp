// raw and text: the payload in one column, as bytes or as text.
#include "decode/encoder.h"
#include "decode/format.h"

#include "decode/scalars.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

// A payload in one column. bytea under raw takes the bytes as they are; all else is UTF-8 text, for
// text types as it is, for other types as their input functions read it.
class plain_decoder final : public payload_decoder {
  public:
    plain_decoder(const payload_request& request, bool raw) : columns_(request.columns), raw_(raw)
    {
        for (int c : columns_)
            types_.push_back(request.plan.columns[static_cast<std::size_t>(c)].type);
        convert_.utf8_server = request.plan.server_encoding_utf8;
    }

    bool decode(bytes payload, rows& out, arena& memory, problem& why) override
    {
        convert_.memory = &memory;
        const rows::row row = out.add_row();
        for (std::size_t i = 0; i < columns_.size(); i++) {
            const outcome o = convert(payload.view(), types_[i], row.cells[columns_[i]]);
            if (o == outcome::refused) {
                why = convert_.why;
                why.column = columns_[i];
                return false;
            }
            row.states[columns_[i]] = static_cast<cell_state>(o);
        }
        return true;
    }

  private:
    outcome convert(std::string_view text, const type_desc& type, cell& out)
    {
        if (raw_ && type.type == cell_type::bytea && !type.is_array())
            return make_bytea(text, convert_, out);
        if (!is_utf8(text))
            return convert_.refuse("22021", "invalid byte sequence for encoding \"UTF8\"");
        return text_to_cell(text, type, convert_, out);
    }

    std::vector<int> columns_;
    std::vector<type_desc> types_; // of columns_
    conversion convert_;
    bool raw_;
};

result<done> accepts_raw(const type_desc& type)
{
    switch (type.type) {
    case cell_type::bytea:
    case cell_type::text:
    case cell_type::varchar:
    case cell_type::bpchar:
    case cell_type::json:
    case cell_type::jsonb:
        if (!type.is_array() && !type.is_composite())
            return done{};
        break;
    default:
        break;
    }
    return cannot_fill("raw", "bytea, text, varchar, char, json and jsonb");
}

result<done> accepts_any(const type_desc&)
{
    return done{};
}

} // namespace

const format_row raw_format = {
    .name = "raw",
    .help = "the payload as it is, in one column",
    .options = {},
    .single_column = true,
    .accepts = accepts_raw,
    .make = [](const payload_request& r) -> result<std::unique_ptr<payload_decoder>> {
        return std::unique_ptr<payload_decoder>(std::make_unique<plain_decoder>(r, true));
    },
    .make_encoder = [](const encode_request& r) { return make_plain_encoder(r, true); },
};

const format_row text_format = {
    .name = "text",
    .help = "the payload as UTF-8 text in one column, read by the type's input function",
    .options = {},
    .single_column = true,
    .accepts = accepts_any,
    .make = [](const payload_request& r) -> result<std::unique_ptr<payload_decoder>> {
        return std::unique_ptr<payload_decoder>(std::make_unique<plain_decoder>(r, false));
    },
    .make_encoder = [](const encode_request& r) { return make_plain_encoder(r, false); },
};

} // namespace ke::decode
