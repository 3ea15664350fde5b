"""Thousands who ask for a long stream and read nothing of it, beside hundreds who read."""

from __future__ import annotations

import asyncio
import resource
import select
import socket
import threading
import time
from pathlib import Path

from harness.api import chat, chat_body, request_bytes
from harness.configs import config, demo_agent
from harness.gateway import Gateway
from report import Report, kb, mb
from watch import Watch, check_quiet, kernel_queues, stop

STALLED, HEALTHY = 5000, 300
LEAST = 500  # fewer show nothing
AT_ONCE, PAUSE_S = 50, 0.15  # 300 a second: what they get until they stall is work, and not what is tried here
STALL_S = 25  # in the place of 60: PARLEY_STALL_TIMEOUT_MS
LATE_S = 5
SETTLE_S = 15
UNSENT_BYTES_MAX = 256 * 1024  # ServerLimits::unsent_bytes_max; nothing sets it
STALLED_BYTES_MAX = 2 * UNSENT_BYTES_MAX + 64 * 1024  # a string, which doubles as it grows; and what a run is
SEGMENT_BYTES = 1400  # of a real network. Over loopback segments have 64 KB and the kernel keeps megabytes for each.
FLOOD = {"messages": "/echo " + " ".join(40 * ["w" * 60]), "n": 128}  # 1.3 MB, in 40 pieces of 34 KB
WORDS = "/slow 100 one two three four five six seven eight nine ten"


def run(report: Report, folder: Path) -> None:
    hard = resource.getrlimit(resource.RLIMIT_NOFILE)[1]
    limit = hard if hard > 0 else 1 << 20
    # The gateway keeps half of its descriptors for the way to providers; the kernel spreads unevenly over its loops.
    stalled = min(STALLED, int((limit // 2 - 200) * 0.9) - HEALTHY)
    report.title(f"{stalled:,} stalled readers beside {HEALTHY} healthy streams")
    if stalled < LEAST:
        report.note(f"skipped: a process may have {limit} descriptors here; 2,300 are the least that shows something")
        return
    gateway = Gateway(
        folder / "gateway",
        config(demo_agent()),
        env={"PARLEY_STALL_TIMEOUT_MS": str(STALL_S * 1000)},
        args=("--threads", "2"),
    ).start()
    fds = gateway.open_fds()
    try:
        beside(report, gateway, stalled)
        check_quiet(report, gateway, fds)
    finally:
        stop(report, gateway)


def beside(report: Report, gateway: Gateway, stalled: int) -> None:
    port = gateway.address[1]
    with Watch(gateway, 0.2) as watch, Streams(gateway) as streams:
        time.sleep(1)
        began = time.monotonic()
        crowd = Crowd(gateway, stalled)
        try:
            started = crowd.wait_started(SETTLE_S)
            took = time.monotonic() - began
            wait_still(gateway)
            grown, queued = gateway.rss_bytes() - watch.rss_before, kernel_queues(port)[0]
            report.check("all stalled streams began", started == stalled, f"{started:,} of {stalled:,} in {took:.1f} s")
            report.check(
                f"memory bounded: at most {kb(STALLED_BYTES_MAX)} for a stalled stream",
                grown <= started * STALLED_BYTES_MAX,
                f"RSS {mb(watch.rss_before)} before, {mb(watch.rss_before + grown)} then, "
                f"{kb(grown / max(started, 1))} each; in the kernel {kb(queued / max(started, 1))} each",
            )
            room = HEALTHY + 10
            end = began + took + STALL_S + LATE_S + SETTLE_S
            while gateway.open_fds() - watch.fds_before > room and time.monotonic() < end:
                time.sleep(0.2)
            left = max(0, gateway.open_fds() - watch.fds_before - room)
            after = time.monotonic() - began - took
            report.check(
                f"all cut at the limit of {STALL_S} s",
                left == 0 and after <= STALL_S + LATE_S,
                f"{after:.1f} s after the last had begun, {left} left",
            )
            time.sleep(2)
            _, orphaned, orphans = kernel_queues(port)
            report.check(
                "the kernel keeps nothing of what was cut",
                orphans == 0,
                f"{orphans:,} sockets closed without a reset hold {mb(orphaned)}",
            )
            report.note(f"RSS 2 s after the cut {mb(gateway.rss_bytes())}")
        finally:
            crowd.close()
    streams.judge(report)


def wait_still(gateway: Gateway) -> None:
    """Until the gateway has filled what it fills: no growth for a second."""
    last, end = 0, time.monotonic() + SETTLE_S
    while time.monotonic() < end:
        rss = gateway.rss_bytes()
        if rss - last < 2_000_000:
            return
        last = rss
        time.sleep(1)


class Crowd:
    """Connections that ask and never read, with as little room for the answer as the kernel grants."""

    def __init__(self, gateway: Gateway, count: int) -> None:
        raw = request_bytes(gateway, "POST", "/v1/chat/completions", chat_body("demo", **FLOOD, stream=True))
        self._socks: list[socket.socket] = []
        for number in range(count):
            sock = socket.socket()
            self._socks.append(sock)
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            sock.setsockopt(socket.IPPROTO_TCP, socket.TCP_MAXSEG, SEGMENT_BYTES)
            sock.settimeout(10)
            try:
                sock.connect(gateway.address)
                sock.sendall(raw)
            except OSError:
                continue  # never begins, which is counted
            if number % AT_ONCE == AT_ONCE - 1:
                time.sleep(PAUSE_S)

    def wait_started(self, seconds: float) -> int:
        """How many have got something, which stays where it is."""
        poller = select.poll()
        for sock in self._socks:
            poller.register(sock.fileno(), select.POLLIN)
        started: set[int] = set()
        end = time.monotonic() + seconds
        while len(started) < len(self._socks) and time.monotonic() < end:
            for fd, what in poller.poll(200):
                poller.unregister(fd)
                if what == select.POLLIN:
                    started.add(fd)
        return len(started)

    def close(self) -> None:
        for sock in self._socks:
            sock.close()


class Streams:
    """HEALTHY clients, each with one stream after the other, in a loop of their own."""

    def __init__(self, gateway: Gateway) -> None:
        self._gateway = gateway
        body = chat_body("demo", WORDS, stream=True)
        self._raw = request_bytes(gateway, "POST", "/v1/chat/completions", body, close=True)
        self._expected = chat(gateway, "demo", WORDS).json()["choices"][0]["message"]["content"]
        self.done, self.broken, self.longest_s, self.longest_gap_s = 0, [], 0.0, 0.0
        self._end = False
        self._thread = threading.Thread(target=lambda: asyncio.run(self._all()), daemon=True)

    def __enter__(self) -> Streams:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end = True
        self._thread.join(60)

    async def _all(self) -> None:
        await asyncio.gather(*(self._again(number) for number in range(HEALTHY)))

    async def _again(self, number: int) -> None:
        await asyncio.sleep(number / HEALTHY)
        while not self._end:
            began = time.monotonic()
            try:
                problem = await asyncio.wait_for(self._one(), 60)
            except (OSError, TimeoutError, asyncio.TimeoutError) as error:
                problem = f"{type(error).__name__}: {error}"
            self.longest_s = max(self.longest_s, time.monotonic() - began)
            if problem:
                self.broken.append(problem)
            else:
                self.done += 1

    async def _one(self) -> str:
        reader, writer = await asyncio.open_connection(*self._gateway.address)
        try:
            writer.write(self._raw)
            got, last = bytearray(), time.monotonic()
            while piece := await reader.read(65536):
                self.longest_gap_s, last = max(self.longest_gap_s, time.monotonic() - last), time.monotonic()
                got += piece
        finally:
            writer.close()
        if not got.startswith(b"HTTP/1.1 200 ") or not got.endswith(b"data: [DONE]\n\n\r\n0\r\n\r\n"):
            return f"not whole: {bytes(got[:60])!r} ... {bytes(got[-60:])!r}"
        missing = [word for word in self._expected.split() if word.encode() not in got]
        return f"without {missing}" if missing else ""

    def judge(self, report: Report) -> None:
        report.check(
            "every healthy stream complete",
            self.done >= HEALTHY and not self.broken,
            f"{self.done:,} of {self.done + len(self.broken):,}, the longest {self.longest_s:.2f} s (alone 1.0 s), "
            f"the longest silence {self.longest_gap_s * 1000:.0f} ms (alone 100 ms)",
        )
        for problem in self.broken[:3]:
            report.note(problem)
