"""A model and a client that take turns with one gateway, so that every run is the same sequence of reads and writes.

Each side writes only when all threads of the gateway sleep. Without that it depends on the machine's mood whether an
answer is there when the gateway first looks for it, or whether two events arrive in one read.
"""

from __future__ import annotations

import json
import re
import socket
import threading
import time
from pathlib import Path

LIMIT_S = 60.0  # for anything that should take milliseconds
_SENTENCE = "The gateway answers with text of a known length, so that every contender moves the same bytes. "


class LockstepError(Exception):
    """The exchange did not go as it must; the figures of this run are worth nothing."""


class Sleeper:
    """Says when a process has nothing left to do: all its threads sleep, seen twice."""

    def __init__(self, pid: int):
        self._tasks = Path(f"/proc/{pid}/task")

    def _all_asleep(self) -> bool:
        for task in self._tasks.iterdir():
            try:
                state = (task / "stat").read_text().rpartition(")")[2].split()[0]
            except (FileNotFoundError, ProcessLookupError):
                continue  # a thread that ended in between
            if state != "S":
                return False
        return True

    def wait(self) -> None:
        until = time.monotonic() + LIMIT_S
        while not (self._all_asleep() and self._all_asleep()):
            if time.monotonic() > until:
                raise LockstepError(f"the gateway was still busy after {LIMIT_S:.0f} s")
            time.sleep(0.0001)


class Wire:
    """One connection, read as HTTP/1.1 messages; what came too early is kept."""

    def __init__(self, sock: socket.socket):
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        sock.settimeout(LIMIT_S)
        self.sock, self._held = sock, b""

    def read_until(self, mark: bytes) -> bytes:
        """Everything up to and with `mark`."""
        while mark not in self._held:
            self._fill()
        at = self._held.index(mark) + len(mark)
        taken, self._held = self._held[:at], self._held[at:]
        return taken

    def read(self, size: int) -> bytes:
        while len(self._held) < size:
            self._fill()
        taken, self._held = self._held[:size], self._held[size:]
        return taken

    def message(self) -> tuple[bytes, bytes]:
        """Head and body of a message with a Content-Length."""
        head = self.read_until(b"\r\n\r\n")
        length = re.search(rb"\r\ncontent-length: *(\d+)", head, re.I)
        return head, self.read(int(length[1])) if length else b""

    def _fill(self) -> None:
        got = self.sock.recv(1 << 20)
        if not got:
            raise ConnectionResetError("closed by the gateway")
        self._held += got


def _compact(value: object) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode()


def _chunk(*events: object) -> bytes:
    """One chunk of a chunked body that holds these events of a stream."""
    data = b"".join(b"data: " + (_compact(event) if event != "[DONE]" else b"[DONE]") + b"\n\n" for event in events)
    return b"%x\r\n%s\r\n" % (len(data), data)


_USAGE = {"prompt_tokens": 100, "completion_tokens": 50, "total_tokens": 150}
_COMMON = {"id": "chatcmpl-1", "created": 1_700_000_000, "model": "counted-model"}


def _event(delta: dict[str, str], finish: str | None = None) -> dict[str, object]:
    choice = {"index": 0, "delta": delta, "logprobs": None, "finish_reason": finish}
    return {**_COMMON, "object": "chat.completion.chunk", "choices": [choice], "usage": None}


def content_mark(number: int) -> bytes:
    return b"@%06d@" % number


class Model:
    """The upstream: 600 bytes of text, or a stream of as many content events as `events=N` in the request says."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._listener.getsockname()[1]
        self.sleeper: Sleeper | None = None  # known once the gateway runs
        self.event_read = threading.Semaphore(0)  # released by the client
        message = {"role": "assistant", "content": (_SENTENCE * 7)[:600]}
        choice = {"index": 0, "message": message, "logprobs": None, "finish_reason": "stop"}
        body = _compact({**_COMMON, "object": "chat.completion", "choices": [choice], "usage": _USAGE})
        head = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
        self._answer = head % len(body) + body
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            sock, _ = self._listener.accept()
            threading.Thread(target=self._serve, args=(Wire(sock),), daemon=True).start()

    def _serve(self, wire: Wire) -> None:
        wire.sock.settimeout(None)  # a pooled connection may rest
        try:
            while True:
                _, body = wire.message()
                self._turn()
                if b'"stream":true' in body:
                    self._stream(wire, int(re.search(rb"events=(\d+)", body)[1]))
                else:
                    wire.sock.sendall(self._answer)
        except OSError:
            wire.sock.close()

    def _turn(self) -> None:
        if self.sleeper:
            self.sleeper.wait()

    def _stream(self, wire: Wire, events: int) -> None:
        head = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"
        wire.sock.sendall(head + _chunk(_event({"role": "assistant", "content": ""})))
        for number in range(events):
            self._turn()
            text = f" word {content_mark(number).decode()} of a text that a model writes"
            wire.sock.sendall(_chunk(_event({"content": text})))
            if not self.event_read.acquire(timeout=LIMIT_S):
                raise OSError("the client did not read an event")
        self._turn()
        usage = {**_COMMON, "object": "chat.completion.chunk", "choices": [], "usage": _USAGE}
        wire.sock.sendall(_chunk(_event({}, "stop"), usage, "[DONE]") + b"0\r\n\r\n")


class Client:
    """One request after the other over one kept connection; checks each answer."""

    def __init__(self, port: int, model: Model, sleeper: Sleeper):
        self._wire = Wire(socket.create_connection(("127.0.0.1", port), timeout=LIMIT_S))
        self._model, self._sleeper = model, sleeper

    def _ask(self, key: str, body: bytes) -> None:
        self._sleeper.wait()
        head = "POST /v1/chat/completions HTTP/1.1\r\nHost: 127.0.0.1\r\nUser-Agent: instructions\r\nAccept: */*\r\n"
        head += f"Authorization: Bearer {key}\r\nContent-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
        self._wire.sock.sendall(head.encode() + body)

    def unary(self, key: str, body: bytes) -> None:
        self._ask(key, body)
        head, answer = self._wire.message()
        if b" 200 OK\r\n" not in head or json.loads(answer)["choices"][0]["finish_reason"] != "stop":
            raise LockstepError(f"not the answer that was expected: {head!r} {answer[:300]!r}")
        self._sleeper.wait()

    def stream(self, key: str, body: bytes, events: int) -> None:
        self._ask(key, body)
        head = self._wire.read_until(b"\r\n\r\n")
        if b" 200 OK\r\n" not in head:
            raise LockstepError(f"not the answer that was expected: {head!r}")
        for number in range(events):
            self._wire.read_until(content_mark(number))
            self._model.event_read.release()
        self._wire.read_until(b"data: [DONE]\n\n")
        self._wire.read_until(b"\r\n0\r\n\r\n")
        self._sleeper.wait()
