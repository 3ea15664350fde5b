#include "mcp/dpop.hpp"

#include <algorithm>
#include <chrono>
#include <utility>

#include "core/base64.hpp"
#include "core/hash.hpp"
#include "core/json.hpp"
#include "core/random.hpp"
#include "mcp/auth_metadata.hpp"

namespace parley::mcp {

core::Result<net::SigningKey const*> Dpop::key() {
    if (!key_) {
        auto made = net::SigningKey::generate_es256();
        if (!made) return made.error();
        key_ = std::move(*made);
    }
    return &*key_;
}

core::Result<std::string> Dpop::thumbprint() {
    auto const signing_key = key();
    if (!signing_key) return signing_key.error();
    return (*signing_key)->thumbprint();
}

core::Result<std::string> Dpop::proof_line(std::string_view method, std::string_view url,
                                           std::string_view access_token) {
    auto const signing_key = key();
    if (!signing_key) return signing_key.error();
    auto const now = std::chrono::floor<std::chrono::seconds>(std::chrono::system_clock::now());
    auto const header = R"({"typ":"dpop+jwt","alg":"ES256","jwk":)" + (*signing_key)->public_jwk() + "}";
    auto claims = R"({"jti":")" + core::base64url(core::random_bytes(16)) + R"(","htm":)";
    core::append_json_string(claims, method);
    claims += R"(,"htu":)";
    core::append_json_string(claims, url.substr(0, url.find_first_of("?#"))); // §4.2: without query and fragment
    claims += R"(,"iat":)" + std::to_string(now.time_since_epoch().count());
    if (!access_token.empty()) {
        auto const digest = core::sha256(access_token);
        claims += R"(,"ath":")" + core::base64url({reinterpret_cast<char const*>(digest.data()), digest.size()}) + '"';
    }
    auto const nonce = nonces_.find(origin_of(url));
    if (nonce != nonces_.end()) {
        claims += R"(,"nonce":)";
        core::append_json_string(claims, nonce->second);
    }
    auto const proof = (*signing_key)->sign(header, claims + "}");
    if (!proof) return proof.error();
    return "dpop: " + *proof + "\r\n";
}

bool Dpop::keep_nonce(std::string_view url, std::string_view nonce) {
    auto const odd = [](char c) { return c < 0x21 || c > 0x7e || c == '"' || c == '\\'; }; // §8.1: NQCHAR
    if (nonce.empty() || nonce.size() > kNonceBytesMax || std::ranges::any_of(nonce, odd)) return false;
    auto const origin = origin_of(url);
    if (nonces_.size() >= kOriginsMax && !nonces_.contains(origin)) return false;
    return std::exchange(nonces_[origin], std::string(nonce)) != nonce;
}

} // namespace parley::mcp
