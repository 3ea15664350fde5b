// When to get a token: challenges answered one at a time, with limits, and expiring tokens renewed in time.
#include "mcp/auth.hpp"

#include <algorithm>
#include <chrono>
#include <optional>
#include <utility>
#include <vector>

#include "mcp/auth_grants.hpp"
#include "net/broadcast.hpp"
#include "net/mutex.hpp"
#include "net/task_group.hpp"

namespace parley::mcp {
namespace {

using core::Errc;
using core::make_error;

constexpr std::chrono::seconds kRenewBefore{30}; // or a tenth of a short life
constexpr std::chrono::seconds kFresh{30};       // a token refused so soon was not refused for its age
constexpr std::chrono::seconds kRefusalRest{30}; // an authorization server that said no is left alone
constexpr std::chrono::minutes kStepUpWindow{10};
constexpr int kFreshRefusalsMax = 2;
constexpr int kStepUpsMax = 2; // for the same scopes; with the first authorization three
constexpr std::size_t kScopeSetsMax = 16;
constexpr int kNonceRepeatsMax = 64;

class OAuthAuthorizer final : public Authorizer {
public:
    OAuthAuthorizer(std::shared_ptr<ServerSpec const> spec, net::Loop& loop, net::HttpClient& http, Approver approver,
                    std::shared_ptr<net::TlsContext> tls, SteadyNow now)
        : spec_(std::move(spec)),
          loop_(loop),
          has_approver_(static_cast<bool>(approver)),
          turn_(loop),
          now_(std::move(now)),
          grants_(spec_, http, std::move(approver), std::move(tls), now_),
          ended_(loop),
          tasks_(loop) {}

    core::Awaitable<void> close() override {
        life_.cancel();
        co_await tasks_.all_ended();
    }

    core::Task<std::string> headers(core::Context const& context, std::string_view method,
                                    std::string_view url) override {
        std::string const used_method(method);
        std::string const used_url(url);
        if (is_due()) {
            auto const renewed = co_await renew(context);
            if (!renewed) co_return renewed.error();
        }
        auto const* const token = grants_.token();
        // Only for the server it was got for: whoever calls may have been sent elsewhere.
        if (token == nullptr || origin_of(used_url) != origin_of(spec_->url.reveal())) co_return std::string();
        auto lines = authorization_line(*token);
        if (token->dpop) {
            auto const proof = grants_.dpop().proof_line(used_method, used_url, token->access.reveal());
            if (!proof) co_return proof.error();
            lines += *proof;
        }
        co_return std::move(lines);
    }

    core::Task<bool> challenged(core::Context const& context, int status, std::string_view www_authenticate,
                                std::string_view dpop_nonce, std::optional<std::string_view> sent) override {
        auto const challenge = parse_challenge(www_authenticate);
        auto const had = generation_;
        std::optional<std::string> const used = sent ? std::optional<std::string>(*sent) : std::nullopt;
        if (auto const nonce = on_nonce(status, challenge, dpop_nonce)) co_return *nonce;
        auto const step_up = status == 403 && challenge.error == "insufficient_scope";
        if (status != 401 && !step_up) co_return false;
        auto turn = co_await turn_.lock(context);
        if (!turn) co_return turn.error();
        if (generation_ != had || is_outdated(used)) co_return true; // somebody else has got a new token meanwhile
        auto const now = now_();
        if (refusal_ && now < refusal_until_) co_return *refusal_;
        auto const* const token = grants_.token();
        auto const fresh = token != nullptr && now - token->got < kFresh;
        auto const sensible = step_up ? count_step_up(challenge, now) : count_refusal(fresh);
        if (!sensible) co_return sensible.error();
        auto const outcome = std::make_shared<Outcome>();
        tasks_.spawn(obtain(std::move(*turn), outcome, challenge, !fresh && !step_up));
        auto const obtained = co_await ended(context, outcome);
        if (!obtained) co_return obtained.error();
        co_return true;
    }

private:
    /// Of a task; empty while it runs.
    using Outcome = std::optional<core::Result<>>;

    core::Task<> ended(core::Context const& context, std::shared_ptr<Outcome const> outcome) {
        while (!*outcome) {
            co_await ended_.wait(context);
            if (*outcome) break;
            if (context.cancellation.cancelled()) co_return make_error(Errc::kCancelled, "The client went away.");
            if (std::chrono::steady_clock::now() >= context.deadline)
                co_return make_error(Errc::kDeadlineExceeded, "There was no authorization in time.");
        }
        co_return **outcome;
    }

    static std::string authorization_line(Token const& token) {
        return std::string(token.dpop ? "authorization: DPoP " : "authorization: Bearer ") + token.access.reveal() +
               "\r\n";
    }

    core::Error failed(std::string_view why) const {
        return make_error(Errc::kUpstreamAuth,
                          "The authorization of MCP server '" + spec_->label + "' failed: " + std::string(why));
    }

    bool is_due() const {
        auto const* const token = grants_.token();
        auto const now = now_();
        if (token == nullptr || token->expires == core::SteadyTime::max() || now < no_renewal_before_) return false;
        auto const before = std::min<core::SteadyTime::duration>(kRenewBefore, (token->expires - token->got) / 10);
        return now >= token->expires - before && grants_.can_renew();
    }

    core::Task<> renew(core::Context const& context) {
        auto turn = co_await turn_.lock(context);
        if (!turn) co_return turn.error();
        if (!is_due()) co_return core::Result<>();
        auto const outcome = std::make_shared<Outcome>();
        tasks_.spawn(renew_for_all(std::move(*turn), outcome));
        co_return co_await ended(context, outcome);
    }

    /// Not the request's own work: a refresh token may be good for one use only (OAuth 2.1 §4.3.1), and its answer must
    /// not be lost with the client that came first. Each of its requests has a limit (Origins::kTimeout).
    /// A renewal that fails is no fault of the request: the token may still do, else the server will say so.
    core::Awaitable<void> renew_for_all([[maybe_unused]] net::Mutex::Turn turn, std::shared_ptr<Outcome> outcome) {
        core::Context const context{life_};
        auto const renewed = co_await grants_.renew(context);
        if (renewed) {
            ++generation_;
        } else {
            no_renewal_before_ = now_() + kRefusalRest;
            loop_.log()
                .warn("mcp_token_not_renewed")
                .add("server", spec_->label)
                .add("reason", renewed.error().message);
        }
        *outcome = core::Result<>();
        ended_.notify_all();
    }

    core::Awaitable<void> obtain([[maybe_unused]] net::Mutex::Turn turn, std::shared_ptr<Outcome> outcome,
                                 Challenge challenge, bool may_refresh) {
        core::Context const context{life_};
        *outcome = co_await try_to_obtain(context, challenge, may_refresh);
        ended_.notify_all();
    }

    core::Task<> try_to_obtain(core::Context const& context, Challenge const& challenge, bool may_refresh) {
        auto const grant = spec_->oauth.grant;
        auto const machine = !spec_->oauth.client_secret.empty() || !spec_->oauth.private_key_pem.empty();
        auto const needs_approver =
            grant == OAuthOptions::Grant::kAuthorizationCode || (grant == OAuthOptions::Grant::kAuto && !machine);
        if (needs_approver && !has_approver_) {
            co_return make_error(Errc::kUpstreamAuth,
                                 "MCP server '" + spec_->label +
                                     "' asks for authorization (OAuth), and nobody is here to approve it in a browser. "
                                     "Configure a grant that needs nobody: oauth.client_id with oauth.client_secret or "
                                     "oauth.private_key (client_credentials), oauth.assertion (jwt_bearer, "
                                     "token_exchange), or a token in headers.");
        }
        auto const obtained = co_await grants_.obtain(context, challenge, may_refresh);
        if (!obtained) {
            auto const& error = obtained.error();
            if (error.code == Errc::kUpstreamAuth) {
                refusal_ = error;
                refusal_until_ = now_() + kRefusalRest;
            }
            co_return error;
        }
        ++generation_;
        refusal_.reset();
        loop_.log().info("mcp_authorized").add("server", spec_->label).add("issuer", grants_.issuer());
        co_return core::Result<>();
    }

    /// A server that wants its nonce in the proof (RFC 9449 §9): nothing else is wrong with the request.
    std::optional<core::Result<bool>> on_nonce(int status, Challenge const& challenge, std::string_view nonce) {
        auto const is_new = grants_.dpop().keep_nonce(spec_->url.reveal(), nonce);
        auto const* const token = grants_.token();
        auto const asked = challenge.error == "use_dpop_nonce" || (status == 400 && !nonce.empty());
        if (!asked || token == nullptr || !token->dpop) return std::nullopt;
        // Requests side by side are told the same one; a server that never takes it must not keep us busy.
        nonce_repeats_ = is_new ? 0 : nonce_repeats_ + 1;
        if (nonce_repeats_ > kNonceRepeatsMax) return failed("it does not take the DPoP nonce that it gives.");
        return true;
    }

    /// The refused request was sent with another token than the one that we have now.
    bool is_outdated(std::optional<std::string> const& sent) const {
        auto const* const token = grants_.token();
        return token != nullptr && sent && !sent->starts_with(authorization_line(*token));
    }

    core::Result<> count_refusal(bool fresh) {
        fresh_refusals_ = fresh ? fresh_refusals_ + 1 : 0;
        if (fresh_refusals_ <= kFreshRefusalsMax) return {};
        return failed("the server refuses the tokens that its authorization server gives.");
    }

    core::Result<> count_step_up(Challenge const& challenge, core::SteadyTime now) {
        if (challenge.scopes.empty()) {
            return failed("the server wants more scopes and does not say which. Set oauth.scopes.");
        }
        auto scopes = unite(grants_.asked(), challenge.scopes);
        std::ranges::sort(scopes);
        std::erase_if(step_ups_, [&](StepUp const& step) { return now - step.since > kStepUpWindow; });
        auto step = std::ranges::find(step_ups_, scopes, &StepUp::scopes);
        if (step == step_ups_.end()) {
            if (step_ups_.size() >= kScopeSetsMax) return failed("the server wants ever new scopes.");
            step = step_ups_.insert(step, StepUp{std::move(scopes), now, 0});
        }
        if (++step->tries <= kStepUpsMax) return {};
        return failed("the server still says insufficient_scope after the scopes it wants were asked for: " +
                      join_scopes(challenge.scopes) + ". The account may not have them.");
    }

    struct StepUp {
        Scopes scopes; // sorted
        core::SteadyTime since;
        int tries = 0;
    };

    std::shared_ptr<ServerSpec const> spec_;
    net::Loop& loop_;
    bool has_approver_;
    net::Mutex turn_;
    SteadyNow now_;
    Grants grants_;
    std::uint64_t generation_ = 0; // of tokens
    std::vector<StepUp> step_ups_;
    int fresh_refusals_ = 0;
    int nonce_repeats_ = 0;
    std::optional<core::Error> refusal_;
    core::SteadyTime refusal_until_ = {};
    core::SteadyTime no_renewal_before_ = {};
    core::Cancellation life_;
    net::Broadcast ended_; // a task has
    net::TaskGroup tasks_;
};

} // namespace

std::unique_ptr<Authorizer> make_authorizer(std::shared_ptr<ServerSpec const> spec, net::Loop& loop,
                                            net::HttpClient& http, Approver approver,
                                            std::shared_ptr<net::TlsContext> tls, SteadyNow now) {
    return std::make_unique<OAuthAuthorizer>(std::move(spec), loop, http, std::move(approver), std::move(tls),
                                             std::move(now));
}

} // namespace parley::mcp
