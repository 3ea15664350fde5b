// One rule for every dialect: what the request says wins over what the agent says, whichever name it uses.
// Pure; runs on the loop of the request.
#include "providers/merged_settings.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <array>
#include <utility>

namespace parley::providers {

std::vector<DefaultSetting> default_settings(boost::json::object const& settings) {
    std::vector<DefaultSetting> defaults;
    for (auto const& member : settings) {
        if (member.value().is_null()) continue;
        double const* const number = member.value().if_double();
        // Boost.JSON writes 0.2 as 2E-1: right, but not what a person expects to see, in our log or a provider's.
        defaults.push_back(
            {std::string(member.key()), number ? fmt::format("{}", *number) : boost::json::serialize(member.value())});
    }
    return defaults;
}

std::string_view setting_meaning(std::string_view name) noexcept {
    constexpr std::array<std::pair<std::string_view, std::string_view>, 5> kMeanings{{
        {"max_tokens", "max_completion_tokens"},        // deprecated name of the chat API
        {"max_output_tokens", "max_completion_tokens"}, // Responses API
        {"num_predict", "max_completion_tokens"},       // Ollama
        {"think", "reasoning_effort"},                  // Ollama
        {"format", "response_format"},                  // Ollama
    }};
    auto const* const found =
        std::find_if(kMeanings.begin(), kMeanings.end(), [name](auto const& meaning) { return meaning.first == name; });
    return found == kMeanings.end() ? name : found->second;
}

std::vector<MergedSetting> merge_settings(std::span<DefaultSetting const> defaults,
                                          std::span<chat::Setting const> request) {
    std::vector<MergedSetting> merged;
    merged.reserve(defaults.size() + request.size());
    for (auto const& own : defaults) {
        std::string_view const meaning = setting_meaning(own.name);
        bool const overridden = std::any_of(request.begin(), request.end(), [meaning](chat::Setting const& setting) {
            return setting.json != "null" && setting_meaning(setting.name) == meaning;
        });
        if (!overridden) merged.push_back({own.name, own.json, true});
    }
    for (auto const& setting : request) {
        if (setting.json != "null") merged.push_back({setting.name, setting.json, false});
    }
    return merged;
}

} // namespace parley::providers
