// Reads a chat request into chat::Turn, for tests of dialects: the real reader lives two floors up (server/).
// Owns the bytes that the Turn points into. Test side only; throws on a bad fixture.
#pragma once

#include <boost/json/object.hpp>

#include <memory>
#include <string>
#include <vector>

#include "chat/turn.hpp"
#include "providers/provider.hpp"

namespace parley::tests {

class TurnFromJson {
public:
    explicit TurnFromJson(boost::json::object const& request);

    /// Valid as long as this object.
    chat::Turn const& turn() const { return turn_; }

private:
    std::string_view keep(std::string text);
    void add_message(boost::json::object const& message);

    std::vector<std::unique_ptr<std::string>> storage_;
    std::vector<chat::Message> messages_;
    std::vector<chat::Setting> settings_;
    chat::Turn turn_;
};

/// The `agent` of a fixture.
providers::ModelSpec spec_from_json(boost::json::object const& agent);

} // namespace parley::tests
