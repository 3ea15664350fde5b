"""Asking one of the fake providers through the gateway, in all the ways the provider tests need.

`gateway` and `fake` are fixtures: a test module that imports them has a gateway of its own with every provider.
"""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from . import upstream as up
from .api import Streamed, chat, stream
from .certs import Authority
from .configs import agent, config, timeouts
from .gateway import SLACK, Gateway
from .rawhttp import Answer
from .upstream import Exchange, FakeUpstream, Script
from .wires import WIRES

MIB = 1024 * 1024

every_wire = pytest.mark.parametrize("wire", WIRES, ids=[wire.name for wire in WIRES])
both_schemes = pytest.mark.parametrize("scheme", ["plain", "tls"])
both_shapes = pytest.mark.parametrize("streaming", [False, True], ids=["json", "stream"])


def every_provider(plain_url: str, tls_url: str, ca_file: Path) -> dict:
    """An agent `WIRE-plain` and `WIRE-tls` for each dialect, with small deadlines."""
    providers, agents = {}, []
    for wire in WIRES:
        providers[f"{wire.name}-plain"] = wire.provider(plain_url, timeouts=timeouts(2 * SLACK, total_ms=2_000))
        providers[f"{wire.name}-tls"] = wire.provider(tls_url, timeouts=timeouts(2 * SLACK, total_ms=2_000), ca_file=str(ca_file))
        agents += [
            agent(f"{wire.name}-{scheme}", f"{wire.name}-{scheme}", system_prompt="Be brief.")
            for scheme in ("plain", "tls")
        ]
    return config(*agents, **providers)


@pytest.fixture(scope="module")
def gateway(
    start_module_gateway, module_upstream: FakeUpstream, module_tls_upstream: FakeUpstream, authority: Authority
) -> Gateway:
    configuration = every_provider(module_upstream.url, module_tls_upstream.url, authority.ca_file)
    return start_module_gateway(configuration, env={"PARLEY_HEARTBEAT_MS": "60000"})


@pytest.fixture
def fake(upstream: FakeUpstream, tls_upstream: FakeUpstream) -> dict[str, FakeUpstream]:
    return {"plain": upstream, "tls": tls_upstream}


def ask(gateway: Gateway, model: str, streaming: bool, **fields) -> Streamed | Answer:
    return stream(gateway, model, **fields) if streaming else chat(gateway, model, **fields)


def failure(got: Streamed | Answer) -> tuple[int, dict]:
    """Status and error: of a plain answer, or 200 and the error event."""
    if isinstance(got, Streamed):
        if got.answer.status == 200:
            return 200, got.check_failed()
        got = got.answer
    return got.status, got.error


def flat(
    data: bytes, framing: str, cuts: tuple[int, ...], content_type: tuple[str, str], pause_s: float, then: str = "end"
) -> Script:
    """`data` in pieces that end at `cuts`."""
    edges = [0, *cuts, len(data)]
    parts = [data[start:end] for start, end in zip(edges, edges[1:], strict=False)]
    return up.pieces(parts, content_type, framing=framing, pause_s=pause_s, then=then)


def each(
    gateway: Gateway, model: str, fake: FakeUpstream, scripts: list[Script], check: Callable[[int, Streamed], None]
) -> None:
    """Runs one stream per script, several at a time; `check` gets the index and the answer."""
    fake.on(lambda exchange: scripts[int(_question(exchange))](exchange))

    def one(index: int) -> None:
        check(index, stream(gateway, model, str(index)))

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(one, range(len(scripts))))


def _question(exchange: Exchange) -> str:
    sent = exchange.request.json()
    content = (sent.get("messages") or sent["input"])[-1]["content"]
    return content if isinstance(content, str) else content[0]["text"]
