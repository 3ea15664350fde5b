#include "net/url.hpp"

#include <boost/url/parse.hpp>
#include <boost/url/url_view.hpp>

#include "core/hex.hpp"

namespace parley::net {

std::string Url::authority() const {
    auto out = host.find(':') == std::string::npos ? host : "[" + host + "]";
    if (port != (tls ? 443 : 80)) out += ":" + std::to_string(port);
    return out;
}

core::Result<Url> parse_url(std::string_view text) {
    auto const fault = [&](std::string_view what) {
        return core::make_error(core::Errc::kInvalidValue, "'" + std::string(text) + "' " + std::string(what));
    };
    auto const parsed = boost::urls::parse_uri(boost::core::string_view(text.data(), text.size()));
    if (!parsed) return fault("is not a URL such as https://host/v1");
    auto const& url = *parsed;
    Url out;
    if (url.scheme_id() == boost::urls::scheme::https) { // in whatever letters
        out.tls = true;
    } else if (url.scheme_id() != boost::urls::scheme::http) {
        return fault("must start with http:// or https://");
    }
    if (url.has_userinfo()) return fault("must not hold a user name or password; use api_key or headers");
    if (url.has_query() || url.has_fragment()) return fault("must not hold a query or a fragment");
    out.host = url.host_address();
    if (out.host.empty()) return fault("has no host");
    auto const port = std::string_view(url.port().data(), url.port().size());
    if (url.has_port() && (url.port_number() == 0 || std::to_string(url.port_number()) != port)) {
        return fault("has no valid port");
    }
    out.port = url.has_port() ? url.port_number() : static_cast<std::uint16_t>(out.tls ? 443 : 80);
    auto const path = url.encoded_path();
    out.path.assign(path.data(), path.size());
    while (!out.path.empty() && out.path.back() == '/')
        out.path.pop_back();
    return out;
}

core::Result<std::string> decode_segment(std::string_view segment) {
    std::string out;
    out.reserve(segment.size());
    for (std::size_t i = 0; i < segment.size(); ++i) {
        if (segment[i] != '%') {
            out.push_back(segment[i]);
            continue;
        }
        auto const high = i + 2 < segment.size() ? core::hex_value(segment[i + 1]) : -1;
        auto const low = i + 2 < segment.size() ? core::hex_value(segment[i + 2]) : -1;
        if (high < 0 || low < 0 || (high == 0 && low == 0)) {
            return core::make_error(core::Errc::kInvalidValue, "The path holds a broken percent escape.");
        }
        out.push_back(static_cast<char>(high * 16 + low));
        i += 2;
    }
    return out;
}

} // namespace parley::net
