#include "core/hash.hpp"

#include <openssl/crypto.h>
#include <openssl/evp.h>

#include <memory>
#include <stdexcept>

#include "core/hex.hpp"

namespace parley::core {
namespace {

[[noreturn]] void give_up() {
    throw std::runtime_error("libcrypto cannot compute SHA-256");
}

// The algorithm is looked up once (OpenSSL 3 otherwise does it for every digest), the state is made once a thread.
class Sha256State {
public:
    Sha256State() {
        if (!algorithm_ || !context_ || EVP_DigestInit_ex2(context_.get(), algorithm_.get(), nullptr) != 1) give_up();
    }

    Sha256 digest(std::string_view bytes) {
        Sha256 digest{};
        unsigned size = 0;
        auto* const context = context_.get();
        if (EVP_DigestInit_ex2(context, nullptr, nullptr) != 1 ||
            EVP_DigestUpdate(context, bytes.data(), bytes.size()) != 1 ||
            EVP_DigestFinal_ex(context, digest.data(), &size) != 1 || size != digest.size()) {
            give_up();
        }
        return digest;
    }

private:
    struct Free {
        void operator()(EVP_MD* algorithm) const noexcept { EVP_MD_free(algorithm); }
        void operator()(EVP_MD_CTX* context) const noexcept { EVP_MD_CTX_free(context); }
    };
    std::unique_ptr<EVP_MD, Free> algorithm_{EVP_MD_fetch(nullptr, "SHA256", nullptr)};
    std::unique_ptr<EVP_MD_CTX, Free> context_{EVP_MD_CTX_new()};
};

} // namespace

Sha256 sha256(std::string_view bytes) {
    thread_local Sha256State state;
    return state.digest(bytes);
}

std::string sha256_hex(std::string_view bytes) {
    auto const digest = sha256(bytes);
    return hex({reinterpret_cast<char const*>(digest.data()), digest.size()});
}

bool equal_in_constant_time(Sha256 const& a, Sha256 const& b) noexcept {
    return CRYPTO_memcmp(a.data(), b.data(), a.size()) == 0;
}

} // namespace parley::core
