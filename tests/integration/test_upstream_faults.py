"""Each way in which a provider can fail, over real sockets, plain and TLS.

Rows U1-U9, U11, U15-U22 of facts/reliability.md §1.5. What does not hang on the dialect is tested with one of them.
"""

from __future__ import annotations

import contextlib
import gzip
import json
import socket
import ssl
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import upstream as up
from harness.api import Streamed, call, chat, stream
from harness.certs import Authority
from harness.configs import agent, config, timeouts
from harness.gateway import SLACK, SLOW, Gateway, wait_until
from harness.relay import MIB, ask, both_schemes, both_shapes, each, every_wire, failure, fake, gateway  # noqa: F401
from harness.upstream import JSON, SSE, Exchange, FakeUpstream, Script
from harness.wires import BOOM, BY_NAME, DONE, TEXT, UPSTREAM_KEY, Wire, chunk, sse

OPENAI, OLLAMA = BY_NAME["openai"], BY_NAME["ollama"]


@every_wire
@pytest.mark.parametrize("framing", ["close", "chunked", "length"])
def test_truncation_at_every_point_is_told(gateway: Gateway, upstream: FakeUpstream, wire: Wire, framing: str) -> None:
    """U5. An answer is either whole or says that it is not. With `close` the end looks like any other end."""
    data = wire.stream_bytes
    whole = sum(map(len, wire.events[: wire.whole_after]))
    step = (1 if framing == "close" else 7) * (5 if SLOW else 1)

    def cut(at: int) -> Script:
        def script(exchange: Exchange) -> None:
            exchange.head(200, [wire.content_type], framing=framing, length=len(data))
            exchange.write(data[:at])
            exchange.fin()

        return script

    points = list(range(0, len(data) - 1, step))

    def check(index: int, seen: Streamed) -> None:
        at = points[index]
        if seen.answer.status != 200:
            assert seen.answer.status == 502 and seen.answer.error["code"] in (
                "upstream_truncated",
                "upstream_invalid_response",
            ), (at, seen.answer.body)
            return
        if seen.done:
            assert at >= whole - 2, (
                f"cut at {at} of {len(data)} (whole from {whole}) was passed on as complete: {seen.text!r}"
            )
            assert seen.check_complete().text == TEXT
        else:
            error = seen.check_failed()
            assert error["code"] == "upstream_truncated", (at, error)
            assert TEXT.startswith(seen.text)

    each(gateway, f"{wire.name}-plain", upstream, [cut(at) for at in points], check)


# ---- failing while it streams


@every_wire
@both_schemes
@pytest.mark.parametrize("how", ["reset", "fin", "error"])
def test_u5_mid_stream_failures(gateway: Gateway, fake, wire: Wire, scheme: str, how: str) -> None:
    """FIN = missing final chunk."""
    begun = wire.events[: next(index for index, event in enumerate(wire.events) if b"u00e9" in event) + 1]
    fake[scheme].on(
        up.pieces([*begun, wire.error_event], wire.content_type)
        if how == "error"
        else up.pieces(begun, wire.content_type, then=how)
    )
    seen = stream(gateway, f"{wire.name}-{scheme}")
    error = seen.check_failed()
    assert seen.text == "Hé " and not seen.truncated
    if how == "error":
        assert BOOM in error["message"] and error["type"] in ("server_error", "service_unavailable_error")
    else:
        assert error["code"] == "upstream_truncated"


@every_wire
def test_error_as_the_first_event(gateway: Gateway, upstream: FakeUpstream, wire: Wire) -> None:
    upstream.on(up.pieces([wire.error_event], wire.content_type))
    status, error = failure(stream(gateway, f"{wire.name}-plain"))
    assert status in (502, 503) and BOOM in error["message"]


def test_numeric_and_odd_error_codes(gateway: Gateway, upstream: FakeUpstream) -> None:
    for body in (
        {"error": {"code": 429, "message": "slow"}},
        {"error": {"code": None, "message": "slow"}},
        {"error": "slow"},
        {"error": {"code": {"x": 1}, "message": "slow"}},
        {"error": {"message": None}},
        {"error": [1]},
        {"detail": "slow"},
        {"message": "slow"},
        [],
    ):
        upstream.on(up.json_reply(body, 429))
        answer = chat(gateway, "openrouter-plain")
        assert answer.status == 429 and answer.error["message"]


def test_openrouter_error_inside_200(gateway: Gateway, upstream: FakeUpstream) -> None:
    for code, status in (
        (402, 502),
        (429, 429),
        (502, 502),
        (529, 503),
        (503, 503),
        (408, 504),
        (524, 504),
        (400, 400),
    ):
        upstream.on(up.json_reply({"error": {"code": code, "message": "told inside"}}))
        answer = chat(gateway, "openrouter-plain")
        if code == 402:
            assert answer.status in (429, 502), answer.body  # credits are used up: quota or our trouble
        elif code in (408, 524):
            assert answer.status in (502, 504), answer.body
        else:
            assert answer.status == status, (code, answer.body)
        assert answer.error["message"]


# ---- answers that are errors

PLAIN_ERROR = {"error": {"message": "told by the provider", "type": "x", "param": None, "code": None}}
STATUSES = {
    400: (400,),
    401: (502,),
    403: (502,),
    404: (502,),
    408: (502, 504),
    409: (502, 409),
    413: (413, 400, 502),
    422: (400, 422),
    429: (429,),
    500: (502,),
    501: (502,),
    502: (502,),
    503: (502, 503),
    504: (502, 504),
    524: (502, 504),
    529: (502, 503),
    599: (502,),
    418: (502,),
}


@every_wire
@both_shapes
@pytest.mark.parametrize("status", STATUSES)
def test_u16_u18_statuses(gateway: Gateway, upstream: FakeUpstream, wire: Wire, status: int, streaming: bool) -> None:
    upstream.on(up.json_reply({"error": "told by the provider"} if wire is OLLAMA else PLAIN_ERROR, status))
    got, error = failure(ask(gateway, f"{wire.name}-plain", streaming))
    assert got in STATUSES[status], (got, error)
    if status in (401, 403):
        assert error["code"] == "upstream_auth"
    if status in (400, 422):
        assert "told by the provider" in error["message"] and error["type"] == "invalid_request_error"
    assert UPSTREAM_KEY not in json.dumps(error)


RETRY_AFTER = {
    "seconds": ([("retry-after", "5")], 5000),
    "ms": ([("retry-after-ms", "1500")], 1500),
    "both": ([("retry-after", "2"), ("retry-after-ms", "1500")], 1500),
    "date": ([("retry-after", "{date}")], 5000),
    "fraction": ([("retry-after", "2.5")], 2500),
}


@pytest.mark.parametrize("name", RETRY_AFTER)
def test_u17_retry_after(gateway: Gateway, upstream: FakeUpstream, name: str) -> None:
    headers, expected = RETRY_AFTER[name]
    date = time.strftime("%a, %d %b %Y %H:%M:%S GMT", time.gmtime(time.time() + 5))
    upstream.on(up.json_reply(PLAIN_ERROR, 429, [(key, value.format(date=date)) for key, value in headers]))
    answer = chat(gateway, "openai-plain")
    assert answer.status == 429
    assert abs(float(answer.header("retry-after-ms")) - expected) <= 1100
    assert abs(float(answer.header("retry-after")) * 1000 - expected) <= 1600


@pytest.mark.parametrize("value", ["1000000000", "-5", "soon", "", "1e99", "nan", "99999999999999999999999"])
def test_u17_absurd_retry_after(gateway: Gateway, upstream: FakeUpstream, value: str) -> None:
    upstream.on(up.json_reply(PLAIN_ERROR, 429, [("retry-after", value)]))
    answer = chat(gateway, "openai-plain")
    assert answer.status == 429
    assert 0 < float(answer.header("retry-after") or "1") <= 86400


@pytest.mark.parametrize("day", ["Fri, 31 Dec 2100", "Sun, 31 Dec 2400", "Fri, 31 Dec 9999"])
def test_u17_a_date_far_away_is_a_long_wait(gateway: Gateway, upstream: FakeUpstream, day: str) -> None:
    upstream.on(up.json_reply(PLAIN_ERROR, 429, [("retry-after", f"{day} 23:59:59 GMT")]))
    answer = chat(gateway, "openai-plain")
    assert (answer.status, answer.header("retry-after"), answer.header("retry-after-ms")) == (429, "60", "60000")


def test_azure_texts(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.on(
        up.json_reply(
            {
                "error": {
                    "code": "DeploymentNotFound",
                    "message": "The API deployment for this resource does not exist.",
                }
            },
            404,
        )
    )
    answer = chat(gateway, "azure-cc-plain")
    assert answer.status == 502 and "deployment" in answer.error["message"]
    upstream.on(
        up.json_reply(
            {
                "error": {
                    "message": "filtered",
                    "type": None,
                    "param": "prompt",
                    "code": "content_filter",
                    "status": 400,
                    "innererror": {"code": "ResponsibleAIPolicyViolation"},
                }
            },
            400,
        )
    )
    answer = chat(gateway, "azure-cc-plain")
    assert (answer.status, answer.error["code"]) == (400, "content_filter")


# ---- garbage

HTML = b"<html><body>Welcome to nginx</body></html>"
GARBAGE: dict[str, Script] = {
    "html-200": up.reply(HTML, 200, [("Content-Type", "text/html")]),
    "empty-200": up.reply(b"", 200, [JSON]),
    "empty-sse": up.reply(b"", 200, [SSE], framing="chunked"),
    "truncated-json": up.reply(b'{"id":"c1","choices":[{"ind', 200, [JSON]),
    "null": up.reply(b"null", 200, [JSON]),
    "array": up.reply(b"[]", 200, [JSON]),
    "no-choices": up.reply(b'{"id":"c1"}', 200, [JSON]),
    "choices-type": up.reply(b'{"choices":5}', 200, [JSON]),
    "choice-type": up.reply(b'{"choices":[5]}', 200, [JSON]),
    "content-type-of-value": up.reply(b'{"choices":[{"message":{"content":{"x":1}}}]}', 200, [JSON]),
    "binary": up.reply(bytes(range(256)) * 20, 200, [JSON]),
    "deep": up.reply(b'{"a":' * 50_000, 200, [JSON]),
    "sse-garbage": up.pieces([b"data: {not json}\n\n"]),
    "sse-html": up.pieces([HTML]),
    "sse-array": up.pieces([b"data: [1]\n\n"]),
    "sse-number": up.pieces([b"data: 5\n\n"]),
    "sse-deep": up.pieces([b"data: " + b"[" * 50_000 + b"\n\n"]),
    "only-done": up.pieces([DONE]),
    "204": up.reply(b"", 204, framing="none"),
    "html-500": up.reply(HTML, 500, [("Content-Type", "text/html")]),
    "html-404": up.reply(HTML, 404, [("Content-Type", "text/html")]),
    "error-in-200": up.json_reply(PLAIN_ERROR),
}


@both_shapes
@pytest.mark.parametrize("name", GARBAGE)
@pytest.mark.parametrize(
    "wire", [OPENAI, BY_NAME["azure-responses"], OLLAMA], ids=["openai", "azure-responses", "ollama"]
)
def test_u9_u11_garbage(gateway: Gateway, upstream: FakeUpstream, wire: Wire, name: str, streaming: bool) -> None:
    upstream.on(GARBAGE[name])
    status, error = failure(ask(gateway, f"{wire.name}-plain", streaming))
    assert status == 502, (status, error)
    assert "nginx" not in error["message"] or len(error["message"]) < 500
    assert UPSTREAM_KEY not in json.dumps(error)


def _raw(data: bytes, keep: bool = False) -> Script:
    def script(exchange: Exchange) -> None:
        exchange.keep = keep
        exchange.raw(data)

    return script


BODY = json.dumps(OPENAI.answer).encode()
LENGTH = b"Content-Length: %d\r\n" % len(BODY)
TYPE = b"Content-Type: application/json\r\n"
HEADS: dict[str, tuple[bytes, int]] = {
    "no-reason": (b"HTTP/1.1 200\r\n" + TYPE + LENGTH + b"\r\n" + BODY, 200),
    "http-1.0": (b"HTTP/1.0 200 OK\r\n" + TYPE + b"\r\n" + BODY, 200),
    "100-first": (b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\n" + TYPE + LENGTH + b"\r\n" + BODY, 200),
    "103-first": (
        b"HTTP/1.1 103 Early Hints\r\nLink: </x>\r\n\r\nHTTP/1.1 200 OK\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
        200,
    ),
    "16-interim": (
        b"HTTP/1.1 102 Processing\r\n\r\n" * 16 + b"HTTP/1.1 200 OK\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
        200,
    ),
    "10000-interim": (
        b"HTTP/1.1 102 Processing\r\n\r\n" * 10_000 + b"HTTP/1.1 200 OK\r\n" + TYPE + LENGTH + b"\r\n" + BODY,
        502,
    ),
    "not-http": (b"SSH-2.0-OpenSSH_9.2\r\n", 502),
    "status-099": (b"HTTP/1.1 099 X\r\n" + LENGTH + b"\r\n" + BODY, 502),
    "status-1000": (b"HTTP/1.1 1000 X\r\n" + LENGTH + b"\r\n" + BODY, 502),
    "http-2": (b"HTTP/2.0 200 OK\r\n" + LENGTH + b"\r\n" + BODY, 502),
    "101": (b"HTTP/1.1 101 Switching Protocols\r\nUpgrade: x\r\nConnection: upgrade\r\n\r\n", 502),
    "cl-te": (b"HTTP/1.1 200 OK\r\n" + TYPE + LENGTH + b"Transfer-Encoding: chunked\r\n\r\n" + BODY, 502),
    "two-cl": (b"HTTP/1.1 200 OK\r\n" + TYPE + LENGTH + b"Content-Length: 5\r\n\r\n" + BODY, 502),
    "te-unknown": (b"HTTP/1.1 200 OK\r\n" + TYPE + b"Transfer-Encoding: gzip, chunked\r\n\r\n0\r\n\r\n", 502),
    "fold": (b"HTTP/1.1 200 OK\r\n" + TYPE + b"X: a\r\n b\r\n" + LENGTH + b"\r\n" + BODY, 502),
    "nul": (b"HTTP/1.1 200 OK\r\n" + TYPE + b"X: a\x00b\r\n" + LENGTH + b"\r\n" + BODY, 502),
    "header-64k": (b"HTTP/1.1 200 OK\r\n" + TYPE + b"X: " + b"v" * 65536 + b"\r\n" + LENGTH + b"\r\n" + BODY, 502),
    "10000-headers": (b"HTTP/1.1 200 OK\r\n" + b"X: v\r\n" * 10_000 + LENGTH + b"\r\n" + BODY, 502),
    "endless-header": (b"HTTP/1.1 200 OK\r\nX: " + b"v" * MIB, 502),
    "trailer-70k": (
        b"HTTP/1.1 200 OK\r\n"
        + TYPE
        + b"Transfer-Encoding: chunked\r\n\r\n%x\r\n%s\r\n0\r\nX: %s\r\n\r\n" % (len(BODY), BODY, b"v" * 70_000),
        502,
    ),
    "chunk-size": (b"HTTP/1.1 200 OK\r\n" + TYPE + b"Transfer-Encoding: chunked\r\n\r\n+5\r\nabcde\r\n0\r\n\r\n", 502),
    "cl-short": (b"HTTP/1.1 200 OK\r\n" + TYPE + b"Content-Length: 99999\r\n\r\n" + BODY, 502),
    "empty": (b"", 502),
    "half-status": (b"HTTP/1.1 20", 502),
    "bytes-after-body": (
        b"HTTP/1.1 200 OK\r\n" + TYPE + LENGTH + b"\r\n" + BODY + b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        200,
    ),
}


@pytest.mark.parametrize("name", HEADS)
@pytest.mark.parametrize("keep", [False, True], ids=["then-close", "then-wait"])
def test_u15_u21_heads(gateway: Gateway, upstream: FakeUpstream, name: str, keep: bool) -> None:
    data, expected = HEADS[name]
    if keep and name in ("http-1.0", "cl-short", "empty", "half-status", "not-http"):
        expected_statuses: tuple[int, ...] = (502, 504)  # nothing more comes: a deadline, or told bad at once
    else:
        expected_statuses = (expected,)
    upstream.queue(_raw(data, keep), _raw(data, keep), _raw(data, keep))
    answer = chat(gateway, "openai-plain")
    assert answer.status in expected_statuses, answer.body[:300]
    if answer.status == 200:
        assert answer.json()["choices"][0]["message"]["content"] == TEXT
    upstream.clear()
    upstream.on(up.json_reply(OPENAI.answer))
    for _ in range(4):
        assert chat(gateway, "openai-plain").json()["choices"][0]["message"]["content"] == TEXT, (
            "what was left over spoils the next answer"
        )


@pytest.mark.parametrize("status", [301, 302, 303, 307, 308])
@both_shapes
def test_u19_redirects_are_not_followed(gateway: Gateway, upstream: FakeUpstream, status: int, streaming: bool) -> None:
    thief = FakeUpstream()
    thief.on(up.json_reply(OPENAI.answer))
    upstream.on(up.reply(b"", status, [("Location", thief.url + "/v1/chat/completions")]))
    got, error = failure(ask(gateway, "openai-plain", streaming))
    assert got == 502 and error["message"]
    assert not thief.requests
    thief.stop()


def test_u20_compressed_though_not_asked(gateway: Gateway, upstream: FakeUpstream) -> None:
    """Decoded with a bound, or refused: never passed on as text."""
    good, bomb = gzip.compress(BODY), gzip.compress(b" " * (200 * MIB))
    upstream.on(up.reply(good, 200, [JSON, ("Content-Encoding", "gzip")]))
    answer = chat(gateway, "openai-plain")
    assert answer.status in (200, 502)
    if answer.status == 200:
        assert answer.json()["choices"][0]["message"]["content"] == TEXT
    rss = gateway.rss_bytes()
    upstream.on(up.reply(bomb, 200, [JSON, ("Content-Encoding", "gzip")]))
    assert chat(gateway, "openai-plain").status == 502
    assert SLOW or gateway.rss_bytes() - rss < 100 * MIB
    upstream.on(up.reply(b"\x00\x01" * 50, 200, [JSON, ("Content-Encoding", "br")]))
    assert chat(gateway, "openai-plain").status == 502
    accepted = upstream.last.request.header("accept-encoding")
    assert accepted in (None, "identity", "gzip"), accepted


# ---- sizes


def test_u13_an_endless_line_is_cut_off(gateway: Gateway, upstream: FakeUpstream) -> None:
    rss = gateway.rss_bytes()
    upstream.on(up.pieces([b'data: {"x":"' + b"x" * (9 * MIB) + b'"}\n\n', *OPENAI.events]))
    status, error = failure(stream(gateway, "openai-plain"))
    assert status == 502 and error["code"] == "upstream_invalid_response"
    assert SLOW or gateway.rss_bytes() - rss < 64 * MIB


@both_shapes
def test_u22_an_endless_answer_is_cut_off(gateway: Gateway, upstream: FakeUpstream, streaming: bool) -> None:
    """JSON is held in memory, so it has a cap. A stream is not held: it runs until its total deadline."""
    if streaming:
        piece = sse(chunk({"content": "x" * 10_000}))

        def endless(exchange: Exchange) -> None:
            exchange.head(200, [SSE])
            exchange.write(OPENAI.events[0])
            while True:
                exchange.write(piece)
                exchange.sleep(0.01)
    else:

        def endless(exchange: Exchange) -> None:
            exchange.head(200, [JSON])
            exchange.write(b'{"choices":[{"message":{"content":"')
            while exchange.body_bytes_sent < 1024 * MIB:
                exchange.write(b"x" * MIB)
            exchange.reached()

    upstream.on(endless)
    rss = gateway.rss_bytes()
    got = ask(gateway, "openai-plain", streaming, timeout=30)
    status, error = failure(got)
    exchange = upstream.exchanges[0]
    exchange.wait_closed()
    assert status == (200 if streaming else 502), error
    assert SLOW or gateway.rss_bytes() - rss < (16 if streaming else 256) * MIB


# ---- time


@every_wire
@both_schemes
@both_shapes
def test_u6_no_head(gateway: Gateway, fake, wire: Wire, scheme: str, streaming: bool) -> None:
    fake[scheme].on(up.hang_before_head)
    began = time.monotonic()
    status, error = failure(ask(gateway, f"{wire.name}-{scheme}", streaming))
    assert status == 504 and error["code"] == "upstream_timeout"
    assert time.monotonic() - began < 3.5 * SLACK
    fake[scheme].wait_request().wait_closed()


@every_wire
@both_schemes
def test_u7_silence_in_mid_stream(gateway: Gateway, fake, wire: Wire, scheme: str) -> None:
    begun = wire.events[: next(index for index, event in enumerate(wire.events) if b"u00e9" in event) + 1]
    fake[scheme].on(up.pieces(begun, wire.content_type, then="hang"))
    began = time.monotonic()
    seen = stream(gateway, f"{wire.name}-{scheme}")
    assert seen.check_failed()["code"] == "upstream_timeout" and seen.text == "Hé "
    assert 0.3 < time.monotonic() - began < 2 * SLACK
    fake[scheme].wait_request().wait_closed()


def test_u7_silence_in_a_json_body(gateway: Gateway, upstream: FakeUpstream) -> None:
    def half(exchange: Exchange) -> None:
        exchange.head(200, [JSON], framing="length", length=1000)
        exchange.write(b'{"id"')
        exchange.hang()

    upstream.on(half)
    answer = chat(gateway, "openai-plain")
    assert answer.status == 504 and answer.error["code"] == "upstream_timeout"


def test_u8_a_trickle_is_an_answer(gateway: Gateway, upstream: FakeUpstream) -> None:
    """One byte now and then inside an event keeps the idle deadline away."""
    data = b"".join(OPENAI.events[:2])
    upstream.on(up.pieces([*[data[at : at + 1] for at in range(0, 40)], data[40:], *OPENAI.events[2:]], pause_s=0.03))
    assert stream(gateway, "openai-plain").check_complete().text == TEXT


def test_u8_but_not_for_ever(gateway: Gateway, upstream: FakeUpstream) -> None:
    """The total deadline: 4 s here."""
    upstream.on(up.pieces([OPENAI.events[0], *[b": x\n\n"] * 1000], pause_s=0.05 * SLACK))
    began = time.monotonic()
    status, error = failure(stream(gateway, "openai-plain", timeout=30 * SLACK))
    assert status in (200, 504) and error["code"] in ("upstream_timeout", "deadline_exceeded")
    assert 3 * SLACK < time.monotonic() - began < 8 * SLACK


# ---- connecting


def of_url(start_gateway, url: str, wire: Wire = OPENAI, **more) -> Gateway:
    return start_gateway(config(agent("a", "p"), p=wire.provider(url, timeouts=timeouts(SLACK), **more)))


@every_wire
def test_u2_refused(start_gateway, wire: Wire) -> None:
    refused = up.RefusedPort()
    gateway = of_url(start_gateway, refused.url, wire)
    for streaming in (False, True):
        status, error = failure(ask(gateway, "a", streaming))
        assert status == 502 and error["code"] == "upstream_unavailable"
    refused.stop()


def test_u2_black_hole(start_gateway) -> None:
    hole = up.BlackHole()
    gateway = of_url(start_gateway, hole.url)
    began = time.monotonic()
    status, error = failure(chat(gateway, "a"))
    assert status == 504 and error["code"] == "upstream_timeout"
    assert 0.3 < time.monotonic() - began < 3.5 * SLACK
    hole.stop()


def test_u1_name_that_does_not_exist(start_gateway) -> None:
    gateway = of_url(start_gateway, "http://no-such-host.invalid")
    began = time.monotonic()
    answers = []
    with ThreadPoolExecutor(5) as pool:
        for got in pool.map(lambda _: chat(gateway, "a"), range(5)):
            answers.append(got.status)
        assert call(gateway, "GET", "/livez").elapsed_s < 0.5 * SLACK, "resolving stands in nobody's way"
    assert set(answers) <= {502, 504}
    assert time.monotonic() - began < 8 * SLACK


@pytest.mark.parametrize("script", [up.close_before_head, up.reset_before_head], ids=["close", "reset"])
@both_schemes
@both_shapes
def test_u4_gone_before_the_head(gateway: Gateway, fake, scheme: str, script: Script, streaming: bool) -> None:
    fake[scheme].on(script)
    status, error = failure(ask(gateway, f"openai-{scheme}", streaming))
    assert status == 502 and error["code"] in ("upstream_unavailable", "upstream_truncated")
    assert len(fake[scheme].requests) <= 3


# ---- U3 TLS


@pytest.mark.parametrize("which", ["expired", "wrong_host", "self_signed", "unknown_authority"])
@every_wire
def test_u3_certificates(start_gateway, authority: Authority, which: str, wire: Wire) -> None:
    certificate = authority.valid if which == "unknown_authority" else getattr(authority, which)
    fake = FakeUpstream(certificate.server_context())
    more = {} if which == "unknown_authority" else {"ca_file": str(authority.ca_file)}
    gateway = of_url(start_gateway, fake.url, wire, **more)
    for streaming in (False, True):
        status, error = failure(ask(gateway, "a", streaming))
        assert status == 502 and error["code"] == "upstream_tls_error", error
    assert not fake.requests, "the request, with its key, was sent"
    fake.stop()


def test_u3_an_address_must_be_in_the_certificate_too(start_gateway, authority: Authority) -> None:
    fake = FakeUpstream(authority.valid.server_context())
    fake.on(up.json_reply(OPENAI.answer))
    assert (
        chat(of_url(start_gateway, f"https://127.0.0.1:{fake.port}", ca_file=str(authority.ca_file)), "a").status == 200
    )
    fake.stop()
    other = FakeUpstream(authority.wrong_host.server_context())
    assert (
        chat(of_url(start_gateway, f"https://127.0.0.1:{other.port}", ca_file=str(authority.ca_file)), "a").status
        == 502
    )
    other.stop()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
def test_u3_old_tls(start_gateway, authority: Authority) -> None:
    context = authority.valid.server_context()
    context.set_ciphers("ALL:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion.TLSv1, ssl.TLSVersion.TLSv1
    fake = FakeUpstream(context)
    gateway = of_url(start_gateway, fake.url, ca_file=str(authority.ca_file))
    status, error = failure(chat(gateway, "a"))
    assert status == 502 and error["code"] == "upstream_tls_error"
    assert not fake.requests
    fake.stop()


def test_u3_stalled_handshake(start_gateway, authority: Authority) -> None:
    silent = up.SilentPort()
    gateway = of_url(start_gateway, silent.url, ca_file=str(authority.ca_file))
    began = time.monotonic()
    status, error = failure(chat(gateway, "a"))
    assert status in (502, 504) and error["code"] in ("upstream_timeout", "upstream_tls_error")
    assert time.monotonic() - began < 3.5 * SLACK
    silent.stop()


def test_u3_plain_http_behind_https(start_gateway, authority: Authority) -> None:
    """What web servers say when TLS arrives on their plain port."""
    with socket.create_server(("127.0.0.1", 0)) as listener:

        def answer() -> None:
            with contextlib.suppress(OSError):
                while True:
                    peer, _ = listener.accept()
                    peer.recv(65536)
                    peer.sendall(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\nConnection: close\r\n\r\n")
                    peer.close()

        threading.Thread(target=answer, daemon=True).start()
        url = f"https://localhost:{listener.getsockname()[1]}"
        gateway = of_url(start_gateway, url, ca_file=str(authority.ca_file))
        status, error = failure(chat(gateway, "a"))
        assert status == 502 and error["code"] == "upstream_tls_error"


def test_u5_tls_truncation_attack(gateway: Gateway, tls_upstream: FakeUpstream) -> None:
    """A FIN without close_notify inside a close-delimited body is no end, even where the text looks finished."""

    def script(exchange: Exchange) -> None:
        exchange.head(200, [SSE], framing="close")
        exchange.write(b"".join(OPENAI.events[:3]))
        raw = socket.socket(fileno=exchange.sock.detach())
        raw.shutdown(socket.SHUT_RDWR)
        raw.close()
        exchange.keep = False

    tls_upstream.on(script)
    assert stream(gateway, "openai-tls").check_failed()["code"] == "upstream_truncated"


# ---- the process


def test_nothing_is_left_over(gateway: Gateway, upstream: FakeUpstream, tls_upstream: FakeUpstream) -> None:
    """After all of this file, no connection is stuck and the gateway is small."""
    upstream.on(up.json_reply(OPENAI.answer))
    assert chat(gateway, "openai-plain").status == 200
    wait_until(lambda: gateway.open_fds() < 200, what="fewer than 200 descriptors")
    assert SLOW or gateway.rss_bytes() < 512 * MIB
