// Memory for what a decoder makes itself (repaired, escaped or assembled text) until its events have been read.
// Owned by one decoder, cleared at its next feed or finish; single-threaded.
#pragma once

#include <forward_list>
#include <string>
#include <string_view>
#include <utility>

#include "core/json.hpp"

namespace parley::providers {

class KeptText {
public:
    void clear() noexcept { texts_.clear(); }

    /// Valid until clear().
    std::string_view keep(std::string text) { return texts_.emplace_front(std::move(text)); }

    /// `body` made safe to send on: itself in the usual case, else a repaired copy.
    std::string_view clean_body(std::string_view body) {
        std::string repaired;
        std::string_view const clean = core::repair_json_body(body, repaired);
        return clean.data() == body.data() ? clean : keep(std::move(repaired));
    }

    /// `text` as a string body.
    std::string_view body_of(std::string_view text) {
        std::string body;
        core::append_json_body(body, text);
        return keep(std::move(body));
    }

private:
    std::forward_list<std::string> texts_; // views stay valid while it grows; costs nothing while empty
};

} // namespace parley::providers
