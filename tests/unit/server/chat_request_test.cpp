// What a chat request may say, and what each mistake is answered with: the tables of facts/reliability.md §1.5 (rows
// J1 to J19) and the fields of facts/openai_api.md §1.2.
#include "server/chat_request.hpp"

#include <fmt/format.h>
#include <gtest/gtest.h>

#include <cstddef>
#include <limits>
#include <string>
#include <string_view>
#include <utility>
#include <vector>

#include "core/json.hpp"
#include "core/result.hpp"

namespace parley::server {
namespace {

using core::Errc;

constexpr std::string_view kMessages = R"([{"role":"user","content":"hi"}])";

std::string with(std::string_view members) {
    return fmt::format(R"({{"model":"helper","messages":{}{}{}}})", kMessages, members.empty() ? "" : ",", members);
}

std::string with_messages(std::string_view messages) {
    return fmt::format(R"({{"model":"helper","messages":{}}})", messages);
}

core::Error error_of(std::string body) {
    auto result = parse_chat_request(std::move(body));
    if (!result) return result.error();
    if (result->stray_result) return *result->stray_result;
    ADD_FAILURE() << "was accepted";
    return {};
}

// Empty, or what is wrong.
std::string fault_of(std::string body) {
    auto const result = parse_chat_request(std::move(body));
    auto const error = result ? result->stray_result : result.error();
    return error ? error->message + " @" + error->param : "";
}

TEST(ChatRequest, SlicesTheBodyAndKeepsIt) {
    auto parsed = parse_chat_request(
        "{ \"model\":\"team\\/helper\", \"stream\":true, \"stream_options\":{\"include_usage\":true},\n"
        "\"messages\":[ {\"role\":\"system\",\"content\":\"be \\n kind\"} , {\"role\":\"user\",\"content\":[{\"type\":"
        "\"text\",\"text\":\"a\"}] , \"name\":\"bob\"},{\"content\":null,\"role\":\"assistant\",\"tool_calls\":[{"
        "\"id\":\"c1\",\"type\":\"function\",\"function\":{\"name\":\"f\",\"arguments\":\"{}\"}}]},"
        "{\"role\":\"tool\",\"tool_call_id\":\"c1\",\"content\":\"42\"} ],"
        "\"temperature\":0.7,\"x_custom\":{\"a\":[1]},\"tools\":[{\"type\":\"function\",\"function\":{\"name\":\"f\","
        "\"parameters\":{}}}],\"tool_choice\":\"auto\",\"max_tokens\":10,\"n\":2, \"seed\": null }");
    ASSERT_TRUE(parsed) << parsed.error().message;
    ChatRequest const request = std::move(*parsed);
    EXPECT_EQ(request.model, "team/helper");
    EXPECT_TRUE(request.stream);
    EXPECT_TRUE(request.include_usage);
    EXPECT_EQ(request.n, 2);
    EXPECT_EQ(request.max_tokens, 10);

    auto const turn = request.turn();
    EXPECT_TRUE(turn.stream);
    EXPECT_EQ(turn.tools, R"([{"type":"function","function":{"name":"f","parameters":{}}}])");
    EXPECT_EQ(turn.tool_choice, R"("auto")");
    ASSERT_EQ(turn.messages.size(), 4U);
    EXPECT_EQ(turn.messages[0].follows, nullptr);
    for (std::size_t i = 1; i < 4; ++i) {
        auto const before = turn.messages[i - 1].json;
        ASSERT_EQ(turn.messages[i].follows, before.data() + before.size());
        EXPECT_EQ(std::string_view(turn.messages[i].follows, turn.messages[i].json.data()), i == 1 ? " , " : ",");
    }
    EXPECT_EQ(turn.messages[0].role, chat::Role::kSystem);
    EXPECT_EQ(turn.messages[0].json, R"({"role":"system","content":"be \n kind"})");
    EXPECT_EQ(turn.messages[0].content, R"("be \n kind")");
    EXPECT_EQ(turn.messages[0].role_json, R"("system")");
    EXPECT_TRUE(turn.messages[0].plain);
    EXPECT_EQ(turn.messages[1].json, R"({"role":"user","content":[{"type":"text","text":"a"}] , "name":"bob"})");
    EXPECT_EQ(turn.messages[1].content, R"([{"type":"text","text":"a"}])");
    EXPECT_FALSE(turn.messages[1].plain);
    EXPECT_EQ(turn.messages[2].role, chat::Role::kAssistant);
    EXPECT_EQ(turn.messages[2].content, "null");
    EXPECT_FALSE(turn.messages[2].plain);
    EXPECT_EQ(turn.messages[3].role, chat::Role::kTool);
    EXPECT_EQ(turn.messages[3].content, R"("42")");
    EXPECT_FALSE(turn.messages[3].plain);

    std::vector<std::pair<std::string_view, std::string_view>> settings;
    for (auto const& [name, json] : turn.settings)
        settings.emplace_back(name, json);
    EXPECT_EQ(settings, (decltype(settings){
                            {"temperature", "0.7"}, {"x_custom", R"({"a":[1]})"}, {"max_tokens", "10"}, {"n", "2"}}));
    EXPECT_EQ(request.setting("temperature"), "0.7");
    EXPECT_EQ(request.setting("seed"), "") << "null is as good as absent";
}

TEST(ChatRequest, SlicesSurviveMoves) {
    std::vector<ChatRequest> requests;
    for (int i = 0; i < 20; ++i) {
        auto parsed = parse_chat_request(fmt::format(
            R"({{"model":"m{}","messages":[{{"role":"user","content":"text {}"}}],"t\u006fp_p":0.5,"max_tokens":1e1}})",
            i, i));
        ASSERT_TRUE(parsed) << parsed.error().message;
        requests.push_back(std::move(*parsed));
    }
    for (int i = 0; i < 20; ++i) {
        auto const& request = requests[static_cast<std::size_t>(i)];
        EXPECT_EQ(request.model, fmt::format("m{}", i));
        EXPECT_EQ(request.messages[0].content, fmt::format("\"text {}\"", i));
        EXPECT_EQ(request.setting("top_p"), "0.5") << "a name written with escapes is the same name";
        EXPECT_EQ(request.setting("max_tokens"), "10");
    }
}

// Rows J1 to J5.
TEST(ChatRequest, RefusesWhatIsNotOneJsonObject) {
    struct Row {
        std::string body, message;
    };
    std::string deep;
    for (int i = 0; i < 100'000; ++i)
        deep += '[';
    deep.append(deep.size(), ']');
    Row const rows[] = {
        {"", "Could not parse the JSON body: the text is empty."},
        {" \r\n", "Could not parse the JSON body: the text is empty."},
        {"null", "Invalid request body: expected a JSON object, but got null instead."},
        {"[]", "Invalid request body: expected a JSON object, but got an array instead."},
        {R"([{"model":"x"}])", "Invalid request body: expected a JSON object, but got an array instead."},
        {R"(" x")", "Invalid request body: expected a JSON object, but got a string instead."},
        {"1", "Invalid request body: expected a JSON object, but got an integer instead."},
        {"1.5", "Invalid request body: expected a JSON object, but got a decimal number instead."},
        {"true", "Invalid request body: expected a JSON object, but got a boolean instead."},
        {R"({"model":NaN})", "Could not parse the JSON body: unexpected character 'N' at byte 9 (line 1, column 10)."},
        {R"({"model":'x'})", "Could not parse the JSON body: unexpected character ''' at byte 9 (line 1, column 10)."},
        {R"({"n":1e400})", "Could not parse the JSON body: invalid or too large number at byte 5 (line 1, column 6)."},
        {"\xEF\xBB\xBF{}",
         "Could not parse the JSON body: a byte order mark is not allowed at byte 0 (line 1, column 1)."},
        {R"({"model":"a","mod\u0065l":"b"})", "Could not parse the JSON body: the key 'model' occurs more than once."},
        {deep, "Could not parse the JSON body: more than 32 levels of nesting at byte 32 (line 1, column 33)."},
    };
    for (auto const& row : rows) {
        auto const error = error_of(row.body);
        EXPECT_EQ(error.code, Errc::kInvalidJson) << row.body.substr(0, 40);
        EXPECT_EQ(error.message, row.message);
    }
    for (std::string const body : {R"({"model":"x")", R"({"model":"x",})", "{} {}", "{}x", "{\"a\":1} // c",
                                   "{\"\xFF\":1}", R"({"model":"\ud800"})", R"({"model":"\udc00\ud800"})",
                                   R"({"model":"x)", "{'a':1}", R"({"a":Infinity})", "\xFF\xFE{\0}\0", "hello"}) {
        auto const error = error_of(body);
        EXPECT_EQ(error.code, Errc::kInvalidJson) << body;
        EXPECT_TRUE(error.message.starts_with("Could not parse the JSON body: ")) << error.message;
    }
    for (std::string const key : {"model", "messages", "stream"}) {
        auto const error = error_of(with(fmt::format(R"("stream":true,"{}":true)", key)));
        EXPECT_EQ(error.code, Errc::kInvalidJson);
        EXPECT_EQ(error.param, key) << "two readers could see two different requests";
    }
    std::string const schema = R"("tools":[{"type":"function","function":{"name":"f","parameters":)";
    auto const nested = [&](int levels) {
        std::string text = schema;
        for (int i = 0; i < levels; ++i)
            text += R"({"x":)";
        text += "1";
        for (int i = 0; i < levels; ++i)
            text += "}";
        return with(text + "}}]");
    };
    EXPECT_EQ(fault_of(nested(28)), "");
    EXPECT_EQ(error_of(nested(61)).code, Errc::kInvalidJson);
}

TEST(ChatRequest, NamesWhatIsMissing) {
    struct Row {
        std::string body, param;
    };
    Row const rows[] = {
        {"{}", "model"},
        {fmt::format(R"({{"messages":{}}})", kMessages), "model"},
        {R"({"model":"x"})", "messages"},
        {with_messages(R"([{"content":"x"}])"), "messages[0].role"},
        {with_messages(R"([{"role":"user"}])"), "messages[0].content"},
        {with_messages(R"([{"role":"user","content":"x"},{"role":"assistant"}])"), "messages[1].content"},
        {with_messages(R"([{"role":"assistant","tool_calls":[]}])"), "messages[0].content"},
        {with_messages(R"([{"role":"tool","content":"x"}])"), "messages[0].tool_call_id"},
        {with_messages(R"([{"role":"tool","content":"x","tool_call_id":null}])"), "messages[0].tool_call_id"},
        {with_messages(R"([{"role":"function","content":"x"}])"), "messages[0].name"},
        {with_messages(R"([{"role":"user","content":[{"text":"x"}]}])"), "messages[0].content[0].type"},
        {with_messages(R"([{"role":"user","content":[{"type":"text"}]}])"), "messages[0].content[0].text"},
        {with_messages(R"([{"role":"user","content":[{"type":"text","image_url":{"url":"data:,"}}]}])"),
         "messages[0].content[0].text"},
        {with_messages(R"([{"role":"user","content":[{"type":"image_url","image_url":{}}]}])"),
         "messages[0].content[0].image_url.url"},
        {with_messages(R"([{"role":"user","content":[{"type":"input_audio","input_audio":{"format":"mp3"}}]}])"),
         "messages[0].content[0].input_audio.data"},
        {with_messages(R"([{"role":"user","content":[{"type":"input_audio","input_audio":{"data":""}}]}])"),
         "messages[0].content[0].input_audio.format"},
        {with_messages(R"([{"role":"assistant","tool_calls":[{}]}])"), "messages[0].tool_calls[0].id"},
        {with_messages(R"([{"role":"assistant","tool_calls":[{"id":"a"}]}])"), "messages[0].tool_calls[0].type"},
        {with_messages(R"([{"role":"assistant","tool_calls":[{"id":"a","type":"function"}]}])"),
         "messages[0].tool_calls[0].function"},
        {with_messages(R"([{"role":"assistant","tool_calls":[{"id":"a","type":"function","function":{"name":"f"}}]}])"),
         "messages[0].tool_calls[0].function.arguments"},
        {with_messages(R"([{"role":"assistant","function_call":{"arguments":""}}])"), "messages[0].function_call.name"},
        {with(R"("tools":[{}])"), "tools[0].type"},
        {with(R"("tools":[{"type":"function"}])"), "tools[0].function"},
        {with(R"("tools":[{"type":"function","function":{}}])"), "tools[0].function.name"},
        {with(R"("tools":[{"type":"function","function":{"name":"f"}},{"type":"custom"}])"), "tools[1].custom"},
        {with(R"("tool_choice":{})"), "tool_choice.type"},
        {with(R"("tool_choice":{"type":"function"})"), "tool_choice.function"},
        {with(R"("tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto"}})"),
         "tool_choice.allowed_tools.tools"},
        {with(R"("functions":[{}])"), "functions[0].name"},
        {with(R"("function_call":{})"), "function_call.name"},
        {with(R"("response_format":{})"), "response_format.type"},
        {with(R"("response_format":{"type":"json_schema"})"), "response_format.json_schema"},
        {with(R"("response_format":{"type":"json_schema","json_schema":{}})"), "response_format.json_schema.name"},
    };
    for (auto const& row : rows) {
        auto const error = error_of(row.body);
        EXPECT_EQ(error.code, Errc::kMissingParameter) << row.body;
        EXPECT_EQ(error.param, row.param) << row.body;
        EXPECT_EQ(error.message, fmt::format("Missing required parameter: '{}'.", row.param));
    }
}

// Row J12: every field with every wrong JSON type. `body` has the value at {}; `takes` lists the types that are right.
TEST(ChatRequest, NamesWhatHasTheWrongType) {
    struct Row {
        std::string body, param;
        std::string_view takes; // s string, i integer, f decimal, b boolean, a array, o object, n null
    };
    std::string const user = R"({"model":"m","messages":[{"role":"user","content":"x"},)";
    auto const message = [&](std::string_view json) { return user + std::string(json) + "]}"; };
    auto const part = [&](std::string_view json) {
        return message(R"({"role":"user","content":[)" + std::string(json) + "]}");
    };
    auto const call = [&](std::string_view json) {
        return message(R"({"role":"assistant","tool_calls":[)" + std::string(json) + "]}");
    };
    auto const field = [&](std::string_view name) { return with(fmt::format("\"{}\":@", name)); };
    std::vector<Row> rows = {
        {R"({"messages":[{"role":"user","content":"x"}],"model":@})", "model", "s"},
        {R"({"model":"m","messages":@})", "messages", "a"},
        {message("@"), "messages[1]", "o"},
        {message(R"({"content":"x","role":@})"), "messages[1].role", "s"},
        {message(R"({"role":"user","content":@})"), "messages[1].content", "sa"},
        {message(R"({"role":"assistant","content":@})"), "messages[1].content", "sa"},
        {message(R"({"role":"user","content":"x","name":@})"), "messages[1].name", "sn"},
        {message(R"({"role":"assistant","content":"x","refusal":@})"), "messages[1].refusal", "sn"},
        {message(R"({"role":"assistant","content":"x","audio":@})"), "messages[1].audio", "on"},
        {message(R"({"role":"assistant","content":"x","tool_calls":@})"), "messages[1].tool_calls", "an"},
        {message(R"({"role":"assistant","content":"x","function_call":@})"), "messages[1].function_call", "on"},
        {message(R"({"role":"user","content":"x","tool_call_id":@})"), "messages[1].tool_call_id", "sn"},
        {part("@"), "messages[1].content[0]", "o"},
        {part(R"({"type":@,"text":"x"})"), "messages[1].content[0].type", "s"},
        {part(R"({"type":"text","text":@})"), "messages[1].content[0].text", "s"},
        {part(R"({"type":"image_url","image_url":@})"), "messages[1].content[0].image_url", "o"},
        {part(R"({"type":"image_url","image_url":{"url":@}})"), "messages[1].content[0].image_url.url", "s"},
        {part(R"({"type":"image_url","image_url":{"url":"data:,","detail":@}})"),
         "messages[1].content[0].image_url.detail", "sn"},
        {part(R"({"type":"input_audio","input_audio":@})"), "messages[1].content[0].input_audio", "o"},
        {part(R"({"type":"file","file":@})"), "messages[1].content[0].file", "o"},
        {part(R"({"type":"file","file":{"file_data":@}})"), "messages[1].content[0].file.file_data", "sn"},
        {call("@"), "messages[1].tool_calls[0]", "o"},
        {call(R"({"id":@,"type":"function","function":{"name":"f","arguments":""}})"), "messages[1].tool_calls[0].id",
         "s"},
        {call(R"({"id":"a","type":@,"function":{"name":"f","arguments":""}})"), "messages[1].tool_calls[0].type", "s"},
        {call(R"({"id":"a","type":"function","function":@})"), "messages[1].tool_calls[0].function", "o"},
        {call(R"({"id":"a","type":"function","function":{"name":@,"arguments":""}})"),
         "messages[1].tool_calls[0].function.name", "s"},
        {call(R"({"id":"a","type":"function","function":{"name":"f","arguments":@}})"),
         "messages[1].tool_calls[0].function.arguments", "s"},
        {field("stream"), "stream", "bn"},
        {field("stream_options"), "stream_options", "on"},
        {with(R"("stream_options":{"include_usage":@})"), "stream_options.include_usage", "bn"},
        {with(R"("stream_options":{"include_obfuscation":@})"), "stream_options.include_obfuscation", "bn"},
        {field("tools"), "tools", "an"},
        {with(R"("tools":[@])"), "tools[0]", "o"},
        {with(R"("tools":[{"type":@,"function":{"name":"f"}}])"), "tools[0].type", "s"},
        {with(R"("tools":[{"type":"function","function":@}])"), "tools[0].function", "o"},
        {with(R"("tools":[{"type":"function","function":{"name":@}}])"), "tools[0].function.name", "s"},
        {with(R"("tools":[{"type":"function","function":{"name":"f","description":@}}])"),
         "tools[0].function.description", "sn"},
        {with(R"("tools":[{"type":"function","function":{"name":"f","parameters":@}}])"),
         "tools[0].function.parameters", "on"},
        {with(R"("tools":[{"type":"function","function":{"name":"f","strict":@}}])"), "tools[0].function.strict", "bn"},
        {with(R"("tools":[{"type":"custom","custom":@}])"), "tools[0].custom", "o"},
        {field("tool_choice"), "tool_choice", "son"},
        {with(R"("tool_choice":{"type":"allowed_tools","allowed_tools":@})"), "tool_choice.allowed_tools", "o"},
        {field("functions"), "functions", "an"},
        {field("function_call"), "function_call", "son"},
        {field("response_format"), "response_format", "on"},
        {with(R"("response_format":{"type":@})"), "response_format.type", "s"},
        {with(R"("response_format":{"type":"json_schema","json_schema":@})"), "response_format.json_schema", "o"},
        {field("stop"), "stop", "san"},
        {with(R"("stop":["x",@])"), "stop[1]", "s"},
        {field("logit_bias"), "logit_bias", "on"},
        {with(R"("logit_bias":{"50256":@})"), "logit_bias.50256", "if"},
        {field("user"), "user", "son"},
        {field("metadata"), "metadata", "on"},
        {with(R"("metadata":{"k":@})"), "metadata.k", "s"},
        {field("modalities"), "modalities", "an"},
        {with(R"("modalities":[@])"), "modalities[0]", "s"},
    };
    for (auto const* name : {"max_completion_tokens", "max_tokens", "n", "seed", "top_logprobs"}) {
        rows.push_back({field(name), name, "in"});
    }
    for (auto const* name : {"temperature", "top_p", "presence_penalty", "frequency_penalty"}) {
        rows.push_back({field(name), name, "ifn"});
    }
    for (auto const* name : {"parallel_tool_calls", "logprobs", "store"})
        rows.push_back({field(name), name, "bn"});
    for (auto const* name :
         {"reasoning_effort", "verbosity", "service_tier", "safety_identifier", "prompt_cache_key"}) {
        rows.push_back({field(name), name, "sn"});
    }
    for (auto const* name : {"audio", "prediction", "web_search_options", "prompt_cache_options"}) {
        rows.push_back({field(name), name, "on"});
    }

    struct Wrong {
        char kind;
        std::string_view json, name;
    };
    constexpr Wrong wrongs[] = {{'s', "\"x\"", "a string"}, {'i', "7", "an integer"}, {'f', "1.5", "a decimal number"},
                                {'b', "true", "a boolean"}, {'a', "[1]", "an array"}, {'o', "{\"k\":1}", "an object"},
                                {'n', "null", "null"}};
    std::size_t cases = 0;
    for (auto const& row : rows) {
        for (auto const& wrong : wrongs) {
            if (row.takes.find(wrong.kind) != row.takes.npos) continue;
            ++cases;
            auto body = row.body;
            body.replace(body.find('@'), 1, wrong.json);
            auto const error = error_of(body);
            EXPECT_EQ(error.code, Errc::kInvalidType) << body;
            EXPECT_EQ(error.param, row.param) << body;
            EXPECT_TRUE(error.message.starts_with(fmt::format("Invalid type for '{}': expected ", row.param))) << body;
            EXPECT_TRUE(error.message.ends_with(fmt::format(", but got {} instead.", wrong.name))) << error.message;
        }
        if (row.takes.find('n') != row.takes.npos) { // an optional field: null is as good as absent
            auto body = row.body;
            body.replace(body.find('@'), 1, "null");
            EXPECT_EQ(fault_of(body), "");
        }
    }
    EXPECT_GE(cases, 300U);
}

TEST(ChatRequest, SaysItInOpenAisWords) {
    EXPECT_EQ(error_of(with_messages(R"([{"role":"user","content":"x"},{"role":"user","content":3}])")).message,
              "Invalid type for 'messages[1].content': expected one of a string or array of content parts, but got an "
              "integer instead.");
    EXPECT_EQ(error_of(with_messages(R"([{"role":"boss","content":"x"}])")).message,
              "Invalid value for 'messages[0].role': 'boss'. Supported values are: 'system', 'user', 'assistant', "
              "'tool', 'developer', and 'function'.");
    EXPECT_EQ(error_of(with(R"("temperature":3)")).message,
              "Invalid value for 'temperature': expected a number from 0 to 2, but got 3 instead.");
    EXPECT_EQ(error_of(with(R"("n":0)")).message,
              "Invalid value for 'n': expected an integer from 1 to 128, but got 0 instead.");
    EXPECT_EQ(error_of(with(R"("safety_identifier":")" + std::string(65, 'x') + "\"")).message,
              "Invalid value for 'safety_identifier': expected at most 64 characters, but got 65.");
}

TEST(ChatRequest, RefusesValuesOutOfRange) {
    auto const image = [](std::string_view url) {
        return with_messages(
            fmt::format(R"([{{"role":"user","content":[{{"type":"image_url","image_url":{{"url":"{}"}}}}]}}])", url));
    };
    auto const metadata = [](int pairs, std::size_t key, std::size_t value) {
        std::string json;
        for (int i = 0; i < pairs; ++i) {
            json += fmt::format(R"({}"{:0>{}}":"{}")", i == 0 ? "" : ",", i, key, std::string(value, 'v'));
        }
        return with("\"metadata\":{" + json + "}");
    };
    std::string const call = R"({"id":"a","type":"function","function":{"name":"f","arguments":"{}"}})";
    struct Row {
        std::string body, param;
    };
    Row const rows[] = {
        {R"({"model":"","messages":[]})", "model"},
        {R"({"model":"a\r\nX-Evil: 1","messages":[]})", "model"},
        {fmt::format(R"({{"model":"{}","messages":[]}})", std::string(513, 'm')), "model"},
        {with_messages("[]"), "messages"},
        {with_messages(R"([{"role":"User","content":"x"}])"), "messages[0].role"},
        {with_messages(R"([{"role":"user","content":[]}])"), "messages[0].content"},
        {with_messages(R"([{"role":"user","role":"system","content":"x"}])"), "messages[0].role"},
        {with_messages(R"([{"role":"user","content":"x","content":"y"}])"), "messages[0].content"},
        {with_messages(R"([{"role":"user","content":[{"type":"text","text":"a","text":"b"}]}])"),
         "messages[0].content[0].text"},
        {with_messages(R"([{"role":"user","content":[{"type":"tool_result","text":"a"}]}])"),
         "messages[0].content[0].type"},
        {image("file:///etc/passwd"), "messages[0].content[0].image_url.url"},
        {image("FILE:///etc/passwd"), "messages[0].content[0].image_url.url"},
        {image("\\u0066ile:///etc/passwd"), "messages[0].content[0].image_url.url"},
        {image(" https://x"), "messages[0].content[0].image_url.url"},
        {image("gopher://x"), "messages[0].content[0].image_url.url"},
        {image(""), "messages[0].content[0].image_url.url"},
        {with_messages(
             R"([{"role":"user","content":[{"type":"image_url","image_url":{"url":"data:,","detail":"x"}}]}])"),
         "messages[0].content[0].image_url.detail"},
        {with_messages(
             R"([{"role":"user","content":[{"type":"input_audio","input_audio":{"data":"","format":"x"}}]}])"),
         "messages[0].content[0].input_audio.format"},
        {with_messages(R"([{"role":"user","content":[{"type":"file","file":{"file_data":"file:///etc/passwd"}}]}])"),
         "messages[0].content[0].file.file_data"},
        {with_messages("[{\"role\":\"assistant\",\"tool_calls\":[" + call + "," + call + "]}]"),
         "messages[0].tool_calls[1].id"},
        {with_messages(
             R"([{"role":"assistant","tool_calls":[{"id":"","type":"function","function":{"name":"f","arguments":""}}]}])"),
         "messages[0].tool_calls[0].id"},
        {with_messages(R"([{"role":"assistant","tool_calls":[{"id":"a","type":"magic"}]}])"),
         "messages[0].tool_calls[0].type"},
        {with_messages(R"([{"role":"tool","tool_call_id":"a","content":"x"}])"), "messages[0].tool_call_id"},
        {with_messages("[{\"role\":\"assistant\",\"tool_calls\":[" + call +
                       R"(]},{"role":"tool","tool_call_id":"b","content":"x"}])"),
         "messages[1].tool_call_id"},
        {with_messages("[{\"role\":\"assistant\",\"tool_calls\":[" + call +
                       R"(]},{"role":"tool","tool_call_id":"a","content":"x"},)"
                       R"({"role":"tool","tool_call_id":"a","content":"x"}])"),
         "messages[2].tool_call_id"},
        {with(R"("n":129)"), "n"},
        {with(R"("n":0)"), "n"},
        {with(R"("max_tokens":0)"), "max_tokens"},
        {with(R"("max_tokens":-1)"), "max_tokens"},
        {with(R"("max_tokens":2147483648)"), "max_tokens"},
        {with(R"("max_completion_tokens":1e300)"), "max_completion_tokens"},
        {with(R"("max_tokens":9007199254740993)"), "max_tokens"},
        {with(R"("n":18446744073709551617)"), "n"},
        {with(R"("seed":9223372036854775808)"), "seed"},
        {with(R"("seed":-9223372036854775809)"), "seed"},
        {with(R"("top_logprobs":21)"), "top_logprobs"},
        {with(R"("temperature":-0.1)"), "temperature"},
        {with(R"("temperature":2.01)"), "temperature"},
        {with(R"("top_p":1.01)"), "top_p"},
        {with(R"("presence_penalty":2.1)"), "presence_penalty"},
        {with(R"("frequency_penalty":-2.1)"), "frequency_penalty"},
        {with(R"("logit_bias":{"1":101})"), "logit_bias.1"},
        {with(R"("stop":"")"), "stop"},
        {with(R"("stop":["a","b","c","d","e"])"), "stop"},
        {with(R"("stop":["a",""])"), "stop[1]"},
        {with("\"stop\":\"" + std::string(10'000, 'x') + "\""), "stop"},
        {with(R"("reasoning_effort":"extreme")"), "reasoning_effort"},
        {with(R"("verbosity":"loud")"), "verbosity"},
        {with(R"("response_format":{"type":"xml"})"), "response_format.type"},
        {with(R"("response_format":{"type":"json_schema","json_schema":{"name":"a b"}})"),
         "response_format.json_schema.name"},
        {metadata(17, 4, 4), "metadata"},
        {metadata(1, 65, 4), "metadata"},
        {metadata(1, 1, 513), "metadata.0"},
        {with(R"("tools":[{"type":"magic","function":{"name":"f"}}])"), "tools[0].type"},
        {with(R"("tools":[{"type":"function","function":{"name":"a.b"}}])"), "tools[0].function.name"},
        {with(R"("tools":[{"type":"function","function":{"name":""}}])"), "tools[0].function.name"},
        {with(R"("tools":[{"type":"function","function":{"name":")" + std::string(65, 'f') + "\"}}]"),
         "tools[0].function.name"},
        {with(R"("tools":[{"type":"function","function":{"name":"f","name":"g"}}])"), "tools[0].function.name"},
        {with(R"("tools":[{"type":"custom","custom":{"name":"c","format":{"type":"x"}}}])"),
         "tools[0].custom.format.type"},
        {with(R"("tool_choice":"maybe")"), "tool_choice"},
        {with(R"("tool_choice":{"type":"x"})"), "tool_choice.type"},
        {with(R"("tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"none","tools":[]}})"),
         "tool_choice.allowed_tools.mode"},
        {with(R"("function_call":"required")"), "function_call"},
        {with(R"("functions":[{"name":"f"}],"tools":[{"type":"function","function":{"name":"f"}}])"), "functions"},
    };
    for (auto const& row : rows) {
        auto const error = error_of(row.body);
        EXPECT_EQ(error.code, Errc::kInvalidValue) << row.body << error.message;
        EXPECT_EQ(error.param, row.param) << row.body;
        EXPECT_TRUE(error.message.starts_with("Invalid value")) << error.message;
        EXPECT_LT(error.message.size(), 300U) << "what is quoted is cut";
    }
}

TEST(ChatRequest, AcceptsWhatIsWithinTheBounds) {
    std::string const rounds =
        R"([{"role":"developer","content":"d"},{"role":"user","content":"u","name":"bob"},)"
        R"({"role":"assistant","content":null,"tool_calls":[)"
        R"({"id":"call_0","type":"function","function":{"name":"fs__read","arguments":"{broken"}},)"
        R"({"id":"c","type":"custom","custom":{"name":"x","input":"raw"}}]},)"
        R"({"role":"tool","tool_call_id":"call_0","content":[{"type":"text","text":"r"}]},)"
        R"({"role":"assistant","tool_calls":[{"id":"call_0","type":"function","function":{"name":"f","arguments":""}}]},)"
        R"({"role":"tool","tool_call_id":"call\u005f0","content":"again"},{"role":"assistant","content":""},)"
        R"({"role":"assistant","refusal":"no"},{"role":"assistant","function_call":{"name":"f","arguments":"{}"}},)"
        R"({"role":"function","name":"f","content":null}])";
    std::string const parts =
        R"([{"role":"user","content":[{"type":"text","text":""},{"type":"image_url","image_url":{"url":)"
        R"("https://example.org/a.png","detail":"low"}},{"type":"image_url","image_url":{"url":)"
        R"("DATA:image\/png;base64,AAAA"}},{"type":"input_audio","input_audio":{"data":"AA==","format":"wav"}},)"
        R"({"type":"file","file":{"file_id":"f1","filename":"a.pdf"}},{"type":"file","file":{"file_data":"AAAA"}},)"
        R"({"type":"refusal","refusal":"r"},{"type":"text","text":"x","cache_control":{"type":"ephemeral"}}]}])";
    std::string const bodies[] = {
        with(""),
        with_messages(rounds),
        with_messages(parts),
        with(R"("n":128,"temperature":2,"top_p":0,"presence_penalty":-2,"frequency_penalty":2.0,"top_logprobs":20)"),
        with(R"("seed":-9223372036854775808,"max_tokens":2147483647,"logprobs":true,"store":false)"),
        with(R"("stop":["a","b","c","d"],"logit_bias":{"50256":-100,"1":100.0},"temperature":1e-400)"),
        with(R"("stop":[],"modalities":["text"],"user":{"name":"x","email":"y"},"metadata":{"k":"v"})"),
        with(R"("reasoning_effort":"xhigh","verbosity":"low","service_tier":"on_demand","user":"u1")"),
        with(R"("response_format":{"type":"json_schema","json_schema":{"name":"a-b_1","schema":{},"strict":null}})"),
        with(R"("tools":[{"function":{"parameters":null,"name":"f","strict":true},"type":"function"}])"),
        with(R"("tools":[{"type":"custom","custom":{"name":"c","format":{"type":"grammar","grammar":{}}}}])"),
        with(R"("tool_choice":{"type":"function","function":{"name":"f"}})"),
        with(R"("tool_choice":{"type":"allowed_tools","allowed_tools":{"mode":"auto","tools":[{"type":"function"}]}})"),
        with(R"("stream_options":{"include_usage":true})"), // without stream: harmless
        with(
            R"("top_k":40,"min_p":0.1,"keep_alive":"5m","think":null,"session_id":"s","__proto__":{},"constructor":1)"),
        with(R"("":1,"\ud83d\ude00":2,"\u0000":3,"a\"b":4)"),
    };
    for (auto const& body : bodies)
        EXPECT_EQ(fault_of(body), "") << body;
}

// Row J8.
TEST(ChatRequest, TakesWholeNumbersInAnySpellingAndPassesOnThePlainOne) {
    auto const request = parse_chat_request(with(R"("max_tokens":1e2,"n":1.0,"seed":9223372036854775807,"top_k":1e1)"));
    ASSERT_TRUE(request) << request.error().message;
    EXPECT_EQ(request->max_tokens, 100);
    EXPECT_EQ(request->n, 1);
    EXPECT_EQ(request->setting("max_tokens"), "100");
    EXPECT_EQ(request->setting("n"), "1");
    EXPECT_EQ(request->setting("seed"), "9223372036854775807") << "exact, never through a double";
    EXPECT_EQ(request->setting("top_k"), "1e1") << "unknown: as it came";
    auto const both = parse_chat_request(with(R"("max_tokens":5,"max_completion_tokens":7)"));
    ASSERT_TRUE(both);
    EXPECT_EQ(both->max_tokens, 7);
}

// Row J16.
TEST(ChatRequest, NothingInItChoosesADestination) {
    auto const request = parse_chat_request(
        with(R"("api_base":"http://evil","base_url":"http://evil","api_key":"k","headers":{},"extra_body":{},"x":1)"));
    ASSERT_TRUE(request);
    ASSERT_EQ(request->settings.size(), 1U);
    EXPECT_EQ(request->settings[0].name, "x");
}

TEST(ChatRequest, TranslatesTheDeprecatedForms) {
    auto const request = parse_chat_request(with(
        R"("functions":[{"name":"f","parameters":{"type":"object"}} , {"name":"g"}],"function_call":{"name":"f"})"));
    ASSERT_TRUE(request) << request.error().message;
    EXPECT_EQ(request->tools, R"([{"type":"function","function":{"name":"f","parameters":{"type":"object"}}},)"
                              R"({"type":"function","function":{"name":"g"}}])");
    EXPECT_EQ(request->tool_choice, R"({"type":"function","function":{"name":"f"}})");
    EXPECT_TRUE(request->settings.empty());
    EXPECT_TRUE(core::check_json(request->tools, 64));

    auto const none = parse_chat_request(with(R"("functions":[],"function_call":"none")"));
    ASSERT_TRUE(none);
    EXPECT_EQ(none->tools, "");
    EXPECT_EQ(none->tool_choice, R"("none")");
}

TEST(ChatRequest, NoToolsAreNoTools) {
    for (auto const* tools : {"null", "[]", "[ ]"}) {
        auto const request = parse_chat_request(with(fmt::format("\"tools\":{}", tools)));
        ASSERT_TRUE(request);
        EXPECT_EQ(request->tools, "") << tools;
    }
}

// Row J11.
TEST(ChatRequest, HasLimits) {
    RequestLimits limits;
    limits.messages_max = 2;
    limits.fields_max = 4;
    limits.tools_max = 1;
    limits.depth_max = 6;
    auto const code_of = [&](std::string body) {
        auto const result = parse_chat_request(std::move(body), limits);
        return result ? std::string("ok") : result.error().param + std::string(core::code_name(result.error().code));
    };
    std::string const message = R"({"role":"user","content":"x"})";
    EXPECT_EQ(code_of(with_messages("[" + message + "," + message + "]")), "ok");
    EXPECT_EQ(code_of(with_messages("[" + message + "," + message + "," + message + "]")), "messagesinvalid_value");
    EXPECT_EQ(code_of(with(R"("a":1,"b":2)")), "ok");
    EXPECT_EQ(code_of(with(R"("a":1,"b":2,"c":3)")), "invalid_value");
    std::string const tool = R"({"type":"function","function":{"name":"f"}})";
    EXPECT_EQ(code_of(with("\"tools\":[" + tool + "]")), "ok");
    EXPECT_EQ(code_of(with("\"tools\":[" + tool + "," + tool + "]")), "toolsinvalid_value");
    EXPECT_EQ(code_of(with(R"("a":[[[[[1]]]]])")), "ok");
    EXPECT_EQ(code_of(with(R"("a":[[[[[[1]]]]]])")), "invalid_json");
}

TEST(ChatRequest, TakesTextThatLooksLikeFraming) { // row J21
    std::string const content = R"("data: [DONE]\n\n\r\n\r\nevent: x\u0000\uffff")";
    auto const request = parse_chat_request(with_messages("[{\"role\":\"user\",\"content\":" + content + "}]"));
    ASSERT_TRUE(request);
    EXPECT_EQ(request->messages[0].content, content);
}

} // namespace
} // namespace parley::server
