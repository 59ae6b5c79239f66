// protobuf: the way back. A message of the descriptor set's, or of the newest schema of a registry's subject,
// then framed with its number and the message's indexes. Columns are fields by name, else by JSON name.
#include "decode/encoder.h"

#include <bit>

#include "decode/format.h"
#include "decode/protobuf_decoder.h"
#include "decode/scalars.h"
#include "decode/subject.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

using kind = value::kind;

void varint(std::string& out, std::uint64_t n)
{
    for (; n > 127; n >>= 7)
        out += static_cast<char>(n | 128);
    out += static_cast<char>(n);
}

std::uint64_t zigzag(std::int64_t n)
{
    return (static_cast<std::uint64_t>(n) << 1) ^ static_cast<std::uint64_t>(n >> 63);
}

void little_endian(std::string& out, std::uint64_t n, int bytes)
{
    for (int i = 0; i < bytes; i++)
        out += static_cast<char>(n >> (8 * i));
}

// ------------------------------------------------------------------ scalars

std::uint32_t wire_type(const proto_field& f)
{
    switch (f.kind) {
    case proto_kind::real8:
    case proto_kind::fixed64:
    case proto_kind::sfixed64:
        return 1;
    case proto_kind::real4:
    case proto_kind::fixed32:
    case proto_kind::sfixed32:
        return 5;
    case proto_kind::text:
    case proto_kind::bytes:
    case proto_kind::message:
        return 2;
    case proto_kind::group:
        return 3;
    default:
        return 0;
    }
}

// A number of 64 bits out of what may stand for one.
bool whole_number(const value& v, bool is_unsigned, std::uint64_t& n)
{
    std::int64_t i = v.i;
    if (v.what == kind::number || v.what == kind::text) {
        const bool negative = v.s.starts_with('-');
        if (is_unsigned && !negative) {
            std::uint64_t all = 0;
            for (char c : v.s)
                if (c < '0' || c > '9' || __builtin_mul_overflow(all, std::uint64_t{10}, &all) ||
                    __builtin_add_overflow(all, static_cast<std::uint64_t>(c - '0'), &all))
                    return false;
            n = all;
            return !v.s.empty();
        }
        if (v.s.empty() || v.s.find_first_not_of("-0123456789") != v.s.npos ||
            parse_whole(v.s, i) != whole::yes)
            return false;
    } else if (v.what != kind::integer) {
        return false;
    }
    n = static_cast<std::uint64_t>(i);
    return !is_unsigned || i >= 0;
}

bool real(const proto_field& f, const value& v, std::string& out)
{
    double d;
    const bool single = f.kind == proto_kind::real4;
    if (!real_of(v, single, d))
        return false;
    if (single)
        little_endian(out, std::bit_cast<std::uint32_t>(static_cast<float>(d)), 4);
    else
        little_endian(out, std::bit_cast<std::uint64_t>(d), 8);
    return true;
}

bool integer(const proto_field& f, const value& v, std::string& out)
{
    using enum proto_kind;
    const proto_kind k = f.kind;
    const bool is_unsigned = k == uint64 || k == uint32 || k == fixed64 || k == fixed32;
    const bool of_64 = k == int64 || k == uint64 || k == sint64 || k == fixed64 || k == sfixed64;
    std::uint64_t n = 0;
    if (!whole_number(v, is_unsigned, n))
        return false;
    const auto i = static_cast<std::int64_t>(n);
    if (!of_64 && (is_unsigned ? n > UINT32_MAX : i < INT32_MIN || i > INT32_MAX))
        return false;
    if (wire_type(f) != 0)
        little_endian(out, n, of_64 ? 8 : 4);
    else
        varint(out, k == sint64 || k == sint32 ? zigzag(i) : n);
    return true;
}

// Text, or bytes: what is read from them again.
bool sized(const proto_field& f, const value& v, std::string& out)
{
    std::string text;
    if (f.kind == proto_kind::bytes && v.what != kind::bytes && v.what != kind::text)
        return false;
    if (v.what == kind::date || v.what == kind::time || v.what == kind::timestamp ||
        v.what == kind::timestamptz)
        text = time_text(v);
    else if (v.what == kind::integer)
        text = std::to_string(v.i);
    else if (v.s.data() == nullptr)
        return false;
    else
        text = v.s;
    if (f.kind == proto_kind::text && v.what == kind::bytes && !is_utf8(text))
        return false;
    varint(out, text.size());
    out += text;
    return true;
}

bool scalar(const proto_field& f, const value& v, std::string& out)
{
    switch (f.kind) {
    case proto_kind::real8:
    case proto_kind::real4:
        return real(f, v, out);
    case proto_kind::boolean: // a map's key is text
        if (v.what != kind::boolean && v.s != "true" && v.s != "false")
            return false;
        out += static_cast<char>(v.what == kind::boolean ? v.i : v.s == "true");
        return true;
    case proto_kind::text:
    case proto_kind::bytes:
        return sized(f, v, out);
    case proto_kind::enumeration:
        for (const auto& [number, name] : f.enumeration->names)
            if (v.what == kind::text && name == v.s) {
                varint(out, static_cast<std::uint64_t>(std::int64_t{number}));
                return true;
            }
        [[fallthrough]];
    default:
        return integer(f, v, out);
    }
}

// ------------------------------------------------------------------ messages

class proto_writer {
  public:
    explicit proto_writer(arena& memory) : memory_(memory) {}
    std::string why;

    bool message(const proto_message& type, const value& v, std::string& out, int depth = 1);

  private:
    bool fields(const proto_message& type, const value& v, std::string& out, int depth);
    bool field(const proto_field& f, const value& v, std::string& out, int depth);
    bool element(const proto_field& f, const value& v, std::string& out, int depth);
    bool map(const proto_field& f, const value& v, std::string& out, int depth);
    bool as_tree(const value& v, value& tree);
    bool time(const proto_message& type, const value& v, std::string& out);
    bool dynamic(const proto_message& type, const value& v, std::string& out, int depth);
    bool refuse(std::string_view name, const value& v);

    arena& memory_;
};

bool proto_writer::refuse(std::string_view name, const value& v)
{
    std::string json;
    append_json(json, v, false);
    why = std::string(excerpt(json)) + " does not fit " + std::string(name);
    return false;
}

bool proto_writer::as_tree(const value& v, value& tree)
{
    if (v.what != kind::json) {
        tree = v;
        return true;
    }
    why = "the value is nested too deep";
    return parse_json(v.s, memory_, tree);
}

bool proto_writer::message(const proto_message& type, const value& v, std::string& out, int depth)
{
    constexpr int most_depth = 100; // as the library reads
    if (depth > most_depth) {
        why = "the value is nested too deep";
        return false;
    }
    value tree;
    switch (type.meaning) {
    case proto_meaning::timestamp:
    case proto_meaning::duration:
        return time(type, v, out) || refuse(type.name, v);
    case proto_meaning::wrapper:
        return field(type.fields[0], v, out, depth);
    case proto_meaning::struct_:
    case proto_meaning::value:
    case proto_meaning::list:
        return as_tree(v, tree) && dynamic(type, tree, out, depth);
    case proto_meaning::any:
        return refuse("google.protobuf.Any, which is only read", v);
    case proto_meaning::plain:
        break;
    }
    if (!as_tree(v, tree))
        return false;
    return tree.what == kind::record ? fields(type, tree, out, depth) : refuse(type.name, v);
}

bool proto_writer::fields(const proto_message& type, const value& v, std::string& out, int depth)
{
    std::size_t taken = 0;
    std::vector<const proto_field*> chosen; // of oneofs
    for (const proto_field& f : type.fields) {
        const value* found = v.find(f.name);
        if (!found)
            found = v.find(f.json_name);
        if (!found || is_nothing(*found))
            continue;
        taken++;
        for (const proto_field* other : chosen)
            if (f.oneof == other->oneof) {
                why = type.name + " holds one of " + other->name + " and " + f.name + ", not both";
                return false;
            }
        if (f.oneof >= 0)
            chosen.push_back(&f);
        if (!field(f, *found, out, depth))
            return false;
    }
    const auto takes = [](const proto_field& f, std::string_view name) {
        return f.name == name || f.json_name == name;
    };
    return taken == v.count() || has_all(type, v, why, takes);
}

bool proto_writer::field(const proto_field& f, const value& v, std::string& out, int depth)
{
    if (value tree; v.what == kind::json && (f.repeated || f.map))
        return as_tree(v, tree) && field(f, tree, out, depth);
    if (f.map)
        return v.what == kind::record ? map(f, v, out, depth) : refuse(f.name, v);
    if (!f.repeated)
        return element(f, v, out, depth);
    if (v.what != kind::array)
        return refuse(f.name, v);
    for (const value& e : v.items)
        if (!element(f, e, out, depth))
            return false;
    return true;
}

bool proto_writer::element(const proto_field& f, const value& v, std::string& out, int depth)
{
    const auto tag = [&](std::uint32_t type) {
        varint(out, static_cast<std::uint64_t>(f.number) << 3 | type);
    };
    if (f.kind != proto_kind::message && f.kind != proto_kind::group) {
        value tree;
        tag(wire_type(f));
        return (as_tree(v, tree) && scalar(f, tree, out)) || refuse(f.name, v);
    }
    std::string inside;
    if (!message(*f.message, v, inside, depth + 1))
        return false;
    tag(wire_type(f));
    if (f.kind == proto_kind::message)
        varint(out, inside.size());
    out += inside;
    if (f.kind == proto_kind::group)
        tag(4);
    return true;
}

bool proto_writer::map(const proto_field& f, const value& v, std::string& out, int depth)
{
    const proto_field *key = f.message->find(1), *of = f.message->find(2);
    for (std::size_t i = 0; i < v.items.size(); i++) {
        value name;
        name.what = kind::text;
        name.s = v.names[i];
        std::string entry;
        if (!element(*key, name, entry, depth) || !element(*of, v.items[i], entry, depth + 1))
            return false;
        varint(out, static_cast<std::uint64_t>(f.number) << 3 | 2);
        varint(out, entry.size());
        out += entry;
    }
    return true;
}

// Seconds, nanoseconds; of a duration with one sign.
bool proto_writer::time(const proto_message& type, const value& v, std::string& out)
{
    const bool instant = type.meaning == proto_meaning::timestamp;
    if (instant ? v.what != kind::timestamptz && v.what != kind::timestamp
                : v.what != kind::interval || v.months || v.days)
        return false;
    std::int64_t seconds = v.i / 1000000, us = v.i % 1000000;
    if (instant && us < 0) {
        us += 1000000;
        seconds--;
    }
    if (seconds) {
        varint(out, 1 << 3);
        varint(out, static_cast<std::uint64_t>(seconds));
    }
    if (us) {
        varint(out, 2 << 3);
        varint(out, static_cast<std::uint64_t>(us * 1000));
    }
    return true;
}

// Struct, Value, ListValue: JSON.
bool proto_writer::dynamic(const proto_message& type, const value& v, std::string& out, int depth)
{
    if (type.meaning == proto_meaning::struct_)
        return v.what == kind::record ? map(type.fields[0], v, out, depth) : refuse(type.name, v);
    if (type.meaning == proto_meaning::list) {
        for (const value& e : v.items)
            if (!element(type.fields[0], e, out, depth))
                return false;
        return v.what == kind::array || refuse(type.name, v);
    }
    std::int32_t number = 3; // text
    switch (v.what) {
    case kind::null:
        out += std::string("\x08\0", 2);
        return true;
    case kind::integer:
    case kind::real4:
    case kind::real8:
    case kind::number:
        number = 2;
        break;
    case kind::boolean:
        number = 4;
        break;
    case kind::record:
        number = 5;
        break;
    case kind::array:
        number = 6;
        break;
    default:
        break;
    }
    return element(*type.find(number), v, out, depth);
}

// ------------------------------------------------------------------ where the type comes from

// The places of nested declarations that lead to a message.
bool find_indexes(const proto_schema& schema, const proto_message* wanted,
                  std::vector<std::int64_t>& path)
{
    path.push_back(0);
    for (;; path.back()++) {
        const proto_message* at = schema.at(path);
        if (!at)
            break;
        if (at == wanted || find_indexes(schema, wanted, path))
            return true;
    }
    path.pop_back();
    return false;
}

class protobuf_encoder final : public payload_encoder {
  public:
    explicit protobuf_encoder(const encode_request& r)
        : subject_(r, !r.options.find("protobuf_descriptor_set")),
          name_(r.options.get("protobuf_message", ""))
    {
    }

    bool prepare(const std::weak_ptr<registry::listener>& who,
                 std::shared_ptr<const fault>& trouble) override
    {
        return subject_.prepare(who, trouble);
    }

    result<std::string> encode(const encode_request& r) override
    {
        if (subject_.asks() && !subject_.what())
            return subject_.missing();
        auto schema = subject_.asks()
                          ? proto_schema::parse(subject_.what()->text, subject_.what()->needs)
                          : read_descriptor_set(r.options);
        if (!schema)
            return std::move(schema.error());
        const proto_message* type = name_.empty() ? schema.value()->at(std::vector<std::int64_t>{0})
                                                  : schema.value()->find(name_);
        if (!type)
            return bad_value("the schema has no message \"" + name_ + "\"");
        arena memory;
        auto document = document_of(r, memory);
        if (!document)
            return std::move(document.error());
        std::string out = subject_.asks() ? frame(*schema.value(), type) : std::string();
        proto_writer w(memory);
        if (!w.message(*type, document.value(), out))
            return bad_value("the row does not fit the message " + type->name, w.why + ".");
        return out;
    }

  private:
    std::string frame(const proto_schema& schema, const proto_message* type) const
    {
        std::string out = subject_.frame();
        std::vector<std::int64_t> path;
        if (!find_indexes(schema, type, path) || path == std::vector<std::int64_t>{0})
            return out + '\0';
        varint(out, zigzag(static_cast<std::int64_t>(path.size())));
        for (std::int64_t i : path)
            varint(out, zigzag(i));
        return out;
    }

    subject_schema subject_;
    const std::string name_;
};

} // namespace

result<std::unique_ptr<payload_encoder>> make_protobuf_encoder(const encode_request& r)
{
    if (!r.schemas && !r.options.find("protobuf_descriptor_set"))
        return no_registry("protobuf");
    return std::unique_ptr<payload_encoder>(std::make_unique<protobuf_encoder>(r));
}

} // namespace ke::decode
