// protobuf: the format's row and its options; protobuf_decoder.cpp does the work.
#include "decode/encoder.h"
#include "decode/framing.h"
#include "decode/protobuf_decoder.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

const format_option options[] = {
    {"protobuf_descriptor_set", "",
     "the types of the payloads, as protoc --descriptor_set_out --include_imports writes them, in "
     "base64; payloads are then not framed"},
    {"protobuf_descriptor_set_file", "", "the same in a file of the server's host, not in base64",
     true},
    {"protobuf_message", "", "which type the payloads have, by its full name"},
    schema_id_option,
};

} // namespace

result<std::unique_ptr<proto_schema>> read_descriptor_set(const given_options& given)
{
    const std::string option = given.of_key ? "option \"key_protobuf_descriptor_set\""
                                            : "option \"protobuf_descriptor_set\"";
    std::string set;
    if (!decode_base64(given.get("protobuf_descriptor_set", ""), set))
        return refuse_option(
            option + " is not base64",
            "Write it by protoc --include_imports --descriptor_set_out=/dev/stdout "
            "x.proto | base64 -w0.");
    auto read = proto_schema::read_set(set);
    if (!read)
        return refuse_option(option + ", or its file, is " + read.error().message,
                             "Write the file by protoc --include_imports --descriptor_set_out=FILE "
                             "x.proto.");
    return read;
}

namespace {

result<done> check(const given_options& given)
{
    if (!proto_schema::is_built_in())
        return refuse_option("format \"protobuf\" is not part of this build",
                             "Install Protobuf's library with its headers (Debian: "
                             "libprotoc-dev) and build the extension again.");
    const bool set_given = given.find("protobuf_descriptor_set");
    const bool file_given = given.find("protobuf_descriptor_set_file");
    if (set_given && file_given)
        return refuse_option("options \"protobuf_descriptor_set\" and "
                             "\"protobuf_descriptor_set_file\" exclude each other");
    if (!set_given && !file_given)
        return done{};
    const std::string* name = given.find("protobuf_message");
    if (!name)
        return refuse_option("option \"protobuf_descriptor_set\" needs protobuf_message",
                             "Name the type of the payloads: 'package.Message'.");
    if (file_given)
        return done{}; // it is read when records are
    auto set = read_descriptor_set(given);
    if (!set)
        return std::move(set.error());
    if (!set.value()->find(*name))
        return refuse_option("the descriptor set has no message \"" + *name + "\"",
                             "Give its full name with its package: 'package.Message'.");
    return done{};
}

} // namespace

const format_row protobuf_format = {
    .name = "protobuf",
    .help = "Protobuf messages, with a schema registry or of a descriptor set",
    .options = options,
    .asks_registry = true,
    .takes_paths = true,
    .check = check,
    .accepts = [](const type_desc&) -> result<done> { return done{}; },
    .make = [](const payload_request& r) -> result<std::unique_ptr<payload_decoder>> {
        std::shared_ptr<const proto_schema> own;
        const proto_message* type = nullptr;
        if (r.options.find("protobuf_descriptor_set")) {
            auto set = read_descriptor_set(r.options);
            if (!set)
                return std::move(set.error());
            own = std::move(set.value());
            type = own->find(r.options.get("protobuf_message", ""));
            if (!type)
                return refuse_option("the descriptor set has no such message");
        } else if (!r.plan.schemas) {
            return no_registry("protobuf");
        }
        return make_protobuf_decoder(r, std::move(own), type);
    },
    .make_encoder = make_protobuf_encoder,
};

} // namespace ke::decode
