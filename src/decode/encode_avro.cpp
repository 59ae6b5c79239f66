// avro: the way back. Binary data of the schema given, of the newest one of a registry's subject (framed with
// its number), or in an object container.
#include "decode/encoder.h"

#include <algorithm>
#include <bit>
#include <utility>

#include "decode/avro_default.h"
#include "decode/avro_json.h"
#include "decode/avro_reader.h"
#include "decode/avro_schema.h"
#include "decode/big_number.h"
#include "decode/format.h"
#include "decode/scalars.h"
#include "decode/subject.h"
#include "decode/utf8.h"

#include "base/no_backend.h"

namespace ke::decode {

namespace {

using kind = value::kind;

class avro_writer {
  public:
    explicit avro_writer(arena& memory) : memory_(memory) {}
    std::string out, why;

    // False: why says it, and out ends anywhere.
    bool write(const avro_type& type, const value& v, int depth = 1);
    void number(std::int64_t n) { append_avro_number(out, n); }
    void string(std::string_view s)
    {
        number(static_cast<std::int64_t>(s.size()));
        out += s;
    }

  private:
    bool branch(const avro_type& type, const value& v, int depth);
    bool take_back(std::size_t start, std::uint64_t writes_before);
    bool record(const avro_type& type, const value& v, int depth);
    bool items(const avro_type& type, const value& v, int depth);
    bool plain(const avro_type& type, const value& v);
    bool integer(const avro_type& type, const value& v);
    bool real(const avro_type& type, const value& v);
    bool text(const avro_type& type, const value& v);
    bool bytes_of(const avro_type& type, const value& v, std::string& bytes);
    bool refuse(const avro_type& type, const value& v);

    arena& memory_;
    // A union's branches are tried one after the other, those of unions inside them as well: without a bound
    // a power of two times.
    int trying_ = 0;                         // branches that we are in
    std::uint64_t writes_ = 0, in_vain_ = 0; // calls of write(), and those that were taken back
    bool gave_up_ = false;
    bool in_json_ = false; // what we write comes from JSON, which has fewer types
};

bool avro_writer::refuse(const avro_type& type, const value& v)
{
    if (trying_ > 0 || gave_up_)
        return false; // nobody will read it
    static constexpr const char* kinds[] = {"null",   "boolean", "int",    "long",   "float",
                                            "double", "bytes",   "string", "record", "enum",
                                            "array",  "map",     "union",  "fixed"};
    std::string json;
    append_json(json, v, false);
    why = std::string(excerpt(json)) + " does not fit the schema's type " +
          (type.name.empty() ? kinds[static_cast<int>(type.kind)] : type.name);
    return false;
}

bool avro_writer::write(const avro_type& type, const value& v, int depth)
{
    value tree;
    writes_++;
    if (depth > avro_reader::most_depth ||
        (v.what == kind::json && !parse_json(v.s, memory_, tree))) {
        why = "the value is nested too deep";
        return false;
    }
    if (v.what == kind::json) {
        const bool before = std::exchange(in_json_, true);
        const bool good = write(type, tree, depth);
        in_json_ = before;
        return good;
    }
    switch (type.kind) {
    case avro_kind::union_:
        return branch(type, v, depth);
    case avro_kind::record:
        return v.what == kind::record ? record(type, v, depth) : refuse(type, v);
    case avro_kind::array:
        return v.what == kind::array ? items(*type.element, v, depth) : refuse(type, v);
    case avro_kind::map:
        return v.what == kind::record ? items(*type.element, v, depth) : refuse(type, v);
    default:
        return plain(type, v) || refuse(type, v);
    }
}

// Whether a type is what such a value is read from; others may take it in their own words, as a string does
// a number.
bool is_of(const avro_type& type, const value& v)
{
    const bool plain = type.meaning == avro_meaning::plain;
    const bool fixed = type.kind == avro_kind::bytes || type.kind == avro_kind::fixed;
    switch (v.what) {
    case kind::boolean:
        return type.kind == avro_kind::boolean;
    case kind::integer:
        return plain && (type.kind == avro_kind::int_ || type.kind == avro_kind::long_);
    case kind::real4:
    case kind::real8:
        return type.kind == avro_kind::double_ ||
               (type.kind == avro_kind::float_ && static_cast<float>(v.f) == v.f);
    case kind::number:
        return fixed && type.meaning == avro_meaning::decimal;
    case kind::bytes:
        return fixed && plain;
    case kind::text:
        return type.kind == avro_kind::string || type.kind == avro_kind::enumeration;
    case kind::array:
        return type.kind == avro_kind::array;
    case kind::record:
        return type.kind == avro_kind::record || type.kind == avro_kind::map;
    default: // times
        return !plain;
    }
}

// Numbers are read from a float too; what else takes them means something else by them.
bool is_close(const avro_type& type, const value& v)
{
    const bool number = v.what == kind::integer || v.what == kind::real4 || v.what == kind::real8 ||
                        v.what == kind::number;
    return number && (type.kind == avro_kind::float_ || type.kind == avro_kind::double_);
}

// The first branch of the value's own type that takes it, else of one close to it, else the first that takes it
// at all. What only columns' paths lead through is null where all of these columns are.
bool avro_writer::branch(const avro_type& type, const value& given, int depth)
{
    static const value none;
    const auto is_null = [](const avro_type* b) { return b->kind == avro_kind::null; };
    const bool nothing =
        is_nothing(given) && std::any_of(type.branches.begin(), type.branches.end(), is_null);
    const value& v = nothing ? none : given;
    const std::size_t start = out.size();
    const std::uint64_t writes_before = writes_;
    const auto distance = [&v](const avro_type& b) {
        return is_of(b, v) ? 0 : is_close(b, v) ? 1 : 2;
    };
    for (const int far : {0, 1, 2})
        for (std::size_t i = 0; i < type.branches.size(); i++) {
            const avro_type& b = *type.branches[i];
            if ((v.what == kind::null) != (b.kind == avro_kind::null) || distance(b) != far)
                continue;
            number(static_cast<std::int64_t>(i));
            trying_++;
            const bool good = write(b, v, depth + 1);
            trying_--;
            if (good)
                return true;
            if (!take_back(start, writes_before))
                return false;
        }
    return refuse(type, v);
}

// What a branch wrote that did not take the value. False: that was enough.
bool avro_writer::take_back(std::size_t start, std::uint64_t writes_before)
{
    constexpr std::uint64_t most_in_vain = 1000000, most_times = 64;
    out.resize(start);
    in_vain_ += writes_ - writes_before;
    writes_ = writes_before;
    gave_up_ = gave_up_ || in_vain_ > most_in_vain + most_times * writes_;
    if (gave_up_)
        why = "there are too many ways to try how the value fits the schema's unions";
    return !gave_up_;
}

// A field that no column is: its default, else null where it may be. A column that no field is must be null.
bool avro_writer::record(const avro_type& type, const value& v, int depth)
{
    static const value none;
    std::size_t taken = 0;
    for (const avro_field& f : type.fields) {
        const value* found = v.find(f.name);
        for (std::size_t a = 0; !found && a < f.aliases.size(); a++)
            found = v.find(f.aliases[a]);
        taken += found && found->what != kind::null;
        if (!found && f.has_default) {
            writes_ += 1 + f.default_value.size() / 16;
            out += f.default_value;
            continue;
        }
        if (!write(*f.type, found ? *found : none, depth + 1)) {
            if (trying_ == 0)
                why = "field " + f.name + ": " + why;
            return false;
        }
    }
    const auto takes = [](const avro_field& f, std::string_view name) {
        return f.name == name ||
               std::find(f.aliases.begin(), f.aliases.end(), name) != f.aliases.end();
    };
    return taken == v.count() || has_all(type, v, why, takes);
}

bool avro_writer::items(const avro_type& element, const value& v, int depth)
{
    if (!v.items.empty())
        number(static_cast<std::int64_t>(v.items.size()));
    for (std::size_t i = 0; i < v.items.size(); i++) {
        if (v.what == kind::record)
            string(v.names[i]);
        if (!write(element, v.items[i], depth + 1))
            return false;
    }
    number(0);
    return true;
}

bool avro_writer::plain(const avro_type& type, const value& given)
{
    std::string bytes;
    value typed;
    if (in_json_ && !value_of_json(type, given, memory_, typed))
        return false;
    const value& v = in_json_ ? typed : given;
    switch (type.kind) {
    case avro_kind::null:
        return v.what == kind::null;
    case avro_kind::boolean:
        if (v.what != kind::boolean)
            return false;
        out += static_cast<char>(v.i);
        return true;
    case avro_kind::int_:
    case avro_kind::long_:
        return integer(type, v);
    case avro_kind::float_:
    case avro_kind::double_:
        return real(type, v);
    case avro_kind::bytes:
        if (!bytes_of(type, v, bytes))
            return false;
        string(bytes);
        return true;
    case avro_kind::fixed:
        if (!bytes_of(type, v, bytes) || bytes.size() != type.size)
            return false;
        out += bytes;
        return true;
    default:
        return text(type, v);
    }
}

// Whole units, or nothing.
bool in_units(std::int64_t us, avro_meaning m, std::int64_t& n)
{
    switch (m) {
    case avro_meaning::time_ms:
    case avro_meaning::timestamp_ms:
    case avro_meaning::local_ms:
        n = us / 1000;
        return us % 1000 == 0;
    case avro_meaning::time_ns:
    case avro_meaning::timestamp_ns:
    case avro_meaning::local_ns:
    case avro_meaning::duration_ns:
        return !__builtin_mul_overflow(us, std::int64_t{1000}, &n);
    default:
        n = us;
        return true;
    }
}

bool avro_writer::integer(const avro_type& type, const value& v)
{
    const avro_meaning m = type.meaning;
    std::int64_t n = v.i;
    if (v.what == kind::integer) {
        // as it is
    } else if (v.what == kind::number) {
        if (parse_whole(v.s, n) != whole::yes)
            return false;
    } else if (v.what == kind::date) {
        if (m != avro_meaning::date)
            return false;
    } else if (v.what == kind::time || v.what == kind::timestamp || v.what == kind::timestamptz) {
        const bool time =
            m == avro_meaning::time_ms || m == avro_meaning::time_us || m == avro_meaning::time_ns;
        if (m == avro_meaning::plain || m == avro_meaning::date || time != (v.what == kind::time) ||
            !in_units(v.i, m, n))
            return false;
    } else if (v.what == kind::interval) {
        if ((m != avro_meaning::duration_us && m != avro_meaning::duration_ns) || v.months ||
            v.days || !in_units(v.i, m, n))
            return false;
    } else {
        return false;
    }
    if (type.kind == avro_kind::int_ && n != static_cast<std::int32_t>(n))
        return false;
    number(n);
    return true;
}

bool avro_writer::real(const avro_type& type, const value& v)
{
    double f;
    value given = v;
    if (in_json_ && v.what == kind::real8 && type.kind == avro_kind::float_)
        given.what = kind::number; // a float's shortest digits are not a double's
    if (!real_of(given, type.kind == avro_kind::float_, f))
        return false;
    const std::uint64_t bits = type.kind == avro_kind::float_
                                   ? std::bit_cast<std::uint32_t>(static_cast<float>(f))
                                   : std::bit_cast<std::uint64_t>(f);
    for (int i = 0; i < (type.kind == avro_kind::float_ ? 4 : 8); i++)
        out += static_cast<char>(bits >> (8 * i));
    return true;
}

bool avro_writer::text(const avro_type& type, const value& v)
{
    if (type.kind == avro_kind::enumeration) {
        for (std::size_t i = 0; v.what == kind::text && i < type.symbols.size(); i++)
            if (type.symbols[i] == v.s) {
                number(static_cast<std::int64_t>(i));
                return true;
            }
        return false;
    }
    switch (v.what) {
    case kind::text:
    case kind::interval:
    case kind::number:
        string(v.s);
        return true;
    case kind::date:
    case kind::time:
    case kind::timestamp:
    case kind::timestamptz:
        string(time_text(v));
        return true;
    default:
        return false;
    }
}

bool avro_writer::bytes_of(const avro_type& type, const value& v, std::string& bytes)
{
    if (type.meaning == avro_meaning::decimal) {
        const std::string whole = v.what == kind::integer ? std::to_string(v.i) : "";
        if ((v.what != kind::number && v.what != kind::integer) ||
            !read_unscaled(v.what == kind::integer ? whole : v.s, type.scale, type.precision,
                           bytes))
            return false;
        if (type.kind == avro_kind::fixed && bytes.size() < type.size)
            bytes.insert(0, type.size - bytes.size(), bytes.front() & 0x80 ? '\xff' : '\0');
        return true;
    }
    if (type.meaning == avro_meaning::duration && v.what == kind::interval) {
        if (v.months < 0 || v.days < 0 || v.i < 0 || v.i % 1000 || v.i / 1000 > UINT32_MAX)
            return false;
        for (std::uint64_t part :
             {static_cast<std::uint64_t>(v.months), static_cast<std::uint64_t>(v.days),
              static_cast<std::uint64_t>(v.i / 1000)})
            for (int i = 0; i < 4; i++)
                bytes += static_cast<char>(part >> (8 * i));
        return true;
    }
    unsigned char uuid[16];
    if (type.kind == avro_kind::fixed && type.size == 16 && v.what == kind::text &&
        parse_uuid(v.s, uuid)) {
        bytes.assign(reinterpret_cast<char*>(uuid), 16);
        return true;
    }
    if (v.what != kind::bytes)
        return false;
    bytes = v.s;
    return true;
}

// ------------------------------------------------------------------ where the schema comes from

class avro_encoder final : public payload_encoder {
  public:
    avro_encoder(const encode_request& r, std::string_view framing)
        : container_(framing == "container"), subject_(r, framing == "registry")
    {
        if (!subject_.asks())
            text_ = r.options.get("avro_schema", "");
    }

    bool prepare(const std::weak_ptr<registry::listener>& who,
                 std::shared_ptr<const fault>& trouble) override
    {
        return subject_.prepare(who, trouble);
    }

    result<std::string> encode(const encode_request& r) override
    {
        auto schema = read();
        if (!schema)
            return std::move(schema.error());
        arena memory;
        auto document = document_of(r, memory);
        if (!document)
            return std::move(document.error());
        avro_writer w(memory);
        if (!w.write(schema.value()->root(), document.value()))
            return bad_value("the row does not fit the Avro schema", w.why + ".");
        return container_ ? in_container(w.out, memory) : subject_.frame() + w.out;
    }

  private:
    result<shared_avro_schema> read()
    {
        if (!subject_.asks())
            return avro_schema::parse(text_);
        if (!subject_.what())
            return subject_.missing();
        auto parsed = parse_registered_avro(*subject_.what());
        if (!parsed)
            return std::move(parsed.error());
        return *parsed.value();
    }

    std::string in_container(const std::string& datum, arena& memory) const
    {
        avro_writer w(memory);
        static constexpr std::string_view sync = "kafka_engine row";
        w.out = std::string("Obj\1", 4);
        w.number(2);
        w.string("avro.schema");
        w.string(text_);
        w.string("avro.codec");
        w.string("null");
        w.number(0);
        w.out += sync;
        w.number(1);
        w.number(static_cast<std::int64_t>(datum.size()));
        w.out += datum;
        w.out += sync;
        return w.out;
    }

    const bool container_;
    subject_schema subject_;
    std::string text_;
};

} // namespace

result<std::unique_ptr<payload_encoder>> make_avro_encoder(const encode_request& r)
{
    const bool given = r.options.find("avro_schema") != nullptr;
    const std::string_view framing = r.options.get("avro_framing", given       ? "none"
                                                                   : r.schemas ? "registry"
                                                                               : "container");
    if (framing == "registry" && !r.schemas)
        return no_registry("avro");
    if (framing != "registry" && !given)
        return bad_value("format avro needs the option avro_schema to write containers");
    return std::unique_ptr<payload_encoder>(std::make_unique<avro_encoder>(r, framing));
}

} // namespace ke::decode
