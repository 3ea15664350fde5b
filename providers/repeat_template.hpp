// The cheap way through a stream: nearly every chunk differs from the one before it in a single string. When the bytes
// before and after that string are the same, the chunk means the same, with another text: nothing has to be parsed.
// Owned by one decoder, single-threaded.
#pragma once

#include <cstring>
#include <optional>
#include <string>
#include <string_view>

#include "core/json.hpp"

namespace parley::providers {

class RepeatTemplate {
public:
    void forget() noexcept { known_ = false; }

    /// `body` is a JSON string body inside `chunk`, which has been parsed and means nothing but that text.
    void learn(std::string_view chunk, std::string_view body) {
        std::size_t const begin = static_cast<std::size_t>(body.data() - chunk.data());
        before_.assign(chunk.substr(0, begin));
        after_.assign(chunk.substr(begin + body.size()));
        known_ = true;
    }

    /// The body in the same place of `chunk`; nullopt when it has to be parsed: other bytes around it, or a text that
    /// is empty or not a clean string body.
    std::optional<std::string_view> match(std::string_view chunk) {
        if (!known_ || chunk.size() <= before_.size() + after_.size()) return std::nullopt;
        if (std::memcmp(chunk.data(), before_.data(), before_.size()) != 0 || !chunk.ends_with(after_))
            return std::nullopt;
        std::string_view const body = chunk.substr(before_.size(), chunk.size() - before_.size() - after_.size());
        if (core::repair_json_body(body, scratch_).data() != body.data()) return std::nullopt;
        return body;
    }

private:
    bool known_ = false;
    std::string before_; // up to and with the opening quote
    std::string after_;  // from the closing quote on
    std::string scratch_;
};

} // namespace parley::providers
