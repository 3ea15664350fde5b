// application/x-www-form-urlencoded: the bodies of OAuth requests and the queries of redirects. No I/O.
#pragma once

#include <optional>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace parley::net {

/// Appends name=value, after a '&' unless `form` is empty or ends in '?' or '&'.
void append_form(std::string& form, std::string_view name, std::string_view value);

/// The decoded value of `name`; nothing when it is absent. Errors: kInvalidValue when it occurs twice (RFC 6749 §3.1:
/// parameters must not be repeated) or holds a broken escape.
core::Result<std::optional<std::string>> form_value(std::string_view form, std::string_view name);

} // namespace parley::net
