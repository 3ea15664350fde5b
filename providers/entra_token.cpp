#include "providers/entra_token.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/value.hpp>

#include <chrono>

#include "core/header_text.hpp"
#include "net/form.hpp"

namespace parley::providers {
namespace {

constexpr std::chrono::minutes kRenewBefore{5};
constexpr std::size_t kAnswerBytesMax = 64 * 1024;

std::string string_member(boost::json::value const& value, std::string_view name) {
    auto const* const object = value.if_object();
    auto const* const member = object ? object->if_contains(name) : nullptr;
    auto const* const text = member ? member->if_string() : nullptr;
    return text ? std::string(text->data(), text->size()) : std::string();
}

} // namespace

core::Task<std::string> entra_token(Session& session, core::Context const& context, std::string const& provider,
                                    EntraOptions const& options) {
    auto const kept = session.tokens.find(provider);
    auto const now = std::chrono::steady_clock::now();
    if (kept != session.tokens.end() && now + kRenewBefore < kept->second.expires) co_return kept->second.value;

    net::ClientRequest request;
    request.target = options.token_server->url.path;
    request.headers = "content-type: application/x-www-form-urlencoded\r\naccept: application/json\r\n";
    net::append_form(request.body, "grant_type", "client_credentials");
    net::append_form(request.body, "client_id", options.client_id);
    net::append_form(request.body, "client_secret", options.client_secret.reveal());
    net::append_form(request.body, "scope", "https://cognitiveservices.azure.com/.default");
    auto exchange = co_await session.http.send(context, options.token_server, std::move(request));
    if (!exchange) co_return exchange.error();
    auto const body = co_await net::HttpClient::read_all(**exchange, kAnswerBytesMax);
    if (!body) co_return body.error();

    boost::system::error_code bad;
    auto const answer = boost::json::parse(*body, bad);
    auto token = bad ? std::string() : string_member(answer, "access_token");
    if ((*exchange)->status() != 200 || token.empty() || !core::is_header_value(token)) {
        auto const code = bad ? std::string() : string_member(answer, "error");
        co_return core::make_error(
            core::Errc::kUpstreamAuth,
            "Provider '" + provider + "' cannot be used: the Entra token server refused our credentials.", {},
            "status " + std::to_string((*exchange)->status()) + " " + code);
    }
    auto lifetime = std::chrono::seconds(3600);
    auto const* const expires = answer.as_object().if_contains("expires_in");
    if (expires && expires->is_int64()) lifetime = std::chrono::seconds(expires->as_int64());
    session.tokens[provider] = Session::Token{token, now + lifetime};
    co_return token;
}

} // namespace parley::providers
