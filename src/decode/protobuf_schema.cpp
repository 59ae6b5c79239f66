#include "decode/protobuf_schema.h"

#include <bit>
#include <set>

#include "decode/protobuf_files.h"

#include "base/no_backend.h"

namespace ke::decode {

const proto_message* proto_schema::at(std::span<const std::int64_t> indexes) const
{
    const std::vector<const proto_message*>* list = &top_;
    const proto_message* found = nullptr;
    for (std::int64_t i : indexes) {
        if (i < 0 || static_cast<std::uint64_t>(i) >= list->size())
            return nullptr;
        found = (*list)[static_cast<std::size_t>(i)];
        list = &found->nested;
    }
    return found;
}

namespace {

[[maybe_unused]] fault refuse(std::string why)
{
    fault f;
    f.kind = fault_kind::bad_record;
    f.message = "not a Protobuf schema: " + why;
    return f;
}

} // namespace

#ifndef KE_PROTOBUF

bool proto_schema::is_built_in()
{
    return false;
}
result<std::unique_ptr<proto_schema>> proto_schema::parse(std::string_view,
                                                          std::span<const registry::dependency>)
{
    return refuse("this build has no Protobuf library");
}
result<std::unique_ptr<proto_schema>> proto_schema::read_set(std::string_view)
{
    return refuse("this build has no Protobuf library");
}

#else

namespace pb = google::protobuf;

// What files declare, from the library's descriptors into ours.
class proto_compiler {
  public:
    explicit proto_compiler(proto_schema& out) : out_(out) {}

    // All messages of a file and of those that it imports.
    void take(const pb::FileDescriptor& file)
    {
        if (!taken_.insert(std::string(file.name())).second)
            return;
        for (int i = 0; i < file.dependency_count(); i++)
            take(*file.dependency(i));
        for (int i = 0; i < file.message_type_count(); i++)
            message(*file.message_type(i));
        finish();
    }
    void set_top(const pb::FileDescriptor& file)
    {
        for (int i = 0; i < file.message_type_count(); i++)
            out_.top_.push_back(message(*file.message_type(i)));
        finish();
    }

  private:
    static proto_meaning meaning_of(const pb::Descriptor& d);
    static proto_kind kind_of(const pb::FieldDescriptor& f);
    const proto_message* message(const pb::Descriptor& d);
    void finish();
    const proto_enum* enumeration(const pb::EnumDescriptor& d);
    proto_field field(const pb::FieldDescriptor& f);
    void take_default(proto_field& to, const pb::FieldDescriptor& f);

    proto_schema& out_;
    std::set<std::string> taken_; // names of files
    std::unordered_map<const pb::EnumDescriptor*, const proto_enum*> enums_;
    std::vector<std::pair<const pb::Descriptor*, proto_message*>> unfinished_;
};

proto_meaning proto_compiler::meaning_of(const pb::Descriptor& d)
{
    constexpr std::pair<std::string_view, proto_meaning> names[] = {
        {"google.protobuf.Timestamp", proto_meaning::timestamp},
        {"google.protobuf.Duration", proto_meaning::duration},
        {"google.protobuf.Struct", proto_meaning::struct_},
        {"google.protobuf.Value", proto_meaning::value},
        {"google.protobuf.ListValue", proto_meaning::list},
        {"google.protobuf.Any", proto_meaning::any},
    };
    const std::string name(d.full_name());
    for (const auto& [known, meaning] : names)
        if (known == name)
            return meaning;
    return d.file()->name() == "google/protobuf/wrappers.proto" ? proto_meaning::wrapper
                                                                : proto_meaning::plain;
}

proto_kind proto_compiler::kind_of(const pb::FieldDescriptor& f)
{
    using F = pb::FieldDescriptor;
    switch (f.type()) {
    case F::TYPE_DOUBLE:
        return proto_kind::real8;
    case F::TYPE_FLOAT:
        return proto_kind::real4;
    case F::TYPE_INT64:
        return proto_kind::int64;
    case F::TYPE_UINT64:
        return proto_kind::uint64;
    case F::TYPE_INT32:
        return proto_kind::int32;
    case F::TYPE_FIXED64:
        return proto_kind::fixed64;
    case F::TYPE_FIXED32:
        return proto_kind::fixed32;
    case F::TYPE_BOOL:
        return proto_kind::boolean;
    case F::TYPE_STRING:
        return proto_kind::text;
    case F::TYPE_GROUP:
        return proto_kind::group;
    case F::TYPE_MESSAGE:
        return proto_kind::message;
    case F::TYPE_BYTES:
        return proto_kind::bytes;
    case F::TYPE_UINT32:
        return proto_kind::uint32;
    case F::TYPE_ENUM:
        return proto_kind::enumeration;
    case F::TYPE_SFIXED32:
        return proto_kind::sfixed32;
    case F::TYPE_SFIXED64:
        return proto_kind::sfixed64;
    case F::TYPE_SINT32:
        return proto_kind::sint32;
    case F::TYPE_SINT64:
        return proto_kind::sint64;
    }
    return proto_kind::bytes;
}

// Noted; finish() looks at its fields.
const proto_message* proto_compiler::message(const pb::Descriptor& d)
{
    const std::string name(d.full_name());
    if (const auto at = out_.by_name_.find(name); at != out_.by_name_.end())
        return at->second;
    out_.messages_.push_back(std::make_unique<proto_message>());
    proto_message& m = *out_.messages_.back();
    m.name = name;
    m.meaning = meaning_of(d);
    out_.by_name_.emplace(name, &m);
    unfinished_.emplace_back(&d, &m);
    return &m;
}

// Not by recursion: messages may lead to each other in chains of any length.
void proto_compiler::finish()
{
    while (!unfinished_.empty()) {
        const auto [d, m] = unfinished_.back();
        unfinished_.pop_back();
        for (int i = 0; i < d->field_count(); i++) {
            m->by_number.emplace(d->field(i)->number(), m->fields.size());
            m->fields.push_back(field(*d->field(i)));
        }
        for (int i = 0; i < d->nested_type_count(); i++)
            m->nested.push_back(message(*d->nested_type(i)));
    }
}

const proto_enum* proto_compiler::enumeration(const pb::EnumDescriptor& d)
{
    const proto_enum*& known = enums_[&d];
    if (known)
        return known;
    auto made = std::make_unique<proto_enum>();
    for (int i = 0; i < d.value_count(); i++)
        made->names.emplace(d.value(i)->number(), std::string(d.value(i)->name()));
#if GOOGLE_PROTOBUF_VERSION >= 4022000
    made->closed = d.is_closed();
#else
    made->closed = d.file()->syntax() == pb::FileDescriptor::SYNTAX_PROTO2;
#endif
    known = made.get();
    out_.enums_.push_back(std::move(made));
    return known;
}

proto_field proto_compiler::field(const pb::FieldDescriptor& f)
{
    proto_field to;
    to.name = std::string(f.name());
    to.json_name = std::string(f.json_name());
    to.number = f.number();
    to.kind = kind_of(f);
    to.repeated = f.is_repeated();
    to.map = f.is_map();
    to.has_presence = f.has_presence();
    if (f.containing_oneof())
        to.oneof = f.containing_oneof()->index();
    if (f.message_type())
        to.message = message(*f.message_type());
    if (f.enum_type())
        to.enumeration = enumeration(*f.enum_type());
    if (!f.is_repeated() && !f.message_type())
        take_default(to, f);
    return to;
}

// As the wire would bring it.
void proto_compiler::take_default(proto_field& to, const pb::FieldDescriptor& f)
{
    using F = pb::FieldDescriptor;
    to.has_default = f.has_default_value();
    switch (f.cpp_type()) {
    case F::CPPTYPE_INT32:
        to.default_bits = static_cast<std::uint64_t>(std::int64_t{f.default_value_int32()});
        break;
    case F::CPPTYPE_INT64:
        to.default_bits = static_cast<std::uint64_t>(f.default_value_int64());
        break;
    case F::CPPTYPE_UINT32:
        to.default_bits = f.default_value_uint32();
        break;
    case F::CPPTYPE_UINT64:
        to.default_bits = f.default_value_uint64();
        break;
    case F::CPPTYPE_DOUBLE:
        to.default_bits = std::bit_cast<std::uint64_t>(f.default_value_double());
        break;
    case F::CPPTYPE_FLOAT:
        to.default_bits = std::bit_cast<std::uint32_t>(f.default_value_float());
        break;
    case F::CPPTYPE_BOOL:
        to.default_bits = f.default_value_bool();
        break;
    case F::CPPTYPE_ENUM:
        to.default_bits =
            static_cast<std::uint64_t>(std::int64_t{f.default_value_enum()->number()});
        break;
    case F::CPPTYPE_STRING:
        to.default_text = std::string(f.default_value_string());
        break;
    case F::CPPTYPE_MESSAGE:
        break;
    }
    if (to.kind == proto_kind::sint32 || to.kind == proto_kind::sint64)
        to.default_bits = to.default_bits << 1 ^ (~(to.default_bits >> 63) + 1); // zigzag
}

bool proto_schema::is_built_in()
{
    return true;
}

result<std::unique_ptr<proto_schema>>
proto_schema::parse(std::string_view text, std::span<const registry::dependency> needs)
{
#if GOOGLE_PROTOBUF_VERSION < 4022000
    pb::LogSilencer quiet;
#endif
    auto made = std::make_unique<proto_schema>();
    proto_files files;
    proto_compiler compiler(*made);
    for (const registry::dependency& d : needs)
        if (!files.build(d.name, d.text))
            return refuse(d.name + ": " + files.error());
    const pb::FileDescriptor* own = files.build("the schema", text);
    if (!own)
        return refuse(files.error());
    compiler.take(*own);
    compiler.set_top(*own);
    return made;
}

// Files may come in any order.
result<std::unique_ptr<proto_schema>> proto_schema::read_set(std::string_view bytes)
{
#if GOOGLE_PROTOBUF_VERSION < 4022000
    pb::LogSilencer quiet;
#endif
    pb::FileDescriptorSet set;
    if (!set.ParseFromArray(bytes.data(), static_cast<int>(bytes.size())) || set.file_size() == 0)
        return refuse("it is not a descriptor set");
    // They are tried over and over until all that they import is there.
    constexpr int most_files = 1000;
    if (set.file_size() > most_files)
        return refuse("it has more than 1000 files");
    auto made = std::make_unique<proto_schema>();
    proto_files files;
    proto_compiler compiler(*made);
    std::set<std::string> names, built;
    for (const auto& f : set.file())
        names.insert(f.name());
    const pb::FileDescriptor* last = nullptr;
    while (built.size() < names.size()) {
        const std::size_t before = built.size();
        for (const auto& f : set.file()) {
            bool ready = !built.contains(f.name());
            for (const std::string& d : f.dependency())
                ready = ready && (built.contains(d) || !names.contains(d));
            if (!ready)
                continue;
            last = files.build(f);
            if (!last)
                return refuse(files.error());
            compiler.take(*last);
            built.insert(f.name());
        }
        if (built.size() == before)
            return refuse("its files import each other in a circle");
    }
    compiler.set_top(*last);
    return made;
}

#endif

} // namespace ke::decode
