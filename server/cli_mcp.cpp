// The commands are programs of their own: each wires a host, as app.cpp does for the gateway, asks, prints and leaves.
#include "server/cli_mcp.hpp"

#include <boost/asio/co_spawn.hpp>
#include <boost/asio/thread_pool.hpp>
#include <boost/json/array.hpp>
#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>
#include <fmt/format.h>

#include <algorithm>
#include <csignal>
#include <cstdlib>
#include <functional>
#include <optional>

#include "agents/catalogue.hpp"
#include "agents/config_loader.hpp"
#include "core/nearest.hpp"
#include "mcp/conformance_client.hpp"
#include "mcp/headless_approver.hpp"
#include "mcp/host.hpp"
#include "server/app.hpp"
#include "server/cli.hpp"
#include "server/cli_parts.hpp"
#include "server/reload.hpp"

namespace parley::server {
namespace {

namespace json = boost::json;

using Specs = std::vector<std::shared_ptr<mcp::ServerSpec const>>;

core::LogOptions quiet(bool debug) {
    return {debug ? core::LogLevel::kDebug : core::LogLevel::kError, core::LogFormat::kText, 2, false, false};
}

// A loop, a host beside it, and the servers of the configuration.
class Workbench {
public:
    static std::unique_ptr<Workbench> open(Flags const& flags) {
        auto prepared = prepare(flags);
        if (!prepared) return nullptr;
        auto loaded = agents::load_config(config_sources(prepared->first, prepared->second));
        if (!loaded.config) {
            complain(
                fmt::format("the configuration has {} faults; `parley validate` shows them", loaded.faults.size()));
            return nullptr;
        }
        auto bench = std::unique_ptr<Workbench>(new Workbench(flags, prepared->first));
        bench->catalogue_ = agents::Catalogue::build(std::move(*loaded.config), nullptr, std::time(nullptr));
        return bench;
    }

    std::vector<agents::ServerState> const& servers() const { return catalogue_->mcp_servers(); }

    agents::ServerState const* find(std::string const& label) const {
        std::vector<std::string_view> labels;
        for (auto const& server : servers()) {
            if (server.config.label == label) return &server;
            labels.push_back(server.config.label);
        }
        auto text = "there is no MCP server '" + label + "'";
        if (auto const meant = core::nearest(label, labels)) text += "; did you mean '" + std::string(*meant) + "'?";
        complain(text);
        return nullptr;
    }

    mcp::Host& host() { return host_; }
    mcp::ToolHost& tools() { return *tools_; }
    net::Loop& loop() { return loop_; }
    static mcp::Caller caller() { return {"anonymous"}; }

    void run(std::function<core::Awaitable<void>(core::Context const&)> work) {
        core::Cancellation never;
        core::Context const context{never};
        auto ended = [this](std::exception_ptr failure) {
            if (failure) complain("an internal error ended the command");
            loop_.stop();
        };
        boost::asio::co_spawn(loop_.context(), work(context), std::move(ended));
        loop_.run();
    }

private:
    Workbench(Flags const& flags, Settings const& settings)
        : loop_(quiet(flags.debug)),
          // Looking is not approving: a gateway is to tell of a change that a command has seen before it.
          host_({quiet(flags.debug), settings.data_dir + "/mcp_pins.json", mcp::Pins::Keeping::kApproved}, resolvers_),
          tools_(host_.face(loop_)) {
        std::signal(SIGPIPE, SIG_IGN);
    }

    boost::asio::thread_pool resolvers_{2};
    net::Loop loop_;
    mcp::Host host_;
    std::unique_ptr<mcp::ToolHost> tools_;
    std::shared_ptr<agents::Catalogue const> catalogue_;
};

// What was found out about one server.
struct Finding {
    agents::ServerState const* server = nullptr;
    std::shared_ptr<mcp::ToolList const> list;
    std::string problem;
};

std::vector<Finding> ask_all(Workbench& bench, std::string const& only) {
    std::vector<Finding> findings;
    Specs specs;
    for (auto const& server : bench.servers()) {
        if (!only.empty() && server.config.label != only) continue;
        findings.push_back({&server, nullptr, server.unavailable});
        if (server.unavailable.empty()) specs.push_back(server.spec);
    }
    bench.host().use(specs); // else the host closes what nobody asks any more while a slow one is being waited for
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): it lives until run() is over
    bench.run([&](core::Context const& context) -> core::Awaitable<void> {
        auto const asked = co_await bench.tools().tools(context, Workbench::caller(), specs);
        if (!asked) co_return;
        for (auto const& one : *asked) {
            for (auto& finding : findings) {
                if (finding.server->spec != one.server) continue;
                finding.list = one.list;
                finding.problem = one.unavailable;
            }
        }
    });
    return findings;
}

std::string first_line(std::string_view text, std::size_t bytes_max) {
    auto line = std::string(text.substr(0, text.find('\n')));
    if (line.size() > bytes_max) line = line.substr(0, bytes_max) + "…";
    return line;
}

json::value parsed(std::string const& text) {
    boost::system::error_code bad;
    auto value = json::parse(text, bad);
    return bad ? json::value(text) : value;
}

// ok, PROBLEM, or that the configuration keeps its tools from everybody, which somebody meant.
std::string_view status_of(Finding const& finding) {
    auto const& config = finding.server->config;
    if (config.disabled) return "disabled";
    if (config.unavailable.empty() && config.require_approval == agents::Approval::kAlways) return "approval";
    return finding.problem.empty() ? "ok" : "PROBLEM";
}

bool is_wrong(Finding const& finding) {
    return status_of(finding) == "PROBLEM";
}

std::vector<mcp::ServerHealth> health_of(Workbench& bench, std::vector<Finding> const& findings) {
    Specs specs;
    for (auto const& finding : findings)
        specs.push_back(finding.server->spec);
    return bench.host().health_now(specs);
}

json::array texts(std::vector<std::string> const& from) {
    json::array out(from.begin(), from.end());
    return out;
}

json::object diagnosis_json(Finding const& finding, mcp::ServerHealth const& health) {
    json::object one{{"server", health.label},
                     {"ok", !is_wrong(finding)},
                     {"status", is_wrong(finding) ? json::value("problem") : json::value(status_of(finding))},
                     {"transport", health.transport},
                     {"protocol_version", health.protocol_version},
                     {"name", health.name},
                     {"tools", finding.list ? json::value(finding.list->tools.size()) : json::value(nullptr)},
                     {"refused_tools", texts(health.refused_tools)},
                     {"changed_tools", texts(health.changed_tools)}};
    if (is_wrong(finding)) {
        one["problem"] = finding.problem;
        one["stderr"] = texts(health.stderr_lines);
    }
    return one;
}

void print_diagnosis(Finding const& finding, mcp::ServerHealth const& health) {
    auto const status = status_of(finding);
    auto text = finding.problem;
    if (status == "ok") {
        text = fmt::format("{} tools, protocol {}, {}", finding.list ? finding.list->tools.size() : 0,
                           health.protocol_version, health.name);
    }
    if (status == "approval") text.insert(0, "asks for approval of every call: ");
    fmt::print("{:<8} {:<20} {}\n", status, health.label, text);
    for (auto const& refused : health.refused_tools)
        fmt::print("{:<8} {:<20} not offered: {}\n", "", "", refused);
    for (auto const& changed : health.changed_tools)
        fmt::print("{:<8} {:<20} definition changed: {} (parley mcp approve {})\n", "", "", changed, health.label);
    if (!is_wrong(finding)) return;
    for (auto const& line : health.stderr_lines)
        fmt::print("{:<8} {:<20} | {}\n", "", "", line);
}

} // namespace

int mcp_list(Flags const& flags, McpOptions const& options) {
    auto const bench = Workbench::open(flags);
    if (!bench) return kExitFault;
    if (!options.server.empty() && !bench->find(options.server)) return kExitFault;
    auto const findings = ask_all(*bench, options.server);
    auto const health = health_of(*bench, findings);
    auto good = true;
    json::array all;
    for (std::size_t i = 0; i < findings.size(); ++i) {
        auto const& finding = findings[i];
        good = good && finding.list;
        auto const& label = finding.server->config.label;
        if (options.as_json) {
            json::object one{{"server", label}, {"available", finding.list != nullptr}};
            if (!finding.list) one["reason"] = finding.problem;
            json::array tools;
            if (finding.list) {
                for (auto const& tool : finding.list->tools) {
                    tools.push_back(json::object{{"name", tool.name},
                                                 {"description", tool.description},
                                                 {"input_schema", parsed(tool.input_schema)},
                                                 {"read_only", tool.read_only},
                                                 {"sha256", tool.sha256}});
                }
            }
            one["tools"] = std::move(tools);
            one["changed_tools"] = texts(health[i].changed_tools);
            all.push_back(std::move(one));
        } else if (!finding.list) {
            fmt::print("{}: unavailable: {}\n", label, finding.problem);
        } else {
            std::size_t width = 0;
            for (auto const& tool : finding.list->tools)
                width = std::max(width, tool.name.size());
            fmt::print("{}: {} tools\n", label, finding.list->tools.size());
            for (auto const& tool : finding.list->tools)
                fmt::print("  {:<{}}  {}\n", tool.name, width, first_line(tool.description, 100));
            for (auto const& changed : health[i].changed_tools)
                fmt::print("  definition changed: {} (parley mcp approve {})\n", changed, label);
        }
    }
    if (options.as_json) fmt::print("{}\n", json::serialize(all));
    if (findings.empty() && !options.as_json) fmt::print("No MCP servers are configured (mcp.json).\n");
    return good ? kExitOk : kExitFault;
}

int mcp_call(Flags const& flags, McpOptions const& options) {
    boost::system::error_code bad;
    auto const arguments = json::parse(options.arguments.empty() ? "{}" : options.arguments, bad);
    if (bad || !arguments.is_object()) {
        complain("the arguments are not a JSON object, e.g. '{\"path\": \"notes.txt\"}'");
        return kExitUsage;
    }
    auto const bench = Workbench::open(flags);
    if (!bench) return kExitFault;
    auto const* const server = bench->find(options.server);
    if (!server) return kExitFault;
    if (!server->unavailable.empty()) {
        complain(fmt::format("the MCP server '{}' is not available: {}", options.server, server->unavailable));
        return kExitFault;
    }
    std::optional<core::Result<mcp::CallResult>> outcome;
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): it lives until run() is over
    bench->run([&](core::Context const& context) -> core::Awaitable<void> {
        mcp::ToolCall call{server->spec, options.tool, json::serialize(arguments)};
        call.on_progress = [](mcp::Progress const& news) {
            fmt::print(stderr, "{}{} {}\n", news.progress, news.total ? fmt::format("/{}", *news.total) : "",
                       news.message);
        };
        outcome = co_await bench->tools().call(context, Workbench::caller(), std::move(call));
    });
    if (!outcome || !*outcome) {
        complain(outcome ? outcome->error().message : "the call did not end");
        return kExitFault;
    }
    auto const& result = **outcome;
    if (options.as_json) {
        json::object out{{"is_error", result.is_error}, {"text", result.text}};
        if (!result.structured.empty()) out["structured"] = parsed(result.structured);
        json::array images;
        for (auto const& image : result.images)
            images.push_back(json::object{{"mime_type", image.mime_type}, {"base64", image.base64}});
        if (!images.empty()) out["images"] = std::move(images);
        fmt::print("{}\n", json::serialize(out));
    } else {
        fmt::print(result.is_error ? stderr : stdout, "{}\n", result.text);
    }
    return result.is_error ? kExitFault : kExitOk;
}

int mcp_doctor(Flags const& flags, McpOptions const& options) {
    auto const bench = Workbench::open(flags);
    if (!bench) return kExitFault;
    auto const findings = ask_all(*bench, {});
    auto const health = health_of(*bench, findings);
    auto good = true;
    json::array all;
    for (std::size_t i = 0; i < findings.size(); ++i) {
        good = good && !is_wrong(findings[i]);
        if (options.as_json) {
            all.push_back(diagnosis_json(findings[i], health[i]));
        } else {
            print_diagnosis(findings[i], health[i]);
        }
    }
    if (options.as_json) fmt::print("{}\n", json::serialize(all));
    if (findings.empty() && !options.as_json) fmt::print("No MCP servers are configured (mcp.json).\n");
    return good ? kExitOk : kExitFault;
}

int mcp_approve(Flags const& flags, McpOptions const& options) {
    auto const bench = Workbench::open(flags);
    if (!bench) return kExitFault;
    auto const* const server = bench->find(options.server);
    if (!server) return kExitFault;
    std::optional<core::Result<std::size_t>> outcome;
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): it lives until run() is over
    bench->run([&](core::Context const& context) -> core::Awaitable<void> {
        outcome = co_await bench->host().approve(bench->loop(), context, server->spec, options.tool);
    });
    if (!outcome || !*outcome) {
        complain(outcome ? outcome->error().message : "the server could not be asked");
        return kExitFault;
    }
    fmt::print("{} {} of '{}' approved as now defined. A running gateway takes it over when it is started again.\n",
               **outcome, **outcome == 1 ? "tool" : "tools", options.server);
    return kExitOk;
}

int mcp_conformance(std::string const& url) {
    std::signal(SIGPIPE, SIG_IGN);
    auto const variable = [](char const* name) {
        auto const* const value = std::getenv(name);
        return std::string(value ? value : "");
    };
    mcp::Scenario scenario{variable("MCP_CONFORMANCE_SCENARIO"), variable("MCP_CONFORMANCE_PROTOCOL_VERSION"),
                           variable("MCP_CONFORMANCE_CONTEXT")};
    auto const spec = mcp::scenario_spec(scenario, url);
    boost::asio::thread_pool resolvers{1};
    net::Loop loop(quiet(false));
    net::HttpClient http(loop, resolvers);
    core::Cancellation never;
    core::Context const context{never};
    std::optional<core::Result<>> outcome;
    // NOLINTNEXTLINE(cppcoreguidelines-avoid-capturing-lambda-coroutines): it lives until run() is over
    auto const drive = [&]() -> core::Awaitable<void> {
        mcp::TransportParts parts{loop, http, mcp::make_headless_approver(http)};
        auto played = co_await mcp::play(context, std::move(parts), spec, scenario);
        outcome = std::move(played);
    };
    auto ended = [&loop](std::exception_ptr) { loop.stop(); };
    boost::asio::co_spawn(loop.context(), drive(), std::move(ended));
    loop.run();
    if (outcome && *outcome) return kExitOk;
    complain(outcome ? outcome->error().message : "an internal error ended the scenario");
    return kExitFault;
}

} // namespace parley::server
