"""An HTTP/1.1 client that sends exactly the bytes it is told to and reads answers strictly.

Strictly: CRLF line ends, one framing, no bytes after the end. A sloppy answer of the gateway fails the test.
"""

from __future__ import annotations

import json
import re
import select
import socket
import ssl
import struct
import time
from collections.abc import Iterable, Iterator
from dataclasses import dataclass, field

Headers = list[tuple[str, str]]

_FIELD = re.compile(rb"([!#$%&'*+\-.^_`|~0-9A-Za-z]+):[ \t]*([^\x00\r\n]*?)[ \t]*")
_STATUS = re.compile(rb"HTTP/1\.1 ([1-5][0-9][0-9]) ([\t \x21-\x7e]*)")


class Closed(Exception):
    """The peer closed or reset the connection where the test expected bytes."""


class BadAnswer(AssertionError):
    """The answer is not well-formed HTTP/1.1."""


@dataclass
class Answer:
    status: int
    reason: str
    headers: Headers
    body: bytes = b""
    interim: list[int] = field(default_factory=list)
    elapsed_s: float = 0.0

    def header(self, name: str) -> str | None:
        values = [value for key, value in self.headers if key == name.lower()]
        if len(values) > 1:
            raise BadAnswer(f"{name} is given {len(values)} times: {values}")
        return values[0] if values else None

    def json(self):
        return json.loads(self.body)

    @property
    def error(self) -> dict:
        """The OpenAI error of this answer, its shape checked."""
        assert self.status >= 400, (self.status, self.body[:500])
        assert (self.header("content-type") or "").split(";")[0] == "application/json", (
            self.status,
            self.headers,
            self.body[:300],
        )
        body = self.json()
        return checked_error(body)


def checked_error(body: dict) -> dict:
    assert set(body) == {"error"}, body
    error = body["error"]
    assert {"message", "type", "param", "code"} <= set(error), error
    assert isinstance(error["message"], str) and error["message"], error
    assert isinstance(error["type"], str) and error["type"], error
    assert error["param"] is None or isinstance(error["param"], str), error
    assert error["code"] is None or isinstance(error["code"], str), error
    return error


class Connection:
    """One socket to the gateway. Every wait is bounded by `timeout` seconds."""

    def __init__(
        self,
        address: tuple[str, int],
        *,
        tls: ssl.SSLContext | None = None,
        timeout: float = 15.0,
        receive_buffer: int | None = None,
        server_hostname: str = "localhost",
    ) -> None:
        plain = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
        plain.settimeout(timeout)
        plain.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        if receive_buffer is not None:
            plain.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer)
        try:
            plain.connect(address)
            self.sock = tls.wrap_socket(plain, server_hostname=server_hostname) if tls else plain
        except BaseException:
            plain.close()
            raise
        self._buffer = bytearray()
        self._chunked = False
        self._left: int | None = 0

    def __enter__(self) -> Connection:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def close(self) -> None:
        self.sock.close()

    def reset(self) -> None:
        """Closes with RST instead of FIN."""
        self.sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        self.sock.close()

    def half_close(self) -> None:
        self.sock.shutdown(socket.SHUT_WR)

    def send(self, data: bytes) -> None:
        """Sends all of it. A peer that has closed already is no error: its answer may be waiting to be read."""
        try:
            self.sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            pass

    def send_pieces(self, pieces: Iterable[bytes], pause_s: float = 0.0) -> None:
        for piece in pieces:
            self.send(piece)
            if pause_s:
                time.sleep(pause_s)

    # ---- reading

    def _fill(self) -> None:
        try:
            data = self.sock.recv(65536)
        except (ConnectionResetError, ssl.SSLEOFError) as error:
            raise Closed(f"reset after {bytes(self._buffer[:200])!r}") from error
        if not data:
            raise Closed(f"closed after {bytes(self._buffer[:200])!r}")
        self._buffer += data

    def _line(self, limit: int = 65536) -> bytes:
        while (end := self._buffer.find(b"\r\n")) < 0:
            if len(self._buffer) > limit:
                raise BadAnswer(f"line above {limit} bytes")
            self._fill()
        line = bytes(self._buffer[:end])
        del self._buffer[: end + 2]
        if b"\n" in line or b"\r" in line:
            raise BadAnswer(f"bare CR or LF in {line[:200]!r}")
        return line

    def read_head(self, method: str = "POST") -> Answer:
        """Reads up to the body of the next final answer; 1xx answers are collected in `interim`."""
        began = time.monotonic()
        interim: list[int] = []
        while True:
            status_line = self._line()
            match = _STATUS.fullmatch(status_line)
            if not match:
                raise BadAnswer(f"status line {status_line[:200]!r}")
            headers: Headers = []
            while line := self._line():
                pair = _FIELD.fullmatch(line)
                if not pair:
                    raise BadAnswer(f"header line {line[:200]!r}")
                headers.append((pair[1].decode().lower(), pair[2].decode("latin-1")))
            status = int(match[1])
            if status >= 200:
                break
            interim.append(status)
        answer = Answer(status, match[2].decode(), headers, interim=interim, elapsed_s=time.monotonic() - began)
        length, coding = answer.header("content-length"), answer.header("transfer-encoding")
        if length is not None and coding is not None:
            raise BadAnswer("both Content-Length and Transfer-Encoding")
        self._chunked = coding == "chunked"
        if coding not in (None, "chunked"):
            raise BadAnswer(f"Transfer-Encoding {coding!r}")
        if method == "HEAD" or status in (204, 304):
            self._chunked, self._left = False, 0
        elif self._chunked:
            self._left = 0
        else:
            self._left = int(length) if length is not None else None
        return answer

    def body_pieces(self) -> Iterator[bytes]:
        """The rest of the body as it arrives. Raises Closed when it ends before its framing says so."""
        if self._chunked:
            while True:
                size_line = self._line()
                if not re.fullmatch(rb"[0-9A-Fa-f]{1,8}", size_line):
                    raise BadAnswer(f"chunk size {size_line[:100]!r}")
                size = int(size_line, 16)
                if size == 0:
                    if self._line() != b"":
                        raise BadAnswer("trailer in the answer")
                    return
                while len(self._buffer) < size + 2:
                    self._fill()
                if self._buffer[size : size + 2] != b"\r\n":
                    raise BadAnswer("chunk data not followed by CRLF")
                piece = bytes(self._buffer[:size])
                del self._buffer[: size + 2]
                yield piece
        elif self._left is None:
            try:
                while True:
                    if not self._buffer:
                        self._fill()
                    piece = bytes(self._buffer)
                    self._buffer.clear()
                    yield piece
            except Closed:
                return
        else:
            while self._left > 0:
                if not self._buffer:
                    self._fill()
                piece = bytes(self._buffer[: self._left])
                del self._buffer[: len(piece)]
                self._left -= len(piece)
                yield piece

    def read_answer(self, method: str = "POST") -> Answer:
        answer = self.read_head(method)
        answer.body = b"".join(self.body_pieces())
        return answer

    def closed_within(self, seconds: float) -> bool:
        """True when the peer closes (FIN or RST) in that time without another byte of data."""
        if self._buffer:
            return False
        end = time.monotonic() + seconds
        while (left := end - time.monotonic()) > 0:
            if not select.select([self.sock], [], [], left)[0]:
                return False
            try:
                self.sock.settimeout(max(left, 0.01))
                data = self.sock.recv(65536)
            except (ConnectionResetError, ssl.SSLError, OSError):
                return True
            if not data:
                return True
            self._buffer += data
            return False
        return False

    def read_all(self) -> bytes:
        """Everything until the peer closes or the timeout passes."""
        try:
            while True:
                self._fill()
        except (Closed, TimeoutError):
            data = bytes(self._buffer)
            self._buffer.clear()
            return data


def build(
    method: str,
    target: str,
    headers: Iterable[tuple[str, str]] = (),
    body: bytes | None = None,
    host: str = "gateway.test",
) -> bytes:
    """A well-formed request; Content-Length is added when there is a body and no framing is given."""
    fields = list(headers)
    names = {name.lower() for name, _ in fields}
    if "host" not in names:
        fields.insert(0, ("Host", host))
    if body is not None and not names & {"content-length", "transfer-encoding"}:
        fields.append(("Content-Length", str(len(body))))
    head = f"{method} {target} HTTP/1.1\r\n" + "".join(f"{name}: {value}\r\n" for name, value in fields) + "\r\n"
    return head.encode("latin-1") + (body or b"")


def chunked(body: bytes, size: int = 0) -> bytes:
    """`body` in chunked coding, in pieces of `size` bytes (0 = one piece)."""
    step = size or max(len(body), 1)
    pieces = [body[at : at + step] for at in range(0, len(body), step)]
    return b"".join(b"%x\r\n%s\r\n" % (len(piece), piece) for piece in pieces) + b"0\r\n\r\n"
