#include "decode/protobuf_files.h"

#ifdef KE_PROTOBUF
#include <google/protobuf/any.pb.h>
#include <google/protobuf/compiler/parser.h>
#include <google/protobuf/duration.pb.h>
#include <google/protobuf/field_mask.pb.h>
#include <google/protobuf/io/tokenizer.h>
#include <google/protobuf/io/zero_copy_stream_impl_lite.h>
#include <google/protobuf/struct.pb.h>
#include <google/protobuf/timestamp.pb.h>
#include <google/protobuf/wrappers.pb.h>

#include <vector>
#endif

#include "base/no_backend.h"

#ifdef KE_PROTOBUF
namespace ke::decode {

namespace pb = google::protobuf;

namespace {

// The first thing that the library says is wrong. Its later versions take the same by other names.
#if GOOGLE_PROTOBUF_VERSION >= 4022000
using words_of_library = absl::string_view;
#define KE_ADD_ERROR RecordError
#else
using words_of_library = const std::string&;
#define KE_ADD_ERROR AddError
#endif

struct text_errors final : pb::io::ErrorCollector {
    std::string first;
    void KE_ADD_ERROR(int line, int column, words_of_library message) override
    {
        if (first.empty())
            first = "line " + std::to_string(line + 1) + ", column " + std::to_string(column + 1) +
                    ": " + std::string(message);
    }
};

struct pool_errors final : pb::DescriptorPool::ErrorCollector {
    std::string first;
    void KE_ADD_ERROR(words_of_library file, words_of_library element, const pb::Message*,
                      ErrorLocation, words_of_library message) override
    {
        if (first.empty())
            first = std::string(file) + ": " + std::string(element) + ": " + std::string(message);
    }
};

// Options of others' own making would need the files that declare them, and mean nothing here.
template <class Options>
void drop_custom(Options* options)
{
    auto* list = options->mutable_uninterpreted_option();
    for (int i = list->size(); i-- > 0;) {
        bool custom = (*list)[i].name_size() != 1;
        for (const auto& part : (*list)[i].name())
            custom |= part.is_extension();
        if (custom)
            list->DeleteSubrange(i, 1);
    }
}

void drop_custom_of(pb::EnumDescriptorProto& e)
{
    drop_custom(e.mutable_options());
    for (auto& v : *e.mutable_value())
        v.clear_options();
}

void drop_custom_of(pb::DescriptorProto& m)
{
    drop_custom(m.mutable_options());
    for (auto& f : *m.mutable_field())
        if (f.has_options())
            drop_custom(f.mutable_options());
    for (auto& f : *m.mutable_extension())
        f.clear_options();
    for (auto& o : *m.mutable_oneof_decl())
        o.clear_options();
    for (auto& r : *m.mutable_extension_range())
        r.clear_options();
    for (auto& e : *m.mutable_enum_type())
        drop_custom_of(e);
    for (auto& n : *m.mutable_nested_type())
        drop_custom_of(n);
}

// Leaves in a file what its messages need: no services, no custom options, and of its imports those
// that are there (one that only brought options may be nobody's to give).
void strip(pb::FileDescriptorProto& file, const std::set<std::string>& there)
{
    file.clear_service();
    drop_custom(file.mutable_options());
    for (auto& m : *file.mutable_message_type())
        drop_custom_of(m);
    for (auto& e : *file.mutable_enum_type())
        drop_custom_of(e);
    for (auto& x : *file.mutable_extension())
        x.clear_options();
    std::vector<std::string> kept, public_ones;
    for (int i = 0; i < file.dependency_size(); i++) {
        if (!there.contains(file.dependency(i)))
            continue;
        kept.push_back(file.dependency(i));
        for (int n : file.public_dependency())
            if (n == i)
                public_ones.push_back(file.dependency(i));
    }
    file.clear_dependency();
    file.clear_public_dependency();
    file.clear_weak_dependency();
    for (std::size_t i = 0; i < kept.size(); i++) {
        file.add_dependency(kept[i]);
        for (const std::string& p : public_ones)
            if (p == kept[i])
                file.add_public_dependency(static_cast<int>(i));
    }
}

// The library's own types, which files may import without anybody giving them.
const pb::FileDescriptor* const own_files[] = {
    pb::Any::descriptor()->file(),
    pb::Duration::descriptor()->file(),
    pb::FieldMask::descriptor()->file(),
    pb::Struct::descriptor()->file(),
    pb::Timestamp::descriptor()->file(),
    pb::Int32Value::descriptor()->file(),
    pb::DescriptorProto::descriptor()->file(),
};

} // namespace

proto_files::proto_files() : pool_(pb::DescriptorPool::generated_pool())
{
    for (const pb::FileDescriptor* f : own_files)
        there_.insert(std::string(f->name()));
}

const pb::FileDescriptor* proto_files::build(pb::FileDescriptorProto file)
{
    if (there_.contains(file.name())) {
        const pb::FileDescriptor* found = pool_.FindFileByName(file.name());
        if (found)
            return found;
    }
    strip(file, there_);
    pool_errors errors;
    const pb::FileDescriptor* built = pool_.BuildFileCollectingErrors(file, &errors);
    if (!built) {
        error_ = errors.first.empty() ? "it cannot be built" : errors.first;
        return nullptr;
    }
    there_.insert(std::string(file.name()));
    return built;
}

const pb::FileDescriptor* proto_files::build(const std::string& name, std::string_view text)
{
    text_errors errors;
    pb::io::ArrayInputStream in(text.data(), static_cast<int>(text.size()));
    pb::io::Tokenizer tokens(&in, &errors);
    pb::compiler::Parser parser;
    pb::FileDescriptorProto file;
    parser.RecordErrorsTo(&errors);
    if (!parser.Parse(&tokens, &file) || !errors.first.empty()) {
        error_ = errors.first.empty() ? "it does not parse" : errors.first;
        return nullptr;
    }
    file.set_name(name);
    return build(std::move(file));
}

} // namespace ke::decode
#endif
