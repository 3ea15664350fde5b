// Cuts what a program writes into lines, within a bound: of a line that is too long only both ends are kept, which is
// enough to find out which request it was to answer.
#pragma once

#include <cstdint>
#include <optional>
#include <string>
#include <string_view>

namespace parley::mcp {

class LineReader {
public:
    explicit LineReader(std::size_t line_bytes_max) : line_bytes_max_(line_bytes_max) {}

    struct Line {
        std::string_view text; // without its end; of a cut line the beginning
        bool cut = false;
        std::string_view tail = {}; // of a cut line the last bytes
    };

    /// `bytes` must stay until next() has given nothing.
    void feed(std::string_view bytes) noexcept { input_ = bytes; }

    /// The next whole line; valid until the next call.
    std::optional<Line> next();

private:
    void keep(std::string_view piece);

    std::size_t line_bytes_max_;
    std::string_view input_;
    std::string line_;
    std::string tail_;
    bool cut_ = false;
    bool given_ = false;
};

/// The numeric id of a JSON-RPC message of which only both ends are known.
std::optional<std::int64_t> id_of_cut_message(std::string_view head, std::string_view tail);

} // namespace parley::mcp
