// Waiting for a socket's news without losing any.
#include "net/stream.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/write.hpp>
#include <gtest/gtest.h>

#include <array>
#include <functional>
#include <memory>
#include <string>
#include <thread>
#include <vector>

#include <sys/socket.h>

namespace parley::net {
namespace {

using boost::asio::ip::tcp;

class StreamTest : public ::testing::Test {
protected:
    StreamTest() {
        tcp::acceptor acceptor(peers_, {boost::asio::ip::make_address("127.0.0.1"), 0});
        peer_.connect(acceptor.local_endpoint());
        TcpSocket socket(loop_->executor());
        acceptor.accept(socket);
        socket.non_blocking(true);
        stream_ = make_plain_stream(*loop_, std::move(socket));
    }

    void run(core::Awaitable<void> task) {
        auto ended = [this](std::exception_ptr failure) {
            EXPECT_FALSE(failure);
            loop_->stop();
        };
        boost::asio::co_spawn(loop_->context(), std::move(task), std::move(ended));
        loop_->run();
        loop_->context().restart();
    }

    void send(std::string_view bytes) { boost::asio::write(peer_, boost::asio::buffer(bytes)); }

    core::Awaitable<std::string> read() {
        std::array<char, 64> into{};
        auto const got = co_await read_some(*stream_, into);
        if (got.status == IoStatus::kEof) co_return "end";
        if (got.status == IoStatus::kError) co_return "error";
        co_return std::string(into.data(), got.bytes);
    }

    static core::Awaitable<void> wait_for_ever(std::shared_ptr<int>, std::unique_ptr<Stream> stream) {
        for (;;)
            co_await stream->wait();
    }

    // What comes after `first`, read by somebody who waits for it before it is there.
    core::Awaitable<void> read_twice(std::string first, std::function<void()> between, std::string second) {
        auto const one = co_await read();
        EXPECT_EQ(one, first);
        loop_->post(std::move(between));
        auto const two = co_await read();
        EXPECT_EQ(two, second);
    }

    core::Awaitable<void> write(std::string_view bytes) {
        std::array<std::string_view, 1> pieces{bytes};
        auto const written = co_await write_rest(*stream_, pieces);
        EXPECT_TRUE(written);
    }

    std::unique_ptr<Loop> loop_ =
        std::make_unique<Loop>(core::LogOptions{core::LogLevel::kError, core::LogFormat::kText, 2, false, false});
    boost::asio::io_context peers_;
    tcp::socket peer_{peers_};
    std::unique_ptr<Stream> stream_;
};

TEST_F(StreamTest, WaitsForBytes) {
    send("one");
    run(read_twice("one", [this] { send("two"); }, "two"));
}

TEST_F(StreamTest, AnEndThatCameWithTheLastBytesIsSeen) {
    send("one");
    peer_.shutdown(tcp::socket::shutdown_send);
    run(read_twice("one", [] {}, "end"));
    EXPECT_TRUE(stream_->maybe_readable());
}

TEST_F(StreamTest, AnEndThatComesLaterIsSeen) {
    send("one");
    run(read_twice("one", [this] { peer_.shutdown(tcp::socket::shutdown_send); }, "end"));
}

TEST_F(StreamTest, AResetIsSeen) {
    send("one");
    auto reset = [this] {
        peer_.set_option(boost::asio::socket_base::linger(true, 0));
        peer_.close();
    };
    run(read_twice("one", reset, "error"));
    EXPECT_TRUE(stream_->failed());
}

TEST_F(StreamTest, WhoWaitsLearnsOfAnAbort) {
    send("one");
    run(read_twice("one", [this] { stream_->abort(); }, "error"));
    EXPECT_FALSE(stream_->is_open());
}

TEST_F(StreamTest, AnEmptiedSocketIsNotAskedAgain) {
    send("one");
    run(read_twice("one", [this] { send("two"); }, "two"));
    EXPECT_FALSE(stream_->maybe_readable());
}

TEST_F(StreamTest, WritesMoreThanTheSocketTakes) {
    std::string const much(8 * 1024 * 1024, 'x');
    std::size_t got = 0;
    std::thread reader([&] {
        std::vector<char> into(64 * 1024);
        while (got < much.size())
            got += peer_.read_some(boost::asio::buffer(into));
    });
    run(write(much));
    reader.join();
    EXPECT_EQ(got, much.size());
}

// The loop goes while somebody waits: the coroutine is destroyed, and nothing is left of it.
TEST_F(StreamTest, WhoWaitsIsDestroyedWithTheLoop) {
    auto const alive = std::make_shared<int>();
    boost::asio::co_spawn(loop_->context(), wait_for_ever(alive, std::move(stream_)), [](std::exception_ptr) {});
    loop_->post([this] { loop_->stop(); });
    loop_->run();
    EXPECT_EQ(alive.use_count(), 2);
    loop_.reset();
    EXPECT_EQ(alive.use_count(), 1);
}

} // namespace
} // namespace parley::net
