// json_schema: JSON behind the frame that serializers with a schema registry put before it: a zero
// byte and a schema's number, or nothing where a header names the schema. The schema is not needed
// to decode, so no registry is asked.
#include "decode/format.h"

#include <cstring>

#include "decode/cells.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

class json_schema_decoder final : public payload_decoder {
  public:
    json_schema_decoder(std::unique_ptr<payload_decoder> json, bool of_key)
        : json_(std::move(json)), header_(of_key ? "__key_schema_id" : "__value_schema_id")
    {
    }

    void look_at(const record& r) override
    {
        in_header_ = false;
        for (const header& h : r.headers)
            in_header_ |= h.name == header_ && h.value.size == 17 && h.value.data[0] == 1;
    }

    bool decode(bytes payload, rows& out, arena& memory, problem& why) override
    {
        constexpr std::size_t frame = 5; // the zero, four bytes of the number
        if (in_header_)
            return json_->decode(payload, out, memory, why);
        if (payload.size >= frame && payload.data[0] == 0)
            return json_->decode({payload.data + frame, payload.size - frame}, out, memory, why);
        why = problem();
        std::memcpy(why.sqlstate, "22P02", 5);
        why.reason = "invalid input for format json_schema";
        why.detail = "The payload does not begin with a zero byte and the number of a schema.";
        return false;
    }

  private:
    const std::unique_ptr<payload_decoder> json_;
    const std::string_view header_;
    bool in_header_ = false;
};

const format_option options[] = {
    {"timestamp_unit", "s, ms, us, ns", "what numbers in timestamp columns count since 1970 (ms)"},
    {"bytea_format", "base64, hex", "how strings in bytea columns are written (base64)"},
};

} // namespace

const format_row json_schema_format = {
    .name = "json_schema",
    .help = "json behind a schema registry's frame",
    .options = options,
    .needs_headers = true,
    .takes_paths = true,
    .accepts = [](const type_desc&) -> result<done> { return done{}; },
    .make = [](const payload_request& r) -> result<std::unique_ptr<payload_decoder>> {
        auto json = json_format.make(r);
        if (!json)
            return json;
        return std::unique_ptr<payload_decoder>(std::make_unique<json_schema_decoder>(
            std::move(json.value()), r.options.of_key));
    },
};

} // namespace ke::decode
