// Waiting for schemas where a record is decoded on the server's own thread (kafka.decode, kafka.retry).
#pragma once

#include "pg/compat.h"

#include "decode/encoder.h"

namespace ke::topic {

// Until the record can be decoded. Throws pg_error (interrupts), fault_error where the schema registry
// is in trouble.
void await_schemas(decode::record_decoder&, const decode::record&);
// Until a row can be encoded.
void await_schemas(decode::payload_encoder&);

} // namespace ke::topic
