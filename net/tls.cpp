#include "net/tls.hpp"

#include <openssl/err.h>
#include <openssl/ssl.h>
#include <openssl/x509v3.h>

#include <stdexcept>
#include <system_error>
#include <utility>

namespace parley::net {

class TlsContext {
public:
    explicit TlsContext(SSL_METHOD const* method) : context(SSL_CTX_new(method), &SSL_CTX_free) {
        if (!context) throw std::runtime_error("OpenSSL cannot make a TLS context");
    }
    std::unique_ptr<SSL_CTX, decltype(&SSL_CTX_free)> context;
};

struct TlsSessionCache::State {
    std::unique_ptr<SSL_SESSION, decltype(&SSL_SESSION_free)> session{nullptr, &SSL_SESSION_free};
};

TlsSessionCache::TlsSessionCache() : state_(std::make_unique<State>()) {}
TlsSessionCache::~TlsSessionCache() = default;

namespace {

std::string openssl_reason() {
    auto const code = ERR_get_error();
    ERR_clear_error();
    if (code == 0) return "no reason given";
    if (ERR_SYSTEM_ERROR(code)) return std::system_category().message(ERR_GET_REASON(code));
    char const* const reason = ERR_reason_error_string(code);
    return reason ? reason : "error " + std::to_string(code);
}

bool is_address(std::string const& host) {
    boost::system::error_code error;
    boost::asio::ip::make_address(host, error);
    return !error;
}

void set_common_options(SSL_CTX* context) {
    SSL_CTX_set_min_proto_version(context, TLS1_2_VERSION);
    SSL_CTX_set_options(context, SSL_OP_NO_COMPRESSION | SSL_OP_NO_RENEGOTIATION);
    SSL_CTX_set_mode(context,
                     SSL_MODE_ENABLE_PARTIAL_WRITE | SSL_MODE_ACCEPT_MOVING_WRITE_BUFFER | SSL_MODE_RELEASE_BUFFERS);
}

// Keeps the newest session ticket for the next connection to the same origin.
int remember_session(SSL* ssl, SSL_SESSION* session) {
    auto* const state = static_cast<TlsSessionCache::State*>(SSL_get_app_data(ssl));
    if (!state) return 0;
    state->session.reset(session);
    return 1; // we own the reference now
}

class TlsStream final : public Stream {
public:
    TlsStream(Loop& loop, TcpSocket socket, std::shared_ptr<TlsContext> context, bool server)
        : Stream(loop, std::move(socket)),
          context_(std::move(context)),
          ssl_(SSL_new(context_->context.get()), &SSL_free) {
        if (!ssl_) throw std::runtime_error("OpenSSL cannot make a TLS connection");
        SSL_set_fd(ssl_.get(), descriptor());
        if (server) {
            SSL_set_accept_state(ssl_.get());
        } else {
            SSL_set_connect_state(ssl_.get());
        }
    }

    using Stream::try_write;

    SSL* ssl() noexcept { return ssl_.get(); }

    IoCount try_read(std::span<char> into) noexcept override {
        if (failed_ || !is_open()) return {IoStatus::kError, 0}; // OpenSSL would go on with the number
        ERR_clear_error();
        std::size_t n = 0;
        auto const ok = SSL_read_ex(ssl_.get(), into.data(), into.size(), &n);
        return outcome(ok, n);
    }

    IoCount try_write(std::string_view bytes) noexcept override {
        if (failed_ || !is_open()) return {IoStatus::kError, 0}; // OpenSSL would go on with the number
        if (bytes.empty()) return {IoStatus::kOk, 0};
        ERR_clear_error();
        std::size_t n = 0;
        auto const ok = SSL_write_ex(ssl_.get(), bytes.data(), bytes.size(), &n);
        return outcome(ok, n);
    }

    core::Awaitable<core::Result<>> handshake() override {
        for (;;) {
            ERR_clear_error();
            auto const done = SSL_do_handshake(ssl_.get());
            if (done == 1) co_return core::Result<>{};
            auto const got = outcome(0, 0);
            if (!got.would_block())
                co_return core::make_error(core::Errc::kUpstreamTls, "The TLS handshake failed.", {}, last_error());
            if (is_open()) co_await wait();
            if (!is_open()) co_return core::make_error(core::Errc::kUpstreamTls, "The TLS handshake was cut off.");
        }
    }

    void shutdown_send() noexcept override {
        if (!failed_ && is_open() && SSL_is_init_finished(ssl_.get())) {
            ERR_clear_error();
            SSL_shutdown(ssl_.get()); // sends close_notify; the peer's answer is not waited for
        }
        Stream::shutdown_send();
    }

    bool has_buffered() const noexcept override { return SSL_has_pending(ssl_.get()) == 1; }

    std::string last_error() const override {
        auto const verified = SSL_get_verify_result(ssl_.get());
        if (verified != X509_V_OK) return std::string("certificate: ") + X509_verify_cert_error_string(verified);
        return reason_;
    }

private:
    IoCount outcome(int ok, std::size_t n) noexcept {
        if (ok == 1) return {IoStatus::kOk, n};
        switch (SSL_get_error(ssl_.get(), 0)) {
            case SSL_ERROR_WANT_READ:
                note_emptied();
                return {IoStatus::kWouldBlockRead, 0};
            case SSL_ERROR_WANT_WRITE:
                return {IoStatus::kWouldBlockWrite, 0};
            case SSL_ERROR_ZERO_RETURN:
                return {IoStatus::kEof, 0};
            case SSL_ERROR_SYSCALL:
                failed_ = true;
                reason_ = "connection lost";
                return {IoStatus::kError, 0};
            default:
                failed_ = true;
                // A peer that closes without close_notify: the HTTP framing tells whether that cut anything off.
                if (ERR_GET_REASON(ERR_peek_error()) == SSL_R_UNEXPECTED_EOF_WHILE_READING) {
                    ERR_clear_error();
                    return {IoStatus::kEof, 0};
                }
                reason_ = openssl_reason();
                return {IoStatus::kError, 0};
        }
    }

    std::shared_ptr<TlsContext> context_;
    std::unique_ptr<SSL, decltype(&SSL_free)> ssl_;
    std::string reason_ = "connection lost";
    bool failed_ = false;
};

} // namespace

std::shared_ptr<TlsContext> make_tls_client_context(TlsClientOptions const& options) {
    auto made = std::make_shared<TlsContext>(TLS_client_method());
    auto* const context = made->context.get();
    set_common_options(context);
    SSL_CTX_set_verify(context, SSL_VERIFY_PEER, nullptr);
    auto const loaded = options.ca_file.empty() ? SSL_CTX_set_default_verify_paths(context)
                                                : SSL_CTX_load_verify_file(context, options.ca_file.c_str());
    if (loaded != 1) {
        throw std::runtime_error("cannot read CA certificates from " +
                                 (options.ca_file.empty() ? std::string("the system's trust store") : options.ca_file) +
                                 ": " + openssl_reason());
    }
    SSL_CTX_set_session_cache_mode(context, SSL_SESS_CACHE_CLIENT | SSL_SESS_CACHE_NO_INTERNAL);
    SSL_CTX_sess_set_new_cb(context, &remember_session);
    return made;
}

core::Result<std::shared_ptr<TlsContext>> make_tls_server_context(TlsServerOptions const& options) {
    auto made = std::make_shared<TlsContext>(TLS_server_method());
    auto* const context = made->context.get();
    set_common_options(context);
    // A client must not choose what costs us most: one handshake over ffdhe8192 takes 170 ms (D(HE)at, CVE-2002-20001).
    SSL_CTX_set1_groups_list(context, "X25519:P-256:P-384:P-521");
    SSL_CTX_set_cipher_list(context, "ECDHE+AESGCM:ECDHE+CHACHA20"); // of TLS 1.2: no CBC
    SSL_CTX_set_options(context, SSL_OP_CIPHER_SERVER_PREFERENCE | SSL_OP_PRIORITIZE_CHACHA);
    auto const fault = [](std::string const& file, char const* what) {
        if (file.find("-----BEGIN") != std::string::npos || file.find('\n') != std::string::npos) {
            ERR_clear_error();
            return core::make_error(core::Errc::kInvalidValue, std::string("cannot use ") + what +
                                                                   ": its text was given, where the path of a file "
                                                                   "is wanted");
        }
        return core::make_error(core::Errc::kInvalidValue,
                                std::string("cannot use ") + what + " " + file + ": " + openssl_reason());
    };
    if (SSL_CTX_use_certificate_chain_file(context, options.certificate_file.c_str()) != 1) {
        return fault(options.certificate_file, "the certificate chain");
    }
    if (SSL_CTX_use_PrivateKey_file(context, options.key_file.c_str(), SSL_FILETYPE_PEM) != 1) {
        return fault(options.key_file, "the private key");
    }
    if (SSL_CTX_check_private_key(context) != 1)
        return fault(options.key_file, "the private key (it is not the certificate's)");
    return made;
}

std::unique_ptr<Stream> make_tls_client_stream(Loop& loop, TcpSocket socket, std::shared_ptr<TlsContext> context,
                                               std::string host, TlsSessionCache& sessions) {
    auto stream = std::make_unique<TlsStream>(loop, std::move(socket), std::move(context), false);
    auto* const ssl = stream->ssl();
    auto* const parameters = SSL_get0_param(ssl);
    if (is_address(host)) {
        X509_VERIFY_PARAM_set1_ip_asc(parameters, host.c_str());
    } else {
        X509_VERIFY_PARAM_set1_host(parameters, host.c_str(), host.size());
        SSL_set_tlsext_host_name(ssl, host.c_str());
    }
    SSL_set_app_data(ssl, &sessions.state());
    if (sessions.state().session) SSL_set_session(ssl, sessions.state().session.get());
    return stream;
}

std::unique_ptr<Stream> make_tls_server_stream(Loop& loop, TcpSocket socket, std::shared_ptr<TlsContext> context) {
    return std::make_unique<TlsStream>(loop, std::move(socket), std::move(context), true);
}

} // namespace parley::net
