// Expansion of ${VAR} in configuration strings, see expand.hpp.
// Owned by whoever loads configuration; no state.
// Linear in the text: every byte is looked at once by find and once by the reader of a reference.
#include "core/expand.hpp"

#include <algorithm>

namespace parley::core {
namespace {

constexpr std::string_view kForms = "write ${NAME}, ${NAME:-default} or ${env:NAME}; $${ stands for a literal ${";

constexpr std::size_t kUnsetNamesMax = 64; // enough to be told; keeps a hostile text linear

bool is_name_start(char c) noexcept {
    return (c >= 'A' && c <= 'Z') || (c >= 'a' && c <= 'z') || c == '_';
}

bool is_name_part(char c) noexcept {
    return is_name_start(c) || (c >= '0' && c <= '9');
}

bool is_name(std::string_view text) noexcept {
    return !text.empty() && is_name_start(text.front()) && std::all_of(text.begin(), text.end(), is_name_part);
}

// VS Code names its inputs with dashes and dots too.
bool is_input_name(std::string_view text) noexcept {
    return !text.empty() &&
           std::all_of(text.begin(), text.end(), [](char c) { return is_name_part(c) || c == '-' || c == '.'; });
}

struct Reference {
    std::string_view name; // with its `input:`, without `env:`
    std::optional<std::string_view> fallback;
};

// `inside` is what stands between `${` and the first `}`.
std::optional<Reference> parse_reference(std::string_view inside) noexcept {
    Reference reference;
    if (auto const mark = inside.find(":-"); mark != std::string_view::npos) {
        reference.fallback = inside.substr(mark + 2);
        inside = inside.substr(0, mark);
        // A default is not expanded, so a reference in it would be sent on as it stands.
        if (reference.fallback->find("${") != std::string_view::npos) return std::nullopt;
    }
    constexpr std::string_view kEnv = "env:";
    constexpr std::string_view kInput = "input:";
    if (inside.substr(0, kInput.size()) == kInput) {
        if (!is_input_name(inside.substr(kInput.size()))) return std::nullopt;
        reference.name = inside;
        return reference;
    }
    if (inside.substr(0, kEnv.size()) == kEnv) inside.remove_prefix(kEnv.size());
    if (!is_name(inside)) return std::nullopt;
    reference.name = inside;
    return reference;
}

void add_unset(std::vector<std::string>& unset, std::string_view name) {
    if (unset.size() >= kUnsetNamesMax) return;
    if (std::find(unset.begin(), unset.end(), name) == unset.end()) unset.emplace_back(name);
}

} // namespace

Expansion expand(std::string_view text, VariableLookup const& lookup, std::size_t bytes_max) {
    Expansion result;
    auto const fail = [&result](std::size_t at_bytes, std::string problem) {
        result.problem = std::move(problem);
        result.problem_at_bytes = at_bytes;
    };
    std::size_t at = 0;
    while (at < text.size()) {
        auto const open = text.find("${", at);
        auto const plain = text.substr(at, open == std::string_view::npos ? open : open - at);
        bool const escaped = open != std::string_view::npos && !plain.empty() && plain.back() == '$';
        result.text += escaped ? plain.substr(0, plain.size() - 1) : plain;
        if (result.text.size() > bytes_max) break;
        if (open == std::string_view::npos) return result;
        if (escaped) {
            result.text += "${";
            at = open + 2;
            continue;
        }
        auto const close = text.find('}', open);
        if (close == std::string_view::npos) {
            fail(open, "a ${ without its }; " + std::string(kForms));
            return result;
        }
        auto const reference = parse_reference(text.substr(open + 2, close - open - 2));
        if (!reference) {
            fail(open, "a ${...} that names no variable; " + std::string(kForms));
            return result;
        }
        result.has_reference = true;
        auto value = lookup ? lookup(reference->name) : std::nullopt;
        if (value && !value->empty()) {
            result.text += *value;
        } else if (reference->fallback) {
            result.text += *reference->fallback;
        } else {
            add_unset(result.unset, reference->name);
        }
        at = close + 1;
    }
    if (result.text.size() > bytes_max) {
        result.text.clear();
        fail(0, "longer than " + std::to_string(bytes_max) + " bytes once its variables are put in");
    }
    return result;
}

} // namespace parley::core
