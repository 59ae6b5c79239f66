// libraries FORMAT FILE [TYPES]: what the format's best library alone takes for a million records: bytes to its
// own tree, one record after the other in one thread, the tree dropped at once. FILE has the payloads, each
// behind its length in four bytes; TYPES what the library must know of them (a schema, a descriptor set).
// Prints the library and rows/s, best of three; nothing where this was built without it.
#include <chrono>
#include <cstdint>
#include <cstdio>
#include <cstdlib>
#include <cstring>
#include <fstream>
#include <functional>
#include <memory>
#include <sstream>
#include <string>
#include <string_view>
#include <vector>

#include <simdjson.h>
#ifdef WITH_AVRO
#include <avro.h>
#endif
#ifdef WITH_CBOR
#include <cbor.h>
#endif
#ifdef WITH_MSGPACK
#include <msgpack.h>
#endif
#ifdef WITH_PROTOBUF
#include <google/protobuf/descriptor.h>
#include <google/protobuf/descriptor.pb.h>
#include <google/protobuf/dynamic_message.h>
#include <google/protobuf/timestamp.pb.h>
#endif

namespace {

std::string read_file(const char* name)
{
    std::ostringstream all;
    all << std::ifstream(name, std::ios::binary).rdbuf();
    return all.str();
}

std::vector<std::string_view> payloads_of(std::string_view file)
{
    std::vector<std::string_view> all;
    for (std::size_t at = 0; at + 4 <= file.size();) {
        std::uint32_t size;
        std::memcpy(&size, file.data() + at, 4);
        all.push_back(file.substr(at + 4, size));
        at += 4 + size;
    }
    return all;
}

// Whether the library took the payload.
using reader = std::function<bool(std::string_view)>;

reader json_reader()
{
    auto parser = std::make_shared<simdjson::dom::parser>();
    return [parser](std::string_view s) { return !parser->parse(s.data(), s.size()).error(); };
}

#ifdef WITH_AVRO
reader avro_reader(const std::string& schema)
{
    avro_schema_t parsed;
    if (avro_schema_from_json_length(schema.data(), schema.size(), &parsed))
        return {};
    auto value = std::make_shared<avro_value_t>();
    avro_generic_value_new(avro_generic_class_from_schema(parsed), value.get());
    avro_reader_t in = avro_reader_memory("", 0);
    return [value, in](std::string_view s) {
        avro_reader_memory_set_source(in, s.data(), static_cast<std::int64_t>(s.size()));
        avro_value_reset(value.get());
        return avro_value_read(in, value.get()) == 0;
    };
}
#endif

#ifdef WITH_CBOR
reader cbor_reader()
{
    return [](std::string_view s) {
        cbor_load_result result;
        cbor_item_t* item = cbor_load(reinterpret_cast<cbor_data>(s.data()), s.size(), &result);
        if (!item)
            return false;
        cbor_decref(&item);
        return true;
    };
}
#endif

#ifdef WITH_MSGPACK
reader msgpack_reader()
{
    auto result = std::make_shared<msgpack_unpacked>();
    msgpack_unpacked_init(result.get());
    return [result](std::string_view s) {
        std::size_t at = 0;
        return msgpack_unpack_next(result.get(), s.data(), s.size(), &at) == MSGPACK_UNPACK_SUCCESS;
    };
}
#endif

#ifdef WITH_PROTOBUF
namespace pb = google::protobuf;

// The first type of the set's last file.
reader protobuf_reader(const std::string& types)
{
    pb::FileDescriptorSet set;
    if (!set.ParseFromString(types) || !pb::Timestamp::descriptor())
        return {};
    auto pool = std::make_shared<pb::DescriptorPool>(pb::DescriptorPool::generated_pool());
    const pb::FileDescriptor* file = nullptr;
    for (const auto& f : set.file())
        file = pool->BuildFile(f);
    auto factory = std::make_shared<pb::DynamicMessageFactory>(pool.get());
    std::shared_ptr<pb::Message> message(factory->GetPrototype(file->message_type(0))->New());
    return [pool, factory, message](std::string_view s) {
        return message->ParseFromArray(s.data(), static_cast<int>(s.size()));
    };
}
#endif

std::pair<const char*, reader> find(std::string_view format, const std::string& types)
{
    if (format == "json" || format == "debezium")
        return {"simdjson, its tree", json_reader()};
#ifdef WITH_AVRO
    if (format == "avro")
        return {"avro-c", avro_reader(types)};
#endif
#ifdef WITH_CBOR
    if (format == "cbor")
        return {"libcbor", cbor_reader()};
#endif
#ifdef WITH_MSGPACK
    if (format == "msgpack")
        return {"msgpack-c", msgpack_reader()};
#endif
#ifdef WITH_PROTOBUF
    if (format == "protobuf")
        return {"libprotobuf, dynamic messages", protobuf_reader(types)};
#endif
    (void)types;
    return {};
}

} // namespace

int main(int argc, char** argv)
{
    if (argc < 3)
        return 2;
    const std::string file = read_file(argv[2]), types = argc > 3 ? read_file(argv[3]) : "";
    const std::vector<std::string_view> payloads = payloads_of(file);
    const auto [name, read] = find(argv[1], types);
    if (!read)
        return 0;
    double best = 1e9;
    for (int turn = 0; turn < 3; turn++) {
        const auto begin = std::chrono::steady_clock::now();
        for (std::string_view p : payloads)
            if (!read(p)) {
                std::fprintf(stderr, "%s refuses a payload\n", name);
                return 1;
            }
        const std::chrono::duration<double> spent = std::chrono::steady_clock::now() - begin;
        best = std::min(best, spent.count());
    }
    std::printf("%s|%.0f\n", name, static_cast<double>(payloads.size()) / best);
    return 0;
}
