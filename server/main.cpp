// The command line. Flags beat the environment, which beats .env, which beats the defaults.
#include <CLI/CLI.hpp>

#include <algorithm>
#include <charconv>
#include <cstdint>
#include <cstdio>
#include <exception>
#include <functional>
#include <string>
#include <string_view>
#include <system_error>
#include <utility>
#include <vector>

#include "core/nearest.hpp"
#include "net/child_guard.hpp"
#include "server/app.hpp"
#include "server/cli.hpp"
#include "server/cli_conversations.hpp"
#include "server/cli_keys.hpp"
#include "server/cli_mcp.hpp"
#include "server/forwarded_user.hpp"
#include "server/routes.hpp"

namespace {

namespace server = parley::server;

/// What the words after `parley` are read into, and what each command does.
struct CommandLine {
    CLI::App cli{"Parley makes agents look like models: point any OpenAI client at it.", "parley"};
    server::Flags flags = {};
    server::ChatOptions chat = {};
    server::McpOptions tools = {};
    server::ConversationOptions conversations = {};
    server::KeyOptions keys = {};
    std::string conformance_url = {};
    bool as_json = false;
    std::vector<std::pair<CLI::App const*, std::function<int()>>> commands = {};

    CLI::App& add(CLI::App& to, char const* name, char const* help, std::function<int()> run) {
        auto* const command = to.add_subcommand(name, help);
        commands.emplace_back(command, std::move(run));
        return *command;
    }
};

void add_config_flags(CLI::App& command, server::Flags& flags) {
    command.add_option("--config", flags.config, "agents and providers [agent_config.json]")->type_name("FILE");
    command.add_option("--mcp", flags.mcp, "MCP servers [mcp.json]")->type_name("FILE");
}

void add_run_flags(CLI::App& command, server::Flags& flags) {
    add_config_flags(command, flags);
    command.add_option("--data", flags.data, "folder for what is kept [data]")->type_name("DIR");
    command.add_flag("--debug", flags.debug, "log everything (LOG_LEVEL=debug)");
    command.add_option("--log", flags.log, "text or json [text on a terminal, else json]")
        ->check(CLI::IsMember({"text", "json"}));
}

// In the words that are said of PORT.
std::string check_port(std::string const& text) {
    std::uint16_t port = 0;
    auto const* const end = text.data() + text.size();
    auto const [at, error] = std::from_chars(text.data(), end, port);
    return error == std::errc{} && at == end ? std::string() : "'" + text + "': must be a whole number from 0 to 65535";
}

void add_serve(CommandLine& line) {
    auto& flags = line.flags;
    auto& serve = line.add(line.cli, "serve", "Start the gateway", [&line] { return server::serve(line.flags); });
    serve.add_option("--host", flags.host, "address to listen on (HOST) [127.0.0.1]");
    serve.add_option("--port", flags.port, "port, 0 = any (PORT) [8000]")
        ->check(check_port, "")
        ->type_name("NUMBER (0 to 65535)");
    serve.add_option("--threads", flags.threads, "event loops, one a core (PARLEY_THREADS) [all cores]")
        ->check(CLI::Range(1, 256));
    serve.add_flag("--allow-anonymous", flags.allow_anonymous, "serve without API keys on any address");
    add_run_flags(serve, flags);
    serve.footer(
        "API keys: PARLEY_API_KEYS=key1,key2. TLS: PARLEY_TLS_CERT and PARLEY_TLS_KEY. Browsers: PARLEY_CORS_ORIGINS.\n"
        "SIGHUP or a changed file reloads the configuration; SIGTERM drains, a second one cuts.");
}

void add_looks(CommandLine& line) {
    auto& validate = line.add(line.cli, "validate", "Check the configuration and report every fault in it",
                              [&line] { return server::validate(line.flags, line.as_json); });
    add_config_flags(validate, line.flags);
    validate.add_flag("--json", line.as_json, "for programs");
    auto& agents = line.add(line.cli, "agents", "List the agents, and why one is not available",
                            [&line] { return server::list_agents(line.flags, line.as_json); });
    add_config_flags(agents, line.flags);
    agents.add_flag("--json", line.as_json, "for programs");
}

void add_chat(CommandLine& line) {
    auto& options = line.chat;
    auto& chat = line.add(line.cli, "chat", "Talk to an agent in the terminal",
                          [&line] { return server::chat(line.flags, line.chat); });
    chat.add_option("model", options.model, "the agent, e.g. demo")->required();
    auto* const message = chat.add_option("-m,--message", options.message, "ask this one thing and leave");
    message->type_name("TEXT");
    chat.add_option(
        "--url", options.url,
        "a running gateway, e.g. http://127.0.0.1:8000; its key is PARLEY_API_KEY [one is started for this chat]");
    chat.add_flag("--json", options.as_json, "with --message: print the answer as the API gives it")->needs(message);
    add_run_flags(chat, line.flags);
}

void add_mcp(CommandLine& line) {
    auto& tools = line.tools;
    auto* const mcp = line.cli.add_subcommand("mcp", "Look at the MCP servers and their tools, and try them");
    mcp->require_subcommand(1);
    auto const add = [&line, mcp](char const* name, char const* help, auto run) -> CLI::App& {
        auto& command = line.add(*mcp, name, help, [&line, run] { return run(line.flags, line.tools); });
        add_config_flags(command, line.flags);
        command.add_option("--data", line.flags.data, "folder for what is kept [data]")->type_name("DIR");
        command.add_flag("--debug", line.flags.debug, "show what is said and what goes wrong");
        return command;
    };
    auto& list = add("list", "Start the servers and list their tools", &server::mcp_list);
    list.add_option("server", tools.server, "only this one")->type_name("LABEL");
    list.add_flag("--json", tools.as_json, "for programs");
    auto& call = add("call", "Call one tool and print its result", &server::mcp_call);
    call.add_option("server", tools.server, "the server's label")->required()->type_name("LABEL");
    call.add_option("tool", tools.tool, "the tool's own name, without the label")->required()->type_name("TOOL");
    call.add_option("arguments", tools.arguments, "its arguments [{}]")->type_name("JSON");
    call.add_flag("--json", tools.as_json, "for programs");
    auto& doctor =
        add("doctor", "Start every server and say what is wrong; exit code 1 if something is", &server::mcp_doctor);
    doctor.add_flag("--json", tools.as_json, "for programs");
    auto& approve = add("approve", "Accept the definitions of a server's tools as they are now", &server::mcp_approve);
    approve.add_option("server", tools.server, "the server's label")->required()->type_name("LABEL");
    approve.add_option("tool", tools.tool, "only this one")->type_name("TOOL");
}

void add_conversations(CommandLine& line) {
    auto& options = line.conversations;
    auto* const group = line.cli.add_subcommand("conversations", "Look at what is remembered, export it, erase it");
    group->require_subcommand(1);
    auto const add = [&line, &options, group](char const* name, char const* help, auto run) -> CLI::App& {
        auto& command = line.add(*group, name, help, [&line, run] { return run(line.flags, line.conversations); });
        command
            .add_option("--data", line.flags.data, "folder of the SQLite store [data]; DATABASE_URL names another one")
            ->type_name("DIR");
        command.add_option("--user", options.user, "whose: a user's id, or a principal as `list` shows it")
            ->transform(server::principal_named, "")
            ->type_name("NAME");
        return command;
    };
    auto& list = add("list", "List them, the one used last first", &server::conversations_list);
    list.add_option("--limit", options.limit, "at most so many [100]")->check(CLI::Range(1, 1'000'000));
    list.add_flag("--json", options.as_json, "for programs, one a line");
    auto& show = add("show", "Print one, as it was said last", &server::conversations_show);
    show.add_option("session", options.session, "its name")->required()->type_name("SESSION");
    show.add_flag("--json", options.as_json, "for programs");
    auto& exported =
        add("export", "Print them with all branches, one JSON object a line", &server::conversations_export);
    exported.add_option("session", options.session, "only this one")->type_name("SESSION");
    auto& erase = add("erase", "Erase one, or all of a user; there is no way back", &server::conversations_erase);
    erase.add_option("session", options.session, "its name")->type_name("SESSION");
    erase.add_flag("--all", options.all, "all of the user that --user names");
}

void add_store_flag(CLI::App& command, server::Flags& flags) {
    command.add_option("--data", flags.data, "folder of the SQLite store [data]; DATABASE_URL names another one")
        ->type_name("DIR");
}

void add_keys(CommandLine& line) {
    auto& options = line.keys;
    auto* const group = line.cli.add_subcommand("keys", "Make, list, rotate and revoke API keys");
    group->require_subcommand(1);
    auto const add = [&line, group](char const* name, char const* help, auto run) -> CLI::App& {
        auto& command = line.add(*group, name, help, [&line, run] { return run(line.flags, line.keys); });
        add_store_flag(command, line.flags);
        return command;
    };
    auto const limit = CLI::Range(std::int64_t{1}, std::int64_t{1} << 50);
    auto const scopes = server::scope_names();
    auto& create = add("create", "Make a key; it is shown this once", &server::keys_create);
    create.add_option("--name", options.name, "whose it is, for people")
        ->required()
        ->check(server::check_plain, "")
        ->type_name("NAME");
    create.add_option("--role", options.role, "admin: everything; user: agents; viewer: looks only [user]")
        ->check(CLI::IsMember({"admin", "user", "viewer"}));
    create.add_option("--agent", options.agents, "only agents of this name, * and ? allowed; may be given again")
        ->check(server::check_plain, "")
        ->type_name("PATTERN");
    create.add_option("--route", options.routes, "only these routes; may be given again")
        ->check(CLI::IsMember(std::vector<std::string>(scopes.begin(), scopes.end())));
    create.add_option("--requests-per-minute", options.requests_per_minute, "at most so many")->check(limit);
    create.add_option("--tokens-per-minute", options.tokens_per_minute, "at most so many")->check(limit);
    create.add_option("--budget-tokens", options.budget_tokens, "tokens in all, or in each period")->check(limit);
    create.add_option("--budget-usd", options.budget_usd, "US dollars in all, or in each period")
        ->check(CLI::Range(0.000001, 1e9));
    create.add_option("--budget-period", options.budget_period, "total, day or month (UTC) [total]")
        ->check(CLI::IsMember({"total", "day", "month"}));
    create.add_option("--expires", options.expires, "how long it is valid, as 30d or 12h [for ever]")
        ->check(server::check_lifetime, "")
        ->type_name("TIME");
    create.add_flag("--json", options.as_json, "for programs");
    auto& list = add("list", "List them with their limits and what they have used", &server::keys_list);
    list.add_flag("--json", options.as_json, "for programs, one a line");
    auto& rotate = add("rotate", "Make a new key in the place of one", &server::keys_rotate);
    rotate.add_option("id", options.id, "the key's id, as `list` shows it")->required()->type_name("ID");
    rotate.add_option("--overlap", options.overlap, "how long the old one stays valid [24h]")
        ->check(server::check_duration, "")
        ->type_name("TIME");
    rotate.add_flag("--json", options.as_json, "for programs");
    auto& revoke = add("revoke", "End a key, at once and for good", &server::keys_revoke);
    revoke.add_option("id", options.id, "the key's id, as `list` shows it")->required()->type_name("ID");
}

void add_audit(CommandLine& line) {
    auto& options = line.keys;
    auto* const group = line.cli.add_subcommand("audit", "Read the log of what was done to keys, and check it");
    group->require_subcommand(1);
    auto const add = [&line, &options, group](char const* name, char const* help, auto run) -> CLI::App& {
        auto& command = line.add(*group, name, help, [&line, run] { return run(line.flags, line.keys); });
        add_store_flag(command, line.flags);
        command.add_flag("--json", options.as_json, "for programs");
        return command;
    };
    auto& list = add("list", "Print it, the oldest entry first", &server::audit_list);
    list.add_option("--after", options.after, "only entries behind this number [0]")->type_name("SEQ");
    add("verify", "Check the chain; exit code 1 if an entry was changed, taken out or moved", &server::audit_verify);
}

int print_version(CommandLine const& line) {
    auto const text = std::string(server::version());
    std::printf(line.as_json ? "{\"version\":\"%s\"}\n" : "parley %s\n", text.c_str());
    return server::kExitOk;
}

void add_others(CommandLine& line) {
    auto& conformance = line.add(line.cli, "mcp-conformance", "Play a scenario of the MCP conformance suite",
                                 [&line] { return server::mcp_conformance(line.conformance_url); });
    conformance.add_option("url", line.conformance_url, "the suite's server")->required()->type_name("URL");
    auto& migrate = line.add(line.cli, "migrate", "Bring the store's schema up to date, as serve does",
                             [&line] { return server::migrate(line.flags, line.as_json); });
    migrate.add_option("--data", line.flags.data, "folder of the SQLite store [data]")->type_name("DIR");
    migrate.add_flag("--json", line.as_json, "for programs");
    auto& version = line.add(line.cli, "version", "Print the version", [&line] { return print_version(line); });
    version.add_flag("--json", line.as_json, "for programs");
}

std::vector<CLI::App const*> commands_of(CLI::App const& cli) {
    return cli.get_subcommands([](CLI::App const*) { return true; });
}

CLI::App const* command_of(CLI::App const& cli, std::string_view word) {
    auto const commands = commands_of(cli);
    auto const found = std::ranges::find_if(commands, [&](auto const* one) { return one->get_name() == word; });
    return found == commands.end() ? nullptr : *found;
}

std::string did_you_mean(std::string const& word, std::vector<std::string> const& known) {
    std::vector<std::string_view> const views(known.begin(), known.end());
    auto const meant = parley::core::nearest(word, views);
    return meant ? "; did you mean '" + std::string(*meant) + "'?" : std::string();
}

// `path`: "parley", or a group such as "parley keys".
int unknown_command(CLI::App const& cli, std::string const& path, std::string const& word) {
    std::vector<std::string> names;
    for (auto const* const one : commands_of(cli))
        names.push_back(one->get_name());
    auto text = path + ": there is no command '" + word + "'" + did_you_mean(word, names) + "\nCommands:";
    for (auto const& name : names)
        text += " " + name;
    std::fprintf(stderr, "%s (%s --help tells more)\n", text.c_str(), path.c_str());
    return server::kExitUsage;
}

// The first of the words that the command knows nothing of.
int unexpected(CLI::App const& command, std::string const& path) {
    auto const words = command.remaining();
    auto const option = std::ranges::find_if(words, [](auto const& word) { return word.starts_with('-'); });
    if (words.empty() || option == words.end()) {
        std::fprintf(stderr, "%s: '%s' is more than it takes (%s --help tells what it takes)\n", path.c_str(),
                     words.empty() ? "" : words.front().c_str(), path.c_str());
        return server::kExitUsage;
    }
    std::vector<std::string> names;
    for (auto const* const known : command.get_options())
        for (auto const& name : known->get_lnames())
            names.push_back("--" + name);
    auto const name = option->substr(0, option->find('='));
    std::fprintf(stderr, "%s: there is no option '%s'%s (%s --help tells what there is)\n", path.c_str(), name.c_str(),
                 did_you_mean(name, names).c_str(), path.c_str());
    return server::kExitUsage;
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
        return server::kExitFault;
    }
#endif
    CommandLine line;
    auto& cli = line.cli;
    cli.footer(
        "Settings come from flags, then the environment, then .env, then defaults.\n"
        "Exit codes: 0 fine, 1 the configuration or the command failed, 2 wrong usage.");
    cli.set_version_flag("--version", "parley " + std::string(server::version()));
    cli.require_subcommand(0, 1);
    add_serve(line);
    add_looks(line);
    add_chat(line);
    add_mcp(line);
    add_conversations(line);
    add_keys(line);
    add_audit(line);
    add_others(line);
    if (argc < 2) {
        std::fputs(cli.help().c_str(), stderr);
        return server::kExitUsage;
    }
    std::string path = "parley";
    CLI::App const* named = &cli; // the command that the words name, as far as they do
    for (auto at = 1; at < argc && argv[at][0] != '-' && !commands_of(*named).empty(); ++at) {
        auto const* const next = command_of(*named, argv[at]);
        if (next == nullptr) return unknown_command(*named, path, argv[at]);
        named = next;
        path.append(" ").append(argv[at]);
    }
    if (argc == 2 && !commands_of(*named).empty() && named != &cli) { // a group alone
        std::fputs(named->help().c_str(), stderr);
        return server::kExitUsage;
    }
    try {
        cli.parse(argc, argv);
    } catch (CLI::ExtrasError const&) {
        return unexpected(*named, path);
    } catch (CLI::ParseError const& error) {
        return cli.exit(error) == 0 ? server::kExitOk : server::kExitUsage;
    }
    for (auto const& [command, run] : line.commands)
        if (command->parsed()) return run();
    return server::kExitUsage;
} catch (std::exception const& error) {
    std::fprintf(stderr, "parley: %s\n", error.what());
    return parley::server::kExitFault;
}
