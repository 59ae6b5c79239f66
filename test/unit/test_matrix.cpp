// README's matrix of formats is what the code's own tables say.
#include <fstream>
#include <sstream>

#include "check.h"
#include "decoding.h"

using namespace ke;
using namespace ke::decode;
using namespace ke::test;

namespace {

constexpr std::pair<const char*, cell_type> types[] = {
    {"boolean", cell_type::boolean},
    {"smallint", cell_type::int2},
    {"integer", cell_type::int4},
    {"bigint", cell_type::int8},
    {"real", cell_type::float4},
    {"double precision", cell_type::float8},
    {"numeric", cell_type::numeric},
    {"text", cell_type::text},
    {"varchar", cell_type::varchar},
    {"char", cell_type::bpchar},
    {"bytea", cell_type::bytea},
    {"date", cell_type::date},
    {"time", cell_type::time},
    {"timestamp", cell_type::timestamp},
    {"timestamptz", cell_type::timestamptz},
    {"uuid", cell_type::uuid},
    {"json", cell_type::json},
    {"jsonb", cell_type::jsonb},
    {"any other", cell_type::other},
};

const char* yes(bool is)
{
    return is ? " x |" : "   |";
}

std::string line(const std::string& head, const auto& of)
{
    std::string text = "| " + head + " |";
    for (const format_row& f : formats())
        text += yes(of(f));
    return text + "\n";
}

std::string matrix()
{
    std::string text = "| |", rule = "|---|";
    for (const format_row& f : formats()) {
        text += " `" + std::string(f.name) + "` |";
        rule += ":-:|";
    }
    text += "\n" + rule + "\n";
    text += line("`kafka.encode` writes it",
                 [](const format_row& f) { return f.make_encoder != nullptr; });
    text += line("columns may have a `path`", [](const format_row& f) { return f.takes_paths; });
    text += line("schemas from a registry", [](const format_row& f) { return f.asks_registry; });
    text += line("one column takes it all", [](const format_row& f) { return f.single_column; });
    for (const auto& [name, type] : types)
        text += line(name, [&](const format_row& f) { return f.accepts(type_of(type)).ok(); });
    text += line("arrays", [](const format_row& f) {
        return f.accepts(array_of(type_of(cell_type::int4))).ok();
    });
    type_desc pair = type_of(cell_type::other);
    pair.fields = {{"a", type_of(cell_type::int4)}};
    text += line("composite types", [&](const format_row& f) { return f.accepts(pair).ok(); });
    return text;
}

} // namespace

TEST(readme_has_the_matrix_of_formats)
{
    const std::string here = __FILE__;
    std::ifstream file(here.substr(0, here.rfind("/test/")) + "/README.md");
    std::stringstream readme;
    readme << file.rdbuf();
    if (readme.str().find("\n" + matrix() + "\n") == std::string::npos)
        CHECK_EQ("README.md", "to hold\n" + matrix());
}
