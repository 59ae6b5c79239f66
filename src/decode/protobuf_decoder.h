// What decodes Protobuf's messages; for the format's row in protobuf.cpp.
#pragma once

#include <memory>

#include "decode/format.h"
#include "decode/protobuf_schema.h"

namespace ke::decode {

// What option protobuf_descriptor_set holds.
result<std::unique_ptr<proto_schema>> read_descriptor_set(const given_options&);

// own: of a descriptor set, with the type of the payloads in it; null: the registry's.
std::unique_ptr<payload_decoder> make_protobuf_decoder(const payload_request&,
                                                       std::shared_ptr<const proto_schema> own,
                                                       const proto_message* type);

} // namespace ke::decode
