// A string that cannot be printed by accident: no formatter, no stream operator, no conversion.
#pragma once

#include <string>
#include <string_view>
#include <utility>

namespace parley::core {

class Secret {
public:
    Secret() = default;
    explicit Secret(std::string value) : value_(std::move(value)) {}

    bool empty() const noexcept { return value_.empty(); }

    /// The value itself: only where it is sent to the server that it is for, or hashed.
    std::string const& reveal() const noexcept { return value_; }

    bool operator==(Secret const&) const = default;

private:
    std::string value_;
};

} // namespace parley::core
