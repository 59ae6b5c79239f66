// avro: binary data of a schema straight into cells, without the tree that a library would build.
//
// The writer's schema is the option avro_schema, or stands in an object container's head, or is the
// one of the schema registry that the frame or a header names. In the latter two cases avro_schema is
// the reader's, with a registry also the newest one of schema_subject: columns are found by its names
// and aliases, and a field that the writer did not have takes its default; without one, the record is
// bad where a column wants it. Promotion needs no help: a column's type takes any number that fits. Each
// record, or each datum of a container, is a row; a top-level value that is no record fills a column with
// path '$'.
#include "decode/encoder.h"
#include "decode/format.h"

#include <chrono>
#include <map>
#include <new>
#include <tuple>

#include "decode/avro_container.h"
#include "decode/avro_reader.h"
#include "decode/avro_schema.h"
#include "decode/framing.h"
#include "decode/json_tree.h"
#include "decode/typed_values.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

enum class avro_framing : std::uint8_t { none, container, registry };

bool is_scalar(const avro_type& type)
{
    return type.kind != avro_kind::record && type.kind != avro_kind::array &&
           type.kind != avro_kind::map && type.kind != avro_kind::union_;
}

class avro_decoder final : public payload_decoder {
  public:
    avro_decoder(const payload_request& request, shared_avro_schema schema, avro_framing framing);

    bool prepare(const record& r, bytes payload, const std::weak_ptr<registry::listener>& who,
                 std::shared_ptr<const fault>& trouble) override;
    void look_at(const record& r) override { frame_.look_at(r); }
    bool decode(bytes payload, rows& out, arena& memory, problem& why) override;

  private:
    // Where the fields of a record go, in the order in which they were written.
    struct step {
        const avro_type* type;
        const avro_type* reader; // how the reader knows it, or null
        json_node* branch;       // null: nobody wants it
        bool scalar;             // it fills columns by itself, and nothing leads into it
    };
    struct record_plan {
        std::vector<step> steps;
        std::vector<std::pair<json_node*, const avro_field*>> defaults; // not written
        std::string missing; // one that was not, is wanted and has no default; empty: none
    };
    // By type, the reader's type and place among the paths.
    using plan_key = std::tuple<const avro_type*, const avro_type*, const json_node*>;

    bool datum(const avro_type& type, rows& out);
    // A datum in which no column can find itself.
    bool is_no_row(const avro_type& type) const
    {
        return type.kind == avro_kind::array ? !root_.has_elements() : is_scalar(type);
    }
    bool framed(bytes payload, rows& out);
    const avro_schema* written_with(std::string_view& why);
    bool prepare_reader(const std::weak_ptr<registry::listener>& who,
                        std::shared_ptr<const fault>& trouble);
    bool container(bytes payload, rows& out);
    bool value(const avro_type& type, const avro_type* reader, json_node* node, int depth);
    bool record(const avro_type& type, const avro_type* reader, json_node& node, int depth);
    void forget_plans() // with what they point to
    {
        plans_.clear();
        last_plan_ = nullptr;
        newest_ = nullptr;
    }
    const record_plan& plan_of(const avro_type& type, const avro_type* reader, json_node& node);
    record_plan make_plan(const avro_type& type, const avro_type* reader, json_node& node);
    bool fill(const json_node& node, const item& value);
    bool fill_json(const json_node& node, std::string_view json);
    bool fail(const char* detail);
    bool fail(std::string_view detail)
    {
        return fail(values_.convert().memory->copy(detail).data());
    }

    shared_avro_schema schema_; // the one given, or the reader's; null: none
    const avro_framing framing_;
    std::vector<type_desc> types_; // by the plan's index
    json_node root_;
    typed_values values_;
    std::map<plan_key, record_plan> plans_;
    plan_key last_key_{}; // of the plan used last; null: none
    const record_plan* last_plan_ = nullptr;
    avro_container container_;
    std::string written_text_; // of the schema in the newest container
    shared_avro_schema written_;

    // With a registry.
    const std::shared_ptr<registry::client> registry_;
    schema_frame frame_;
    written_schemas<shared_avro_schema> schemas_;
    std::int64_t newest_number_ = -1; // of the schema met last
    const avro_schema* newest_ = nullptr;
    const std::string subject_; // of the reader's schema; empty: none
    std::shared_ptr<const registry::schema> subject_schema_;
    std::chrono::steady_clock::time_point look_again_{};

    // While decode() runs.
    rows::row row_{};
    avro_reader reader_;
    std::string json_;
};

avro_decoder::avro_decoder(const payload_request& request, shared_avro_schema schema,
                           avro_framing framing)
    : schema_(std::move(schema)), framing_(framing), types_(request.plan.columns.size()),
      values_({}, request.plan.server_encoding_utf8), registry_(request.plan.schemas),
      frame_(request.options),
      schemas_(request.plan.schemas, parse_registered_avro, [this] { forget_plans(); }),
      subject_(request.options.get("schema_subject", ""))
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
    else if (framing_ == avro_framing::container)
        good = container(payload, out);
    else if (framing_ == avro_framing::registry)
        good = framed(payload, out);
    else
        good = datum(schema_->root(), out);
    if (good)
        good = reader_.at_end() || fail("There is more behind the datum.");
    // Either the bytes are malformed, or a value was refused.
    if (!good && *reader_.error())
        values_.convert().refuse("22P02", "invalid input for format avro", reader_.error());
    if (!good)
        why = values_.convert().why;
    return good;
}

// ------------------------------------------------------------------ with a registry

bool avro_decoder::prepare(const decode::record& r, bytes payload,
                           const std::weak_ptr<registry::listener>& who,
                           std::shared_ptr<const fault>& trouble)
{
    if (framing_ != avro_framing::registry)
        return true;
    bytes rest;
    frame_.look_at(r);
    const bool reader_there = subject_.empty() || prepare_reader(who, trouble);
    if (frame_.open(payload, rest))
        return reader_there; // decode() says what is wrong with it
    if (frame_.by_number() && newest_ && frame_.number() == newest_number_)
        return reader_there;
    return schemas_.prepare(frame_.key(), who, trouble) && reader_there;
}

// The subject's newest schema; looked for again now and then. One that is unknown, or no schema, is
// as none: rows are then made by the writers' schemas alone.
bool avro_decoder::prepare_reader(const std::weak_ptr<registry::listener>& who,
                                  std::shared_ptr<const fault>& trouble)
{
    const auto now = std::chrono::steady_clock::now();
    if (now < look_again_)
        return true;
    registry::lookup l = registry_->find(registry::schema_key::latest_of(subject_), who);
    if (l.at == registry::lookup::state::coming) {
        trouble = std::move(l.trouble);
        return false;
    }
    if (l.what != subject_schema_) {
        shared_avro_schema made; // all of it before anything is believed: memory may end
        if (l.what)
            if (auto parsed = parse_registered_avro(*l.what))
                made = std::move(*parsed.value());
        forget_plans(); // they are made for a reader
        subject_schema_ = std::move(l.what);
        schema_ = std::move(made);
    }
    look_again_ = now + std::chrono::seconds(1);
    return true;
}

bool avro_decoder::framed(bytes payload, rows& out)
{
    bytes rest;
    if (const char* flaw = frame_.open(payload, rest))
        return fail(flaw);
    std::string_view why;
    const avro_schema* written = written_with(why);
    if (!written)
        return fail(why);
    reader_.open(rest.view());
    return datum(written->root(), out);
}

const avro_schema* avro_decoder::written_with(std::string_view& why)
{
    if (frame_.by_number() && newest_ && frame_.number() == newest_number_)
        return newest_;
    const shared_avro_schema* found = schemas_.get(frame_.key(), why);
    if (!found)
        return nullptr;
    if (frame_.by_number()) {
        newest_ = found->get();
        newest_number_ = frame_.number();
    }
    return found->get();
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

bool avro_decoder::container(bytes payload, rows& out)
{
    if (!container_.open(payload.view()))
        return fail(container_.error());
    if (!written_ || container_.schema() != written_text_) {
        auto parsed = avro_schema::parse(container_.schema());
        if (!parsed)
            return fail(parsed.error().message + ".");
        std::string text(container_.schema()); // memory may end: before anything is believed
        forget_plans();
        written_ = std::move(parsed.value());
        written_text_ = std::move(text);
    }
    reader_.open({});
    bool good = true;
    while (good && container_.next()) {
        reader_.go_on(container_.block());
        for (std::int64_t i = 0; good && i < container_.count(); i++)
            good = reader_.spend(1) && datum(written_->root(), out);
        good = good && (reader_.at_end() ||
                        fail("A block of the container is longer or shorter than it says."));
    }
    if (good && !container_.error().empty())
        good = fail(container_.error());
    container_.close();
    return good;
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
    reader = reader_.counterpart(type, reader);
    const bool wanted = !node->columns.empty();
    if (node == &root_ && !wanted && is_no_row(type))
        return fail("It is no record, and no column takes it as a whole.");
    if (is_scalar(type)) {
        item it;
        return reader_.scalar(type, it, reader) && (!wanted || fill(*node, it));
    }
    if (wanted) {
        const avro_reader::place start = reader_.here();
        json_.clear();
        if (!reader_.render(type, reader, depth, values_, json_) || !fill_json(*node, json_))
            return false;
        if (!node->leads_on())
            return true;
        reader_.seek(start);
    }
    if (type.kind == avro_kind::record)
        return record(type, reader, *node, depth);
    const avro_type* element = reader ? reader->element : nullptr;
    if (type.kind == avro_kind::array)
        return reader_.items([&](std::int64_t n) {
            return value(*type.element, element, node->element(n), depth + 1);
        });
    json_node::place last = json_node::at_start;
    return reader_.items([&](std::int64_t) {
        std::string_view key;
        if (!reader_.string(key))
            return false;
        json_node* inside = nullptr;
        if (!node->guess(key, last, inside))
            inside = node->member(key, last);
        return value(*type.element, element, inside, depth + 1);
    });
}

bool avro_decoder::record(const avro_type& type, const avro_type* reader, json_node& node,
                          int depth)
{
    const std::size_t began = reader_.position();
    if (!reader_.spend(1))
        return false;
    const record_plan& plan = plan_of(type, reader, node);
    if (!plan.missing.empty())
        return fail(unwritten_field(plan.missing));
    for (const step& s : plan.steps) {
        if (s.scalar) {
            item it;
            if (!reader_.scalar(*s.type, it, s.reader) || !fill(*s.branch, it))
                return false;
        } else if (!value(*s.type, s.reader, s.branch, depth + 1)) {
            return false;
        }
    }
    reader_.end_record(began);
    for (const auto& d : plan.defaults) {
        const auto read = [&] { return value(*d.second->type, nullptr, d.first, depth + 1); };
        if (!reader_.aside(d.second->default_value, read))
            return false;
    }
    return true;
}

const avro_decoder::record_plan& avro_decoder::plan_of(const avro_type& type,
                                                       const avro_type* reader, json_node& node)
{
    const plan_key key(&type, reader, &node);
    if (last_plan_ && key == last_key_)
        return *last_plan_;
    auto found = plans_.find(key);
    if (found == plans_.end()) // whole or not at all: memory may end while it is made
        found = plans_.emplace(key, make_plan(type, reader, node)).first;
    last_key_ = key;
    last_plan_ = &found->second;
    return *last_plan_;
}

avro_decoder::record_plan avro_decoder::make_plan(const avro_type& type, const avro_type* reader,
                                                  json_node& node)
{
    record_plan plan;
    json_node::place last = json_node::at_start;
    auto branch_of = [&](const std::string& name) -> json_node* {
        return node.leads_on() ? node.member(name, last) : nullptr;
    };
    const bool resolves = reader && reader != &type;
    for (const avro_field& f : type.fields) {
        const avro_field* r = resolves ? reader_field(*reader, f.name) : nullptr;
        step s{f.type, r ? r->type : nullptr, branch_of(r ? r->name : f.name), false};
        s.scalar =
            is_scalar(*f.type) && s.branch && !s.branch->columns.empty() && !s.branch->leads_on();
        if (s.scalar)
            s.reader = reader_.counterpart(*f.type, s.reader);
        plan.steps.push_back(s);
    }
    for (std::size_t i = 0; resolves && i < reader->fields.size(); i++) {
        const avro_field& r = reader->fields[i];
        json_node* branch = branch_of(r.name);
        bool written = false;
        for (const step& s : plan.steps)
            written |= s.branch == branch;
        if (!branch || written)
            continue;
        if (r.has_default)
            plan.defaults.emplace_back(branch, &r);
        else
            plan.missing = r.name;
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
    {"avro_schema", "",
     "the schema of the payloads, as JSON; of containers and with a registry: the reader's"},
    {"avro_framing", "none, container, registry",
     "whether a payload is one datum, an object container, or framed by a registry's serializer"},
    {"schema_subject", "", "with a registry: the subject whose newest schema is the reader's"},
    schema_id_option,
};

// Where the table does not say it: with avro_schema none, else registry where the server has one.
avro_framing framing_of(const given_options& given, bool has_registry)
{
    const bool schema = given.find("avro_schema") != nullptr;
    const bool subject = given.find("schema_subject") != nullptr;
    const std::string_view name =
        given.get("avro_framing", schema                    ? "none"
                                  : has_registry || subject ? "registry"
                                                            : "container");
    return name == "registry" ? avro_framing::registry
           : name == "none"   ? avro_framing::none
                              : avro_framing::container;
}

result<done> check(const given_options& given)
{
    const std::string* schema = given.find("avro_schema");
    const avro_framing framing = framing_of(given, false);
    if (!schema && framing == avro_framing::none)
        return refuse_option("format \"avro\" needs the option avro_schema",
                             "Give the schema as JSON, or avro_framing 'container' where the "
                             "payloads bring theirs, or 'registry' where a registry has it.");
    if (given.find("schema_subject") && (schema || framing != avro_framing::registry))
        return refuse_option("option \"schema_subject\" needs avro_framing \"registry\", and no "
                             "avro_schema",
                             "It names the reader's schema, as avro_schema would.");
    if (schema)
        if (auto parsed = avro_schema::parse(*schema); !parsed)
            return refuse_option(std::move(parsed.error().message),
                                 "Give the schema of the payloads as JSON.");
    return done{};
}

} // namespace

const format_row avro_format = {
    .name = "avro",
    .help = "Avro's binary encoding, with a schema registry, of a given schema, or in containers",
    .options = options,
    .asks_registry = true,
    .takes_paths = true,
    .check = check,
    .accepts = [](const type_desc&) -> result<done> { return done{}; },
    .make = [](const payload_request& r) -> result<std::unique_ptr<payload_decoder>> {
        const avro_framing framing = framing_of(r.options, r.plan.schemas != nullptr);
        if (framing == avro_framing::registry && !r.plan.schemas)
            return no_registry("avro");
        shared_avro_schema schema;
        if (const std::string* text = r.options.find("avro_schema")) {
            auto parsed = avro_schema::parse(*text);
            if (!parsed)
                return parsed.error();
            schema = std::move(parsed.value());
        }
        return std::unique_ptr<payload_decoder>(
            std::make_unique<avro_decoder>(r, std::move(schema), framing));
    },
    .make_encoder = make_avro_encoder,
};

} // namespace ke::decode
