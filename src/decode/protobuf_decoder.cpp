// Protobuf's wire format straight into cells. The type of the messages comes from the schema registry
// (the frame names the schema and, by the places of nested declarations, the type in it), or from a
// descriptor set. Each message is a row.
//
//   frame | 00                                    the first type of the file, or
//         | count, index, ... (zigzag varints)    the type by its places, from the top of the file
//   with the schema's GUID in a header the indexes stand behind it there
//
// What did not come is null where the type knows the difference (optional, oneof, messages), else its
// default, as the library has it.
#include "decode/protobuf_decoder.h"

#include <map>

#include "decode/framing.h"
#include "decode/json_tree.h"
#include "decode/protobuf_reader.h"
#include "decode/protobuf_schema.h"
#include "decode/typed_values.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

result<std::unique_ptr<proto_schema>> parse_registered(const registry::schema& s)
{
    if (s.type != registry::schema_type::protobuf)
        return fault{.kind = fault_kind::bad_record, .message = "it is not a Protobuf schema"};
    return proto_schema::parse(s.text, s.needs);
}

class protobuf_decoder final : public payload_decoder {
  public:
    // own: of the descriptor set; null: the registry's.
    protobuf_decoder(const payload_request& request, std::shared_ptr<const proto_schema> own,
                     const proto_message* type);

    bool prepare(const record& r, bytes payload, const std::weak_ptr<registry::listener>& who,
                 std::shared_ptr<const fault>& trouble) override;
    void look_at(const record& r) override { frame_.look_at(r); }
    bool decode(bytes payload, rows& out, arena& memory, problem& why) override;

  private:
    // What columns want of a message at one place among the paths.
    struct wanted {
        const proto_field* field;
        json_node* branch;
    };
    struct message_plan {
        std::vector<wanted> fields;
        // By field number: which of them it is (-1: none), and its oneof.
        struct known {
            int wanted = -1;
            const proto_field* field = nullptr;
        };
        std::vector<known> low; // small numbers, by number
        std::unordered_map<std::int32_t, known> high;

        const known* find(std::int32_t number) const
        {
            if (static_cast<std::size_t>(number) < low.size())
                return &low[static_cast<std::size_t>(number)];
            const auto at = high.find(number);
            return at == high.end() ? nullptr : &at->second;
        }
    };
    // The occurrences of a wanted field that count.
    struct slot {
        wire_field last;
        std::uint32_t times = 0;
        std::size_t since = 0; // the first one that counts begins here
    };

    bool framed(bytes payload, bytes& rest);
    const proto_message* framed_type(const proto_schema& schema, std::string_view& body);
    bool row(const proto_message& type, std::string_view in);
    bool message(const proto_message& type, std::string_view in, json_node& node, int depth);
    bool scan(const message_plan& plan, std::string_view in, std::size_t base);
    bool value(const wanted& w, const slot& s, std::string_view in, int depth);
    bool repeated(const wanted& w, std::string_view in, int depth);
    bool inner(const proto_message& type, std::string_view in, json_node& node, int depth);
    bool map_pair(const proto_field& f, const wire_field& w, json_node& node,
                  json_node::place& last, int depth);
    const message_plan& plan_of(const proto_message& type, json_node& node);
    bool fill(const json_node& node, const item& value);
    bool fill_json(const json_node& node);
    bool fail(std::string_view detail)
    {
        return reader_.fail(values_.convert().memory->copy(detail).data());
    }

    const std::shared_ptr<const proto_schema> own_;
    const proto_message* const own_type_;
    // With a registry: the type, whatever the indexes say; may be empty.
    const std::string type_name_;
    std::vector<type_desc> types_; // by the plan's index
    json_node root_;
    typed_values values_;
    proto_reader reader_;
    std::map<std::pair<const proto_message*, const json_node*>, message_plan> plans_;
    decltype(plans_)::value_type* newest_plan_ = nullptr; // of plans_; asked for last

    schema_frame frame_;
    written_schemas<proto_schema> schemas_;
    std::int64_t newest_number_ = -1; // of the schema met last
    const proto_schema* newest_ = nullptr;

    // While decode() runs.
    const proto_schema* schema_ = nullptr;
    const proto_message* type_ = nullptr;
    rows::row row_{};
    std::vector<slot> slots_; // of the messages that we are in, one behind the other
    std::string json_;
};

protobuf_decoder::protobuf_decoder(const payload_request& request,
                                   std::shared_ptr<const proto_schema> own,
                                   const proto_message* type)
    : own_(std::move(own)), own_type_(type),
      type_name_(request.options.get("protobuf_message", "")), types_(request.plan.columns.size()),
      values_({}, request.plan.server_encoding_utf8), frame_(request.options),
      schemas_(request.plan.schemas, parse_registered, [this] {
          newest_ = nullptr;
          newest_plan_ = nullptr;
          plans_.clear();
      })
{
    for (int c : request.columns) {
        const column& col = request.at(c);
        types_[static_cast<std::size_t>(c)] = col.type;
        const path name{path_step{col.name}};
        root_.add(col.whole_document || !col.where.empty() ? col.where : name, c);
    }
}

bool protobuf_decoder::prepare(const record& r, bytes payload,
                               const std::weak_ptr<registry::listener>& who,
                               std::shared_ptr<const fault>& trouble)
{
    bytes rest;
    if (own_)
        return true;
    frame_.look_at(r);
    if (frame_.open(payload, rest))
        return true; // decode() says what is wrong with it
    if (frame_.by_number() && newest_ && frame_.number() == newest_number_)
        return true;
    return schemas_.prepare(frame_.key(), who, trouble);
}

bool protobuf_decoder::decode(bytes payload, rows& out, arena& memory, problem& why)
{
    values_.convert().memory = &memory;
    values_.convert().why = problem();
    reader_.fail("");
    slots_.clear();
    bytes rest = payload;
    schema_ = own_.get();
    type_ = own_type_;
    bool good = own_ || framed(payload, rest);
    if (good) {
        row_ = out.add_row();
        good = row(*type_, rest.view());
    }
    if (!good && *reader_.error())
        values_.convert().refuse("22P02", "invalid input for format protobuf", reader_.error());
    if (!good)
        why = values_.convert().why;
    return good;
}

bool protobuf_decoder::framed(bytes payload, bytes& rest)
{
    if (const char* flaw = frame_.open(payload, rest))
        return reader_.fail(flaw);
    if (!frame_.by_number() || !newest_ || frame_.number() != newest_number_) {
        std::string_view why;
        schema_ = schemas_.get(frame_.key(), why);
        if (!schema_)
            return fail(why);
        newest_ = frame_.by_number() ? schema_ : nullptr;
        newest_number_ = frame_.number();
    }
    schema_ = frame_.by_number() ? newest_ : schema_;
    std::string_view body = rest.view();
    type_ = framed_type(*schema_, body);
    rest = bytes(body);
    return type_ != nullptr;
}

// By the indexes, which go off body or stand in the header. Null: the reader has the reason.
const proto_message* protobuf_decoder::framed_type(const proto_schema& schema,
                                                   std::string_view& body)
{
    constexpr std::int64_t most_deep = 100;
    std::string_view header = frame_.more().view();
    std::string_view& in = frame_.by_number() ? body : header;
    std::vector<std::int64_t> indexes;
    auto number = [&](std::int64_t& n) {
        std::uint64_t bits;
        if (!proto_reader::varint(in, bits))
            return false;
        n = static_cast<std::int64_t>(bits >> 1 ^ (~(bits & 1) + 1));
        return true;
    };
    std::int64_t count = 0;
    if (frame_.by_number() || !in.empty()) {
        if (!number(count) || count < 0 || count > most_deep) {
            reader_.fail("The frame has no valid list of message indexes.");
            return nullptr;
        }
        for (std::int64_t i = 0, n; i < count; i++) {
            if (!number(n)) {
                reader_.fail("The frame ends within its message indexes.");
                return nullptr;
            }
            indexes.push_back(n);
        }
    }
    if (indexes.empty())
        indexes.push_back(0);
    const proto_message* found = type_name_.empty() ? schema.at(indexes) : schema.find(type_name_);
    if (!found)
        fail(type_name_.empty() ? std::string("The schema has no message at the frame's indexes.")
                                : "The schema has no message \"" + type_name_ + "\".");
    return found;
}

// ------------------------------------------------------------------ messages

bool protobuf_decoder::row(const proto_message& type, std::string_view in)
{
    return inner(type, in, root_, 1);
}

// A message that stands at a node: for columns of its own, and for those inside it.
bool protobuf_decoder::inner(const proto_message& type, std::string_view in, json_node& node,
                             int depth)
{
    if (depth > proto_reader::most_depth)
        return reader_.fail("The payload is nested too deep.");
    if (!node.columns.empty()) {
        item it;
        json_.clear();
        if (proto_reader::is_scalar(type)) {
            if (!reader_.scalar_message(type, in, it) || !fill(node, it))
                return false;
        } else if (!reader_.render(*schema_, type, in, depth, values_, json_) || !fill_json(node)) {
            return false;
        }
        if (!node.leads_on())
            return true;
    }
    return message(type, in, node, depth);
}

bool protobuf_decoder::message(const proto_message& type, std::string_view in, json_node& node,
                               int depth)
{
    const message_plan& plan = plan_of(type, node);
    const std::size_t base = slots_.size();
    slots_.resize(base + plan.fields.size()); // new ones
    bool good = scan(plan, in, base);
    for (std::size_t i = 0; good && i < plan.fields.size(); i++) {
        const slot s = slots_[base + i];
        good = plan.fields[i].field->repeated ? repeated(plan.fields[i], in, depth)
                                              : value(plan.fields[i], s, in, depth);
    }
    slots_.resize(base);
    return good;
}

// Notes where the wanted fields stand.
bool protobuf_decoder::scan(const message_plan& plan, std::string_view in, std::size_t base)
{
    wire_field w;
    for (std::string_view left = in; !left.empty();) {
        const std::size_t at = in.size() - left.size();
        if (!reader_.next(left, w))
            return false;
        const message_plan::known* k = plan.find(w.number);
        if (!k || !k->field || !proto_reader::fits(*k->field, w))
            continue;
        if (k->field->enumeration && k->field->enumeration->closed &&
            !k->field->enumeration->names.contains(static_cast<std::int32_t>(w.n)))
            continue;
        if (k->field->oneof >= 0)
            for (std::size_t i = 0; i < plan.fields.size(); i++)
                if (plan.fields[i].field->oneof == k->field->oneof &&
                    static_cast<int>(i) != k->wanted)
                    slots_[base + i].times = 0;
        if (k->wanted < 0)
            continue;
        slot& s = slots_[base + static_cast<std::size_t>(k->wanted)];
        if (s.times++ == 0)
            s.since = at;
        s.last = w;
    }
    return true;
}

bool protobuf_decoder::value(const wanted& w, const slot& s, std::string_view in, int depth)
{
    const proto_field& f = *w.field;
    item it;
    if (f.message) {
        if (s.times == 0)
            return true; // null
        std::string merged;
        std::string_view body = s.last.s;
        if (s.times > 1) {
            if (!reader_.each(in.substr(s.since), f, [&](const wire_field& part) {
                    merged += part.s;
                    return true;
                }))
                return false;
            body = values_.convert().memory->copy(merged);
        }
        return inner(*f.message, body, *w.branch, depth + 1);
    }
    if (s.times > 0)
        proto_reader::scalar(f, s.last, it);
    else if (f.has_presence && !f.has_default)
        return true; // null
    else
        proto_reader::default_of(f, it);
    return w.branch->columns.empty() || fill(*w.branch, it);
}

bool protobuf_decoder::repeated(const wanted& w, std::string_view in, int depth)
{
    const proto_field& f = *w.field;
    if (!w.branch->columns.empty()) {
        json_.clear();
        if (!reader_.render_repeated(*schema_, in, f, depth, values_, json_) ||
            !fill_json(*w.branch))
            return false;
    }
    if (!w.branch->leads_on())
        return true;
    std::int64_t n = 0;
    json_node::place last = json_node::at_start;
    return reader_.each(in, f, [&](const wire_field& part) {
        if (f.map)
            return map_pair(f, part, *w.branch, last, depth);
        json_node* branch = w.branch->element(n++);
        if (!branch)
            return true;
        if (f.message)
            return inner(*f.message, part.s, *branch, depth + 1);
        item it;
        proto_reader::scalar(f, part, it);
        return branch->columns.empty() || fill(*branch, it);
    });
}

// A path leads into a map by its key, numbers written out.
bool protobuf_decoder::map_pair(const proto_field& f, const wire_field& pair, json_node& node,
                                json_node::place& last, int depth)
{
    const proto_field *key = f.message->find(1), *value = f.message->find(2);
    if (!key || !value)
        return reader_.fail("A map has no keys.");
    wire_field part;
    bool found;
    std::string buffer, name;
    item it;
    if (!reader_.last_of(pair.s, *f.message, *key, part, found, buffer))
        return false;
    if (found)
        proto_reader::scalar(*key, part, it);
    else
        proto_reader::default_of(*key, it);
    if (it.what == item::kind::text) {
        if (!is_utf8(it.s))
            return reader_.fail("A key of a map is not UTF-8.");
        name = it.s;
    } else if (values_.append_json(name, it) == outcome::refused) {
        return reader_.fail("");
    }
    json_node* branch = node.member(name, last);
    if (!branch)
        return true;
    if (!reader_.last_of(pair.s, *f.message, *value, part, found, buffer))
        return false;
    if (value->message)
        return inner(*value->message,
                     found ? std::string_view(values_.convert().memory->copy(part.s))
                           : std::string_view(),
                     *branch, depth + 1);
    if (found)
        proto_reader::scalar(*value, part, it);
    else
        proto_reader::default_of(*value, it);
    return branch->columns.empty() || fill(*branch, it);
}

const protobuf_decoder::message_plan& protobuf_decoder::plan_of(const proto_message& type,
                                                                json_node& node)
{
    constexpr std::size_t most_low = 256;
    const std::pair<const proto_message*, const json_node*> key(&type, &node);
    if (newest_plan_ && newest_plan_->first == key)
        return newest_plan_->second;
    if (const auto found = plans_.find(key); found != plans_.end()) {
        newest_plan_ = &*found;
        return found->second;
    }
    message_plan plan; // kept when it is whole
    json_node::place last = json_node::at_start;
    for (const proto_field& f : type.fields) {
        json_node* branch = node.leads_on() ? node.member(f.name, last) : nullptr;
        if (!branch && node.leads_on())
            branch = node.member(f.json_name, last);
        message_plan::known k{-1, &f};
        if (branch) {
            k.wanted = static_cast<int>(plan.fields.size());
            plan.fields.push_back({&f, branch});
        } else if (f.oneof < 0) {
            continue;
        }
        const auto number = static_cast<std::size_t>(f.number);
        if (number >= most_low) {
            plan.high.emplace(f.number, k);
            continue;
        }
        if (plan.low.size() <= number)
            plan.low.resize(number + 1);
        plan.low[number] = k;
    }
    return plans_.emplace(key, std::move(plan)).first->second;
}

// ------------------------------------------------------------------ cells

bool is_integer(const type_desc& type)
{
    return !type.is_array() && !type.is_composite() &&
           (type.type == cell_type::int2 || type.type == cell_type::int4 ||
            type.type == cell_type::int8 || type.type == cell_type::numeric);
}

bool protobuf_decoder::fill(const json_node& node, const item& value)
{
    for (int c : node.columns) {
        const type_desc& type = types_[static_cast<std::size_t>(c)];
        const bool number = value.has_raw && value.what == item::kind::text && is_integer(type);
        const outcome o = number ? values_.make({.what = item::kind::integer, .i = value.raw}, type,
                                                row_.cells[c])
                                 : values_.make(value, type, row_.cells[c]);
        if (o == outcome::refused) {
            values_.convert().why.column = c;
            return false;
        }
        row_.states[c] = static_cast<cell_state>(o);
    }
    return true;
}

// json_ holds the value.
bool protobuf_decoder::fill_json(const json_node& node)
{
    for (int c : node.columns) {
        const outcome o =
            values_.make_json(json_, types_[static_cast<std::size_t>(c)], row_.cells[c]);
        if (o == outcome::refused) {
            values_.convert().why.column = c;
            return false;
        }
        row_.states[c] = static_cast<cell_state>(o);
    }
    return true;
}

} // namespace

std::unique_ptr<payload_decoder> make_protobuf_decoder(const payload_request& request,
                                                       std::shared_ptr<const proto_schema> own,
                                                       const proto_message* type)
{
    return std::make_unique<protobuf_decoder>(request, std::move(own), type);
}

} // namespace ke::decode
