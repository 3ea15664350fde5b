"""The model of the history checker: it asks for tools in part of its turns, fails in part of its answers, and remembers
what it was shown. Runs in this process.

What it plans for a question, and which of its answers fail, is drawn from the question alone, whose token begins with
the seed of its scenario. Its n-th answer is `rN`; the calls in it carry the tokens `[cN.0]`, `[cN.1]` ... in their
arguments, so that a call, what it did and what was said of it can be found again anywhere.
"""

from __future__ import annotations

import json
import random
import re
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field

from . import upstream as up
from .upstream import FakeUpstream
from .wire_tools import Asked, asks_for
from .wires import BY_NAME, DONE, chunk, sse

WIRE = BY_NAME["openai"]
QUESTION = re.compile(r"t\d+-\w+-\d+$")
SERVERS = ("pipe", "web", "net")
TOOLS_ASKED = 0.5  # of the questions
PROBE = "probe"  # the writer whose questions want every server to work; the model does not fail those


@dataclass(frozen=True)
class Message:
    """Of a chat, as far as the rules look at it."""

    role: str
    content: str | None
    calls: tuple[tuple[str, str, str], ...] = ()  # id, name, arguments
    call_id: str | None = None  # whose result it is

    @staticmethod
    def of(message: dict) -> Message:
        calls = tuple((call["id"], call["function"]["name"], call["function"]["arguments"])
                      for call in message.get("tool_calls") or [])  # fmt: skip
        return Message(message["role"], message.get("content"), calls, message.get("tool_call_id"))


@dataclass
class ModelAnswer:
    """One answer of the model, to one request of the gateway."""

    question: str
    shown: list[Message]
    calls: tuple[Asked, ...] = ()
    failed: str = ""  # how: the gateway must keep and do nothing of it


def seed_of(question: str) -> int:
    return int(question[1:].split("-")[0])


def planned(question: str) -> list[list[tuple[str, str]]]:
    """The rounds of calls before the answer: each a list of (tool, how)."""
    if question.split("-")[1] == PROBE:
        return [[(f"{server}__note", "ok") for server in SERVERS], [(f"{server}__look", "ok") for server in SERVERS]]
    choose = random.Random(f"plan {question}")
    if choose.random() >= TOOLS_ASKED:
        return []
    sizes = choose.choice([[1], [1], [2], [3], [1, 1], [2, 1], [1, 3]])
    return [[_call(choose) for _ in range(size)] for size in sizes]


def _call(choose: random.Random) -> tuple[str, str]:
    server = choose.choice(SERVERS)
    if choose.random() < 0.25:
        return f"{server}__look", "ok"
    how = choose.choices(
        ["ok", "late", "fail", "refuse", "odd", "hang", "mute", "die", "dead", "broken", "nothing"],
        [66, 5, 5, 3, 4, 3, 3, 3, 3, 3, 2],
    )[0]
    if how in ("die", "dead") and server != "pipe":  # those two live in this process
        how = "late"
    return f"{server}__{'nothing' if how == 'nothing' else 'note'}", how


@dataclass
class Model:
    """`failing`: which part of the answers, in the scenario that runs. `outage`: what they all do now."""

    failing: float = 0.1
    outage: str = ""
    answers: list[ModelAnswer] = field(default_factory=list)
    failures: Counter[str] = field(default_factory=Counter)

    def __post_init__(self) -> None:
        self.upstream = FakeUpstream()
        self.upstream.on(self._script)
        self._asked: Counter[tuple[str, int]] = Counter()  # by question and round
        self._lock = threading.Lock()

    def draw(self, choose: random.Random) -> tuple[str, Callable[[float], None]]:
        """A fault with its name; it lasts as many seconds as it is told to."""
        kind = choose.choice(["fails", "hangs"])
        return f"model {kind}", lambda hold: self._outage(kind, hold)

    def _outage(self, kind: str, hold: float) -> None:
        self.outage = kind
        time.sleep(hold)
        self.outage = ""

    def forget(self) -> None:
        """What was shown until now; the calls are kept."""
        with self._lock:
            self._asked.clear()
            for answer in self.answers:
                answer.shown = []

    def _script(self, exchange: up.Exchange) -> None:
        request = exchange.request.json()
        exchange.upstream.exchanges.clear()  # a long run must not keep them
        shown = [Message.of(message) for message in request["messages"]]
        last = max(at for at, message in enumerate(shown) if message.role == "user")
        question, rounds = shown[last].content, sum(1 for message in shown[last:] if message.calls)
        plan = planned(question)
        with self._lock:
            number, nth = len(self.answers), self._asked[question, rounds]
            self._asked[question, rounds] += 1
            choose = random.Random(f"answer {question} {rounds} {nth}")
            calls = self._calls(choose, number, plan[rounds]) if rounds < len(plan) else ()
            fails = choose.random() < self.failing and question.split("-")[1] != PROBE or self.outage == "fails"
            kind = choose.choice(["500", "503", "429", "reset", "close", "garbage", "cut"]) if fails else ""
            self.answers.append(ModelAnswer(question, shown, calls, kind))
            self.failures[kind] += fails
        exchange.sleep(choose.random() * 0.02)
        while self.outage == "hangs":
            exchange.sleep(0.02)
        if kind:
            self._fail(exchange, choose, kind, number, calls, bool(request.get("stream")))
        elif calls:
            asks_for(WIRE, *calls)(exchange)
        else:
            _say(exchange, f"r{number}", bool(request.get("stream")))

    def _calls(self, choose: random.Random, number: int, plan: list[tuple[str, str]]) -> tuple[Asked, ...]:
        counts_anew = choose.random() < 0.3  # some providers have no ids worth the name
        calls = []
        for at, (name, how) in enumerate(plan):
            arguments = json.dumps({"token": f"[c{number}.{at}]", "how": how})
            if how == "broken":
                arguments = arguments[:-1]
            calls.append(Asked(f"call_{at}" if counts_anew else f"call_{number}_{at}", name, arguments))
        return tuple(calls)

    def _fail(self, exchange: up.Exchange, choose: random.Random, kind: str, number: int, calls: tuple[Asked, ...],
              streaming: bool) -> None:  # fmt: skip
        """One of the ways in which providers fail; the gateway may ask again, and must keep nothing of this."""
        if kind == "cut" and streaming:
            delta: dict = {"role": "assistant", "content": f"r{number}"[:1]}
            if calls:  # all of the call but the end of the answer
                function = {"name": calls[0].name, "arguments": calls[0].text}
                call = {"index": 0, "id": calls[0].id, "type": "function", "function": function}
                delta = {"role": "assistant", "content": None, "tool_calls": [call]}
            up.pieces([sse(chunk(delta))], then=choose.choice(["reset", "fin"]))(exchange)
        elif kind in ("500", "503", "429"):
            wait = [("Retry-After-Ms", "20")] if choose.random() < 0.5 else []
            up.json_reply({"error": {"message": "chaos"}}, int(kind), wait)(exchange)
        elif kind == "garbage":
            up.reply(b"<html>chaos</html>", 200, [("Content-Type", "text/html")])(exchange)
        else:
            (up.reset_before_head if kind == "reset" else up.close_before_head)(exchange)


def working_servers(answers: list[ModelAnswer], name: str) -> set[str]:
    """The servers whose every tool worked in the rounds before this answer."""
    shown = answers[int(name[1:])].shown
    last = max(at for at, message in enumerate(shown) if message.role == "user")
    results = {message.call_id: message.content or "" for message in shown[last:] if message.role == "tool"}
    asked = [call for message in shown[last:] for call in message.calls]
    failed = {tool.split("__")[0] for call_id, tool, _ in asked if not results[call_id].startswith(("noted [", "saw ["))}
    return {tool.split("__")[0] for _, tool, _ in asked} - failed


def _say(exchange: up.Exchange, text: str, streaming: bool) -> None:
    if streaming:
        up.pieces([sse(chunk({"role": "assistant", "content": text[:1]})), sse(chunk({"content": text[1:]})),
                   sse(chunk({}, "stop")), DONE])(exchange)  # fmt: skip
        return
    choice = {"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "stop"}
    up.json_reply({"id": "c", "object": "chat.completion", "created": 1, "model": "up", "choices": [choice]})(exchange)
