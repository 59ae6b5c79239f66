// json_schema: JSON behind the frame that serializers with a schema registry put before it: a zero byte and
// a schema's number, or nothing where a header names the schema. The schema is not needed to decode; where
// the server has a registry it must be there all the same, and be one of JSON.
#include "decode/format.h"

#include "decode/cells.h"
#include "decode/encoder.h"
#include "decode/framing.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

// That there is one is all that counts.
struct known_schema {};

result<std::unique_ptr<known_schema>> know(const registry::schema& s)
{
    if (s.type == registry::schema_type::json)
        return std::make_unique<known_schema>();
    fault f;
    f.kind = fault_kind::bad_record;
    f.message = "it is not a schema of JSON";
    return f;
}

class json_schema_decoder final : public payload_decoder {
  public:
    json_schema_decoder(std::unique_ptr<payload_decoder> json, const payload_request& r)
        : json_(std::move(json)), asks_(r.plan.schemas != nullptr), frame_(r.options),
          schemas_(r.plan.schemas, know)
    {
        conversion_.utf8_server = r.plan.server_encoding_utf8;
    }

    bool prepare(const record& r, bytes payload, const std::weak_ptr<registry::listener>& who,
                 std::shared_ptr<const fault>& trouble) override
    {
        bytes rest;
        frame_.look_at(r);
        return !asks_ || frame_.open(payload, rest) || schemas_.prepare(frame_.key(), who, trouble);
    }

    void look_at(const record& r) override { frame_.look_at(r); }

    bool decode(bytes payload, rows& out, arena& memory, problem& why) override
    {
        bytes rest;
        std::string_view flaw;
        conversion_.memory = &memory;
        if (const char* bad = frame_.open(payload, rest))
            flaw = bad;
        else if (!asks_ || is_known(flaw))
            return json_->decode(rest, out, memory, why);
        conversion_.refuse("22P02", "invalid input for format json_schema", memory.copy(flaw));
        why = conversion_.why;
        return false;
    }

  private:
    bool is_known(std::string_view& why)
    {
        if (frame_.by_number() && frame_.number() == newest_)
            return true;
        if (!schemas_.get(frame_.key(), why))
            return false;
        if (frame_.by_number())
            newest_ = frame_.number();
        return true;
    }

    const std::unique_ptr<payload_decoder> json_;
    const bool asks_;
    schema_frame frame_;
    written_schemas<known_schema> schemas_;
    std::int64_t newest_ = -1; // the schema met last
    conversion conversion_;
};

const format_option options[] = {
    {"timestamp_unit", "s, ms, us, ns", "what numbers in timestamp columns count since 1970 (ms)"},
    {"bytea_format", "base64, hex", "how strings in bytea columns are written (base64)"},
    schema_id_option,
};

} // namespace

const format_row json_schema_format = {
    .name = "json_schema",
    .help = "json behind a schema registry's frame",
    .options = options,
    .needs_headers = true,
    .asks_registry = true,
    .takes_paths = true,
    .accepts = [](const type_desc&) -> result<done> { return done{}; },
    .make = [](const payload_request& r) -> result<std::unique_ptr<payload_decoder>> {
        auto json = json_format.make(r);
        if (!json)
            return json;
        return std::unique_ptr<payload_decoder>(
            std::make_unique<json_schema_decoder>(std::move(json.value()), r));
    },
    .make_encoder = make_json_schema_encoder,
};

} // namespace ke::decode
