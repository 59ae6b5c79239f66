// avro: binary data of a schema straight into cells, without the tree that a library would build.
//
// The writer's schema is the option avro_schema, or stands in an object container's head. In a
// container avro_schema is the reader's: columns are found by its names and aliases, and a field
// that the writer did not have takes its default. Promotion needs no help: a column's type takes
// any number that fits. Each record, or each datum of a container, is a row; a top-level value that
// is no record fills a column with path '$'.
#include "decode/format.h"

#include <map>
#include <new>

#include "decode/avro_reader.h"
#include "decode/avro_schema.h"
#include "decode/json_tree.h"
#include "decode/typed_values.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

class avro_decoder final : public payload_decoder {
  public:
    avro_decoder(const payload_request& request, std::shared_ptr<const avro_schema> schema,
                 bool container);

    bool decode(bytes payload, rows& out, arena& memory, problem& why) override;

  private:
    // Where the fields of a record go: the branch of each, or null; defaults of those it lacks.
    struct record_plan {
        std::vector<json_node*> branches;
        std::vector<std::pair<json_node*, std::string_view>> defaults;
    };

    bool datum(const avro_type& type, rows& out);
    bool container(rows& out);
    bool blocks(const avro_type& type, std::string_view sync, rows& out);
    bool value(const avro_type& type, const avro_type* reader, json_node* node, int depth);
    bool record(const avro_type& type, const avro_type* reader, json_node& node, int depth);
    const record_plan& plan_of(const avro_type& type, const avro_type* reader, json_node& node);
    bool fill(const json_node& node, const item& value);
    bool fill_json(const json_node& node, std::string_view json);
    bool fail(const char* detail);

    const std::shared_ptr<const avro_schema> schema_;
    const bool container_;
    std::vector<type_desc> types_; // by the plan's index
    json_node root_;
    typed_values values_;
    std::map<std::pair<const avro_type*, const json_node*>, record_plan> plans_;
    std::string written_text_; // of the schema in the newest container
    std::shared_ptr<const avro_schema> written_;

    // While decode() runs.
    rows::row row_{};
    avro_reader reader_;
    std::string json_;
};

avro_decoder::avro_decoder(const payload_request& request,
                           std::shared_ptr<const avro_schema> schema, bool container)
    : schema_(std::move(schema)), container_(container), types_(request.plan.columns.size()),
      values_({}, request.plan.server_encoding_utf8)
{
    for (int c : request.columns) {
        const column& col = request.at(c);
        types_[static_cast<std::size_t>(c)] = col.type;
        const path own{path_step{col.name}};
        root_.add(col.whole_document || !col.where.empty() ? col.where : own, c);
    }
}

bool avro_decoder::decode(bytes payload, rows& out, arena& memory, problem& why)
{
    values_.convert().memory = &memory;
    reader_.open(payload.view());
    values_.convert().why = problem();
    reader_.fail("");
    bool good;
    if (payload.size == 0)
        good = fail("The payload is empty.");
    else if (container_)
        good = container(out);
    else
        good = datum(schema_->root(), out) &&
               (reader_.at_end() || fail("There is more behind the datum."));
    // Either the bytes are malformed, or a value was refused.
    if (!good && *reader_.error())
        values_.convert().refuse("22P02", "invalid input for format avro", reader_.error());
    if (!good)
        why = values_.convert().why;
    return good;
}

bool avro_decoder::fail(const char* detail)
{
    return reader_.fail(detail);
}

bool avro_decoder::datum(const avro_type& type, rows& out)
{
    row_ = out.add_row();
    return value(type, schema_ ? &schema_->root() : nullptr, &root_, 1);
}

// ------------------------------------------------------------------ containers

bool avro_decoder::container(rows& out)
{
    std::string_view magic, sync, key, text;
    if (!reader_.take(4, magic) || magic != std::string_view("Obj\1", 4))
        return fail("The payload is not an object container.");
    std::string_view schema, codec = "null";
    if (!reader_.items([&](std::int64_t) {
            if (!reader_.string(key) || !reader_.string(text))
                return false;
            if (key == "avro.schema")
                schema = text;
            else if (key == "avro.codec")
                codec = text;
            return true;
        }))
        return false;
    if (codec != "null")
        return fail("The container is compressed.");
    if (!reader_.take(16, sync))
        return false;
    if (!written_ || schema != written_text_) {
        auto parsed = avro_schema::parse(schema);
        if (!parsed)
            return fail(values_.convert().memory->copy(parsed.error().message + ".").data());
        plans_.clear();
        written_ = std::move(parsed.value());
        written_text_ = schema;
    }
    return blocks(written_->root(), sync, out);
}

bool avro_decoder::blocks(const avro_type& type, std::string_view sync, rows& out)
{
    while (!reader_.at_end()) {
        std::int64_t count, size;
        std::string_view end;
        if (!reader_.number(count) || !reader_.number(size))
            return false;
        if (count < 0 || size < 0 || static_cast<std::uint64_t>(size) > reader_.left())
            return fail("A block of the container has no valid size.");
        const std::size_t behind = reader_.position() + static_cast<std::size_t>(size);
        for (std::int64_t i = 0; i < count; i++) {
            if (!reader_.spend(1) || !datum(type, out))
                return false;
        }
        if (reader_.position() != behind)
            return fail("A block of the container is longer or shorter than it says.");
        if (!reader_.take(16, end))
            return false;
        if (end != sync)
            return fail("A block of the container is not followed by its mark.");
    }
    return true;
}

// ------------------------------------------------------------------ values

// reader: the same type as the reader knows it, or null. node: where we are among the columns'
// paths, or null where nobody wants anything.
bool avro_decoder::value(const avro_type& type, const avro_type* reader, json_node* node, int depth)
{
    if (depth > avro_reader::most_depth)
        return fail("The payload is nested too deep.");
    if (!node)
        return reader_.skip(type, depth);
    if (type.kind == avro_kind::union_) {
        const avro_type* chosen = reader_.branch(type);
        return chosen && value(*chosen, reader, node, depth + 1);
    }
    const bool wanted = !node->columns.empty();
    if (type.kind != avro_kind::record && type.kind != avro_kind::array &&
        type.kind != avro_kind::map) {
        item it;
        return reader_.scalar(type, it) && (!wanted || fill(*node, it));
    }
    if (wanted) {
        const std::size_t start = reader_.position();
        json_.clear();
        if (!reader_.render(type, depth, values_, json_) || !fill_json(*node, json_))
            return false;
        if (!node->leads_on())
            return true;
        reader_.seek(start);
    }
    if (type.kind == avro_kind::record)
        return record(type, reader, *node, depth);
    if (type.kind == avro_kind::array)
        return reader_.items([&](std::int64_t n) {
            return value(*type.element, nullptr, node->element(n), depth + 1);
        });
    json_node::place last = json_node::at_start;
    return reader_.items([&](std::int64_t) {
        std::string_view key;
        if (!reader_.string(key))
            return false;
        json_node* inside = nullptr;
        if (!node->guess(key, last, inside))
            inside = node->member(key, last);
        return value(*type.element, nullptr, inside, depth + 1);
    });
}

bool avro_decoder::record(const avro_type& type, const avro_type* reader, json_node& node,
                          int depth)
{
    const record_plan& plan = plan_of(type, reader, node);
    for (std::size_t i = 0; i < type.fields.size(); i++) {
        const avro_type* known = nullptr;
        if (reader && reader != &type && plan.branches[i])
            for (const avro_field& f : reader->fields)
                if (f.name == type.fields[i].name)
                    known = f.type;
        if (!value(*type.fields[i].type, known, plan.branches[i], depth + 1))
            return false;
    }
    for (const auto& [branch, json] : plan.defaults)
        if (!fill_json(*branch, json))
            return false;
    return true;
}

const avro_decoder::record_plan& avro_decoder::plan_of(const avro_type& type,
                                                       const avro_type* reader, json_node& node)
{
    const auto [found, is_new] = plans_.try_emplace({&type, &node});
    record_plan& plan = found->second;
    if (!is_new)
        return plan;
    while (reader && reader->kind == avro_kind::union_) {
        const avro_type* inner = nullptr;
        for (const avro_type* b : reader->branches)
            if (b->kind == avro_kind::record)
                inner = b;
        reader = inner;
    }
    const bool resolves = reader && reader != &type && reader->kind == avro_kind::record;
    json_node::place last = json_node::at_start;
    auto branch_of = [&](const std::string& name) -> json_node* {
        return node.leads_on() ? node.member(name, last) : nullptr;
    };
    for (const avro_field& f : type.fields) {
        json_node* branch = branch_of(f.name);
        if (resolves)
            for (const avro_field& r : reader->fields)
                for (const std::string& alias : r.aliases)
                    if (alias == f.name && branch_of(r.name))
                        branch = branch_of(r.name);
        plan.branches.push_back(branch);
    }
    for (std::size_t i = 0; resolves && i < reader->fields.size(); i++) {
        const avro_field& r = reader->fields[i];
        json_node* branch = branch_of(r.name);
        bool written = false;
        for (json_node* b : plan.branches)
            written |= b == branch;
        if (branch && !written && !r.default_json.empty() && !branch->columns.empty())
            plan.defaults.emplace_back(branch, r.default_json);
    }
    return plan;
}

// ------------------------------------------------------------------ cells

bool avro_decoder::fill(const json_node& node, const item& value)
{
    for (int c : node.columns) {
        const outcome o = values_.make(value, types_[static_cast<std::size_t>(c)], row_.cells[c]);
        if (o == outcome::refused) {
            values_.convert().why.column = c;
            return false;
        }
        row_.states[c] = static_cast<cell_state>(o);
    }
    return true;
}

bool avro_decoder::fill_json(const json_node& node, std::string_view json)
{
    for (int c : node.columns) {
        const outcome o =
            values_.make_json(json, types_[static_cast<std::size_t>(c)], row_.cells[c]);
        if (o == outcome::refused) {
            values_.convert().why.column = c;
            return false;
        }
        row_.states[c] = static_cast<cell_state>(o);
    }
    return true;
}

// ------------------------------------------------------------------ options

const format_option options[] = {
    {"avro_schema", "", "the schema of the payloads, as JSON; of containers: the reader's"},
    {"avro_framing", "none, container",
     "whether a payload is one datum or an object container (none where there is a schema)"},
};

bool is_container(const given_options& given)
{
    return given.get("avro_framing", given.find("avro_schema") ? "none" : "container") ==
           "container";
}

result<done> check(const given_options& given)
{
    const std::string* schema = given.find("avro_schema");
    if (!schema && !is_container(given))
        return refuse_option("format \"avro\" needs the option avro_schema",
                             "Give the schema as JSON, or avro_framing 'container' where the "
                             "payloads bring theirs.");
    if (schema)
        if (auto parsed = avro_schema::parse(*schema); !parsed)
            return refuse_option(std::move(parsed.error().message),
                                 "Give the schema of the payloads as JSON.");
    return done{};
}

} // namespace

const format_row avro_format = {
    .name = "avro",
    .help = "Avro's binary encoding, of a given schema or in object containers",
    .options = options,
    .takes_paths = true,
    .check = check,
    .accepts = [](const type_desc&) -> result<done> { return done{}; },
    .make = [](const payload_request& r) -> result<std::unique_ptr<payload_decoder>> {
        std::shared_ptr<const avro_schema> schema;
        if (const std::string* text = r.options.find("avro_schema")) {
            auto parsed = avro_schema::parse(*text);
            if (!parsed)
                return parsed.error();
            schema = std::move(parsed.value());
        }
        return std::unique_ptr<payload_decoder>(
            std::make_unique<avro_decoder>(r, std::move(schema), is_container(r.options)));
    },
};

} // namespace ke::decode
