// The pages that a tool's result names, so that a reader can check what a model makes of it. Pure.
#pragma once

#include <boost/json/object.hpp>

#include <string_view>
#include <vector>

#include "chat/run_event.hpp"

namespace parley::mcp {

/// Gathers pages from a result, each URL (http or https) once, no more than kSourcesMax: resource links and embedded
/// resources; objects with a `url` (or `link`, `uri`) in structured content or in text that is JSON; and lines
/// `Title: …`, `URL: …` as search servers write them.
class SourceFinder {
public:
    static constexpr std::size_t kSourcesMax = 20;

    /// A block of type resource_link, or the `resource` of an embedded one.
    void read_resource(boost::json::object const& resource);
    void read_json(boost::json::value const& value) { read_json(value, 0); }
    void read_text(std::string_view text);

    std::vector<chat::ToolSource> sources;

private:
    void read_json(boost::json::value const& value, int depth);
    void read_lines(std::string_view text);
    void add(std::string_view title, std::string_view url, std::string_view text);
};

} // namespace parley::mcp
