// A row's columns as values for encoders. Session's thread; plain data in the caller's memory context.
#pragma once

#include "pg/compat.h"

#include "decode/encoder.h"

namespace ke::topic {

// Of one datum; as_text: as its type's output function writes it. Raises.
decode::value make_value(Datum, bool isnull, Oid type, bool as_text);

} // namespace ke::topic
