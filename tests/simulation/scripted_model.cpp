#include "tests/simulation/scripted_model.hpp"

#include <array>
#include <chrono>
#include <optional>
#include <utility>

#include "tests/simulation/wait.hpp"

namespace parley::simulation {
namespace {

using core::Errc;
using std::chrono::steady_clock;

constexpr std::array kFaults{Errc::kUpstreamUnavailable, Errc::kUpstreamFailed,     Errc::kUpstreamTimeout,
                             Errc::kRateLimited,         Errc::kUpstreamOverloaded, Errc::kUpstreamAuth,
                             Errc::kUpstreamTruncated,   Errc::kUpstreamRejected};
constexpr milliseconds kGivenUp{8'000}; // a provider that says nothing for so long has timed out

core::Error fault(Errc code, milliseconds retry_after) {
    auto error = core::make_error(code, "The provider failed.");
    if (retry_after.count() > 0) error.retry_after = retry_after;
    return error;
}

// Counts a model call of a request for as long as it lives.
class Active {
public:
    explicit Active(Request& request) : request_(&request) { ++request_->active_streams; }
    Active(Active&& other) noexcept : request_(std::exchange(other.request_, nullptr)) {}
    Active& operator=(Active&&) = delete;
    ~Active() { end(); }
    void end() noexcept {
        if (request_) --std::exchange(request_, nullptr)->active_streams;
    }

private:
    Request* request_;
};

} // namespace

struct ScriptedModel::Script {
    milliseconds head{0};
    std::optional<core::Error> refusal = {}; // in place of a head
    int pieces = 0;
    int calls = 0;
    int breaks_before = -1; // this step, -1 = never
    core::Error breaks_with = {};
    bool hangs = false; // instead of breaking off
};

class ScriptedModel::Stream final : public providers::ModelStream {
public:
    Stream(ScriptedModel const& model, core::Context const& context, Request& request, Script script,
           providers::ModelHealth::Call call, Active active)
        : model_(model),
          context_(context),
          request_(request),
          script_(std::move(script)),
          call_(std::move(call)),
          active_(std::move(active)),
          on_cancel_(context.cancellation, Stop{this}),
          number_(model.ledger_.make_stream()) {}

    core::Task<bool> next(std::vector<chat::RunEvent>& events) override {
        auto const is_last = step_ == script_.pieces;
        auto const breaks = step_ == script_.breaks_before;
        auto const pause = breaks && script_.hangs ? kGivenUp : model_.chance_.ms(0, 120);
        auto const waited = co_await wait(context_, pause);
        if (!waited) co_return failed(waited.error());
        if (breaks) co_return failed(script_.breaks_with);
        call_.succeeded();
        if (!is_last) {
            // The blank keeps the pieces of a client's answer apart.
            text_ = Ledger::piece_token(request_.session, number_, step_++) + ' ';
            has_spoken_ = true;
            events.emplace_back(chat::TextDelta{text_});
            co_return true;
        }
        end(events);
        co_return false;
    }

private:
    struct Stop { // a connection is closed at once, also when nobody reads from it just now
        Stream* self;
        void operator()() const noexcept { self->active_.end(); }
    };

    core::Error failed(core::Error error) {
        active_.end();
        model_.ledger_.note(request_.id, "{} breaks off: {}", model_.name_, core::code_name(error.code));
        call_.failed(error, steady_clock::now());
        request_.failed_after_text = has_spoken_;
        return error;
    }

    void end(std::vector<chat::RunEvent>& events) {
        active_.end();
        auto const is_round = script_.calls > 0;
        if (is_round) {
            request_.round.clear();
            views_.reserve(static_cast<std::size_t>(script_.calls) * 3);
        }
        for (int i = 0; i < script_.calls; ++i)
            add_call(i, events);
        chat::Usage const usage{7, script_.pieces + 3};
        request_.tokens += usage.total_tokens();
        request_.is_untold = false;
        model_.ledger_.stream_complete(number_, script_.pieces);
        model_.ledger_.note(request_.id, "{} has said m{}: {} pieces, {} calls", model_.name_, number_, script_.pieces,
                            script_.calls);
        events.emplace_back(chat::ChoiceEnd{is_round ? chat::FinishReason::kToolCalls : chat::FinishReason::kStop});
        events.emplace_back(chat::UsageReport{usage});
    }

    void add_call(int index, std::vector<chat::RunEvent>& events) {
        auto const call = model_.ledger_.make_call(request_);
        auto const& tools = model_.tools_;
        auto const& name =
            tools[static_cast<std::size_t>(model_.chance_.between(0, static_cast<int>(tools.size()) - 1))];
        auto const& id = views_.emplace_back(call.id);
        auto const& wire = views_.emplace_back(name);
        auto const& arguments =
            views_.emplace_back(fmt::format(R"({{\"n\":\"s{}t{}.\"}})", request_.session, call.number));
        events.emplace_back(chat::ToolCallDelta{index, id, wire, {}});
        events.emplace_back(chat::ToolCallDelta{index, {}, {}, arguments});
    }

    ScriptedModel const& model_;
    core::Context const& context_;
    Request& request_;
    Script script_;
    providers::ModelHealth::Call call_;
    Active active_;
    core::OnCancel<Stop> on_cancel_;
    int number_;
    int step_ = 0;
    bool has_spoken_ = false;
    std::string text_;
    std::vector<std::string> views_;
};

ScriptedModel::ScriptedModel(std::string name, Ledger& ledger, Chance& chance, ModelWeather weather, int max_retries,
                             std::vector<std::string> tools)
    : name_(std::move(name)),
      ledger_(ledger),
      chance_(chance),
      weather_(std::move(weather)),
      max_retries_(max_retries),
      tools_(std::move(tools)),
      health_(std::make_shared<providers::ModelHealth>(std::vector<double>(weather_.outages.size(), 1.0))) {}

core::Task<std::unique_ptr<providers::ModelStream>> ScriptedModel::start(providers::Session&,
                                                                         core::Context const& context,
                                                                         providers::PreparedModel const&,
                                                                         chat::Turn const& turn) const {
    auto* const request = ledger_.find(context.request_id);
    ledger_.expect(request != nullptr, "a model is asked for nobody", context.request_id);
    if (!request) co_return core::make_error(Errc::kInternal, "for nobody");
    providers::ModelHealth::Call call(health_, steady_clock::now());
    Active active(*request);
    ledger_.note(request->id, "asks {} endpoint {}, {} messages", name_, call.endpoint(), turn.messages.size());
    ledger_.asked(*request, turn);
    auto script = draw(turn, call.endpoint());
    auto const waited = co_await wait(context, script.head);
    auto error = waited ? script.refusal : std::optional(waited.error());
    if (error) {
        ledger_.note(request->id, "{} refuses: {}", name_, core::code_name(error->code));
        call.failed(*error, steady_clock::now());
        co_return *error;
    }
    co_return std::make_unique<Stream>(*this, context, *request, std::move(script), std::move(call), std::move(active));
}

ScriptedModel::Script ScriptedModel::draw(chat::Turn const& turn, std::size_t endpoint) const {
    Script script;
    script.head = chance_.ms(0, 60);
    script.pieces = chance_.between(1, 4);
    auto const may_call = !turn.tools.empty() && turn.tool_choice != R"("none")" && !tools_.empty();
    if (may_call && chance_.percent(weather_.tools)) {
        script.calls = chance_.between(1, 3);
        script.pieces = chance_.between(0, 1);
    }
    auto const now = VirtualTime::now();
    if (now >= weather_.until) return script;
    for (auto const& outage : weather_.outages[endpoint]) {
        if (now < outage.begin || now >= outage.end) continue;
        script.head = outage.takes;
        script.refusal = fault(outage.code, outage.retry_after);
        return script;
    }
    auto const code = kFaults[static_cast<std::size_t>(chance_.between(0, kFaults.size() - 1))];
    auto const retry_after = code == Errc::kRateLimited && chance_.percent(50) ? chance_.ms(1, 3'000) : milliseconds(0);
    auto const dice = chance_.between(0, 99);
    if (dice < weather_.refuses) {
        script.refusal = fault(code, retry_after);
    } else if (dice < weather_.refuses + weather_.breaks_off) {
        script.breaks_before = chance_.between(0, script.pieces);
        script.breaks_with = fault(Errc::kUpstreamTruncated, {});
    } else if (dice < weather_.refuses + weather_.breaks_off + weather_.hangs) {
        script.breaks_before = chance_.between(0, script.pieces);
        script.breaks_with = fault(Errc::kUpstreamTimeout, {});
        script.hangs = true;
    }
    return script;
}

} // namespace parley::simulation
