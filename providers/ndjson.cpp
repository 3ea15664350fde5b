// Line splitter: only a line that is cut by the network is copied, the others are views of what was fed.
// Owned by one decoder, runs on its loop.
#include "providers/ndjson.hpp"

#include <fmt/format.h>

namespace parley::providers {

namespace {

constexpr std::string_view kByteOrderMark = "\xEF\xBB\xBF";

std::string_view without_blanks(std::string_view line) noexcept {
    std::size_t const first = line.find_first_not_of(" \t\r");
    if (first == std::string_view::npos) return {};
    return line.substr(first, line.find_last_not_of(" \t\r") - first + 1);
}

} // namespace

core::Error NdjsonReader::too_long() const {
    return core::make_error(core::Errc::kUpstreamInvalid, "The provider sent a line that is too long to read.", {},
                            fmt::format("NDJSON line of more than {} bytes", line_bytes_max_));
}

core::Result<> NdjsonReader::feed(std::string_view bytes, std::vector<std::string_view>& lines) {
    auto add = [&](std::string_view line) {
        if (first_line_ && line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
        first_line_ = false;
        line = without_blanks(line);
        if (!line.empty()) lines.push_back(line);
    };

    if (!partial_.empty()) {
        std::size_t const end = bytes.find('\n');
        std::string_view const more = bytes.substr(0, end);
        if (partial_.size() + more.size() > line_bytes_max_) return too_long();
        partial_ += more;
        if (end == std::string_view::npos) return {};
        finished_.swap(partial_);
        partial_.clear();
        add(finished_);
        bytes.remove_prefix(end + 1);
    }
    for (std::size_t end = bytes.find('\n'); end != std::string_view::npos; end = bytes.find('\n')) {
        if (end > line_bytes_max_) return too_long();
        add(bytes.substr(0, end));
        bytes.remove_prefix(end + 1);
    }
    if (bytes.size() > line_bytes_max_) return too_long();
    partial_ = bytes;
    return {};
}

std::string_view NdjsonReader::rest() const noexcept {
    std::string_view line = partial_;
    if (first_line_ && line.starts_with(kByteOrderMark)) line.remove_prefix(kByteOrderMark.size());
    return without_blanks(line);
}

} // namespace parley::providers
