// Which conversation a request names, in the order of CONTRACT §5.
#include "server/conversation_identity.hpp"

#include <gtest/gtest.h>

#include <string>
#include <utility>
#include <vector>

namespace parley::server {
namespace {

core::Result<std::optional<agents::ConversationAsk>> ask(
    std::string const& members, std::vector<net::Field> fields = {},
    std::vector<std::string> const& headers = default_session_headers()) {
    auto const request =
        parse_chat_request(R"({"model":"m","messages":[{"role":"user","content":"hi"}])" + members + "}");
    EXPECT_TRUE(request);
    net::RequestHead head;
    head.fields = std::move(fields);
    return conversation_ask(head, *request, headers);
}

std::string session(std::string const& members, std::vector<net::Field> fields = {}) {
    auto const found = ask(members, std::move(fields));
    EXPECT_TRUE(found);
    return found && *found ? (*found)->key.session : "none";
}

TEST(ConversationIdentity, TheFirstMatchCounts) {
    std::string const body = R"(,"session_id":"a","conversation_id":"d","metadata":{"session_id":"e"})";
    std::string const rest = R"(,"conversation_id":"d","metadata":{"session_id":"e"})";
    std::vector<net::Field> const fields{{"X-OpenWebUI-Chat-Id", "c"}, {"X-Session-Id", "b"}};
    EXPECT_EQ(session(body, fields), "a");
    EXPECT_EQ(session(rest, fields), "b");
    EXPECT_EQ(session(rest, {{"X-OpenWebUI-Chat-Id", "c"}, {"X-Session-Id", ""}}), "c") << "empty is absent";
    EXPECT_EQ(session(rest), "d");
    EXPECT_EQ(session(R"(,"metadata":{"session_id":"e"})"), "e");
    EXPECT_EQ(session(R"(,"user":"u","prompt_cache_key":"k")"), "none");
    EXPECT_EQ(session(R"(,"session_id":null)"), "none");
}

TEST(ConversationIdentity, HeadersAreASetting) {
    auto const found = ask("", {{"X-Thread", "t"}, {"X-Session-Id", "b"}}, {"x-thread"});
    ASSERT_TRUE(found && *found);
    EXPECT_EQ((*found)->key.session, "t");
}

TEST(ConversationIdentity, SaysWhatANameIs) {
    for (auto const& [name, where] : {std::pair{std::string(257, 'x'), "x-session-id"}, {"a\tb", "x-session-id"}}) {
        auto const found = ask("", {{"X-Session-Id", name}});
        ASSERT_FALSE(found);
        EXPECT_EQ(found.error().param, where);
    }
    EXPECT_EQ(session("", {{"X-Session-Id", std::string(256, 'x')}}), std::string(256, 'x'));
}

TEST(ConversationIdentity, OpenWebUiSendsEverythingAndHasChatsThatAreNotKept) {
    auto const found = ask("", {{"X-OpenWebUI-Chat-Id", "c"}});
    ASSERT_TRUE(found && *found);
    EXPECT_TRUE((*found)->resends);
    EXPECT_EQ(session("", {{"X-OpenWebUI-Chat-Id", "local:1"}}), "none");
    EXPECT_EQ(session(R"(,"session_id":"local:1")"), "local:1") << "of another client it is a name";
}

TEST(ConversationIdentity, KnowsARetry) {
    auto const is_retry = [](char const* count) {
        return (*ask(R"(,"session_id":"a")", {{"X-Stainless-Retry-Count", count}}))->is_retry;
    };
    EXPECT_FALSE(is_retry("0"));
    EXPECT_TRUE(is_retry("1"));
    EXPECT_FALSE(is_retry("x"));
    EXPECT_EQ((*ask(R"(,"session_id":"a")", {{"Idempotency-Key", "k"}}))->idempotency_key, "k");
}

} // namespace
} // namespace parley::server
