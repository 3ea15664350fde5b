"""harness/fault_proxy.py before a provider, an MCP server over HTTP and Postgres: whatever the network does to one of
them, the gateway says exactly what is wrong, in bounded time, serves everybody else meanwhile, and serves again within
1 s after it is over (with Postgres 2 s: figure F5 of facts/reliability.md). Cut into single bytes, an answer is the
same.

Bad certificates and names that do not resolve: test_upstream_faults.py, test_fault_table.py.
"""

from __future__ import annotations

import contextlib
import json
import signal
import subprocess
import time
import uuid
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from harness.api import Streamed, call, chat
from harness.configs import agent, config, demo_agent, timeouts
from harness.fault_proxy import FaultProxy
from harness.gateway import SLACK, SLOW, Gateway, wait_until
from harness.mcp import calls, http, tool_agent, wait_record, with_tools, write_script
from harness.mcp_http import HttpServer
from harness.postgres import Postgres
from harness.rawhttp import Answer
from harness.relay import ask, both_shapes, failure
from harness.talk import Talk
from harness.upstream import Exchange, FakeUpstream
from harness.wires import BY_NAME, TEXT, WIRES, Wire

OPENAI = BY_NAME["openai"]
QUICK = demo_agent(resources=[], allowed_mcp_servers={}, model_settings={"demo_delay_ms": 0})
INVALID, TRUNCATED, TIMEOUT = "upstream_invalid_response", "upstream_truncated", "upstream_timeout"
GONE = "upstream_unavailable"


def check_others(gateway: Gateway, model: str = "demo") -> None:
    """Who has nothing to do with what is broken."""
    answer = chat(gateway, model)
    assert answer.status == 200 and answer.elapsed_s < 0.5 * SLACK, answer.elapsed_s
    assert call(gateway, "GET", "/livez").elapsed_s < 0.2 * SLACK


def in_time(what: Callable[[], object], limit_s: float) -> object:
    began = time.monotonic()
    got = what()
    took = time.monotonic() - began
    assert took < limit_s * SLACK, f"{took:.2f} s"
    return got


# ---- a provider

JSON_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: application/json\r\nContent-Length: %d\r\n\r\n"
SSE_HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nTransfer-Encoding: chunked\r\n\r\n"


def bytes_of(wire: Wire, streaming: bool) -> bytes:
    """What the provider sends, to the byte."""
    if not streaming:
        body = json.dumps(wire.answer).encode()
        return JSON_HEAD % len(body) + body
    head = SSE_HEAD.replace(b"text/event-stream", wire.content_type[1].encode())
    return head + b"".join(b"%x\r\n%s\r\n" % (len(event), event) for event in wire.events) + b"0\r\n\r\n"


def answering(wire: Wire):
    def script(exchange: Exchange) -> None:
        streaming = bool(exchange.request.json().get("stream", wire.ndjson))
        data = bytes_of(wire, streaming)
        if streaming and wire is OPENAI:  # what is shown to the client must not come with what is bad
            exchange.raw(data[: MIDDLE[True]])
            exchange.sleep(0.01 * SLACK)
            data = data[MIDDLE[True] :]
        exchange.raw(data)

    return script


@pytest.fixture(scope="module")
def proxy(module_upstream: FakeUpstream) -> Iterator[FaultProxy]:
    proxy = FaultProxy(module_upstream.port)
    yield proxy
    proxy.close()


@pytest.fixture(scope="module")
def gateway(start_module_gateway, proxy: FaultProxy) -> Gateway:
    limits = timeouts(SLACK, first_byte_ms=300, idle_ms=300, total_ms=600)
    agents = [agent(wire.name, wire.name) for wire in WIRES]
    providers = {wire.name: wire.provider(proxy.url, timeouts=limits) for wire in WIRES}
    return start_module_gateway(config(QUICK, *agents, **providers))


def plain(got: Streamed | Answer) -> object:
    """All of an answer but what is made anew each time."""
    if isinstance(got, Streamed):
        return [{**chunk, "id": 0, "created": 0} for chunk in got.check_complete().chunks]
    return {**got.json(), "id": 0, "created": 0}


def middle(streaming: bool) -> int:
    """Of a stream: where the chunk with "Hé " ends and the size of the next one begins."""
    data = bytes_of(OPENAI, streaming)
    return data.index(b"\r\n", data.index(b"u00e9")) + 2 if streaming else data.index(b"u00e9")


MIDDLE = {streaming: middle(streaming) for streaming in (False, True)}
SAME = (200, None)
# mode, when (head: in the head; body: in its middle), how; and status and code of JSON, and of a stream
PROVIDER = {
    "delay": ("delay", "", {"seconds": 0.1}, SAME, SAME),
    "delay-too-long": ("delay", "", {"seconds": 60}, (504, TIMEOUT), (504, TIMEOUT)),
    "silent": ("silent", "", {}, (504, TIMEOUT), (504, TIMEOUT)),
    "silent-head": ("silent", "head", {}, (504, TIMEOUT), (504, TIMEOUT)),
    "silent-body": ("silent", "body", {}, (504, TIMEOUT), (200, TIMEOUT)),
    "mute": ("mute", "", {}, (504, TIMEOUT), (504, TIMEOUT)),
    "refuse": ("refuse", "", {}, (502, GONE), (502, GONE)),
    "reset": ("reset", "", {}, (502, GONE), (502, GONE)),
    "reset-head": ("reset", "head", {}, (502, GONE), (502, GONE)),
    "reset-body": ("reset", "body", {}, (502, TRUNCATED), (200, TRUNCATED)),
    "truncate": ("truncate", "", {}, (502, GONE), (502, GONE)),
    "truncate-head": ("truncate", "head", {}, (502, GONE), (502, GONE)),
    "truncate-body": ("truncate", "body", {}, (502, TRUNCATED), (200, TRUNCATED)),
    "trickle-head": ("trickle", "head", {"seconds": 0.1}, (504, TIMEOUT), (504, TIMEOUT)),
    "trickle-body": ("trickle", "body", {"seconds": 0.1}, (504, TIMEOUT), (200, TIMEOUT)),
    "slice": ("slice", "", {}, SAME, SAME),
    "corrupt-head": ("corrupt", "head", {}, (502, INVALID), (502, INVALID)),
    "corrupt-body": ("corrupt", "body", {}, (502, INVALID), (200, INVALID)),
}


@both_shapes
@pytest.mark.parametrize("name", PROVIDER)
def test_provider(gateway: Gateway, proxy: FaultProxy, upstream: FakeUpstream, name: str, streaming: bool) -> None:
    mode, where, how, *expected = PROVIDER[name]
    upstream.on(answering(OPENAI))
    usual = plain(ask(gateway, "openai", streaming))
    places = {"": 0, "head": 5, "body": MIDDLE[streaming]}
    if mode == "corrupt" and not streaming:  # where it cannot be taken for text
        places["body"] = bytes_of(OPENAI, False).index(b'{"id"')
    how = {key: value * SLACK for key, value in how.items()}
    with proxy.failing(mode, after=places[where], **how), ThreadPoolExecutor(1) as pool:
        other = pool.submit(check_others, gateway)
        got = in_time(lambda: ask(gateway, "openai", streaming), 2.5)
        other.result()
        status, code = expected[streaming]
        if code is None:
            assert plain(got) == usual
        else:
            told, error = failure(got)
            assert (told, error["code"]) == (status, code), error
            assert status != 200 or got.text == "Hé "
    wait_until(lambda: ask(gateway, "openai", False).status == 200, timeout=1.0, what="it serves again")
    assert plain(ask(gateway, "openai", streaming)) == usual


@both_shapes
@pytest.mark.parametrize("wire", WIRES, ids=[wire.name for wire in WIRES])
def test_provider_sliced(
    gateway: Gateway, proxy: FaultProxy, upstream: FakeUpstream, wire: Wire, streaming: bool
) -> None:
    upstream.on(answering(wire))
    usual = plain(ask(gateway, wire.name, streaming))
    with proxy.failing("slice"):
        assert plain(ask(gateway, wire.name, streaming)) == usual


@both_shapes
def test_provider_with_a_corrupt_byte_anywhere(
    gateway: Gateway, proxy: FaultProxy, upstream: FakeUpstream, streaming: bool
) -> None:
    """HTTP has no checksum, so a changed letter of the text is a changed letter. Everything else is told, and never
    hangs, and never spoils the answer behind it."""
    upstream.on(answering(OPENAI))
    whole = bytes_of(OPENAI, streaming)
    flips = (0xFF, 0x01, 0x20)
    seen: set[tuple[int, str | None]] = set()
    for at in range(0, len(whole), 23 if SLOW else 7):
        proxy.set("corrupt", after=at, flip=flips[at % len(flips)])
        got = in_time(lambda: ask(gateway, "openai", streaming), 2.5)
        answer = got.answer if isinstance(got, Streamed) else got
        if answer.status == 200 and not (streaming and got.error):
            assert got.done and not got.truncated if streaming else got.json()["choices"]
            seen.add((200, None))
            continue
        status, error = failure(got)
        seen.add((status, error["code"]))
    proxy.set("pass")
    known = {(200, None), (502, INVALID), (502, TRUNCATED), (502, GONE), (504, TIMEOUT), (502, "upstream_error")}
    assert seen - known <= ({(200, INVALID), (200, TRUNCATED), (200, TIMEOUT)} if streaming else set()), seen
    assert {(200, None), (502, INVALID)} <= seen, "some of each"
    assert ask(gateway, "openai", False).json()["choices"][0]["message"]["content"] == TEXT


def test_provider_that_fails_again_and_again(gateway: Gateway, proxy: FaultProxy, upstream: FakeUpstream) -> None:
    """Whatever it learns from the faults, it forgets in time."""
    upstream.on(answering(OPENAI))
    for mode in ("refuse", "reset", "truncate", "corrupt") * 3:
        with proxy.failing(mode):
            assert chat(gateway, "openai").status == 502
        wait_until(lambda: chat(gateway, "openai").status == 200, timeout=1.0, what=f"it serves again after {mode}")


# ---- a tool server over HTTP


class Tools:
    """The scripted server behind a proxy, and a gateway that uses it."""

    def __init__(self, start, folder: Path, era: str = "legacy", **options) -> None:
        write_script(folder, {"era": era})
        self.server = HttpServer(folder)
        self.proxy = FaultProxy(self.server.port)
        limits = {"idle_timeout_ms": 400, "timeout_ms": 1500, "connect_timeout_ms": 400, "start_timeout_ms": 600}
        limits = {name: int(value * SLACK) for name, value in limits.items()}
        entry = {**http(self.server), "url": f"{self.proxy.url}/mcp", **limits}
        self.gateway: Gateway = start(
            with_tools(tool_agent(), {**QUICK, "agent_id": "other"}), mcp={"web": entry}, **options
        )

    def told(self, streaming: bool = True) -> str:
        """What the model hears of one call; it repeats that."""
        question = calls(("web__echo", {"text": "x" * 300}))
        got = ask(self.gateway, "demo", streaming, messages=question, timeout=4 * SLACK)
        text = got.check_complete().text if streaming else got.json()["choices"][0]["message"]["content"]
        assert "answered:\n\n```\n" in text, text
        return text.split("answered:\n\n```\n")[1].split("\n```")[0]

    def close(self) -> None:
        self.proxy.close()
        self.server.stop()


@pytest.fixture(scope="module")
def tools(start_module_gateway, tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[str, Tools]]:
    """By era."""
    tools = {era: Tools(start_module_gateway, tmp_path_factory.mktemp(era), era) for era in ("legacy", "modern")}
    yield tools
    for one in tools.values():
        one.close()


# mode, how, what the model is told (None = what it is told without)
TOOLS = {
    "delay": ("delay", {"seconds": 0.1}, None),
    "silent": ("silent", {}, "did not answer tools/call within"),
    "silent-later": ("silent", {"after": 200}, "did not answer tools/call within"),
    "refuse": ("refuse", {}, "cannot be reached"),
    "reset": ("reset", {}, "cannot be reached"),
    "reset-later": ("reset", {"after": 200}, "connection was lost"),
    "truncate": ("truncate", {}, "cannot be reached"),
    "truncate-later": ("truncate", {"after": 200}, "connection was lost"),
    "trickle": ("trickle", {"after": 100, "seconds": 0.1}, "did not answer tools/call within"),
    "slice": ("slice", {}, None),
    "corrupt": ("corrupt", {}, "not valid HTTP"),
}
# A modern server is asked for its list at each request; what comes of silence there: test_tools_that_cannot_be_listed.
MODERN = ("delay", "refuse", "reset", "truncate", "slice", "corrupt")
CALLS = [("legacy", name) for name in TOOLS] + [("modern", name) for name in MODERN]


@both_shapes
@pytest.mark.parametrize(("era", "name"), CALLS, ids=["-".join(case) for case in CALLS])
def test_tools(tools: dict[str, Tools], era: str, name: str, streaming: bool) -> None:
    """Told to the model, which goes on without. A tool that is known stays known."""
    world = tools[era]
    mode, how, expected = TOOLS[name]
    usual = world.told(streaming)
    assert usual == "x" * 300
    how = {key: value * SLACK if key == "seconds" else value for key, value in how.items()}
    with world.proxy.failing(mode, **how), ThreadPoolExecutor(1) as pool:
        other = pool.submit(check_others, world.gateway, "other")
        told = in_time(lambda: world.told(streaming), 2.5)
        assert told == usual if expected is None else expected in told, told
        other.result()
    wait_until(lambda: world.told(streaming) == usual, timeout=1.0, what="it serves again")


def test_tools_of_a_server_that_cannot_be_reached_at_first(start_gateway, tmp_path: Path) -> None:
    """The agent answers without them, and has them when it can. One world for each fault, all at once."""
    modes = ("silent", "refuse", "reset", "truncate", "corrupt")
    worlds = {mode: Tools(start_gateway, tmp_path / mode) for mode in modes}

    def one(mode: str) -> None:
        world = worlds[mode]
        world.proxy.set(mode)
        answer = in_time(lambda: chat(world.gateway, "demo", "/tools"), 2.0)
        assert answer.status == 200 and "web__echo" not in answer.body.decode()
        world.proxy.set("pass")
        has_tools = lambda: "web__echo" in chat(world.gateway, "demo", "/tools").body.decode()  # noqa: E731
        wait_until(has_tools, timeout=1.0, what="it has its tools")

    with ThreadPoolExecutor(len(modes)) as pool:
        failed = {mode: error for mode, done in [(mode, pool.submit(one, mode)) for mode in modes]
                  if (error := done.exception())}  # fmt: skip
    for world in worlds.values():
        world.close()
    assert not failed, failed


def test_tools_that_cannot_be_listed(start_gateway, tmp_path: Path) -> None:
    """The list is too old, and its server says nothing: several requests, which may not even want a tool, wait for it
    together and not one after the other, and no longer than for a server that starts."""
    world = Tools(start_gateway, tmp_path / "web", env={"MCP_TOOL_CACHE_TTL": "1"})
    with contextlib.closing(world):
        world.told()
        listed_at = wait_record(tmp_path / "web", "message", method="tools/list")["at"]
        wait_until(lambda: time.monotonic() > listed_at + 1.1, what="the list's age")
        with world.proxy.failing("silent"), ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(chat, world.gateway, "demo", "hello", timeout=4 * SLACK) for _ in range(4)]
            answers = [one.exception() or one.result().status for one in asked]
        if answers != [200] * 4:
            world.gateway.kill()  # it may not stop by itself
        assert answers == [200] * 4
        wait_until(lambda: world.told() == "x" * 300, timeout=1.0, what="it serves again")


# ---- Postgres


class Stored:
    """A gateway whose store is behind a proxy, and a conversation in it. One loop: each has connections of its own."""

    def __init__(self, start, postgres: Postgres) -> None:
        self.proxy = FaultProxy(postgres.port)
        agents = (demo_agent("keeps", history="server", model_settings={"demo_delay_ms": 0}), QUICK)
        self.gateway: Gateway = start(config(*agents), env={"DATABASE_URL": self.proxy.dsn}, args=("--threads", "1"))
        self.talk = Talk(self.gateway, str(uuid.uuid4()), "keeps")
        self.said: list[str] = []
        assert self.say().status == 200

    def say(self) -> Answer:
        text = f"question {len(self.said)}"
        answer = self.talk.ask(text)
        if answer.status == 200:
            self.said.append(f"user: {text}")
        return answer

    def check_away(self, limit_s: float) -> None:
        answer = in_time(self.say, limit_s)
        assert (answer.status, answer.error["code"]) == (503, "store_unavailable"), answer.body
        assert int(answer.header("retry-after")) >= 1

    def check_back(self, limit_s: float = 2.0) -> None:
        """What was said in vain may be there; what was answered must be, once and in order."""
        end = time.monotonic() + limit_s * SLACK
        for what in (self.say, lambda: call(self.gateway, "GET", f"/conversations/{self.talk.session}")):
            left = max(0.01, (end - time.monotonic()) / SLACK)
            wait_until(lambda what=what: what().status == 200, timeout=left, what="it is back")
        path = [message for message in self.talk.path() if message in self.said]
        assert path == self.said


# mode, how, within which time it is told (None: it is no fault)
STORE = {
    "delay": ("delay", {"seconds": 0.02}, None),
    "slice": ("slice", {}, None),
    "delay-too-long": ("delay", {"seconds": 60}, 6.5),
    "silent": ("silent", {}, 6.5),
    "silent-later": ("silent", {"after": 100}, 6.5),
    "mute": ("mute", {}, 6.5),
    "refuse": ("refuse", {}, 3.5),
    "reset": ("reset", {}, 3.5),
    "truncate": ("truncate", {"after": 20}, 3.5),
    "trickle": ("trickle", {"seconds": 0.5}, 6.5),
    "corrupt": ("corrupt", {}, 6.5),
    "corrupt-length": ("corrupt", {"after": 2}, 6.5),
}


def faulty_store(world: Stored, mode: str, how: dict, limit_s: float | None) -> None:
    """The first answer may take the 5 s after which a silent server is given up; then it is known to be away."""
    with world.proxy.failing(mode, **how):
        if limit_s is None:
            assert in_time(world.say, 2.0).status == 200
        else:
            world.check_away(limit_s)
            for _ in range(0 if mode == "corrupt" else 2):  # that is one byte, and a connection may outlive it
                world.check_away(1.5)
        check_others(world.gateway)
        assert chat(world.gateway, "keeps").status == 200, "a request that names no conversation needs no store"
    world.check_back()


# Bytes of the server after which it falls silent. It greets with some 400; then the schema is looked at.
CONNECTING = (100, 450, 600)


def store_lost_while_connecting(world: Stored, after: int) -> None:
    """That connection stays dead for ever. It is given up, and another one is made."""
    world.proxy.set("silent", after=after)
    world.proxy.reset()
    world.check_away(1.5)
    check_others(world.gateway)
    world.proxy.set("pass", cut=False)
    world.check_back(7.0)


def stop_while_connecting(world: Stored, after: int) -> None:
    world.proxy.set("silent", after=after)
    world.proxy.reset()
    world.check_away(1.5)
    world.gateway.signal(signal.SIGTERM)
    try:
        assert world.gateway.wait_exit(5 * SLACK) == 0
    except subprocess.TimeoutExpired:
        world.gateway.kill()
        raise AssertionError("it does not stop within 5 s") from None


STORIES: dict[str, tuple] = {
    **{name: (faulty_store, *case) for name, case in STORE.items()},
    **{f"lost-while-connecting-{after}": (store_lost_while_connecting, after) for after in CONNECTING},
    **{f"stop-while-connecting-{after}": (stop_while_connecting, after) for after in CONNECTING},
}


@pytest.fixture(scope="module")
def told(start_module_gateway) -> Iterator[dict[str, BaseException | None]]:
    """How each of STORIES went: all at once, each with a gateway of its own, for most of it is waiting."""
    postgres = Postgres()
    worlds = {name: Stored(start_module_gateway, postgres) for name in STORIES}
    with ThreadPoolExecutor(len(STORIES)) as pool:
        under_way = {name: pool.submit(story, worlds[name], *case) for name, (story, *case) in STORIES.items()}
        ended = {name: one.exception() for name, one in under_way.items()}
    yield ended
    for world in worlds.values():
        world.proxy.close()
    postgres.close()


@pytest.mark.parametrize("name", STORIES)
def test_store(told: dict[str, BaseException | None], name: str) -> None:
    if error := told[name]:
        raise error
