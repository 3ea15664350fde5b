// Reads one JSON object of a configuration file member by member: type, range, list of values, variables put in.
// Everything wrong becomes a Fault and reading goes on, so that one report names all faults.
// Used by the config_*.cpp files during one load; single-threaded.
#pragma once

#include <boost/json/object.hpp>

#include <cstdint>
#include <optional>
#include <span>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "agents/config.hpp"
#include "core/expand.hpp"

namespace parley::agents {

/// What the readers of one file share. `faults` and `warnings` outlive it.
struct FileScope {
    std::string file;
    core::VariableLookup lookup;
    std::vector<Fault>& faults;
    std::vector<std::string>& warnings;
};

/// "a string", "a number", "an object" ...
std::string_view describe_type(boost::json::value const& value) noexcept;

/// A number as a person writes it: 0.5, where Boost.JSON has 5E-1.
std::string number_text(boost::json::value const& number);

/// `text` in JSON quotes, cut after 60 bytes. Only for text that is no secret.
std::string in_quotes(std::string_view text);

/// "a, b, c", the first `count_max` of them.
std::string joined(std::span<std::string_view const> words, std::size_t count_max = 60);

/// `did you mean "x"?`, or nothing when no candidate is near.
std::string did_you_mean(std::string_view word, std::span<std::string_view const> candidates);

/// "A is not set", "A and B are not set"; empty for no names.
std::string not_set(std::vector<std::string> const& names);

template <class E>
using Choice = std::pair<std::string_view, E>;

class ObjectReader {
public:
    /// `unset` takes the names of variables without value; all references must outlive the reader.
    ObjectReader(FileScope& scope, boost::json::object const& object, std::string pointer,
                 std::vector<std::string>& unset)
        : scope_(scope), object_(object), pointer_(std::move(pointer)), unset_(&unset) {}

    FileScope& scope() const noexcept { return scope_; }
    std::string const& pointer() const noexcept { return pointer_; }
    boost::json::object const& object() const noexcept { return object_; }

    /// From now on names of variables without value go to `unset`.
    void unset_into(std::vector<std::string>& unset) noexcept { unset_ = &unset; }

    /// A fault for each key that is not among `keys`.
    void allow_only(std::span<std::string_view const> keys) const;

    /// Present and not null: null means the same as absent everywhere in the configuration.
    bool has(std::string_view key) const noexcept { return find(key) != nullptr; }
    boost::json::value const* find(std::string_view key) const noexcept;

    /// The text of a string as written in the file; empty if there is none. For quoting in faults.
    std::string_view written(std::string_view key) const noexcept;

    // Each of these returns nothing when the member is absent, at fault (which is noted), or needs a variable that
    // is not set (which is noted too).
    std::optional<std::string> text(std::string_view key, std::string_view allowed = "a string") const;
    std::optional<std::string> text_not_empty(std::string_view key) const; // "" is a fault
    std::optional<bool> boolean(std::string_view key) const;
    std::optional<std::int64_t> integer(std::string_view key, std::int64_t min, std::int64_t max) const;
    std::optional<double> number_above_zero(std::string_view key, double max) const;
    std::optional<double> number_from_zero(std::string_view key, double max) const;
    std::optional<double> number_within(std::string_view key, double min, double max) const;
    std::optional<std::vector<std::string>> texts(std::string_view key, bool empty_allowed = false) const;
    std::optional<std::vector<std::pair<std::string, core::Secret>>> secrets_by_name(std::string_view key) const;
    std::optional<boost::json::object> free_object(std::string_view key) const; // variables put in at every level
    boost::json::object const* object(std::string_view key) const;              // as written

    template <class E>
    std::optional<E> choice(std::string_view key, std::span<Choice<E> const> choices) const {
        std::vector<std::string_view> names;
        for (auto const& [name, value] : choices)
            names.push_back(name);
        auto const word = text(key, "a string: " + joined(names));
        if (!word) return std::nullopt;
        for (auto const& [name, value] : choices)
            if (name == *word) return value;
        fault(key, in_quotes(written(key)), joined(names), did_you_mean(*word, names));
        return std::nullopt;
    }

    void fault(std::string_view key, std::string found, std::string allowed, std::string hint = {}) const;
    void fault_here(std::string found, std::string allowed, std::string hint = {}) const; // about the object itself
    void fault_at(std::string pointer, std::string found, std::string allowed, std::string hint = {}) const;

    /// Puts the variables into one string that stands at `pointer`.
    std::optional<std::string> expanded(std::string_view written, std::string const& pointer) const;

private:
    std::optional<double> number(std::string_view key, double max, bool zero_allowed) const;
    boost::json::value expanded_tree(boost::json::value const& value, std::string const& pointer) const;

    FileScope& scope_;
    boost::json::object const& object_;
    std::string pointer_;
    std::vector<std::string>* unset_;
};

} // namespace parley::agents
