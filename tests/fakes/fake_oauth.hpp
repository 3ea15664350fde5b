// A tool server and its authorization server in one, on a port of this machine: what an authorizer talks to. Each
// answer is a member that a test may change before it runs. One loop; everything ends with run().
#pragma once

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <functional>
#include <memory>
#include <optional>
#include <string>
#include <utility>
#include <vector>

#include "mcp/auth.hpp"
#include "mcp/headless_approver.hpp"
#include "net/form.hpp"
#include "net/http_client.hpp"
#include "net/http_server.hpp"

namespace parley::fakes {

class FakeOAuth final : public net::HttpHandler {
public:
    FakeOAuth() {
        port = server_.listen("127.0.0.1", 0).value();
        server_.start();
        origin = "http://127.0.0.1:" + std::to_string(port);
        spec->label = "fake";
        spec->transport = mcp::Transport::kHttp;
        spec->url = core::Secret(origin + "/mcp");
        spec->oauth.redirect_uri = std::string(mcp::kHeadlessRedirectUri);
        spec->oauth.grant = mcp::OAuthOptions::Grant::kAuthorizationCode;
        issuer = origin;
        resource = origin + "/mcp";
        token_answer = [this](std::string const&) {
            return net::Response{.body = R"({"access_token":"token-)" + std::to_string(token_requests.size()) +
                                         R"(","token_type":"Bearer")" + token_more + "}"};
        };
    }

    // --- what the servers say
    std::string origin;
    std::string issuer;
    std::string resource;
    std::string metadata_more; // of the authorization server, e.g. ,"x":1
    std::string resource_more; // of the resource metadata
    std::string token_more;    // of token answers
    std::string redirect_more; // of the redirect
    std::function<net::Response(std::string const& form)> token_answer;
    std::vector<std::pair<std::string, net::Response>> extra; // by path, before everything else

    // --- what they saw
    std::vector<std::string> paths;
    std::vector<std::string> token_requests; // forms
    std::vector<std::string> token_authorizations;
    std::vector<std::string> token_proofs;
    std::vector<std::string> authorize_queries;
    std::vector<std::string> registrations;

    // --- the client
    std::shared_ptr<mcp::ServerSpec> spec = std::make_shared<mcp::ServerSpec>();
    core::SteadyTime now{std::chrono::hours(1000)};
    net::Loop loop{{core::LogLevel::kError, core::LogFormat::kText, 2, false, false}};
    boost::asio::thread_pool pool{1};
    net::HttpClient http{loop, pool};
    std::uint16_t port = 0;

    std::unique_ptr<mcp::Authorizer> make(bool with_approver = true) {
        mcp::Approver approver;
        if (with_approver) approver = mcp::make_headless_approver(http);
        return mcp::make_authorizer(spec, loop, http, std::move(approver), {}, [this] { return now; });
    }

    void run(std::function<core::Awaitable<void>()> const& work) {
        auto done = [this](std::exception_ptr error) {
            EXPECT_FALSE(error);
            loop.stop();
        };
        boost::asio::co_spawn(loop.context(), work(), done);
        loop.run();
    }

    std::size_t count(std::string_view path) const { return static_cast<std::size_t>(std::ranges::count(paths, path)); }

    static std::string field(std::string const& form, std::string_view name) {
        auto const value = net::form_value(form, name);
        return value && *value ? **value : "(absent)";
    }

    std::optional<net::Response> admit(net::RequestHead const&, net::Ticket&) override { return std::nullopt; }

    core::Awaitable<void> handle(net::Request& request, net::Exchange& exchange) override {
        std::string target(request.head.target);
        auto const query = std::min(target.find('?'), target.size());
        auto const path = target.substr(0, query);
        paths.push_back(path);
        exchange.respond(answer(path, target.substr(std::min(query + 1, target.size())), request));
        co_return;
    }

    net::Response refuse(int status, std::string_view) override { return {.status = status}; }

private:
    net::Response answer(std::string const& path, std::string const& query, net::Request const& request) {
        for (auto const& [at, response] : extra) {
            if (at == path) return response;
        }
        if (path == "/.well-known/oauth-protected-resource/mcp") {
            return {.body = R"({"resource":")" + resource + R"(","authorization_servers":[")" + issuer + "\"]" +
                            resource_more + "}"};
        }
        if (path == "/.well-known/oauth-authorization-server") {
            return {.body = R"({"issuer":")" + issuer + R"(","authorization_endpoint":")" + origin +
                            R"(/authorize","token_endpoint":")" + origin + R"(/token","registration_endpoint":")" +
                            origin + R"(/register","code_challenge_methods_supported":["S256"])" + metadata_more + "}"};
        }
        if (path == "/register") {
            registrations.push_back(request.body);
            return {.status = 201,
                    .body = R"({"client_id":"client-)" + std::to_string(registrations.size()) +
                            R"(","client_secret":"s3cret"})"};
        }
        if (path == "/authorize") {
            authorize_queries.push_back(query);
            net::Response response{.status = 302};
            response.headers.emplace_back("location", std::string(mcp::kHeadlessRedirectUri) + "?code=the-code&state=" +
                                                          field(query, "state") + redirect_more);
            return response;
        }
        if (path == "/token") {
            token_requests.push_back(request.body);
            token_authorizations.emplace_back(request.head.get("authorization"));
            token_proofs.emplace_back(request.head.get("dpop"));
            return token_answer(request.body);
        }
        return {.status = 404};
    }

    net::HttpServer server_{loop, *this, {}, {}};
};

} // namespace parley::fakes
