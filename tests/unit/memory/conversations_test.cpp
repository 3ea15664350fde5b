// Conversations over each store: what grows, what is found again, and what nobody else can see.
#include "memory/conversations.hpp"

#include <gmock/gmock.h>
#include <gtest/gtest.h>

#include <algorithm>
#include <set>

#include "core/hash.hpp"
#include "tests/unit/storage/store_fixture.hpp"

namespace parley::memory {
namespace {

using storage::testing::kEachStore;
using storage::testing::kStoreName;
using ::testing::ElementsAre;
using ::testing::IsEmpty;

class ConversationsTest : public storage::testing::StoreFixture {
protected:
    static Conversations on(storage::Database& database) {
        return Conversations(database, [] { return now_; });
    }

    // A turn that says `text` behind another one.
    static StoredTurn turn(std::string const& text, StoredTurn const* parent = nullptr,
                           TurnKind kind = TurnKind::kInput) {
        StoredTurn out;
        out.kind = kind;
        out.parent = parent ? parent->id : kRoot;
        out.depth = parent ? parent->depth + 1 : 0;
        out.messages = R"([{"role":"user","content":")" + text + R"("}])";
        out.id = core::sha256(std::string(out.parent.begin(), out.parent.end()) + text);
        return out;
    }

    template <class Call>
    auto ask(Call call) {
        return bench_->wait([&](storage::Database& database, core::Context const& context) {
            conversations_ = std::make_unique<Conversations>(on(database));
            return call(*conversations_, context);
        });
    }
    bool follow(ConversationKey const& key, std::vector<StoredTurn> turns, std::optional<std::int64_t> expires = {}) {
        auto const done =
            ask([&](auto& all, auto const& context) { return all.follow(context, key, turns, false, expires); });
        EXPECT_TRUE(done) << done.error().detail;
        return done.has_value();
    }
    bool append(ConversationKey const& key, std::vector<StoredTurn> turns) {
        auto const done = ask([&](auto& all, auto const& context) { return all.append(context, key, turns, {}); });
        EXPECT_TRUE(done) << done.error().detail;
        return done && *done;
    }
    bool answer(ConversationKey const& key, StoredTurn turn) {
        auto const done = ask([&](auto& all, auto const& context) { return all.answer(context, key, turn, {}); });
        EXPECT_TRUE(done) << done.error().detail;
        return done && *done;
    }
    std::vector<std::string> path(ConversationKey const& key) {
        auto const found = ask([&](auto& all, auto const& context) { return all.path(context, key); });
        EXPECT_TRUE(found) << found.error().detail;
        return said(found->turns);
    }
    std::vector<std::string> tree(ConversationKey const& key) {
        auto const found = ask([&](auto& all, auto const& context) { return all.tree(context, key); });
        return said(found->turns);
    }
    std::vector<std::string> list(std::string const& principal) {
        auto const found = ask([&](auto& all, auto const& context) {
            return all.list(context, unique_, std::optional(principal), ListPlace{now_ + 1}, 10);
        });
        std::vector<std::string> out;
        for (auto const& one : *found)
            out.push_back(one.session + " " + std::to_string(one.turns));
        return out;
    }
    static std::vector<std::string> said(std::vector<StoredTurn> const& turns) {
        std::vector<std::string> out;
        for (auto const& one : turns) {
            auto const start = one.messages.find("content\":\"") + 10;
            out.push_back(one.messages.substr(start, one.messages.rfind('"') - start));
        }
        return out;
    }
    ConversationKey key(std::string session = "s", std::string principal = "p") const {
        return {unique_, std::move(principal), std::move(session)};
    }

    static inline std::int64_t now_ = 1'000'000;
    std::unique_ptr<Conversations> conversations_;
};

INSTANTIATE_TEST_SUITE_P(Each, ConversationsTest, kEachStore, kStoreName);

TEST_P(ConversationsTest, FollowsWhatTheClientTells) {
    auto const hi = turn("hi");
    auto const hello = turn("hello", &hi, TurnKind::kAnswer);
    auto const more = turn("more", &hello);
    EXPECT_THAT(path(key()), IsEmpty());
    follow(key(), {hi});
    follow(key(), {hello});
    follow(key(), {hi, hello, more}); // the whole history again
    follow(key(), {hi, hello, more}); // a retry
    EXPECT_THAT(path(key()), ElementsAre("hi", "hello", "more"));
    EXPECT_THAT(tree(key()), ElementsAre("hi", "hello", "more"));
}

TEST_P(ConversationsTest, KeepsAllThatIsKnownOfATurn) {
    auto const hi = turn("hi");
    auto answer = turn("Hé 😀 \\u0000", &hi, TurnKind::kAnswer);
    answer.agent = "demo";
    answer.idempotency_key = "once";
    answer.finish = "stop";
    answer.model = "gpt";
    answer.prompt_tokens = 11;
    answer.completion_tokens = 7;
    answer.created_ms = 42;
    follow(key(), {hi, answer});
    auto const found = ask([&](auto& all, auto const& context) {
        return all.find(context, key(), {answer.id, core::sha256("other"), hi.id});
    });
    ASSERT_TRUE(found) << found.error().detail;
    ASSERT_EQ(found->turns.size(), 2U);
    auto const& one = *std::ranges::find(found->turns, answer.id, &StoredTurn::id);
    EXPECT_EQ(one.kind, TurnKind::kAnswer);
    EXPECT_EQ(one.parent, hi.id);
    EXPECT_EQ(one.depth, 1);
    EXPECT_EQ(one.messages, answer.messages);
    EXPECT_EQ(one.agent + one.idempotency_key + one.finish + one.model, "demooncestopgpt");
    EXPECT_EQ(one.prompt_tokens * 100 + one.completion_tokens, 1107);
    EXPECT_EQ(one.created_ms, 42);
}

// hi ─ hello ─ one ─ eins        an edit of `one` to `two`, and an answer made anew
//            └ two ┬ zwei
//                  └ deux
TEST_P(ConversationsTest, EditsAndRegeneratedAnswersAreBranches) {
    auto const hi = turn("hi");
    auto const hello = turn("hello", &hi, TurnKind::kAnswer);
    auto const one = turn("one", &hello);
    auto const eins = turn("eins", &one, TurnKind::kAnswer);
    auto const two = turn("two", &hello);
    auto const zwei = turn("zwei", &two, TurnKind::kAnswer);
    auto const deux = turn("deux", &two, TurnKind::kAnswer);
    follow(key(), {hi, hello, one, eins});
    follow(key(), {two, zwei});
    ++now_;
    follow(key(), {deux});
    EXPECT_THAT(path(key()), ElementsAre("hi", "hello", "two", "deux"));
    EXPECT_EQ(tree(key()).size(), 7U);
    follow(key(), {eins}); // back to the old branch
    EXPECT_THAT(path(key()), ElementsAre("hi", "hello", "one", "eins"));
    auto const answers = ask([&](auto& all, auto const& context) { return all.answers(context, key(), {two.id}); });
    EXPECT_THAT(said(*answers), ElementsAre("deux", "zwei"));
}

TEST_P(ConversationsTest, AppendsBehindWhatCameLast) {
    auto const hi = turn("hi");
    EXPECT_TRUE(append(key(), {hi}));
    auto const hello = turn("hello", &hi, TurnKind::kAnswer);
    EXPECT_TRUE(append(key(), {hello}));
    EXPECT_TRUE(append(key(), {hello})) << "again, because the acknowledgement was lost";
    EXPECT_FALSE(append(key(), {turn("late", &hi)})) << "its parent is not the last any more";
    EXPECT_THAT(tree(key()), ElementsAre("hi", "hello")) << "and it has left nothing";
    EXPECT_TRUE(append(key(), {turn("late", &hello)}));
    EXPECT_THAT(path(key()), ElementsAre("hi", "hello", "late"));
}

TEST_P(ConversationsTest, SeveralAreAppendedOrNone) {
    auto const hi = turn("hi");
    auto const there = turn("there", &hi);
    EXPECT_TRUE(append(key(), {hi, there}));
    EXPECT_TRUE(append(key(), {hi, there})) << "again";
    EXPECT_FALSE(append(key(), {turn("a"), turn("b")}));
    EXPECT_THAT(tree(key()), ElementsAre("hi", "there"));
    EXPECT_THAT(path(key()), ElementsAre("hi", "there"));
}

// An answer that comes when the next question has been asked is a branch, and does not move the head.
TEST_P(ConversationsTest, AnswersMoveTheHeadUnlessAnotherTurnCame) {
    auto const hi = turn("hi");
    auto const hello = turn("hello", &hi, TurnKind::kAnswer);
    append(key(), {hi});
    EXPECT_TRUE(answer(key(), hello));
    EXPECT_TRUE(answer(key(), hello)) << "again, because the acknowledgement was lost";
    EXPECT_THAT(path(key()), ElementsAre("hi", "hello"));
    auto const one = turn("one", &hello);
    auto const two = turn("two", &one);
    append(key(), {one});
    append(key(), {two});
    EXPECT_TRUE(answer(key(), turn("eins", &one, TurnKind::kAnswer)));
    EXPECT_THAT(path(key()), ElementsAre("hi", "hello", "one", "eins", "two")) << "it is read in its place";
    EXPECT_TRUE(answer(key(), turn("zwei", &two, TurnKind::kAnswer)));
    EXPECT_THAT(path(key()), ElementsAre("hi", "hello", "one", "eins", "two", "zwei"));
    auto const found =
        ask([&](auto& all, auto const& context) { return all.answers(context, key(), {two.id, one.id}); });
    EXPECT_THAT(said(*found), ::testing::UnorderedElementsAre("eins", "zwei"));
}

TEST_P(ConversationsTest, OfTwoAnswersTheOneAskedForLaterIsGoneOnFrom) {
    for (bool const is_late : {false, true}) {
        for (bool const has_next : {false, true}) { // a question that did not wait for them
            auto const hi = turn("hi");
            auto left = turn("left", &hi, TurnKind::kAnswer);
            auto told = turn("told", &hi, TurnKind::kAnswer);
            left.asked_ms = 1'000;
            told.asked_ms = 1'001;
            auto const of = key(std::string(is_late ? "late" : "early") + (has_next ? ", overtaken" : ""));
            append(of, {hi});
            if (has_next) append(of, {turn("next", &hi)});
            EXPECT_TRUE(answer(of, is_late ? told : left));
            EXPECT_TRUE(answer(of, is_late ? left : told));
            std::vector<std::string> expected{"hi", "told"};
            if (has_next) expected.emplace_back("next");
            EXPECT_THAT(path(of), ::testing::ElementsAreArray(expected)) << of.session;
        }
    }
}

// Its calls may have other arguments: a client that goes on from it means those.
TEST_P(ConversationsTest, TheSameAnswerMadeAnewTakesThePlaceOfTheOldOne) {
    auto const hi = turn("hi");
    append(key(), {hi});
    auto made = turn("hello", &hi, TurnKind::kAnswer);
    auto const write = [&](std::int64_t asked, std::string const& messages) {
        made.asked_ms = asked;
        made.messages = messages;
        made.finish = "f" + messages;
        made.model = "m" + messages;
        made.prompt_tokens = asked;
        made.completion_tokens = asked + 1;
        EXPECT_TRUE(answer(key(), made));
        auto const found = ask([&](auto& all, auto const& context) { return all.path(context, key()); });
        auto const& last = found->turns.back();
        return last.messages + last.finish + last.model + std::to_string(last.prompt_tokens) + "/" +
               std::to_string(last.completion_tokens);
    };
    EXPECT_EQ(write(5, "[5]"), "[5]f[5]m[5]5/6");
    EXPECT_EQ(write(7, "[7]"), "[7]f[7]m[7]7/8");
    EXPECT_EQ(write(6, "[6]"), "[7]f[7]m[7]7/8") << "asked for earlier, written later";
}

TEST_P(ConversationsTest, APathKnowsWhenItExpires) {
    auto const expires = [&] {
        return ask([&](auto& all, auto const& context) { return all.path(context, key()); })->expires_ms;
    };
    auto const hi = turn("hi");
    (void)ask([&](auto& all, auto const& context) { return all.follow(context, key(), {hi}, false, 4'000); });
    EXPECT_EQ(expires(), 4'000);
    follow(key(), {hi});
    EXPECT_EQ(expires(), std::nullopt);
}

TEST_P(ConversationsTest, AnAnswerDoesNotBringBackWhatWasErased) {
    auto const hi = turn("hi");
    append(key(), {hi});
    (void)ask([&](auto& all, auto const& context) { return all.erase(context, key()); });
    EXPECT_FALSE(answer(key(), turn("hello", &hi, TurnKind::kAnswer)));
    EXPECT_THAT(tree(key()), IsEmpty());
    EXPECT_THAT(list("p"), IsEmpty());
}

TEST_P(ConversationsTest, FindsThePathToWhatTheClientNames) {
    auto const hi = turn("hi");
    auto hello = turn("hello", &hi, TurnKind::kAnswer);
    hello.client_id = "m1";
    auto const more = turn("more", &hello);
    follow(key(), {hi, hello, more, turn("yes", &more, TurnKind::kAnswer)});
    auto const to = [&](std::string const& id) {
        return said(ask([&](auto& all, auto const& context) { return all.path_to(context, key(), id); })->turns);
    };
    EXPECT_THAT(to("m1"), ElementsAre("hi", "hello"));
    EXPECT_THAT(to("m2"), IsEmpty());
}

TEST_P(ConversationsTest, SummariesGoWithTheirTurns) {
    auto const hi = turn("hi");
    auto const hello = turn("hello", &hi, TurnKind::kAnswer);
    follow(key(), {hi, hello});
    auto const summarise = [&](Summary summary) {
        return *ask([&](auto& all, auto const& context) { return all.summarise(context, key(), summary); });
    };
    auto const summaries = [&] {
        return ask([&](auto& all, auto const& context) { return all.path(context, key()); })->summaries;
    };
    EXPECT_TRUE(summarise({hello.id, "They greeted.", "demo", 12}));
    EXPECT_TRUE(summarise({hello.id, "Greetings.", "demo", 13}));
    ASSERT_EQ(summaries().size(), 1U);
    EXPECT_EQ(summaries()[0].text + summaries()[0].agent, "Greetings.demo");
    EXPECT_EQ(summaries()[0].tokens, 13);
    EXPECT_EQ(summaries()[0].turn, hello.id);
    EXPECT_EQ(ask([&](auto& all, auto const& context) { return all.tree(context, key()); })->summaries.size(), 1U);
    (void)ask([&](auto& all, auto const& context) { return all.erase(context, key()); });
    EXPECT_THAT(summaries(), IsEmpty());
    EXPECT_FALSE(summarise({hello.id, "late", "demo", 1})) << "what was erased does not come back";
    EXPECT_THAT(summaries(), IsEmpty());
}

// Only a new asking counts: retries give asked_ms = 0.
TEST_P(ConversationsTest, KnowsWhenATurnWasAskedLast) {
    auto hi = turn("hi");
    auto const asked = [&](std::int64_t when, std::string idempotency_key) {
        hi.asked_ms = when;
        hi.idempotency_key = std::move(idempotency_key);
        follow(key(), {hi});
        auto const found = ask([&](auto& all, auto const& context) { return all.path(context, key()); });
        return found->turns.at(0).idempotency_key + std::to_string(found->turns.at(0).asked_ms);
    };
    EXPECT_EQ(asked(5, "a"), "a5");
    EXPECT_EQ(asked(0, "b"), "a5");
    EXPECT_EQ(asked(7, "c"), "c7");
}

TEST_P(ConversationsTest, KnowsWhetherTheClientSendsItsHistoryAgain) {
    auto const resent = [&] {
        auto const found = ask([&](auto& all, auto const& context) { return all.path(context, key()); });
        return found->resent;
    };
    auto const hi = turn("hi");
    append(key(), {hi});
    EXPECT_FALSE(resent());
    (void)ask([&](auto& all, auto const& context) { return all.follow(context, key(), {hi}, true, {}); });
    EXPECT_TRUE(resent());
    follow(key(), {hi});
    EXPECT_TRUE(resent()) << "it stays known";
}

// As tabs and replicas would: each reads the path and puts its word behind it, until it has succeeded.
TEST_P(ConversationsTest, ManyWritersLoseNothingAndKeepOneOrder) {
    constexpr auto kWriters = 12;
    std::vector<storage::testing::Bench::Work> works;
    for (auto i = 0; i < kWriters; ++i) {
        works.push_back([&, i](storage::Database& database, core::Context const& context) -> core::Awaitable<void> {
            auto all = on(database);
            for (auto done = false; !done;) {
                auto const path = co_await all.path(context, key());
                if (!path) co_return;
                auto const* const last = path->turns.empty() ? nullptr : &path->turns.back();
                std::vector<StoredTurn> mine{turn("w" + std::to_string(i), last)};
                auto const appended = co_await all.append(context, key(), std::move(mine), std::nullopt);
                EXPECT_TRUE(appended) << appended.error().detail;
                done = !appended || *appended;
            }
        });
    }
    bench_->run(std::move(works));
    auto const words = path(key());
    EXPECT_EQ(words.size(), static_cast<std::size_t>(kWriters));
    EXPECT_EQ(std::set<std::string>(words.begin(), words.end()).size(), static_cast<std::size_t>(kWriters));
    EXPECT_EQ(tree(key()).size(), static_cast<std::size_t>(kWriters)) << "no branch was left by those who lost";
}

TEST_P(ConversationsTest, NobodySeesOrTouchesWhatIsAnothers) {
    auto const hi = turn("hi");
    ConversationKey const mine = key("s", "alice");
    for (auto const& other : {key("s", "bob"), ConversationKey{unique_ + "x", "alice", "s"}, key("alice", "s"),
                              ConversationKey{unique_, "alic", "es"}}) {
        follow(mine, {hi});
        EXPECT_THAT(path(other), IsEmpty());
        EXPECT_THAT(tree(other), IsEmpty());
        auto const found = ask([&](auto& all, auto const& context) { return all.find(context, other, {hi.id}); });
        EXPECT_THAT(said(found->turns), IsEmpty());
        auto const erased = ask([&](auto& all, auto const& context) { return all.erase(context, other); });
        EXPECT_FALSE(*erased);
        EXPECT_THAT(path(mine), ElementsAre("hi"));
    }
    EXPECT_THAT(list("bob"), IsEmpty());
}

TEST_P(ConversationsTest, ListsAndErases) {
    auto const hi = turn("hi");
    for (auto const* const session : {"old", "new", "other"}) {
        ++now_;
        follow(key(session), {hi, turn("yes", &hi, TurnKind::kAnswer)});
    }
    follow(key("theirs", "q"), {hi});
    EXPECT_THAT(list("p"), ElementsAre("other 2", "new 2", "old 2"));
    auto const erased = ask([&](auto& all, auto const& context) { return all.erase(context, key("new")); });
    EXPECT_TRUE(*erased);
    EXPECT_THAT(list("p"), ElementsAre("other 2", "old 2"));
    EXPECT_THAT(tree(key("new")), IsEmpty());
    auto const all_of_them = ask([&](auto& all, auto const& context) { return all.erase_all(context, unique_, "p"); });
    EXPECT_EQ(*all_of_them, 2);
    EXPECT_THAT(list("p"), IsEmpty());
    EXPECT_THAT(list("q"), ElementsAre("theirs 1"));
}

TEST_P(ConversationsTest, WhatIsOverGoesAndWhatIsUsedStays) {
    auto const hi = turn("hi");
    now_ += 100'000'000; // nothing of other tests is due before that
    follow(key("due"), {hi}, now_ - 5);
    follow(key("later"), {hi}, now_ + 5);
    follow(key("never"), {hi});
    auto const gone = ask([&](auto& all, auto const& context) { return all.erase_expired(context, 100); });
    ASSERT_TRUE(gone) << gone.error().detail;
    EXPECT_GE(*gone, 1);
    EXPECT_THAT(tree(key("due")), IsEmpty());
    EXPECT_THAT(path(key("later")), ElementsAre("hi"));
    EXPECT_THAT(path(key("never")), ElementsAre("hi"));
}

TEST_P(ConversationsTest, ALongOneIsReadWhole) {
    std::vector<StoredTurn> turns;
    std::vector<TurnId> ids;
    for (auto i = 0; i < 1'200; ++i) {
        turns.push_back(turn(std::to_string(i), turns.empty() ? nullptr : &turns.back()));
        ids.push_back(turns.back().id);
    }
    follow(key(), turns);
    EXPECT_EQ(path(key()).size(), 1'200U);
    auto const found = ask([&](auto& all, auto const& context) { return all.find(context, key(), ids); });
    ASSERT_TRUE(found) << found.error().detail;
    EXPECT_EQ(found->turns.size(), 1'200U);
}

} // namespace
} // namespace parley::memory
