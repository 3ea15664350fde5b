"""The rules of the history checker: a history in which all is well, and what breaks each of them."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import pytest

from harness.history_model import Message, ModelAnswer
from harness.history_rules import Attempt, Said, Seen, parsed_stream, violations
from harness.history_tools import Entry
from harness.wire_tools import Asked

FIRST, SECOND = "t1-0-1", "t1-1-1"


def made(number: int, *names: str) -> tuple[Asked, ...]:
    return tuple(
        Asked(f"call_{number}_{at}", name, f'{{"token": "[c{number}.{at}]"}}') for at, name in enumerate(names)
    )


def asked(*calls: Asked) -> Message:
    return Message("assistant", None, tuple((call.id, call.name, call.text) for call in calls))


def result(call_id: str, text: str) -> Message:
    return Message("tool", text, (), call_id)


def user(text: str) -> Message:
    return Message("user", text)


def good() -> Seen:
    """A question that takes two rounds of tools, one of which fails, and a second question in the same conversation."""
    both, one = made(0, "pipe__note", "web__look"), made(1, "web__note")
    lost = ModelAnswer(FIRST, [user(FIRST)], made(4, "web__note"), "cut")
    first = [user(FIRST), asked(*both), result("call_0_0", "noted [c0.0]"), result("call_0_1", "saw [c0.1]")]
    second = [*first, asked(*one), result("call_1_0", "The tool server 'web' could not do this.")]
    path = [*second, Message("assistant", "r2"), user(SECOND), Message("assistant", "r3")]
    answers = [
        ModelAnswer(FIRST, first[:1], both),
        ModelAnswer(FIRST, first, one),
        ModelAnswer(FIRST, second),
        ModelAnswer(SECOND, path[:-1]),
        lost,
    ]
    told = [(id_, arguments, text.content) for (id_, _, arguments), text in
            zip([*second[1].calls, *second[4].calls], [*second[2:4], second[5]], strict=True)]  # fmt: skip
    failed = Attempt("run0", "502", {"message": "no", "should_retry": False})
    said = [
        Said(0, "s1", FIRST, 1.0, 2.0, {"r2"}, [failed, Attempt("run1", told=told, answer="r2")]),
        Said(0, "s1", SECOND, 3.0, 4.0, {"r3"}, [Attempt("run2", answer="r3")]),
    ]
    ledger = [
        Entry("[c0.0]", "got", "note", "pipe", None),
        Entry("[c0.0]", "did", "note", "pipe", None),
        Entry("[c0.1]", "got", "look", "web", "run1"),
        Entry("[c1.0]", "got", "note", "web", "run0"),
        Entry("[c1.0]", "did", "note", "web", "run0"),
    ]
    return Seen(said, answers, ledger, {(0, "s1"): path})


def shown(number: int, change: Callable[[list[Message]], None]) -> Callable[[Seen], None]:
    """Changes what the model was shown before its answer `number`."""

    def apply(seen: Seen) -> None:
        seen.answers[number].shown = list(seen.answers[number].shown)
        change(seen.answers[number].shown)

    return apply


def stored(change: Callable[[list[Message]], None]) -> Callable[[Seen], None]:
    return lambda seen: change(seen.stored[0, "s1"])


def swap(at: int, other: int) -> Callable[[list[Message]], None]:
    def apply(chat: list[Message]) -> None:
        chat[at], chat[other] = chat[other], chat[at]

    return apply


def put(at: int, **fields: object) -> Callable[[list[Message]], None]:
    return lambda chat: chat.__setitem__(at, replace(chat[at], **fields))


def drop(at: int, until: int = 0) -> Callable[[list[Message]], None]:
    return lambda chat: chat.__delitem__(slice(at, until or at + 1))


def tell(at: int, *told: object) -> Callable[[Seen], None]:
    return lambda seen: seen.said[0].attempts[1].told.__setitem__(at, told)


def ran(entry: Entry) -> Callable[[Seen], None]:
    return lambda seen: seen.ledger.append(entry)


def other_key(seen: Seen) -> None:
    seen.said.append(Said(1, "s1", "t1-2-1", 1.0, 2.0, {"r3"}))
    seen.stored[1, "s1"] = [user("t1-2-1"), Message("assistant", "r3")]


BROKEN = {
    "a message is gone": ("I1", stored(drop(7, 9))),
    "an answer is another's": ("I1", stored(put(8, content="r2"))),
    "two are in the wrong order": ("I2", stored(lambda path: path.insert(0, path.pop()) or path.insert(0, path.pop()))),
    "a message is there twice": ("I3", stored(lambda path: path.extend([user(FIRST)]))),
    "two answers were given": ("I3", lambda seen: seen.said[1].answers.add("r2")),
    "nobody said this answer": ("I3", lambda seen: seen.said[1].answers.__ior__({"r17"})),
    "the model was not shown the first question": ("I4", shown(3, drop(0, 7))),
    "a message of elsewhere": ("I5", stored(lambda path: path.append(user("t1-9-9")))),
    "an answer to another key": ("T1", other_key),
    "a message was never answered": ("I7", lambda seen: seen.said[1].answers.clear()),
    "the results are under each other's ids": ("T1", shown(1, swap(2, 3))),
    "a result is under an id of its own": ("T1", shown(1, put(2, call_id="call_9"))),
    "the texts of two results are swapped": (
        "T1", shown(1, lambda chat: (put(2, content="saw [c0.1]")(chat), put(3, content="noted [c0.0]")(chat)))),
    "a result is missing": ("T1", shown(1, drop(3))),
    "a result is there twice": ("T1", shown(1, lambda chat: chat.append(chat[-1]))),
    "a round is missing": ("T1", shown(2, drop(1, 4))),
    "a round is missing in the store": ("T1", stored(drop(4, 6))),
    "a result has changed in the store": ("T1", stored(put(5, content="noted [c1.0]"))),
    "arguments have changed": (
        "T1", shown(1, put(1, calls=(("call_0_0", "pipe__note", '{"token": "[c0.0]", "x": 1}'),)))),
    "two calls have one id": ("T1", shown(2, lambda chat: (
        put(4, calls=(("call_0_0", *chat[4].calls[0][1:]),))(chat), put(5, call_id="call_0_0")(chat)))),
    "a failed answer was kept": ("T1", lambda seen: setattr(seen.answers[2], "failed", "cut")),
    "a call of a failed answer was kept": ("T1", lambda seen: setattr(seen.answers[1], "failed", "cut")),
    "an effect twice": ("T2", lambda seen: seen.ledger.append(seen.ledger[1])),
    "a call sent again, with one effect": ("T2", lambda seen: seen.ledger.append(seen.ledger[3])),
    "an effect that was told and never was": ("T2", lambda seen: seen.ledger.pop(1)),
    "a call of a failed answer ran": ("T3", ran(Entry("[c4.0]", "got", "note", "web", None))),
    "a call that nobody made ran": ("T3", ran(Entry("[c1.1]", "got", "note", "web", None))),
    "a call ran on another server": ("T3", ran(Entry("[c1.0]", "late", "note", "net", None))),
    "a call of another question was told": ("T4", lambda seen: seen.said[1].attempts[0].told.append(
        seen.said[0].attempts[1].told[0])),
    "another result was told": ("T4", tell(0, "call_0_0", '{"token": "[c0.0]"}', "something else")),
    "a result was not told": ("T4", lambda seen: seen.said[0].attempts[1].told.pop()),
    "an error asks to be sent again": ("T5", lambda seen: seen.said[0].attempts[0].error.update(should_retry=True)),
    "an error does not say": ("T5", lambda seen: seen.said[0].attempts[0].error.pop("should_retry")),
}  # fmt: skip


def test_a_good_history_breaks_no_rule() -> None:
    assert violations(good()) == []


@pytest.mark.parametrize("what", BROKEN)
def test_each_rule_bites(what: str) -> None:
    rule, break_it = BROKEN[what]
    seen = good()
    break_it(seen)
    found = violations(seen)
    assert any(one.startswith(rule) for one in found), found


def test_a_stream_is_read() -> None:
    data = b"".join(
        b"data: " + event + b"\n\n"
        for event in (
            b'{"choices":[{"delta":{"content":"r"}}]}',
            b'{"choices":[],"agent":{"type":"tool_call","call_id":"a","arguments":"{}"}}',
            b'{"choices":[],"agent":{"type":"tool_call","call_id":"a","result":"seen"}}',
            b'{"error":{"message":"no","should_retry":false}}',
        )
    )
    assert parsed_stream(data) == ("r", [("a", "{}", "seen")], {"message": "no", "should_retry": False})
