// Who a request is for, where a front end such as Open WebUI asks on behalf of its users. Immutable settings, pure
// functions.
#pragma once

#include <chrono>
#include <optional>
#include <string>
#include <string_view>
#include <vector>

#include "core/result.hpp"
#include "core/secret.hpp"
#include "net/http_head.hpp"
#include "policy/api_keys.hpp"

namespace parley::server {

/// The principal of a request without a key.
inline constexpr std::string_view kAnonymous = "anonymous";

/// Whose word is taken for whom. With a secret only a token that it signed names a user; without one, plain headers do,
/// from the keys of front ends, or where there are no keys and only this machine can ask.
struct UserForwarding {
    core::Secret jwt_secret = {};                                                 // PARLEY_OPENWEBUI_JWT_SECRET
    std::string jwt_header = "x-openwebui-user-jwt";                              // PARLEY_USER_JWT_HEADER; lower case
    std::vector<std::string> user_headers = {"x-openwebui-user-id", "x-user-id"}; // PARLEY_USER_HEADERS; lower case
    policy::ApiKeys forwarder_keys = {};                                          // PARLEY_FORWARDER_KEYS
    bool trusts_everybody = false; // without a key, that is: on a loopback address

    /// Whether plain headers may name a user: from the keys of front ends, or where nobody has to show a key.
    bool trusts(std::string_view principal) const {
        return (trusts_everybody && principal == kAnonymous) || forwarder_keys.has_principal(principal);
    }
};

/// Clocks of two machines may differ by that much.
inline constexpr std::chrono::seconds kClockSkewMax{60};
inline constexpr std::size_t kUserIdBytesMax = 256;

/// The user's id; nullopt = nobody is named, or by somebody whose word is not taken: the request is the key's own.
/// `principal`: of the key that came with it. Errors: kInvalidApiKey for a token that does not hold (it names somebody
/// and must not be taken for the key's own request), kInvalidValue for an id that is none.
core::Result<std::optional<std::string>> forwarded_user(net::RequestHead const& head, std::string_view principal,
                                                        UserForwarding const& forwarding,
                                                        std::chrono::system_clock::time_point now);

/// The principal of a user: what their conversations are kept under, whichever key they come through.
std::string user_principal(std::string_view user_id);

/// Whom an operator means by `name`: a principal as it is listed (`user:…`, `key:…`, anonymous), else a user's id.
std::string principal_named(std::string name);

} // namespace parley::server
