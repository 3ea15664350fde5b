#include <algorithm>

#include "storage/database.hpp"

namespace parley::storage {
namespace {

std::string const kNothing;

} // namespace

std::int64_t integer(Value const& value) noexcept {
    auto const* const number = std::get_if<std::int64_t>(&value);
    return number ? *number : 0;
}

std::string const& text(Value const& value) noexcept {
    auto const* const found = std::get_if<std::string>(&value);
    return found ? *found : kNothing;
}

std::string const& bytes(Value const& value) noexcept {
    auto const* const found = std::get_if<Blob>(&value);
    return found ? found->bytes : kNothing;
}

Blob blob(core::Sha256 const& digest) {
    return {std::string(reinterpret_cast<char const*>(digest.data()), digest.size())};
}

core::Sha256 digest(Value const& value) noexcept {
    core::Sha256 out{};
    auto const& found = bytes(value);
    if (found.size() == out.size()) std::copy(found.begin(), found.end(), out.begin());
    return out;
}

} // namespace parley::storage
