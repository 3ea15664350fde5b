// How a Fault is shown to a person and to a program, see config.hpp.
// Owned by nobody: pure functions.
// Called by the command line, the log of a refused reload and the tests.
#include "agents/config.hpp"

namespace parley::agents {

std::string to_text(Fault const& fault) {
    std::string out = fault.file;
    if (fault.line > 0) out += ":" + std::to_string(fault.line);
    if (fault.column > 0) out += ":" + std::to_string(fault.column);
    if (!fault.pointer.empty()) out += ": " + fault.pointer;
    out += "\n    found    " + fault.found;
    if (!fault.allowed.empty()) out += "\n    allowed  " + fault.allowed;
    if (!fault.hint.empty()) out += "\n    hint     " + fault.hint;
    return out;
}

boost::json::object to_json(Fault const& fault) {
    boost::json::object out{
        {"file", fault.file}, {"pointer", fault.pointer}, {"found", fault.found}, {"allowed", fault.allowed}};
    if (!fault.hint.empty()) out["hint"] = fault.hint;
    if (fault.line > 0) out["line"] = fault.line;
    if (fault.column > 0) out["column"] = fault.column;
    return out;
}

} // namespace parley::agents
