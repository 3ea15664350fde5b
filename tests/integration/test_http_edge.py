"""The HTTP/1.1 edge: every row H1-H37 and the smuggling battery of facts/reliability.md §1.3 and §1.5.

One table row = one input and the answer it must get. `close` = the gateway must close after that answer, and not
one byte behind the refused request may be read as a further request: each refused input is followed by a smuggled
GET.
"""

from __future__ import annotations

import contextlib
import gzip
import itertools
import json
import socket
import threading
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass

import pytest

from harness import upstream as up
from harness.api import call, chat, chat_body, check_answer, connect, request_bytes
from harness.configs import agent, config, demo_agent, timeouts
from harness.gateway import SLACK, SLOW, Gateway, wait_until
from harness.rawhttp import Answer, Closed, Connection, chunked
from harness.wires import BY_NAME

KEY = "sk-edge-0123456789abcdefghijklmnop"
AUTH = b"Authorization: Bearer " + KEY.encode() + b"\r\n"
JSON_TYPE = b"Content-Type: application/json\r\n"
BODY = json.dumps(chat_body("demo", "hi")).encode()
SMUGGLED = b"GET /v1/models/smuggled HTTP/1.1\r\nHost: gateway.test\r\n\r\n"
HOST = b"Host: gateway.test\r\n"
KIB, MIB = 1024, 1024 * 1024


@pytest.fixture(scope="module")
def gateway(start_module_gateway) -> Gateway:
    return start_module_gateway(config(demo_agent()), keys=(KEY,))


def post(
    *fields: bytes, body: bytes = BODY, length: bool = True, line: bytes = b"POST /v1/chat/completions HTTP/1.1"
) -> bytes:
    """A chat request in raw lines; `fields` come after the good ones."""
    own = b"Content-Length: %d\r\n" % len(body) if length else b""
    return (
        line + b"\r\n" + HOST + AUTH + JSON_TYPE + own + b"".join(field + b"\r\n" for field in fields) + b"\r\n" + body
    )


def get(
    target: bytes = b"/v1/models",
    *fields: bytes,
    method: bytes = b"GET",
    version: bytes = b"HTTP/1.1",
    host: bytes = HOST,
) -> bytes:
    return (
        method
        + b" "
        + target
        + b" "
        + version
        + b"\r\n"
        + host
        + AUTH
        + b"".join(f + b"\r\n" for f in fields)
        + b"\r\n"
    )


def chunks(
    coded: bytes,
    *fields: bytes,
    te: bytes = b"Transfer-Encoding: chunked",
    line: bytes = b"POST /v1/chat/completions HTTP/1.1",
) -> bytes:
    return post(te, *fields, body=coded, length=False, line=line)


def method_of(raw: bytes) -> str:
    return raw.lstrip(b"\r\n").split(b" ", 1)[0].decode("latin-1")


@dataclass(frozen=True)
class Row:
    id: str
    raw: bytes
    statuses: tuple[int, ...]
    close: bool = True
    allow_empty: bool = False  # closing without an answer is right too (what came is not HTTP)


def rows() -> Iterator[Row]:
    bad = (400,)

    # H1 Host
    yield Row("H1-missing-host", get(host=b""), bad)
    yield Row("H1-two-hosts", get(host=HOST + HOST), bad)
    yield Row("H1-two-different-hosts", get(host=HOST + b"Host: other\r\n"), bad)
    for name, value in {
        "path": b"a/b@c",
        "query": b"a?b",
        "fragment": b"a#b",
        "space": b"a b",
        "empty-port-text": b"a:x",
        "userinfo": b"user@a",
        "quote": b'a"b',
        "backslash": b"a\\b",
        "comma": b"a,b",
    }.items():
        yield Row(f"H1-host-{name}", get(host=b"Host: " + value + b"\r\n"), bad)

    # H2 versions and request line
    for name, line in {
        "http-0.9": b"GET /\r\n\r\n",
        "http-2.0": get(version=b"HTTP/2.0"),
        "1.32": get(version=b"HTTP/1.32"),
        "1.2": get(version=b"HTTP/1.2"),
        "0.9": get(version=b"HTTP/0.9"),
        "lower": get(version=b"http/1.1"),
        "no-dot": get(version=b"HTTP/11"),
        "trailing-space": get(version=b"HTTP/1.1 "),
        "double-space": get(target=b" /v1/models"),
        "double-space-2": get(target=b"/v1/models "),
        "tab": get().replace(b"GET ", b"GET\t", 1),
        "tab-2": get().replace(b" HTTP", b"\tHTTP", 1),
        "leading-space": b" " + get(),
        "no-version": get().replace(b" HTTP/1.1", b"", 1),
        "bad-method": get(method=b"G(T"),
        "empty-method": get(method=b""),
        "lower-method": get(method=b"get"),
        "vtab-target": get(b"/v1\x0b/models"),
        "nul-target": get(b"/v1/mod\x00els"),
        "8bit-target": get(b"/v1/mod\xc3\xa9ls"),
        "del-target": get(b"/v1/mod\x7fels"),
        "bare-cr-line": get().replace(b"HTTP/1.1\r\n", b"HTTP/1.1\r", 1),
    }.items():
        yield Row(
            f"H2-{name}",
            line,
            (400, 405, 501, 505) if name == "lower-method" else (400, 505),
            close=name != "lower-method",
        )

    # H3, H4
    yield Row(
        "H3-h2-preface", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n" + b"\x00\x00\x00\x04\x00\x00\x00\x00\x00", (400, 505)
    )
    hello = bytes.fromhex("16030100c8010000c40303") + bytes(range(32)) + b"\x00" * 157
    yield Row("H4-client-hello", hello, bad, allow_empty=True)
    yield Row(
        "H4-sslv2-hello",
        bytes.fromhex("802e0100020015000000100100800200800600400400800300800500800a") + b"\x00" * 18,
        bad,
        allow_empty=True,
    )

    # H6 forms of the target
    for name, raw in {
        "connect": get(b"evil.test:443", method=b"CONNECT"),
        "connect-path": get(b"/v1/models", method=b"CONNECT"),
        "trace": get(b"/v1/models", b"X-Secret: canary-trace", method=b"TRACE"),
        "get-star": get(b"*"),
        "options-authority": get(b"evil:80", method=b"OPTIONS"),
        "no-slash": get(b"v1/models"),
        "query-only": get(b"?x=1"),
    }.items():
        yield Row(f"H6-{name}", raw, (400, 405), close=name not in ("trace", "connect-path"))

    # H7 absolute form
    yield Row("H7-evil-authority", post(line=b"POST http://evil.test/v1/chat/completions HTTP/1.1"), bad)
    yield Row("H7-userinfo", get(b"http://gateway.test@evil.test/v1/models"), bad)
    yield Row("H7-other-scheme", get(b"ftp://gateway.test/v1/models"), bad)
    yield Row("H7-no-path-trick", get(b"http:/v1/models"), bad)

    # H8 paths are not normalised
    for target in (
        b"//v1//chat/completions",
        b"/v1/%63hat/completions",
        b"/v1/../admin",
        b"/v1/%2e%2e/v1/models",
        b"/v1/models/../models",
        b"/v1/chat/completions/",
        b"/V1/models",
        b"/v1/./models",
        b"/v1/chat%2fcompletions",
        b"/v1/models;x",
    ):
        yield Row(f"H8-{target.decode()}", get(target), (404,), close=False)
    yield Row("H8-nul", get(b"/v1/chat/completions%00"), (400, 404), close=False)
    for target in (b"/v1/%zz", b"/v1/models/%", b"/v1/models/%4"):
        yield Row(f"H8-{target.decode()}", get(target), (400, 404), close=False)

    # H9 sizes
    yield Row("H9-target-8K+1", get(b"/" + b"a" * (8 * KIB)), (414,))
    yield Row("H9-target-64K", get(b"/" + b"a" * (64 * KIB)), (414,))
    yield Row("H9-block-16K+1", get(b"/v1/models", *[b"X-%d: %s" % (n, b"v" * 1000) for n in range(17)]), (431,))
    yield Row("H9-101-fields", get(b"/v1/models", *[b"X-%d: v" % n for n in range(99)]), (431,))
    yield Row("H9-64K-field", get(b"/v1/models", b"X: " + b"v" * (64 * KIB)), (431,))
    yield Row("H9-1M-field", get(b"/v1/models", b"X: " + b"v" * MIB), (431,))
    yield Row("H9-long-name", get(b"/v1/models", b"n" * (20 * KIB) + b": v"), (431,))
    yield Row("H34-same-field-1000x", get(b"/v1/models", *[b"X: v"] * 1000), (431,))

    # H10 header syntax
    for name, field in {
        "fold": b"X: a\r\n b",
        "fold-tab": b"X: a\r\n\tb",
        "fold-empty": b"X: a\r\n \r\nY: b",
        "space-colon": b"X : a",
        "tab-colon": b"X\t: a",
        "nul": b"X: a\x00b",
        "bare-cr": b"X: a\rb",
        "bare-cr-smuggle": b"X: a\rContent-Length: 5",
        "bare-lf": b"X: a\nY: b",
        "bare-lf-cl": b"X: a\nContent-Length: 5",
        "8bit-name": b"X\x80: a",
        "efname": b"\xef: a",
        "empty-name": b": a",
        "no-colon": b"X a",
        "brackets": b"[X]: a",
        "quote-name": b'"X": a',
        "slash-name": b"X/Y: a",
        "control": b"X: a\x01b",
        "del": b"X: a\x7fb",
        "vtab-value": b"X: \x0ba",
        "name-only": b"X",
        "space-first": b" X: a",
    }.items():
        yield Row(f"H10-{name}", get(b"/v1/models", field), bad)
    yield Row("H10-first-line-folded", get().replace(HOST, b" " + HOST), bad)
    yield Row("H10-all-bare-lf", get().replace(b"\r\n", b"\n"), bad)
    yield Row("H10-end-bare-lf", get()[:-2] + b"\n", bad)
    yield Row("H10-lf-crlf-mix", get().replace(HOST, HOST.replace(b"\r\n", b"\n")), bad)

    # H11, H12 Content-Length
    for name, value in {
        "plus": b"+5",
        "minus": b"-5",
        "hex": b"0x5",
        "underscore": b"5_0",
        "empty": b"",
        "two": b"5 5",
        "overflow": b"18446744073709551621",
        "40-digits": b"1" * 40,
        "float": b"5.0",
        "exp": b"5e1",
        "comma": b"5,5",
        "list": b"5, 5",
        "trailing-comma": b"5,",
        "letters": b"five",
        "tab-inside": b"5\t5",
        "nbsp": b"\xa05",
        "quoted": b'"5"',
        "semicolon": b"5;",
    }.items():
        yield Row(f"H11-{name}", post(b"Content-Length: " + value, length=False, body=b"12345"), bad)
    yield Row("H12-equal", post(b"Content-Length: %d" % len(BODY)), bad)
    yield Row("H12-different", post(b"Content-Length: 5"), bad)
    yield Row("H12-case", post(b"content-length: %d" % len(BODY)), bad)

    # H13 Transfer-Encoding
    te = b"Transfer-Encoding: "
    coded = chunked(BODY)
    yield Row("H13-cl-te", post(te + b"chunked", body=coded), bad)
    yield Row("H13-te-cl", chunks(coded, b"Content-Length: %d" % len(coded)), bad)
    yield Row("H13-te-cl-0", chunks(coded, b"Content-Length: 0"), bad)
    for name, value in {
        "xchunked": b"xchunked",
        "chunked-identity": b"chunked, identity",
        "identity": b"identity",
        "chunked-chunked": b"chunked, chunked",
        "gzip-chunked": b"gzip, chunked",
        "quoted": b'"chunked"',
        "empty": b"",
        "vtab": b"\x0bchunked",
        "chunked-x": b"chunked x",
        "param": b"chunked;q=1",
        "comma-first": b",chunked",
        "comma-last": b"chunked,",
        "fold": b"\r\n chunked",
        "nul": b"chunked\x00",
        "8bit": b"chunked\xa0",
        "deflate": b"deflate",
        "gzip": b"gzip",
        "single-quoted": b"'chunked'",
    }.items():
        yield Row(f"H13-te-{name}", chunks(coded, te=te + value), (400, 501))
    yield Row("H13-identity-cl", post(te + b"identity"), (400, 501))
    yield Row("H13-empty-te-cl", post(te), (400, 501))
    yield Row("H13-twice", chunks(coded, te + b"chunked"), bad)
    yield Row("H13-twice-identity", chunks(coded, te + b"identity"), (400, 501))
    yield Row("H13-http-1.0", chunks(coded, line=b"POST /v1/chat/completions HTTP/1.0"), bad)
    yield Row("H13-name-space", chunks(coded, te=b"Transfer-Encoding : chunked"), bad)
    yield Row("H13-get-te-identity", get(b"/v1/models", te + b"identity"), (400, 501))

    # H14 chunk syntax
    for name, data in {
        "0x": b"0x5\r\nabcde\r\n0\r\n\r\n",
        "plus": b"+5\r\nabcde\r\n0\r\n\r\n",
        "minus": b"-5\r\nabcde\r\n0\r\n\r\n",
        "space-before": b" 5\r\nabcde\r\n0\r\n\r\n",
        "space-after": b"5 \r\nabcde\r\n0\r\n\r\n",
        "empty": b"\r\nabcde\r\n0\r\n\r\n",
        "17-digits": b"00000000000000005\r\nabcde\r\n0\r\n\r\n",
        "overflow": b"10000000000000005\r\nabcde\r\n0\r\n\r\n",
        "max": b"ffffffffffffffff\r\nabcde\r\n0\r\n\r\n",
        "bare-lf-size": b"5\nabcde\r\n0\r\n\r\n",
        "bare-cr-size": b"5\rabcde\r\n0\r\n\r\n",
        "bare-lf-data": b"5\r\nabcde\n0\r\n\r\n",
        "data-long": b"5\r\nabcdef\r\n0\r\n\r\n",
        "data-short": b"5\r\nabcd\r\n0\r\n\r\n",
        "last-garbage": b"0\r\nXX",
        "underscore": b"1_0\r\nabcdefghijklmnop\r\n0\r\n\r\n",
        "not-hex": b"g\r\nabcde\r\n0\r\n\r\n",
        "ext-bare-lf": b"5;a\nb\r\nabcde\r\n0\r\n\r\n",
        "ext-bare-cr": b"5;a\rb\r\nabcde\r\n0\r\n\r\n",
        "ext-nul": b"5;a\x00\r\nabcde\r\n0\r\n\r\n",
        "last-bare-lf": b"5\r\nabcde\r\n0\n\n",
        "end-bare-lf": b"5\r\nabcde\r\n0\r\n\n",
        "comma": b"5,5\r\nabcde\r\n0\r\n\r\n",
        "trailer-no-colon": b"0\r\nabc\r\n\r\n",
        "trailer-fold": b"0\r\nA: b\r\n c\r\n\r\n",
        "trailer-bare-lf": b"0\r\nA: b\nC: d\r\n\r\n",
    }.items():
        yield Row(f"H14-{name}", chunks(data), bad)

    # H15, H16 extensions and trailers
    last = b"0\r\n\r\n"
    yield Row("H15-ext-1K+1", chunks(b"%x;%s\r\n%s\r\n" % (len(BODY), b"x" * (KIB + 1), BODY) + last), (400, 413))
    yield Row("H15-ext-20K", chunks(b"%x;%s\r\n%s\r\n" % (len(BODY), b"x" * (20 * KIB), BODY) + last), (400, 413))
    yield Row("H15-ext-total", chunks(b"".join(b"1;%s\r\n%c\r\n" % (b"x" * 900, c) for c in BODY) + last), (400, 413))
    yield Row("H16-10k-fields", chunks(coded[:-2] + b"".join(b"X-%d: v\r\n" % n for n in range(10_000)) + b"\r\n"), bad)
    yield Row("H16-33-fields", chunks(coded[:-2] + b"".join(b"X-%d: v\r\n" % n for n in range(33)) + b"\r\n"), bad)
    yield Row("H16-8K+1", chunks(coded[:-2] + b"X: " + b"v" * (8 * KIB) + b"\r\n\r\n"), bad)
    yield Row("H16-64K-field", chunks(coded[:-2] + b"X: " + b"v" * (65 * KIB) + b"\r\n\r\n"), bad)

    # H17 too large by Content-Length: refused before the body is sent
    for name, value in {"32M+1": 32 * MIB + 1, "10G": 10 * 1024 * MIB, "10^17": 10**17}.items():
        yield Row(f"H17-{name}", post(b"Content-Length: %d" % value, length=False, body=b""), (413,))

    # H37 0.CL
    yield Row("H37-expect-obfuscated", get(b"/v1/models", b"Expect: y 100-continue", b"Content-Length: 30"), (400, 417))


ROWS = list(rows())
assert len({row.id for row in ROWS}) == len(ROWS)


@pytest.mark.parametrize("row", ROWS, ids=[row.id for row in ROWS])
def test_refused(gateway: Gateway, row: Row) -> None:
    began = time.monotonic()
    with connect(gateway, timeout=5 * SLACK) as connection:
        connection.send(row.raw + (SMUGGLED if row.close else b""))
        try:
            answer = connection.read_answer(method_of(row.raw))
        except Closed:
            assert row.allow_empty, "closed without an answer"
            return
        assert answer.status in row.statuses, (answer.status, answer.body[:300])
        check_answer(answer)
        assert b"canary-trace" not in answer.body
        if row.close:
            assert answer.header("connection") == "close", answer.headers
            assert connection.closed_within(3 * SLACK), "not closed, or bytes of the tail were answered"
    assert time.monotonic() - began < 2 * SLACK


GOOD = {
    "plain-get": (get(), 200),
    "post": (post(), 200),
    "chunked": (chunks(chunked(BODY)), 200),
    "chunked-many": (chunks(chunked(BODY, 3)), 200),
    "chunked-upper-case": (chunks(chunked(BODY), te=b"TRANSFER-ENCODING: Chunked"), 200),
    "chunk-ext-small": (chunks(b"%x;name=value\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)), 200),
    "chunk-ext-quoted": (chunks(b'%x;n="a;b"\r\n%s\r\n0\r\n\r\n' % (len(BODY), BODY)), 200),
    "chunk-leading-zeros": (chunks(b"0%x\r\n%s\r\n0\r\n\r\n" % (len(BODY), BODY)), 200),
    "trailer-small": (chunks(chunked(BODY)[:-2] + b"X-Sum: 1\r\n\r\n"), 200),
    "host-port": (get(host=b"Host: gateway.test:8080\r\n"), 200),
    "host-ipv6": (get(host=b"Host: [::1]:80\r\n"), 200),
    "host-no-space": (get(host=b"Host:gateway.test\r\n"), 200),
    "absolute-form-own-host": (get(b"http://gateway.test/v1/models"), 200),
    "query": (get(b"/v1/models?limit=1"), 200),
    "cookie-8k": (get(b"/v1/models", b"Cookie: " + b"c" * 8000), 200),
    "100-fields": (get(b"/v1/models", *[b"X-%d: v" % n for n in range(98)]), 200),
    "target-8k": (get(b"/" + b"a" * (8 * KIB - 1)), 404),
    "value-8bit": (get(b"/v1/models", b"X: caf\xe9"), 200),
    "value-tab": (get(b"/v1/models", b"X: a\tb"), 200),
    "empty-value": (get(b"/v1/models", b"X:"), 200),
    "odd-name": (get(b"/v1/models", b"!#$%&'*+-.^_`|~9: v"), 200),
    "H36-accept-html": (post(b"Accept: text/html", b"Accept-Encoding: br"), 200),
    "H5-upgrade-h2c": (
        post(b"Connection: Upgrade, HTTP2-Settings", b"Upgrade: h2c", b"HTTP2-Settings: AAMAAABkAARAAAAAAAIAAAAA"),
        200,
    ),
    "H5-upgrade-websocket": (
        post(
            b"Connection: Upgrade",
            b"Upgrade: websocket",
            b"Sec-WebSocket-Version: 13",
            b"Sec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==",
        ),
        200,
    ),
    "content-type-charset": (post().replace(b"application/json", b"application/json; charset=utf-8"), 200),
    "content-type-case": (post().replace(b"application/json", b'Application/JSON;charset="UTF-8"'), 200),
    "get-with-body": (get(b"/v1/models", b"Content-Length: 5") + b"abcde", 200),
}


@pytest.mark.parametrize("name", GOOD)
def test_accepted(gateway: Gateway, name: str) -> None:
    """What is legal is answered, and the connection still frames the next request right."""
    raw, status = GOOD[name]
    with connect(gateway) as connection:
        for _ in range(2):
            connection.send(raw)
            answer = connection.read_answer(method_of(raw))
            assert answer.status == status, answer.body[:300]
            assert answer.interim == []
            assert answer.header("content-encoding") is None


def test_http_1_0(gateway: Gateway) -> None:
    for host in (HOST, b""):
        with connect(gateway) as connection:
            connection.send(get(version=b"HTTP/1.0", host=host))
            answer = connection.read_answer("GET")
            assert answer.status == 200 and answer.header("transfer-encoding") is None
            assert connection.closed_within(2)


def test_http_1_0_stream_is_not_chunked(gateway: Gateway) -> None:
    body = json.dumps(chat_body("demo", "hi", stream=True)).encode()
    with connect(gateway) as connection:
        connection.send(post(body=body, line=b"POST /v1/chat/completions HTTP/1.0"))
        answer = connection.read_answer()
        assert answer.status == 200 and answer.header("transfer-encoding") is None
        assert answer.body.endswith(b"data: [DONE]\n\n")


def test_leading_crlf_is_skipped_or_refused(gateway: Gateway) -> None:
    with connect(gateway) as connection:
        connection.send(b"\r\n" + get())
        assert connection.read_answer("GET").status in (200, 400)


@pytest.mark.parametrize(
    "fields",
    [(b"Content-Length: 0",), (b"Authorization: Bearer " + KEY.encode(),), (b"Host: other",)],
    ids=["content-length", "authorization", "host"],
)
def test_h16_trailers_are_never_merged(gateway: Gateway, fields: tuple[bytes, ...]) -> None:
    """Refused or dropped; with no key in the head, a key in the trailer must not open the door."""
    raw = chunks(chunked(BODY)[:-2] + b"".join(f + b"\r\n" for f in fields) + b"\r\n").replace(AUTH, b"")
    with connect(gateway) as connection:
        connection.send(raw)
        assert connection.read_answer().status in (400, 401)


def test_h15_a_million_one_byte_chunks_cost_little(gateway: Gateway) -> None:
    body = json.dumps(chat_body("demo", "x" * 10**6)).encode()
    raw = chunks(chunked(body, 1))
    before = gateway.cpu_s()
    with connect(gateway, timeout=30) as connection:
        connection.send(raw)
        answer = connection.read_answer()
    assert answer.status in (200, 400, 413)
    spent = gateway.cpu_s() - before
    assert SLOW or spent < 0.05 + len(raw) * 50e-9, f"{spent:.3f} s for {len(raw)} bytes"


# ---- H18 compressed and oversized bodies


@pytest.fixture(scope="module")
def small_bodies(start_module_gateway) -> Gateway:
    return start_module_gateway(config(demo_agent()), env={"PARLEY_BODY_BYTES_MAX": str(MIB)})


def gzip_of(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


H18 = {
    "gzip": (gzip_of(BODY), "gzip", 200),
    "x-gzip-case": (gzip_of(BODY), "GZIP", 200),
    "identity": (BODY, "identity", 200),
    "bomb-1000:1": (gzip_of(b" " * (64 * MIB)), "gzip", 413),
    "bomb-just-above": (gzip_of(b" " * (MIB + 1)), "gzip", 413),
    "truncated": (gzip_of(BODY)[:-9], "gzip", 400),
    "corrupt": (gzip_of(BODY)[:12] + b"\xff\xff\xff" + gzip_of(BODY)[15:], "gzip", 400),
    "not-gzip": (BODY, "gzip", 400),
    "trailing-garbage": (gzip_of(BODY) + b"garbage", "gzip", 400),
    "br": (BODY, "br", 415),
    "unknown": (BODY, "rot13", 415),
    "twice": (gzip_of(gzip_of(BODY)), "gzip, gzip", 415),
}


@pytest.mark.parametrize("name", H18)
@pytest.mark.parametrize("coded", [False, True], ids=["length", "chunked"])
def test_h18_content_encoding(small_bodies: Gateway, name: str, coded: bool) -> None:
    body, encoding, status = H18[name]
    began, rss = time.monotonic(), small_bodies.rss_bytes()
    headers = {"Content-Type": "application/json", "Content-Encoding": encoding}
    if coded:
        headers["Transfer-Encoding"] = "chunked"
        body = chunked(body, 1000)
    answer = call(small_bodies, "POST", "/v1/chat/completions", body, headers)
    assert answer.status == status, answer.body[:300]
    assert time.monotonic() - began < 2 * SLACK
    assert SLOW or small_bodies.rss_bytes() - rss < 16 * MIB


@pytest.mark.parametrize("coded", [False, True], ids=["length", "chunked"])
def test_h18_body_limit_is_exact(small_bodies: Gateway, coded: bool) -> None:
    for size, status in ((MIB, 200), (MIB + 1, 413)):
        body = BODY[:-1] + b" " * (size - len(BODY)) + b"}"
        assert len(body) == size
        answer = call(
            small_bodies,
            "POST",
            "/v1/chat/completions",
            chunked(body, 4096) if coded else body,
            {"Transfer-Encoding": "chunked"} if coded else None,
        )
        assert answer.status == status, (size, answer.body[:300])
        if status == 413:
            assert answer.error["code"] == "request_too_large"
            assert answer.header("connection") == "close"


# ---- H19, H20 Expect


EXPECT = b"Expect: 100-continue"
H19 = {
    "valid": (post(EXPECT), 200, [100]),
    "valid-case": (post(b"expect: 100-Continue"), 200, [100]),
    "bad-key": (post(EXPECT).replace(KEY.encode(), b"wrong"), 401, []),
    "too-large": (post(EXPECT, b"Content-Length: 99999999", length=False), 413, []),
    "unknown-path": (post(EXPECT, line=b"POST /v1/nothing HTTP/1.1"), 404, []),
    "wrong-type": (post(EXPECT).replace(b"application/json", b"text/plain"), 415, []),
    "unknown": (post(b"Expect: 200-ok"), 417, []),
    "list": (post(b"Expect: 100-continue, x"), 417, []),
}


@pytest.mark.parametrize("name", H19)
def test_h19_expect(gateway: Gateway, name: str) -> None:
    raw, status, interim = H19[name]
    head, body = raw.split(b"\r\n\r\n", 1)
    with connect(gateway) as connection:
        connection.send(head + b"\r\n\r\n")
        if interim:
            assert connection._line() == b"HTTP/1.1 100 Continue"
            assert connection._line() == b""
            connection.send(body)
        answer = connection.read_answer()
        assert (answer.status, answer.interim) == (status, []), answer.body[:300]


def test_h19_no_100_for_http_1_0_or_when_the_body_is_there(gateway: Gateway) -> None:
    with connect(gateway) as connection:
        connection.send(post(EXPECT, line=b"POST /v1/chat/completions HTTP/1.0"))
        answer = connection.read_answer()
        assert (answer.status, answer.interim) == (200, [])


@pytest.mark.parametrize("size", [len(SMUGGLED), 60 * KIB, 300 * KIB])
def test_h20_a_body_sent_after_a_refusal_is_not_a_request(gateway: Gateway, size: int) -> None:
    """The refused body is itself a valid request, many times over. None of it may be answered."""
    body = (SMUGGLED * (size // len(SMUGGLED) + 1))[:size]
    raw = post(EXPECT, body=body).replace(KEY.encode(), b"wrong")
    head, body = raw.split(b"\r\n\r\n", 1)
    with connect(gateway) as connection:
        connection.send(head + b"\r\n\r\n")
        answer = connection.read_answer()
        assert answer.status == 401
        connection.send(body)
        if answer.header("connection") == "close":
            assert connection.closed_within(5 * SLACK)
        else:
            connection.send(get())
            assert connection.read_answer("GET").status == 200


# ---- H21-H23 order on one connection


def test_h21_pipelined_requests_are_answered_in_order(gateway: Gateway) -> None:
    streaming = post(body=json.dumps(chat_body("demo", "hi", stream=True)).encode())
    with connect(gateway) as connection:
        connection.send(streaming + get(b"/v1/models/demo") + get(b"/v1/nothing"))
        first = connection.read_answer()
        assert first.status == 200 and first.body.endswith(b"data: [DONE]\n\n")
        if first.header("connection") == "close":
            assert connection.closed_within(2)
            return
        assert connection.read_answer("GET").json()["id"] == "demo"
        assert connection.read_answer("GET").status == 404


def test_pipelining_many(gateway: Gateway) -> None:
    with connect(gateway) as connection:
        connection.send(get(b"/v1/models/demo") * 200)
        for _ in range(200):
            assert connection.read_answer("GET").status == 200


UNREAD = {
    "401": (get().replace(AUTH, b""), 401),
    "404": (get(b"/v1/nothing"), 404),
    "405": (get(b"/v1/chat/completions"), 405),
}


@pytest.mark.parametrize("name", UNREAD)
def test_refused_requests_whose_answers_are_not_read_hold_little_memory(start_gateway, name: str) -> None:
    """Back pressure reaches who pipelines them: no more is read until what was answered is taken."""
    raw, status = UNREAD[name]
    gateway = start_gateway(config(demo_agent()), keys=(KEY,))
    before = gateway.rss_bytes()
    with connect(gateway, receive_buffer=4 * KIB) as connection:
        connection.sock.settimeout(0.5 * SLACK)
        burst, sent, end = raw * 2000, 0, time.monotonic() + 2 * SLACK
        try:
            while sent < 20 * MIB and time.monotonic() < end:
                sent += connection.sock.send(burst[sent % len(raw) :])
        except TimeoutError:
            pass
        assert SLOW or gateway.rss_bytes() - before < 16 * MIB, f"after {sent} bytes"
        assert call(gateway, "GET", "/livez").status == 200
        connection.sock.settimeout(15)
        for _ in range(2000):
            assert connection.read_answer("GET").status == status


def test_one_connection_does_not_keep_the_others_waiting(start_gateway) -> None:
    """Its next request is always there, and its answers are read as they come. The wait is told in the gateway's own
    time, so that a busy machine makes it no longer."""
    many = config(*[demo_agent(f"demo-{number}") for number in range(500)])  # an answer of a millisecond
    gateway = start_gateway(many, args=("--threads", "1"))
    raw, done = get(host=b"Host: 127.0.0.1\r\n", method=b"HEAD").replace(AUTH, b""), threading.Event()

    def ask(sock: socket.socket) -> None:
        burst, sent = raw * 4000, 0
        while not done.is_set():
            with contextlib.suppress(TimeoutError):
                sent += sock.send(burst[sent % len(raw) :])

    def take(sock: socket.socket) -> None:
        room = bytearray(MIB)
        while not done.is_set():
            with contextlib.suppress(TimeoutError):
                assert sock.recv_into(room) > 0

    with connect(gateway, timeout=0.2) as busy, ThreadPoolExecutor(2) as pool:
        threads = [pool.submit(ask, busy.sock), pool.submit(take, busy.sock)]
        try:
            time.sleep(0.5)
            for _ in range(5):
                before = gateway.cpu_s()
                assert call(gateway, "GET", "/livez", timeout=60).status == 200
                assert gateway.cpu_s() - before < 0.5 * SLACK
        finally:
            done.set()
        for thread in threads:
            thread.result()


def test_h22_valid_then_garbage(gateway: Gateway) -> None:
    with connect(gateway) as connection:
        connection.send(post() + b"garbage\r\n\r\n" + SMUGGLED)
        assert connection.read_answer().status == 200
        assert connection.read_answer().status == 400
        assert connection.closed_within(2)


def test_h23_head(gateway: Gateway) -> None:
    with connect(gateway) as connection:
        connection.send(get(method=b"HEAD") + get())
        head = connection.read_answer("HEAD")
        whole = connection.read_answer("GET")
        assert head.status == 200 and head.header("content-length") == str(len(whole.body))
        assert head.header("content-type") == whole.header("content-type")
        connection.send(get(b"/v1/chat/completions", method=b"HEAD"))
        answer = connection.read_answer("HEAD")
        assert answer.status == 405 and "POST" in answer.header("allow") and "GET" not in answer.header("allow")


def test_h23_a_malformed_request_after_head_is_told_why(gateway: Gateway) -> None:
    """Only the answer to HEAD has no body, not the next one."""
    with connect(gateway, timeout=5 * SLACK) as connection:
        connection.send(get(b"/health", method=b"HEAD"))
        assert connection.read_answer("HEAD").status == 200
        connection.send(get(b"/\x01"))
        answer = connection.read_answer("GET")
        assert answer.status == 400 and answer.error["message"]
        assert connection.closed_within(3 * SLACK)


# ---- H26-H29 slow and many clients


@pytest.fixture(scope="module")
def impatient(start_module_gateway) -> Gateway:
    limit = str(int(600 * SLACK))
    return start_module_gateway(
        config(demo_agent()),
        env={"PARLEY_HEADER_TIMEOUT_MS": limit, "PARLEY_BODY_TIMEOUT_MS": limit, "PARLEY_IDLE_TIMEOUT_MS": limit},
        keys=(KEY,),
    )


def trickle(connection: Connection, data: bytes, step_s: float, limit_s: float) -> float:
    """Sends byte by byte until the gateway has answered or closed; the seconds that took."""
    began = time.monotonic()
    connection.sock.setblocking(False)
    for byte in itertools.chain(data, itertools.repeat(0x61)):
        elapsed = time.monotonic() - began
        assert elapsed < limit_s, f"still open after {elapsed:.1f} s"
        try:
            connection.sock.send(bytes([byte]))
            if connection.sock.recv(1, socket.MSG_PEEK) is not None:
                break
        except BlockingIOError:
            time.sleep(step_s)
        except OSError:
            break
    connection.sock.settimeout(5)
    return time.monotonic() - began


@pytest.mark.parametrize("what", ["head", "body", "chunked-body"])
def test_h26_h27_slow_senders_are_cut(impatient: Gateway, what: str) -> None:
    """The deadline is for the whole head or body, not for each byte."""
    start, slow = {
        "head": (b"", b"GET /v1/models HTTP/1.1\r\nHost: x\r\nX-Long: "),
        "body": (post(b"Content-Length: 100000", length=False, body=b"{"), b""),
        "chunked-body": (chunks(b"ffff\r\n"), b""),
    }[what]
    with connect(impatient) as connection:
        connection.send(start)
        took = trickle(connection, slow, 0.03 * SLACK, 4 * SLACK)
        assert took > 0.4 * SLACK
        try:
            answer = connection.read_answer()
            assert answer.status == 408 and answer.header("connection") == "close"
            assert answer.error["message"]
        except Closed:
            assert what == "head", "a body that is too slow is told 408"
        assert connection.closed_within(3 * SLACK)


def test_h26_silence_after_connect(impatient: Gateway) -> None:
    with connect(impatient) as connection:
        assert wait_closed(connection) < 4 * SLACK


def test_h28_idle_connection_is_closed(impatient: Gateway) -> None:
    with connect(impatient) as connection:
        connection.send(get())
        assert connection.read_answer("GET").status == 200
        took = wait_closed(connection)
        assert 0.4 * SLACK < took < 4 * SLACK


def wait_closed(connection: Connection) -> float:
    """Seconds until the gateway closes; an answer 408 on the way is fine."""
    began = time.monotonic()
    connection.sock.settimeout(10 * SLACK)
    connection.read_all()
    return time.monotonic() - began


def test_h29_out_of_descriptors(start_gateway, upstream: up.FakeUpstream) -> None:
    """More clients than descriptors: a stream that runs is not disturbed, and all is well once they are gone."""
    wire = BY_NAME["openai"]
    upstream.on(up.pieces(wire.events, wire.content_type, pause_s=0.3))
    gateway = start_gateway(
        config(agent("slow", "p"), demo_agent(), p=wire.provider(upstream.url)), nofile=128, args=("--threads", "2")
    )
    from harness.api import Stream

    with Stream(gateway, chat_body("slow", "x", stream=True)) as running:
        events = iter(running)
        next(events)
        crowd = []
        for _ in range(400):
            sock = socket.socket()
            sock.setblocking(False)
            sock.connect_ex(gateway.address)
            crowd.append(sock)
        before = gateway.cpu_s()
        for _ in events:
            pass
        running.seen.check_complete()
        assert SLOW or gateway.cpu_s() - before < 0.8, "the accept loop spins while descriptors are short"
        for sock in crowd:
            sock.close()
    wait_until(lambda: _answers(gateway), what="a new client being served")


def _answers(gateway: Gateway) -> bool:
    try:
        return call(gateway, "GET", "/livez", timeout=2).status == 200
    except (OSError, Closed):
        return False


def test_h30_half_close_gets_the_whole_answer(gateway: Gateway) -> None:
    for streaming in (False, True):
        with connect(gateway) as connection:
            connection.send(post(body=json.dumps(chat_body("demo", "hi", stream=streaming)).encode()))
            connection.half_close()
            answer = connection.read_answer()
            assert answer.status == 200
            assert answer.body.endswith(b"data: [DONE]\n\n") if streaming else answer.json()["choices"]
            assert connection.closed_within(2)


@pytest.mark.parametrize(
    "raw",
    [b"", b"G", b"GET /v1/models HTTP/1.1\r\nHost: x", post()[:-5], chunks(b"5\r\nab"), chunks(b"5\r\nabcde\r\n0\r\n")],
    ids=["nothing", "one-byte", "half-head", "half-body", "half-chunk", "no-final-crlf"],
)
@pytest.mark.parametrize("how", ["fin", "reset", "half-close"])
def test_h31_clients_that_leave_in_the_middle(gateway: Gateway, raw: bytes, how: str) -> None:
    connection = connect(gateway)
    connection.send(raw)
    if how == "reset":
        connection.reset()
    elif how == "fin":
        connection.close()
    else:
        connection.half_close()
        got = connection.read_all()
        assert got == b"" or got.startswith((b"HTTP/1.1 400 ", b"HTTP/1.1 408 ")), got[:100]
        connection.close()
    assert call(gateway, "GET", "/livez").status == 200


def test_h31_reset_mid_stream_and_before_reading(gateway: Gateway) -> None:
    body = json.dumps(chat_body("demo", "word " * 2000, stream=True)).encode()
    for read in (False, True):
        for _ in range(5):
            connection = connect(gateway)
            connection.send(post(body=body))
            if read:
                connection.read_head()
                next(connection.body_pieces())
            connection.reset()
    assert call(gateway, "GET", "/livez").status == 200


def test_h32_a_client_that_does_not_read_holds_little_memory(start_gateway, upstream: up.FakeUpstream) -> None:
    """Back pressure reaches the upstream: it is read no faster than the client reads."""
    wire = BY_NAME["openai"]
    event = wire.events[2].replace(b"end", b"end" * 1000)

    def flood(exchange: up.Exchange) -> None:
        exchange.head(200, [up.SSE])
        exchange.write(wire.events[0])
        while exchange.body_bytes_sent < 200 * MIB:
            exchange.write(event)

    upstream.on(flood)
    gateway = start_gateway(config(agent("flood", "p"), p=wire.provider(upstream.url)))
    before = gateway.rss_bytes()
    with connect(gateway, receive_buffer=16 * KIB) as connection:
        connection.send(request_bytes(gateway, "POST", "/v1/chat/completions", chat_body("flood", "x", stream=True)))
        connection.read_head()
        exchange = upstream.wait_request()
        last = -1
        while last != exchange.body_bytes_sent:  # until the kernel's buffers are full and nothing moves
            last = exchange.body_bytes_sent
            time.sleep(0.5)
        assert last < 64 * MIB, "the upstream is read although the client does not read"
        assert SLOW or gateway.rss_bytes() - before < 4 * MIB
        assert call(gateway, "GET", "/livez").status == 200
    exchange.wait_closed()


def test_h32_a_client_that_stalls_is_let_go_and_a_slow_one_is_not(start_gateway, upstream: up.FakeUpstream) -> None:
    """The limit is for taking nothing at all, however long the answer takes as a whole."""
    wire = BY_NAME["openai"]
    event = wire.events[2].replace(b"end", b"end" * 1000)
    stall_s = 1.0 * SLACK

    def flood(exchange: up.Exchange) -> None:
        exchange.head(200, [up.SSE])
        exchange.write(wire.events[0])
        while True:
            exchange.write(event)

    upstream.on(flood)
    gateway = start_gateway(
        config(agent("flood", "p"), p=wire.provider(upstream.url)),
        env={"PARLEY_STALL_TIMEOUT_MS": str(int(stall_s * 1000))},
    )
    raw = request_bytes(gateway, "POST", "/v1/chat/completions", chat_body("flood", "x", stream=True))
    with connect(gateway) as slow, connect(gateway, receive_buffer=16 * KIB) as stalled:
        slow.send(raw)
        slow.read_head()
        slow_exchange = upstream.wait_request(1)
        stalled.send(raw)
        stalled.read_head()
        stalled_exchange = upstream.wait_request(2)
        began = time.monotonic()
        taken, pieces = 0, slow.body_pieces()
        while (elapsed := time.monotonic() - began) < 3 * stall_s:
            wanted = elapsed / stall_s * 8 * MIB
            while taken < wanted:
                taken += len(next(pieces))
            time.sleep(stall_s / 20)
        assert slow_exchange.peer_closed_at is None, "a client that reads slowly was cut"
        closed_after = stalled_exchange.wait_closed(10 * SLACK) - began
        assert 0.9 * stall_s < closed_after < 4 * stall_s
        with pytest.raises(Closed):  # it finds a cut, not an end, behind what had been sent
            for _ in stalled.body_pieces():
                pass
    slow_exchange.wait_closed(10 * SLACK)


def test_h32_a_client_that_pauses_is_no_model_that_is_silent(start_gateway, upstream: up.FakeUpstream) -> None:
    """While the client takes nothing, nobody asks the model for more: its time is not running."""
    wire = BY_NAME["openai"]
    event = wire.events[2].replace(b"end", b"end" * 10_000)

    def flood(exchange: up.Exchange) -> None:
        exchange.head(200, [up.SSE])
        exchange.write(wire.events[0])
        for _ in range(800):  # 24 MB: more than the sockets on the way take
            exchange.write(event)
        for last in wire.events[3:]:
            exchange.write(last)
        exchange.end()

    upstream.on(flood)
    provider = wire.provider(upstream.url, timeouts=timeouts(SLACK, idle_ms=500))
    gateway = start_gateway(config(agent("flood", "p"), p=provider))
    with connect(gateway, receive_buffer=16 * KIB) as connection:
        connection.send(request_bytes(gateway, "POST", "/v1/chat/completions", chat_body("flood", "x", stream=True)))
        connection.read_head()
        time.sleep(2.0 * SLACK)
        tail = b""
        for piece in connection.body_pieces():
            tail = (tail + piece)[-300:]
    assert tail.endswith(b"data: [DONE]\n\n"), tail
    (provider,) = call(gateway, "GET", "/health?detailed=true").json()["providers"]
    assert [end["failures_in_a_row"] for model in provider["models"] for end in model["endpoints"]] == [0]


# ---- H33 fragmentation


FRAGMENTED = {
    "length": post(b"X-Extra: 1"),
    "chunked": chunks(chunked(BODY, 40)[:-2] + b"X-Sum: 1\r\n\r\n"),
    "refused": post(b"Content-Length: 5"),
}


def same_answer(raw: bytes, answer: Answer) -> None:
    if raw is FRAGMENTED["refused"]:
        assert answer.status == 400
    else:
        assert answer.status == 200 and answer.json()["choices"][0]["message"]["content"]


@pytest.mark.parametrize("name", FRAGMENTED)
def test_h33_one_byte_at_a_time(gateway: Gateway, name: str) -> None:
    raw = FRAGMENTED[name]
    with connect(gateway) as connection:
        connection.send_pieces((raw[at : at + 1] for at in range(len(raw))), pause_s=0.0005)
        same_answer(raw, connection.read_answer())


@pytest.mark.parametrize("name", FRAGMENTED)
def test_h33_every_split_point(gateway: Gateway, name: str) -> None:
    raw = FRAGMENTED[name]
    connection = connect(gateway)
    for at in range(1, len(raw)):
        connection.send_pieces((raw[:at], raw[at:]), pause_s=0.0008)
        answer = connection.read_answer()
        same_answer(raw, answer)
        if answer.header("connection") == "close":
            connection.close()
            connection = connect(gateway)
    connection.close()


# ---- H34, H35


def test_h34_ambiguous_credentials(gateway: Gateway) -> None:
    for extra in (
        AUTH,
        b"Authorization: Bearer other\r\n",
        b"x-api-key: " + KEY.encode() + b"\r\n",
        b"api-key: other\r\n",
    ):
        with connect(gateway) as connection:
            connection.send(get().replace(AUTH, AUTH + extra))
            answer = connection.read_answer("GET")
            assert answer.status == 400, (extra, answer.status)
            assert answer.error["type"] == "invalid_request_error"


@pytest.mark.parametrize(
    "value",
    [
        None,
        "",
        "text/plain",
        "application/x-www-form-urlencoded",
        "application/json; charset=utf-16",
        "multipart/form-data; boundary=x",
        "application/jsonp",
        "application",
        "text/json; application/json",
    ],
)
def test_h35_content_type(gateway: Gateway, value: str | None) -> None:
    field = b"" if value is None else b"Content-Type: " + value.encode() + b"\r\n"
    with connect(gateway) as connection:
        connection.send(post().replace(JSON_TYPE, field))
        answer = connection.read_answer()
        assert answer.status == 415
        assert answer.error["type"] == "invalid_request_error"


# ---- A1, A2 credentials


A = {
    "none": None,
    "empty": b"",
    "scheme-only": b"Bearer",
    "scheme-space": b"Bearer ",
    "wrong": b"Bearer sk-edge-wrong",
    "wrong-scheme": b"Basic " + KEY.encode(),
    "no-scheme": KEY.encode(),
    "token-scheme": b"Token " + KEY.encode(),
    "prefix-20": b"Bearer " + KEY.encode()[:20],
    "longer": b"Bearer " + KEY.encode() + b"x",
    "other-case": b"Bearer " + KEY.upper().encode(),
    "two-tokens": b"Bearer " + KEY.encode() + b" x",
    "quoted": b'Bearer "' + KEY.encode() + b'"',
    "sql": b"Bearer ' OR 1=1 --",
    "8bit": b"Bearer caf\xe9",
    "list": b"Bearer x, Bearer " + KEY.encode(),
    "same-prefix": b"Bearer " + KEY.encode()[:20] + b"zzzzzzzzzzzzz",
}


@pytest.mark.parametrize("name", A)
def test_a1_a2_refused_credentials(gateway: Gateway, name: str) -> None:
    def answer_to(value: bytes | None) -> Answer:
        with connect(gateway) as connection:
            connection.send(get().replace(AUTH, b"" if value is None else b"Authorization: " + value + b"\r\n"))
            return connection.read_answer("GET")

    answer = answer_to(A[name])
    assert answer.status == 401
    error = answer.error
    assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "invalid_api_key", None)
    assert KEY[:12] not in answer.body.decode()
    assert answer.body == answer_to(b"Bearer sk-edge-other").body, "the body tells how the key was wrong"


def test_a2_huge_key(gateway: Gateway) -> None:
    with connect(gateway) as connection:
        connection.send(get().replace(AUTH, b"Authorization: Bearer " + b"k" * MIB + b"\r\n"))
        assert connection.read_answer("GET").status in (401, 431)


def test_bearer_scheme_is_case_insensitive(gateway: Gateway) -> None:
    assert call(gateway, "GET", "/v1/models", headers={"Authorization": f"bearer {KEY}"}, key=None).status == 200


def test_several_keys(start_gateway) -> None:
    gateway = start_gateway(config(demo_agent()), keys=("sk-one-0123456789", "sk-two-0123456789"))
    for key, status in (
        ("sk-one-0123456789", 200),
        ("sk-two-0123456789", 200),
        ("sk-one-0123456789,sk-two-0123456789", 401),
        ("", 401),
    ):
        assert (
            call(gateway, "GET", "/v1/models", headers={"Authorization": f"Bearer {key}"}, key=None).status == status
        ), key


def test_keep_alive_survives_a_refused_request_of_the_application(gateway: Gateway) -> None:
    """A 4xx of a well-framed request costs no connection."""
    with connect(gateway) as connection:
        for raw, status in (
            (post(body=b"{}"), 400),
            (get(b"/v1/nothing"), 404),
            (get(b"/v1/models/none"), 404),
            (post(), 200),
        ):
            connection.send(raw)
            answer = connection.read_answer()
            assert answer.status == status
            assert answer.header("connection") != "close"


def test_chat_helper_agrees(gateway: Gateway) -> None:
    assert chat(gateway, "demo").json()["model"] == "demo"
