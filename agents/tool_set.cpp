#include "agents/tool_set.hpp"

#include <boost/json/serialize.hpp>

#include <algorithm>
#include <set>

#include "agents/tool_names.hpp"
#include "core/json.hpp"

namespace parley::agents {
namespace {

constexpr std::size_t kDescriptionBytesMax = 16 * 1024; // untrusted text that is paid for in every request

// At most `bytes_max`, cut between characters.
std::string_view shortened(std::string_view text, std::size_t bytes_max) noexcept {
    if (text.size() <= bytes_max) return text;
    while (bytes_max > 0 && (static_cast<unsigned char>(text[bytes_max]) & 0xC0U) == 0x80U)
        --bytes_max;
    return text.substr(0, bytes_max);
}

} // namespace

std::optional<std::string> OfferedTool::problem(boost::json::object const& arguments) const {
    if (!checked) checked = std::make_unique<ArgumentSchema const>(schema);
    return checked->problem(arguments);
}

ToolSet::ToolSet(AgentTools const& tools, std::span<mcp::ServerTools const> lists) {
    std::set<std::string, std::less<>> taken;
    for (auto const& tool : builtin_tools()) {
        auto const& mine = tools.built_ins;
        if (std::find(mine.begin(), mine.end(), tool.name) == mine.end()) continue;
        taken.emplace(tool.name);
        add({.wire_name = std::string(tool.name),
             .name = std::string(tool.name),
             .description = tool.description,
             .schema = tool.schema,
             .read_only = true});
    }
    for (std::size_t i = 0; i < lists.size() && i < tools.servers.size(); ++i) {
        auto const& list = lists[i].list;
        if (!list) continue;
        lists_.push_back(list);
        for (auto const& tool : list->tools) {
            if (!tools.servers[i].allows(tool.name)) continue;
            add({.wire_name = unique_wire_name(tools.servers[i].spec->label, tool.name, taken),
                 .server = tools.servers[i].spec,
                 .name = tool.name,
                 .description = tool.description,
                 .schema = tool.input_schema,
                 .read_only = tool.read_only});
        }
    }
    for (auto const& tool : tools_)
        by_name_.emplace(tool.wire_name, &tool);
}

void ToolSet::add(OfferedTool tool) {
    tools_.push_back(std::move(tool));
}

OfferedTool const* ToolSet::find(std::string_view wire_name) const noexcept {
    auto const found = by_name_.find(wire_name);
    return found == by_name_.end() ? nullptr : found->second;
}

std::string const& ToolSet::json(SchemaProfile profile) const {
    auto& text = json_[profile == SchemaProfile::kGemini ? 1 : 0];
    if (!text.empty()) return text;
    text = "[";
    for (auto const& tool : tools_) {
        if (text.size() > 1) text += ',';
        text += R"({"type":"function","function":{"name":)";
        core::append_json_string(text, tool.wire_name);
        text += R"(,"description":)";
        core::append_json_string(text, shortened(tool.description, kDescriptionBytesMax));
        text += R"(,"parameters":)";
        text += boost::json::serialize(cleaned_schema(tool.schema, profile));
        text += "}}";
    }
    text += ']';
    return text;
}

std::shared_ptr<ToolSet const> ToolSetCache::get(std::shared_ptr<AgentTools const> const& tools,
                                                 std::span<mcp::ServerTools const> lists) {
    ++clock_;
    for (auto& entry : entries_) {
        auto const same_list = [](auto const& known, mcp::ServerTools const& now) { return known == now.list; };
        if (entry.tools != tools ||
            !std::equal(entry.lists.begin(), entry.lists.end(), lists.begin(), lists.end(), same_list))
            continue;
        entry.used = clock_;
        return entry.set;
    }
    if (entries_.size() >= entries_max_) {
        auto const oldest = std::min_element(entries_.begin(), entries_.end(),
                                             [](Entry const& a, Entry const& b) { return a.used < b.used; });
        entries_.erase(oldest);
    }
    ++builds_;
    Entry entry{tools, {}, std::make_shared<ToolSet const>(*tools, lists), clock_};
    for (auto const& one : lists)
        entry.lists.push_back(one.list);
    entries_.push_back(std::move(entry));
    return entries_.back().set;
}

} // namespace parley::agents
