#include "mcp/pins.hpp"

#include <boost/json/object.hpp>
#include <boost/json/parse.hpp>
#include <boost/json/serialize.hpp>

#include <cerrno>
#include <cstdio>
#include <cstring>
#include <filesystem>
#include <fstream>
#include <sstream>

#include "core/hash.hpp"
#include "mcp/protocol.hpp"

namespace parley::mcp {

namespace json = boost::json;

Pins::Pins(std::string path, Keeping keeping) : path_(std::move(path)), keeping_(keeping) {
    if (path_.empty()) return;
    std::ifstream file(path_);
    if (!file) return;
    std::stringstream text;
    text << file.rdbuf();
    boost::system::error_code error;
    auto const root = json::parse(text.str(), error);
    if (error || !root.is_object()) {
        problem_ = path_ + " is not readable and is begun anew";
        return;
    }
    for (auto const& server : root.get_object()) {
        if (!server.value().is_object()) continue;
        for (auto const& tool : server.value().get_object())
            if (tool.value().is_string())
                pins_[std::string(server.key())][std::string(tool.key())] = std::string(tool.value().get_string());
    }
}

Pins::Verdict Pins::check(std::string_view server, Tool const& tool) {
    auto& tools = pins_[std::string(server)];
    auto const found = tools.find(tool.name);
    if (found != tools.end()) return found->second == tool.sha256 ? Verdict::kSame : Verdict::kChanged;
    accept(server, tool);
    return Verdict::kNew;
}

void Pins::accept(std::string_view server, Tool const& tool) {
    if (keeping_ == Keeping::kAll) approve(server, tool);
}

void Pins::approve(std::string_view server, Tool const& tool) {
    pins_[std::string(server)][tool.name] = tool.sha256;
    changed_ = true;
}

void Pins::save() {
    if (path_.empty() || !changed_) return;
    json::object root;
    for (auto const& [server, tools] : pins_) {
        json::object one;
        for (auto const& [tool, hash] : tools)
            one[tool] = hash;
        root[server] = std::move(one);
    }
    std::error_code ignored;
    std::filesystem::create_directories(std::filesystem::path(path_).parent_path(), ignored);
    auto const temporary = path_ + ".new";
    {
        std::ofstream file(temporary, std::ios::trunc);
        file << json::serialize(root) << '\n';
        if (!file.flush()) {
            problem_ = temporary + " cannot be written";
            return;
        }
    }
    if (std::rename(temporary.c_str(), path_.c_str()) != 0) {
        problem_ = path_ + " cannot be written: " + std::strerror(errno);
        return;
    }
    problem_.clear();
    changed_ = false;
}

std::string pin_identity(ServerSpec const& spec) {
    auto reached = spec.command;
    for (auto const& arg : spec.args)
        reached += '\0' + arg.reveal();
    if (!spec.url.empty()) reached = spec.url_shown;
    return spec.label + "@" + core::sha256_hex(reached).substr(0, 16);
}

} // namespace parley::mcp
