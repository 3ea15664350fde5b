// The tools that one agent offers at one moment: their names on the wire, their JSON, and the way back to the servers.
// Built once per list of tools and kept by its loop; used on that loop only.
#pragma once

#include <boost/json/object.hpp>

#include <array>
#include <cstddef>
#include <deque>
#include <map>
#include <memory>
#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "agents/builtin_tools.hpp"
#include "agents/call_arguments.hpp"
#include "agents/tool_policy.hpp"
#include "agents/tool_schema.hpp"
#include "mcp/tool_host.hpp"

namespace parley::agents {

struct OfferedTool {
    std::string wire_name;
    std::shared_ptr<mcp::ServerSpec const> server = {}; // null: built in
    std::string name;                                   // the server's own, or the built-in's
    std::string_view description;
    std::string_view schema;                                    // as the server gave it
    bool read_only = false;                                     // says the server
    mutable std::unique_ptr<ArgumentSchema const> checked = {}; // made at the first call

    /// What is wrong with the arguments, for the model.
    std::optional<std::string> problem(boost::json::object const& arguments) const;
};

class ToolSet {
public:
    /// `lists` answer tools.specs, in that order; a server without list is left out.
    ToolSet(AgentTools const& tools, std::span<mcp::ServerTools const> lists);

    bool empty() const noexcept { return tools_.empty(); }
    std::size_t size() const noexcept { return tools_.size(); }

    /// nullptr when the agent has no such tool.
    OfferedTool const* find(std::string_view wire_name) const noexcept;

    /// JSON array in OpenAI's function form, for a model that wants `profile`. Valid as long as the set.
    std::string const& json(SchemaProfile profile) const;

private:
    void add(OfferedTool tool);

    std::vector<std::shared_ptr<mcp::ToolList const>> lists_; // tools_ points into them
    std::deque<OfferedTool> tools_;                           // built-ins, then servers in the order of the file
    std::map<std::string_view, OfferedTool const*> by_name_;
    mutable std::array<std::string, 2> json_; // by profile, made at the first use
};

/// The sets of one loop, by what they were made from: a run whose lists did not change finds its set here.
class ToolSetCache {
public:
    ToolSetCache() = default;
    explicit ToolSetCache(std::size_t entries_max) : entries_max_(entries_max) {}

    std::shared_ptr<ToolSet const> get(std::shared_ptr<AgentTools const> const& tools,
                                       std::span<mcp::ServerTools const> lists);

    std::size_t builds() const noexcept { return builds_; }

private:
    struct Entry {
        std::shared_ptr<AgentTools const> tools; // shared, so that no other can get its address
        std::vector<std::shared_ptr<mcp::ToolList const>> lists;
        std::shared_ptr<ToolSet const> set;
        std::uint64_t used = 0;
    };

    std::size_t entries_max_ = 256;
    std::uint64_t clock_ = 0;
    std::size_t builds_ = 0;
    std::vector<Entry> entries_;
};

} // namespace parley::agents
