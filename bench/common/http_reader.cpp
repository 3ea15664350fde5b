// HTTP/1.1 message framing for the benchmark tools, see http_reader.hpp (RFC 9112 sections 6 and 7).
// Owned by each connection of a tool.
// Runs on the single thread of each tool.
#include "bench/common/http_reader.hpp"

#include <algorithm>
#include <charconv>

namespace parley::bench {
namespace {

bool same_name(std::string_view left, std::string_view right) {
    auto const lower = [](char byte) { return byte >= 'A' && byte <= 'Z' ? static_cast<char>(byte + 32) : byte; };
    return left.size() == right.size() &&
           std::equal(left.begin(), left.end(), right.begin(), [&](char a, char b) { return lower(a) == lower(b); });
}

std::string_view trimmed(std::string_view text) {
    while (!text.empty() && (text.front() == ' ' || text.front() == '\t'))
        text.remove_prefix(1);
    while (!text.empty() && (text.back() == ' ' || text.back() == '\t' || text.back() == '\r'))
        text.remove_suffix(1);
    return text;
}

int hex_digit(char byte) {
    if (byte >= '0' && byte <= '9') return byte - '0';
    if (byte >= 'a' && byte <= 'f') return byte - 'a' + 10;
    if (byte >= 'A' && byte <= 'F') return byte - 'A' + 10;
    return -1;
}

} // namespace

int HttpReader::status() const {
    std::string_view const line = first_line_;
    int value = 0;
    if (line.size() >= 12) std::from_chars(line.data() + 9, line.data() + 12, value);
    return value;
}

void HttpReader::reset() {
    state_ = State::kHead;
    chunked_ = false;
    has_length_ = false;
    keep_alive_ = true;
    has_retry_after_ = false;
    body_bytes_left_ = 0;
    trailer_line_bytes_ = 0;
    head_.clear();
    first_line_.clear();
}

std::size_t HttpReader::read_head(std::string_view input) {
    if (head_.empty()) {
        std::size_t const end = input.find("\r\n\r\n");
        if (end != std::string_view::npos) {
            parse_head(input.substr(0, end + 2));
            return end + 4;
        }
        head_.assign(input);
        return input.size();
    }
    std::size_t const before = head_.size();
    head_.append(input);
    std::size_t const end = head_.find("\r\n\r\n", before < 3 ? 0 : before - 3);
    if (end != std::string::npos) {
        parse_head(std::string_view(head_).substr(0, end + 2));
        return end + 4 - before;
    }
    if (head_.size() > kHeadBytesMax) state_ = State::kFailed;
    return input.size();
}

void HttpReader::parse_head(std::string_view head) {
    std::size_t line_end = head.find("\r\n");
    first_line_.assign(head.substr(0, line_end));
    head.remove_prefix(line_end + 2);
    while (!head.empty()) {
        line_end = head.find("\r\n");
        std::string_view const line = head.substr(0, line_end);
        std::size_t const colon = line.find(':');
        if (colon != std::string_view::npos) parse_field(line.substr(0, colon), trimmed(line.substr(colon + 1)));
        head.remove_prefix(line_end + 2);
    }
    if (state_ == State::kFailed) return;
    if (chunked_) {
        state_ = State::kChunkSize;
        body_bytes_left_ = 0;
    } else if (has_length_) {
        state_ = body_bytes_left_ == 0 ? State::kComplete : State::kBody;
    } else {
        state_ = kind_ == Kind::kRequest ? State::kComplete : State::kFailed;
    }
}

void HttpReader::parse_field(std::string_view name, std::string_view value) {
    if (same_name(name, "content-length")) {
        auto const parsed = std::from_chars(value.data(), value.data() + value.size(), body_bytes_left_);
        has_length_ = parsed.ec == std::errc{};
        if (!has_length_) state_ = State::kFailed;
    } else if (same_name(name, "transfer-encoding")) {
        chunked_ = same_name(value, "chunked");
        if (!chunked_) state_ = State::kFailed;
    } else if (same_name(name, "connection")) {
        keep_alive_ = !same_name(value, "close");
    } else if (same_name(name, "retry-after")) {
        has_retry_after_ = !value.empty();
    }
}

void HttpReader::end_chunk_size() {
    trailer_line_bytes_ = 0;
    state_ = body_bytes_left_ == 0 ? State::kTrailer : State::kChunkData;
}

void HttpReader::read_chunk_framing(char byte) {
    switch (state_) {
        case State::kChunkSize: {
            int const digit = hex_digit(byte);
            if (digit >= 0) {
                body_bytes_left_ = body_bytes_left_ * 16 + static_cast<std::size_t>(digit);
            } else if (byte == '\n') {
                end_chunk_size();
            } else {
                state_ = byte == '\r' || byte == ';' || byte == ' ' ? State::kChunkExtension : State::kFailed;
            }
            return;
        }
        case State::kChunkExtension:
            if (byte == '\n') end_chunk_size();
            return;
        case State::kChunkEnd:
            if (byte == '\n') state_ = State::kChunkSize;
            return;
        case State::kTrailer:
            if (byte == '\n') {
                if (trailer_line_bytes_ == 0) state_ = State::kComplete;
                trailer_line_bytes_ = 0;
            } else if (byte != '\r') {
                ++trailer_line_bytes_;
            }
            return;
        default:
            return;
    }
}

} // namespace parley::bench
