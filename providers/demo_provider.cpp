#include "providers/demo_provider.hpp"

#include <boost/asio/post.hpp>

#include <algorithm>
#include <string_view>
#include <utility>

#include "core/json.hpp"
#include "net/signal.hpp"
#include "providers/demo_script.hpp"
#include "providers/session.hpp"

namespace parley::providers {
namespace {

struct DemoModel final : PreparedModel {
    explicit DemoModel(ModelSpec given) : spec(std::move(given)) {}
    ModelSpec spec;
};

constexpr std::size_t kPiecesAtOnce = 256;

class DemoStream final : public ModelStream {
public:
    DemoStream(Session& session, core::Context const& context, DemoAnswer answer, bool paced)
        : session_(session),
          context_(context),
          answer_(std::move(answer)),
          paced_(paced && answer_.delay.count() > 0) {}

    core::Task<bool> next(std::vector<chat::RunEvent>& events) override {
        bodies_.clear();
        auto const bytes = answer_.reasoning.size() + answer_.text.size();
        bodies_.reserve(std::min(bytes - said_, kPiecesAtOnce) + 3 * answer_.calls.size()); // views must not move
        for (std::size_t batch = 0; said_ < bytes; ++batch) {
            if (paced_) {
                auto const left =
                    std::chrono::ceil<std::chrono::milliseconds>(context_.deadline - std::chrono::steady_clock::now());
                auto const slept = co_await session_.loop.sleep(context_, std::min(answer_.delay, left));
                if (!slept) co_return slept.error();
                if (left <= answer_.delay)
                    co_return core::make_error(core::Errc::kDeadlineExceeded,
                                               "The run took longer than this agent may take.");
            } else if (batch == kPiecesAtOnce) { // the client's pace counts, and others have their turn
                co_await boost::asio::post(session_.loop.executor(), net::use_awaitable);
                if (context_.cancellation.cancelled())
                    co_return core::make_error(core::Errc::kCancelled, "The client went away.");
                co_return true;
            }
            say(events);
            if (paced_) co_return true;
        }
        if (answer_.error) co_return *answer_.error;
        auto index = 0;
        for (auto const& call : answer_.calls) {
            chat::ToolCallDelta delta{index++, body(call.id), body(call.name), body(call.arguments)};
            for (delta.choice = 0; delta.choice < answer_.choices; ++delta.choice)
                events.push_back(delta);
        }
        for (auto choice = 0; choice < answer_.choices; ++choice)
            events.push_back(chat::ChoiceEnd{answer_.finish, choice});
        events.push_back(chat::UsageReport{answer_.usage});
        co_return false;
    }

private:
    void say(std::vector<chat::RunEvent>& events) {
        auto const thought = said_ < answer_.reasoning.size();
        std::string_view const rest = thought ? std::string_view(answer_.reasoning).substr(said_)
                                              : std::string_view(answer_.text).substr(said_ - answer_.reasoning.size());
        auto const piece = demo_piece(rest);
        said_ += piece.size();
        auto const text = body(piece);
        for (auto choice = 0; choice < answer_.choices; ++choice) {
            if (thought) {
                events.push_back(chat::ReasoningDelta{text, choice});
            } else {
                events.push_back(chat::TextDelta{text, {}, choice});
            }
        }
    }

    std::string_view body(std::string_view text) {
        auto& made = bodies_.emplace_back();
        core::append_json_body(made, text);
        return made;
    }

    Session& session_;
    core::Context const& context_;
    DemoAnswer answer_;
    bool paced_;
    std::size_t said_ = 0;            // bytes of reasoning, then of text
    std::vector<std::string> bodies_; // of the events last given out
};

class DemoProvider final : public Provider {
public:
    explicit DemoProvider(std::string name) : name_(std::move(name)) {}

    std::string_view name() const noexcept override { return name_; }
    std::string_view type() const noexcept override { return "demo"; }

    std::unique_ptr<PreparedModel const> prepare(ModelSpec const& spec) const override {
        return std::make_unique<DemoModel>(spec);
    }

    core::Task<std::unique_ptr<ModelStream>> start(Session& session, core::Context const& context,
                                                   PreparedModel const& model, chat::Turn const& turn) const override {
        auto answer = answer_as_demo(static_cast<DemoModel const&>(model).spec, turn);
        if (answer.error && answer.text.empty() && answer.reasoning.empty()) co_return *answer.error;
        auto const paced = turn.stream || answer.is_slow;
        co_return std::make_unique<DemoStream>(session, context, std::move(answer), paced);
    }

    core::Task<std::string> embed(Session&, core::Context const&, std::string_view, std::string_view) const override {
        co_return core::make_error(core::Errc::kUnsupportedValue,
                                   "The demo provider has no embeddings. Name a model of a real provider.", "model");
    }

private:
    std::string name_;
};

} // namespace

std::unique_ptr<Provider const> make_demo_provider(std::string name) {
    return std::make_unique<DemoProvider>(std::move(name));
}

} // namespace parley::providers
