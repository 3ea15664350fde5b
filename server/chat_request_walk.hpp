// One pass over a checked part of the request, with simdjson's on-demand reader. Included by sources only, so that
// simdjson stays out of every other file. Owned by one call, on the stack.
#pragma once

#include <simdjson.h>

#include <optional>
#include <string_view>

#include "core/json_object.hpp"
#include "server/chat_request_checks.hpp"

namespace parley::server {

namespace od = simdjson::ondemand;

/// The text has passed core::check_json, so the reader's own errors cannot occur: kInternal if they do.
inline core::Error walk_error() {
    return core::make_error(core::Errc::kInternal, "checked JSON could not be read");
}

inline std::string_view trim_end(std::string_view text) noexcept {
    return text.substr(0, text.find_last_not_of(" \t\r\n") + 1);
}

class Walk {
public:
    /// Indexes the slice anew: for small ones.
    explicit Walk(Slice slice) {
        auto const capacity = static_cast<std::size_t>(slice.readable_end - slice.json.data());
        auto& document = own_.emplace();
        if (!document.parser.get().iterate(slice.json.data(), slice.json.size(), capacity).get(document.document))
            document_ = &document.document;
    }

    /// Goes to `member` in the index that the check of the whole request has made.
    Walk(core::CheckedObject& object, core::JsonMember const& member) {
        auto const value = object.enter(member);
        if (!value) return;
        document_ = &object.document();
        value_ = *value;
    }

    Walk(Walk const&) = delete;
    Walk& operator=(Walk const&) = delete;

    core::Result<od::array> array() { return open<od::array>(); }
    core::Result<od::object> object() { return open<od::object>(); }

    /// From `begin` to the end of the value that has just been iterated to its end; never the root.
    std::string_view slice_from(char const* begin) {
        char const* next = nullptr; // the comma or bracket behind the value
        if (document_->current_location().get(next)) return {};
        return trim_end({begin, next});
    }

    /// The whole value, which is not looked into.
    static std::string_view take(od::value& value) {
        auto const token = value.raw_json_token();
        od::object object;
        od::array array;
        std::string_view json = token;
        if (token.starts_with('{')) {
            if (value.get_object().get(object) || object.raw_json().get(json)) return {};
        } else if (token.starts_with('[')) {
            if (value.get_array().get(array) || array.raw_json().get(json)) return {};
        }
        return trim_end(json);
    }

    /// Calls visit(key, value) for each member; stops at the first error.
    template <class Visit>
    static core::Result<> members(od::object object, Visit visit) {
        for (auto field : object) {
            std::string_view key;
            od::value value;
            if (field.unescaped_key().get(key) || field.value().get(value)) return walk_error();
            if (core::Result<> visited = visit(key, value); !visited) return visited;
        }
        return {};
    }

    /// Calls visit(index, value) for each element; stops at the first error.
    template <class Visit>
    static core::Result<> elements(od::array array, Visit visit) {
        std::size_t index = 0;
        for (auto element : array) {
            od::value value;
            if (element.get(value)) return walk_error();
            if (core::Result<> visited = visit(index++, value); !visited) return visited;
        }
        return {};
    }

private:
    struct Own {
        core::JsonParser parser;
        od::document document;
    };

    template <class Root>
    core::Result<Root> open() {
        Root root;
        if (document_ == nullptr) return walk_error();
        if (value_ ? value_->get<Root>().get(root) : document_->get<Root>().get(root)) return walk_error();
        return root;
    }

    std::optional<Own> own_;
    std::optional<od::value> value_;
    od::document* document_ = nullptr; // null = it could not be read
};

} // namespace parley::server
