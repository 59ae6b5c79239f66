// From one record to rows. A decoder belongs to one thread; it holds parser buffers and is reused
// for every record.
#pragma once

#include <memory>
#include <span>
#include <string_view>

#include "base/bytes.h"
#include "base/result.h"
#include "decode/plan.h"
#include "decode/rows.h"

namespace ke::registry {
class listener;
}

namespace ke::decode {

struct header {
    std::string_view name;
    bytes value; // absent: null
};

// Headers of a record whose plan does not need them, for when it turns out to be bad.
class header_source {
  public:
    virtual ~header_source() = default;
    virtual std::span<const header> read() = 0;
};

struct record {
    std::string_view topic;
    topic_number topic_no;
    partition_id partition;
    message_offset offset;
    std::int64_t timestamp_ms = -1; // -1: none
    timestamp_type time_type = timestamp_type::none;
    std::int32_t leader_epoch = -1; // -1: unknown
    bytes key;
    bytes value;                     // absent: a tombstone
    std::span<const header> headers; // only where the plan needs them
    header_source* more = nullptr;   // the headers all the same
};

class record_decoder {
  public:
    virtual ~record_decoder() = default;

    // The values, where there is one, of the records that come next, in their order; some may be left
    // out. A hint: it makes decoding cheaper, never different. The bytes live until the next call.
    virtual void expect(std::span<const bytes> values) = 0;

    // Whether decode() has what it takes for the record: of formats with a schema registry, the schema
    // that it was written with, or the certainty that there is none. False: that is on its way, and
    // who is called when to ask again; trouble says what is in the way, once something is.
    virtual bool prepare(const record& r, const std::weak_ptr<registry::listener>& who,
                         std::shared_ptr<const fault>& trouble) = 0;
    // Whether prepare() may say no.
    virtual bool may_wait() const = 0;

    // Appends one message_ref and its rows; on a bad record one reject and no row (or, where the
    // table has _error, one row that says so). Never throws but std::bad_alloc. A tombstone is a
    // row whose payload columns are null.
    virtual void decode(const record& r, rows& out) = 0;

    // plan must outlive the decoder. Fails where a format or one of its options is unknown.
    static result<std::unique_ptr<record_decoder>> make(std::shared_ptr<const row_plan> plan);
};

// --- the table of formats: one row each, for DDL checks, hints and docs ---
struct format_option {
    std::string_view name;
    std::string_view values; // "s, ms, us, ns"; empty: any text
    std::string_view help;
    // <name>_file: a file of the server's host, whose content is the value of <name> (in base64).
    bool names_file = false;
};
// The options as one format sees them: for the key's, key_<name> goes before <name>.
struct given_options {
    const format_options& all;
    bool of_key = false;
    // The value given, or null.
    const std::string* find(std::string_view name) const;
    std::string_view get(std::string_view name, std::string_view otherwise) const;
};
struct payload_request; // decode/format.h
class payload_decoder;
struct encode_request; // decode/encoder.h
class payload_encoder;
struct format_row {
    std::string_view name;
    std::string_view help;
    std::span<const format_option> options;
    bool single_column = false; // raw, text: the whole payload in the one payload column
    bool needs_headers = false; // it looks at the record's headers
    bool asks_registry = false; // its schemas may stand in a schema registry
    bool takes_paths = false;   // columns may say by a path where their value stands
    // Whether the options fit together, beyond each one's own list of values; null: always.
    result<done> (*check)(const given_options&) = nullptr;
    // Whether a column of this type can be filled; else why not ("format raw fills bytea, ...").
    result<done> (*accepts)(const type_desc&);
    // For the record decoder.
    result<std::unique_ptr<payload_decoder>> (*make)(const payload_request&);
    // For kafka.encode; null: the format is only read.
    result<std::unique_ptr<payload_encoder>> (*make_encoder)(const encode_request&) = nullptr;
};
std::span<const format_row> formats();
const format_row* find_format(std::string_view name);
// The format's option of that name; for the key's format with or without key_ in front. Null: none.
const format_option* find_format_option(const format_row&, std::string_view name, bool of_key);
// Whether the format takes the options that are meant for it. Fails with refused_option.
result<done> check_format_options(const format_row&, const given_options&);

// '$.a.b[0]', '$["odd name"].x', '$', 'tag.x', 'field.x': a path, or the fault that says what is wrong with it.
result<path> parse_path(std::string_view text);

} // namespace ke::decode
