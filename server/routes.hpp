// The table of what there is. A request is routed by its path as sent: no decoding, no merging of slashes, so that
// what is authorised is what is served. Every route says who may call it; there is no default.
#pragma once

#include <cstdint>
#include <span>
#include <string_view>

namespace parley::server {

enum class RouteId : std::uint8_t {
    kChatCompletions,
    kModels,
    kModel,
    kEmbeddings,
    kAgents,
    kAgent,
    kAgentHealth,
    kAgentConversation,
    kAgentConversationDelete,
    kConversations,
    kConversationsDelete,
    kConversation,
    kConversationDelete,
    kConversationFork,
    kHealth,
    kLive,
    kReady,
    kMetrics,
    kOpenApi,
    kDocs,
    kRoot,
};

enum class Access : std::uint8_t { kOpen, kKey };

/// What a key's record names when it says which routes the key is for (policy/key_record.hpp).
enum class Scope : std::uint8_t { kNone, kChat, kEmbeddings, kModels, kAgents, kConversations, kOperate };

struct Route {
    RouteId id;
    std::string_view path;   // a trailing '*' stands for one or more characters, the parameter
    std::string_view suffix; // behind the parameter; another trailing '*' is a second one
    std::string_view method; // GET also serves HEAD
    Access access;
    Scope scope; // kNone exactly for those that are open to all
};

struct Match {
    Route const* route = nullptr;    // null: no such path, or (path_known) not with this method
    std::string_view parameter = {}; // as sent
    std::string_view second = {};    // as sent
    bool path_known = false;
    std::string_view allow = {}; // for 405: the methods of the path
};

Match match_route(std::string_view method, std::string_view path) noexcept;

std::span<Route const> all_routes() noexcept;

std::string_view scope_name(Scope scope) noexcept;
std::span<std::string_view const> scope_names() noexcept; // but for kNone

} // namespace parley::server
