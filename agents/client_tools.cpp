#include "agents/client_tools.hpp"

#include <boost/json/serialize.hpp>
#include <boost/json/value.hpp>

#include <optional>

#include "core/json_tree.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;

std::string_view text_at(json::value const* value, std::string_view key) {
    auto const* const object = value != nullptr ? value->if_object() : nullptr;
    auto const* const text =
        object != nullptr ? object->if_contains(json::string_view(key.data(), key.size())) : nullptr;
    if (text == nullptr || !text->is_string()) return {};
    return {text->get_string().data(), text->get_string().size()};
}

json::value const* member(json::value const& value, std::string_view key) {
    auto const* const object = value.if_object();
    return object != nullptr ? object->if_contains(json::string_view(key.data(), key.size())) : nullptr;
}

// {"type": "function", "function": {"name": …}}, or flat as in the Responses API; custom tools alike.
std::string_view name_of(json::value const& tool) {
    auto const type = text_at(&tool, "type");
    if (auto const* const nested = member(tool, type)) return text_at(nested, "name");
    return text_at(&tool, "name");
}

ClientToolNames allowed_names(json::value const& allowed) {
    ClientToolNames names;
    auto const* const tools = member(allowed, "tools");
    if (tools == nullptr || !tools->is_array()) return names;
    for (auto const& tool : tools->get_array())
        names.emplace(name_of(tool));
    return names;
}

} // namespace

core::Result<> apply_client_tools(AgentConfig const& agent, chat::Turn& turn) {
    if (turn.tools.empty() || agent.client_tools == ClientTools::kMerge || agent.client_tools == ClientTools::kAuto)
        return {};
    if (agent.client_tools == ClientTools::kReject) {
        return core::make_error(
            core::Errc::kUnsupportedValue,
            "The agent '" + agent.agent_id + "' brings its own tools and takes none from the client.", "tools");
    }
    turn.tools = {};
    turn.tool_choice = {};
    return {};
}

std::vector<std::string> client_tool_names(std::string_view tools_json) {
    std::vector<std::string> names;
    auto const tools = tools_json.empty() ? std::nullopt : core::json_tree(tools_json);
    if (!tools || !tools->is_array()) return names;
    for (auto const& tool : tools->get_array())
        names.emplace_back(name_of(tool));
    return names;
}

core::Result<OfferedClientTools> read_client_tools(chat::Turn const& turn, ToolSet const& own) {
    OfferedClientTools out;
    auto const tools = core::json_tree(turn.tools.empty() ? "[]" : turn.tools);
    if (!tools || !tools->is_array())
        return core::make_error(core::Errc::kInvalidValue, "'tools' must be an array of tools.", "tools");
    auto const choice = turn.tool_choice.empty() ? std::nullopt : core::json_tree(turn.tool_choice);
    auto const* const allowed = choice ? member(*choice, "allowed_tools") : nullptr;
    bool const none = choice && *choice == "none";
    auto const only = allowed != nullptr ? std::optional(allowed_names(*allowed)) : std::nullopt;
    auto const& list = tools->get_array();
    for (std::size_t i = 0; i < list.size(); ++i) {
        auto const name = name_of(list[i]);
        if (own.find(name) != nullptr) {
            return core::make_error(core::Errc::kToolNameConflict,
                                    "The tool '" + std::string(name) +
                                        "' has the name of one of the agent's own tools. "
                                        "Rename it.",
                                    "tools[" + std::to_string(i) + "].function.name");
        }
        if (none || (only && !only->contains(name))) continue;
        out.names.emplace(name);
        if (!only) continue;
        if (!out.elements.empty()) out.elements += ',';
        out.elements += json::serialize(list[i]);
    }
    if (!none && !only && !list.empty()) { // as it came
        auto const begin = turn.tools.find('[') + 1;
        out.elements = turn.tools.substr(begin, turn.tools.rfind(']') - begin);
    }
    if (none || turn.tool_choice.empty() || turn.tool_choice == "null") return out;
    if (allowed != nullptr) {
        out.forced = text_at(allowed, "mode") == "required";
        out.tool_choice = out.forced ? R"("required")" : "";
        return out;
    }
    out.tool_choice = turn.tool_choice;
    out.forced = choice && *choice != "auto";
    return out;
}

} // namespace parley::agents
