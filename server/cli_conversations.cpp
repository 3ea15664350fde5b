// Each command opens the store as the gateway would, also while one is running on it, asks, prints and leaves.
#include "server/cli_conversations.hpp"

#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <chrono>
#include <functional>
#include <utility>
#include <vector>

#include "memory/conversations.hpp"
#include "server/app_store.hpp"
#include "server/cli.hpp"
#include "server/cli_parts.hpp"
#include "server/cli_store.hpp"
#include "server/conversation_pages.hpp"
#include "server/forwarded_user.hpp"
#include "server/wall_clock.hpp"

namespace parley::server {
namespace {

namespace json = boost::json;

constexpr std::int64_t kExportedAtOnce = 500;

using Work = std::function<core::Task<>(core::Context const&, memory::ConversationStore&)>;

int with_conversations(Flags const& flags, Work const& work) {
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): it lives until the loop has ended
    return with_store(flags, [&](core::Context const& context, storage::Database& database) -> core::Task<> {
        memory::Conversations conversations(database, wall_clock_ms);
        co_return co_await work(context, conversations);
    });
}

memory::ConversationKey key_of(ConversationOptions const& options) {
    return {"", options.user.value_or(std::string(kAnonymous)), options.session};
}

core::Error there_is_none(memory::ConversationKey const& key) {
    return core::make_error(core::Errc::kConversationNotFound, "there is no conversation '" + key.session + "' of '" +
                                                                   key.principal + "' (--user names another one)");
}

std::string text_of(json::object const& message) {
    auto const* const content = message.if_contains("content");
    auto text = content != nullptr && content->is_string() ? std::string(content->get_string()) : std::string();
    if (content != nullptr && content->is_array()) text = json::serialize(*content);
    auto const* const calls = message.if_contains("tool_calls");
    if (calls == nullptr || !calls->is_array()) return text;
    for (auto const& call : calls->get_array())
        text += (text.empty() ? "" : "\n") + std::string("-> ") + json::serialize(call.at("function"));
    return text;
}

// Sets each message off; text that was said may hold control characters, which a terminal must not see.
void print_messages(json::object const& page) {
    for (auto const& one : page.at("messages").as_array()) {
        auto const& message = one.as_object();
        auto text = text_of(message);
        std::replace_if(
            text.begin(), text.end(),
            [](char c) { return (static_cast<unsigned char>(c) < 0x20 && c != '\n' && c != '\t') || c == 0x7f; }, '?');
        fmt::print("{}  {}\n{}\n\n", std::string_view(message.at("created_at").as_string()),
                   std::string_view(message.at("role").as_string()), text);
    }
}

// All of a user's, or of everybody's.
core::Task<> export_all(core::Context const& context, memory::ConversationStore& all, std::optional<std::string> user) {
    memory::ConversationKey last;
    for (;;) {
        auto const some = co_await all.list_by_name(context, user, last, kExportedAtOnce);
        if (!some) co_return some.error();
        if (some->empty()) co_return core::Result<>();
        for (auto const& info : *some) {
            memory::ConversationKey const key{"", info.principal, info.session};
            auto const tree = co_await all.tree(context, key);
            if (!tree) co_return tree.error();
            auto object = tree_object(info.session, *tree, std::nullopt);
            object["principal"] = info.principal;
            fmt::print("{}\n", json::serialize(object));
        }
        last = {"", some->back().principal, some->back().session};
    }
}

} // namespace

int conversations_list(Flags const& flags, ConversationOptions const& options) {
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): it lives until the loop has ended
    return with_conversations(flags, [&](core::Context const& context, memory::ConversationStore& all) -> core::Task<> {
        auto const found = co_await all.list(context, "", options.user, memory::ListPlace(), options.limit);
        if (!found) co_return found.error();
        for (auto const& info : *found) {
            auto object = info_object(info);
            if (options.as_json) {
                object["principal"] = info.principal;
                fmt::print("{}\n", json::serialize(object));
            } else {
                fmt::print("{}  {:>5} turns  {}  {}\n", std::string_view(object.at("updated_at").as_string()),
                           info.turns, info.principal, info.session);
            }
        }
        if (found->empty() && !options.as_json) fmt::print(stderr, "No conversations.\n");
        co_return core::Result<>();
    });
}

int conversations_show(Flags const& flags, ConversationOptions const& options) {
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): it lives until the loop has ended
    return with_conversations(flags, [&](core::Context const& context, memory::ConversationStore& all) -> core::Task<> {
        auto const path = co_await all.path(context, key_of(options));
        if (!path) co_return path.error();
        if (path->turns.empty()) co_return there_is_none(key_of(options));
        auto const page = path_object(options.session, path->turns);
        if (options.as_json) {
            fmt::print("{}\n", json::serialize(page));
        } else {
            print_messages(page);
        }
        co_return core::Result<>();
    });
}

int conversations_export(Flags const& flags, ConversationOptions const& options) {
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): it lives until the loop has ended
    return with_conversations(flags, [&](core::Context const& context, memory::ConversationStore& all) -> core::Task<> {
        if (options.session.empty()) co_return co_await export_all(context, all, options.user);
        auto const key = key_of(options);
        auto const tree = co_await all.tree(context, key);
        if (!tree) co_return tree.error();
        if (tree->turns.empty()) co_return there_is_none(key);
        auto object = tree_object(key.session, *tree, std::nullopt);
        object["principal"] = key.principal;
        fmt::print("{}\n", json::serialize(object));
        co_return core::Result<>();
    });
}

int conversations_erase(Flags const& flags, ConversationOptions const& options) {
    if (options.session.empty() != options.all || (options.all && !options.user)) {
        complain("name one conversation, or a user with --user NAME --all");
        return kExitUsage;
    }
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): it lives until the loop has ended
    return with_conversations(flags, [&](core::Context const& context, memory::ConversationStore& all) -> core::Task<> {
        auto const key = key_of(options);
        std::int64_t count = 1;
        if (options.all) {
            auto const erased = co_await all.erase_all(context, key.tenant, key.principal);
            if (!erased) co_return erased.error();
            count = *erased;
        } else {
            auto const erased = co_await all.erase(context, key);
            if (!erased) co_return erased.error();
            if (!*erased) co_return there_is_none(key);
        }
        fmt::print(stderr, "Erased {} conversation{}.\n", count, count == 1 ? "" : "s");
        co_return core::Result<>();
    });
}

int migrate(Flags const& flags, bool as_json) {
    auto const store = open_named_store(flags, MissingStore::kMake);
    if (!store) return kExitFault;
    auto const state = store->state();
    store->close();
    if (!state.ready) {
        complain(store_in_words(state) + " cannot be used: " + state.reason);
        return kExitFault;
    }
    if (as_json) {
        fmt::print("{}\n",
                   json::serialize(json::object{{"store", state.kind}, {"schema_version", state.schema_version}}));
    } else {
        fmt::print("{}: schema version {}\n", store_in_words(state), state.schema_version);
    }
    return kExitOk;
}

} // namespace parley::server
