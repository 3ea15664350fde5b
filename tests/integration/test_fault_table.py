"""The upstream faults U1-U24 of facts/reliability.md §1.5: where each row is tested, and here what no other file tests.

Each is tested before the first byte (JSON and streamed) and, where the table has something to say there, after
streaming has begun ("later"). FAULTS is test_upstream_faults.py, PROVIDERS test_providers.py, FALLBACK
test_fallback.py, GOLDEN tests/golden and its unit test. Tests without a file are here.

U1   names            FAULTS test_u1_*; test_u1_*; another candidate: test_connecting_fails_and_the_next_one_answers
U2   no connection    FAULTS test_u2_*; test_u2_u3_connecting_fails_alone; another candidate: as U1
U3   TLS              FAULTS test_u3_*; test_u3_*, test_u2_u3_connecting_fails_alone; another candidate: as U1
U4   gone before      FAULTS test_u4_*; PROVIDERS test_a_kept_connection_*; test_u4_*; another candidate: FALLBACK
     the head
U5   cut              JSON: test_u5_a_body_that_is_cut; later: FAULTS test_truncation_at_every_point_is_told, test_u5_*;
                      what is stored of it: test_u5_a_cut_answer_is_not_kept
U6   no head          FAULTS test_u6_no_head; another candidate: FALLBACK
U7   silence          FAULTS test_u7_*; heartbeats meanwhile: test_u7_*
U8   trickle          FAULTS test_u8_*; JSON, and inside an event: test_u8_*
U9   garbage          FAULTS test_u9_u11_garbage; later: test_u9_*; GOLDEN html_*, garbage_*
U10  the other shape  PROVIDERS test_u10_*; its name: test_u10_*; broken as well: FAULTS test_u9_u11_garbage
U11  truncated JSON,  FAULTS test_u9_u11_garbage; later: test_u9_u11_garbage_later, FAULTS test_u5_mid_stream_failures;
     error in 200     GOLDEN error_*
U12  styles of SSE    PROVIDERS test_u12_*, test_every_split_point, test_one_byte_at_a_time; unit/net/sse_test; fuzz/sse
U13  long lines       PROVIDERS test_u13_*; FAULTS test_u13_*; in each dialect: test_u13_*, later
                      test_u9_u11_garbage_later; our own lines: unit/server/chat_writer_test
U14  broken text      PROVIDERS test_u14_*; unit/providers/*_test RepairsBytesThatAreNoUtf8; GOLDEN lone_surrogate
U15  large heads      FAULTS test_u15_u21_heads; streamed: test_u15_*
U16  401, 403         FAULTS test_u16_u18_statuses; test_errors; who is told: test_u16_*; another candidate: FALLBACK
U17  429              FAULTS test_u17_*; test_errors test_429_of_the_provider; another candidate: FALLBACK
U18  5xx              FAULTS test_u16_u18_statuses; another candidate: FALLBACK
U19  redirects        FAULTS test_u19_*; another candidate: FALLBACK
U20  compressed       FAULTS test_u20_*; streamed, and every coding: test_u20_*
U21  interim answers  FAULTS test_u15_u21_heads; streamed, and the limit itself: test_u15_u21_*, test_u21_*
U22  no end           FAULTS test_u22_*; test_agent_loop test_max_*; held streams, endless loops, 1000 calls: test_u22_*
U23  loose streams    PROVIDERS test_u23_*; GOLDEN (both shapes); JSON, and calls in any order: test_u23_*
U24  tool programs    test_mcp_lifecycle (death, restart, zombies, SIGTERM); test_mcp_calls (hang, noise, 40 MiB);
                      in both shapes, a line of 1 GB, floods: test_u24_*

What the network does to a provider, a tool server over HTTP or a database: test_fault_proxy.py.

At the end: a client that leaves takes its calls with it within 100 ms, on every route. Chat in each dialect is in
test_cancel.py, tools of the first era in test_mcp_calls.py; test_gone_* here are the rest.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import sys
import threading
import time
import uuid
import zlib
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness import upstream as up
from harness.api import Stream, Streamed, call, chat, chat_body, connect, request_bytes, stream
from harness.certs import Authority
from harness.configs import agent, config, timeouts
from harness.gateway import SLACK, SLOW, Gateway, wait_until
from harness.mcp import (
    calls,
    descendants,
    http,
    records,
    stdio,
    tool_agent,
    wait_record,
    with_tools,
    write_script,
)
from harness.mcp_http import HttpServer
from harness.name_server import NameServer, binary_asking, is_possible
from harness.rawhttp import Connection
from harness.relay import MIB, ask, both_shapes, every_wire, failure, gateway  # noqa: F401
from harness.talk import Model, Talk
from harness.upstream import JSON, SSE, Exchange, FakeUpstream, Script
from harness.wire_tools import Asked, asks_for, heard, says
from harness.wires import BY_NAME, DONE, TEXT, Wire, chunk, line, sse
from test_upstream_faults import HEADS

OPENAI, RESPONSES, OLLAMA = BY_NAME["openai"], BY_NAME["azure-responses"], BY_NAME["ollama"]
BODY = json.dumps(OPENAI.answer).encode()
INVALID, TRUNCATED, TIMEOUT = "upstream_invalid_response", "upstream_truncated", "upstream_timeout"
EXPIRED = "deadline_exceeded"
DECODERS = (OPENAI, RESPONSES, OLLAMA)  # between them, all that read answers
each_decoder = pytest.mark.parametrize("wire", DECODERS, ids=[wire.name for wire in DECODERS])


def begun(wire: Wire) -> list[bytes]:
    """Its stream up to "Hé "."""
    return list(wire.events[: next(index for index, event in enumerate(wire.events) if b"u00e9" in event) + 1])


def text_of(got: Streamed | object) -> str:
    return got.check_complete().text if isinstance(got, Streamed) else got.json()["choices"][0]["message"]["content"]


def later(wire: Wire, *bad: bytes, then: str = "end") -> Script:
    return up.pieces([*begun(wire), *bad], wire.content_type, then=then)


class Port:
    """A listener that does `serve` with each who comes, one after the other, and then hangs up. Bytes that it has not
    read make that a RST."""

    def __init__(self, serve: Callable[[socket.socket], object]) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=64)
        self.port: int = self._listener.getsockname()[1]
        threading.Thread(target=self._accept, args=(serve,), daemon=True).start()

    def _accept(self, serve: Callable[[socket.socket], object]) -> None:
        while True:
            try:
                peer, _ = self._listener.accept()
            except OSError:
                return
            with peer, contextlib.suppress(OSError):
                serve(peer)

    def stop(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def port() -> Iterator[Callable[[Callable[[socket.socket], object]], Port]]:
    made: list[Port] = []

    def make(serve: Callable[[socket.socket], object]) -> Port:
        made.append(Port(serve))
        return made[-1]

    yield make
    for one in made:
        one.stop()


def refuse_as_web_servers_do(peer: socket.socket) -> None:
    """TLS on their plain port."""
    peer.recv(65536)
    peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")


# ---- U1 names


LABELS = {
    "good": "127.0.0.1",
    "other": "127.0.0.1",
    "crowded": "hang",
    "left": "hang",
    **{f"{said}-{shape}": said for said in ("nxdomain", "servfail", "hang") for shape in ("json", "stream")},
}


@pytest.fixture(scope="module")
def names() -> Iterator[NameServer]:
    if not is_possible():
        pytest.skip("a name server of our own needs port 53 and a mount namespace")
    server = NameServer()
    server.names = {f"{label}.test": said for label, said in LABELS.items()}
    yield server
    server.stop()


@pytest.fixture(scope="module")
def named(
    start_module_gateway, names: NameServer, module_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Gateway:
    """An agent for each name: LABEL is at http://LABEL.test. The C library gives up one that hangs after 1 s."""
    limits = timeouts(SLACK)
    providers = {
        label: OPENAI.provider(f"http://{label}.test:{module_upstream.port}", timeouts=limits) for label in LABELS
    }
    with pytest.MonkeyPatch.context() as patch:
        folder = tmp_path_factory.mktemp("names")
        patch.setenv("PARLEY_BIN", str(binary_asking(names, folder, f"timeout:{int(SLACK)} attempts:1")))
        return start_module_gateway(config(*[agent(label, label) for label in LABELS], **providers))


@both_shapes
@pytest.mark.parametrize(
    ("said", "status", "code"),
    [("nxdomain", 502, "upstream_unavailable"), ("servfail", 502, "upstream_unavailable"), ("hang", 504, TIMEOUT)],
)
def test_u1_no_address(
    named: Gateway, names: NameServer, upstream: FakeUpstream, said: str, status: int, code: str, streaming: bool
) -> None:
    upstream.on(says(OPENAI))
    label = f"{said}-{'stream' if streaming else 'json'}"
    began = time.monotonic()
    got, error = failure(ask(named, label, streaming))
    assert (got, error["code"]) == (status, code) and label in error["message"]
    assert time.monotonic() - began < 2 * SLACK
    names.names[f"{label}.test"] = "127.0.0.1"
    wait_until(lambda: chat(named, label).status == 200, timeout=3.0, what="it serves again")


def test_u1_a_name_that_hangs_is_in_nobodys_way(named: Gateway, upstream: FakeUpstream) -> None:
    """Many ask for it, while others ask for a name that is answered at once."""
    upstream.on(says(OPENAI))
    assert chat(named, "good").status == 200
    with ThreadPoolExecutor(8) as pool:
        stuck = [pool.submit(chat, named, "crowded") for _ in range(8)]
        wait_until(lambda: under_way(named) == 8, what="all of them are waiting")
        answer = chat(named, "other")
        assert [one.result().status for one in stuck] == [504] * 8
    assert answer.status == 200 and answer.elapsed_s < 0.2 * SLACK, answer.body


# ---- U1-U3: another candidate


@pytest.fixture(scope="module")
def unreachable(start_module_gateway, module_upstream: FakeUpstream, authority: Authority) -> Iterator[Gateway]:
    """Agents that cannot connect, each in its way, with one behind them that can; and the same alone, as NAME-alone."""
    refused, hole, silent, plain = up.RefusedPort(), up.BlackHole(), up.SilentPort(), Port(refuse_as_web_servers_do)
    self_signed = FakeUpstream(authority.self_signed.server_context())
    urls = {
        "name": "http://no-such-host.invalid",
        "refused": refused.url,
        "no-route": "http://255.255.255.255",
        "black-hole": hole.url,
        "self-signed": self_signed.url,
        "plain": f"https://localhost:{plain.port}",
        "stall": silent.url,
    }
    agents = [agent("spare", "spare")]
    for name in urls:
        agents += [agent(name, name, fallbacks=["spare"]), agent(f"{name}-alone", name)]
    more = {"timeouts": timeouts(SLACK), "ca_file": str(authority.ca_file)}
    providers = {name: OPENAI.provider(url, **more) for name, url in urls.items()}
    gateway = start_module_gateway(config(*agents, spare=OPENAI.provider(module_upstream.url), **providers))
    yield gateway
    assert not self_signed.requests, "the request, with its key, was sent"
    for one in (refused, hole, silent, plain, self_signed):
        one.stop()


CONNECTING = {
    "name": (502, "upstream_unavailable"),
    "refused": (502, "upstream_unavailable"),
    "no-route": (502, "upstream_unavailable"),
    "black-hole": (504, TIMEOUT),
    "self-signed": (502, "upstream_tls_error"),
    "plain": (502, "upstream_tls_error"),
    "stall": (504, TIMEOUT),
}


@both_shapes
@pytest.mark.parametrize("name", CONNECTING)
def test_connecting_fails_and_the_next_one_answers(
    unreachable: Gateway, upstream: FakeUpstream, name: str, streaming: bool
) -> None:
    """U1-U3."""
    upstream.on(says(OPENAI))
    began = time.monotonic()
    assert text_of(ask(unreachable, name, streaming)) == TEXT
    assert time.monotonic() - began < 2 * SLACK


@both_shapes
@pytest.mark.parametrize("name", CONNECTING)
def test_u2_u3_connecting_fails_alone(unreachable: Gateway, upstream: FakeUpstream, name: str, streaming: bool) -> None:
    """U1-U3. A handshake that stalls is told as a connection that takes too long."""
    began = time.monotonic()
    status, error = failure(ask(unreachable, f"{name}-alone", streaming))
    assert (status, error["code"]) == CONNECTING[name]
    assert time.monotonic() - began < 2 * SLACK
    assert not upstream.requests


@both_shapes
def test_u3_never_without_tls(start_gateway, authority: Authority, port, streaming: bool) -> None:
    """Whatever happens to the handshake, nothing but TLS is ever sent."""
    sent: list[bytes] = []
    url = f"https://localhost:{port(lambda peer: sent.append(peer.recv(65536))).port}"
    more = {"timeouts": timeouts(SLACK), "ca_file": str(authority.ca_file)}
    gateway = start_gateway(config(agent("a", "p"), p=OPENAI.provider(url, **more)))
    status, error = failure(ask(gateway, "a", streaming))
    assert (status, error["code"]) == (502, "upstream_tls_error")
    assert sent and all(data[:2] == b"\x16\x03" for data in sent), sent


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_u3_old_tls_streamed(start_gateway, authority: Authority) -> None:
    context = authority.valid.server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1_1
    old = FakeUpstream(context)
    provider = OPENAI.provider(old.url, timeouts=timeouts(SLACK), ca_file=str(authority.ca_file))
    status, error = failure(stream(start_gateway(config(agent("a", "p"), p=provider)), "a"))
    assert (status, error["code"]) == (502, "upstream_tls_error")
    assert not old.requests
    old.stop()


# ---- U4 gone before the head


@both_shapes
@pytest.mark.parametrize("last", [up.close_before_head, up.reset_before_head], ids=["close", "reset"])
def test_u4_a_kept_connection_that_ends_with_the_request(
    gateway: Gateway, upstream: FakeUpstream, last: Script, streaming: bool
) -> None:
    """It may have been closing already: asked once more, on a connection of its own."""
    used: set[int] = set()

    def script(exchange: Exchange) -> None:
        is_kept = exchange.request.connection in used
        used.add(exchange.request.connection)
        (last if is_kept else says(OPENAI))(exchange)

    upstream.on(script)
    for _ in range(12):
        assert text_of(ask(gateway, "openai-plain", streaming)) == TEXT
    assert any(one.connection in used for one in upstream.requests) and len(upstream.requests) <= 24


REFUSAL = b'{"error":{"message":"too large for us","code":null}}'
EARLY = b"HTTP/1.1 413 Too Large\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n" % len(REFUSAL)


@both_shapes
@pytest.mark.parametrize("said", [b"", EARLY + REFUSAL], ids=["nothing", "early"])
def test_u4_a_server_that_takes_only_the_first_byte(start_gateway, port, said: bytes, streaming: bool) -> None:
    """The request has not been sent fully. What such a server says counts all the same."""

    def serve(peer: socket.socket) -> None:
        peer.recv(1)
        peer.sendall(said)
        if said:
            peer.shutdown(socket.SHUT_WR)
            while peer.recv(1 << 20):
                pass

    provider = OPENAI.provider(f"http://127.0.0.1:{port(serve).port}", timeouts=timeouts(SLACK))
    gateway = start_gateway(config(agent("a", "p"), p=provider))
    status, error = failure(ask(gateway, "a", streaming, messages="x" * (4 * MIB)))
    if said:
        assert status in (400, 413, 502) and "too large for us" in error["message"], (status, error)
    else:
        assert (status, error["code"]) == (502, "upstream_unavailable")


# ---- U5 cut


@each_decoder
@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
@pytest.mark.parametrize("how", ["fin", "reset"])
def test_u5_a_body_that_is_cut(gateway: Gateway, upstream: FakeUpstream, wire: Wire, framing: str, how: str) -> None:
    """JSON. With `close` the end looks like any other end, and only the JSON tells."""
    body = json.dumps(wire.answer).encode()

    def script(exchange: Exchange) -> None:
        exchange.head(200, [JSON], framing=framing, length=len(body))
        exchange.write(body[:-9])
        if how == "reset":
            exchange.sleep(0.02)
            exchange.reset()
        else:
            exchange.fin()

    upstream.on(script)
    status, error = failure(chat(gateway, f"{wire.name}-plain"))
    expected = (TRUNCATED, INVALID) if (framing, how) == ("close", "fin") else (TRUNCATED,)
    assert status == 502 and error["code"] in expected, error


@pytest.fixture(scope="module")
def remembering(start_module_gateway, module_upstream: FakeUpstream) -> Gateway:
    provider = OPENAI.provider(module_upstream.url, timeouts=timeouts(SLACK))
    return start_module_gateway(config(agent("server", "p", history="server"), p=provider))


@both_shapes
@pytest.mark.parametrize("then", ["fin", "reset", "hang"])
def test_u5_a_cut_answer_is_not_kept(
    remembering: Gateway, upstream: FakeUpstream, then: str, streaming: bool
) -> None:
    """Of the turn the question is stored, and the SDK's retry of it is the same turn."""
    model = Model(upstream)
    talk = Talk(remembering, str(uuid.uuid4()), "server")
    upstream.on(later(OPENAI, then=then))
    if streaming:
        seen = stream(remembering, "server", "hello", session_id=talk.session)
        assert seen.check_failed()["code"] == (TIMEOUT if then == "hang" else TRUNCATED) and seen.text == "Hé "
    else:
        answer = talk.ask("hello")
        assert answer.status == (504 if then == "hang" else 502), answer.body
    assert talk.tree() == "user: hello*"
    upstream.on(model.script)
    assert talk.say("hello", {"x-stainless-retry-count": "1"}) == "a1"
    assert talk.tree() == "user: hello\n  assistant: a1*"


# ---- U7, U8 time


def test_u7_heartbeats_until_the_silence_ends_it(start_gateway, upstream: FakeUpstream) -> None:
    """The keep-alive comment comes in the middle of an answer, too; then one error, and the provider is let go."""
    provider = OPENAI.provider(upstream.url, timeouts=timeouts(SLACK, idle_ms=800))
    gateway = start_gateway(config(agent("a", "p"), p=provider), env={"PARLEY_HEARTBEAT_MS": "100"})
    upstream.on(later(OPENAI, then="hang"))
    with Stream(gateway, chat_body("a", "x", stream=True)) as running:
        kinds = ["comment" if isinstance(event, str) else "error" if "error" in event else "chunk" for event in running]
    seen = running.seen
    assert seen.check_failed()["code"] == TIMEOUT and seen.text == "Hé "
    assert kinds[-1] == "error" and kinds[-4:-1] == ["comment"] * 3, kinds
    upstream.last.wait_closed()


def test_u8_a_trickle_of_json_is_an_answer(gateway: Gateway, upstream: FakeUpstream) -> None:
    letters = [BODY[:60], *[BODY[at : at + 1] for at in range(60, 85)], BODY[85:]]
    upstream.on(up.pieces(letters, JSON, pause_s=0.03 * SLACK))
    assert text_of(chat(gateway, "openai-plain")) == TEXT


@pytest.fixture(scope="module")
def hurried(start_module_gateway, module_upstream: FakeUpstream) -> Gateway:
    """0.6 s for a whole answer."""
    limits = timeouts(SLACK, total_ms=600)
    providers = {wire.name: wire.provider(module_upstream.url, timeouts=limits) for wire in DECODERS}
    return start_module_gateway(config(*[agent(wire.name, wire.name) for wire in DECODERS], **providers))


@pytest.mark.parametrize("where", ["json", "first-event", "later"])
def test_u8_a_trickle_inside_an_event_ends(hurried: Gateway, upstream: FakeUpstream, where: str) -> None:
    """A byte now and then keeps the idle deadline away, but not that of the whole answer. All dialects at once."""

    def script(exchange: Exchange) -> None:
        wire = next(one for one in DECODERS if one.target == exchange.request.target)
        before = begun(wire) if where == "later" else []
        whole = json.dumps(wire.answer).encode() if where == "json" else wire.events[len(before)]
        letters = [whole[at : at + 1] for at in range(60)]
        kind = JSON if where == "json" else wire.content_type
        up.pieces([*before, *letters], kind, pause_s=0.1 * SLACK)(exchange)

    def check(wire: Wire) -> None:
        got = ask(hurried, wire.name, where != "json")
        status, error = failure(got)
        assert (status, error["code"]) == (200 if where == "later" else 504, TIMEOUT), error
        assert where != "later" or got.text == "Hé "

    upstream.on(script)
    began = time.monotonic()
    with ThreadPoolExecutor(len(DECODERS)) as pool:
        list(pool.map(check, DECODERS))
    assert time.monotonic() - began < 3 * SLACK


# ---- U9, U11, U13 what cannot be read, after streaming has begun

HTML = b"<html><body>Welcome to nginx</body></html>\n"
LATER: dict[str, tuple[bytes, ...]] = {
    "no-json": (b"data: {not json}\n\n",),
    "cut-json": (b'data: {"id":"c1","choices":[{"ind\n\n',),
    "array": (b"data: [1]\n\n",),
    "number": (b"data: 5\n\n",),
    "deep": (b"data: " + b"[" * 50_000 + b"\n\n",),
    "endless-line": (b'data: {"x":"' + b"x" * (9 * MIB) + b'"}\n\n',),
}


@every_wire
@pytest.mark.parametrize("name", LATER)
def test_u9_u11_garbage_later(gateway: Gateway, upstream: FakeUpstream, wire: Wire, name: str) -> None:
    """Also U13. What follows it would have been a good end."""
    bad = [data.replace(b"data: ", b"").replace(b"\n\n", b"\n") if wire.ndjson else data for data in LATER[name]]
    rss = gateway.rss_bytes()
    upstream.on(later(wire, *bad, *wire.events[len(begun(wire)) :]))
    seen = stream(gateway, f"{wire.name}-plain")
    assert seen.check_failed()["code"] == INVALID and seen.text == "Hé "
    assert SLOW or gateway.rss_bytes() - rss < 64 * MIB


@every_wire
def test_u9_a_web_page_later(gateway: Gateway, upstream: FakeUpstream, wire: Wire) -> None:
    """What a proxy on the way says when its own server dies: then nothing follows."""
    upstream.on(later(wire, HTML))
    seen = stream(gateway, f"{wire.name}-plain")
    assert seen.check_failed()["code"] == (INVALID if wire.ndjson else TRUNCATED) and seen.text == "Hé "


@every_wire
def test_u9_bytes_that_eat_an_event(gateway: Gateway, upstream: FakeUpstream, wire: Wire) -> None:
    """No text, and no line end behind it: the event that follows is lost with it. A lost event is no whole answer."""
    rest = list(wire.events[len(begun(wire)) :])
    at = next(index for index, event in enumerate(rest) if "😀".encode() in event)
    event = rest[at] if wire.ndjson else rest[at][rest[at].index(b"data: ") :]
    upstream.on(later(wire, *rest[:at], bytes(range(128, 256)) + event, *rest[at + 1 :]))
    seen = stream(gateway, f"{wire.name}-plain")
    assert not seen.done or seen.text == TEXT, f"[DONE] behind {seen.text!r}"
    assert seen.done or seen.check_failed()["code"] == INVALID


@each_decoder
def test_u13_an_endless_line_before(gateway: Gateway, upstream: FakeUpstream, wire: Wire) -> None:
    lead = b'{"x":"' if wire.ndjson else b'data: {"x":"'
    rss = gateway.rss_bytes()
    upstream.on(up.pieces([lead + b"x" * (9 * MIB) + b'"}\n\n', *wire.events], wire.content_type))
    status, error = failure(stream(gateway, f"{wire.name}-plain"))
    assert (status, error["code"]) == (502, INVALID)
    assert SLOW or gateway.rss_bytes() - rss < 64 * MIB


# ---- U10 names of shapes

TYPES = ["text/event-stream", "application/x-ndjson", "application/json", "text/plain", "application/octet-stream", ""]


@both_shapes
@each_decoder
@pytest.mark.parametrize("content_type", TYPES, ids=[name or "none" for name in TYPES])
def test_u10_the_right_shape_by_any_name(
    gateway: Gateway, upstream: FakeUpstream, wire: Wire, content_type: str, streaming: bool
) -> None:
    """Taken, or 502: never half of it, and never the other name's error."""
    headers = [("Content-Type", content_type)] if content_type else []
    body = wire.stream_bytes if streaming else json.dumps(wire.answer).encode()
    upstream.on(up.reply(body, 200, headers, framing="chunked"))
    got = ask(gateway, f"{wire.name}-plain", streaming)
    answer = got.answer if isinstance(got, Streamed) else got
    if answer.status == 200:
        assert text_of(got) == TEXT
    else:
        assert (answer.status, answer.error["code"]) == (502, INVALID), answer.body
    usual = ("text/event-stream", "application/x-ndjson") if streaming else ("application/json",)
    assert answer.status == 200 or content_type not in (*usual, "", "text/plain", "application/octet-stream")


# ---- U15, U20, U21 heads


@pytest.mark.parametrize("name", HEADS)
def test_u15_u21_heads_streamed(gateway: Gateway, upstream: FakeUpstream, name: str) -> None:
    """The same answers to a request for a stream: what can be read is JSON."""
    data, expected = HEADS[name]

    def script(exchange: Exchange) -> None:
        exchange.keep = False
        exchange.raw(data)

    upstream.on(script)
    got = stream(gateway, "openai-plain")
    assert got.answer.status == expected, got.answer.body[:300]
    if expected == 200:
        assert got.check_complete().text == TEXT
    else:
        assert got.answer.error["code"] in (INVALID, TRUNCATED, "upstream_unavailable")
    upstream.on(says(OPENAI))
    assert text_of(stream(gateway, "openai-plain")) == TEXT


@pytest.mark.parametrize("where", ["middle", "end"])
def test_u15_a_trailer_of_70_kb_behind_a_stream(gateway: Gateway, upstream: FakeUpstream, where: str) -> None:
    events = begun(OPENAI) if where == "middle" else OPENAI.events

    def script(exchange: Exchange) -> None:
        exchange.head(200, [SSE])
        for event in events:
            exchange.write(event)
        exchange.raw(b"0\r\nX: " + b"v" * 70_000 + b"\r\n\r\n")

    upstream.on(script)
    seen = stream(gateway, "openai-plain")
    if where == "middle" or not seen.done:  # what came with it in one packet goes with it
        status, error = failure(seen)
        assert status in (200, 502) and error["code"] == INVALID
    else:
        assert seen.check_complete().text == TEXT, "whole before the trailer"
    for _ in range(4):
        upstream.on(says(OPENAI))
        assert text_of(stream(gateway, "openai-plain")) == TEXT, "what was left over spoils the next answer"


@both_shapes
@pytest.mark.parametrize("count", [16, 17])
def test_u21_as_many_interim_answers_as_are_skipped(
    gateway: Gateway, upstream: FakeUpstream, count: int, streaming: bool
) -> None:
    def script(exchange: Exchange) -> None:
        for number in range(count):
            exchange.raw(b"HTTP/1.1 103 Early Hints\r\nLink: </%d>\r\n\r\n" % number)
        says(OPENAI)(exchange)

    upstream.on(script)
    got = ask(gateway, "openai-plain", streaming)
    if count <= 16:
        assert text_of(got) == TEXT
    else:
        status, error = failure(got)
        assert (status, error["code"]) == (502, INVALID)


CODINGS = {
    "gzip": gzip.compress(b"".join(OPENAI.events)),
    "deflate": zlib.compress(b"".join(OPENAI.events)),
    "br": b"\x00\x01" * 50,
    "zstd": b"\x28\xb5\x2f\xfd" + bytes(50),
    "gzip, gzip": gzip.compress(gzip.compress(b"".join(OPENAI.events))),
    "x-unknown": b"".join(OPENAI.events),
    "bomb": gzip.compress(b": x\n\n" * (4 * MIB)),
}


@both_shapes
@pytest.mark.parametrize("coding", CODINGS)
def test_u20_codings(gateway: Gateway, upstream: FakeUpstream, coding: str, streaming: bool) -> None:
    name = "gzip" if coding == "bomb" else coding
    headers = [SSE if streaming else JSON, ("Content-Encoding", name)]
    rss = gateway.rss_bytes()
    upstream.on(up.reply(CODINGS[coding], 200, headers, framing="chunked"))
    status, error = failure(ask(gateway, "openai-plain", streaming))
    assert (status, error["code"]) == (502, INVALID)
    assert SLOW or gateway.rss_bytes() - rss < 16 * MIB


# ---- U16 who is told


@both_shapes
@pytest.mark.parametrize("status", [401, 403])
def test_u16_the_operator_is_told(gateway: Gateway, upstream: FakeUpstream, status: int, streaming: bool) -> None:
    """An error in the log, and a count: to the client it is no 401 of its own."""
    upstream.on(up.json_reply({"error": {"message": "Incorrect API key"}}, status))
    got = ask(gateway, "openai-plain", streaming, headers={"x-request-id": f"req-u16-{status}-{streaming}"})
    answer = got.answer if streaming else got
    assert (answer.status, answer.error["code"]) == (502, "upstream_auth")
    assert answer.header("www-authenticate") is None and answer.header("x-should-retry") == "false"
    told = gateway.wait_log(lambda log: log.get("request_id") == f"req-u16-{status}-{streaming}")
    assert told and told["level"] == "error" and told["error"] == "upstream_auth", told
    page = call(gateway, "GET", "/metrics").body.decode()
    found = [row for row in page.splitlines() if 'provider="openai-plain"' in row and 'outcome="4xx"' in row]
    assert found and float(found[0].rsplit(" ", 1)[1]) >= 1


# ---- U22 no end


def endless(wire: Wire, bytes_max: int) -> Script:
    """A stream of `bytes_max` that is not at its end then."""
    text = "x" * (MIB // 2)
    if wire.ndjson:
        piece = line({"message": {"role": "assistant", "content": text}, "done": False})
    elif wire is RESPONSES:
        said = {"item_id": "msg_1", "output_index": 0, "content_index": 0, "delta": text}
        piece = sse({"type": "response.output_text.delta", "sequence_number": 4, **said}, "response.output_text.delta")
    else:
        piece = sse(chunk({"content": text}))

    def script(exchange: Exchange) -> None:
        exchange.head(200, [wire.content_type])
        exchange.write(b"".join(begun(wire)))
        while exchange.body_bytes_sent < bytes_max:
            exchange.write(piece)
        exchange.hang()

    return script


@pytest.mark.skipif(SLOW, reason="256 MiB through a sanitizer")
@each_decoder
def test_u22_a_stream_that_is_held_has_a_bound(gateway: Gateway, upstream: FakeUpstream, wire: Wire) -> None:
    """The client wants it in one piece, so all of it is held, in whichever shape it comes: 256 MiB at most. In one
    piece: test_upstream_faults."""
    upstream.on(endless(wire, 320 * MIB))
    rss = gateway.rss_bytes()
    status, error = failure(chat(gateway, f"{wire.name}-plain", timeout=30))
    assert (status, error["code"]) == (502, INVALID), error
    upstream.last.wait_closed()
    assert gateway.rss_bytes() - rss < 320 * MIB


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("one")


CHILD = """
import os, sys
from pathlib import Path
sys.path.insert(0, {harness!r})
import mcp_server as scripted

def flood(call):
    for _ in range(call.arguments["mib"]):
        os.write(call.arguments["to"], b"x" * 1048575 + (b"\\n" if call.arguments["lines"] else b"x"))
    os.write(call.arguments["to"], b"\\n")
    return scripted._text("dry again")

def deaf(call):
    scripted.signal.signal(scripted.signal.SIGTERM, scripted.signal.SIG_IGN)
    scripted._hang(call)

scripted.TOOLS["flood"] = ("Floods.", {{"type": "object"}})
scripted.TOOLS["deaf"] = ("Hangs, and takes no hint.", {{"type": "object"}})
scripted.BEHAVIOUR.update(flood=flood, deaf=deaf)
scripted.serve_stdio(Path(sys.argv[1]))
"""


def flooding(folder: Path, **more: object) -> dict:
    """An entry of mcp.json: the scripted server with tools that flood what they write to."""
    program = folder / "child.py"
    program.write_text(CHILD.format(harness=str(Path(up.__file__).parent)))
    return {"command": sys.executable, "args": ["-I", "-S", str(program), str(folder)], **more}


@pytest.fixture(scope="module")
def tools(start_module_gateway, module_upstream: FakeUpstream, folder: Path) -> Gateway:
    mcp = {"one": flooding(folder), "hasty": flooding(folder, idle_timeout_ms=int(400 * SLACK))}
    agents = (agent("relay", "p"), agent("last", "refused", fallbacks=["relay"]))
    refused = OPENAI.provider("http://127.0.0.1:9")
    return start_module_gateway(config(*agents, p=OPENAI.provider(module_upstream.url), refused=refused), mcp=mcp)


def told_of(upstream: FakeUpstream) -> list[str]:
    return [said for _, _, said in heard(OPENAI, upstream.last.request.json())]


@both_shapes
def test_u22_a_model_that_calls_for_ever(tools: Gateway, upstream: FakeUpstream, folder: Path, streaming: bool) -> None:
    """Ten rounds, then one without tools; a model that asks all the same has said its last."""
    before = len(records(folder, "message", method="tools/call"))
    upstream.on(asks_for(OPENAI, Asked("c1", "one__echo", {"text": "again"}), say="Once more. "))
    got = ask(tools, "relay", streaming)
    assert "Once more." in text_of(got)
    finish = got.finish if streaming else got.json()["choices"][0]["finish_reason"]
    assert finish == "stop" and len(upstream.requests) == 11
    assert len(records(folder, "message", method="tools/call")) - before == 10


@pytest.mark.parametrize("where", ["json", "stream", "later"])
def test_u22_a_thousand_calls_at_once(tools: Gateway, upstream: FakeUpstream, folder: Path, where: str) -> None:
    """More than any client reads: refused as a whole, and not one of them is made."""
    before = len(records(folder, "message", method="tools/call"))
    asked = [Asked(f"c{n}", "one__echo", {"text": str(n)}) for n in range(1000)]
    upstream.on(asks_for(OPENAI, *asked, say="So. " if where == "later" else ""))
    status, error = failure(ask(tools, "relay", where != "json"))
    assert (status, error["code"]) == (200 if where == "later" else 502, INVALID), error
    assert len(records(folder, "message", method="tools/call")) == before


@both_shapes
def test_u22_as_many_calls_as_are_read(tools: Gateway, upstream: FakeUpstream, folder: Path, streaming: bool) -> None:
    """128 in one answer: 64 are made, each of the others is told why not."""
    before = len(records(folder, "message", method="tools/call"))
    upstream.queue(asks_for(OPENAI, *[Asked(f"c{n}", "one__echo", {"text": str(n)}) for n in range(128)]))
    upstream.on(says(OPENAI))
    assert text_of(ask(tools, "relay", streaming)) == TEXT
    told = told_of(upstream)
    assert told[:64] == [str(n) for n in range(64)] and all("64" in one for one in told[64:]) and len(told) == 128
    assert len(records(folder, "message", method="tools/call")) - before == 64


# ---- U23 loose JSON

_CHOICE = {"index": 0, "message": {"role": "assistant", "content": "x"}, "finish_reason": "stop"}
LOOSE_JSON: dict[str, tuple[dict, str]] = {
    "bare": ({"choices": [{"message": {"content": "x"}}]}, "x"),
    "no-role": ({"choices": [{**_CHOICE, "message": {"content": "x"}}]}, "x"),
    "null-finish": ({"choices": [{**_CHOICE, "finish_reason": None}]}, "x"),
    "unknown-finish": ({"choices": [{**_CHOICE, "finish_reason": "eos_token"}]}, "x"),
    "no-index": ({"choices": [{key: value for key, value in _CHOICE.items() if key != "index"}]}, "x"),
    "parts": ({"choices": [{**_CHOICE, "message": {"content": [{"type": "text", "text": "x"}]}}]}, "x"),
    "null-usage": ({"choices": [_CHOICE], "usage": None, "id": None, "created": "1", "model": None}, "x"),
    "extra": ({"choices": [{**_CHOICE, "x": [1]}], "event": {"type": "execute"}, "error": None}, "x"),
}


@both_shapes
@pytest.mark.parametrize("name", LOOSE_JSON)
def test_u23_loose_json_comes_out_strict(
    gateway: Gateway, upstream: FakeUpstream, name: str, streaming: bool
) -> None:
    value, text = LOOSE_JSON[name]
    upstream.on(up.json_reply(value))
    got = ask(gateway, "openai-plain", streaming)
    assert text_of(got) == text
    if not streaming:
        (choice,) = got.json()["choices"]
        assert (choice["index"], choice["finish_reason"], choice["message"]["role"]) == (0, "stop", "assistant")
        assert "execute" not in got.body.decode()


LOOSE_CALLS: dict[str, list[list[dict]]] = {
    "second-first": [[{"index": 1, "id": "b"}], [{"index": 0, "id": "a"}]],
    "all-index-0": [[{"index": 0, "id": "a"}], [{"index": 0, "id": "b"}]],
    "both-in-one": [[{"index": 1, "id": "b"}, {"index": 0, "id": "a"}]],
}


@pytest.mark.parametrize("name", LOOSE_CALLS)
def test_u23_calls_in_any_order(gateway: Gateway, upstream: FakeUpstream, name: str) -> None:
    events = [sse(chunk({"role": "assistant", "content": None}))]
    for delta in LOOSE_CALLS[name]:
        made = [{**one, "type": "function", "function": {"name": one["id"], "arguments": "{}"}} for one in delta]
        events.append(sse(chunk({"tool_calls": made})))
    upstream.on(up.pieces([*events, sse(chunk({}, "tool_calls")), DONE]))
    offered = [{"type": "function", "function": {"name": label}} for label in "ab"]
    seen = stream(gateway, "openai-plain", tools=offered).check_complete()
    assert sorted((one["id"], one["name"], one["arguments"]) for one in seen.tool_calls) == [
        ("a", "a", "{}"),
        ("b", "b", "{}"),
    ]


# ---- U24 tool programs

FAULTY = {  # tool, arguments, what the model is told
    "crash": ("one__die", {}, "The tool server 'one' gave no result, and may have done this all the same. The program"),
    "hang": ("hasty__hang", {}, "did not answer tools/call"),
    "deaf": ("hasty__deaf", {}, "did not answer tools/call"),
    "noise": ("one__noisy", {"text": "on stderr"}, "said"),
    "1-gb-line": ("one__flood", {"to": 1, "mib": 64 if SLOW else 1024, "lines": False}, "dry again"),
    "lines-of-1-mb": ("one__flood", {"to": 1, "mib": 64, "lines": True}, "dry again"),
    "stderr-line": ("one__flood", {"to": 2, "mib": 64, "lines": False}, "dry again"),
    "stderr-lines": ("one__flood", {"to": 2, "mib": 64, "lines": True}, "dry again"),
}


@both_shapes
@pytest.mark.parametrize("name", FAULTY)
def test_u24_faults_of_a_program(tools: Gateway, upstream: FakeUpstream, name: str, streaming: bool) -> None:
    """Told to the model, which goes on; nothing of it stays in memory, and nothing of the program stays at all."""
    tool, arguments, expected = FAULTY[name]
    echo = f"{tool.split('__')[0]}__echo"
    upstream.queue(asks_for(OPENAI, Asked("c0", echo, {"text": "x"})))
    upstream.on(says(OPENAI))
    ask(tools, "relay", False)
    rss, fds = tools.rss_bytes(), tools.open_fds()
    upstream.queue(asks_for(OPENAI, Asked("c1", tool, arguments), say="So far. "))
    got = ask(tools, "relay", streaming, timeout=30 * SLACK)
    assert text_of(got) == "So far. " + TEXT
    (told,) = told_of(upstream)
    assert expected in told, told
    assert SLOW or tools.rss_bytes() - rss < 48 * MIB
    upstream.queue(asks_for(OPENAI, Asked("c2", echo, {"text": "still there"})))
    ask(tools, "relay", False)
    assert told_of(upstream) == ["still there"]
    wait_until(lambda: tools.open_fds() <= fds + 2, what="the descriptors of before")
    wait_until(lambda: not _zombies(tools.pid), what="no zombie")


def _zombies(pid: int) -> list[int]:
    return [one for one in descendants(pid) if " Z " in _stat(one)]


def _stat(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1][:3]
    except (FileNotFoundError, ProcessLookupError):
        return ""


# ---- the client leaves

LIMIT_S = 0.1 * SLACK
both_ends = pytest.mark.parametrize("how", ["fin", "reset"])


def leave(connection: Connection, how: str = "fin") -> float:
    """When it was."""
    at = time.monotonic()
    connection.reset() if how == "reset" else connection.close()
    return at


def asking(gateway: Gateway, target: str, body: dict, headers: dict[str, str] | None = None, **options) -> Connection:
    connection = connect(gateway, **options)
    connection.send(request_bytes(gateway, "POST", target, body, headers))
    return connection


def check_left(exchange: Exchange, left_at: float) -> None:
    took = exchange.wait_closed(5 * SLACK) - left_at
    assert took <= LIMIT_S, f"{took * 1000:.0f} ms"


def half_a_body(exchange: Exchange) -> None:
    exchange.head(200, [JSON], framing="length", length=1000)
    exchange.write(b'{"object":"list","data":[')
    exchange.reached()
    exchange.hang()


@every_wire
@both_ends
@pytest.mark.parametrize("script", [up.hang_before_head, half_a_body], ids=["before-head", "body"])
def test_gone_embeddings(gateway: Gateway, upstream: FakeUpstream, wire: Wire, script: Script, how: str) -> None:
    upstream.on(script)
    connection = asking(gateway, "/v1/embeddings", {"model": f"{wire.name}-plain", "input": "x"})
    exchange = upstream.wait_request()
    exchange.wait_reached()
    check_left(exchange, leave(connection, how))


def hang_later(exchange: Exchange) -> None:
    (later(OPENAI, then="hang") if exchange.request.json().get("stream") else up.hang_before_head)(exchange)


@both_shapes
@both_ends
@pytest.mark.parametrize("round_", ["fallback", "second-round"])
def test_gone_in_a_later_call(
    tools: Gateway, upstream: FakeUpstream, round_: str, how: str, streaming: bool
) -> None:
    """Of the candidate that stands in, and of the model that has heard what its tool said."""
    if round_ == "second-round":
        upstream.queue(asks_for(OPENAI, Asked("c1", "one__echo", {"text": "x"})))
    upstream.on(hang_later)
    connection = asking(tools, "/v1/chat/completions", chat_body("last", "x", stream=streaming))
    exchange = upstream.wait_request(2 if round_ == "second-round" else 1)
    exchange.wait_reached()
    check_left(exchange, leave(connection, how))


@both_shapes
def test_gone_from_a_conversation(remembering: Gateway, upstream: FakeUpstream, streaming: bool) -> None:
    """One that is kept, asked for with an Idempotency-Key: neither keeps the call alive."""
    upstream.on(hang_later)
    session = str(uuid.uuid4())
    body = chat_body("server", "hello", session_id=session, stream=streaming)
    connection = asking(remembering, "/v1/chat/completions", body, {"Idempotency-Key": session})
    exchange = upstream.wait_request()
    exchange.wait_reached()
    check_left(exchange, leave(connection))
    wait_until(lambda: call(remembering, "GET", f"/conversations/{session}").status == 200, what="it is stored")
    assert Talk(remembering, session).tree() == "user: hello*"


@pytest.fixture(scope="module")
def secure(start_module_gateway, module_upstream: FakeUpstream, authority: Authority) -> Gateway:
    files = {"PARLEY_TLS_CERT": str(authority.valid.cert), "PARLEY_TLS_KEY": str(authority.valid.key)}
    return start_module_gateway(config(agent("a", "p"), p=OPENAI.provider(module_upstream.url)), env=files)


@both_shapes
@both_ends
def test_gone_over_tls(
    secure: Gateway, upstream: FakeUpstream, authority: Authority, streaming: bool, how: str
) -> None:
    """Our own listener speaks TLS; gone without a close_notify, as most clients go."""
    upstream.on(hang_later)
    context = authority.client_context()
    connection = asking(secure, "/v1/chat/completions", chat_body("a", "x", stream=streaming), tls=context)
    exchange = upstream.wait_request()
    exchange.wait_reached()
    check_left(exchange, leave(connection, how))


@both_shapes
def test_gone_in_a_handshake(start_gateway, port, streaming: bool) -> None:
    """The TCP connect itself: test_cancel."""
    came, ended = threading.Event(), threading.Event()

    def serve(peer: socket.socket) -> None:
        peer.recv(65536)
        came.set()
        peer.recv(65536)
        ended.set()

    url = f"https://localhost:{port(serve).port}"
    gateway = start_gateway(config(agent("a", "p"), p=OPENAI.provider(url)))
    connection = asking(gateway, "/v1/chat/completions", chat_body("a", "x", stream=streaming))
    assert came.wait(5 * SLACK)
    connection.close()
    assert ended.wait(LIMIT_S)


@both_shapes
def test_gone_while_a_name_is_looked_up(named: Gateway, streaming: bool) -> None:
    connection = asking(named, "/v1/chat/completions", chat_body("left", "x", stream=streaming))
    wait_until(lambda: under_way(named) == 1, what="the request is under way")
    connection.close()
    wait_until(lambda: under_way(named) == 0, timeout=0.1, what="it is over")


def under_way(gateway: Gateway) -> int:
    page = call(gateway, "GET", "/metrics").body.decode()
    return int(next(row for row in page.splitlines() if row.startswith("parley_chat_requests ")).split()[1])


ASK_MODEL = {"name": "ask_model", "inputSchema": {"type": "object", "properties": {"request": {"type": "object"}}}}


@pytest.fixture(scope="module")
def servers(
    start_module_gateway, module_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[tuple[Gateway, dict[str, Path]]]:
    """A server of each era by each way, and the folder of each."""
    labels = [f"{way}-{era}" for way in ("stdio", "http") for era in ("legacy", "modern")]
    folders = {label: tmp_path_factory.mktemp(label) for label in labels}
    running, mcp = [], {}
    for label, place in folders.items():
        script = {"era": label.split("-")[1], "extra": [ASK_MODEL]}
        if label.startswith("stdio"):
            mcp[label] = stdio(place, script, sampling="model")
        else:
            write_script(place, script)
            running.append(HttpServer(place))
            mcp[label] = http(running[-1], sampling="model")
    model = agent("model", "p", allowed_mcp_servers={})
    provider = OPENAI.provider(module_upstream.url)
    yield start_module_gateway(config(tool_agent(), model, p=provider), mcp=mcp), folders
    for server in running:
        server.stop()


@both_shapes
@pytest.mark.parametrize("label", ["stdio-legacy", "stdio-modern", "http-legacy", "http-modern"])
def test_gone_in_a_tool_call(servers: tuple[Gateway, dict[str, Path]], label: str, streaming: bool) -> None:
    """The server is told; in the modern era over HTTP, by the end of the stream."""
    gateway, folders = servers
    chat(gateway, "demo", calls((f"{label}__echo", {"text": "x"})))
    before = len(records(folders[label], "hanging"))
    body = chat_body("demo", calls((f"{label}__hang", {}), (f"{label}__hang", {})), stream=streaming)
    connection = asking(gateway, "/v1/chat/completions", body)
    wait_record(folders[label], "hanging", count=before + 2)
    left_at = leave(connection)
    took = wait_record(folders[label], "cancelled", count=before + 2)["at"] - left_at
    assert took <= LIMIT_S, f"{took * 1000:.0f} ms"


@both_shapes
@both_ends
@pytest.mark.parametrize("label", ["stdio-modern", "http-modern"])
def test_gone_while_a_tool_asks_a_model(
    servers: tuple[Gateway, dict[str, Path]], upstream: FakeUpstream, label: str, how: str, streaming: bool
) -> None:
    """Sampling: the model that answers the tool is somebody's call, too."""
    question = {"messages": [{"role": "user", "content": {"type": "text", "text": "Hello?"}}], "maxTokens": 50}
    upstream.on(up.hang_before_head)
    body = chat_body("demo", calls((f"{label}__ask_model", {"request": question})), stream=streaming)
    connection = asking(servers[0], "/v1/chat/completions", body)
    exchange = upstream.wait_request()
    exchange.wait_reached()
    check_left(exchange, leave(connection, how))


@pytest.mark.parametrize("how", ["leaves", "deadline"])
def test_gone_while_another_waits_for_the_same_list(start_gateway, tmp_path: Path, how: str) -> None:
    """Of two that wait for a server's list of tools the second goes, or has no more time. The first still gets it."""
    script = {"delay": {"tools/list": 0.5 if how == "leaves" else 1.3}}
    agents = (tool_agent(), tool_agent(agent_id="hurried", limits={"timeout_s": 1}))
    gateway = start_gateway(with_tools(*agents), mcp={"one": stdio(tmp_path / "one", script)})
    first = asking(gateway, "/v1/chat/completions", chat_body("demo", "hello"), timeout=5 * SLACK)
    wait_record(tmp_path / "one", "message", method="tools/list")
    second = asking(gateway, "/v1/chat/completions", chat_body("hurried", "hello"))
    wait_until(lambda: under_way(gateway) == 2, what="both are under way")
    if how == "leaves":
        second.close()
    try:
        assert first.read_answer().status == 200
        assert how == "leaves" or (answer := second.read_answer()).status == 504 and answer.error["code"] == EXPIRED
    except TimeoutError:
        gateway.kill()  # it does not stop by itself
        pytest.fail("its servers are stuck")
    assert "x" in chat(gateway, "demo", calls(("one__echo", {"text": "x"}))).body.decode()


def test_gone_from_the_queue_of_a_server(start_gateway, tmp_path: Path) -> None:
    """A call that waits for its turn is never made once nobody waits for it."""
    gateway = start_gateway(with_tools(tool_agent()), mcp={"one": stdio(tmp_path / "one", calls_max=1)})
    first = asking(gateway, "/v1/chat/completions", chat_body("demo", calls(("one__hang", {})), stream=True))
    wait_record(tmp_path / "one", "hanging")
    queued = asking(gateway, "/v1/chat/completions", chat_body("demo", calls(("one__add", {"a": 1, "b": 2}))))
    wait_until(lambda: under_way(gateway) == 2, what="the second is there")
    queued.close()
    wait_until(lambda: under_way(gateway) == 1, timeout=0.1, what="it is gone")
    first.close()
    assert "x" in chat(gateway, "demo", calls(("one__echo", {"text": "x"}))).body.decode()
    asked_for = [one["params"]["name"] for one in records(tmp_path / "one", "message", method="tools/call")]
    assert asked_for == ["hang", "echo"]


def test_nothing_is_left_over(gateway: Gateway, tools: Gateway, upstream: FakeUpstream) -> None:
    """After all of this file, no connection is stuck."""
    upstream.on(says(OPENAI))
    for one, model in ((gateway, "openai-plain"), (tools, "relay")):
        assert chat(one, model).status == 200
        wait_until(lambda one=one: one.open_fds() < 100, what="fewer than 100 descriptors")
