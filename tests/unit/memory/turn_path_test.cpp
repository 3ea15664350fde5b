// What names the same turn, and what names another one.
#include "memory/turn_path.hpp"

#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <deque>

namespace parley::memory {
namespace {

using ::testing::ElementsAre;

// A conversation written down as JSON, held for as long as its messages are looked at.
class Talk {
public:
    explicit Talk(std::string_view messages, std::vector<std::string> client_tools = {}) {
        auto const value = boost::json::parse(messages);
        for (auto const& one : value.as_array()) {
            auto const& object = one.as_object();
            auto const& json = texts_.emplace_back(boost::json::serialize(one));
            auto const* const content = object.if_contains("content");
            auto const& slice = texts_.emplace_back(content ? boost::json::serialize(*content) : "");
            auto const role = object.at("role").as_string();
            auto kind = chat::Role::kUser;
            for (auto const known :
                 {chat::Role::kSystem, chat::Role::kDeveloper, chat::Role::kAssistant, chat::Role::kTool})
                if (chat::role_name(known) == std::string_view(role.data(), role.size())) kind = known;
            messages_.push_back({kind, json, slice});
        }
        turns = turns_of(messages_, client_tools);
    }

    TurnId last() const { return turns.empty() ? kRoot : turns.back().id; }
    std::string kinds() const {
        std::string out;
        for (auto const& turn : turns)
            out += "iat"[static_cast<int>(turn.kind)];
        return out;
    }
    std::vector<std::pair<std::size_t, std::size_t>> ranges() const {
        std::vector<std::pair<std::size_t, std::size_t>> out;
        for (auto const& turn : turns)
            out.emplace_back(turn.first, turn.last);
        return out;
    }

    std::vector<Turn> turns;

private:
    std::deque<std::string> texts_;
    std::vector<chat::Message> messages_;
};

constexpr auto* kShort = R"([{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello."},
                             {"role":"user","content":"2+2?"}])";

TEST(TurnPath, EachTurnIsTheChildOfTheOneBefore) {
    Talk const talk(kShort);
    EXPECT_EQ(talk.kinds(), "iai");
    EXPECT_EQ(talk.turns[0].parent, kRoot);
    EXPECT_EQ(talk.turns[1].parent, talk.turns[0].id);
    EXPECT_EQ(talk.turns[2].parent, talk.turns[1].id);
    EXPECT_EQ(Talk("[]").kinds(), "");
}

TEST(TurnPath, TheSameHistoryIsTheSamePath) {
    EXPECT_EQ(Talk(kShort).last(), Talk(kShort).last());
    EXPECT_EQ(Talk(kShort).last(),
              Talk(R"([{"role":"system","content":"It is Monday."},{"role":"user","content":" Hi\n"},
        {"role":"developer","content":"x"},{"role":"assistant","content":[{"type":"text","text":"Hello."}],"refusal":null},
        {"role":"user","content":[{"text":"2+2?","type":"text"}]}])")
                  .last())
        << "system messages, forms of the same content and white space at the ends do not matter";
}

TEST(TurnPath, AnEditIsAnotherBranch) {
    auto const other = Talk(R"([{"role":"user","content":"Hi"},{"role":"assistant","content":"Hello."},
                                {"role":"user","content":"2+3?"}])");
    EXPECT_EQ(other.turns[1].id, Talk(kShort).turns[1].id);
    EXPECT_NE(other.last(), Talk(kShort).last());
    EXPECT_NE(Talk(R"([{"role":"user","content":"2+2?"}])").last(), Talk(kShort).last()) << "the place counts";
    EXPECT_NE(Talk(R"([{"role":"user","content":"a"},{"role":"user","content":"b"}])").last(),
              Talk(R"([{"role":"user","content":"ab"}])").last());
    EXPECT_NE(Talk(R"([{"role":"user","content":"a"}])").last(),
              Talk(R"([{"role":"assistant","content":"a"}])").last());
}

TEST(TurnPath, PicturesCount) {
    auto const with = [](std::string const& url) {
        return Talk(
            R"([{"role":"user","content":[{"type":"text","text":"What?"},{"type":"image_url","image_url":{"url":")" +
            url + R"("}}]}])");
    };
    EXPECT_EQ(with("data:a").last(), with("data:a").last());
    EXPECT_NE(with("data:a").last(), with("data:b").last());
    EXPECT_EQ(Talk(R"([{"role":"user","content":[{"type":"x","b":1,"a":{"d":1,"c":2}}]}])").last(),
              Talk(R"([{"role":"user","content":[{"a":{"c":2,"d":1},"b":1,"type":"x"}]}])").last());
}

// The four ways in which a client tells an answer with a tool round.
TEST(TurnPath, RoundsOfTheAgentsToolsDoNotCount) {
    auto const tail = std::string(R"(,{"role":"user","content":"Thanks"}])");
    auto const native = Talk(R"([{"role":"user","content":"Sum?"},
        {"role":"assistant","content":"Let me see. ","tool_calls":[{"id":"c1","type":"function","function":{"name":"math__add","arguments":"{}"}}]},
        {"role":"tool","tool_call_id":"c1","content":"42"},
        {"role":"assistant","content":"It is 42."})" +
                             tail);
    auto const text =
        Talk(R"([{"role":"user","content":"Sum?"},{"role":"assistant","content":"Let me see. It is 42."})" + tail);
    auto const markup = Talk(
        R"([{"role":"user","content":"Sum?"},{"role":"assistant","content":"Let me see.\n<details type=\"tool_calls\" done=\"true\">\n<summary>x</summary>\n</details>\nIt is 42."})" +
        tail);
    auto const thought = Talk(
        R"([{"role":"user","content":"Sum?"},{"role":"assistant","content":"<think>sums…</think>Let me see. It is 42."})" +
        tail);
    EXPECT_EQ(native.kinds(), "iai");
    EXPECT_THAT(native.ranges(), ElementsAre(std::pair(0U, 1U), std::pair(1U, 4U), std::pair(4U, 5U)));
    EXPECT_EQ(native.last(), text.last());
    EXPECT_EQ(native.last(), markup.last());
    EXPECT_EQ(native.last(), thought.last());
    EXPECT_EQ(native.turns[1].id, answer_id(native.turns[0].id, "Let me see. It is 42.", ""));
}

TEST(TurnPath, ToolsOfTheClientAreTurns) {
    auto const asks = std::string(R"([{"role":"user","content":"Where?"},
        {"role":"assistant","content":null,"tool_calls":[{"id":"c1","type":"function","function":{"name":"ask_user","arguments":"{\"q\":1}"}}]})");
    auto const talk = Talk(
        asks + R"(,{"role":"tool","tool_call_id":"c1","content":"Berlin"},{"role":"assistant","content":"There."}])",
        {"ask_user"});
    EXPECT_EQ(talk.kinds(), "iata");
    EXPECT_THAT(talk.ranges(), ElementsAre(std::pair(0U, 1U), std::pair(1U, 2U), std::pair(2U, 3U), std::pair(3U, 4U)));
    EXPECT_EQ(Talk(asks + "]", {"ask_user"}).last(), talk.turns[1].id);
    EXPECT_EQ(talk.turns[1].id,
              answer_id(talk.turns[0].id, "",
                        R"([{"id":"c1","type":"function","function":{"name":"ask_user","arguments":"{}"}}])"));
    auto const other = Talk(asks + R"(,{"role":"tool","tool_call_id":"c1","content":"Paris"}])", {"ask_user"});
    EXPECT_NE(other.last(), talk.turns[2].id);
}

TEST(TurnPath, AContinuedAnswerIsABranch) {
    auto const before = Talk(R"([{"role":"user","content":"Count"},{"role":"assistant","content":"1 2"}])");
    auto const after = Talk(R"([{"role":"user","content":"Count"},{"role":"assistant","content":"1 2 3"}])");
    EXPECT_EQ(before.turns[0].id, after.turns[0].id);
    EXPECT_NE(before.last(), after.last());
}

TEST(TurnPath, StrangeMessagesAreReadAllTheSame) {
    for (auto const* const json :
         {R"([{"role":"user"}])", R"([{"role":"user","content":null}])", R"([{"role":"user","content":[]}])",
          R"([{"role":"tool","content":"x"}])", R"([{"role":"assistant","content":"tool_calls","tool_calls":7}])",
          R"([{"role":"assistant","tool_calls":[7,{},{"function":3},{"function":{"name":"a"}}]}])"})
        EXPECT_NO_THROW(Talk(json, {"a"})) << json;
}

} // namespace
} // namespace parley::memory
