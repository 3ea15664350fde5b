#include "server/forwarded_user.hpp"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include <algorithm>
#include <cstdint>
#include <utility>

#include "net/jose.hpp"

namespace parley::server {
namespace {

namespace json = boost::json;
using std::chrono::seconds;

core::Error refused(std::string_view header, std::string_view reason) {
    std::string message = "The user token in ";
    message.append(header).append(" is not accepted: ").append(reason);
    return core::make_error(core::Errc::kInvalidApiKey, std::move(message));
}

std::optional<json::object> object_of(std::string_view text) {
    boost::system::error_code error;
    auto value = json::parse({text.data(), text.size()}, error);
    if (error || !value.is_object()) return std::nullopt;
    return std::move(value.as_object());
}

std::string_view text_at(json::object const& object, std::string_view name) {
    auto const* const value = object.if_contains(name);
    if (value == nullptr || !value->is_string()) return {};
    return {value->get_string().data(), value->get_string().size()};
}

// A NumericDate (RFC 7519 §2): seconds, a fraction allowed.
std::optional<double> date_at(json::object const& object, std::string_view name) {
    auto const* const value = object.if_contains(name);
    if (value == nullptr || !value->is_number()) return std::nullopt;
    return value->to_number<double>();
}

core::Result<std::string> user_of_token(std::string_view token, UserForwarding const& forwarding,
                                        std::chrono::system_clock::time_point now) {
    auto const& where = forwarding.jwt_header;
    auto const verified = net::verify_hs256(token, forwarding.jwt_secret);
    if (!verified) return refused(where, verified.error().message);
    auto const header = object_of(verified->header);
    auto const claims = object_of(verified->claims);
    if (!header || !claims) return refused(where, "its header or its claims are not a JSON object.");
    // Pinned: a token may not choose how it is checked (RFC 8725 §3.1), and what is critical is not known here.
    if (text_at(*header, "alg") != "HS256") return refused(where, "its algorithm is not HS256.");
    if (header->contains("crit")) return refused(where, "it has critical extensions.");
    auto const time = static_cast<double>(std::chrono::duration_cast<seconds>(now.time_since_epoch()).count());
    auto const skew = static_cast<double>(kClockSkewMax.count());
    auto const expires = date_at(*claims, "exp");
    if (!expires) return refused(where, "it says no time of expiry (exp).");
    if (*expires + skew <= time)
        return refused(where, "it has expired; if it is new, the clocks of the two machines differ.");
    for (auto const* const name : {"nbf", "iat"}) {
        if (auto const begins = date_at(*claims, name); begins && *begins - skew > time)
            return refused(where, "it is from the future: the clocks of the two machines differ.");
    }
    auto const subject = text_at(*claims, "sub");
    if (subject.empty()) return refused(where, "it names no user (sub).");
    return std::string(subject);
}

bool is_id(std::string_view id) {
    auto const is_control = [](char c) { return static_cast<unsigned char>(c) < 0x20 || c == 0x7f; };
    return !id.empty() && id.size() <= kUserIdBytesMax && std::ranges::none_of(id, is_control);
}

} // namespace

core::Result<std::optional<std::string>> forwarded_user(net::RequestHead const& head, std::string_view principal,
                                                        UserForwarding const& forwarding,
                                                        std::chrono::system_clock::time_point now) {
    std::string user;
    std::string_view where = forwarding.jwt_header;
    if (!forwarding.jwt_secret.empty()) {
        auto const token = head.get(forwarding.jwt_header);
        if (token.empty()) return std::optional<std::string>();
        if (head.count(forwarding.jwt_header) > 1) return refused(where, "there is more than one.");
        auto named = user_of_token(token, forwarding, now);
        if (!named) return named.error();
        user = std::move(*named);
    } else {
        if (!forwarding.trusts(principal)) return std::optional<std::string>();
        for (auto const& name : forwarding.user_headers) {
            user = head.get(name);
            where = name;
            if (!user.empty()) break; // an unknown value comes as an empty header
        }
        if (user.empty()) return std::optional<std::string>();
    }
    if (!is_id(user)) {
        return core::make_error(core::Errc::kInvalidValue,
                                "Invalid user in " + std::string(where) + ": an id has 1 to " +
                                    std::to_string(kUserIdBytesMax) + " bytes and no control characters.",
                                std::string(where));
    }
    return std::optional(std::move(user));
}

std::string user_principal(std::string_view user_id) {
    return "user:" + std::string(user_id);
}

std::string principal_named(std::string name) {
    bool const is_listed = name.starts_with("user:") || name.starts_with("key:") || name == kAnonymous;
    return is_listed ? name : user_principal(name);
}

} // namespace parley::server
