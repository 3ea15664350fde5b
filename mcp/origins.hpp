// Requests to OAuth servers. Their URLs come from outside, so each is checked before anybody connects: https, or http
// at the tool server's own origin or between servers of this machine; no private address unless the tool server lives
// in such a place too. No redirect is followed, and answers are small. Owned by one authorizer, used on its loop.
#pragma once

#include <chrono>
#include <cstdint>
#include <map>
#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/context.hpp"
#include "core/task.hpp"
#include "mcp/server_spec.hpp"
#include "net/http_client.hpp"

namespace parley::mcp {

/// Who named a URL. What the configuration names may be anywhere.
enum class NamedBy : std::uint8_t { kServer, kConfiguration };

struct OAuthRequest {
    std::string_view method = "GET";
    std::string url;
    std::string headers = {}; // complete lines, each ending in CRLF
    std::string body = {};
    NamedBy named_by = NamedBy::kServer;
};

struct OAuthAnswer {
    int status = 0;
    std::string body;
    std::string dpop_nonce;
    std::string location;
};

class Origins {
public:
    static constexpr std::size_t kAnswerBytesMax = 64 * 1024;
    static constexpr std::size_t kOriginsMax = 16; // in the life of an authorizer: servers may not name ever new ones
    static constexpr std::chrono::milliseconds kTimeout{10'000};

    /// `tls` may be null: then a context is made when the first https URL comes.
    Origins(std::shared_ptr<ServerSpec const> spec, net::HttpClient& http, std::shared_ptr<net::TlsContext> tls);

    /// Sends one request and reads the whole answer, whatever its status. Errors: those of permit() and of HttpClient.
    core::Task<OAuthAnswer> send(core::Context const& context, OAuthRequest request);

    /// Whether a URL that the tool server or its authorization server names may be used at all.
    /// Errors: kUpstreamAuth in plain words. Call it after the first send(), which learns where the tool server lives.
    core::Result<> permit(std::string_view url) const;

private:
    struct Place {
        net::Url url; // its path is empty
        std::string target;
    };
    static core::Result<Place> parse(std::string_view url);
    core::Result<> permit(Place const& place) const;
    core::Result<std::shared_ptr<net::Upstream const>> upstream_of(Place const& place, NamedBy named_by);
    core::Task<> learn_own_place(core::Context const& context);

    std::shared_ptr<ServerSpec const> spec_;
    net::HttpClient& http_;
    std::shared_ptr<net::TlsContext> tls_;
    std::optional<net::AddressKind> own_place_;
    std::map<std::string, std::shared_ptr<net::Upstream const>> upstreams_;
};

} // namespace parley::mcp
