#include "tests/simulation/ledger.hpp"

#include <algorithm>
#include <charconv>
#include <cstdio>
#include <utility>

namespace parley::simulation {
namespace {

bool is_digit(char c) {
    return c >= '0' && c <= '9';
}

int number_at(std::string_view text, std::size_t at) {
    int number = -1;
    std::from_chars(text.data() + at, text.data() + text.size(), number);
    return number;
}

} // namespace

void Ledger::write() {
    for (char const c : line_)
        hash_ = (hash_ ^ static_cast<unsigned char>(c)) * 1'099'511'628'211U;
    if (!is_verbose_) return;
    std::printf("%s\n", line_.c_str());
    (void)std::fflush(stdout); // the gateway's own log goes to the same place
}

Request& Ledger::begin(Request request) {
    request.id = fmt::format("r{}", requests_.size());
    request.began = VirtualTime::now();
    auto const known = acknowledged_.find(request.session);
    auto const asked = std::ranges::find(requests_, request.question, &Request::question);
    if (asked != requests_.end() && !request.is_told) {
        request.before = asked->before; // taken up at its old place, if the store can tell that it is the same
    } else if (known != acknowledged_.end() && !request.is_told) {
        request.before = known->second;
    }
    return requests_.emplace_back(std::move(request));
}

Request* Ledger::find(std::string_view id) {
    if (!id.starts_with('r')) return nullptr;
    auto const index = number_at(id, 1);
    return index >= 0 && static_cast<std::size_t>(index) < requests_.size()
               ? &requests_[static_cast<std::size_t>(index)]
               : nullptr;
}

// ---- what a model is shown

void Ledger::asked(Request& request, chat::Turn const& turn) {
    expect(!request.failed_after_text, "a model is asked again after a client has seen a token", request.id);
    ++request.streams;
    request.is_untold = true;
    std::string shown;
    for (auto const& message : turn.messages)
        shown.append(message.json).push_back('\n');
    check_own(request, shown);
    check_history(request, shown);
    if (!request.round.empty()) check_round(request, turn);
}

// Nothing of another session is in it.
void Ledger::check_own(Request const& request, std::string_view shown) {
    for (std::size_t at = 0; (at = shown.find('s', at)) != shown.npos; ++at) {
        if (at + 1 >= shown.size() || !is_digit(shown[at + 1])) continue;
        expect(number_at(shown, at + 1) == request.session, "a model is shown what belongs to another session",
               request.id);
    }
}

// What its session was told before it began is in it once and in order, and the question comes last.
void Ledger::check_history(Request const& request, std::string_view shown) {
    for (auto const& told : request.before) {
        auto here = shown.find(told.question);
        expect(here != shown.npos, "an acknowledged question is missing from the history", request.id);
        auto const asked_again = std::ranges::count(requests_, told.question, &Request::question) > 1;
        expect(here == shown.npos || asked_again || shown.find(told.question, here + 1) == shown.npos,
               "an acknowledged question is in the history twice", request.id);
        for (auto const& piece : told.pieces) {
            here = here == shown.npos ? here : shown.find(piece, here);
            expect(here != shown.npos, "an acknowledged answer is missing behind its question", request.id);
        }
    }
    auto const at = shown.rfind(request.question);
    expect(at != shown.npos, "the question is missing from what the model is shown", request.id);
    if (at == shown.npos) return;
    auto const later = shown.find("q", at + request.question.size());
    for (auto q = later; q != shown.npos; q = shown.find('q', q + 1))
        expect(!(is_digit(shown[q - 1]) && is_digit(shown[q + 1])), "another question stands behind the question",
               request.id);
}

// Each call of the round has one result, in the order of the calls, and it is what the tool said.
void Ledger::check_round(Request const& request, chat::Turn const& turn) {
    auto const& round = request.round;
    auto const& all = turn.messages;
    auto const fits = all.size() > round.size() && all[all.size() - round.size() - 1].role == chat::Role::kAssistant;
    expect(fits, "a round is sent back without one result a call", request.id);
    if (!fits) return;
    for (std::size_t i = 0; i < round.size(); ++i) {
        auto const& message = all[all.size() - round.size() + i];
        auto const names_call =
            message.role == chat::Role::kTool && message.json.find("\"" + round[i].id + "\"") != std::string_view::npos;
        expect(names_call, "the results of a round are not in the order of its calls", request.id);
        expect(round[i].result.empty() || message.json.find(round[i].result) != std::string_view::npos,
               "a call was given another result than its own", request.id);
    }
}

// ---- tools

AskedCall Ledger::make_call(Request& request) {
    auto const number = next_number();
    return request.round.emplace_back(AskedCall{fmt::format("s{}c{}.", request.session, number), number});
}

AskedCall* Ledger::tool_runs(Request& request, std::string_view arguments) {
    auto const at = arguments.find(fmt::format("s{}t", request.session));
    auto const number = at == arguments.npos ? -1 : number_at(arguments, arguments.find('t', at) + 1);
    auto const call = std::ranges::find(request.round, number, &AskedCall::number);
    expect(call != request.round.end(), "a tool runs that the model's last round did not ask for", request.id);
    if (call == request.round.end()) return nullptr;
    expect(++call->runs == 1, "a tool runs twice for one call", request.id);
    expect(!request.stopped(), "a tool is begun for a request that was cancelled", request.id);
    return &*call;
}

// ---- answers

Acknowledged Ledger::told(std::string question, std::string_view content) {
    Acknowledged told{std::move(question), {}};
    for (std::size_t at = 0; at < content.size();) {
        auto const end = std::min(content.find(' ', at), content.size());
        if (end > at) told.pieces.emplace_back(content.substr(at, end - at));
        at = end + 1;
    }
    return told;
}

void Ledger::acknowledged(Request const& request, std::string const& content) {
    auto answer = told(request.question, content);
    check_own(request, content);
    check_stored_answer(content, request.id);
    if (!request.is_remembered) return;
    auto& all = acknowledged_[request.session];
    auto const same = std::ranges::find(all, answer.question, &Acknowledged::question);
    if (same == all.end()) {
        all.push_back(std::move(answer));
    } else { // asked again: the latest answer is the one that counts
        *same = std::move(answer);
    }
}

void Ledger::check_stored_answer(std::string_view text, std::string_view who) {
    std::map<int, int> found;
    for (std::size_t at = 0; (at = text.find('m', at)) != text.npos; ++at) {
        if (at == 0 || at + 1 >= text.size() || !is_digit(text[at - 1]) || !is_digit(text[at + 1])) continue;
        auto const stream = number_at(text, at + 1);
        auto const piece = number_at(text, text.find('_', at) + 1);
        expect(piece == found[stream], "the pieces of an answer are out of order or twice there", who);
        ++found[stream];
    }
    for (auto const& [stream, pieces] : found) {
        auto const whole = complete_.find(stream);
        expect(whole != complete_.end() && whole->second == pieces, "half an answer is taken for a whole one", who);
    }
}

} // namespace parley::simulation
