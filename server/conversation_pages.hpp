// Conversations as JSON, for the routes and the commands that show them. Pure.
#pragma once

#include <boost/json/object.hpp>

#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "agents/conversation_turn.hpp"

namespace parley::server {

/// Lower-case hex, 64 digits.
std::string turn_name(memory::TurnId const& id);

/// nullopt for what is not one.
std::optional<memory::TurnId> turn_named(std::string_view name);

boost::json::object info_object(memory::ConversationInfo const& info);

/// The messages of the path as a model would see them, each with the time of its turn.
boost::json::object path_object(std::string_view session, std::vector<memory::StoredTurn> const& path);

/// All turns with their parents, and the summaries. `head`: the turn that came last, nullopt = not known.
boost::json::object tree_object(std::string_view session, memory::Found const& tree,
                                std::optional<memory::TurnId> head);

} // namespace parley::server
