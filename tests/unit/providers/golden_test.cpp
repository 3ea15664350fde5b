// Walks tests/golden/<provider>/<case>/ and checks each dialect against its fixtures: what is sent, and how each answer
// is read, however it is cut. The format is described in tests/golden/README.md. Test side only.
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <gtest/gtest.h>

#include <algorithm>
#include <cctype>
#include <cstdlib>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <memory>
#include <optional>
#include <sstream>
#include <stdexcept>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.hpp"
#include "providers/dialect.hpp"
#include "tests/unit/providers/event_json.hpp"
#include "tests/unit/providers/turn_from_json.hpp"

// Set by CMake; without it the tests must be run in the root of the repository.
#ifndef PARLEY_SOURCE_DIR
#define PARLEY_SOURCE_DIR "."
#endif

namespace parley::tests {

namespace {

namespace fs = std::filesystem;
namespace json = boost::json;

constexpr std::size_t kSplitsMax = 2048; // per response; a longer one is split at evenly spread points

struct Case {
    fs::path folder;

    std::string provider() const { return folder.parent_path().filename().string(); }
    std::string name() const { return provider() + "/" + folder.filename().string(); }
    bool has(char const* file) const { return fs::exists(folder / file); }
};

void PrintTo(Case const& c, std::ostream* out) {
    *out << c.name();
}

fs::path golden_root() {
    return fs::path(PARLEY_SOURCE_DIR) / "tests/golden";
}

bool updating() {
    return std::getenv("PARLEY_GOLDEN_UPDATE") != nullptr;
}

bool has_response(Case const& c) {
    return c.has("response.sse") || c.has("response.ndjson") || c.has("response.json") || c.has("response.http");
}

bool encodes(Case const& c) {
    return c.has("turn.json") && (c.has("request.json") || updating());
}
bool decodes(Case const& c) {
    return has_response(c) && (c.has("events.jsonl") || updating());
}

std::vector<Case> find_cases(bool (*wanted)(Case const&)) {
    std::vector<Case> cases;
    for (auto const& provider : fs::directory_iterator(golden_root())) {
        if (!provider.is_directory()) continue;
        for (auto const& folder : fs::directory_iterator(provider)) {
            Case found{folder.path()};
            if (folder.is_directory() && wanted(found)) cases.push_back(std::move(found));
        }
    }
    std::sort(cases.begin(), cases.end(), [](Case const& a, Case const& b) { return a.folder < b.folder; });
    return cases;
}

std::string read_file(fs::path const& path) {
    std::ifstream in(path, std::ios::binary);
    if (!in) throw std::runtime_error("fixture: cannot read " + path.string());
    std::ostringstream text;
    text << in.rdbuf();
    return std::move(text).str();
}

void write_file(fs::path const& path, std::string const& text) {
    std::ofstream(path, std::ios::binary) << text;
}

json::object read_turn(Case const& c) {
    return c.has("turn.json") ? json::parse(read_file(c.folder / "turn.json")).as_object() : json::object{};
}

json::object member_object(json::object const& from, char const* name) {
    json::value const* value = from.if_contains(name);
    return value ? value->as_object() : json::object{};
}

std::unique_ptr<providers::Dialect> make_dialect(Case const& c) {
    json::object const options = member_object(read_turn(c), "options");
    json::value const* version = options.if_contains("api_version");
    json::value const* v1 = options.if_contains("v1");
    bool const is_v1 = v1 && v1->as_bool();
    std::string const api_version = version ? version->as_string().c_str() : is_v1 ? "" : "2024-10-21";

    std::string const type = c.provider();
    if (type == "openai") return providers::make_openai_dialect(false);
    if (type == "openai_official") return providers::make_openai_dialect(true);
    if (type == "azure_openai_cc") return providers::make_azure_chat_dialect(api_version, is_v1);
    if (type == "azure_openai") return providers::make_azure_responses_dialect(api_version, is_v1);
    if (type == "openrouter") return providers::make_openrouter_dialect();
    if (type == "ollama") return providers::make_ollama_dialect();
    throw std::runtime_error("fixture: no dialect for folder " + type);
}

struct Response {
    int status = 200;
    bool streaming = false;
    std::string retry_after;
    std::string retry_after_ms;
    std::string body;
};

/// Status line, headers, empty line, body; lines end in LF or CRLF.
Response parse_http(std::string const& text) {
    Response response;
    std::size_t at = 0;
    auto next_line = [&] {
        std::size_t const end = std::min(text.find('\n', at), text.size());
        std::string line = text.substr(at, end - at);
        if (!line.empty() && line.back() == '\r') line.pop_back();
        at = std::min(end + 1, text.size());
        return line;
    };
    std::string const status_line = next_line();
    response.status = std::stoi(status_line.substr(status_line.find(' ') + 1));
    for (std::string line = next_line(); !line.empty(); line = next_line()) {
        std::size_t const colon = line.find(": ");
        if (colon == std::string::npos) throw std::runtime_error("fixture: bad header line " + line);
        std::string name = line.substr(0, colon);
        std::transform(name.begin(), name.end(), name.begin(),
                       [](char c) { return c >= 'A' && c <= 'Z' ? c + 32 : c; });
        std::string const value = line.substr(colon + 2);
        if (name == "retry-after") response.retry_after = value;
        if (name == "retry-after-ms") response.retry_after_ms = value;
        if (name == "content-type") {
            response.streaming = value.starts_with("text/event-stream") || value.starts_with("application/x-ndjson");
        }
    }
    response.body = text.substr(at);
    return response;
}

std::optional<Response> read_response(Case const& c) {
    if (c.has("response.http")) return parse_http(read_file(c.folder / "response.http"));
    for (auto const& [file, streaming] :
         {std::pair{"response.sse", true}, {"response.ndjson", true}, {"response.json", false}}) {
        if (!c.has(file)) continue;
        Response response;
        response.streaming = streaming;
        response.body = read_file(c.folder / file);
        return response;
    }
    return std::nullopt;
}

/// Feeds `pieces` as a connection would: each in memory of its own, until the decoder has enough or the body ends.
json::array decode(providers::Dialect const& dialect, bool streaming, std::vector<std::string_view> const& pieces) {
    auto const decoder = dialect.decoder(streaming);
    json::array lines;
    std::vector<chat::RunEvent> events;
    for (std::string_view const piece : pieces) {
        auto const memory = std::make_unique<char[]>(piece.size());
        if (!piece.empty()) std::memcpy(memory.get(), piece.data(), piece.size());
        events.clear();
        auto const fed = decoder->feed({memory.get(), piece.size()}, events);
        append_events(lines, events);
        if (!fed) {
            lines.push_back(error_to_json(fed.error()));
            return lines;
        }
        if (decoder->done()) return lines;
    }
    events.clear();
    auto const finished = decoder->finish(events);
    append_events(lines, events);
    if (!finished) lines.push_back(error_to_json(finished.error()));
    return lines;
}

json::array decode_whole(providers::Dialect const& dialect, Response const& response) {
    if (response.status < 200 || response.status > 299) {
        providers::ErrorAnswer const answer{response.status, response.body, response.retry_after,
                                            response.retry_after_ms};
        return json::array{error_to_json(dialect.decode_error(answer))};
    }
    return decode(dialect, response.streaming, {response.body});
}

json::array read_events(fs::path const& path) {
    json::array lines;
    std::istringstream in(read_file(path));
    for (std::string line; std::getline(in, line);) {
        if (!line.empty()) append_event_line(lines, json::parse(line).as_object());
    }
    return lines;
}

std::string to_lines(json::array const& lines) {
    std::string text;
    for (auto const& line : lines)
        text += json::serialize(line) + "\n";
    return text;
}

class GoldenRequest : public testing::TestWithParam<Case> {};
class GoldenAnswer : public testing::TestWithParam<Case> {};

TEST_P(GoldenRequest, IsEncoded) {
    Case const& c = GetParam();

    json::object const turn_json = read_turn(c);
    TurnFromJson const reader(member_object(turn_json, "request"));
    auto const dialect = make_dialect(c);
    auto const model = dialect->prepare(spec_from_json(member_object(turn_json, "agent")));
    auto const encoded = dialect->encode(*model, reader.turn());

    json::object actual;
    if (encoded) {
        auto const valid = core::check_json(encoded->text(), 64);
        ASSERT_TRUE(valid) << valid.error().message << "\n" << encoded->text();
        actual = {{"path", encoded->path}, {"body", json::parse(encoded->text())}};
    } else {
        actual = error_to_json(encoded.error());
    }
    if (updating()) write_file(c.folder / "request.json", json::serialize(actual) + "\n");

    json::object const expected = json::parse(read_file(c.folder / "request.json")).as_object();
    if (expected.contains("error")) {
        EXPECT_TRUE(lines_match({expected}, {actual})) << "sent: " << json::serialize(actual);
    } else {
        EXPECT_EQ(expected, actual) << "expected: " << json::serialize(expected)
                                    << "\nsent:     " << json::serialize(actual);
    }
}

TEST_P(GoldenAnswer, IsDecodedHoweverItIsCut) {
    Case const& c = GetParam();
    auto const response = read_response(c);
    ASSERT_TRUE(response);

    auto const dialect = make_dialect(c);
    json::array const whole = decode_whole(*dialect, *response);
    if (updating()) write_file(c.folder / "events.jsonl", to_lines(whole));
    json::array const expected = read_events(c.folder / "events.jsonl");
    ASSERT_TRUE(lines_match(expected, whole)) << "expected:\n" << to_lines(expected) << "got:\n" << to_lines(whole);
    if (response->status != 200) return;

    std::string_view const body = response->body;
    std::size_t const step = body.size() / kSplitsMax + 1;
    for (std::size_t at = 0; at <= body.size(); at += step) {
        json::array const split = decode(*dialect, response->streaming, {body.substr(0, at), body.substr(at)});
        ASSERT_EQ(whole, split) << "split at " << at << ", got:\n" << to_lines(split);
    }
    std::vector<std::string_view> bytes;
    for (std::size_t at = 0; at < body.size(); ++at)
        bytes.push_back(body.substr(at, 1));
    json::array const bytewise = decode(*dialect, response->streaming, bytes);
    ASSERT_EQ(whole, bytewise) << "byte by byte, got:\n" << to_lines(bytewise);
}

TEST(Golden, EveryCaseChecksSomething) {
    auto const all = find_cases([](Case const&) { return true; });
    EXPECT_FALSE(all.empty());
    for (auto const& c : all) {
        EXPECT_TRUE(encodes(c) || decodes(c)) << c.name();
        EXPECT_TRUE(!c.has("request.json") || c.has("turn.json")) << c.name();
        EXPECT_EQ(c.has("events.jsonl"), has_response(c)) << c.name();
    }
}

std::string test_name(testing::TestParamInfo<Case> const& info) {
    std::string name = info.param.name();
    std::replace_if(name.begin(), name.end(), [](char c) { return !std::isalnum(static_cast<unsigned char>(c)); }, '_');
    return name;
}

INSTANTIATE_TEST_SUITE_P(Fixtures, GoldenRequest, testing::ValuesIn(find_cases(encodes)), test_name);
INSTANTIATE_TEST_SUITE_P(Fixtures, GoldenAnswer, testing::ValuesIn(find_cases(decodes)), test_name);

} // namespace

} // namespace parley::tests
