"""A scripted model provider on a loopback port: answers as told, misbehaves as told, and keeps a record.

A script is a function that takes an Exchange and writes the answer. One thread per connection. `hang` and `sleep`
notice at once when the gateway goes away and note the moment: that is how cancellation is measured.
"""

from __future__ import annotations

import json
import select
import socket
import ssl
import struct
import threading
import time
from collections import deque
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field

Script = Callable[["Exchange"], None]


class PeerClosed(Exception):
    """The gateway closed the connection."""


@dataclass
class Request:
    method: str
    target: str
    headers: list[tuple[str, str]]
    body: bytes
    connection: int
    at: float

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name.lower()]
        assert len(values) <= 1, f"{name} sent {len(values)} times"
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)


@dataclass
class Exchange:
    """One request and the answer being written to it."""

    upstream: FakeUpstream
    sock: socket.socket
    request: Request
    framing: str = "none"
    keep: bool = True
    peer_closed_at: float | None = None
    body_bytes_sent: int = 0
    _closed: threading.Event = field(default_factory=threading.Event)
    _reached: threading.Event = field(default_factory=threading.Event)

    def raw(self, data: bytes) -> None:
        try:
            self.sock.sendall(data)
        except (OSError, ssl.SSLError) as error:
            self._note_closed()
            raise PeerClosed from error

    def head(
        self,
        status: int = 200,
        headers: Iterable[tuple[str, str]] = (),
        *,
        framing: str = "chunked",
        length: int = 0,
        reason: str = "OK",
    ) -> None:
        """framing: chunked, length (of `length` bytes), close (until FIN) or none."""
        self.framing = framing
        lines = [f"HTTP/1.1 {status} {reason}"] + [f"{name}: {value}" for name, value in headers]
        if framing == "chunked":
            lines.append("Transfer-Encoding: chunked")
        elif framing == "length":
            lines.append(f"Content-Length: {length}")
        elif framing == "close":
            lines.append("Connection: close")
            self.keep = False
        self.raw(("\r\n".join(lines) + "\r\n\r\n").encode("latin-1"))

    def write(self, data: bytes) -> None:
        """Body bytes in the framing of `head`; with chunked, one chunk."""
        if not data:
            return
        self.raw(b"%x\r\n%s\r\n" % (len(data), data) if self.framing == "chunked" else data)
        self.body_bytes_sent += len(data)

    def end(self) -> None:
        if self.framing == "chunked":
            self.raw(b"0\r\n\r\n")

    def reset(self) -> None:
        self.keep = False
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))

    def fin(self) -> None:
        self.keep = False

    def reached(self) -> None:
        """Tells a waiting test that the script is here."""
        self._reached.set()

    def wait_reached(self, timeout: float = 10.0) -> None:
        assert self._reached.wait(timeout), "the script did not get to its mark"

    def sleep(self, seconds: float) -> None:
        """Waits, but raises PeerClosed the moment the gateway leaves."""
        self._watch(time.monotonic() + seconds)

    def hang(self) -> None:
        """Waits until the gateway leaves or the test ends."""
        self._watch(float("inf"))

    def wait_closed(self, timeout: float = 10.0) -> float:
        """For tests: waits for the gateway to leave; the moment in time.monotonic()."""
        assert self._closed.wait(timeout), "the gateway kept its upstream connection open"
        assert self.peer_closed_at is not None
        return self.peer_closed_at

    def _note_closed(self) -> None:
        if self.peer_closed_at is None:
            self.peer_closed_at = time.monotonic()
        self.keep = False
        self._closed.set()

    def _watch(self, until: float) -> None:
        poller = select.poll()
        poller.register(self.sock.fileno(), select.POLLIN | select.POLLRDHUP | select.POLLHUP)
        while (left := until - time.monotonic()) > 0 and not self.upstream.stopping:
            if not poller.poll(min(left, 0.1) * 1000):
                continue
            now = time.monotonic()
            try:
                data = self.sock.recv(65536)
            except (OSError, ssl.SSLError):
                data = b""
            if not data:
                self.peer_closed_at = now
                self._note_closed()
                raise PeerClosed
        if self.upstream.stopping:
            self.keep = False
            raise PeerClosed


class FakeUpstream:
    """`on(script)` sets what every request gets; `queue(a, b)` what the next ones get first."""

    def __init__(self, tls: ssl.SSLContext | None = None) -> None:
        self._tls = tls
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=1024)
        self.port: int = self._listener.getsockname()[1]
        self.url = f"https://localhost:{self.port}" if tls else f"http://127.0.0.1:{self.port}"
        self.stopping = False
        self._lock = threading.Condition()
        self._default: Script = _unscripted
        self._next: deque[Script] = deque()
        self.exchanges: list[Exchange] = []
        self.connections = 0
        self.handshake_failures: list[str] = []
        self._live: set[socket.socket] = set()
        threading.Thread(target=self._accept, name="upstream-accept", daemon=True).start()

    # ---- for tests

    def on(self, script: Script) -> None:
        with self._lock:
            self._default = script

    def queue(self, *scripts: Script) -> None:
        with self._lock:
            self._next.extend(scripts)

    def clear(self) -> None:
        with self._lock:
            self._default = _unscripted
            self._next.clear()
            self.exchanges.clear()
            self.handshake_failures.clear()

    @property
    def requests(self) -> list[Request]:
        with self._lock:
            return [exchange.request for exchange in self.exchanges]

    @property
    def last(self) -> Exchange:
        with self._lock:
            return self.exchanges[-1]

    def wait_request(self, number: int = 1, timeout: float = 10.0) -> Exchange:
        with self._lock:
            assert self._lock.wait_for(lambda: len(self.exchanges) >= number, timeout), (
                f"the upstream saw {len(self.exchanges)} requests, not {number}"
            )
            return self.exchanges[number - 1]

    def stop(self) -> None:
        self.stopping = True
        self._listener.close()
        with self._lock:
            live = list(self._live)
        for sock in live:
            try:
                sock.shutdown(socket.SHUT_RDWR)
            except OSError:
                pass

    # ---- inside

    def _accept(self) -> None:
        while not self.stopping:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            self.connections += 1
            threading.Thread(target=self._serve, args=(sock, self.connections), daemon=True).start()

    def _serve(self, sock: socket.socket, number: int) -> None:
        sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        with self._lock:
            self._live.add(sock)
        plain = sock
        try:
            if self._tls:
                try:
                    sock = self._tls.wrap_socket(sock, server_side=True)
                except (OSError, ssl.SSLError) as error:
                    self.handshake_failures.append(str(error))
                    return
            buffer = bytearray()
            while not self.stopping:
                request = _read_request(sock, buffer, number)
                if request is None:
                    return
                exchange = Exchange(self, sock, request)
                with self._lock:
                    script = self._next.popleft() if self._next else self._default
                    self.exchanges.append(exchange)
                    self._lock.notify_all()
                try:
                    script(exchange)
                except PeerClosed:
                    return
                if not exchange.keep:
                    return
        finally:
            with self._lock:
                self._live.discard(plain)
            try:
                sock.close()
            except OSError:
                pass


def _unscripted(exchange: Exchange) -> None:
    json_reply({"error": {"message": "the test gave no script for this request"}}, status=599)(exchange)


def _read_request(sock: socket.socket, buffer: bytearray, number: int) -> Request | None:
    def fill() -> bool:
        try:
            data = sock.recv(262144)
        except (OSError, ssl.SSLError):
            return False
        buffer.extend(data)
        return bool(data)

    while (end := buffer.find(b"\r\n\r\n")) < 0:
        if not fill():
            return None
    lines = bytes(buffer[:end]).decode("latin-1").split("\r\n")
    del buffer[: end + 4]
    method, target, _ = lines[0].split(" ")
    headers = []
    for line in lines[1:]:
        name, _, value = line.partition(":")
        headers.append((name.lower(), value.strip()))
    fields = dict(headers)
    assert "transfer-encoding" not in fields, "the gateway sends bodies with Content-Length"
    length = int(fields.get("content-length", "0"))
    while len(buffer) < length:
        if not fill():
            return None
    body = bytes(buffer[:length])
    del buffer[:length]
    return Request(method, target, headers, body, number, time.monotonic())


# ---- scripts

SSE = ("Content-Type", "text/event-stream; charset=utf-8")
JSON = ("Content-Type", "application/json")
NDJSON = ("Content-Type", "application/x-ndjson")


def json_reply(value: object, status: int = 200, headers: Iterable[tuple[str, str]] = (), reason: str = "OK") -> Script:
    return reply(json.dumps(value).encode(), status, [JSON, *headers], reason=reason)


def reply(
    body: bytes,
    status: int = 200,
    headers: Iterable[tuple[str, str]] = (),
    *,
    framing: str = "length",
    reason: str = "OK",
) -> Script:
    fixed = list(headers)

    def script(exchange: Exchange) -> None:
        exchange.head(status, fixed, framing=framing, length=len(body), reason=reason)
        exchange.write(body)
        exchange.end()

    return script


def pieces(
    parts: Iterable[bytes],
    content_type: tuple[str, str] = SSE,
    *,
    framing: str = "chunked",
    pause_s: float = 0.0,
    then: str = "end",
) -> Script:
    """The body in `parts`, each in its own write. then: end, fin (missing final chunk), reset or hang."""
    fixed = list(parts)

    def script(exchange: Exchange) -> None:
        exchange.head(200, [content_type], framing=framing, length=sum(map(len, fixed)))
        for index, part in enumerate(fixed):
            if index and pause_s:
                exchange.sleep(pause_s)
            exchange.write(part)
        exchange.reached()
        if then == "end":
            exchange.end()
        elif then == "fin":
            exchange.fin()
        elif then == "reset":
            exchange.sleep(0.02)  # the bytes must be read before the reset throws them away
            exchange.reset()
        elif then == "hang":
            exchange.hang()
        else:
            raise ValueError(then)

    return script


def hang_before_head(exchange: Exchange) -> None:
    exchange.reached()
    exchange.hang()


def close_before_head(exchange: Exchange) -> None:
    exchange.fin()


def reset_before_head(exchange: Exchange) -> None:
    exchange.reset()


class RefusedPort:
    """A port on which nothing listens, and stays so while this lives (bound, never listening)."""

    def __init__(self) -> None:
        self._sock = socket.socket()
        self._sock.bind(("127.0.0.1", 0))
        self.url = f"http://127.0.0.1:{self._sock.getsockname()[1]}"

    def stop(self) -> None:
        self._sock.close()


class BlackHole:
    """A listener whose queue is full: the kernel drops further SYNs, so a connect neither succeeds nor fails."""

    def __init__(self) -> None:
        self._sock = socket.socket()
        self._sock.bind(("127.0.0.1", 0))
        self._sock.listen(0)
        self.port = self._sock.getsockname()[1]
        self.url = f"http://127.0.0.1:{self.port}"
        self._fill = []
        for _ in range(4):
            filler = socket.socket()
            filler.setblocking(False)
            filler.connect_ex(("127.0.0.1", self.port))
            self._fill.append(filler)
        time.sleep(0.05)

    def stop(self) -> None:
        for filler in self._fill:
            filler.close()
        self._sock.close()


class SilentPort:
    """Accepts and says nothing: a stalled TLS handshake."""

    def __init__(self) -> None:
        self._sock = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port = self._sock.getsockname()[1]
        self.url = f"https://localhost:{self.port}"

    def stop(self) -> None:
        self._sock.close()
