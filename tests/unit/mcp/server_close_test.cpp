// A server that is closed at any moment of its start: nothing of it may be left, and nobody may wait for ever.
#include <boost/asio/co_spawn.hpp>
#include <boost/asio/post.hpp>
#include <boost/asio/thread_pool.hpp>
#include <gtest/gtest.h>

#include <memory>
#include <string>

#include "mcp/server.hpp"
#include "net/http_client.hpp"
#include "net/http_server.hpp"

namespace parley::mcp {
namespace {

// A tool server of the era with sessions, on the loop of its client.
class SmallServer final : public net::HttpHandler {
public:
    std::optional<net::Response> admit(net::RequestHead const&, net::Ticket&) override { return std::nullopt; }
    net::Response refuse(int status, std::string_view) override { return {.status = status}; }

    core::Awaitable<void> handle(net::Request& request, net::Exchange& exchange) override {
        exchange.respond(answer(request));
        co_return;
    }

    int lists = 0;

private:
    net::Response answer(net::Request const& request) {
        if (request.head.method != "POST") return {.status = 405};
        auto const message = to_message(parse_json(request.body).value()).value();
        if (message.kind != Message::Kind::kRequest) return {.status = 202};
        if (message.method == "initialize") {
            return {.body = make_response(message.id, {{"protocolVersion", "2025-11-25"},
                                                       {"capabilities", boost::json::object{}},
                                                       {"serverInfo", boost::json::object{}}})};
        }
        ++lists;
        return {.body = make_response(message.id, {{"tools", boost::json::array{}}})};
    }
};

// All of one run on one loop.
struct World {
    World() {
        spec->label = "small";
        spec->transport = Transport::kHttp;
        spec->era = Era::kLegacy;
        spec->url = core::Secret("http://127.0.0.1:" + std::to_string(http_server.listen("127.0.0.1", 0).value()));
        http_server.start();
        server = std::make_unique<Server>(TransportParts{.loop = loop, .http = http}, spec, pins, loop.metrics());
    }

    core::Awaitable<void> use() {
        core::Cancellation never;
        core::Context const context{never};
        Caller const caller{"anonymous"};
        auto const tools = co_await server->tools(context, caller);
        was_told = tools || !tools.error().message.empty();
    }

    // `turns` of the loop later.
    core::Awaitable<void> close_after(int turns) {
        for (auto turn = 0; turn < turns; ++turn)
            co_await boost::asio::post(loop.executor(), net::use_awaitable);
        co_await server->close();
        loop.stop();
    }

    void run(int turns) {
        auto const ended = [](std::exception_ptr error) { EXPECT_FALSE(error); };
        boost::asio::co_spawn(loop.context(), use(), ended);
        boost::asio::co_spawn(loop.context(), close_after(turns), ended);
        loop.run();
    }

    net::Loop loop{{core::LogLevel::kError, core::LogFormat::kText, 2, false, false}};
    boost::asio::thread_pool pool{1};
    net::HttpClient http{loop, pool};
    SmallServer small;
    net::HttpServer http_server{loop, small, {}, {}};
    Pins pins{""};
    std::shared_ptr<ServerSpec> spec = std::make_shared<ServerSpec>();
    std::unique_ptr<Server> server;
    bool was_told = false;
};

TEST(ServerCloseTest, AtAnyMomentOfTheStartNoSessionIsLeft) {
    auto listed = 0;
    for (auto turns = 0; turns < 400 && listed < 20; ++turns) {
        World world;
        world.run(turns);
        EXPECT_EQ(world.server->health().sessions, 0U) << turns;
        EXPECT_TRUE(world.server->is_idle()) << turns;
        EXPECT_TRUE(world.was_told) << turns;
        listed += world.small.lists;
    }
    EXPECT_GT(listed, 0) << "the whole start was gone through";
}

} // namespace
} // namespace parley::mcp
