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

namespace ke::decode {

struct header {
    std::string_view name;
    bytes value; // absent: null
};

enum class timestamp_type : std::uint8_t { none, create, append };

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
};

class record_decoder {
  public:
    virtual ~record_decoder() = default;

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
};
struct payload_request; // decode/format.h
class payload_decoder;
struct format_row {
    std::string_view name;
    std::string_view help;
    std::span<const format_option> options;
    bool single_column; // raw, text: the whole payload in the one payload column
    // Whether a column of this type can be filled; else why not ("format raw fills bytea, ...").
    result<done> (*accepts)(const type_desc&);
    // For the record decoder.
    result<std::unique_ptr<payload_decoder>> (*make)(const payload_request&);
};
std::span<const format_row> formats();
const format_row* find_format(std::string_view name);

// '$.a.b[0]', '$["odd name"].x', '$': a path, or the fault that says what is wrong with it.
result<path> parse_path(std::string_view text);

} // namespace ke::decode
