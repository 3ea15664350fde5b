// What happens in a simulated world, request by request, and the rules that it has to keep. Everybody in the world
// writes here; a broken rule is a line in broken(). Single-threaded, one per world.
//
// Every text that somebody says is a token of its own, so that a history can be read back: s<session>q<n>. for a
// question, s<session>m<stream>_<piece>. for a piece of an answer, s<session>t<n>. for the arguments of a tool call and
// s<session>r<n>. for its result.
#pragma once

#include <fmt/format.h>

#include <chrono>
#include <cstdint>
#include <deque>
#include <map>
#include <optional>
#include <random>
#include <string>
#include <string_view>
#include <vector>

#include "chat/turn.hpp"
#include "tests/simulation/virtual_time.hpp"

namespace parley::simulation {

using std::chrono::milliseconds;

/// The seed's numbers.
class Chance {
public:
    explicit Chance(std::uint64_t seed) : random_(seed) {}
    int between(int least, int most) {
        return least + static_cast<int>(random_() % static_cast<std::uint64_t>(most - least + 1));
    }
    bool percent(int likely) { return between(0, 99) < likely; }
    milliseconds ms(int least, int most) { return milliseconds(between(least, most)); }

private:
    std::mt19937_64 random_;
};

/// A tool call that a model asked for.
struct AskedCall {
    std::string id;
    int number = 0;       // of its tokens
    bool is_known = true; // there is a tool of that name
    int runs = 0;
    std::string result = {}; // token of what the tool said, empty = it did not
};

struct Acknowledged {
    std::string question;            // token
    std::vector<std::string> pieces; // tokens
};

/// One request of a client, from its beginning.
struct Request {
    std::string id;
    int session = 0;
    int key = 0;
    std::string question = {};     // token
    std::string session_name = {}; // as the client calls it; another key's may have the same
    bool is_remembered = false;
    bool is_told = false; // the client tells the history: `before`. Else the store does: all that was acknowledged
    std::vector<Acknowledged> before = {};
    milliseconds began{0};
    milliseconds deadline{0};

    std::optional<milliseconds> left_at = {}; // the client is gone
    std::optional<milliseconds> cut_at = {};  // the server stops
    bool is_over = false;                     // its handler has returned
    int streams = 0;                          // model calls begun
    int active_streams = 0, active_tools = 0;
    bool failed_after_text = false;    // a model call that had said something
    std::vector<AskedCall> round = {}; // of the last model call that asked for tools, in its order
    std::int64_t tokens = 0;           // that models reported
    bool is_untold = false;            // the last model that was asked has reported none

    bool stopped() const noexcept { return left_at || cut_at; }
};

class Ledger {
public:
    explicit Ledger(bool is_verbose) : is_verbose_(is_verbose) {}

    // ---- the trace

    template <class... Args>
    void note(std::string_view who, fmt::format_string<Args...> what, Args const&... args) {
        line_.clear();
        fmt::format_to(std::back_inserter(line_), "{:>7} ms  {:<6} ", VirtualTime::now().count(), who);
        fmt::vformat_to(std::back_inserter(line_), what, fmt::make_format_args(args...));
        write();
    }
    std::uint64_t hash() const noexcept { return hash_; }

    // ---- the rules

    void expect(bool holds, std::string_view rule, std::string_view who = {}) {
        if (holds) return;
        broken_.push_back(std::string(rule) + (who.empty() ? "" : " (" + std::string(who) + ")"));
        note(who, "BROKEN: {}", rule);
    }
    std::vector<std::string> const& broken() const noexcept { return broken_; }

    // ---- requests

    Request& begin(Request request);
    Request* find(std::string_view id); // nullptr: none of ours
    std::deque<Request> const& requests() const noexcept { return requests_; }

    /// A model is asked: what it is shown must be what the rules say.
    void asked(Request& request, chat::Turn const& turn);
    /// What a model asks for next.
    AskedCall make_call(Request& request);
    int make_stream() { return ++streams_; }
    void stream_complete(int stream, int pieces) { complete_[stream] = pieces; }
    /// A tool runs. nullptr: nobody asked for it.
    AskedCall* tool_runs(Request& request, std::string_view arguments);

    /// An answer as the client read it.
    static Acknowledged told(std::string question, std::string_view content);
    /// The client has been told all.
    void acknowledged(Request const& request, std::string const& content);
    std::map<int, std::vector<Acknowledged>> const& sessions() const noexcept { return acknowledged_; }

    /// What the store holds as an answer must be a whole one.
    void check_stored_answer(std::string_view messages, std::string_view who);

    static std::string question_token(int session, int number) { return fmt::format("s{}q{}.", session, number); }
    static std::string piece_token(int session, int stream, int piece) {
        return fmt::format("s{}m{}_{}.", session, stream, piece);
    }
    int next_number() { return ++numbers_; }

private:
    void write();
    void check_history(Request const& request, std::string_view shown);
    void check_own(Request const& request, std::string_view shown);
    void check_round(Request const& request, chat::Turn const& turn);

    bool is_verbose_;
    std::string line_;
    std::uint64_t hash_ = 14'695'981'039'346'656'037U; // FNV-1a
    std::vector<std::string> broken_;
    std::deque<Request> requests_;
    std::map<int, std::vector<Acknowledged>> acknowledged_; // by session
    std::map<int, int> complete_;                           // streams that came to their end, with their pieces
    int streams_ = 0;
    int numbers_ = 0;
};

} // namespace parley::simulation
