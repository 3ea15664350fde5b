// What a model wrote as the arguments of a call, checked against the tool's own schema before anything runs.
// An ArgumentSchema belongs to one tool set of one loop.
#pragma once

#include <boost/json/object.hpp>

#include <memory>
#include <optional>
#include <string>
#include <string_view>

#include "core/result.hpp"

namespace parley::agents {

inline constexpr std::size_t kArgumentsBytesMax = 1U << 20U;
inline constexpr std::size_t kArgumentsDepthMax = 64;

/// Reads the text of a call's arguments; nothing at all is taken as {}. The error's message is for the model.
core::Result<boost::json::object> parse_arguments(std::string_view text);

/// A compiled schema. One that cannot be read accepts everything: the server has the last word anyway.
class ArgumentSchema {
public:
    explicit ArgumentSchema(std::string_view schema);
    ~ArgumentSchema();
    ArgumentSchema(ArgumentSchema const&) = delete;
    ArgumentSchema& operator=(ArgumentSchema const&) = delete;

    /// What is wrong, in words for the model; nothing when the arguments fit. Regular expressions and formats are left
    /// to the server, because checking them can take for ever.
    std::optional<std::string> problem(boost::json::object const& arguments) const;

private:
    struct Compiled; // hides the library
    std::unique_ptr<Compiled> compiled_;
};

} // namespace parley::agents
