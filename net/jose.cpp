#include "net/jose.hpp"

#include <openssl/bio.h>
#include <openssl/core_names.h>
#include <openssl/ec.h>
#include <openssl/evp.h>
#include <openssl/hmac.h>
#include <openssl/pem.h>

#include <utility>

#include "core/base64.hpp"
#include "core/hash.hpp"

namespace parley::net {
namespace {

using core::Errc;
using core::make_error;

template <auto Free>
struct Freeing {
    template <class T>
    void operator()(T* object) const noexcept {
        Free(object);
    }
};
using Pkey = std::unique_ptr<EVP_PKEY, Freeing<EVP_PKEY_free>>;
using Digest = std::unique_ptr<EVP_MD_CTX, Freeing<EVP_MD_CTX_free>>;
using Number = std::unique_ptr<BIGNUM, Freeing<BN_free>>;
using Signature = std::unique_ptr<ECDSA_SIG, Freeing<ECDSA_SIG_free>>;
using Memory = std::unique_ptr<BIO, Freeing<BIO_free>>;

constexpr int kP256Bytes = 32;

std::string big_endian(BIGNUM const& number, int bytes) {
    std::string out(static_cast<std::size_t>(bytes), '\0');
    BN_bn2binpad(&number, reinterpret_cast<unsigned char*>(out.data()), bytes);
    return out;
}

/// base64url of one number of the key; `bytes` = its fixed width, 0 = as many as it needs.
std::string coordinate(EVP_PKEY const& key, char const* name, int bytes) {
    BIGNUM* raw = nullptr;
    if (EVP_PKEY_get_bn_param(&key, name, &raw) != 1) return {};
    Number const number(raw);
    return core::base64url(big_endian(*number, bytes != 0 ? bytes : BN_num_bytes(number.get())));
}

std::string jwk_of(EVP_PKEY const& key, bool elliptic) {
    if (elliptic) {
        return R"({"crv":"P-256","kty":"EC","x":")" + coordinate(key, OSSL_PKEY_PARAM_EC_PUB_X, kP256Bytes) +
               R"(","y":")" + coordinate(key, OSSL_PKEY_PARAM_EC_PUB_Y, kP256Bytes) + R"("})";
    }
    return R"({"e":")" + coordinate(key, OSSL_PKEY_PARAM_RSA_E, 0) + R"(","kty":"RSA","n":")" +
           coordinate(key, OSSL_PKEY_PARAM_RSA_N, 0) + R"("})";
}

bool is_p256(EVP_PKEY const& key) {
    char group[32] = {};
    std::size_t size = 0;
    return EVP_PKEY_is_a(&key, "EC") == 1 && EVP_PKEY_get_group_name(&key, group, sizeof group, &size) == 1 &&
           (std::string_view(group, size) == "prime256v1" || std::string_view(group, size) == "P-256");
}

/// libcrypto signs in DER; JOSE wants the two numbers side by side (RFC 7518 §3.4).
core::Result<std::string> raw_ecdsa(std::string_view der) {
    auto const* at = reinterpret_cast<unsigned char const*>(der.data());
    Signature const signature(d2i_ECDSA_SIG(nullptr, &at, static_cast<long>(der.size())));
    if (!signature) return make_error(Errc::kInternal, "libcrypto gave a signature that cannot be read.");
    return big_endian(*ECDSA_SIG_get0_r(signature.get()), kP256Bytes) +
           big_endian(*ECDSA_SIG_get0_s(signature.get()), kP256Bytes);
}

/// Refuses a pass phrase instead of asking for one on the terminal.
int no_pass_phrase(char*, int, int, void*) {
    return -1;
}

} // namespace

struct SigningKey::State {
    Pkey key;
    std::string algorithm;
    std::string jwk;
};

core::Result<SigningKey> SigningKey::generate_es256() {
    Pkey key(EVP_EC_gen("P-256"));
    if (!key) return make_error(Errc::kInternal, "libcrypto cannot make a P-256 key.");
    auto jwk = jwk_of(*key, true);
    return SigningKey(std::make_shared<State const>(State{std::move(key), "ES256", std::move(jwk)}));
}

core::Result<SigningKey> SigningKey::from_pem(std::string_view pem, std::string_view algorithm) {
    auto const elliptic = algorithm == "ES256";
    if (!elliptic && algorithm != "RS256") {
        return make_error(Errc::kInvalidValue,
                          "The signing algorithm '" + std::string(algorithm) + "' is not one of ES256 and RS256.");
    }
    Memory const memory(BIO_new_mem_buf(pem.data(), static_cast<int>(pem.size())));
    Pkey key(memory ? PEM_read_bio_PrivateKey(memory.get(), nullptr, no_pass_phrase, nullptr) : nullptr);
    if (!key) return make_error(Errc::kInvalidValue, "The private key is not PEM without a pass phrase.");
    if (elliptic ? !is_p256(*key) : EVP_PKEY_is_a(key.get(), "RSA") != 1) {
        return make_error(Errc::kInvalidValue,
                          "The private key does not fit the signing algorithm: " +
                              std::string(elliptic ? "ES256 needs a P-256 key." : "RS256 needs an RSA key."));
    }
    auto jwk = jwk_of(*key, elliptic);
    return SigningKey(std::make_shared<State const>(State{std::move(key), std::string(algorithm), std::move(jwk)}));
}

std::string const& SigningKey::algorithm() const noexcept {
    return state_->algorithm;
}
std::string const& SigningKey::public_jwk() const noexcept {
    return state_->jwk;
}

std::string SigningKey::thumbprint() const {
    auto const digest = core::sha256(state_->jwk);
    return core::base64url({reinterpret_cast<char const*>(digest.data()), digest.size()});
}

core::Result<std::string> SigningKey::sign(std::string_view header, std::string_view claims) const {
    auto token = core::base64url(header) + "." + core::base64url(claims);
    Digest const digest(EVP_MD_CTX_new());
    auto const* const input = reinterpret_cast<unsigned char const*>(token.data());
    std::size_t size = 0;
    auto const ready = digest &&
                       EVP_DigestSignInit(digest.get(), nullptr, EVP_sha256(), nullptr, state_->key.get()) == 1 &&
                       EVP_DigestSign(digest.get(), nullptr, &size, input, token.size()) == 1;
    std::string signature(size, '\0');
    if (!ready || EVP_DigestSign(digest.get(), reinterpret_cast<unsigned char*>(signature.data()), &size, input,
                                 token.size()) != 1) {
        return make_error(Errc::kInternal, "libcrypto cannot sign.");
    }
    signature.resize(size);
    if (state_->algorithm == "ES256") {
        auto raw = raw_ecdsa(signature);
        if (!raw) return raw.error();
        signature = std::move(*raw);
    }
    return token + "." + core::base64url(signature);
}

core::Result<VerifiedToken> verify_hs256(std::string_view token, core::Secret const& secret) {
    constexpr std::size_t kTokenBytesMax = 8 * 1024;
    auto const no_token = [] {
        return make_error(Errc::kInvalidValue, "It is not a signed token (header.claims.signature).");
    };
    auto const first = token.find('.');
    auto const last = token.rfind('.');
    if (token.size() > kTokenBytesMax || first == std::string_view::npos || first == last ||
        token.find('.', first + 1) != last) {
        return no_token();
    }
    auto const signed_part = token.substr(0, last);
    unsigned char mac[EVP_MAX_MD_SIZE];
    unsigned size = 0;
    auto const& key = secret.reveal();
    auto const* const input = reinterpret_cast<unsigned char const*>(signed_part.data());
    if (HMAC(EVP_sha256(), key.data(), static_cast<int>(key.size()), input, signed_part.size(), mac, &size) == nullptr)
        return make_error(Errc::kInternal, "libcrypto cannot compute HMAC-SHA256.");
    auto const expected = core::base64url({reinterpret_cast<char const*>(mac), size});
    auto const given = token.substr(last + 1);
    if (given.size() != expected.size() || CRYPTO_memcmp(given.data(), expected.data(), given.size()) != 0)
        return make_error(Errc::kInvalidValue, "Its signature does not fit the shared secret.");
    auto header = core::from_base64url(token.substr(0, first));
    auto claims = core::from_base64url(token.substr(first + 1, last - first - 1));
    if (!header || !claims) return no_token();
    return VerifiedToken{std::move(*header), std::move(*claims)};
}

} // namespace parley::net
