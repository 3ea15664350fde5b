// WWW-Authenticate and scopes: the small grammars.
#include <algorithm>

#include "core/ascii.hpp"
#include "mcp/auth_metadata.hpp"

namespace parley::mcp {
namespace {

constexpr std::size_t kScopesMax = 100;

bool is_token_char(char c) noexcept {
    return (c >= 'a' && c <= 'z') || (c >= 'A' && c <= 'Z') || (c >= '0' && c <= '9') ||
           std::string_view("!#$%&'*+-.^_`|~").find(c) != std::string_view::npos;
}

class ChallengeReader {
public:
    explicit ChallengeReader(std::string_view text) : text_(text) {}

    Challenge read() {
        for (;;) {
            skip(" \t,");
            auto const word = token();
            if (word.empty()) return std::move(challenge_);
            skip(" \t");
            if (!text_.empty() && text_.front() == '=' && known_.has_value()) {
                text_.remove_prefix(1);
                skip(" \t");
                take(core::ascii_lower(word), value());
            } else {
                begin(core::ascii_lower(word));
            }
        }
    }

private:
    void skip(std::string_view chars) { text_.remove_prefix(std::min(text_.find_first_not_of(chars), text_.size())); }

    std::string_view token() {
        auto const* const end = std::ranges::find_if_not(text_, is_token_char);
        auto const word = text_.substr(0, static_cast<std::size_t>(end - text_.begin()));
        text_.remove_prefix(word.size());
        return word;
    }

    std::string value() {
        if (text_.empty() || text_.front() != '"') return std::string(token());
        std::string out;
        for (std::size_t i = 1; i < text_.size(); ++i) {
            if (text_[i] == '"') {
                text_.remove_prefix(i + 1);
                return out;
            }
            if (text_[i] == '\\' && i + 1 < text_.size()) ++i;
            out.push_back(text_[i]);
        }
        text_ = {};
        return {}; // no closing quote
    }

    void begin(std::string const& scheme) {
        known_ = scheme == "bearer" || scheme == "dpop";
        challenge_.bearer |= scheme == "bearer";
        challenge_.dpop |= scheme == "dpop";
        skip_token68();
    }

    /// RFC 9110 §11.2: what schemes such as Negotiate have instead of parameters. It ends in any number of '='.
    void skip_token68() {
        auto const word_end = std::ranges::find_if_not(text_, [](char c) { return is_token_char(c) || c == '/'; });
        auto const size = static_cast<std::size_t>(word_end - text_.begin());
        auto const pad_end = std::min(text_.find_first_not_of('=', size), text_.size());
        auto const next = std::min(text_.find_first_not_of(" \t", pad_end), text_.size());
        if (size > 0 && (next == text_.size() || text_[next] == ',')) text_.remove_prefix(next);
    }

    void take(std::string const& name, std::string text) {
        if (!*known_) return;
        if (name == "resource_metadata" && challenge_.resource_metadata.empty()) {
            challenge_.resource_metadata = std::move(text);
        } else if (name == "error" && challenge_.error.empty()) {
            challenge_.error = std::move(text);
        } else if (name == "scope" && challenge_.scopes.empty()) {
            challenge_.scopes = parse_scopes(text);
        }
    }

    std::string_view text_;
    Challenge challenge_;
    std::optional<bool> known_; // whether the scheme that the parameters belong to is one of ours; unset before it
};

bool is_scope(std::string_view scope) noexcept {
    return !scope.empty() && scope.size() <= 256 &&
           std::ranges::all_of(scope, [](char c) { return c > 0x20 && c < 0x7f && c != '"' && c != '\\'; });
}

} // namespace

Challenge parse_challenge(std::string_view www_authenticate) {
    return ChallengeReader(www_authenticate).read();
}

bool contains(std::vector<std::string> const& list, std::string_view value) noexcept {
    return std::ranges::find(list, value) != list.end();
}

Scopes parse_scopes(std::string_view text) {
    Scopes scopes;
    while (!text.empty() && scopes.size() < kScopesMax) {
        auto const end = std::min(text.find(' '), text.size());
        auto const scope = text.substr(0, end);
        if (is_scope(scope) && !contains(scopes, scope)) scopes.emplace_back(scope);
        text.remove_prefix(std::min(end + 1, text.size()));
    }
    return scopes;
}

std::string join_scopes(Scopes const& scopes) {
    std::string out;
    for (auto const& scope : scopes) {
        if (!out.empty()) out.push_back(' ');
        out.append(scope);
    }
    return out;
}

Scopes unite(Scopes scopes, Scopes const& more) {
    for (auto const& scope : more) {
        if (scopes.size() < kScopesMax && is_scope(scope) && !contains(scopes, scope)) scopes.push_back(scope);
    }
    return scopes;
}

Scopes choose_scopes(ScopeChoice const& choice) {
    static constexpr std::string_view kOffline = "offline_access";
    auto scopes = unite(choice.asked, choice.challenged.empty() ? choice.resource : choice.challenged);
    scopes = unite(std::move(scopes), choice.configured);
    auto const offline = contains(choice.server, kOffline);
    if (!offline) std::erase(scopes, kOffline);
    // Alone it would replace the server's default scopes, which an absent parameter means.
    if (offline && choice.wants_refresh && !scopes.empty()) scopes = unite(std::move(scopes), {std::string(kOffline)});
    return scopes;
}

} // namespace parley::mcp
