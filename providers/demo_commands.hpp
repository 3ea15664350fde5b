// The demo model's /commands: each turns what stands behind it into an answer. Used by demo_script.cpp only.
// Pure; runs on the loop of the request.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/error.hpp"
#include "providers/demo_scene.hpp"
#include "providers/demo_script.hpp"

namespace parley::providers {

/// An answer before it is cut into pieces.
struct DemoDraft {
    std::string reasoning;
    std::string text;
    std::vector<DemoAnswer::Call> calls;
    std::optional<std::chrono::milliseconds> delay;
    std::optional<core::Error> error;
};

/// The draft for a message that begins with one of the commands; nullopt for any other.
std::optional<DemoDraft> run_demo_command(DemoScene const& scene, std::string_view message);

/// The list that /help shows.
std::string demo_help();

/// At most `bytes_max` of `text`, cut between characters, with "…" when something was cut.
std::string shortened(std::string_view text, std::size_t bytes_max);

/// A call of one of the scene's tools, with an id that is new in this conversation.
DemoAnswer::Call demo_call(DemoScene const& scene, std::size_t number, std::string name, std::string arguments);

} // namespace parley::providers
