"""The harness itself: a test that cannot fail proves nothing, so the fake upstream and the strict reader are
tested first.
"""

from __future__ import annotations

import socket
import ssl
import threading
import time

import pytest

from harness import upstream as up
from harness.certs import Authority
from harness.rawhttp import BadAnswer, Closed, Connection, build, chunked
from harness.upstream import FakeUpstream


def connection_to(upstream: FakeUpstream, **options) -> Connection:
    return Connection(("127.0.0.1", upstream.port), timeout=5, **options)


def answered(raw: bytes) -> Connection:
    """A connection on which `raw` has been received and the peer has closed."""
    listener = socket.create_server(("127.0.0.1", 0))
    connection = Connection(listener.getsockname()[:2], timeout=5)
    peer, _ = listener.accept()
    peer.sendall(raw)
    peer.close()
    listener.close()
    return connection


@pytest.mark.parametrize("framing", ["length", "chunked", "close"])
def test_replies_in_each_framing(upstream: FakeUpstream, framing: str) -> None:
    upstream.on(up.reply(b"body", 200, [up.JSON], framing=framing))
    with connection_to(upstream) as connection:
        connection.send(build("POST", "/x?y=1", [("A", "b")], b"sent"))
        answer = connection.read_answer()
        assert (answer.status, answer.body) == (200, b"body")
        assert connection.closed_within(1) == (framing == "close")
    request = upstream.requests[0]
    assert (request.method, request.target, request.body, request.header("a")) == ("POST", "/x?y=1", b"sent", "b")


def test_queue_comes_before_default_and_connections_are_kept(upstream: FakeUpstream) -> None:
    upstream.queue(up.json_reply(1), up.json_reply(2))
    upstream.on(up.json_reply(3))
    with connection_to(upstream) as connection:
        seen = []
        for _ in range(4):
            connection.send(build("GET", "/"))
            seen.append(connection.read_answer().json())
    assert seen == [1, 2, 3, 3]
    assert len({request.connection for request in upstream.requests}) == 1


@pytest.mark.parametrize(("then", "complete"), [("end", True), ("fin", False), ("reset", False)])
def test_endings(upstream: FakeUpstream, then: str, complete: bool) -> None:
    upstream.on(up.pieces([b"a", b"b"], then=then))
    with connection_to(upstream) as connection:
        connection.send(build("GET", "/"))
        connection.read_head()
        if complete:
            assert list(connection.body_pieces()) == [b"a", b"b"]
        else:
            with pytest.raises(Closed):
                list(connection.body_pieces())


def test_notices_a_peer_that_leaves(upstream: FakeUpstream) -> None:
    upstream.on(up.hang_before_head)
    connection = connection_to(upstream)
    connection.send(build("GET", "/"))
    exchange = upstream.wait_request()
    exchange.wait_reached()
    at = time.monotonic()
    connection.close()
    assert abs(exchange.wait_closed() - at) < 0.05


def test_notices_a_peer_that_leaves_under_tls(tls_upstream: FakeUpstream, authority: Authority) -> None:
    tls_upstream.on(up.pieces([b"data: 1\n\n"], then="hang"))
    connection = connection_to(tls_upstream, tls=authority.client_context())
    connection.send(build("GET", "/"))
    connection.read_head()
    assert next(connection.body_pieces()) == b"data: 1\n\n"
    at = time.monotonic()
    connection.close()
    assert abs(tls_upstream.last.wait_closed() - at) < 0.05


@pytest.mark.parametrize("which", ["valid", "renewed", "expired", "wrong_host", "self_signed"])
def test_certificates_are_what_they_say(authority: Authority, which: str) -> None:
    upstream = FakeUpstream(getattr(authority, which).server_context())
    upstream.on(up.json_reply({}))
    try:
        if which in ("valid", "renewed"):
            with connection_to(upstream, tls=authority.client_context()) as connection:
                connection.send(build("GET", "/"))
                assert connection.read_answer().status == 200
        else:
            reason = {"expired": "expired", "wrong_host": "Hostname mismatch", "self_signed": "self.signed"}[which]
            with pytest.raises(ssl.SSLCertVerificationError, match=reason):
                connection_to(upstream, tls=authority.client_context())
    finally:
        upstream.stop()


def test_refused_port_and_black_hole() -> None:
    refused, hole = up.RefusedPort(), up.BlackHole()
    with pytest.raises(ConnectionRefusedError):
        Connection(("127.0.0.1", int(refused.url.rsplit(":", 1)[1])))
    with pytest.raises(TimeoutError):
        Connection(("127.0.0.1", hole.port), timeout=0.3)
    refused.stop()
    hole.stop()


@pytest.mark.parametrize(
    "raw",
    [
        b"HTTP/1.1 200 OK\nContent-Length: 0\n\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nContent-Length: 1\r\nContent-Length: 1\r\n\r\n1",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1;x\r\na\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n1\r\nab\r\n0\r\n\r\n",
        b"HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        b"HTTP/1.0 200 OK\r\n\r\n",
    ],
)
def test_strict_reader_refuses(raw: bytes) -> None:
    with answered(raw) as connection, pytest.raises((BadAnswer, Closed)):
        connection.read_answer()


def test_strict_reader_reads_interim_and_chunked() -> None:
    with answered(
        b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n" + chunked(b"hello", 2)
    ) as connection:
        answer = connection.read_answer()
        assert (answer.interim, answer.body) == ([100], b"hello")
        assert connection.closed_within(1)


def test_truncation_is_not_an_end() -> None:
    with answered(b"HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc") as connection, pytest.raises(Closed):
        connection.read_answer()


def test_many_threads_share_one_upstream(upstream: FakeUpstream) -> None:
    upstream.on(up.json_reply("x"))

    def one() -> None:
        with connection_to(upstream) as connection:
            connection.send(build("GET", "/"))
            assert connection.read_answer().json() == "x"

    threads = [threading.Thread(target=one) for _ in range(50)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len(upstream.requests) == 50
