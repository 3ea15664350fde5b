// Idempotent requests: the header, what makes two requests the same, the store, and answers sent again.
#include "server/idempotency.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/io_context.hpp>
#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <optional>
#include <string>
#include <thread>
#include <utility>
#include <vector>

#include "core/json.hpp"
#include "server/api_error.hpp"
#include "server/conversation_identity.hpp"
#include "server/memory_idempotency_store.hpp"
#include "server/stored_answer.hpp"

namespace parley::server {
namespace {

namespace js = boost::json;
using namespace chat;
using State = IdempotencyStore::State;
using Found = IdempotencyStore::Found;

template <class T>
core::Awaitable<void> into(std::optional<T>& result, core::Awaitable<T> task) {
    result = co_await std::move(task);
}

template <class T>
T wait(core::Awaitable<T> task) {
    boost::asio::io_context context;
    std::optional<T> result;
    boost::asio::co_spawn(context, into(result, std::move(task)), [](std::exception_ptr failed) {
        if (failed) std::rethrow_exception(failed);
    });
    context.run();
    return std::move(*result);
}

net::RequestHead head_with(std::vector<net::Field> fields) {
    net::RequestHead head;
    head.fields = std::move(fields);
    return head;
}

TEST(IdempotencyKey, OneToTwoHundredFiftyFiveVisibleCharacters) {
    std::string const longest(255, 'k');
    EXPECT_EQ(*idempotency_key(head_with({})), "");
    for (std::string_view const good :
         {std::string_view("k"), std::string_view(longest),
          std::string_view("\"8e03978e-40d5-43dd-bc93-6894a57f9324\""), std::string_view("!~")}) {
        EXPECT_EQ(*idempotency_key(head_with({{"Idempotency-Key", good}})), good);
    }
    std::string const too_long(256, 'k');
    for (std::string_view const bad : {std::string_view(""), std::string_view(too_long), std::string_view("a b"),
                                       std::string_view("caf\xC3\xA9"), std::string_view("a\tb")}) {
        auto const key = idempotency_key(head_with({{"idempotency-key", bad}}));
        ASSERT_FALSE(key) << bad;
        EXPECT_EQ(to_api_error(key.error()).status, 400);
        EXPECT_EQ(key.error().param, "idempotency-key");
    }
    EXPECT_FALSE(idempotency_key(head_with({{"idempotency-key", "a"}, {"Idempotency-Key", "a"}})));
}

core::Sha256 fingerprint(std::string body, std::vector<net::Field> fields = {},
                         std::vector<std::string> const& session_headers = default_session_headers()) {
    auto const request = parse_chat_request(std::move(body));
    EXPECT_TRUE(request);
    return request_fingerprint(*request, head_with(std::move(fields)), session_headers);
}

TEST(IdempotencyFingerprint, IsOfWhatIsAskedNotOfHowItIsSent) {
    auto const asked = fingerprint(R"({"model":"m","messages":[{"role":"user","content":"a"}],"seed":1,"top_p":1})");
    EXPECT_EQ(asked, fingerprint(R"({"top_p":1,"stream":true,"stream_options":{"include_usage":true},"seed":1,
                                     "messages":[{"role":"user","content":"a"}],"model":"m"})"));
    for (
        auto const* const other : {
            R"({"model":"n","messages":[{"role":"user","content":"a"}],"seed":1,"top_p":1})",
            R"({"model":"m","messages":[{"role":"user","content":"b"}],"seed":1,"top_p":1})",
            R"({"model":"m","messages":[{"role":"user","content":"a"}],"seed":2,"top_p":1})",
            R"({"model":"m","messages":[{"role":"user","content":"a"}],"seed":1})",
            R"({"model":"m","messages":[{"role":"user","content":"a"},{"role":"user","content":"a"}],"seed":1,"top_p":1})",
            R"({"model":"m","messages":[{"role":"user","content":"a"}],"seed":1,"top_p":1,"tool_choice":"none"})",
        }) {
        EXPECT_NE(asked, fingerprint(other)) << other;
    }
    std::string const body = R"({"model":"m","messages":[{"role":"user","content":"a"}],"seed":1,"top_p":1})";
    EXPECT_NE(asked, fingerprint(body, {{"X-Session-Id", "s"}})) << "another conversation";
    EXPECT_NE(fingerprint(body, {{"x-user-id", "s"}}), fingerprint(body, {{"x-session-id", "s"}}));
    EXPECT_EQ(asked, fingerprint(body, {{"x-stainless-retry-count", "1"}, {"x-request-id", "r"}}));
}

TEST(IdempotencyFingerprint, IsOfTheConversationThatTheSettingsName) {
    auto const* const body = R"({"model":"m","messages":[{"role":"user","content":"a"}]})";
    auto const in = [body](std::string thread) { return fingerprint(body, {{"x-thread", thread}}, {"x-thread"}); };
    EXPECT_EQ(in("a"), in("a"));
    EXPECT_NE(in("a"), in("b"));
}

// ---- the store

class IdempotencyStoreTest : public ::testing::Test {
protected:
    MemoryIdempotencyStore& store() {
        if (!store_) store_.emplace(limits_, [this] { return now_; });
        return *store_;
    }

    Found claim(std::string key, std::string_view asked = "a", std::string principal = "p") {
        core::Context const context{cancellation_};
        auto found = wait(store().claim(context, {std::move(principal), "/r", std::move(key)}, core::sha256(asked)));
        EXPECT_TRUE(found);
        return std::move(*found);
    }

    void answer(std::string key, std::string text) {
        auto found = claim(std::move(key));
        ASSERT_EQ(found.state, State::kNew);
        EXPECT_TRUE(wait(found.claim->keep(std::move(text))));
    }

    IdempotencyLimits limits_;
    core::SteadyTime now_{std::chrono::hours(1)};

private:
    core::Cancellation cancellation_;
    std::optional<MemoryIdempotencyStore> store_;
};

TEST_F(IdempotencyStoreTest, OneAnswersTheOthersWaitOrAreReplayed) {
    auto first = claim("k");
    ASSERT_EQ(first.state, State::kNew);
    ASSERT_TRUE(first.claim);
    EXPECT_EQ(claim("k").state, State::kInProgress);
    EXPECT_EQ(claim("k", "b").state, State::kOtherRequest);
    EXPECT_TRUE(wait(first.claim->keep("text")));
    first.claim.reset();
    auto const again = claim("k");
    ASSERT_EQ(again.state, State::kAnswered);
    EXPECT_EQ(*again.answer, "text");
    EXPECT_EQ(claim("k", "b").state, State::kOtherRequest);
    EXPECT_EQ(claim("k", "a", "somebody else").state, State::kNew);
    EXPECT_EQ(store().size().in_progress, 0U);
}

TEST_F(IdempotencyStoreTest, AClaimThatDiesLetsTheNextOneTry) {
    claim("k").claim.reset();
    auto const next = claim("k", "even another request");
    EXPECT_EQ(next.state, State::kNew);
    EXPECT_EQ(store().size().in_progress, 1U);
}

TEST_F(IdempotencyStoreTest, ForgetsAfterADay) {
    answer("k", "text");
    now_ += std::chrono::hours(24) - std::chrono::milliseconds(1);
    EXPECT_EQ(claim("k").state, State::kAnswered);
    now_ += std::chrono::milliseconds(1);
    EXPECT_EQ(claim("k").state, State::kNew);
    EXPECT_EQ(store().size().bytes, 0U);
}

TEST_F(IdempotencyStoreTest, IsBounded) {
    limits_.entries_max = 3;
    limits_.bytes_max = 3000;
    limits_.answer_bytes_max = 1500;
    auto const running = claim("running");
    for (int i = 0; i < 5; ++i)
        answer("k" + std::to_string(i), "text");
    EXPECT_EQ(store().size().entries, 3U);
    EXPECT_EQ(claim("k1").state, State::kNew) << "the oldest go first";
    EXPECT_EQ(claim("k2").state, State::kAnswered);
    answer("large", std::string(1500, 'x'));
    answer("larger", std::string(1500, 'x'));
    EXPECT_LE(store().size().bytes, 3000U);
    EXPECT_EQ(claim("larger").state, State::kAnswered);
    EXPECT_EQ(claim("large").state, State::kNew);
    answer("too large", std::string(1501, 'x'));
    EXPECT_EQ(claim("too large").state, State::kNotKept) << "but it is not run again";
    EXPECT_EQ(claim("running").state, State::kInProgress) << "never forgotten while it runs";
}

TEST_F(IdempotencyStoreTest, AClaimMayOutliveTheStore) {
    Found late;
    {
        MemoryIdempotencyStore short_lived;
        core::Cancellation cancellation;
        core::Context const context{cancellation};
        late = *wait(short_lived.claim(context, {"p", "r", "k"}, {}));
    }
    EXPECT_TRUE(wait(late.claim->keep("text")));
}

TEST_F(IdempotencyStoreTest, ManyLoopsOneWinner) {
    (void)store(); // made here, not by whichever thread comes first
    for (int round = 0; round < 50; ++round) {
        std::atomic<int> winners{0};
        std::vector<std::thread> loops;
        for (int i = 0; i < 4; ++i) {
            loops.emplace_back([&, key = std::to_string(round)] {
                auto found = claim(key);
                if (found.state != State::kNew) return;
                ++winners;
                EXPECT_TRUE(wait(found.claim->keep("text")));
            });
        }
        for (auto& loop : loops)
            loop.join();
        EXPECT_EQ(winners, 1);
    }
    EXPECT_EQ(store().size().entries, 50U);
}

TEST(IdempotencyError, SaysWhatToDo) {
    auto const header = [](ApiError const& error, std::string_view name) -> std::string {
        for (auto const& [key, value] : error.headers) {
            if (key == name) return value;
        }
        return {};
    };
    auto const busy = to_api_error(idempotency_error(State::kInProgress));
    EXPECT_EQ(busy.status, 409);
    EXPECT_EQ(header(busy, "x-should-retry"), "true");
    EXPECT_EQ(header(busy, "retry-after"), "1");
    auto const other = to_api_error(idempotency_error(State::kOtherRequest));
    EXPECT_EQ(other.status, 400);
    EXPECT_EQ(header(other, "x-should-retry"), "false");
    auto const error = js::parse(other.body).at("error");
    EXPECT_EQ(error.at("type"), "idempotency_error");
    EXPECT_EQ(error.at("code"), "idempotency_key_reused");
    EXPECT_EQ(error.at("param"), "idempotency-key");
    EXPECT_EQ(to_api_error(idempotency_error(State::kNotKept)).status, 400);
}

// ---- answers sent again

std::vector<RunEvent> a_rich_run() {
    UsageReport report;
    report.usage.prompt_tokens = 10;
    report.usage.completion_tokens = 8;
    report.usage.cached_tokens = 4;
    report.usage.cache_write_tokens = 2;
    report.usage.reasoning_tokens = 3;
    report.usage.cost_usd = 0.00125;
    report.agent = AgentUsage{3, 2, 5, 4, 1, 7, StopReason::kMaxToolCalls};
    return {ModelReport{"up", "fp_1", "flex"},
            ReasoningDelta{"hm \\u00e9"},
            ToolStarted{"call_\"1", "fs__read", "{\"a\":\"\n\"}"},
            ToolEnded{"call_\"1", "fs__read", "two\nlines", true, 12},
            TextDelta{"Hé \\\"x\\\"\\n", R"({"content":[{"token":"a"}],"refusal":null})"},
            TextDelta{"", {}, 1},
            RefusalDelta{"no", 1},
            DeltaField{"annotations", R"([{"url":"u","n":12345678901234567890}])", 0},
            ToolCallDelta{0, "id0", "f", "", 0},
            ToolCallDelta{0, {}, {}, R"({\"x\":1})", 0},
            ToolCallDelta{1, "id1", "g", "{}", 0},
            ChoiceEnd{FinishReason::kToolCalls, 0},
            ChoiceEnd{FinishReason::kContentFilter, 1},
            report};
}

std::string as_json(ChatReplyHead const& head, std::vector<RunEvent> const& events) {
    ChatJsonWriter writer(head);
    writer.write(events);
    std::string out;
    writer.finish(out);
    return out;
}

TEST(StoredAnswer, IsTheSameObjectAgain) {
    ChatReplyHead const head{"chatcmpl-1", 1700000000, "team/\"x\"", false, 2, ToolDisplay::kEvents};
    auto const first = as_json(head, a_rich_run());
    auto const stored = read_stored_answer(first);
    ASSERT_TRUE(stored);
    EXPECT_EQ(stored->head.id, head.id);
    EXPECT_EQ(stored->head.model, head.model);
    EXPECT_EQ(stored->head.created, head.created);
    EXPECT_EQ(stored->head.choices, 2);
    auto again = stored->head;
    again.tools = ToolDisplay::kEvents;
    EXPECT_EQ(as_json(again, stored->events), first);
    again.tools = ToolDisplay::kQuiet;
    EXPECT_FALSE(js::parse(as_json(again, stored->events)).as_object().contains("agent"));
}

TEST(StoredAnswer, IsAStreamToo) {
    ChatReplyHead head{"chatcmpl-1", 1700000000, "m", true, 2, ToolDisplay::kEvents};
    auto const stored = read_stored_answer(as_json(head, a_rich_run()));
    ASSERT_TRUE(stored);
    ChatStreamWriter writer(head);
    std::string out;
    writer.write(stored->events, out);
    writer.finish(out);
    std::string text;
    std::string reasoning;
    std::string finish;
    int agent = 0;
    js::value usage;
    for (std::size_t at = 0, end = 0; (end = out.find("\n\n", at)) != out.npos; at = end + 2) {
        auto const line = out.substr(at + 6, end - at - 6);
        if (line == "[DONE]") break;
        auto const chunk = js::parse(line).as_object();
        agent += chunk.contains("agent") ? 1 : 0;
        if (!chunk.at("usage").is_null()) usage = chunk.at("usage");
        for (auto const& choice : chunk.at("choices").as_array()) {
            if (choice.at("index") != 0) continue;
            auto const& delta = choice.at("delta").as_object();
            if (auto const* value = delta.if_contains("content")) text += value->as_string();
            if (auto const* value = delta.if_contains("reasoning")) reasoning += value->as_string();
            if (choice.at("finish_reason").is_string()) finish = choice.at("finish_reason").as_string();
        }
    }
    EXPECT_EQ(text, "Hé \"x\"\n");
    EXPECT_EQ(reasoning, "hm é");
    EXPECT_EQ(finish, "tool_calls");
    EXPECT_EQ(agent, 2);
    EXPECT_EQ(usage.at("total_tokens"), 18);
    EXPECT_EQ(usage.at("agent").at("stop_reason"), "max_tool_calls");
    EXPECT_TRUE(out.ends_with("data: [DONE]\n\n"));
}

TEST(StoredAnswer, TheEmptyAnswer) {
    ChatReplyHead const head{"chatcmpl-1", 1, "m", false, 1};
    auto const first = as_json(head, {});
    auto const stored = read_stored_answer(first);
    ASSERT_TRUE(stored);
    EXPECT_EQ(as_json(stored->head, stored->events), first);
}

TEST(StoredAnswer, OtherTextsAreRefused) {
    for (std::string_view const text : {"", "{}", "[]", "null", R"({"id":"x"})", R"({"id":"x","choices":3})",
                                        R"({"id":"x","choices":[3]})", R"({"id":"x","choices":[{}]})", "{"}) {
        EXPECT_FALSE(read_stored_answer(text)) << text;
    }
}

} // namespace
} // namespace parley::server
