// Reads the text of a .env file. Pure: whoever calls has read the file and decides what wins over what.
// Runs at start and on reload.
// Format: what docker compose, python-dotenv and Node's dotenv have in common; values are taken as they stand, without
// ${VAR} expansion.
#pragma once

#include <string>
#include <string_view>
#include <vector>

namespace parley::core {

struct DotenvEntry {
    std::string name;
    std::string value; // may be a secret
    int line = 0;      // 1-based, where the name stands
};

struct DotenvFault {
    int line = 0;        // 1-based
    std::string problem; // what is wrong and what would be right; quotes no values
};

struct Dotenv {
    std::vector<DotenvEntry> entries; // in the order of the file; of a name given twice the last one counts
    std::vector<DotenvFault> faults;  // all of them; the lines at fault are left out of `entries`

    /// The value of `name`, or nullptr. Valid as long as this object.
    std::string const* find(std::string_view name) const noexcept;
};

/// NAME=value, `export NAME=value`, comments (`#` at the start of a line or after white space), 'literal' and "quoted"
/// values (both may run over several lines; "quoted" knows \n \r \t \\ \" \$). LF, CRLF, a byte order mark are fine.
Dotenv parse_dotenv(std::string_view text);

} // namespace parley::core
