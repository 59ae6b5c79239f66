// Protobuf's files in a pool of its library: from .proto text, or from descriptors. Only for
// protobuf_schema.cpp, which takes from the pool what decoding needs; with it the only place that
// includes the library. Empty where the library was missing at build time.
#pragma once

#ifdef KE_PROTOBUF // set by the build where the library is there
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>

#include <set>
#include <string>
#include <string_view>

namespace ke::decode {

class proto_files {
  public:
    proto_files();

    // In the pool, or null: error() says why. A file that the library has itself is not built again.
    // Others' options, services and imports that only bring such are left out.
    const google::protobuf::FileDescriptor* build(google::protobuf::FileDescriptorProto file);
    const google::protobuf::FileDescriptor* build(const std::string& name, std::string_view text);

    const std::string& error() const { return error_; }

  private:
    google::protobuf::DescriptorPool pool_;
    std::set<std::string> there_; // names of files that can be imported
    std::string error_;
};

} // namespace ke::decode
#endif
