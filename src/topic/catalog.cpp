#include "topic/catalog.h"

extern "C" {
#include "nodes/parsenodes.h"
#include "nodes/value.h"
}

namespace ke::topic {

option_list to_options(const List* list)
{
    option_list options;
    for (int i = 0; i < list_length(list); ++i) {
        const DefElem* e = static_cast<const DefElem*>(list_nth(list, i));
        options.emplace_back(e->defname, e->arg ? strVal(e->arg) : "");
    }
    return options;
}

const std::string* find_option(const option_list& options, std::string_view name)
{
    for (const auto& [key, value] : options)
        if (key == name)
            return &value;
    return nullptr;
}

} // namespace ke::topic
