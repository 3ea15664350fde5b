// The command line. Flags beat the environment, which beats .env, which beats the defaults.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <cstdio>
#include <exception>
#include <string>
#include <string_view>
#include <vector>

#include "core/nearest.hpp"
#include "net/child_guard.hpp"
#include "server/app.hpp"
#include "server/cli.hpp"
#include "server/cli_mcp.hpp"

namespace {

using parley::server::Flags;

void add_config_flags(CLI::App& command, Flags& flags) {
    command.add_option("--config", flags.config, "agents and providers [agent_config.json]")->type_name("FILE");
    command.add_option("--mcp", flags.mcp, "MCP servers [mcp.json]")->type_name("FILE");
}

void add_run_flags(CLI::App& command, Flags& flags) {
    add_config_flags(command, flags);
    command.add_option("--data", flags.data, "folder for what is kept [data]")->type_name("DIR");
    command.add_flag("--debug", flags.debug, "log everything (LOG_LEVEL=debug)");
    command.add_option("--log", flags.log, "text or json [text on a terminal, else json]")
        ->check(CLI::IsMember({"text", "json"}));
}

bool is_command(CLI::App const& cli, std::string const& word) {
    auto const commands = cli.get_subcommands([](CLI::App const*) { return true; });
    return std::any_of(commands.begin(), commands.end(), [&](CLI::App const* one) { return one->get_name() == word; });
}

int unknown_command(CLI::App const& cli, std::string const& word) {
    std::vector<std::string> names;
    for (auto const* const one : cli.get_subcommands([](CLI::App const*) { return true; }))
        names.push_back(one->get_name());
    std::vector<std::string_view> const views(names.begin(), names.end());
    auto const meant = parley::core::nearest(word, views);
    std::string text = "parley: there is no command '" + word + "'";
    if (meant) text += "; did you mean '" + std::string(*meant) + "'?";
    text += "\nCommands:";
    for (auto const& name : names)
        text += " " + name;
    std::fprintf(stderr, "%s (parley --help tells more)\n", text.c_str());
    return parley::server::kExitUsage;
}

} // namespace

int main(int argc, char** argv) try {
    if (argc == 2 && argv[1] == parley::net::ChildGuard::kArgument) return parley::net::ChildGuard::run();
#if defined(__x86_64__) && defined(__AVX2__)
    if (!__builtin_cpu_supports("avx2") || !__builtin_cpu_supports("bmi2") || !__builtin_cpu_supports("pclmul")) {
        std::fputs(
            "parley: this build needs a CPU with AVX2 (2013 or later). Build with cmake -DPARLEY_CPU=x86-64 for older "
            "ones.\n",
            stderr);
        return parley::server::kExitFault;
    }
#endif
    CLI::App cli("Parley makes agents look like models: point any OpenAI client at it.", "parley");
    cli.footer(
        "Settings come from flags, then the environment, then .env, then defaults.\n"
        "Exit codes: 0 fine, 1 the configuration or the command failed, 2 wrong usage.");
    cli.set_version_flag("--version", "parley " + std::string(parley::server::version()));
    cli.require_subcommand(0, 1);
    Flags flags;
    auto as_json = false;
    parley::server::ChatOptions chat;

    auto* const serve = cli.add_subcommand("serve", "Start the gateway");
    serve->add_option("--host", flags.host, "address to listen on (HOST) [127.0.0.1]");
    serve->add_option("--port", flags.port, "port, 0 = any (PORT) [8000]");
    serve->add_option("--threads", flags.threads, "event loops, one a core (PARLEY_THREADS) [all cores]")
        ->check(CLI::Range(1, 256));
    serve->add_flag("--allow-anonymous", flags.allow_anonymous, "serve without API keys on any address");
    add_run_flags(*serve, flags);
    serve->footer(
        "API keys: PARLEY_API_KEYS=key1,key2. TLS: PARLEY_TLS_CERT and PARLEY_TLS_KEY. Browsers: PARLEY_CORS_ORIGINS.\n"
        "SIGHUP or a changed file reloads the configuration; SIGTERM drains, a second one cuts.");

    auto* const validate = cli.add_subcommand("validate", "Check the configuration and report every fault in it");
    add_config_flags(*validate, flags);
    validate->add_flag("--json", as_json, "for programs");

    auto* const agents = cli.add_subcommand("agents", "List the agents, and why one is not available");
    add_config_flags(*agents, flags);
    agents->add_flag("--json", as_json, "for programs");

    auto* const talk = cli.add_subcommand("chat", "Talk to an agent in the terminal");
    talk->add_option("model", chat.model, "the agent, e.g. demo")->required();
    talk->add_option("-m,--message", chat.message, "ask this one thing and leave")->type_name("TEXT");
    talk->add_option("--url", chat.url, "a running gateway, e.g. http://127.0.0.1:8000 [one is started for this chat]");
    talk->add_flag("--json", chat.as_json, "with --message: print the answer as the API gives it");
    add_run_flags(*talk, flags);

    auto* const mcp = cli.add_subcommand("mcp", "Look at the MCP servers and their tools, and try them");
    mcp->require_subcommand(1);
    parley::server::McpOptions tools;
    auto const add_mcp = [&](char const* name, char const* help) {
        auto* const command = mcp->add_subcommand(name, help);
        add_config_flags(*command, flags);
        command->add_option("--data", flags.data, "folder for what is kept [data]")->type_name("DIR");
        command->add_flag("--debug", flags.debug, "show what is said and what goes wrong");
        return command;
    };
    auto* const mcp_list = add_mcp("list", "Start the servers and list their tools");
    mcp_list->add_option("server", tools.server, "only this one")->type_name("LABEL");
    mcp_list->add_flag("--json", tools.as_json, "for programs");
    auto* const mcp_call = add_mcp("call", "Call one tool and print its result");
    mcp_call->add_option("server", tools.server, "the server's label")->required()->type_name("LABEL");
    mcp_call->add_option("tool", tools.tool, "the tool's own name, without the label")->required()->type_name("TOOL");
    mcp_call->add_option("arguments", tools.arguments, "its arguments [{}]")->type_name("JSON");
    mcp_call->add_flag("--json", tools.as_json, "for programs");
    auto* const mcp_doctor = add_mcp("doctor", "Start every server and say what is wrong; exit code 1 if something is");
    mcp_doctor->add_flag("--json", tools.as_json, "for programs");
    auto* const mcp_approve = add_mcp("approve", "Accept the definitions of a server's tools as they are now");
    mcp_approve->add_option("server", tools.server, "the server's label")->required()->type_name("LABEL");
    mcp_approve->add_option("tool", tools.tool, "only this one")->type_name("TOOL");

    auto* const conformance = cli.add_subcommand("mcp-conformance", "Play a scenario of the MCP conformance suite");
    std::string conformance_url;
    conformance->add_option("url", conformance_url, "the suite's server")->required()->type_name("URL");

    auto* const version = cli.add_subcommand("version", "Print the version");
    version->add_flag("--json", as_json, "for programs");

    if (argc < 2) {
        std::fputs(cli.help().c_str(), stderr);
        return parley::server::kExitUsage;
    }
    if (argv[1][0] != '-' && !is_command(cli, argv[1])) return unknown_command(cli, argv[1]);
    try {
        cli.parse(argc, argv);
    } catch (CLI::ParseError const& error) {
        return cli.exit(error) == 0 ? parley::server::kExitOk : parley::server::kExitUsage;
    }
    if (serve->parsed()) return parley::server::serve(flags);
    if (validate->parsed()) return parley::server::validate(flags, as_json);
    if (agents->parsed()) return parley::server::list_agents(flags, as_json);
    if (talk->parsed()) return parley::server::chat(flags, chat);
    if (mcp_list->parsed()) return parley::server::mcp_list(flags, tools);
    if (mcp_call->parsed()) return parley::server::mcp_call(flags, tools);
    if (mcp_doctor->parsed()) return parley::server::mcp_doctor(flags, tools);
    if (mcp_approve->parsed()) return parley::server::mcp_approve(flags, tools);
    if (conformance->parsed()) return parley::server::mcp_conformance(conformance_url);
    auto const text = std::string(parley::server::version());
    std::printf(as_json ? "{\"version\":\"%s\"}\n" : "parley %s\n", text.c_str());
    return parley::server::kExitOk;
} catch (std::exception const& error) {
    std::fprintf(stderr, "parley: %s\n", error.what());
    return parley::server::kExitFault;
}
