// A server that is a program of this machine: one message a line on its standard streams. It gets an environment of its
// own, and what it says on standard error is kept for diagnosis and means nothing else.
#include <algorithm>
#include <array>
#include <csignal>
#include <cstdlib>
#include <deque>
#include <list>
#include <span>
#include <utility>

#include "mcp/line_reader.hpp"
#include "mcp/protocol.hpp"
#include "mcp/transport.hpp"
#include "net/child_process.hpp"
#include "net/task_group.hpp"

namespace parley::mcp {
namespace {

using core::Errc;
using core::make_error;

// What a program may need to find its files and speak its language, and nothing that could be a secret.
constexpr std::array<std::string_view, 14> kInherited{
    "PATH",     "HOME", "USER",   "LOGNAME",         "SHELL",          "LANG",          "LC_ALL",
    "LC_CTYPE", "TZ",   "TMPDIR", "XDG_CONFIG_HOME", "XDG_CACHE_HOME", "XDG_DATA_HOME", "TERM"};

constexpr std::size_t kErrorBytesKept = 8 * 1024;
constexpr std::size_t kPipeBytesMax = 1024 * 1024;        // Linux gives less
constexpr std::size_t kOutboxBytesMax = 64 * 1024 * 1024; // of a program that does not read
constexpr std::size_t kReadBytes = 64 * 1024;
// The order of goodbyes that the specification asks for, each with its time.
constexpr std::chrono::milliseconds kAfterInputClosed{500};
constexpr std::chrono::milliseconds kAfterTerm{1'500};

std::vector<std::string> child_environment(ServerSpec const& spec) {
    std::vector<std::string> out;
    auto const is_set = [&spec](std::string_view name) {
        return std::ranges::any_of(spec.env, [name](auto const& pair) { return pair.first == name; });
    };
    for (auto const name : kInherited) {
        auto const* const value = std::getenv(std::string(name).c_str());
        if (value && !is_set(name)) out.push_back(std::string(name) + "=" + value);
    }
    for (auto const& [name, value] : spec.env)
        out.push_back(name + "=" + value.reveal());
    return out;
}

class StdioChannel final : public Channel {
public:
    StdioChannel(net::Loop& loop, std::shared_ptr<ServerSpec const> spec, Inbox& inbox)
        : loop_(loop), spec_(std::move(spec)), inbox_(inbox), tasks_(loop) {}

    core::Task<> open(core::Context const&, std::string) override {
        net::ChildOptions options;
        options.program = spec_->command;
        for (auto const& arg : spec_->args)
            options.args.push_back(arg.reveal());
        options.env = child_environment(*spec_);
        options.cwd = spec_->cwd;
        auto child = net::ChildProcess::start(loop_, options);
        if (!child) co_return child.error();
        child_ = std::move(*child);
        tasks_.spawn(read_output());
        tasks_.spawn(read_errors());
        co_return core::Result<>{};
    }

    void send(Outgoing message) override {
        if (!child_ || lost_ || outbox_bytes_ + message.json.size() > kOutboxBytesMax) {
            auto error = not_sent(!child_ || lost_ ? "It has ended." : "It does not read what it is sent.");
            if (message.on_sent) message.on_sent(error);
            if (message.id) fail_later(*message.id, std::move(error));
            return;
        }
        message.json += '\n';
        outbox_bytes_ += message.json.size();
        outbox_.push_back(std::move(message));
        if (outbox_.size() == 1) tasks_.spawn(write_outbox());
    }

    bool abandon(std::int64_t id) override {
        auto const unsent = take_unsent(outbox_, id);
        if (unsent) outbox_bytes_ -= unsent->json.size();
        return unsent.has_value();
    }

    void established(std::string_view, bool) override {}

    core::Awaitable<void> close() override {
        lost_ = true;
        if (child_) {
            child_->close_input();
            co_await ended_within(kAfterInputClosed);
            if (!child_->status()) {
                child_->signal(SIGTERM);
                co_await ended_within(kAfterTerm);
            }
            child_->signal(SIGKILL);
            child_->close_pipes();
        }
        co_await tasks_.all_ended();
    }

    std::string diagnosis() const override { return errors_; }

private:
    core::Awaitable<void> ended_within(std::chrono::milliseconds limit) {
        constexpr std::chrono::milliseconds kStep{10};
        for (auto waited = std::chrono::milliseconds(0); waited < limit && !child_->status(); waited += kStep) {
            // Ends are rare and close() has no time to lose: looking is simpler than a race of two waits.
            boost::asio::steady_timer timer(loop_.context(), kStep);
            co_await timer.async_wait(net::use_awaitable);
        }
    }

    core::Awaitable<void> write_outbox() {
        while (!outbox_.empty()) {
            auto const written = co_await child_->write(outbox_.front().json);
            if (lost_) co_return; // all of them have been told
            if (!written) {
                // It has ended, most likely, and the end of its output will tell how; a program that only reads no more
                // is of no use either.
                co_await ended_within(std::chrono::milliseconds(200));
                child_->signal(SIGKILL);
                co_return;
            }
            auto message = std::move(outbox_.front());
            outbox_bytes_ -= message.json.size();
            outbox_.pop_front();
            written_ += message.json.size();
            if (message.id) in_pipe_.emplace_back(*message.id, written_);
            while (!in_pipe_.empty() && in_pipe_.front().second + kPipeBytesMax < written_)
                in_pipe_.pop_front();
            if (message.on_sent) message.on_sent(core::Result<>{});
        }
    }

    // What is in the outbox, or has its end in the pipe still, was never acted on. The outbox stays as it is: a write
    // may still look at it.
    void fail_unread(std::string const& why) {
        auto const read = child_->input_read();
        for (auto const& [id, end] : in_pipe_)
            if (end > read) inbox_.on_failed(id, not_sent(why));
        for (auto const& message : outbox_) {
            if (message.on_sent) message.on_sent(not_sent(why));
            if (message.id) inbox_.on_failed(*message.id, not_sent(why));
        }
    }

    // A message of which the program has at most a part: without its line end it was never acted on.
    static core::Error not_sent(std::string why) {
        auto error = make_error(Errc::kUpstreamUnavailable, std::move(why));
        error.should_retry = true;
        return error;
    }

    core::Awaitable<void> read_output() {
        auto const buffer = std::make_unique<char[]>(kReadBytes);
        LineReader lines(kMessageBytesMax);
        for (;;) {
            auto const n = co_await child_->read_output(std::span(buffer.get(), kReadBytes));
            if (n == 0) break;
            lines.feed({buffer.get(), n});
            while (auto const line = lines.next())
                take(*line);
        }
        if (lost_) { // close() was called
            fail_unread("It has ended.");
            co_return;
        }
        lost_ = true;
        // A program that closes its output without ending is of no use any more.
        co_await ended_within(std::chrono::milliseconds(200));
        child_->signal(SIGKILL);
        auto const status = co_await child_->wait();
        auto text = "The program " + net::describe_exit(status) + ".";
        auto const last = last_error_line();
        if (!last.empty()) text += " Its last words: " + last;
        fail_unread(text); // before all others are told: these may be asked again
        inbox_.on_lost(make_error(Errc::kUpstreamUnavailable, text));
    }

    void take(LineReader::Line const& line) {
        if (line.cut) {
            auto const id = id_of_cut_message(line.text, line.tail);
            if (id && inbox_.is_waiting(*id)) {
                inbox_.on_failed(*id, make_error(Errc::kUpstreamInvalid,
                                                 "Its answer is larger than " +
                                                     std::to_string(kMessageBytesMax / 1024 / 1024) + " MiB."));
            }
            return;
        }
        auto const start = line.text.find_first_not_of(" \t");
        if (start != std::string_view::npos) inbox_.on_message(line.text);
    }

    core::Awaitable<void> read_errors() {
        auto const buffer = std::make_unique<char[]>(4096);
        for (;;) {
            auto const n = co_await child_->read_errors(std::span(buffer.get(), 4096));
            if (n == 0) co_return;
            errors_.append(buffer.get(), n);
            if (errors_.size() > kErrorBytesKept) errors_.erase(0, errors_.size() - kErrorBytesKept);
        }
    }

    std::string last_error_line() const {
        std::string_view text = errors_;
        while (text.ends_with('\n') || text.ends_with(' '))
            text.remove_suffix(1);
        auto const start = text.rfind('\n');
        return plain_text(start == std::string_view::npos ? text : text.substr(start + 1), 300);
    }

    void fail_later(std::int64_t id, core::Error error) { tasks_.spawn(fail(id, std::move(error))); }
    core::Awaitable<void> fail(std::int64_t id, core::Error error) {
        inbox_.on_failed(id, std::move(error));
        co_return;
    }

    net::Loop& loop_;
    std::shared_ptr<ServerSpec const> spec_;
    Inbox& inbox_;
    std::unique_ptr<net::ChildProcess> child_;
    std::list<Outgoing> outbox_;
    std::size_t outbox_bytes_ = 0;
    std::size_t written_ = 0;                                  // of messages that were written to their end
    std::deque<std::pair<std::int64_t, std::size_t>> in_pipe_; // requests, and where in all that was written they end
    std::string errors_;
    bool lost_ = false;
    net::TaskGroup tasks_;
};

} // namespace

std::unique_ptr<Channel> make_stdio_channel(TransportParts const& parts, std::shared_ptr<ServerSpec const> spec,
                                            Inbox& inbox) {
    return std::make_unique<StdioChannel>(parts.loop, std::move(spec), inbox);
}

} // namespace parley::mcp
