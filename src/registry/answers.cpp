#include "registry/answers.h"

#include <simdjson.h>

#include "base/no_backend.h"

namespace ke::registry {

namespace dom = simdjson::dom;

namespace {

std::string text(dom::object o, const char* name)
{
    std::string_view s;
    return o[name].get_string().get(s) ? std::string() : std::string(s);
}

// Registries write numbers as numbers; some as strings.
std::int64_t number(dom::object o, const char* name, std::int64_t otherwise)
{
    std::int64_t n;
    if (!o[name].get_int64().get(n))
        return n;
    const std::string s = text(o, name);
    return s.empty() || s.find_first_not_of("0123456789") != s.npos || s.size() > 18
               ? otherwise
               : std::stoll(s);
}

schema_type type_of(const std::string& name)
{
    if (name.empty() || name == "AVRO")
        return schema_type::avro;
    if (name == "PROTOBUF")
        return schema_type::protobuf;
    return name == "JSON" ? schema_type::json : schema_type::other;
}

} // namespace

result<schema_answer> read_schema(const std::string& body)
{
    dom::parser parser;
    dom::object o;
    std::string_view schema;
    if (parser.parse(body).get_object().get(o) || o["schema"].get_string().get(schema))
        return fault{.kind = fault_kind::protocol,
                     .message = "the answer of the schema registry is not a schema"};
    schema_answer a;
    a.what.text = schema;
    a.what.id = number(o, "id", -1);
    a.what.type = type_of(text(o, "schemaType"));
    dom::array references;
    if (!o["references"].get_array().get(references))
        for (dom::element e : references) {
            dom::object r;
            if (!e.get_object().get(r))
                a.references.push_back(
                    {text(r, "name"), text(r, "subject"), number(r, "version", -1)});
        }
    return a;
}

error_answer read_error(const std::string& body)
{
    dom::parser parser;
    dom::object o;
    error_answer e;
    if (parser.parse(body).get_object().get(o))
        return e;
    e.code = number(o, "error_code", 0);
    e.message = text(o, "message");
    constexpr std::size_t most = 200;
    for (char& c : e.message)
        if (static_cast<unsigned char>(c) < ' ')
            c = ' ';
    if (e.message.size() > most) {
        std::size_t n = most; // never within a character
        while (n > 0 && (static_cast<unsigned char>(e.message[n]) & 0xC0) == 0x80)
            --n;
        e.message.resize(n);
    }
    return e;
}

} // namespace ke::registry
