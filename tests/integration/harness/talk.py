"""Conversations as tests hold them: a model that tells what it was shown, and the tree that is left, drawn."""

from __future__ import annotations

import json
import time
from dataclasses import dataclass, field

from . import upstream as up
from .api import call, chat_body
from .gateway import Gateway
from .rawhttp import Answer
from .wires import DONE, chunk, sse

MILLISECOND = 0.001


@dataclass
class Model:
    """A provider of the `openai` wire. Says the texts of `answers`, then numbers: a1, a2 …"""

    upstream: up.FakeUpstream
    answers: list = field(default_factory=list)
    said: int = 0
    prompt_tokens: int = 3  # that it says it was shown

    def __post_init__(self) -> None:
        self.upstream.on(self.script)

    def script(self, exchange: up.Exchange) -> None:
        self.said += 1
        answer = self.answers.pop(0) if self.answers else f"a{self.said}"
        if callable(answer):
            return answer(exchange)
        request = exchange.request.json()
        events = events_of(answer)
        if request.get("stream"):
            return up.pieces([*events, DONE])(exchange)
        message, finish = _message(answer)
        choice = {"index": 0, "message": message, "finish_reason": finish}
        up.json_reply({"id": "c1", "object": "chat.completion", "created": 1, "model": "up", "choices": [choice],
                       "usage": {"prompt_tokens": self.prompt_tokens, "completion_tokens": 2,
                                 "total_tokens": self.prompt_tokens + 2}})(exchange)  # fmt: skip

    @property
    def asked(self) -> int:
        return len(self.upstream.requests)

    def shown(self, number: int = -1) -> list[str]:
        """What the model was shown, e.g. ["user: hi", "assistant: a1", "tool: 5"]."""
        return [in_short(message) for message in self.upstream.requests[number].json()["messages"]]


def calls(*made: tuple[str, dict], text: str = "") -> dict:
    """An answer that asks for tools."""
    return {"text": text, "calls": made}


def _message(answer: str | dict) -> tuple[dict, str]:
    if isinstance(answer, str):
        return {"role": "assistant", "content": answer}, "stop"
    made = [
        {"id": f"call_{i}", "type": "function", "function": {"name": name, "arguments": json.dumps(arguments)}}
        for i, (name, arguments) in enumerate(answer["calls"])
    ]
    return {"role": "assistant", "content": answer["text"] or None, "tool_calls": made}, "tool_calls"


def events_of(answer: str | dict) -> list[bytes]:
    message, finish = _message(answer)
    events = [sse(chunk({"role": "assistant", "content": message["content"] or ""}))]
    for i, one in enumerate(message.get("tool_calls", [])):
        events.append(sse(chunk({"tool_calls": [{"index": i, **one}]})))
    return [*events, sse(chunk({}, finish))]


def in_short(message: dict) -> str:
    content = message.get("content")
    if isinstance(content, list):
        content = "".join(part.get("text", f"<{part['type']}>") for part in content)
    made = ",".join(one["function"]["name"] for one in message.get("tool_calls") or [])
    return f"{message['role']}: {content or ''}" + (f"[{made}]" if made else "")


@dataclass
class Talk:
    """One conversation, as a client that names it `session`."""

    gateway: Gateway
    session: str
    model: str = "auto"
    headers: dict[str, str] = field(default_factory=dict)
    key: str | None = ""

    def ask(self, messages: str | list, headers: dict[str, str] | None = None, **fields) -> Answer:
        time.sleep(MILLISECOND)  # turns of the same one are in no order that a drawing could show
        body = chat_body(fields.pop("model", self.model), messages, session_id=self.session, **fields)
        return call(self.gateway, "POST", "/v1/chat/completions", body, {**self.headers, **(headers or {})}, key=self.key)

    def say(self, messages: str | list, headers: dict[str, str] | None = None, **fields) -> str:
        answer = self.ask(messages, headers, **fields)
        assert answer.status == 200, answer.body
        return answer.json()["choices"][0]["message"]["content"]

    def read(self, query: str = "") -> dict:
        answer = call(self.gateway, "GET", f"/conversations/{self.session}{query}", headers=self.headers, key=self.key)
        assert answer.status == 200, answer.body
        return answer.json()

    def path(self) -> list[str]:
        return [in_short(message) for message in self.read()["messages"]]

    def tree(self) -> str:
        """Drawn, one line a turn, children indented; the one that came last has a star."""
        page = self.read("?branches=true")
        lines: list[str] = []

        def draw(parent: str | None, depth: int) -> None:
            for turn in page["turns"]:
                if turn["parent"] != parent:
                    continue
                star = "*" if turn["id"] == page["head"] else ""
                lines.append("  " * depth + " | ".join(in_short(one) for one in turn["messages"]) + star)
                draw(turn["id"], depth + 1)

        draw(None, 0)
        return "\n".join(lines)


def user(text: str) -> dict:
    return {"role": "user", "content": text}


def assistant(text: str, **more) -> dict:
    return {"role": "assistant", "content": text, **more}
