// What an agent did before it asked the client for one of the client's own tools: kept until the client answers,
// because the client's history does not hold it. Shared by all loops behind a mutex that is touched only by such runs.
#pragma once

#include <atomic>
#include <chrono>
#include <cstddef>
#include <list>
#include <map>
#include <memory>
#include <mutex>
#include <string>
#include <string_view>
#include <vector>

#include "agents/loop_messages.hpp"
#include "core/context.hpp"
#include "mcp/tool_host.hpp"

namespace parley::agents {

/// Stands for the client's one assistant message. Immutable.
struct ParkedTurn {
    std::vector<LoopMessage> messages;        // all that the run added, the assistant's with all its calls included
    std::vector<std::string> client_call_ids; // text, in order
    std::size_t bytes() const noexcept;
};

class ParkedCalls {
public:
    struct Limits {
        std::size_t entries_max = 10'000;
        std::size_t bytes_max = 256U << 20U;
        std::chrono::seconds keep{3'600};
    };

    ParkedCalls() = default;
    explicit ParkedCalls(Limits limits) : limits_(limits) {}

    /// Whose, of which agent, after which texts of the user (providers number the calls of each answer anew), and the
    /// first of the client's calls: what must all be the same.
    static std::string key(mcp::Caller const& caller, std::string_view agent_id, std::string_view asked,
                           std::string_view client_call_id);

    /// The oldest make room. One that is larger than everything allowed is not kept.
    void park(std::string key, std::shared_ptr<ParkedTurn const> turn, core::SteadyTime now);

    /// nullptr when there is none, or not any more. It stays for the next request, whose history has it again.
    std::shared_ptr<ParkedTurn const> find(std::string const& key, core::SteadyTime now);

    bool empty() const noexcept { return count_.load(std::memory_order_relaxed) == 0; } // without the mutex

private:
    struct Entry {
        std::string key;
        std::shared_ptr<ParkedTurn const> turn;
        core::SteadyTime expires;
    };
    void drop(std::list<Entry>::iterator entry);

    Limits limits_ = {};
    std::atomic<std::size_t> count_{0};
    std::mutex mutex_;
    std::list<Entry> entries_; // the oldest first
    std::map<std::string_view, std::list<Entry>::iterator> by_key_;
    std::size_t bytes_ = 0;
};

} // namespace parley::agents
