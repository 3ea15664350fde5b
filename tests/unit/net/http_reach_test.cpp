// Where a client may connect to when somebody else names the URL.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <gtest/gtest.h>

#include <optional>

#include "net/http_client.hpp"
#include "net/http_server.hpp"

namespace parley::net {
namespace {

class Hello final : public HttpHandler {
public:
    std::optional<Response> admit(RequestHead const&, Ticket&) override { return std::nullopt; }
    core::Awaitable<void> handle(Request&, Exchange& exchange) override {
        ++asked;
        Response response;
        response.headers = {{"www-authenticate", "Negotiate"}, {"www-authenticate", "Bearer"}};
        exchange.respond(std::move(response));
        co_return;
    }
    Response refuse(int status, std::string_view) override { return {.status = status}; }
    int asked = 0;
};

class HttpReachTest : public ::testing::Test {
protected:
    core::Result<int> get(std::string host, std::optional<AddressKind> reach) {
        Loop loop({core::LogLevel::kError, core::LogFormat::kText, 2, false, false});
        boost::asio::thread_pool pool(1);
        HttpServer server(loop, hello_, {}, {});
        auto const port = server.listen("127.0.0.1", 0).value();
        server.start();
        HttpClient client(loop, pool);
        auto upstream = std::make_shared<Upstream>();
        upstream->name = "test";
        upstream->url = {false, std::move(host), port, {}};
        upstream->reach = reach;
        std::optional<core::Result<int>> result;
        auto done = [&](std::exception_ptr error) {
            EXPECT_FALSE(error);
            loop.stop();
        };
        boost::asio::co_spawn(loop.context(), fetch(client, upstream, result), done);
        loop.run();
        return std::move(*result);
    }

    static core::Awaitable<void> fetch(HttpClient& client, std::shared_ptr<Upstream const> upstream,
                                       std::optional<core::Result<int>>& result) {
        core::Cancellation cancellation;
        core::Context const context{cancellation};
        auto request = ClientRequest{"GET", "/", {}, {}};
        auto const exchange = co_await client.send(context, upstream, std::move(request));
        if (!exchange) {
            result = exchange.error();
            co_return;
        }
        auto const body = co_await HttpClient::read_all(**exchange, 100);
        EXPECT_TRUE(body);
        auto const place = co_await client.place_of(context, "127.0.0.1", std::chrono::seconds(5));
        EXPECT_EQ(place.value(), AddressKind::kLoopback);
        EXPECT_EQ((*exchange)->header("www-authenticate"), "Negotiate");
        EXPECT_EQ((*exchange)->header_list("www-authenticate"), "Negotiate, Bearer");
        EXPECT_EQ((*exchange)->header_list("x-absent"), "");
        result = (*exchange)->status();
    }

    Hello hello_;
};

TEST_F(HttpReachTest, ConfiguredUrlsMayBeAnywhere) {
    EXPECT_EQ(get("127.0.0.1", std::nullopt).value(), 200);
}

TEST_F(HttpReachTest, NamedUrlsMayBeInTheSameKindOfPlace) {
    EXPECT_EQ(get("127.0.0.1", AddressKind::kLoopback).value(), 200);
    EXPECT_EQ(get("localhost", AddressKind::kLoopback).value(), 200);
}

TEST_F(HttpReachTest, NobodyConnectsToOtherPlaces) {
    for (auto const* const host : {"127.0.0.1", "localhost", "127.1", "::ffff:127.0.0.1"}) {
        for (auto const reach : {AddressKind::kPublic, AddressKind::kPrivate, AddressKind::kNone}) {
            auto const got = get(host, reach);
            ASSERT_FALSE(got) << host;
            EXPECT_EQ(got.error().code, core::Errc::kUpstreamUnavailable);
            EXPECT_NE(got.error().message.find("not a public one"), std::string::npos) << got.error().message;
        }
    }
    EXPECT_EQ(hello_.asked, 0);
}

} // namespace
} // namespace parley::net
