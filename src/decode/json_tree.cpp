#include "decode/json_tree.h"

#include "base/no_backend.h"

namespace ke::decode {

json_node* json_node::member(std::string_view name, place& last)
{
    place found = -1;
    if (auto it = by_name_.find(name); it != by_name_.end()) {
        found = it->second;
    } else if (names_.size() < most_names && name.size() <= 256) {
        found = static_cast<place>(names_.size());
        names_.push_back({std::string(name), nullptr});
        by_name_.emplace(name, found);
    } else {
        return nullptr; // last stays: the guess is what followed the last known name
    }
    (last < 0 ? first_ : names_[static_cast<std::size_t>(last)].next) = found;
    last = found;
    return names_[static_cast<std::size_t>(found)].branch;
}

json_node* json_node::escaped_member(std::string_view name) const
{
    auto it = by_name_.find(name);
    return it == by_name_.end() ? nullptr : names_[static_cast<std::size_t>(it->second)].branch;
}

json_node* json_node::element(std::int64_t position) const
{
    for (const auto& [index, branch] : elements_)
        if (index == position)
            return branch;
    return nullptr;
}

json_node& json_node::branch_of(const path_step& step)
{
    if (step.index >= 0) {
        if (json_node* known = element(step.index))
            return *known;
        branches_.push_back(std::make_unique<json_node>());
        elements_.emplace_back(step.index, branches_.back().get());
        return *branches_.back();
    }
    if (json_node* known = escaped_member(step.name))
        return *known;
    branches_.push_back(std::make_unique<json_node>());
    by_name_.emplace(step.name, static_cast<place>(names_.size()));
    names_.push_back({step.name, branches_.back().get()});
    return *branches_.back();
}

void json_node::add(std::span<const path_step> steps, int column)
{
    if (steps.empty()) {
        columns.push_back(column);
        return;
    }
    below.push_back(column);
    branch_of(steps.front()).add(steps.subspan(1), column);
}

} // namespace ke::decode
