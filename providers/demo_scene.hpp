// What the demo model was sent, read once into plain values. Used by demo_script.cpp and demo_commands.cpp only.
#pragma once

#include <array>
#include <cstdint>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "chat/turn.hpp"
#include "providers/merged_settings.hpp"
#include "providers/provider.hpp"

namespace parley::providers {

struct DemoScene {
    struct Said {
        chat::Role role = chat::Role::kUser;
        std::string text;
        std::string name; // of the tool, where the role is tool
    };

    std::string model;
    std::size_t system_prompt_bytes = 0;
    std::vector<Said> messages;
    std::size_t attachments = 0;         // parts that are not text
    std::vector<std::string> tools;      // names, the agent's first; empty when tool_choice is none
    std::optional<std::string> forced;   // the tool that tool_choice demands
    std::vector<MergedSetting> settings; // points into `defaults` and the turn
    std::vector<DefaultSetting> defaults;
    std::size_t prompt_bytes = 0;

    DemoScene(ModelSpec const& spec, chat::Turn const& turn);
    DemoScene(DemoScene const&) = delete;
    DemoScene& operator=(DemoScene const&) = delete;

    /// The JSON of a setting; empty = not sent.
    std::string_view setting(std::string_view meaning) const noexcept;

    /// The text of the last user message; empty when there is none.
    std::string_view last_user_text() const noexcept;

    /// True when the last message is a tool's result.
    bool after_tools() const noexcept;

private:
    void read_messages(chat::Turn const& turn);
    void read_tools(std::string_view tools);
    void read_tool_choice(std::string_view tool_choice);
};

} // namespace parley::providers
