#include "server/settings.hpp"

#include <algorithm>
#include <array>
#include <charconv>
#include <cstdlib>
#include <limits>
#include <system_error>
#include <thread>

#include <fcntl.h>
#include <sys/stat.h>
#include <unistd.h>

#include "core/ascii.hpp"
#include "core/dotenv.hpp"
#include "policy/api_keys.hpp"
#include "server/settings_checks.hpp"

namespace parley::server {
namespace {

// Reads variables and gathers what is wrong with them.
class Reader {
public:
    Reader(Environment const& environment, SettingsResult& result)
        : environment_(environment), faults_(result.faults), variables_(result.variables) {}

    std::optional<std::string> text(std::string_view name) const {
        variables_.emplace_back(name);
        return environment_.find(name);
    }

    template <class Number>
    void number(std::string_view name, Number& into, std::uint64_t min, std::uint64_t max) {
        auto const value = text(name);
        if (!value) return;
        std::uint64_t parsed = 0;
        auto const* const end = value->data() + value->size();
        auto const [at, error] = std::from_chars(value->data(), end, parsed);
        if (error != std::errc{} || at != end || parsed < min || parsed > max) {
            faults_.push_back(std::string(name) + "=" + *value + ": must be a whole number from " +
                              std::to_string(min) + " to " + std::to_string(max));
            return;
        }
        into = static_cast<Number>(parsed);
    }

    void milliseconds(std::string_view name, std::chrono::milliseconds& into) {
        auto count = static_cast<std::uint64_t>(into.count());
        number(name, count, 1, 86'400'000);
        into = std::chrono::milliseconds(count);
    }

    bool flag(std::string_view name) {
        auto const value = text(name);
        if (!value) return false;
        if (*value == "1" || *value == "true" || *value == "yes" || *value == "on") return true;
        if (*value != "0" && *value != "false" && *value != "no" && *value != "off") {
            faults_.push_back(std::string(name) + "=" + *value + ": must be true or false");
        }
        return false;
    }

private:
    Environment const& environment_;
    std::vector<std::string>& faults_;
    std::vector<std::string>& variables_;
};

std::vector<std::string> split_list(std::string_view list) {
    std::vector<std::string> out;
    while (!list.empty()) {
        auto const comma = list.find(',');
        auto word = list.substr(0, comma);
        while (!word.empty() && word.front() == ' ')
            word.remove_prefix(1);
        while (!word.empty() && (word.back() == ' ' || word.back() == '/'))
            word.remove_suffix(1);
        if (!word.empty()) out.emplace_back(word);
        if (comma == std::string_view::npos) break;
        list.remove_prefix(comma + 1);
    }
    return out;
}

core::LogLevel log_level(std::string level, std::vector<std::string>& faults) {
    level = core::ascii_lower(level);
    if (level == "debug" || level == "trace") return core::LogLevel::kDebug;
    if (level == "info") return core::LogLevel::kInfo;
    if (level == "warn" || level == "warning") return core::LogLevel::kWarn;
    if (level == "error" || level == "critical") return core::LogLevel::kError;
    faults.push_back("LOG_LEVEL=" + level + ": must be debug, info, warn or error");
    return core::LogLevel::kInfo;
}

void read_log(Flags const& flags, Reader& reader, Settings& settings, std::vector<std::string>& faults) {
    settings.log.level = log_level(reader.text("LOG_LEVEL").value_or("info"), faults);
    if (flags.debug) settings.log.level = core::LogLevel::kDebug;
    settings.log_texts = reader.flag("PARLEY_LOG_TEXTS");
    auto const personal = reader.text("PARLEY_LOG_PERSONAL_DATA").value_or("mask");
    if (personal != "mask" && personal != "keep")
        faults.push_back("PARLEY_LOG_PERSONAL_DATA=" + personal + ": must be mask or keep");
    settings.log.personal_data = personal == "keep";
    auto const terminal = ::isatty(2) == 1;
    auto const format = flags.log ? *flags.log : reader.text("PARLEY_LOG").value_or(terminal ? "text" : "json");
    if (format != "text" && format != "json") faults.push_back("PARLEY_LOG=" + format + ": must be text or json");
    settings.log.format = format == "json" ? core::LogFormat::kJson : core::LogFormat::kText;
    settings.log.colour = terminal && settings.log.format == core::LogFormat::kText && !std::getenv("NO_COLOR");
}

// A value of libpq's key=value form.
std::string dsn_value(std::string_view value) {
    std::string out = "'";
    for (auto const c : value) {
        if (c == '\'' || c == '\\') out += '\\';
        out += c;
    }
    return out + "'";
}

// DATABASE_URL as it is, or what the POSTGRES_* variables of the original say.
std::string database_dsn(Reader& reader, std::vector<std::string>& faults) {
    if (auto url = reader.text("DATABASE_URL")) {
        for (std::string_view const driver :
             {"postgresql+asyncpg://", "postgresql+psycopg://", "postgresql+psycopg2://"})
            if (url->starts_with(driver)) url->replace(0, driver.size(), "postgresql://");
        auto const is_url = url->starts_with("postgresql://") || url->starts_with("postgres://");
        if (!is_url && (url->find("://") != std::string::npos || url->find('=') == std::string::npos)) {
            faults.emplace_back(
                "DATABASE_URL: must be a postgresql:// URL or key=value pairs as libpq reads them; without it, and "
                "without POSTGRES_HOST, conversations are kept in SQLite in the data folder");
        }
        return *url;
    }
    auto const host = reader.text("POSTGRES_HOST");
    if (!host) return {};
    auto dsn = "host=" + dsn_value(*host);
    constexpr std::array<std::pair<char const*, char const*>, 4> parts{{{"POSTGRES_PORT", "port"},
                                                                        {"POSTGRES_USER", "user"},
                                                                        {"POSTGRES_PASSWORD", "password"},
                                                                        {"POSTGRES_DB", "dbname"}}};
    for (auto const& [name, key] : parts)
        if (auto const value = reader.text(name)) dsn += std::string(" ") + key + "=" + dsn_value(*value);
    return dsn;
}

// A fault of a value, if it has one.
void blame(std::string_view variable, std::string fault, std::vector<std::string>& faults) {
    if (!fault.empty()) faults.push_back(std::string(variable) + ": " + std::move(fault));
}

std::vector<std::string> header_names(Reader const& reader, std::string_view variable,
                                      std::vector<std::string>& faults) {
    auto const text = reader.text(variable);
    auto names = split_list(text.value_or(""));
    if (text && names.empty()) blame(variable, "is set, but names no header", faults);
    for (auto& name : names) {
        blame(variable, header_name_fault(name), faults);
        name = core::ascii_lower(name);
    }
    return names;
}

core::Secret key_list(Reader const& reader, std::string_view variable, std::vector<std::string>& faults) {
    auto list = reader.text(variable).value_or("");
    for (auto& fault : key_list_faults(list))
        blame(variable, std::move(fault), faults);
    return core::Secret(std::move(list));
}

std::vector<std::string> origins(Reader const& reader, std::string_view variable, std::vector<std::string>& faults) {
    auto list = split_list(reader.text(variable).value_or(""));
    for (auto& origin : list) {
        origin = normal_origin(origin);
        blame(variable, origin_fault(origin), faults);
    }
    return list;
}

void read_users(Reader& reader, Settings& settings, std::vector<std::string>& faults) {
    constexpr std::size_t kSecretBytesMin = 16;
    settings.user_jwt_secret = core::Secret(reader.text("PARLEY_OPENWEBUI_JWT_SECRET").value_or(""));
    auto const size = settings.user_jwt_secret.reveal().size();
    if (size != 0 && size < kSecretBytesMin) {
        faults.push_back("PARLEY_OPENWEBUI_JWT_SECRET: must have " + std::to_string(kSecretBytesMin) +
                         " characters at least; whoever guesses it can be any user");
    }
    settings.forwarder_keys = key_list(reader, "PARLEY_FORWARDER_KEYS", faults);
    if (auto header = reader.text("PARLEY_USER_JWT_HEADER")) {
        blame("PARLEY_USER_JWT_HEADER", header_name_fault(*header), faults);
        settings.user_jwt_header = core::ascii_lower(*header);
    }
    settings.user_headers = header_names(reader, "PARLEY_USER_HEADERS", faults);
}

void read_memory(Reader& reader, Settings& settings, std::vector<std::string>& faults) {
    settings.database_dsn = core::Secret(database_dsn(reader, faults));
    settings.session_headers = header_names(reader, "PARLEY_SESSION_HEADERS", faults);
    std::uint64_t hours = 1;
    reader.number("MEMORY_CLEANUP_INTERVAL_HOURS", hours, 1, 8'760);
    settings.cleanup_interval = std::chrono::hours(hours);
}

void read_limits(Reader& reader, Settings& settings) {
    auto& limits = settings.limits;
    reader.milliseconds("PARLEY_HEADER_TIMEOUT_MS", limits.head_timeout);
    reader.milliseconds("PARLEY_BODY_TIMEOUT_MS", limits.body_timeout);
    reader.milliseconds("PARLEY_IDLE_TIMEOUT_MS", limits.idle_timeout);
    reader.milliseconds("PARLEY_STALL_TIMEOUT_MS", limits.stall_timeout);
    reader.milliseconds("PARLEY_HEARTBEAT_MS", limits.heartbeat);
    reader.number("PARLEY_BODY_BYTES_MAX", limits.body_bytes_max, 1024, 1ULL << 32);
    reader.number("PARLEY_CONNECTIONS_MAX", limits.connections_max, 1, 1'000'000);
    reader.number("MAX_CONCURRENT_REQUESTS", settings.requests_max, 1, 1'000'000);
    std::uint64_t seconds = 600;
    reader.number("PARLEY_DRAIN_SECONDS", seconds, 0, 86'400);
    settings.drain_limit = std::chrono::seconds(seconds);
}

// The text of a file that need not be there. Any kind but a folder will do: secrets come through pipes, too.
core::Result<std::string> read_if_there(std::string const& path) {
    auto const fault = [&path](std::string const& text) {
        return core::make_error(core::Errc::kInvalidValue, path + " " + text);
    };
    auto const cannot = [&fault] { return fault("cannot be read: " + std::system_category().message(errno)); };
    auto const file = ::open(path.c_str(), O_RDONLY | O_CLOEXEC);
    if (file < 0 && (errno == ENOENT || errno == ENOTDIR)) return std::string();
    struct stat about = {};
    if (file < 0 && errno == EACCES && ::stat(path.c_str(), &about) != 0) {
        return fault("may be there, but its folder may not be entered by this user (" +
                     std::system_category().message(EACCES) + "): start this in another folder");
    }
    if (file < 0) return cannot();
    struct Closing {
        int descriptor;
        ~Closing() { ::close(descriptor); }
    } const closing{file};
    if (::fstat(file, &about) == 0 && S_ISDIR(about.st_mode)) {
        return fault("is a directory, where a file is wanted (Docker makes one when the file of a mount is missing)");
    }
    std::string text;
    std::array<char, 4096> some{};
    for (;;) {
        auto const count = ::read(file, some.data(), some.size());
        if (count == 0) return text;
        if (count < 0 && errno == EINTR) continue;
        if (count < 0) return cannot();
        text.append(some.data(), static_cast<std::size_t>(count));
    }
}

} // namespace

core::Result<Environment> Environment::load(std::string const& dotenv_path) {
    Environment environment;
    auto const text = read_if_there(dotenv_path);
    if (!text) return text.error();
    auto const parsed = core::parse_dotenv(*text);
    std::string faults;
    for (auto const& fault : parsed.faults)
        faults += dotenv_path + ":" + std::to_string(fault.line) + ": " + fault.problem + "\n";
    if (!faults.empty()) return core::make_error(core::Errc::kInvalidValue, faults);
    for (auto const& entry : parsed.entries)
        environment.dotenv_[entry.name] = entry.value;
    return environment;
}

std::optional<std::string> Environment::find(std::string_view name) const {
    char const* const set = std::getenv(std::string(name).c_str());
    if (set && *set) return std::string(set);
    auto const found = dotenv_.find(name);
    if (found == dotenv_.end() || found->second.empty()) return std::nullopt;
    return found->second;
}

bool Settings::loopback_only() const {
    return host == "localhost" || host == "::1" || host.starts_with("127.");
}

bool Settings::wants_keys() const {
    return !policy::ApiKeys::split(api_keys.reveal()).empty() ||
           !policy::ApiKeys::split(forwarder_keys.reveal()).empty();
}

SettingsResult make_settings(Flags const& flags, Environment const& environment) {
    SettingsResult result;
    auto& settings = result.settings;
    Reader reader(environment, result);
    settings.host = flags.host ? *flags.host : reader.text("HOST").value_or(settings.host);
    reader.number("PORT", settings.port, 0, std::numeric_limits<std::uint16_t>::max());
    if (flags.port) settings.port = *flags.port;
    settings.config_path =
        flags.config ? *flags.config : reader.text("AGENT_CONFIG_PATH").value_or(settings.config_path);
    auto const mcp = flags.mcp ? flags.mcp : reader.text("MCP_CONFIG_PATH");
    settings.mcp_required = mcp.has_value();
    if (mcp) settings.mcp_path = *mcp;
    settings.prompts_dir = reader.text("PROMPTS_DIR_PATH").value_or(settings.prompts_dir);
    settings.data_dir = flags.data ? *flags.data : reader.text("PARLEY_DATA_DIR").value_or(settings.data_dir);
    settings.threads = std::max(1U, std::thread::hardware_concurrency());
    reader.number("PARLEY_THREADS", settings.threads, 1, 256);
    if (flags.threads) settings.threads = *flags.threads;
    settings.allow_anonymous = flags.allow_anonymous || reader.flag("PARLEY_ALLOW_ANONYMOUS");
    settings.api_keys = key_list(reader, "PARLEY_API_KEYS", result.faults);
    settings.cors_origins = origins(reader, "PARLEY_CORS_ORIGINS", result.faults);
    settings.tls_certificate = reader.text("PARLEY_TLS_CERT").value_or("");
    settings.tls_key = reader.text("PARLEY_TLS_KEY").value_or("");
    if (settings.tls_certificate.empty() != settings.tls_key.empty()) {
        result.faults.emplace_back("PARLEY_TLS_CERT and PARLEY_TLS_KEY: set both, or neither");
    }
    read_users(reader, settings, result.faults);
    read_memory(reader, settings, result.faults);
    read_log(flags, reader, settings, result.faults);
    read_limits(reader, settings);
    return result;
}

} // namespace parley::server
