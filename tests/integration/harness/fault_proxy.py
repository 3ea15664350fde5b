"""A TCP relay before a database that fails on demand: swallows replies, keeps silent, resets, refuses."""

from __future__ import annotations

import asyncio
import socket
import struct
import threading


class FaultProxy:
    """Relays to `port` on this machine. Modes: pass; mute (what the server says is lost: an acknowledgement that never
    comes); silent (nothing passes, nothing is closed: a partition). Whatever was connected in another mode than `pass`
    is reset when it ends, as a network would in time."""

    def __init__(self, port: int) -> None:
        self._target = port
        self.mode = "pass"
        self._writers: set[asyncio.StreamWriter] = set()
        self._loop = asyncio.new_event_loop()
        ready = threading.Event()
        self._thread = threading.Thread(target=self._run, args=(ready,), daemon=True)
        self._thread.start()
        ready.wait()

    def _run(self, ready: threading.Event) -> None:
        asyncio.set_event_loop(self._loop)
        server = self._loop.run_until_complete(asyncio.start_server(self._serve, "127.0.0.1", 0))
        self.port: int = server.sockets[0].getsockname()[1]
        ready.set()
        self._loop.run_forever()

    @property
    def dsn(self) -> str:
        return f"postgresql://parley@127.0.0.1:{self.port}/postgres"

    def set(self, mode: str) -> None:
        """Back to `pass` resets what suffered before."""
        self.mode = mode
        if mode == "pass":
            self.reset()

    def reset(self) -> None:
        asyncio.run_coroutine_threadsafe(self._reset(), self._loop).result(5)

    async def _reset(self) -> None:
        for writer in list(self._writers):
            sock = writer.get_extra_info("socket")
            if sock is not None:
                sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()
        self._writers.clear()

    async def _serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            to_server, from_server = (await asyncio.open_connection("127.0.0.1", self._target))[::-1]
        except OSError:
            writer.transport.abort()
            return
        self._writers |= {writer, to_server}
        await asyncio.gather(self._pump(reader, to_server, False), self._pump(from_server, writer, True))
        self._writers -= {writer, to_server}

    async def _pump(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter, is_reply: bool) -> None:
        try:
            while data := await reader.read(65536):
                if self.mode == "silent" or (self.mode == "mute" and is_reply):
                    continue
                writer.write(data)
                await writer.drain()
        except (OSError, ConnectionError):
            pass
        writer.close()

    def close(self) -> None:
        self.reset()
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
