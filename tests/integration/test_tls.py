"""The gateway's own TLS listener: certificate and key by path, read again when the files change."""

from __future__ import annotations

import shutil
import signal
import socket
import ssl
import time
from pathlib import Path

import pytest

from harness.api import Stream, call, chat_body, connect, request_bytes
from harness.certs import Authority, Certificate
from harness.configs import config, demo_agent
from harness.gateway import SLACK, Gateway, StartFailed, wait_until
from harness.rawhttp import Connection


class Listener:
    def __init__(self, gateway: Gateway, cert: Path, key: Path, context: ssl.SSLContext) -> None:
        self.gateway, self.cert, self.key, self.context = gateway, cert, key, context

    def install(self, certificate: Certificate) -> None:
        for source, target in ((certificate.key, self.key), (certificate.cert, self.cert)):
            shutil.copy(source, target.with_suffix(".new"))
            target.with_suffix(".new").rename(target)

    def serial(self) -> str:
        with Connection(self.gateway.address, tls=self.context) as connection:
            return connection.sock.getpeercert()["serialNumber"]


@pytest.fixture
def listener(start_gateway, authority: Authority, tmp_path: Path) -> Listener:
    cert, key = tmp_path / "live.pem", tmp_path / "live.key"
    shutil.copy(authority.valid.cert, cert)
    shutil.copy(authority.valid.key, key)
    gateway = start_gateway(
        config(demo_agent()),
        env={
            "PARLEY_TLS_CERT": str(cert),
            "PARLEY_TLS_KEY": str(key),
            "PARLEY_HEADER_TIMEOUT_MS": str(int(800 * SLACK)),
        },
    )
    return Listener(gateway, cert, key, authority.client_context())


def test_answers_and_streams(listener: Listener) -> None:
    assert call(listener.gateway, "GET", "/v1/models", tls=listener.context).status == 200
    with Stream(listener.gateway, chat_body("demo", "hi", stream=True), tls=listener.context) as running:
        running.read().check_complete()


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.parametrize(
    ("least", "most", "accepted"),
    [
        ("TLSv1_3", "TLSv1_3", True),
        ("TLSv1_2", "TLSv1_2", True),
        ("TLSv1_1", "TLSv1_1", False),
        ("TLSv1", "TLSv1", False),
    ],
)
def test_versions(listener: Listener, least: str, most: str, accepted: bool) -> None:
    context = listener.context
    context.set_ciphers("DEFAULT:@SECLEVEL=0")
    context.minimum_version, context.maximum_version = ssl.TLSVersion[least], ssl.TLSVersion[most]
    if accepted:
        assert call(listener.gateway, "GET", "/livez", tls=context).status == 200
    else:
        with pytest.raises((ssl.SSLError, ConnectionResetError)):
            call(listener.gateway, "GET", "/livez", tls=context)


def test_certificate_is_reloaded(listener: Listener, authority: Authority) -> None:
    before = listener.serial()
    old = connect(listener.gateway, tls=listener.context)
    listener.install(authority.renewed)
    wait_until(lambda: listener.serial() != before, timeout=8, what="the new certificate being served")
    old.send(request_bytes(listener.gateway, "GET", "/livez"))
    assert old.read_answer("GET").status == 200, "connections that were open go on"
    old.close()


def test_a_bad_certificate_is_refused_and_the_old_one_stays(listener: Listener, authority: Authority) -> None:
    before = listener.serial()
    listener.cert.write_text("-----BEGIN CERTIFICATE-----\nnonsense\n-----END CERTIFICATE-----\n")
    time.sleep(1.5 * SLACK)
    assert listener.serial() == before
    assert call(listener.gateway, "GET", "/livez", tls=listener.context).status == 200


def test_h4_plain_http_on_the_tls_port(listener: Listener) -> None:
    with connect(listener.gateway) as connection:
        connection.send(request_bytes(listener.gateway, "GET", "/livez"))
        began = time.monotonic()
        connection.read_all()
        assert time.monotonic() - began < 1 * SLACK
    assert call(listener.gateway, "GET", "/livez", tls=listener.context).status == 200


def test_a_stalled_handshake_is_cut(listener: Listener) -> None:
    with socket.create_connection(listener.gateway.address, timeout=10 * SLACK) as sock:
        sock.sendall(bytes.fromhex("1603010200"))
        began = time.monotonic()
        while sock.recv(1024):
            pass
        assert time.monotonic() - began < 5 * SLACK


def test_close_notify_ends_an_answer(listener: Listener) -> None:
    """The end of TLS data is told, so that truncation can be noticed."""
    connection = connect(listener.gateway, tls=listener.context)
    connection.send(request_bytes(listener.gateway, "GET", "/livez", close=True))
    assert connection.read_answer("GET").status == 200
    assert connection.sock.recv(1) == b"", "an SSLEOFError here means that close_notify is missing"
    connection.close()


def test_a_refused_certificate_shows_in_health(listener: Listener, authority: Authority) -> None:
    def state() -> dict:
        return call(listener.gateway, "GET", "/health?detailed=true", tls=listener.context).json()["config"]

    before = state()
    listener.cert.unlink()
    listener.gateway.signal(signal.SIGHUP)
    wait_until(lambda: state()["refused"] > before["refused"], timeout=8, what="the refusal in health")
    assert f"{listener.cert}: No such file or directory" in state()["last_refusal"]
    listener.install(authority.renewed)
    wait_until(lambda: "last_refusal" not in state(), timeout=8, what="the renewed certificate")


@pytest.mark.parametrize("missing", ["key", "file", "key-file", "wrong-key"])
def test_start_fails_clearly(start_gateway, authority: Authority, missing: str) -> None:
    env = {"PARLEY_TLS_CERT": str(authority.valid.cert), "PARLEY_TLS_KEY": str(authority.valid.key)}
    if missing == "key":
        del env["PARLEY_TLS_KEY"]
    elif missing == "file":
        env["PARLEY_TLS_CERT"] = "/nonexistent/cert.pem"
    elif missing == "key-file":
        env["PARLEY_TLS_KEY"] = "nope.pem"
    else:
        env["PARLEY_TLS_KEY"] = str(authority.renewed.key)
    gateway = start_gateway(config(demo_agent()), start=False, env=env)
    with pytest.raises(StartFailed) as failure:
        gateway.start()
    text = str(failure.value)
    assert "exit code None" not in text and "exit code 0" not in text
    wanted = {
        "key": "PARLEY_TLS_KEY",
        "file": "/nonexistent/cert.pem: No such file or directory",
        "key-file": "the private key nope.pem: No such file or directory",
        "wrong-key": "key",
    }[missing]
    assert wanted in text
    gateway.kill()
