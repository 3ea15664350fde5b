#include "tests/simulation/talkers.hpp"

#include <utility>

#include "tests/simulation/wait.hpp"

namespace parley::simulation {
namespace {

constexpr milliseconds kAllIsWell = kTrouble + milliseconds(3'000); // a fault that shows late, a probe of a breaker
constexpr int kTriesMax = 3;

core::Awaitable<void> sleep(milliseconds time) {
    core::Cancellation never;
    core::Context const context{never};
    (void)co_await wait(context, time);
}

// One talker's side of a conversation.
struct Memory {
    std::string told; // messages, comma-separated
    std::vector<Acknowledged> acknowledged;
};

Sending draw_sending(World& world, Talker const& talker, Memory const& memory, std::string const& question) {
    auto& chance = world.chance();
    Sending sending;
    sending.agent = talker.agent;
    sending.session = talker.session_name;
    sending.api_key = fmt::format("sk-{}", kKeys[static_cast<std::size_t>(talker.key)]);
    auto const before = talker.tells && !memory.told.empty() ? memory.told + "," : std::string();
    sending.messages = "[" + before + message_json("user", question) + "]";
    sending.streams = chance.percent(60);
    if (chance.percent(talker.slow)) sending.slow = chance.between(1, 400);
    if (!talker.must_succeed && chance.percent(20)) sending.timeout_s = chance.between(1, 6);
    if (chance.percent(talker.leaves)) sending.leaves_after = chance.ms(0, chance.percent(50) ? 60 : 1'500);
    if (!sending.leaves_after && chance.percent(talker.cut)) {
        sending.leaves_after = chance.ms(0, 1'500);
        sending.is_cut = true;
    }
    return sending;
}

} // namespace

core::Awaitable<void> talk(World& world, Talker talker) {
    auto& chance = world.chance();
    Memory memory;
    co_await sleep(talker.begins);
    for (int n = 0; n < talker.questions; ++n) {
        auto const question = Ledger::question_token(talker.session, world.ledger().next_number());
        auto const key = chance.percent(40) ? "key-" + question : std::string();
        bool is_answered = false;
        for (int tries = 0; tries < kTriesMax && !is_answered; ++tries) {
            auto sending = draw_sending(world, talker, memory, question);
            sending.idempotency_key = key;
            Request about;
            about.session = talker.session;
            about.session_name = talker.session_name;
            about.key = talker.key;
            about.question = question;
            about.is_remembered = !talker.session_name.empty();
            about.is_told = talker.tells;
            if (talker.tells) about.before = memory.acknowledged;
            auto const replica = static_cast<std::size_t>(chance.between(0, 1));
            auto const answered = co_await world.ask(replica, std::move(sending), std::move(about));
            is_answered = answered.is_whole;
            world.ledger().expect(is_answered || !talker.must_succeed, "all is well, and a client is told no",
                                  question + " " + answered.error);
            if (!is_answered && chance.percent(30)) break; // it gives up
            if (!is_answered) co_await sleep(chance.ms(20, 800));
            if (!is_answered || !talker.tells || chance.percent(20))
                continue; // the last one is forgotten, as by an edit
            if (!memory.told.empty()) memory.told += ",";
            memory.told += message_json("user", question) + "," + message_json("assistant", answered.content);
            memory.acknowledged.push_back(Ledger::told(question, answered.content));
        }
        co_await sleep(chance.ms(0, 700));
    }
}

namespace {

void add_conversations(World& world, int& session) {
    auto& chance = world.chance();
    std::array<int, kKeys.size()> named{};
    for (auto count = chance.between(1, 2); count > 0; --count) {
        Talker talker;
        talker.session = ++session;
        talker.key = chance.between(0, kKeys.size() - 1);
        talker.agent = kAgents[static_cast<std::size_t>(chance.between(0, kAgents.size() - 1))];
        if (chance.percent(85))
            talker.session_name = fmt::format("chat{}", named[static_cast<std::size_t>(talker.key)]++);
        talker.tells = talker.agent == "told" || (talker.agent == "both" && chance.percent(50));
        talker.questions = chance.between(1, 3);
        talker.begins = chance.ms(0, 3'000);
        talker.leaves = chance.percent(50) ? 25 : 0;
        talker.cut = chance.percent(30) ? 15 : 0;
        talker.slow = chance.percent(30) ? 50 : 0;
        world.spawn(talk(world, talker));
        // Two who speak in the same conversation at the same time.
        if (talker.tells || talker.session_name.empty() || !chance.percent(30)) continue;
        talker.begins = chance.ms(0, 3'000);
        world.spawn(talk(world, talker));
    }
}

// Many at the same moment, with one key.
void add_burst(World& world, int& session) {
    auto& chance = world.chance();
    auto const at = chance.ms(0, 5'000);
    auto const key = chance.between(1, kKeys.size() - 1);
    for (auto count = chance.between(2, 6); count > 0; --count) {
        Talker talker;
        talker.session = ++session;
        talker.key = key;
        talker.agent = "kept";
        talker.begins = at;
        talker.leaves = chance.percent(20) ? 100 : 0;
        world.spawn(talk(world, talker));
    }
}

} // namespace

void populate(World& world) {
    int session = 0;
    add_conversations(world, session);
    if (world.chance().percent(30)) add_burst(world, session);
    for (auto const agent : kAgents) {
        Talker talker;
        talker.session = ++session;
        talker.session_name = fmt::format("last{}", session);
        talker.agent = agent;
        talker.tells = agent == "told";
        talker.begins = kAllIsWell;
        talker.must_succeed = true;
        world.spawn(talk(world, talker));
    }
}

} // namespace parley::simulation
