#include "mcp/conformance_client.hpp"

#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>

#include <utility>
#include <vector>

#include "mcp/headless_approver.hpp"
#include "mcp/protocol.hpp"
#include "mcp/session.hpp"
#include "mcp/tool_reader.hpp"

namespace parley::mcp {
namespace {

namespace json = boost::json;

constexpr std::chrono::seconds kCallLimit{20};
constexpr std::string_view kClientMetadataUrl =
    "https://conformance-test.local/client-metadata.json"; // the suite's own
constexpr std::string_view kEchoTool = "json_schema_echo";

json::object context_of(Scenario const& scenario) {
    auto value = parse_json(scenario.context);
    return value && value->is_object() ? value->get_object() : json::object{};
}

void fill_oauth(OAuthOptions& oauth, Scenario const& scenario) {
    auto const context = context_of(scenario);
    auto const text = [&context](std::string_view key) { return std::string(text_in(context, key)); };
    auto const is_about = [&scenario](std::string_view word) { return scenario.name.find(word) != std::string::npos; };
    oauth.redirect_uri = kHeadlessRedirectUri;
    oauth.client_metadata_url = kClientMetadataUrl;
    oauth.client_id = text("client_id");
    oauth.client_secret = core::Secret(text("client_secret"));
    oauth.grant = OAuthOptions::Grant::kAuthorizationCode;
    if (is_about("client-credentials")) {
        oauth.grant = OAuthOptions::Grant::kClientCredentials;
        oauth.private_key_pem = core::Secret(text("private_key_pem"));
        oauth.signing_algorithm = text("signing_algorithm");
    } else if (is_about("wif")) {
        oauth.grant = OAuthOptions::Grant::kJwtBearer;
        oauth.assertion = core::Secret(text("valid_jwt"));
    } else if (is_about("enterprise")) {
        oauth.grant = OAuthOptions::Grant::kTokenExchange;
        oauth.assertion = core::Secret(text("idp_id_token"));
        oauth.idp_client_id = text("idp_client_id");
        oauth.idp_issuer = text("idp_issuer");
        oauth.idp_token_url = text("idp_token_endpoint");
    }
}

// Arguments that a schema accepts, made up.
json::object made_up_arguments(json::object const& schema) {
    json::object arguments;
    auto const* const properties = object_in(schema, "properties");
    if (!properties) return arguments;
    std::int64_t number = 2;
    for (auto const& member : *properties) {
        auto const* const property = member.value().if_object();
        if (!property) continue;
        auto const type = text_in(*property, "type");
        if (type == "number" || type == "integer") {
            arguments[member.key()] = ++number;
        } else if (type == "boolean") {
            arguments[member.key()] = true;
        } else if (type == "array") {
            arguments[member.key()] = json::array{};
        } else if (type == "object") {
            arguments[member.key()] = json::object{};
        } else {
            arguments[member.key()] = "test";
        }
    }
    return arguments;
}

class Player {
public:
    Player(core::Context const& context, Session& session, Scenario scenario)
        : context_(context), session_(session), scenario_(std::move(scenario)) {}

    core::Task<> play() {
        auto const listed = co_await list_tools();
        if (!listed) co_return listed.error();
        if (scenario_.name == "json-schema-ref-no-deref") co_return core::Result<>{};
        auto const called = co_await call_tools();
        auto const read = co_await read_first("resources/list", "resources", "resources/read", "uri");
        (void)read; // not every server has any
        auto const got = co_await read_first("prompts/list", "prompts", "prompts/get", "name");
        (void)got;
        co_return called;
    }

private:
    core::Task<Reply> ask(std::string method, json::object params, std::vector<ParamHeader> headers = {}) {
        Request request{std::move(method), std::move(params), std::move(headers)};
        request.idle_timeout = kCallLimit;
        request.timeout = kCallLimit;
        Caller const caller{"conformance"};
        auto reply = co_await session_.request(context_, caller, std::move(request));
        co_return reply;
    }

    core::Task<> list_tools() {
        json::object params;
        for (auto more = true; more;) {
            auto const reply = co_await ask("tools/list", params);
            if (!reply) co_return reply.error();
            if (reply->error) co_return core::make_error(core::Errc::kUpstreamRejected, reply->error->message);
            auto const* const tools = reply->result.if_contains("tools");
            if (tools && tools->is_array()) {
                for (auto const& one : tools->get_array()) {
                    auto tool = one.is_object() ? read_tool(one.get_object(), session_.is_modern())
                                                : core::make_error(core::Errc::kUpstreamInvalid, "no object");
                    if (tool) tools_.push_back(std::move(*tool));
                }
            }
            auto const* const next = reply->result.if_contains("nextCursor");
            more = next && next->is_string();
            if (more) params["cursor"] = *next;
        }
        co_return core::Result<>{};
    }

    core::Task<> call_tools() {
        for (auto const& [name, arguments] : calls()) {
            std::vector<ParamHeader> headers;
            for (auto const& one : tools_)
                if (one.tool.name == name) headers = one.param_headers;
            json::object params{{"name", name}, {"arguments", arguments}};
            auto const reply = co_await ask("tools/call", std::move(params), std::move(headers));
            if (!reply) co_return reply.error();
        }
        co_return core::Result<>{};
    }

    std::vector<std::pair<std::string, json::object>> calls() const {
        std::vector<std::pair<std::string, json::object>> out;
        auto const context = context_of(scenario_);
        auto const* const wanted = context.if_contains("toolCalls");
        if (wanted && wanted->is_array()) {
            for (auto const& one : wanted->get_array()) {
                if (!one.is_object()) continue;
                auto const* const arguments = object_in(one.get_object(), "arguments");
                out.emplace_back(text_in(one.get_object(), "name"), arguments ? *arguments : json::object{});
            }
            return out;
        }
        json::object first_schema; // of a tool that is not the echo: what it is to be given
        for (auto const& one : tools_) {
            auto schema = parse_json(one.tool.input_schema);
            if (!schema || !schema->is_object()) continue;
            if (one.tool.name != kEchoTool && first_schema.empty()) first_schema = schema->get_object();
            out.emplace_back(one.tool.name, made_up_arguments(schema->get_object()));
        }
        for (auto& [name, arguments] : out)
            if (name == kEchoTool) arguments["schema"] = first_schema;
        return out;
    }

    core::Task<> read_first(std::string list, std::string_view key, std::string read, std::string_view name) {
        auto const reply = co_await ask(std::move(list), json::object());
        if (!reply) co_return reply.error();
        auto const* const all = reply->result.if_contains({key.data(), key.size()});
        if (!all || !all->is_array() || all->get_array().empty() || !all->get_array().front().is_object())
            co_return core::Result<>{};
        auto const which = text_in(all->get_array().front().get_object(), name);
        json::object params{{json::string_view(name.data(), name.size()), which}};
        auto const got = co_await ask(std::move(read), std::move(params));
        if (!got) co_return got.error();
        co_return core::Result<>{};
    }

    core::Context const& context_;
    Session& session_;
    Scenario scenario_;
    std::vector<ListedTool> tools_;
};

} // namespace

std::shared_ptr<ServerSpec const> scenario_spec(Scenario const& scenario, std::string url) {
    auto spec = std::make_shared<ServerSpec>();
    spec->label = "conformance";
    spec->url_shown = url;
    spec->url = core::Secret(std::move(url));
    spec->transport = Transport::kHttp;
    spec->era = scenario.protocol_version >= kModernVersion ? Era::kModern : Era::kLegacy;
    spec->elicitation = Elicitation::kDefaults;
    spec->protocol_fixture = true;
    fill_oauth(spec->oauth, scenario);
    return spec;
}

core::Task<> play(core::Context const& context, TransportParts parts, std::shared_ptr<ServerSpec const> spec,
                  Scenario scenario) {
    Session session(std::move(parts), std::move(spec), [] {});
    EraMemory memory;
    Caller const caller{"conformance"};
    auto done = co_await session.start(context, caller, memory);
    if (done) {
        Player player(context, session, std::move(scenario));
        done = co_await player.play();
    }
    co_await session.close();
    co_return done;
}

} // namespace parley::mcp
