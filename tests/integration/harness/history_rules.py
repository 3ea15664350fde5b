"""The rules of the history checker. What was seen goes in, what is wrong comes out; nothing here runs or waits.

Every message carries a token of its own, every answer and every tool call of the model too.

  I1  what was acknowledged is there, once            I4  a model was shown all that had been acknowledged before
  I2  in the order in which it was acknowledged       I5  nothing of one key is seen under another
  I3  nothing is there that nobody said, or twice     I7  after the faults everything works again, tools too

  T1  Each call that the model made has one result in what the model is shown next: under its id, in the order of the
      calls, and speaking of no other call. Then, and in every later request of the conversation and in the store, the
      rounds of an answer are all there, as they were first shown.
  T2  A call reaches a tool at most once, and has its effect at most once: one whose effect is unknown is not made
      again. A result that tells of the effect is true.
  T3  Only calls run that the model has asked for, in an answer that came whole, on the tool that it named.
  T4  What a client is told of tools is of its own question, and is what the model was shown.
  T5  An error says that the request should not be repeated, once a tool that changes something has run for it. (Of the
      servers over HTTP, which are told whose request it is.) A client that repeats it all the same gets a new run.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from dataclasses import dataclass, field

from .history_model import QUESTION, Message, ModelAnswer
from .history_tools import Entry

_TOKEN = re.compile(r"\[c(\d+)\.(\d+)\]")
_TOLD = re.compile(r"noted (\[c\d+\.\d+\])")
PATIENCE_S = 30.0  # for one message, with all its repetitions


@dataclass
class Attempt:
    """One request of a client, and what it was told. `run` is its x-request-id."""

    run: str
    trouble: str = ""  # empty: it was answered
    error: dict | None = None  # with should_retry, if the gateway said why there is no answer
    told: list[tuple[str, str, str]] = field(default_factory=list)  # of tools: id, arguments, result
    answer: str = ""


@dataclass
class Said:
    """One message of a client."""

    key: int
    session: str
    token: str
    begun: float
    ended: float = 0.0
    answers: set[str] = field(default_factory=set)  # acknowledged; none: it is not known what became of it
    attempts: list[Attempt] = field(default_factory=list)


@dataclass
class Seen:
    """All that is known of a scenario. `stored`: the path of each conversation, as (key, session)."""

    said: list[Said]
    answers: list[ModelAnswer]  # of the model, by number
    ledger: list[Entry]
    stored: dict[tuple[int, str], list[Message]]


def violations(seen: Seen) -> list[str]:
    found = []
    for place in seen.stored:
        found += conversation(seen, *place)
    found += liveness(seen)
    found += ledger(seen)
    rounds = _Rounds(seen)
    for number, answer in enumerate(seen.answers):
        if answer.shown:
            found += rounds.check(f"r{number} for {answer.question}", answer.shown)
    for (key, session), path in seen.stored.items():
        found += rounds.check(f"key {key} session {session}", path)
    for said in seen.said:
        found += told(seen, said)
    return found


def liveness(seen: Seen) -> list[str]:
    return [
        f"I7: {said.token} was not answered within {PATIENCE_S} s: {dict(Counter(one.trouble for one in said.attempts))}"
        for said in seen.said
        if not said.answers
    ]


# ---- conversations


def conversation(seen: Seen, key: int, session: str) -> list[str]:
    where = f"key {key} session {session}"
    mine = {said.token: said for said in seen.said if (said.key, said.session) == (key, session)}
    path = [message for message in seen.stored[key, session] if message.role == "user" or is_answer(message)]
    place: dict[str, int] = {}
    found = []
    for at, message in enumerate(path):
        text = message.content or ""
        if message.role == "user" and text in place:
            found.append(f"I3: {where}: {text} is there twice")
        if message.role == "user" and text not in mine:
            found.append(f"I5: {where}: {text} is not from here")
        place.setdefault(text, at)
    acknowledged = sorted((said for said in mine.values() if said.answers), key=lambda said: said.ended)
    for said in acknowledged:
        if said.token not in place:
            found.append(f"I1: {where}: {said.token} was acknowledged and is gone")
            continue
        follows = path[place[said.token] + 1 : place[said.token] + 2]
        if [(m.role, m.content) for m in follows] != [("assistant", min(said.answers))]:
            found.append(f"I1: {where}: {said.token} was answered {said.answers}, and is followed by {follows}")
        if len(said.answers) > 1:
            found.append(f"I3: {where}: {said.token} was answered twice: {said.answers}")
    for earlier in acknowledged:
        for later in acknowledged:
            if earlier.ended < later.begun and place.get(earlier.token, 0) > place.get(later.token, 0):
                found.append(f"I2: {where}: {earlier.token} was acknowledged before {later.token} was said")
    for said in acknowledged:
        found += _shown(seen, where, said, acknowledged, mine)
    return found


def is_answer(message: Message) -> bool:
    return message.role == "assistant" and not message.calls


def answer_named(seen: Seen, text: str | None) -> ModelAnswer | None:
    number = text[1:] if text and text.startswith("r") else ""
    return seen.answers[int(number)] if number.isdigit() and int(number) < len(seen.answers) else None


def _shown(seen: Seen, where: str, said: Said, acknowledged: list[Said], mine: dict[str, Said]) -> list[str]:
    answer = answer_named(seen, min(said.answers))
    if answer is None:
        return [f"I3: {where}: {said.token} was answered {said.answers}, which no model said"]
    found = []
    texts = [message.content or "" for message in answer.shown]
    tokens = [text for text in texts if QUESTION.match(text)]
    if len(set(tokens)) != len(tokens):
        found.append(f"I4: {where}: the model was shown something twice for {said.token}: {tokens}")
    for text in tokens:
        if text not in mine:
            found.append(f"I5: {where}: the model was shown {text} for {said.token}")
    for earlier in acknowledged:
        if not answer.shown or earlier.ended >= said.begun:
            break
        if earlier.token not in tokens or min(earlier.answers) not in texts:
            found.append(f"I4: {where}: the model was not shown {earlier.token}, {earlier.answers} for {said.token}")
    return found


# ---- tools


class _Rounds:
    """T1 over all chats that are looked at: what the first one shows of a call, all others must."""

    def __init__(self, seen: Seen) -> None:
        self._seen = seen
        self._results: dict[str, tuple[str, str | None]] = {}  # by token: id and text

    def check(self, where: str, chat: list[Message]) -> list[str]:
        found: list[str] = []
        question: str | None = None
        begins = at = 0  # of the rounds behind the question
        while at < len(chat):
            message = chat[at]
            if message.role == "user":
                question, begins = message.content, at + 1
            elif message.calls:
                found += self._round(question, chat[begins:at], chat[at:])
                at += len(message.calls)
            elif message.role == "tool":
                found.append(f"there is a result too many: {message}")
            elif is_answer(message):
                found += self._closed(question, message.content, chat[begins:at])
            at += 1
        return [f"T1: {where}: {one}" for one in found]

    def _round(self, question: str | None, before: list[Message], rest: list[Message]) -> list[str]:
        asked, results = rest[0].calls, rest[1 : 1 + len(rest[0].calls)]
        tokens = [match and match.group() for match in (_TOKEN.search(arguments) for _, _, arguments in asked)]
        made = self._made(tokens[0])
        if made is None or [(c.name, c.text) for c in made.calls] != [(name, text) for _, name, text in asked]:
            return [f"these calls are not as a model made them: {asked}"]
        found = []
        if made.failed or made.question != question:
            found.append(f"these calls are of {made.question} {made.failed}, not of {question}: {asked}")
        if made.shown and _behind(made.shown) != before:
            found.append(f"before {tokens} the model was shown {_behind(made.shown)}, and now there is {before}")
        ids = [call_id for call_id, _, _ in asked]
        earlier = [call_id for message in before for call_id, _, _ in message.calls]
        if len(set(ids + earlier)) != len(ids + earlier):
            found.append(f"two calls have the same id: {earlier} {ids}")
        if [(r.role, r.call_id) for r in results] != [("tool", one) for one in ids]:
            found.append(f"calls {ids} are followed by {[(r.role, r.call_id) for r in results]}")
            return found
        for token, result in zip(tokens, results, strict=True):
            others = {match.group() for match in _TOKEN.finditer(result.content or "")} - {token}
            if others:
                found.append(f"the result of {token} speaks of {others}")
            first = self._results.setdefault(token, (result.call_id, result.content))
            if first != (result.call_id, result.content):
                found.append(f"the result of {token} was {first} and is {result}")
        return found

    def _closed(self, question: str | None, text: str | None, rounds: list[Message]) -> list[str]:
        answer = answer_named(self._seen, text)
        if answer is None or answer.failed or answer.calls or answer.question != question:
            return [f"{text} is no answer to {question}"]
        if answer.shown and _behind(answer.shown) != rounds:
            return [f"{text} was given after {_behind(answer.shown)}, and stands behind {rounds}"]
        return []

    def _made(self, token: str | None) -> ModelAnswer | None:
        number = int(_TOKEN.match(token).group(1)) if token else -1
        return self._seen.answers[number] if 0 <= number < len(self._seen.answers) else None


def _behind(shown: list[Message]) -> list[Message]:
    """The rounds behind the last question."""
    last = max(at for at, message in enumerate(shown) if message.role == "user")
    return shown[last + 1 :]


def ledger(seen: Seen) -> list[str]:
    """T2 and T3."""
    count = Counter((entry.token, entry.event) for entry in seen.ledger)
    found = [f"T2: {token}: {times} times {event}" for (token, event), times in count.items() if times > 1]
    for entry in seen.ledger:
        match = _TOKEN.match(entry.token)
        number, at = (int(match.group(1)), int(match.group(2))) if match else (-1, -1)
        made = seen.answers[number] if 0 <= number < len(seen.answers) else None
        if made is None or made.failed or at >= len(made.calls):
            found.append(f"T3: {entry} was not asked for: {made and (made.failed, made.calls)}")
        elif made.calls[at].name != f"{entry.server}__{entry.tool}":
            found.append(f"T3: {entry} was asked of {made.calls[at].name}")
    chats = [_behind(answer.shown) for answer in seen.answers if answer.shown]
    for text in {message.content for chat in chats for message in chat if message.role == "tool"}:
        match = _TOLD.fullmatch(text or "")  # the network may have changed a byte of it
        if match and not count[match.group(1), "did"]:
            found.append(f"T2: the model was told {text!r}, which is not true")
    return found


def told(seen: Seen, said: Said) -> list[str]:
    """T4 and T5."""
    found = []
    changed = {entry.run for entry in seen.ledger if entry.event == "did" and entry.run}
    for attempt in said.attempts:
        for call_id, arguments, _ in attempt.told:
            match = _TOKEN.search(arguments)
            made = seen.answers[int(match.group(1))] if match else None
            if made is None or made.question != said.token:
                found.append(f"T4: {said.token} was told of {call_id} {arguments}, of {made and made.question}")
        answer = answer_named(seen, attempt.answer)
        if attempt.told and answer is not None and answer.shown:
            shown = {message.call_id: message.content for message in _behind(answer.shown) if message.role == "tool"}
            if shown != {call_id: result for call_id, _, result in attempt.told}:
                found.append(f"T4: {said.token} was told {attempt.told} and the model {shown}")
        if attempt.error is not None and attempt.run in changed and attempt.error.get("should_retry") is not False:
            found.append(f"T5: {said.token}: a tool had run, and the client was told {attempt.error}")
    return found


def parsed_stream(data: bytes) -> tuple[str, list[tuple[str, str, str]], dict | None]:
    """Text, what was told of tools, and the error of a streamed answer."""
    events = [json.loads(line[6:]) for line in data.split(b"\n\n") if line.startswith(b"data: {")]
    text, arguments, told_of = "", {}, []
    error = None
    for event in events:
        error = event.get("error", error)
        text += "".join(choice["delta"].get("content") or "" for choice in event.get("choices", []))
        tool = event.get("agent") or {}
        if tool.get("arguments") is not None:
            arguments[tool["call_id"]] = tool["arguments"]
        if tool.get("result") is not None:
            told_of.append((tool["call_id"], arguments.get(tool["call_id"], ""), tool["result"]))
    return text, told_of, error
