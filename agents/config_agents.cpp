// The agents of agent_config.json, in the original format and ours; see config_parts.hpp.
// Owned by one load of the configuration.
// Field meanings: CONTRACT section 2; older forms: ai-agent-service before and after it joined servers and tools.
#include <algorithm>
#include <array>
#include <regex>

#include "agents/builtin_tools.hpp"
#include "agents/config_json.hpp"
#include "agents/config_parts.hpp"
#include "core/glob.hpp"

namespace parley::agents {
namespace {

namespace json = boost::json;

constexpr std::array<std::string_view, 29> kAgentKeys{"agent_id",
                                                      "name",
                                                      "description",
                                                      "version",
                                                      "tags",
                                                      "suggestion_prompts",
                                                      "provider",
                                                      "model",
                                                      "system_prompt",
                                                      "system_prompt_file",
                                                      "model_settings",
                                                      "fallbacks",
                                                      "limits",
                                                      "client_tools",
                                                      "history",
                                                      "task_policy",
                                                      "tool_progress",
                                                      "allowed_regular_tools",
                                                      "allowed_mcp_servers",
                                                      "allowed_mcp_tools",
                                                      "vision",
                                                      "resources",
                                                      "resource_config",
                                                      "embedding_provider",
                                                      "embedding_model",
                                                      "rerank_provider",
                                                      "rerank_model",
                                                      "$schema",
                                                      "$comment"};
constexpr std::array<std::string_view, 5> kLimitKeys{"max_tool_rounds", "max_tool_calls", "timeout_s",
                                                     "max_total_tokens", "parallel_tool_calls_max"};
constexpr std::array<std::string_view, 1> kServerKeys{"allowed_mcp_tools"};
constexpr std::array<std::string_view, 2> kResourceConfigKeys{"memory", "knowledge_base"};
constexpr std::array<std::string_view, 2> kMemoryKeys{"compression", "retention_hours"};
constexpr std::array<std::string_view, 5> kCompressionKeys{"enabled", "threshold_tokens", "recent_messages_to_keep",
                                                           "summary_agent", "archive_conversations"};
constexpr std::array<std::string_view, 2> kResources{"memory", "knowledge_base"};
constexpr std::array<std::string_view, 4> kCarriedKeys{"embedding_provider", "embedding_model", "rerank_provider",
                                                       "rerank_model"};

constexpr std::array<Choice<ClientTools>, 3> kClientTools{
    {{"merge", ClientTools::kMerge}, {"ignore", ClientTools::kIgnore}, {"reject", ClientTools::kReject}}};
constexpr std::array<Choice<HistoryMode>, 3> kHistoryModes{
    {{"auto", HistoryMode::kAuto}, {"client", HistoryMode::kClient}, {"server", HistoryMode::kServer}}};
constexpr std::array<Choice<TaskPolicy>, 3> kTaskPolicies{
    {{"heuristic", TaskPolicy::kHeuristic}, {"agent", TaskPolicy::kAgent}, {"empty", TaskPolicy::kEmpty}}};
constexpr std::array<Choice<ToolProgress>, 5> kToolProgress{{{"auto", ToolProgress::kAuto},
                                                             {"quiet", ToolProgress::kQuiet},
                                                             {"reasoning", ToolProgress::kReasoning},
                                                             {"openwebui", ToolProgress::kOpenWebui},
                                                             {"events", ToolProgress::kEvents}}};

constexpr std::int64_t kToolRoundsMax = 1'000;
constexpr std::int64_t kToolCallsMax = 10'000;
constexpr std::int64_t kParallelToolCallsMax = 128;
constexpr std::int64_t kTimeoutMaxSeconds = 86'400;
constexpr std::int64_t kTokensMax = 1'000'000'000;
constexpr std::int64_t kMessagesMax = 100'000;
constexpr std::int64_t kHoursMax = 1'000'000;
constexpr std::size_t kIdBytesMax = 128;

// Ids travel in URLs, headers, logs and metrics.
bool is_agent_id(std::string_view id) noexcept {
    return !id.empty() && id.size() <= kIdBytesMax &&
           std::all_of(id.begin(), id.end(), [](char c) { return c > 0x20 && c < 0x7f && c != '"' && c != '\\'; });
}

// semver.org, 2.0.0; bounded before the match because std::regex recurses.
bool is_semver(std::string const& text) {
    static std::regex const pattern(R"((0|[1-9]\d*)\.(0|[1-9]\d*)\.(0|[1-9]\d*)(-[0-9A-Za-z.-]+)?(\+[0-9A-Za-z.-]+)?)");
    return text.size() <= 64 && std::regex_match(text, pattern);
}

void read_identity(ObjectReader const& reader, AgentConfig& agent) {
    if (!reader.has("agent_id")) {
        reader.fault_here("no agent_id", "a member \"agent_id\": the name under which clients ask for the agent");
    } else if (auto id = reader.text("agent_id")) {
        if (!is_agent_id(*id)) {
            reader.fault("agent_id", in_quotes(reader.written("agent_id")),
                         "1 to 128 printable ASCII characters without space, \" and \\");
        }
        agent.agent_id = std::move(*id);
    }
    agent.name = reader.text("name").value_or("");
    agent.description = reader.text("description").value_or("");
    agent.tags = reader.texts("tags").value_or(std::vector<std::string>{});
    agent.suggestion_prompts = reader.texts("suggestion_prompts").value_or(std::vector<std::string>{});
    if (auto version = reader.text("version")) {
        if (!is_semver(*version)) {
            reader.fault("version", in_quotes(reader.written("version")), "a semantic version such as 1.0.0");
        }
        agent.version = std::move(*version);
    }
}

void read_settings(ObjectReader const& reader, AgentConfig& agent, std::vector<std::string>& unset) {
    auto const faults_before = reader.scope().faults.size();
    auto const settings = reader.free_object("model_settings");
    if (!settings || reader.scope().faults.size() > faults_before) return;
    agent.model_settings = *settings;
    check_model_settings(reader.scope(), *reader.object("model_settings"),
                         join_pointer(reader.pointer(), "model_settings"), unset, "agent " + in_quotes(agent.agent_id));
}

std::string both_reasons(std::string first, std::string const& second) {
    if (first == second) return first;
    if (!first.empty() && !second.empty()) first += "; ";
    return first + second;
}

// What decides whether the agent's own model can answer; a fallback can stand in for all of it.
void read_own_model(ObjectReader& reader, AgentConfig& agent, ProviderBook& providers) {
    std::vector<std::string> unset;
    reader.unset_into(unset);
    read_settings(reader, agent, unset);
    auto model = reader.text("model");
    if (model) agent.model = std::move(*model);
    auto const provider = reader.text("provider");
    if (!reader.has("provider")) {
        reader.fault_here("no provider", "a member \"provider\", one of " + joined(providers.names()));
    } else if (provider) {
        agent.provider = *provider;
        auto const* config = providers.resolve(*provider, reader.scope().warnings);
        if (config == nullptr) {
            auto const names = providers.names();
            reader.fault("provider", in_quotes(reader.written("provider")), joined(names),
                         did_you_mean(*provider, names));
        } else {
            if (agent.model.empty() && unset.empty()) agent.model = config->default_model;
            if (agent.model.empty() && unset.empty() && !config->type.empty()) {
                reader.fault_here("no model, and the provider " + in_quotes(config->name) + " names none",
                                  "a member \"model\", or \"models\" in the provider");
            }
            if (!config->unavailable.empty()) {
                agent.own_unavailable = "provider " + in_quotes(config->name) + ": " + config->unavailable;
            }
        }
    }
    agent.own_unavailable = both_reasons(not_set(unset), agent.own_unavailable);
}

// A name that nothing has is a tool that the agent is silently without.
void warn_of_unknown_tools(ObjectReader const& reader, AgentConfig const& agent) {
    auto const names = builtin_tool_names();
    if (!agent.allowed_regular_tools) return;
    for (auto const& element : reader.find("allowed_regular_tools")->get_array()) {
        auto const* text = element.if_string();
        if (text == nullptr || text->find("${") != json::string::npos) continue; // only what is written is quoted
        std::string_view const wanted(text->data(), text->size());
        auto const is_meant = [wanted](std::string_view known) { return core::glob_matches(wanted, known); };
        if (std::any_of(names.begin(), names.end(), is_meant)) continue;
        auto const hint = did_you_mean(wanted, names);
        reader.scope().warnings.push_back("agent " + in_quotes(agent.agent_id) + ": no regular tool " +
                                          in_quotes(wanted) + " is there; " +
                                          (hint.empty() ? "there are " + joined(names) : hint));
    }
}

void read_prompt(ObjectReader const& reader, AgentConfig& agent, PromptShelf& prompts) {
    auto text = reader.text("system_prompt");
    auto const file = reader.text_not_empty("system_prompt_file");
    if (text) agent.system_prompt = std::move(*text);
    if (!file) return;
    if (!agent.system_prompt.empty()) {
        reader.scope().warnings.push_back("agent " + in_quotes(agent.agent_id) +
                                          ": both system_prompt and system_prompt_file are given; the file is used");
    }
    if (auto from_file = prompts.read(reader, "system_prompt_file", *file)) agent.system_prompt = std::move(*from_file);
}

void read_limits(ObjectReader const& reader, AgentConfig& agent, AgentDefaults const& defaults,
                 std::vector<std::string>& unset) {
    agent.limits.timeout_s = defaults.timeout_s;
    auto const* object = reader.object("limits");
    if (object == nullptr) return;
    ObjectReader const inner(reader.scope(), *object, join_pointer(reader.pointer(), "limits"), unset);
    inner.allow_only(kLimitKeys);
    auto const read = [&inner](std::string_view key, std::int64_t min, std::int64_t max, std::int64_t& target) {
        if (auto const number = inner.integer(key, min, max)) target = *number;
    };
    read("max_tool_rounds", 0, kToolRoundsMax, agent.limits.max_tool_rounds);
    read("max_tool_calls", 0, kToolCallsMax, agent.limits.max_tool_calls);
    read("timeout_s", 1, kTimeoutMaxSeconds, agent.limits.timeout_s);
    read("max_total_tokens", 0, kTokensMax, agent.limits.max_total_tokens);
    read("parallel_tool_calls_max", 1, kParallelToolCallsMax, agent.limits.parallel_tool_calls_max);
}

// The older form: a list of labels, and beside it the tools of each.
void read_older_servers(ObjectReader const& reader, AgentConfig& agent) {
    auto const labels = reader.texts("allowed_mcp_servers");
    auto const* tools = reader.find("allowed_mcp_tools");
    if (labels) {
        agent.allowed_mcp_servers.emplace();
        for (auto const& label : *labels)
            agent.allowed_mcp_servers->emplace(label, std::nullopt);
    }
    if (tools == nullptr || !agent.allowed_mcp_servers) return;
    if (tools->is_array()) {
        for (auto& [label, names] : *agent.allowed_mcp_servers)
            names.emplace();
        if (!tools->get_array().empty()) {
            reader.fault("allowed_mcp_tools", "an array with elements", "an object of label to tool names, or []");
        }
        return;
    }
    auto const* by_label = reader.object("allowed_mcp_tools");
    if (by_label == nullptr || by_label->empty()) return;
    std::vector<std::string> unset;
    ObjectReader const inner(reader.scope(), *by_label, join_pointer(reader.pointer(), "allowed_mcp_tools"), unset);
    for (auto& [label, names] : *agent.allowed_mcp_servers) {
        names = inner.texts(label).value_or(std::vector<std::string>{});
    }
}

void read_servers(ObjectReader const& reader, AgentConfig& agent, std::vector<std::string>& unset) {
    auto const* servers = reader.find("allowed_mcp_servers");
    if (servers != nullptr && servers->is_array()) return read_older_servers(reader, agent);
    if (reader.has("allowed_mcp_tools")) {
        reader.fault("allowed_mcp_tools", "allowed_mcp_tools without a list in allowed_mcp_servers",
                     "allowed_mcp_servers: {\"label\": {\"allowed_mcp_tools\": [\"name\"]}}");
    }
    if (servers == nullptr) return;
    if (!servers->is_object()) {
        reader.fault("allowed_mcp_servers", std::string(describe_type(*servers)),
                     "an object of label to {\"allowed_mcp_tools\": [...]}, an array of labels, or null for all");
        return;
    }
    agent.allowed_mcp_servers.emplace();
    auto const pointer = join_pointer(reader.pointer(), "allowed_mcp_servers");
    for (auto const& member : servers->get_object()) {
        std::string_view const label(member.key().data(), member.key().size());
        auto& tools = (*agent.allowed_mcp_servers)[std::string(label)];
        auto const label_pointer = join_pointer(pointer, label);
        if (member.value().is_null()) continue;
        if (auto const* object = member.value().if_object()) {
            ObjectReader const inner(reader.scope(), *object, label_pointer, unset);
            inner.allow_only(kServerKeys);
            tools = inner.texts("allowed_mcp_tools");
        } else {
            reader.fault_at(label_pointer, std::string(describe_type(member.value())),
                            "{\"allowed_mcp_tools\": [...]}, or null for all tools");
        }
    }
}

void read_resource_config(ObjectReader const& reader, AgentConfig& agent, std::vector<std::string>& unset) {
    auto const* object = reader.object("resource_config");
    if (object == nullptr) return;
    ObjectReader const resources(reader.scope(), *object, join_pointer(reader.pointer(), "resource_config"), unset);
    resources.allow_only(kResourceConfigKeys);
    if (auto const* knowledge_base = resources.object("knowledge_base")) {
        agent.carried["knowledge_base"] = *knowledge_base;
    }
    auto const* memory_object = resources.object("memory");
    if (memory_object == nullptr) return;
    ObjectReader const memory(reader.scope(), *memory_object, join_pointer(resources.pointer(), "memory"), unset);
    memory.allow_only(kMemoryKeys);
    agent.retention_hours = memory.integer("retention_hours", 1, kHoursMax).value_or(0);
    auto const* compression_object = memory.object("compression");
    if (compression_object == nullptr) return;
    ObjectReader const compression(reader.scope(), *compression_object, join_pointer(memory.pointer(), "compression"),
                                   unset);
    compression.allow_only(kCompressionKeys);
    auto& target = agent.compression;
    target.enabled = compression.boolean("enabled").value_or(target.enabled);
    target.summary_agent = compression.text("summary_agent").value_or(std::string());
    target.archive_conversations = compression.boolean("archive_conversations").value_or(false);
    target.threshold_tokens = compression.integer("threshold_tokens", 1, kTokensMax).value_or(target.threshold_tokens);
    target.recent_messages_to_keep =
        compression.integer("recent_messages_to_keep", 0, kMessagesMax).value_or(target.recent_messages_to_keep);
}

void read_resources(ObjectReader const& reader, AgentConfig& agent) {
    agent.resources = reader.texts("resources");
    if (!agent.resources) return;
    for (auto const& element : reader.find("resources")->get_array()) {
        auto const* text = element.if_string();
        if (text == nullptr || text->find("${") != json::string::npos) continue; // only what is written is quoted
        std::string_view const resource(text->data(), text->size());
        auto const label = "agent " + in_quotes(agent.agent_id) + ": ";
        if (resource == "knowledge_base") {
            reader.scope().warnings.push_back(label + "the resource knowledge_base is accepted but has no effect");
        } else if (std::find(kResources.begin(), kResources.end(), resource) == kResources.end()) {
            auto const hint = did_you_mean(resource, kResources);
            reader.scope().warnings.push_back(label + "unknown resource " + in_quotes(resource) + " has no effect" +
                                              (hint.empty() ? "" : "; " + hint));
        }
    }
}

void check_summary_agent(FileScope& scope, AgentConfig const& agent, std::string const& pointer,
                         std::vector<std::string_view> const& ids) {
    auto const& named = agent.compression.summary_agent;
    if (named.empty() || std::ranges::find(ids, named) != ids.end()) return;
    scope.faults.push_back({scope.file, pointer + "/resource_config/memory/compression/summary_agent",
                            "no agent " + in_quotes(named), "the agent_id of an agent", did_you_mean(named, ids)});
}

} // namespace

AgentConfig read_agent(FileScope& scope, json::object const& object, std::string const& pointer,
                       ProviderBook& providers, PromptShelf& prompts, AgentDefaults const& defaults) {
    std::vector<std::string> unset;
    ObjectReader reader(scope, object, pointer, unset);
    reader.allow_only(kAgentKeys);
    AgentConfig agent;
    agent.compression.threshold_tokens = defaults.threshold_tokens;
    read_identity(reader, agent);
    read_own_model(reader, agent, providers);
    reader.unset_into(unset);
    read_prompt(reader, agent, prompts);
    agent.fallbacks = reader.texts("fallbacks").value_or(std::vector<std::string>{});
    read_limits(reader, agent, defaults, unset);
    agent.client_tools = reader.choice<ClientTools>("client_tools", kClientTools).value_or(agent.client_tools);
    agent.history = reader.choice<HistoryMode>("history", kHistoryModes).value_or(agent.history);
    agent.task_policy = reader.choice<TaskPolicy>("task_policy", kTaskPolicies).value_or(agent.task_policy);
    agent.tool_progress = reader.choice<ToolProgress>("tool_progress", kToolProgress).value_or(agent.tool_progress);
    agent.allowed_regular_tools = reader.texts("allowed_regular_tools");
    warn_of_unknown_tools(reader, agent);
    agent.vision = reader.boolean("vision").value_or(false);
    read_servers(reader, agent, unset);
    read_resources(reader, agent);
    read_resource_config(reader, agent, unset);
    for (auto const key : kCarriedKeys) {
        if (auto value = reader.text(key)) agent.carried[json::string_view(key.data(), key.size())] = *value;
    }
    agent.unavailable = not_set(unset);
    return agent;
}

void finish_agents(FileScope& scope, std::vector<AgentConfig>& agents, std::vector<std::string> const& pointers) {
    std::map<std::string_view, std::size_t> first;
    std::vector<std::string_view> ids;
    for (std::size_t i = 0; i < agents.size(); ++i) {
        if (agents[i].agent_id.empty()) continue;
        auto const [known, is_new] = first.emplace(agents[i].agent_id, i);
        if (is_new) {
            ids.push_back(agents[i].agent_id);
        } else {
            scope.faults.push_back({scope.file, join_pointer(pointers[i], "agent_id"),
                                    "the agent_id " + in_quotes(agents[i].agent_id) + " a second time",
                                    "every agent_id once", "the first one is at " + pointers[known->second]});
        }
    }
    for (std::size_t i = 0; i < agents.size(); ++i) {
        auto& agent = agents[i];
        bool has_stand_in = false;
        for (std::size_t j = 0; j < agent.fallbacks.size(); ++j) {
            auto const& id = agent.fallbacks[j];
            auto const known = first.find(id);
            if (known == first.end() || id == agent.agent_id) {
                bool const self = id == agent.agent_id;
                scope.faults.push_back({scope.file, join_pointer(join_pointer(pointers[i], "fallbacks"), j),
                                        self ? "the agent itself" : "no agent " + in_quotes(id),
                                        "the agent_id of another agent", self ? "" : did_you_mean(id, ids)});
                continue;
            }
            has_stand_in = has_stand_in || agents[known->second].own_unavailable.empty();
        }
        check_summary_agent(scope, agent, pointers[i], ids);
        // What is missing outside of its own model, no fallback can replace. All that is missing is told at once.
        if (!has_stand_in) agent.unavailable = both_reasons(agent.own_unavailable, agent.unavailable);
    }
}

} // namespace parley::agents
