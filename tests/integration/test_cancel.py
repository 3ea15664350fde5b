"""A client that leaves takes its upstream call with it, within 100 ms; one that only half-closes still gets
its answer.
"""

from __future__ import annotations

import time

import pytest

from harness import upstream as up
from harness.api import Stream, chat_body, connect, request_bytes
from harness.configs import agent, config
from harness.gateway import SLACK, Gateway, wait_until
from harness.wires import TEXT, WIRES, Wire, chunk, sse

LIMIT_S = 0.1 * SLACK


@pytest.fixture(scope="module")
def gateway(
    start_module_gateway, module_upstream: up.FakeUpstream, module_tls_upstream: up.FakeUpstream, authority
) -> Gateway:
    providers, agents = {}, []
    for wire in WIRES:
        providers[f"{wire.name}-plain"] = wire.provider(module_upstream.url)
        providers[f"{wire.name}-tls"] = wire.provider(module_tls_upstream.url, ca_file=str(authority.ca_file))
        agents += [agent(f"{wire.name}-{scheme}", f"{wire.name}-{scheme}") for scheme in ("plain", "tls")]
    return start_module_gateway(config(*agents, **providers))


def script_for(wire: Wire, moment: str):
    """An answer that stops at the given moment and then waits for the gateway to leave."""
    if moment == "before-head":
        return up.hang_before_head
    events = {"before-token": (), "mid-stream": wire.events[:-1]}.get(moment, ())
    if moment == "json-body":

        def half(exchange: up.Exchange) -> None:
            exchange.head(200, [up.JSON], framing="length", length=1000)
            exchange.write(b'{"id":')
            exchange.reached()
            exchange.hang()

        return half
    return up.pieces(events, wire.content_type, then="hang")


# The client's side of it is the same for all providers: RST only for two of them.
CASES = [
    (wire, scheme, moment, how)
    for wire in WIRES
    for scheme in ("plain", "tls")
    for moment in ("before-head", "before-token", "mid-stream", "json-body")
    for how in (("fin", "reset") if wire.name in ("openai", "ollama") else ("fin",))
]


@pytest.mark.parametrize(("wire", "scheme", "moment", "how"), CASES, ids=["-".join((c[0].name, *c[1:])) for c in CASES])
def test_upstream_is_cancelled(
    gateway: Gateway,
    upstream: up.FakeUpstream,
    tls_upstream: up.FakeUpstream,
    wire: Wire,
    scheme: str,
    moment: str,
    how: str,
) -> None:
    fake = upstream if scheme == "plain" else tls_upstream
    fake.on(script_for(wire, moment))
    connection = connect(gateway)
    connection.send(
        request_bytes(
            gateway,
            "POST",
            "/v1/chat/completions",
            chat_body(f"{wire.name}-{scheme}", "x", stream=moment != "json-body"),
        )
    )
    exchange = fake.wait_request()
    exchange.wait_reached()
    if moment == "mid-stream":
        connection.read_head()
        next(connection.body_pieces())
    time.sleep(0.03)  # the gateway has read all that came and waits
    left_at = time.monotonic()
    if how == "reset":
        connection.reset()
    else:
        connection.close()
    took = exchange.wait_closed(5 * SLACK) - left_at
    assert took <= LIMIT_S, f"{took * 1000:.0f} ms"


def test_before_head_without_stream(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    upstream.on(up.hang_before_head)
    connection = connect(gateway)
    connection.send(request_bytes(gateway, "POST", "/v1/chat/completions", chat_body("openai-plain", "x")))
    exchange = upstream.wait_request()
    left_at = time.monotonic()
    connection.close()
    assert exchange.wait_closed(5 * SLACK) - left_at <= LIMIT_S


def test_embeddings_too(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    upstream.on(up.hang_before_head)
    connection = connect(gateway)
    connection.send(request_bytes(gateway, "POST", "/v1/embeddings", {"model": "openai-plain", "input": "x"}))
    exchange = upstream.wait_request()
    left_at = time.monotonic()
    connection.close()
    assert exchange.wait_closed(5 * SLACK) - left_at <= LIMIT_S


def test_leaving_while_the_connection_is_still_being_made(start_gateway) -> None:
    hole = up.BlackHole()
    gateway = start_gateway(config(agent("a", "p"), p=WIRES[0].provider(hole.url)))
    before = gateway.open_fds()
    connections = [connect(gateway) for _ in range(10)]
    for connection in connections:
        connection.send(request_bytes(gateway, "POST", "/v1/chat/completions", chat_body("a", "x")))
    wait_until(lambda: gateway.open_fds() >= before + 20, what="ten connects under way")
    for connection in connections:
        connection.close()
    wait_until(lambda: gateway.open_fds() <= before, timeout=0.5, what="all sockets closed")
    hole.stop()


@pytest.mark.parametrize("streaming", [False, True])
def test_half_close_still_gets_the_answer(gateway: Gateway, upstream: up.FakeUpstream, streaming: bool) -> None:
    """curl and nc do this: FIN after the request is no farewell."""
    wire = WIRES[0]

    def script(exchange: up.Exchange) -> None:
        exchange.sleep(0.3)
        (up.pieces(wire.events, pause_s=0.05) if streaming else up.json_reply(wire.answer))(exchange)

    upstream.on(script)
    if streaming:
        with Stream(gateway, chat_body("openai-plain", "x", stream=True)) as running:
            running.connection.half_close()
            assert running.read().check_complete().text == TEXT
    else:
        with connect(gateway) as connection:
            connection.send(request_bytes(gateway, "POST", "/v1/chat/completions", chat_body("openai-plain", "x")))
            connection.half_close()
            answer = connection.read_answer()
            assert answer.json()["choices"][0]["message"]["content"] == TEXT
            assert connection.closed_within(2)


def test_half_close_then_reset_cancels(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    upstream.on(up.pieces(WIRES[0].events[:2], then="hang"))
    connection = connect(gateway)
    connection.send(request_bytes(gateway, "POST", "/v1/chat/completions", chat_body("openai-plain", "x", stream=True)))
    connection.half_close()
    exchange = upstream.wait_request()
    exchange.wait_reached()
    time.sleep(0.1)
    assert exchange.peer_closed_at is None
    left_at = time.monotonic()
    connection.reset()
    assert exchange.wait_closed(5 * SLACK) - left_at <= LIMIT_S


def test_the_next_request_behind_a_stream_is_not_a_farewell(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    upstream.on(up.pieces(WIRES[0].events, pause_s=0.05))
    with Stream(gateway, chat_body("openai-plain", "x", stream=True)) as running:
        running.connection.send(request_bytes(gateway, "GET", "/v1/models"))
        assert running.read().check_complete().text == TEXT
        assert running.connection.read_answer("GET").status == 200


def test_nothing_is_left_of_many_cancelled_calls(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    upstream.on(up.pieces([sse(chunk({"role": "assistant", "content": "x"}))], then="hang"))
    before = gateway.open_fds()
    connections = []
    for _ in range(100):
        connection = connect(gateway)
        connection.send(
            request_bytes(gateway, "POST", "/v1/chat/completions", chat_body("openai-plain", "x", stream=True))
        )
        connections.append(connection)
    upstream.wait_request(100)
    for index, connection in enumerate(connections):
        connection.reset() if index % 2 else connection.close()
    for exchange in upstream.exchanges:
        exchange.wait_closed()
    wait_until(lambda: gateway.open_fds() <= before + 1, what="all sockets closed")
