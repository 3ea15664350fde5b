"""The OpenAI API as the tests speak it, with the rules that hold for every answer checked on the way."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from dataclasses import dataclass, field

from .gateway import Gateway
from .rawhttp import Answer, Closed, Connection, build, checked_error

REQUEST_ID = re.compile(r"[A-Za-z0-9_.:-]{8,200}")
LINE_BYTES_MAX = 65536  # aiohttp clients die at 128 KiB; we split at half of that


def connect(gateway: Gateway, **options) -> Connection:
    return Connection(gateway.address, **options)


def request_bytes(
    gateway: Gateway,
    method: str,
    target: str,
    body: object = None,
    headers: dict[str, str] | None = None,
    *,
    key: str | None = "",
    close: bool = False,
) -> bytes:
    """key: "" = the gateway's first key if it has any, None = none. A `body` of bytes is sent as it is."""
    fields = {"Host": f"{gateway.address[0]}:{gateway.address[1]}"}
    if key == "":
        key = gateway.keys[0] if gateway.keys else None
    if key is not None:
        fields["Authorization"] = f"Bearer {key}"
    if close:
        fields["Connection"] = "close"
    raw = body if body is None or isinstance(body, bytes) else json.dumps(body).encode()
    if raw is not None:
        fields["Content-Type"] = "application/json"
    fields.update(headers or {})
    return build(method, target, fields.items(), raw)


def call(
    gateway: Gateway,
    method: str,
    target: str,
    body: object = None,
    headers: dict[str, str] | None = None,
    *,
    key: str | None = "",
    timeout: float = 15.0,
    **options,
) -> Answer:
    with connect(gateway, timeout=timeout, **options) as connection:
        connection.send(request_bytes(gateway, method, target, body, headers, key=key, close=True))
        answer = connection.read_answer(method)
    check_answer(answer)
    return answer


def check_answer(answer: Answer) -> None:
    assert REQUEST_ID.fullmatch(answer.header("x-request-id") or ""), answer.headers
    if answer.status >= 400 and answer.body:
        assert answer.error["message"]
    for name, value in answer.headers:
        assert "\r" not in value and "\n" not in value, (name, value)


def chat_body(model: str, messages: str | list, **fields) -> dict:
    if isinstance(messages, str):
        messages = [{"role": "user", "content": messages}]
    return {"model": model, "messages": messages, **fields}


def chat(
    gateway: Gateway,
    model: str,
    messages: str | list = "hello",
    headers: dict[str, str] | None = None,
    *,
    timeout: float = 15.0,
    **fields,
) -> Answer:
    return call(gateway, "POST", "/v1/chat/completions", chat_body(model, messages, **fields), headers, timeout=timeout)


@dataclass
class Streamed:
    """A chat stream read to its end."""

    answer: Answer
    chunks: list[dict] = field(default_factory=list)
    arrivals_s: list[float] = field(default_factory=list)
    comments: list[str] = field(default_factory=list)
    done: bool = False
    error: dict | None = None
    truncated: bool = False  # the connection ended before the body's framing did

    @property
    def text(self) -> str:
        return "".join(
            choice["delta"].get("content") or ""
            for chunk in self.chunks
            for choice in chunk["choices"]
            if choice["index"] == 0
        )

    @property
    def reasoning(self) -> str:
        return "".join(
            choice["delta"].get("reasoning_content") or "" for chunk in self.chunks for choice in chunk["choices"]
        )

    @property
    def finish(self) -> str | None:
        reasons = [
            choice["finish_reason"] for chunk in self.chunks for choice in chunk["choices"] if choice["finish_reason"]
        ]
        assert len(reasons) <= 1, reasons
        return reasons[0] if reasons else None

    @property
    def usage(self) -> dict | None:
        found = [chunk["usage"] for chunk in self.chunks if chunk.get("usage")]
        assert len(found) <= 1, found
        return found[0] if found else None

    @property
    def tool_calls(self) -> list[dict]:
        calls: list[dict] = []
        for chunk in self.chunks:
            for choice in chunk["choices"]:
                for piece in choice["delta"].get("tool_calls") or []:
                    if piece["index"] == len(calls):
                        assert piece["type"] == "function" and piece["id"] and piece["function"]["name"], piece
                        calls.append({"id": piece["id"], "name": piece["function"]["name"], "arguments": ""})
                    calls[piece["index"]]["arguments"] += piece["function"].get("arguments", "")
        return calls

    def check_complete(self, *, usage: bool = False) -> Streamed:
        """A whole, well-formed answer: what every strict SDK asks for."""
        assert self.error is None, self.error
        assert self.done and not self.truncated, "no [DONE]"
        _check_chunks(self.chunks)
        assert self.finish is not None, self.chunks[-1:]
        assert (self.usage is not None) == usage, f"usage is {self.usage}"
        return self

    def check_failed(self) -> dict:
        """One error event at the end and no [DONE]: the answer says itself that it is not whole."""
        assert self.error is not None, (self.text, self.chunks[-2:])
        assert not self.done, "[DONE] after an error"
        if self.chunks:
            _check_chunks(self.chunks)
        return self.error


def _check_chunks(chunks: list[dict]) -> None:
    first = chunks[0]
    for chunk in chunks:
        assert chunk["object"] == "chat.completion.chunk"
        assert (chunk["id"], chunk["created"], chunk["model"]) == (first["id"], first["created"], first["model"])
        for choice in chunk["choices"]:
            assert "finish_reason" in choice and isinstance(choice["delta"], dict), choice
    roles = [
        choice["delta"]["role"]
        for chunk in chunks
        for choice in chunk["choices"]
        if choice["index"] == 0 and "role" in choice["delta"]
    ]
    assert roles == ["assistant"], roles
    assert first["choices"] and first["choices"][0]["delta"].get("role") == "assistant", first


class Stream:
    """A chat stream under way. Iterating gives each event as it comes and files it in `seen`."""

    def __init__(
        self,
        gateway: Gateway,
        body: object,
        headers: dict[str, str] | None = None,
        *,
        key: str | None = "",
        timeout: float = 15.0,
        connection: Connection | None = None,
        **options,
    ) -> None:
        self.connection = connection or connect(gateway, timeout=timeout, **options)
        self.sent_at = time.monotonic()
        self.connection.send(request_bytes(gateway, "POST", "/v1/chat/completions", body, headers, key=key))
        self.seen: Streamed | None = None

    def __enter__(self) -> Stream:
        return self

    def __exit__(self, *_: object) -> None:
        self.connection.close()

    def head(self) -> Streamed:
        if self.seen is None:
            self.seen = Streamed(self.connection.read_head())
        return self.seen

    def __iter__(self) -> Iterator[dict | str]:
        """Chunks and errors as objects, comments and [DONE] as text."""
        seen = self.head()
        if seen.answer.status != 200:
            seen.answer.body = b"".join(self.connection.body_pieces())
            check_answer(seen.answer)
            return
        check_answer(seen.answer)
        assert (seen.answer.header("content-type") or "").startswith("text/event-stream"), seen.answer.headers
        assert seen.answer.header("content-encoding") is None
        rest = b""
        pieces = self.connection.body_pieces()
        while True:
            try:
                piece = next(pieces, None)
            except Closed:
                seen.truncated = True
                return
            if piece is None:
                assert rest == b"", f"the stream ends inside an event: {rest[-200:]!r}"
                return
            rest += piece
            *events, rest = rest.split(b"\n\n")
            for event in events:
                yield self._take(seen, event)

    def _take(self, seen: Streamed, event: bytes) -> dict | str:
        assert not seen.done, f"after [DONE]: {event[:200]!r}"
        assert seen.error is None, f"after the error: {event[:200]!r}"
        lines = event.decode("utf-8").split("\n")  # invalid UTF-8 fails the test
        assert all(len(line) <= LINE_BYTES_MAX for line in event.split(b"\n")), max(map(len, event.split(b"\n")))
        if all(line.startswith(":") for line in lines):
            seen.comments.extend(lines)
            return event.decode()
        assert len(lines) == 1 and lines[0].startswith("data: "), f"not one data line: {event[:200]!r}"
        data = lines[0][6:]
        if data == "[DONE]":
            seen.done = True
            return data
        value = json.loads(data)
        if "error" in value:
            checked_error(value)
            seen.error = value["error"]
            return value
        seen.chunks.append(value)
        seen.arrivals_s.append(time.monotonic() - self.sent_at)
        return value

    def read(self) -> Streamed:
        for _ in self:
            pass
        assert self.seen is not None
        return self.seen


def stream(
    gateway: Gateway,
    model: str,
    messages: str | list = "hello",
    headers: dict[str, str] | None = None,
    *,
    timeout: float = 15.0,
    **fields,
) -> Streamed:
    with Stream(gateway, chat_body(model, messages, stream=True, **fields), headers, timeout=timeout) as running:
        return running.read()
