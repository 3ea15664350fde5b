#include "net/form.hpp"

#include <algorithm>
#include <utility>

#include "core/percent.hpp"
#include "net/url.hpp"

namespace parley::net {

void append_form(std::string& form, std::string_view name, std::string_view value) {
    if (!form.empty() && form.back() != '?' && form.back() != '&') form.push_back('&');
    form.append(core::percent_encode(name)).push_back('=');
    form.append(core::percent_encode(value));
}

core::Result<std::optional<std::string>> form_value(std::string_view form, std::string_view name) {
    std::optional<std::string> found;
    while (!form.empty()) {
        auto const end = std::min(form.find('&'), form.size());
        auto const pair = form.substr(0, end);
        form.remove_prefix(std::min(end + 1, form.size()));
        auto const equals = std::min(pair.find('='), pair.size());
        std::string raw(pair.substr(0, equals));
        std::ranges::replace(raw, '+', ' ');
        auto const key = decode_segment(raw);
        if (!key || *key != name) continue; // a broken name is not ours
        if (found) return core::make_error(core::Errc::kInvalidValue, "'" + std::string(name) + "' is given twice.");
        raw.assign(pair.substr(std::min(equals + 1, pair.size())));
        std::ranges::replace(raw, '+', ' ');
        auto value = decode_segment(raw);
        if (!value) return value.error();
        found = std::move(*value);
    }
    return found;
}

} // namespace parley::net
