// What a format is to the decoder. A format is one file that defines its format_row and a
// payload_decoder, and one line in formats.cpp.
#pragma once

#include <memory>
#include <span>
#include <string_view>
#include <vector>

#include "base/bytes.h"
#include "base/result.h"
#include "decode/cells.h"
#include "decode/decoder.h"
#include "decode/plan.h"
#include "decode/rows.h"

namespace ke::decode {

// Bytes of a value or a key to rows. Owned by a record_decoder, used by its one thread.
class payload_decoder {
  public:
    virtual ~payload_decoder() = default;

    // Payloads that decode() will be given, in this order, some perhaps left out: a format may do for
    // many at once what costs less so. They live until the next call. May throw std::bad_alloc.
    virtual void expect(std::span<const bytes>) {}

    // The record whose payload comes next, for formats that take something from beside it.
    virtual void look_at(const record&) {}

    // As record_decoder::prepare, for this payload of the record; for formats with asks_registry.
    virtual bool prepare(const record&, bytes, const std::weak_ptr<registry::listener>&,
                         std::shared_ptr<const fault>&)
    {
        return true;
    }

    // Appends the rows of one payload (never absent, perhaps empty), filling its own columns only;
    // what the cells point to goes into memory. False: why says what is wrong; the rows appended
    // are the caller's to take back.
    virtual bool decode(bytes payload, rows& out, arena& memory, problem& why) = 0;
};

// What a payload_decoder is made for.
struct payload_request {
    const row_plan& plan;
    std::vector<int> columns; // indexes into plan.columns: those it fills
    // Its one column takes the whole document, whatever that is.
    bool sole_document = false;
    given_options options;
    // All columns of the value's or the key's format, used or not, in the table's order.
    const std::vector<std::string>& all_columns;

    const column& at(int c) const { return plan.columns[static_cast<std::size_t>(c)]; }
};

using payload_maker = result<std::unique_ptr<payload_decoder>> (*)(const payload_request&);

// A fault for accepts(): the type cannot be filled.
fault cannot_fill(std::string_view format, std::string_view takes);

// A fault for check(): the options do not fit.
fault refuse_option(std::string message, std::string hint = {});

// A fault for make(): the server has no schema registry.
fault no_registry(std::string_view format);

// Rows of the table of formats, each defined in its format's file.
extern const format_row avro_format;
extern const format_row cbor_format;
extern const format_row csv_format;
extern const format_row debezium_format;
extern const format_row influx_format;
extern const format_row json_format;
extern const format_row json_schema_format;
extern const format_row msgpack_format;
extern const format_row protobuf_format;
extern const format_row raw_format;
extern const format_row text_format;
extern const format_row tsv_format;

} // namespace ke::decode
