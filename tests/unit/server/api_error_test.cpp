// Every error code as a client of the OpenAI API sees it: status, type, code, retry headers.
#include "server/api_error.hpp"

#include <boost/json.hpp>
#include <gtest/gtest.h>

#include <chrono>
#include <optional>
#include <set>
#include <string>
#include <string_view>

#include "core/json.hpp"
#include "core/result.hpp"

namespace parley::server {
namespace {

using core::Errc;
using namespace std::chrono_literals;

std::optional<std::string> header(ApiError const& answer, std::string_view name) {
    for (auto const& [key, value] : answer.headers) {
        if (key == name) return value;
    }
    return {};
}

struct Row {
    Errc errc;
    int status;
    char const* type;
    char const* code;
    char const* should_retry; // nullptr = not sent
    char const* retry_after;  // nullptr = not sent
};

constexpr Row kRows[] = {
    {Errc::kInvalidJson, 400, "invalid_request_error", "invalid_json", nullptr, nullptr},
    {Errc::kMissingParameter, 400, "invalid_request_error", "missing_required_parameter", nullptr, nullptr},
    {Errc::kInvalidType, 400, "invalid_request_error", "invalid_type", nullptr, nullptr},
    {Errc::kInvalidValue, 400, "invalid_request_error", "invalid_value", nullptr, nullptr},
    {Errc::kUnsupportedValue, 400, "invalid_request_error", "unsupported_value", nullptr, nullptr},
    {Errc::kContextLengthExceeded, 400, "invalid_request_error", "context_length_exceeded", nullptr, nullptr},
    {Errc::kContentFilter, 400, "invalid_request_error", "content_filter", nullptr, nullptr},
    {Errc::kInvalidApiKey, 401, "invalid_request_error", "invalid_api_key", nullptr, nullptr},
    {Errc::kPermissionDenied, 403, "invalid_request_error", "insufficient_permissions", nullptr, nullptr},
    {Errc::kModelNotFound, 404, "invalid_request_error", "model_not_found", nullptr, nullptr},
    {Errc::kConversationNotFound, 404, "invalid_request_error", "conversation_not_found", nullptr, nullptr},
    {Errc::kUnknownUrl, 404, "invalid_request_error", "unknown_url", nullptr, nullptr},
    {Errc::kMethodNotAllowed, 405, "invalid_request_error", "method_not_allowed", nullptr, nullptr},
    {Errc::kPayloadTooLarge, 413, "invalid_request_error", "request_too_large", nullptr, nullptr},
    {Errc::kUnsupportedMediaType, 415, "invalid_request_error", "unsupported_media_type", nullptr, nullptr},
    {Errc::kRateLimited, 429, "rate_limit_error", "rate_limit_exceeded", nullptr, "1"},
    {Errc::kInsufficientQuota, 429, "insufficient_quota", "insufficient_quota", "false", nullptr},
    {Errc::kToolNameConflict, 400, "invalid_request_error", "tool_name_conflict", nullptr, nullptr},
    {Errc::kConflict, 409, "invalid_request_error", "conflict", "false", nullptr},
    {Errc::kRequestInProgress, 409, "invalid_request_error", "request_in_progress", nullptr, "1"},
    {Errc::kIdempotencyKeyReused, 400, "idempotency_error", "idempotency_key_reused", nullptr, nullptr},
    {Errc::kUpstreamUnavailable, 502, "server_error", "upstream_unavailable", nullptr, nullptr},
    {Errc::kUpstreamTimeout, 504, "server_error", "upstream_timeout", nullptr, nullptr},
    {Errc::kUpstreamTls, 502, "server_error", "upstream_tls_error", "false", nullptr},
    {Errc::kUpstreamAuth, 502, "server_error", "upstream_auth", "false", nullptr},
    {Errc::kUpstreamTruncated, 502, "server_error", "upstream_truncated", nullptr, nullptr},
    {Errc::kUpstreamInvalid, 502, "server_error", "upstream_invalid_response", nullptr, nullptr},
    {Errc::kUpstreamOverloaded, 503, "service_unavailable_error", "upstream_overloaded", nullptr, "1"},
    {Errc::kUpstreamRejected, 502, "server_error", "upstream_rejected", "false", nullptr},
    {Errc::kUpstreamFailed, 502, "server_error", "upstream_error", nullptr, nullptr},
    {Errc::kAgentUnavailable, 503, "service_unavailable_error", "agent_unavailable", "false", nullptr},
    {Errc::kStoreUnavailable, 503, "service_unavailable_error", "store_unavailable", nullptr, "1"},
    {Errc::kOverloaded, 503, "service_unavailable_error", "server_is_overloaded", nullptr, "1"},
    {Errc::kDraining, 503, "service_unavailable_error", "server_draining", nullptr, "1"},
    {Errc::kDeadlineExceeded, 504, "server_error", "deadline_exceeded", "false", nullptr},
    {Errc::kCancelled, 499, "server_error", "request_cancelled", "false", nullptr},
    {Errc::kInternal, 500, "server_error", "internal_error", nullptr, nullptr},
};

TEST(ApiError, EveryCodeHasItsAnswer) {
    static_assert(std::size(kRows) == static_cast<std::size_t>(Errc::kInternal) + 1, "a row for each code");
    std::set<Errc> seen;
    std::set<std::string_view> codes;
    for (auto const& row : kRows) {
        SCOPED_TRACE(row.code);
        EXPECT_TRUE(seen.insert(row.errc).second);
        EXPECT_TRUE(codes.insert(row.code).second) << "two errors with one name";
        auto const answer = to_api_error(core::make_error(row.errc, "what happened", "messages[1].content"));
        EXPECT_EQ(answer.status, row.status);
        auto const body = boost::json::parse(answer.body).as_object();
        ASSERT_EQ(body.size(), 1U);
        auto const& error = body.at("error").as_object();
        EXPECT_EQ(error.size(), 4U);
        EXPECT_EQ(error.at("message"), "what happened");
        EXPECT_EQ(error.at("type"), row.type);
        EXPECT_EQ(error.at("param"), "messages[1].content");
        EXPECT_EQ(error.at("code"), row.code);
        EXPECT_EQ(header(answer, "x-should-retry"),
                  row.should_retry ? std::optional<std::string>(row.should_retry) : std::nullopt);
        EXPECT_EQ(header(answer, "retry-after"),
                  row.retry_after ? std::optional<std::string>(row.retry_after) : std::nullopt);
    }
}

TEST(ApiError, ParamIsNullWhenThereIsNoneAndTheMessageIsNeverEmpty) {
    auto const body = boost::json::parse(to_api_error(core::make_error(Errc::kInternal, "")).body);
    EXPECT_TRUE(body.at("error").at("param").is_null());
    EXPECT_EQ(body.at("error").at("message"), "internal_error");
}

TEST(ApiError, NeverShowsTheDetailAndAlwaysPrintsValidJson) {
    auto const answer = to_api_error(core::make_error(Errc::kInternal, "a\"b\\\n\xFF", "p\"", "secret detail"));
    EXPECT_TRUE(core::check_json(answer.body, 8)) << answer.body;
    EXPECT_EQ(answer.body.find("secret"), std::string::npos);
}

TEST(ApiError, StatesTheWaitInBothUnits) {
    auto error = core::make_error(Errc::kRateLimited, "slow down");
    error.retry_after = 1500ms;
    auto answer = to_api_error(error);
    EXPECT_EQ(header(answer, "retry-after"), "2");
    EXPECT_EQ(header(answer, "retry-after-ms"), "1500");
    error.retry_after = 20ms;
    answer = to_api_error(error);
    EXPECT_EQ(header(answer, "retry-after"), "1") << "an integer of at least 1";
    EXPECT_EQ(header(answer, "retry-after-ms"), "20");
    error.retry_after = -5ms;
    EXPECT_EQ(header(to_api_error(error), "retry-after-ms"), "0");
    error.retry_after = std::chrono::milliseconds::max(); // a provider said 10^9 s or worse
    EXPECT_EQ(header(to_api_error(error), "retry-after"), "86400");
}

TEST(ApiError, WhatTheErrorSaysOfRetriesBeatsTheTable) {
    auto error = core::make_error(Errc::kUpstreamUnavailable, "gone");
    error.should_retry = false; // a tool with side effects has run
    error.retry_after = 5s;
    auto const answer = to_api_error(error);
    EXPECT_EQ(header(answer, "x-should-retry"), "false");
    EXPECT_EQ(header(answer, "retry-after"), std::nullopt) << "no wait where no retry is wanted";
    error.code = Errc::kUpstreamAuth;
    error.should_retry = true;
    EXPECT_EQ(header(to_api_error(error), "x-should-retry"), "true");
}

TEST(ApiError, ARejectionByTheProviderIsTheClientsOnlyWhenItIsAboutTheRequest) {
    auto error = core::make_error(Errc::kUpstreamRejected, "no");
    for (int const status : {400, 422}) {
        error.upstream_status = status;
        EXPECT_EQ(to_api_error(error).status, 400);
        EXPECT_NE(to_api_error(error).body.find("invalid_request_error"), std::string::npos);
    }
    for (int const status : {401, 403, 404, 405, 418}) {
        error.upstream_status = status;
        EXPECT_EQ(to_api_error(error).status, 502) << status;
    }
}

TEST(ApiError, SaysHowToAuthenticate) {
    EXPECT_EQ(header(to_api_error(core::make_error(Errc::kInvalidApiKey, "no")), "www-authenticate"), "Bearer");
}

TEST(IsRetryable, OnlyWhatAnotherAttemptCouldChange) {
    std::set<Errc> const retryable = {
        Errc::kRateLimited,      Errc::kUpstreamUnavailable, Errc::kUpstreamTimeout,  Errc::kUpstreamTls,
        Errc::kUpstreamAuth,     Errc::kUpstreamTruncated,   Errc::kUpstreamInvalid,  Errc::kUpstreamOverloaded,
        Errc::kUpstreamRejected, Errc::kUpstreamFailed,      Errc::kAgentUnavailable,
    };
    for (auto const& row : kRows) {
        auto error = core::make_error(row.errc, "x");
        EXPECT_EQ(core::is_retryable(error), retryable.contains(row.errc)) << row.code;
        error.should_retry = false;
        EXPECT_FALSE(core::is_retryable(error)) << row.code;
    }
    auto error = core::make_error(Errc::kUpstreamRejected, "x");
    error.upstream_status = 400;
    EXPECT_FALSE(core::is_retryable(error)) << "the same request would be refused again";
    error.code = Errc::kInsufficientQuota;
    error.upstream_status = 429;
    EXPECT_TRUE(core::is_retryable(error)) << "the account of one provider: a fallback may have another";
}

} // namespace
} // namespace parley::server
