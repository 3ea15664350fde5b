// Fuzz target: agent_config.json and mcp.json, any bytes for both.
// Input: the two files, with a zero byte between them. The agent file may name variables, prompts and providers.
// Checks: no crash; a configuration exactly when there is no fault; faults say what they must;
// agents have a provider and a model or say why not; the tree is the one that Boost.JSON builds by itself.
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <cstdint>
#include <cstdlib>

#include "agents/config_json.hpp"
#include "agents/config_loader.hpp"

namespace {

constexpr std::string_view kValue = "../x/${S}";

void require(bool condition) {
    if (!condition) std::abort();
}

void check_parser(std::string_view text) {
    using namespace parley::agents;
    auto const ours = parse_config_json(text, JsonStyle::kStrict);
    boost::json::error_code error;
    auto const theirs = boost::json::parse(boost::json::string_view(text.data(), text.size()), error);
    if (text.substr(0, 1) != "\xEF") require(ours.value.has_value() == !error); // we skip a byte order mark
    bool const is_comparable = !error && theirs == theirs; // Boost.JSON 1.81 reads 0e400 as no number
    if (ours.value && is_comparable) require(*ours.value == theirs);
    require(ours.value.has_value() || ours.faults.size() == 1);
    parse_config_json(text, JsonStyle::kRelaxed);
}

} // namespace

extern "C" int LLVMFuzzerTestOneInput(std::uint8_t const* data, std::size_t size) {
    using namespace parley::agents;
    std::string_view const input(reinterpret_cast<char const*>(data), size);
    auto const middle = std::min(input.find('\0'), input.size());
    std::string const agents(input.substr(0, middle));
    std::string const mcp(input.substr(std::min(middle + 1, input.size())));
    check_parser(agents);
    check_parser(mcp);

    ConfigSources sources;
    sources.agent_config_path = "a";
    sources.mcp_path = "m";
    sources.prompts_dir = "p";
    sources.env = [](std::string_view name) -> std::optional<std::string> {
        return name.substr(0, 1) == "S" ? std::optional<std::string>(kValue) : std::nullopt;
    };
    sources.read = [&](std::string const& path) -> parley::core::Result<std::string> {
        if (path == "a") return agents;
        if (path == "m") return mcp;
        if (path == "p/x.md") return std::string("prompt");
        return parley::core::make_error(kNoSuchFile, "no such file");
    };
    auto const loaded = load_config(sources);
    require(loaded.config.has_value() == loaded.faults.empty());
    for (auto const& fault : loaded.faults) {
        require(!fault.file.empty() && !fault.found.empty() && !fault.allowed.empty());
        require(!boost::json::serialize(to_json(fault)).empty() && !to_text(fault).empty());
    }
    if (!loaded.config) return 0;
    require(!loaded.config->agents.empty());
    for (auto const& agent : loaded.config->agents) {
        bool found = false;
        for (auto const& provider : loaded.config->providers)
            found = found || provider.name == agent.provider;
        require(found || !agent.own_unavailable.empty());
        require(!agent.model.empty() || !agent.own_unavailable.empty());
    }
    return 0;
}
