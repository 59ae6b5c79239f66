#include "decode/avro_schema.h"

#include <new>
#include <unordered_map>

#include <simdjson.h>

#include "decode/avro_default.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace dom = simdjson::dom;

namespace {

struct word {
    std::string_view name;
    avro_kind kind;
};
constexpr word primitives[] = {
    {"null", avro_kind::null},   {"boolean", avro_kind::boolean}, {"int", avro_kind::int_},
    {"long", avro_kind::long_},  {"float", avro_kind::float_},    {"double", avro_kind::double_},
    {"bytes", avro_kind::bytes}, {"string", avro_kind::string},
};

// Which meaning a logical type, or the name that Kafka Connect gives a type, has on which base; an
// unknown one, or one on another base, means nothing, as the specification has it.
struct logical_name {
    std::string_view name;
    avro_kind base;
    avro_meaning meaning;
};
constexpr logical_name logical_names[] = {
    {"decimal", avro_kind::bytes, avro_meaning::decimal},
    {"decimal", avro_kind::fixed, avro_meaning::decimal},
    {"date", avro_kind::int_, avro_meaning::date},
    {"time-millis", avro_kind::int_, avro_meaning::time_ms},
    {"time-micros", avro_kind::long_, avro_meaning::time_us},
    {"timestamp-millis", avro_kind::long_, avro_meaning::timestamp_ms},
    {"timestamp-micros", avro_kind::long_, avro_meaning::timestamp_us},
    {"timestamp-nanos", avro_kind::long_, avro_meaning::timestamp_ns},
    {"local-timestamp-millis", avro_kind::long_, avro_meaning::local_ms},
    {"local-timestamp-micros", avro_kind::long_, avro_meaning::local_us},
    {"local-timestamp-nanos", avro_kind::long_, avro_meaning::local_ns},
    {"uuid", avro_kind::string, avro_meaning::uuid},
    {"uuid", avro_kind::fixed, avro_meaning::uuid},
    {"duration", avro_kind::fixed, avro_meaning::duration},
    {"org.apache.kafka.connect.data.Decimal", avro_kind::bytes, avro_meaning::decimal},
    {"org.apache.kafka.connect.data.Date", avro_kind::int_, avro_meaning::date},
    {"org.apache.kafka.connect.data.Time", avro_kind::int_, avro_meaning::time_ms},
    {"org.apache.kafka.connect.data.Timestamp", avro_kind::long_, avro_meaning::timestamp_ms},
    {"io.debezium.time.Date", avro_kind::int_, avro_meaning::date},
    {"io.debezium.time.Time", avro_kind::int_, avro_meaning::time_ms},
    {"io.debezium.time.MicroTime", avro_kind::long_, avro_meaning::time_us},
    {"io.debezium.time.NanoTime", avro_kind::long_, avro_meaning::time_ns},
    {"io.debezium.time.Timestamp", avro_kind::long_, avro_meaning::local_ms},
    {"io.debezium.time.MicroTimestamp", avro_kind::long_, avro_meaning::local_us},
    {"io.debezium.time.NanoTimestamp", avro_kind::long_, avro_meaning::local_ns},
    {"io.debezium.time.MicroDuration", avro_kind::long_, avro_meaning::duration_us},
    {"io.debezium.data.Bits", avro_kind::bytes, avro_meaning::bits},
    {"io.debezium.time.NanoDuration", avro_kind::long_, avro_meaning::duration_ns},
};

} // namespace

// Reads one schema. A fault is kept as text and the first one counts.
class avro_schema_parser {
  public:
    explicit avro_schema_parser(avro_schema& out) : out_(out) {}

    const avro_type* type(dom::element e, const std::string& space, int depth)
    {
        if (depth > most_depth)
            return fail("it is nested too deep");
        if (e.is_string())
            return named(std::string_view(e.get_string().value()), space);
        if (e.is_array())
            return alternatives(e.get_array().value(), space, depth);
        if (e.is_object())
            return object(e.get_object().value(), space, depth);
        return fail("a type is neither a name, an object nor a list");
    }
    const std::string& error() const { return error_; }

  private:
    static constexpr int most_depth = 100;

    std::nullptr_t fail(std::string why)
    {
        if (error_.empty())
            error_ = std::move(why);
        return nullptr;
    }

    avro_type* add(avro_kind kind)
    {
        out_.types_.push_back(std::make_unique<avro_type>());
        out_.types_.back()->kind = kind;
        return out_.types_.back().get();
    }

    static std::string text(dom::object o, std::string_view name)
    {
        std::string_view s;
        return o[name].get_string().get(s) ? std::string() : std::string(s);
    }

    const avro_type* named(std::string_view name, const std::string& space)
    {
        for (const word& w : primitives)
            if (w.name == name)
                return add(w.kind);
        if (const auto found = names_.find(full_name(name, space)); found != names_.end())
            return found->second;
        if (const auto found = names_.find(std::string(name)); found != names_.end())
            return found->second;
        return fail("unknown type \"" + std::string(name) + "\"");
    }

    static std::string full_name(std::string_view name, const std::string& space)
    {
        const bool has_space = name.find('.') != name.npos || space.empty();
        return has_space ? std::string(name) : space + "." + std::string(name);
    }

    const avro_type* alternatives(dom::array list, const std::string& space, int depth)
    {
        avro_type* t = add(avro_kind::union_);
        for (dom::element e : list) {
            const avro_type* branch = type(e, space, depth + 1);
            if (!branch)
                return nullptr;
            if (branch->kind == avro_kind::union_)
                return fail("a union stands within a union");
            t->branches.push_back(branch);
        }
        return t->branches.empty() ? fail("a union has no types") : t;
    }

    const avro_type* object(dom::object o, const std::string& space, int depth)
    {
        dom::element inner;
        if (o["type"].get(inner))
            return fail("a type has no \"type\"");
        if (!inner.is_string())
            return type(inner, space, depth + 1);
        const std::string_view kind = inner.get_string().value();
        if (kind == "record" || kind == "error")
            return record(o, space, depth);
        if (kind == "enum")
            return enumeration(o, space);
        if (kind == "fixed")
            return fixed(o, space);
        if (kind == "array" || kind == "map") {
            avro_type* t = add(kind == "array" ? avro_kind::array : avro_kind::map);
            dom::element element;
            if (o[kind == "array" ? "items" : "values"].get(element))
                return fail(std::string(kind) + " has no type of its elements");
            t->element = type(element, space, depth + 1);
            return t->element ? t : nullptr;
        }
        const avro_type* base = named(kind, space);
        if (!base || base->kind >= avro_kind::record)
            return base;
        avro_type* t = add(base->kind);
        return meaning(*t, o) ? t : nullptr;
    }

    // The logical type of t, if it has one that fits.
    bool meaning(avro_type& t, dom::object o)
    {
        std::string name = text(o, "logicalType");
        if (name.empty())
            name = text(o, "connect.name");
        for (const logical_name& l : logical_names)
            if (l.name == name && l.base == t.kind)
                t.meaning = l.meaning;
        const bool uuid = t.kind == avro_kind::fixed && t.meaning == avro_meaning::uuid;
        if ((uuid && t.size != 16) || (t.meaning == avro_meaning::duration && t.size != 12))
            t.meaning = avro_meaning::plain;
        if (t.meaning == avro_meaning::bits) {
            dom::object parameters;
            if (!o["connect.parameters"].get_object().get(parameters))
                t.scale = static_cast<std::int32_t>(
                    std::strtol(text(parameters, "length").c_str(), nullptr, 10));
            return true;
        }
        if (t.meaning != avro_meaning::decimal)
            return true;
        std::int64_t scale = 0;
        dom::object parameters;
        if (!o["connect.parameters"].get_object().get(parameters))
            scale = std::strtol(text(parameters, "scale").c_str(), nullptr, 10);
        if (!o["scale"].get_int64().get(scale) || scale != 0)
            if (scale < 0 || scale > 16383)
                return fail("a decimal's scale is out of range") != nullptr;
        t.scale = static_cast<std::int32_t>(scale);
        std::int64_t precision = 0;
        if (!o["precision"].get_int64().get(precision) && precision > 0 && precision <= INT32_MAX)
            t.precision = static_cast<std::int32_t>(precision);
        return true;
    }

    // Notes a named type; space becomes its namespace.
    bool define(avro_type* t, dom::object o, std::string& space)
    {
        const std::string name = text(o, "name");
        if (name.empty())
            return fail("a record, enum or fixed has no name") != nullptr;
        std::string_view given;
        if (!o["namespace"].get_string().get(given))
            space = given;
        t->name = full_name(name, space);
        const std::size_t dot = t->name.rfind('.');
        space = dot == t->name.npos ? "" : t->name.substr(0, dot);
        if (!names_.emplace(t->name, t).second)
            return fail("type \"" + t->name + "\" is defined twice") != nullptr;
        return true;
    }

    const avro_type* record(dom::object o, std::string space, int depth)
    {
        avro_type* t = add(avro_kind::record);
        dom::array fields;
        if (!define(t, o, space))
            return nullptr;
        if (o["fields"].get_array().get(fields))
            return fail("record \"" + t->name + "\" has no fields");
        for (dom::element e : fields) {
            dom::object of;
            dom::element its_type, otherwise;
            avro_field field;
            if (e.get_object().get(of) || of["type"].get(its_type))
                return fail("a field of record \"" + t->name + "\" has no type");
            field.name = text(of, "name");
            if (field.name.empty())
                return fail("a field of record \"" + t->name + "\" has no name");
            dom::array aliases;
            if (!of["aliases"].get_array().get(aliases))
                for (dom::element alias : aliases)
                    if (alias.is_string())
                        field.aliases.emplace_back(std::string_view(alias.get_string().value()));
            if (!of["default"].get(otherwise))
                field.default_json = simdjson::minify(otherwise);
            field.type = type(its_type, space, depth + 1);
            if (!field.type)
                return nullptr;
            t->fields.push_back(std::move(field));
        }
        return t;
    }

    const avro_type* enumeration(dom::object o, std::string space)
    {
        avro_type* t = add(avro_kind::enumeration);
        dom::array symbols;
        if (!define(t, o, space))
            return nullptr;
        if (o["symbols"].get_array().get(symbols))
            return fail("enum \"" + t->name + "\" has no symbols");
        for (dom::element e : symbols) {
            std::string_view s;
            if (e.get_string().get(s))
                return fail("a symbol of enum \"" + t->name + "\" is no text");
            t->symbols.emplace_back(s);
        }
        t->default_symbol = text(o, "default");
        return t;
    }

    const avro_type* fixed(dom::object o, std::string space)
    {
        avro_type* t = add(avro_kind::fixed);
        std::int64_t size;
        if (!define(t, o, space))
            return nullptr;
        if (o["size"].get_int64().get(size) || size < 0)
            return fail("fixed \"" + t->name + "\" has no size");
        t->size = static_cast<std::uint64_t>(size);
        return meaning(*t, o) ? t : nullptr;
    }

    avro_schema& out_;
    std::unordered_map<std::string, const avro_type*> names_;
    std::string error_;
};

namespace {

fault refuse(std::string why)
{
    fault f;
    f.kind = fault_kind::bad_record;
    f.message = "not an Avro schema: " + why;
    return f;
}

} // namespace

result<std::shared_ptr<const avro_schema>>
avro_schema::parse(std::string_view json, std::span<const std::string_view> before)
{
    auto schema = std::make_shared<avro_schema>();
    avro_schema_parser parser(*schema);
    auto read = [&](std::string_view text) -> result<done> {
        if (text.empty())
            return refuse("it is empty");
        dom::parser reader;
        dom::element root;
        auto error = reader.parse(text.data(), text.size()).get(root);
        // A primitive's bare name is a schema, too.
        const std::string quoted = "\"" + std::string(text) + "\"";
        if (error && text.find_first_of("{[\" \n") == text.npos)
            error = reader.parse(quoted).get(root);
        if (error == simdjson::MEMALLOC)
            throw std::bad_alloc(); // which is no flaw of the schema's
        if (error)
            return refuse(simdjson::error_message(error));
        schema->root_ = parser.type(root, "", 0);
        return schema->root_ ? result<done>(done{}) : refuse(parser.error());
    };
    for (std::string_view needed : before)
        if (auto good = read(needed); !good)
            return std::move(good.error());
    if (auto good = read(json); !good)
        return std::move(good.error());
    schema->encode_defaults();
    return std::shared_ptr<const avro_schema>(std::move(schema));
}

// All types are known now.
void avro_schema::encode_defaults()
{
    avro_default_writer writer;
    for (const auto& t : types_)
        for (avro_field& f : t->fields) {
            dom::parser parser;
            dom::element json;
            if (f.default_json.empty() || parser.parse(f.default_json).get(json))
                continue;
            f.has_default = writer.write(*f.type, json, f.default_value);
            if (!f.has_default)
                f.default_value.clear();
        }
}

result<std::unique_ptr<shared_avro_schema>> parse_registered_avro(const registry::schema& s)
{
    if (s.type != registry::schema_type::avro)
        return fault{.kind = fault_kind::bad_record, .message = "it is not an Avro schema"};
    std::vector<std::string_view> before;
    for (const registry::dependency& d : s.needs)
        before.push_back(d.text);
    auto parsed = avro_schema::parse(s.text, before);
    if (!parsed)
        return std::move(parsed.error());
    return std::make_unique<shared_avro_schema>(std::move(parsed.value()));
}

} // namespace ke::decode
