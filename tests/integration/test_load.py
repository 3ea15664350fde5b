"""Many at once and many in a row: a thousand streams, ten thousand connections, twenty thousand that say nothing."""

from __future__ import annotations

import asyncio
import contextlib
import json
import math
import socket
import struct
import subprocess
import sys
import threading
import time

import pytest

from harness import upstream as up
from harness.api import Stream, call, chat, chat_body, request_bytes
from harness.configs import agent, config, demo_agent
from harness.gateway import SLACK, SLOW, Gateway, wait_until
from harness.rawhttp import Closed
from harness.wires import BY_NAME

STREAMS = 1000
MIB = 1024 * 1024


async def _one(gateway: Gateway, raw: bytes, gate: asyncio.Event) -> bytes:
    reader, writer = await asyncio.open_connection(*gateway.address)
    try:
        await gate.wait()
        writer.write(raw)
        await writer.drain()
        return await reader.read()
    finally:
        writer.close()


async def _all(gateway: Gateway, raw: bytes) -> list[bytes]:
    gate = asyncio.Event()
    tasks = []
    for _ in range(STREAMS):
        tasks.append(asyncio.create_task(_one(gateway, raw, gate)))
        if len(tasks) % 100 == 0:
            await asyncio.sleep(0.01)
    await asyncio.sleep(0.2)
    gate.set()
    return await asyncio.gather(*tasks)


def test_a_thousand_streams_complete(start_gateway) -> None:
    gateway = start_gateway(config(demo_agent()))
    expected = chat(gateway, "demo", "load").json()["choices"][0]["message"]["content"]
    fds, rss = gateway.open_fds(), gateway.rss_bytes()
    body = {"model": "demo", "messages": [{"role": "user", "content": "load"}], "stream": True}
    began = time.monotonic()
    answers = asyncio.run(
        asyncio.wait_for(
            _all(gateway, request_bytes(gateway, "POST", "/v1/chat/completions", body, close=True)), 60 * SLACK
        )
    )
    took = time.monotonic() - began
    for raw in answers:
        head, _, rest = raw.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 "), head[:100]
        assert rest.endswith(b"0\r\n\r\n") and b"data: [DONE]\n\n" in rest
    text = "".join(json.loads(line[6:])["choices"][0]["delta"].get("content") or "" for line in _lines(answers[-1]))
    assert text == expected
    assert took < 30 * SLACK
    wait_until(lambda: gateway.open_fds() <= fds + 2, what="all sockets closed")
    assert SLOW or gateway.rss_bytes() - rss < 64 * 1024 * 1024
    assert call(gateway, "GET", "/livez").status == 200


def _lines(raw: bytes) -> list[bytes]:
    coded = raw.partition(b"\r\n\r\n")[2]
    body = b""
    while coded:
        size, _, coded = coded.partition(b"\r\n")
        length = int(size, 16)
        body, coded = body + coded[:length], coded[length + 2 :]
    return [line for line in body.split(b"\n") if line.startswith(b"data: {")]


# ---- one after the other


def test_the_demo_waits_for_a_reader_who_does_not_read(start_gateway) -> None:
    """`/slow 0` with a megabyte of short words would be a hundred megabytes of events."""
    gateway = start_gateway(config(demo_agent()))
    body = chat_body("demo", "/slow 0 " + "a " * (MIB // 2), stream=True)
    fds, rss = gateway.open_fds(), gateway.rss_bytes()
    with socket.create_connection(gateway.address) as client:
        client.sendall(request_bytes(gateway, "POST", "/v1/chat/completions", body))
        assert client.recv(1) == b"H"
        for _ in range(20):
            assert call(gateway, "GET", "/livez").status == 200
            time.sleep(0.05)
        assert SLOW or gateway.rss_bytes() - rss < 32 * MIB
    wait_until(lambda: gateway.open_fds() <= fds, what="the stream that nobody reads has ended")


HISTORY, STREAMS_WITH_HISTORY = 4 * MIB, 12


@pytest.mark.parametrize("kept", [False, True], ids=["forgets", "remembers"])
def test_a_history_is_let_go_once_its_answer_streams(start_gateway, upstream: up.FakeUpstream, kept: bool) -> None:
    """Nothing asks for it again, and a stream may take minutes."""
    wire = BY_NAME["openai"]
    go_on = threading.Event()

    def slow(exchange: up.Exchange) -> None:
        exchange.head(200, [wire.content_type])
        for part in wire.events[:3]:
            exchange.write(part)
        go_on.wait(60 * SLACK)
        for part in wire.events[3:]:
            exchange.write(part)
        exchange.end()

    upstream.on(slow)
    gateway = start_gateway(config(agent("slow", "p"), p=wire.provider(upstream.url)))

    def hold(first: int, rss_max: float) -> None:
        go_on.clear()
        with contextlib.ExitStack() as stack:
            running = []
            for number in range(first, first + STREAMS_WITH_HISTORY):
                session = {"session_id": f"s{number}"} if kept else {}
                body = chat_body("slow", "x" * HISTORY, stream=True, **session)
                one = stack.enter_context(Stream(gateway, body))
                events = iter(one)
                next(events)
                running.append((one, events))
            wait_until(lambda: gateway.rss_bytes() < rss_max, what="histories let go")
            go_on.set()
            for one, events in running:
                for _ in events:
                    pass
                one.seen.check_complete()

    hold(0, math.inf)  # the store's caches fill, and the allocator has what it keeps
    settled = gateway.rss_bytes()
    hold(STREAMS_WITH_HISTORY, math.inf if SLOW else settled + STREAMS_WITH_HISTORY * HISTORY / 3)


def _visit(gateway: Gateway, number: int) -> None:
    """A connection that ends in one of the ways in which they end."""
    with socket.create_connection(gateway.address, timeout=10 * SLACK) as sock:
        how = number % 4
        if how == 3:  # leaves in the middle of a head
            sock.sendall(b"POST /v1/chat/completions HTTP/1.1\r\nHost: x\r\nX-Unfinished: ")
            return
        closing = b"Connection: close\r\n" if how == 1 else b""
        sock.sendall(b"GET /livez HTTP/1.1\r\nHost: 127.0.0.1\r\n" + closing + b"\r\n")
        assert sock.recv(4096).startswith(b"HTTP/1.1 200 "), f"connection {number}"
        if how == 2:
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset


@pytest.mark.slow
def test_the_ten_thousandth_connection_is_like_the_thousandth(start_gateway) -> None:
    gateway = start_gateway(config(demo_agent()), args=("--threads", "2"))
    fds = gateway.open_fds()
    for number in range(1000):
        _visit(gateway, number)
    rss = gateway.rss_bytes()
    for number in range(1000, 10_000):
        _visit(gateway, number)
    wait_until(lambda: gateway.open_fds() <= fds, what="all sockets closed")
    assert SLOW or gateway.rss_bytes() - rss < 2 * MIB, "each connection leaves something behind"


# ---- more than there is room for

CROWD, CROWD_PROCESSES = 20_000, 4
# Connects `count` times, then says after each line of its input how many connections are open, were turned away and are
# not answered yet; ends with its input. Two ends that share both addresses have 28,000 ports: hence one of its own.
CROWD_PROGRAM = """
import select, socket, sys
host, port, source, count = sys.argv[1], int(sys.argv[2]), sys.argv[3], int(sys.argv[4])
IP_BIND_ADDRESS_NO_PORT = 24
poller, socks = select.poll(), {}
for _ in range(count):
    sock = socket.socket()
    sock.setblocking(False)
    sock.setsockopt(socket.IPPROTO_IP, IP_BIND_ADDRESS_NO_PORT, 1)
    sock.bind((source, 0))
    sock.connect_ex((host, port))
    socks[sock.fileno()] = sock
    poller.register(sock.fileno(), select.POLLOUT | select.POLLRDHUP)
unanswered, away = set(socks), 0
for _ in sys.stdin:
    for fd, what in poller.poll(0):
        unanswered.discard(fd)
        poller.modify(fd, select.POLLRDHUP)
        if what & (select.POLLRDHUP | select.POLLHUP | select.POLLERR):
            poller.unregister(fd)
            socks.pop(fd).close()
            away += 1
    print(len(socks) - len(unanswered), away, len(unanswered), flush=True)
"""


class SilentCrowd:
    """CROWD connections on which nothing is said, from processes of their own."""

    def __init__(self, address: tuple[str, int]) -> None:
        share = str(CROWD // CROWD_PROCESSES)
        self._processes = [
            subprocess.Popen(
                [sys.executable, "-c", CROWD_PROGRAM, *map(str, address), f"127.0.1.{number + 1}", share],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                text=True,
            )
            for number in range(CROWD_PROCESSES)
        ]

    def __enter__(self) -> SilentCrowd:
        return self

    def __exit__(self, *_: object) -> None:
        for process in self._processes:
            process.communicate()

    def counts(self) -> tuple[int, int, int]:
        """Open, turned away, not answered yet."""
        for process in self._processes:
            process.stdin.write("?\n")
            process.stdin.flush()
        counts = [map(int, process.stdout.readline().split()) for process in self._processes]
        held, away, unanswered = map(sum, zip(*counts, strict=True))
        return held, away, unanswered


@pytest.mark.slow
def test_h29_twenty_thousand_that_say_nothing(start_gateway, upstream: up.FakeUpstream) -> None:
    """As many are let in as there is room for, the others are turned away at once, and a stream does not notice."""
    wire = BY_NAME["openai"]
    event = wire.events[2]
    ending = list(wire.events[3:])
    go_on = True

    def ticking(exchange: up.Exchange) -> None:
        exchange.head(200, [wire.content_type])
        exchange.write(wire.events[0])
        while go_on:
            exchange.write(event)
            exchange.sleep(0.05)
        for part in ending:
            exchange.write(part)
        exchange.end()

    upstream.on(ticking)
    gateway = start_gateway(
        config(agent("slow", "p"), demo_agent(), p=wire.provider(upstream.url)),
        args=("--threads", "2"),
        env={"PARLEY_HEADER_TIMEOUT_MS": "120000"},
    )
    rss = gateway.rss_bytes()
    with Stream(gateway, chat_body("slow", "x", stream=True)) as running:
        events = iter(running)
        next(events)
        reader = threading.Thread(target=lambda: [event for event in events])
        reader.start()
        with SilentCrowd(gateway.address) as crowd:
            room = 10_000  # half of the descriptors: the other half is for the way to the providers
            # The kernel shakes hands before the gateway accepts: who is about to be turned away looks let in until then.
            wait_until(lambda: crowd.counts()[1] >= CROWD - room, 40 * SLACK, "those without room turned away")
            wait_until(lambda: crowd.counts()[2] == 0, 40 * SLACK, "everybody answered")
            held, away, _ = crowd.counts()
            assert held + away == CROWD
            assert 2000 < held <= min(room, gateway.open_fds())
            per_connection = (gateway.rss_bytes() - rss) / held
            assert SLOW or per_connection < 8 * 1024, f"{per_connection:.0f} bytes for each that says nothing"
            began = time.monotonic()
            with socket.create_connection(gateway.address, timeout=5 * SLACK) as late, contextlib.suppress(OSError):
                assert late.recv(1) == b""
            assert time.monotonic() - began < 2 * SLACK, "who finds no room must be told so"
        go_on = False
        reader.join(20 * SLACK)
        seen = running.seen.check_complete()
        gaps = [b - a for a, b in zip(seen.arrivals_s, seen.arrivals_s[1:], strict=False)]
        assert max(gaps) < 2 * SLACK, f"the stream stood still for {max(gaps):.1f} s"
    wait_until(lambda: _answers(gateway), timeout=10 * SLACK, what="a new client being served")
    wait_until(lambda: gateway.open_fds() < 200, timeout=10 * SLACK, what="the crowd's sockets closed")


def _answers(gateway: Gateway) -> bool:
    try:
        return call(gateway, "GET", "/livez", timeout=2).status == 200
    except (OSError, Closed):
        return False
