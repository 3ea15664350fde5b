#include "net/http_head.hpp"

#include <cstring>

#include "core/ascii.hpp"
#include "net/http_chars.hpp"

namespace parley::net {
namespace {

using namespace http_chars;

std::string_view trim(std::string_view text) noexcept {
    while (!text.empty() && is(text.front(), kSpace))
        text.remove_prefix(1);
    while (!text.empty() && is(text.back(), kSpace))
        text.remove_suffix(1);
    return text;
}

HeadResult bad(int status, std::string_view reason) noexcept {
    return {HeadStatus::kBad, 0, status, reason};
}

constexpr HeadResult kNeedMore{};

// RFC 9112 §3.2: host [":" port]; userinfo, paths and queries have no place here.
bool valid_host(std::string_view host) noexcept {
    if (host.empty()) return false;
    std::string_view rest;
    if (host.front() == '[') {
        auto const close = host.find(']');
        if (close == std::string_view::npos || close < 3) return false;
        for (auto const c : host.substr(1, close - 1)) {
            if (!is(c, kHost) && c != ':') return false;
        }
        rest = host.substr(close + 1);
    } else {
        auto const colon = host.find(':');
        auto const name = host.substr(0, colon);
        if (name.empty() || !all(name, kHost)) return false;
        rest = colon == std::string_view::npos ? std::string_view{} : host.substr(colon);
    }
    if (rest.empty()) return true;
    if (rest.front() != ':' || rest.size() > 6) return false;
    for (auto const c : rest.substr(1)) {
        if (c < '0' || c > '9') return false;
    }
    return true;
}

bool parse_length(std::string_view text, std::uint64_t& out) noexcept {
    if (text.empty() || text.size() > 18) return false; // 18 digits fit in 63 bits
    std::uint64_t value = 0;
    for (auto const c : text) {
        if (c < '0' || c > '9') return false;
        value = value * 10 + static_cast<unsigned>(c - '0');
    }
    out = value;
    return true;
}

// Finds the end of a line that ends in CRLF. A bare CR or LF is bad, told through `clean`.
std::size_t find_line_end(std::string_view bytes, bool& clean) noexcept {
    auto const lf = bytes.find('\n');
    if (lf == std::string_view::npos) return lf;
    clean = lf > 0 && bytes[lf - 1] == '\r';
    return lf;
}

struct Framing {
    std::size_t lengths = 0;
    std::size_t codings = 0;
    std::string_view length = {};
    std::string_view coding = {};
    bool close = false;
    bool keep_alive = false;
};

void read_connection(std::string_view value, Framing& framing) noexcept {
    while (!value.empty()) {
        auto const comma = value.find(',');
        auto const word = trim(value.substr(0, comma));
        framing.close = framing.close || field_is(word, "close");
        framing.keep_alive = framing.keep_alive || field_is(word, "keep-alive");
        if (comma == std::string_view::npos) break;
        value.remove_prefix(comma + 1);
    }
}

void note_framing(Field const& field, Framing& framing) noexcept {
    switch (field.name.size()) {
        case 10:
            if (field_is(field.name, "connection")) read_connection(field.value, framing);
            break;
        case 14:
            if (field_is(field.name, "content-length")) {
                ++framing.lengths;
                framing.length = field.value;
            }
            break;
        case 17:
            if (field_is(field.name, "transfer-encoding")) {
                ++framing.codings;
                framing.coding = field.value;
            }
            break;
        default:
            break;
    }
}

// Reads field lines up to the empty line. `pos` starts behind the start line and ends behind the head.
HeadResult read_fields(std::string_view bytes, std::size_t& pos, HeadLimits const& limits, std::vector<Field>& fields,
                       Framing& framing) {
    fields.reserve(16); // what clients usually send, in one allocation
    for (;;) {
        auto const rest = bytes.substr(pos);
        bool clean = false;
        auto const lf = find_line_end(rest, clean);
        if (lf == std::string_view::npos) {
            if (bytes.size() > limits.head_bytes_max) return bad(431, "The request's header fields are too large.");
            return kNeedMore;
        }
        if (pos + lf + 1 > limits.head_bytes_max) return bad(431, "The request's header fields are too large.");
        if (!clean) return bad(400, "A header line does not end in CRLF.");
        auto const line = rest.substr(0, lf - 1);
        pos += lf + 1;
        if (line.empty()) return {HeadStatus::kDone, pos, 0, {}};
        if (is(line.front(), kSpace)) return bad(400, "A header line starts with white space (folded header).");
        if (fields.size() == limits.fields_max) return bad(431, "The request has too many header fields.");
        auto const colon = line.find(':');
        if (colon == std::string_view::npos) return bad(400, "A header line has no colon.");
        auto const name = line.substr(0, colon);
        if (name.empty() || !all(name, kToken)) return bad(400, "A header name has a character that is not allowed.");
        auto const value = trim(line.substr(colon + 1));
        if (!all_value(value)) return bad(400, "A header value has a control character.");
        note_framing(fields.emplace_back(Field{name, value}), framing);
    }
}

// The one place that decides where a body ends (RFC 9112 §6.3). Anything doubtful is refused.
HeadResult decide_body(Framing const& framing, bool http_1_0, BodyKind& kind, std::uint64_t& length) noexcept {
    constexpr HeadResult kFine{HeadStatus::kDone, 0, 0, {}};
    if (framing.lengths > 1) return bad(400, "More than one Content-Length.");
    if (framing.codings > 1) return bad(400, "More than one Transfer-Encoding.");
    if (framing.codings == 1) {
        if (framing.lengths > 0) return bad(400, "Both Content-Length and Transfer-Encoding.");
        if (http_1_0) return bad(400, "Transfer-Encoding in HTTP/1.0.");
        if (!field_is(framing.coding, "chunked")) {
            auto const known = framing.coding.empty() ||
                               framing.coding.find_first_of(",\"") != std::string_view::npos ||
                               !all(framing.coding, kToken) || field_is(framing.coding, "identity");
            return known ? bad(400, "Transfer-Encoding is not exactly 'chunked'.")
                         : bad(501, "Unknown Transfer-Encoding.");
        }
        kind = BodyKind::kChunked;
        return kFine;
    }
    if (framing.lengths == 1) {
        if (!parse_length(framing.length, length)) return bad(400, "Content-Length is not a plain number.");
        kind = BodyKind::kLength;
    }
    return kFine;
}

HeadResult parse_request_line(std::string_view line, HeadLimits const& limits, RequestHead& out) noexcept {
    auto const space = line.find(' ');
    auto const last = line.rfind(' ');
    if (space == std::string_view::npos || space == last) {
        if (line.size() > limits.target_bytes_max) return bad(414, "The request target is too long.");
        return bad(400, "The request line is not 'METHOD target HTTP/1.1'.");
    }
    out.method = line.substr(0, space);
    auto const target = line.substr(space + 1, last - space - 1);
    auto const version = line.substr(last + 1);
    if (out.method.empty() || out.method.size() > 32 || !all(out.method, kToken))
        return bad(400, "The request method is not a token.");
    if (target.size() > limits.target_bytes_max) return bad(414, "The request target is too long.");
    if (target.empty() || !all(target, kTarget))
        return bad(400, "The request target has a character that is not allowed.");
    if (version == "HTTP/1.0") {
        out.http_1_0 = true;
    } else if (version != "HTTP/1.1") {
        auto const other = version.size() == 8 && version.starts_with("HTTP/") && version[6] == '.';
        return other ? bad(505, "Only HTTP/1.1 and HTTP/1.0 are spoken here.")
                     : bad(400, "The HTTP version is malformed.");
    }
    out.target = target;
    return {HeadStatus::kDone, 0, 0, {}};
}

// Origin form; the absolute form of this very host (RFC 9112 §3.2.2); '*' for OPTIONS.
HeadResult settle_target(RequestHead& out) noexcept {
    auto const host = out.get("host");
    auto const hosts = out.count("host");
    if (hosts > 1) return bad(400, "More than one Host.");
    if (hosts == 0 && !out.http_1_0) return bad(400, "The Host header is missing.");
    if (hosts == 1 && !valid_host(host)) return bad(400, "The Host header is not a host name and port.");
    if (out.target.front() != '/') {
        if (out.method == "CONNECT") return bad(405, "CONNECT is not offered here.");
        auto const scheme = out.target.starts_with("http://") ? 7U : out.target.starts_with("https://") ? 8U : 0U;
        auto const slash = scheme ? out.target.find('/', scheme) : std::string_view::npos;
        auto const ours =
            scheme && slash != std::string_view::npos && out.target.substr(scheme, slash - scheme) == host;
        if (ours) {
            out.target.remove_prefix(slash);
        } else if (out.target != "*" || out.method != "OPTIONS") {
            return bad(400, "The request target is not a path of this server.");
        }
    }
    auto const question = out.target.find('?');
    out.path = out.target.substr(0, question);
    out.query = question == std::string_view::npos ? std::string_view{} : out.target.substr(question + 1);
    return {HeadStatus::kDone, 0, 0, {}};
}

std::string_view find_field(std::vector<Field> const& fields, std::string_view name) noexcept {
    for (auto const& field : fields) {
        if (field_is(field.name, name)) return field.value;
    }
    return {};
}

} // namespace

bool field_is(std::string_view name, std::string_view lower_case) noexcept {
    if (name.size() != lower_case.size()) return false;
    for (std::size_t i = 0; i < name.size(); ++i) {
        if (core::ascii_lower(name[i]) != lower_case[i]) return false;
    }
    return true;
}

std::string_view RequestHead::get(std::string_view name) const noexcept {
    return find_field(fields, name);
}
std::string_view ResponseHead::get(std::string_view name) const noexcept {
    return find_field(fields, name);
}

std::size_t RequestHead::count(std::string_view name) const noexcept {
    std::size_t n = 0;
    for (auto const& field : fields)
        n += field_is(field.name, name) ? 1U : 0U;
    return n;
}

HeadResult parse_request_head(std::string_view bytes, HeadLimits const& limits, RequestHead& out) {
    out.fields.clear();
    out.http_1_0 = out.expects_continue = false;
    out.body = BodyKind::kNone;
    std::size_t start = 0;
    if (bytes.starts_with("\r\n")) start = 2; // RFC 9112 §2.2: one stray empty line is forgiven
    if (bytes.size() > start && !is(bytes[start], kToken)) {
        if (start == 0 && bytes == "\r") return kNeedMore;
        return bad(400, "This is not an HTTP request.");
    }
    bool clean = false;
    auto const lf = find_line_end(bytes.substr(start), clean);
    if (lf == std::string_view::npos) {
        if (bytes.size() > limits.target_bytes_max + 64) return bad(414, "The request target is too long.");
        return kNeedMore;
    }
    if (!clean) return bad(400, "The request line does not end in CRLF.");
    auto const line = parse_request_line(bytes.substr(start, lf - 1), limits, out);
    if (line.status != HeadStatus::kDone) return line;

    Framing framing;
    auto pos = start + lf + 1;
    auto const fields = read_fields(bytes, pos, limits, out.fields, framing);
    if (fields.status != HeadStatus::kDone) return fields;
    auto const target = settle_target(out);
    if (target.status != HeadStatus::kDone) return target;
    auto const body = decide_body(framing, out.http_1_0, out.body, out.content_length);
    if (body.status != HeadStatus::kDone) return body;
    auto const expectations = out.count("expect");
    if (expectations > 0) {
        if (expectations > 1 || !field_is(out.get("expect"), "100-continue"))
            return bad(417, "Only 'Expect: 100-continue' is known.");
        out.expects_continue = !out.http_1_0;
    }
    out.keep_alive = !framing.close && (!out.http_1_0 || framing.keep_alive);
    return {HeadStatus::kDone, pos, 0, {}};
}

HeadResult parse_response_head(std::string_view bytes, HeadLimits const& limits, bool to_head_request,
                               ResponseHead& out) {
    out.fields.clear();
    out.body = BodyKind::kNone;
    bool clean = false;
    auto const lf = find_line_end(bytes, clean);
    if (lf == std::string_view::npos) {
        return bytes.size() > limits.head_bytes_max ? bad(502, "The status line is too long.") : kNeedMore;
    }
    auto const line = bytes.substr(0, clean ? lf - 1 : lf);
    auto const digit = [&line](std::size_t i) { return line[i] >= '0' && line[i] <= '9'; };
    if (!clean || line.size() < 12 || !line.starts_with("HTTP/1.") || (line[7] != '0' && line[7] != '1') ||
        line[8] != ' ' || !digit(9) || !digit(10) || !digit(11) || line[9] == '0' ||
        (line.size() > 12 && line[12] != ' ') || !all(line, kValue)) {
        return bad(502, "The answer does not start with an HTTP/1.1 status line.");
    }
    auto const http_1_0 = line[7] == '0';
    out.status = (line[9] - '0') * 100 + (line[10] - '0') * 10 + (line[11] - '0');
    Framing framing;
    auto pos = lf + 1;
    auto const fields = read_fields(bytes, pos, limits, out.fields, framing);
    if (fields.status != HeadStatus::kDone) return fields;
    auto const body = decide_body(framing, http_1_0, out.body, out.content_length);
    if (body.status != HeadStatus::kDone) return body;
    if (to_head_request || out.status < 200 || out.status == 204 || out.status == 304) {
        out.body = BodyKind::kNone;
    } else if (out.body == BodyKind::kNone) {
        out.body = BodyKind::kUntilClose;
    }
    out.keep_alive = out.body != BodyKind::kUntilClose && !framing.close && (!http_1_0 || framing.keep_alive);
    return {HeadStatus::kDone, pos, 0, {}};
}

} // namespace parley::net
