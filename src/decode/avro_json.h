// Scalars of JSON in the place of an Avro type: what the reader writes as JSON, the way back.
#pragma once

#include "base/arena.h"
#include "decode/avro_schema.h"
#include "decode/encoder.h"

namespace ke::decode {

// v: out of JSON. What JSON has no type for has its own in out: times and durations are text there, bytes
// and fixed are base64, decimals numbers; all else is as it is. False: such a text is none of them, or
// has more digits than would come back.
bool value_of_json(const avro_type&, const value& v, arena&, value& out);

} // namespace ke::decode
