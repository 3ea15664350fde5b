// TLS over a non-blocking socket by OpenSSL's own BIO-less path: no copy through memory BIOs, buffers released while
// idle. Contexts are immutable once built and shared by all loops.
#pragma once

#include <memory>
#include <string>

#include "core/result.hpp"
#include "net/stream.hpp"

namespace parley::net {

class TlsContext; // an SSL_CTX

struct TlsClientOptions {
    std::string ca_file; // empty = the system's trust store
};

struct TlsServerOptions {
    std::string certificate_file; // PEM chain
    std::string key_file;         // PEM
};

/// Verifies peers always; TLS 1.2 or newer. Throws std::runtime_error when the CA file cannot be read.
std::shared_ptr<TlsContext> make_tls_client_context(TlsClientOptions const& options);

/// Errors: kInvalidValue naming the file and OpenSSL's reason.
core::Result<std::shared_ptr<TlsContext>> make_tls_server_context(TlsServerOptions const& options);

/// What a client remembers of a server to shorten the next handshake. One per origin and loop.
class TlsSessionCache {
public:
    TlsSessionCache();
    ~TlsSessionCache();
    struct State;
    State& state() noexcept { return *state_; }

private:
    std::unique_ptr<State> state_;
};

/// `host` is checked against the certificate and sent as SNI (unless it is an address).
/// `sessions` must outlive the stream.
std::unique_ptr<Stream> make_tls_client_stream(Loop& loop, TcpSocket socket, std::shared_ptr<TlsContext> context,
                                               std::string host, TlsSessionCache& sessions);
std::unique_ptr<Stream> make_tls_server_stream(Loop& loop, TcpSocket socket, std::shared_ptr<TlsContext> context);

} // namespace parley::net
