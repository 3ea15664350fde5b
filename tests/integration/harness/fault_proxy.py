"""A TCP relay that fails on demand, before whatever the gateway connects to: a provider, a tool server, a database."""

from __future__ import annotations

import asyncio
import contextlib
import socket
import struct
import threading
from collections.abc import Coroutine, Iterator
from dataclasses import dataclass, field

BOTH_WAYS = ("delay", "slice", "silent", "refuse")  # the other modes touch only what the server says
MODES = ("pass", "mute", "reset", "truncate", "trickle", "corrupt", *BOTH_WAYS)


@dataclass(frozen=True)
class Fault:
    mode: str = "pass"
    after: int = 0
    seconds: float = 0.0
    flip: int = 0xFF


@dataclass(eq=False)
class _Link:
    """A connection to us and the one behind it."""

    client: asyncio.StreamWriter
    server: asyncio.StreamWriter
    under: Fault | None = None  # the fault since which `said` counts
    said: int = 0  # bytes of the server
    lost: set[bool] = field(default_factory=set)  # directions (True = from the server) in which something was swallowed


class FaultProxy:
    """Relays to `port` on this machine. The modes:

    pass      all is well
    delay     every piece is late by `seconds`, both ways
    slice     every byte goes by itself, both ways
    trickle   one byte of what the server says every `seconds`
    silent    nothing passes, nothing is closed: a black hole, a partition
    mute      what the server says is lost: an acknowledgement that never comes
    refuse    RST: to a new connection at once, to one that is there with the next byte
    reset     RST in the middle of what the server says
    truncate  FIN there
    corrupt   one byte of it is changed: by XOR with `flip`

    Each begins when `after` bytes of the server have come through on a connection, counted from when the fault was set.
    Whatever was connected while something was wrong is reset when that ends, as a network would in time. With
    `cut=False` it is not, and a connection that lost something stays dead for ever."""

    def __init__(self, port: int) -> None:
        self._target = port
        self._fault = Fault()
        self._links: set[_Link] = set()
        ready = threading.Event()
        self._thread = threading.Thread(target=lambda: asyncio.run(self._main(ready)), daemon=True)
        self._thread.start()
        ready.wait()

    # ---- for tests

    @property
    def mode(self) -> str:
        return self._fault.mode

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}"

    @property
    def dsn(self) -> str:
        return f"postgresql://parley@127.0.0.1:{self.port}/postgres"

    def set(self, mode: str, *, cut: bool = True, **how: float) -> None:
        """`how`: after, seconds and flip of the fault."""
        assert mode in MODES, mode
        self._run(self._set(Fault(mode, **how), cut and mode == "pass"))

    @contextlib.contextmanager
    def failing(self, mode: str, **how: float) -> Iterator[None]:
        self.set(mode, **how)
        try:
            yield
        finally:
            self.set("pass")

    def reset(self) -> None:
        """RST to all that are connected now."""
        self._run(self._reset())

    def close(self) -> None:
        self.reset()
        self._loop.call_soon_threadsafe(self._over.set)
        self._thread.join()

    # ---- inside

    def _run(self, what: Coroutine[None, None, None]) -> None:
        asyncio.run_coroutine_threadsafe(what, self._loop).result(5)

    async def _main(self, ready: threading.Event) -> None:
        self._loop, self._over, self._changed = asyncio.get_running_loop(), asyncio.Event(), asyncio.Event()
        server = await asyncio.start_server(self._serve, "127.0.0.1", 0, backlog=1024)
        self.port: int = server.sockets[0].getsockname()[1]
        ready.set()
        await self._over.wait()
        server.close()

    async def _set(self, fault: Fault, cut: bool) -> None:
        self._fault = fault
        self._changed.set()
        self._changed = asyncio.Event()
        if cut:
            await self._reset()

    async def _reset(self) -> None:
        for link in list(self._links):
            self._cut(link)

    def _cut(self, link: _Link) -> None:
        self._links.discard(link)
        for writer in (link.client, link.server):
            _abort(writer)

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        if self._fault.mode == "refuse":
            return _abort(writer)
        try:
            from_server, to_server = await asyncio.open_connection("127.0.0.1", self._target)
        except (OSError, asyncio.CancelledError):
            return _abort(writer)
        link = _Link(writer, to_server)
        self._links.add(link)
        try:
            await asyncio.gather(self._pump(link, reader, False), self._pump(link, from_server, True))
            for end in (writer, to_server):
                end.close()
        except (OSError, asyncio.CancelledError):
            self._cut(link)
        self._links.discard(link)

    async def _pump(self, link: _Link, reader: asyncio.StreamReader, is_reply: bool) -> None:
        writer = link.client if is_reply else link.server
        while data := await reader.read(65536):
            await self._pass_on(link, data, writer, is_reply)
        if is_reply in link.lost or self.mode == "silent":
            await self._until_lifted()
        elif not writer.is_closing():
            writer.write_eof()

    async def _pass_on(self, link: _Link, data: bytes, writer: asyncio.StreamWriter, is_reply: bool) -> None:
        if is_reply in link.lost:
            return
        fault = self._fault
        if link.under is not fault:
            link.under, link.said = fault, 0
        left = max(0, fault.after - link.said)
        at = fault.after - link.said
        if is_reply:
            link.said += len(data)
            whole, rest = data[:left], data[left:]
        else:
            whole, rest = (b"", data) if left == 0 and fault.mode in BOTH_WAYS else (data, b"")
        await _send(writer, whole)
        if not rest:
            return
        if fault.mode in ("silent", "mute"):
            link.lost |= {True} if fault.mode == "mute" else {True, False}
        elif fault.mode in ("reset", "refuse"):
            await asyncio.sleep(0.02 if whole else 0)  # what came before must be read before a RST throws it away
            self._cut(link)
        elif fault.mode == "truncate":
            link.client.close()
            link.server.close()
        elif fault.mode in ("slice", "trickle"):
            for byte in rest:
                await _send(writer, bytes([byte]))
                await self._pause(fault.seconds)
        elif fault.mode == "delay":
            await self._pause(fault.seconds)
            await _send(writer, rest)
        elif fault.mode == "corrupt" and at >= 0:
            await _send(writer, bytes([rest[0] ^ fault.flip]) + rest[1:])
        else:
            await _send(writer, rest)

    async def _pause(self, seconds: float) -> None:
        """Or until the fault changes."""
        if seconds == 0:
            return await asyncio.sleep(0)
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(self._changed.wait(), seconds)

    async def _until_lifted(self) -> None:
        while self.mode != "pass":
            await self._changed.wait()


async def _send(writer: asyncio.StreamWriter, data: bytes) -> None:
    if data and not writer.is_closing():
        writer.write(data)
        await writer.drain()


def _abort(writer: asyncio.StreamWriter) -> None:
    sock = writer.get_extra_info("socket")
    if sock is not None and not writer.is_closing():
        sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
    writer.transport.abort()
