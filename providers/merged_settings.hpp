// The settings of one model call: those of the request laid over the agent's own.
// Pure functions; called once per configuration (defaults) and once per model call (merge).
#pragma once

#include <boost/json/object.hpp>

#include <span>
#include <string>
#include <string_view>
#include <vector>

#include "chat/turn.hpp"

namespace parley::providers {

struct DefaultSetting {
    std::string name;
    std::string json;
};

/// An agent's model_settings, each value serialised once.
std::vector<DefaultSetting> default_settings(boost::json::object const& settings);

/// Names that mean the same thing have one meaning: a request's max_tokens overrides an agent's max_completion_tokens.
/// Any other name means itself.
std::string_view setting_meaning(std::string_view name) noexcept;

struct MergedSetting {
    std::string_view name;
    std::string_view json;  // never null
    bool is_agents = false; // said by the agent, not by the client
};

/// The defaults that the request does not override, then the request's own. null counts as not sent.
/// The result points into both.
std::vector<MergedSetting> merge_settings(std::span<DefaultSetting const> defaults,
                                          std::span<chat::Setting const> request);

} // namespace parley::providers
