"""The OpenAI error shape on every path (facts/openai_api.md §1.5)."""

from __future__ import annotations

import threading

import pytest

from harness import upstream as up
from harness.api import Stream, call, chat, chat_body, connect
from harness.configs import agent, config, demo_agent
from harness.gateway import Gateway
from harness.rawhttp import Answer
from harness.wires import BY_NAME

KEY = "sk-errors-0123456789"
WIRE = BY_NAME["openai"]
INVALID = "invalid_request_error"


@pytest.fixture(scope="module")
def gateway(start_module_gateway, module_upstream: up.FakeUpstream) -> Gateway:
    return start_module_gateway(
        config(demo_agent(), agent("relay", "p"), p=WIRE.provider(module_upstream.url)), keys=(KEY,)
    )


def told(answer: Answer, status: int, kind: str, code: str | None, param: str | None = None) -> dict:
    assert answer.status == status, (answer.status, answer.body)
    error = answer.error
    assert (error["type"], error["code"], error["param"]) == (kind, code, param)
    return error


UNKNOWN = [
    "/v1",
    "/v1/",
    "/v1/model",
    "/v1/models/",
    "/v2/models",
    "/admin",
    "/favicon.ico",
    "/v1/chat",
    "/v1/completions",
    "/metrics/x",
    "/health/x",
]


@pytest.mark.parametrize("target", UNKNOWN)
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_404_unknown_route(gateway: Gateway, target: str, method: str) -> None:
    answer = call(gateway, method, target, {} if method == "POST" else None)
    error = told(answer, 404, INVALID, "unknown_url")
    assert target in error["message"] and method in error["message"]


METHODS = [
    ("/v1/chat/completions", ("GET", "PUT", "DELETE", "PATCH"), {"POST"}),
    ("/v1/models", ("POST", "DELETE", "PUT"), {"GET", "HEAD"}),
    ("/v1/models/demo", ("POST", "DELETE"), {"GET", "HEAD"}),
    ("/v1/embeddings", ("GET", "DELETE"), {"POST"}),
    ("/health", ("POST",), {"GET", "HEAD"}),
    ("/livez", ("POST",), {"GET", "HEAD"}),
    ("/readyz", ("POST",), {"GET", "HEAD"}),
    ("/metrics", ("POST",), {"GET", "HEAD"}),
    ("/openapi.json", ("POST",), {"GET", "HEAD"}),
    ("/docs", ("POST",), {"GET", "HEAD"}),
]


@pytest.mark.parametrize(("target", "methods", "allowed"), METHODS, ids=[row[0] for row in METHODS])
def test_405_says_what_is_allowed(gateway: Gateway, target: str, methods: tuple[str, ...], allowed: set[str]) -> None:
    for method in methods:
        answer = call(gateway, method, target, {} if method != "GET" else None)
        assert answer.status == 405
        assert answer.error["type"] == INVALID
        given = {name.strip() for name in (answer.header("allow") or "").split(",")}
        assert given - {"OPTIONS"} == allowed


def test_401(gateway: Gateway) -> None:
    for target in ("/v1/models", "/v1/models/demo", "/v1/chat/completions", "/v1/embeddings"):
        method = "GET" if "models" in target else "POST"
        answer = call(gateway, method, target, None if method == "GET" else {}, key=None)
        told(answer, 401, INVALID, "invalid_api_key")
        assert (
            answer.header(
                "www-authenticate",
            )
            == "Bearer"
        )


def test_unauthenticated_clients_learn_nothing_of_routes_and_models(gateway: Gateway) -> None:
    bodies = {
        call(gateway, "GET", target, key=None).body for target in ("/v1/models/demo", "/v1/models/none", "/v1/models")
    }
    assert len(bodies) == 1
    assert call(gateway, "POST", "/v1/chat/completions", b"{", key=None).status == 401


def test_404_model(gateway: Gateway) -> None:
    error = told(chat(gateway, "none"), 404, INVALID, "model_not_found", "model")
    assert "`none`" in error["message"]


def test_413(gateway: Gateway) -> None:
    answer = call(gateway, "POST", "/v1/chat/completions", b"", {"Content-Length": str(2**40)})
    told(answer, 413, INVALID, "request_too_large")


def test_415(gateway: Gateway) -> None:
    answer = call(gateway, "POST", "/v1/chat/completions", chat_body("demo", "x"), {"Content-Type": "text/plain"})
    assert answer.status == 415 and answer.error["type"] == INVALID


def test_400_names_the_field(gateway: Gateway) -> None:
    error = told(
        chat(gateway, "demo", [{"role": "user", "content": "a"}, {"role": "user", "content": 5}]),
        400,
        INVALID,
        "invalid_type",
        "messages[1].content",
    )
    assert "messages[1].content" in error["message"]


@pytest.mark.parametrize("streaming", [False, True])
def test_429_of_the_provider(gateway: Gateway, upstream: up.FakeUpstream, streaming: bool) -> None:
    upstream.on(
        up.json_reply(
            {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded", "param": None}},
            429,
            [("retry-after", "7")],
        )
    )
    answer = chat(gateway, "relay", stream=streaming)
    assert answer.status == 429
    assert answer.error["code"] == "rate_limit_exceeded"
    assert 6 <= int(answer.header("retry-after")) <= 7 and 6000 <= int(answer.header("retry-after-ms")) <= 7000


def test_quota_is_not_to_be_retried(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    upstream.on(
        up.json_reply(
            {
                "error": {
                    "message": "no money",
                    "type": "insufficient_quota",
                    "code": "insufficient_quota",
                    "param": None,
                }
            },
            429,
        )
    )
    answer = chat(gateway, "relay")
    told(answer, 429, "insufficient_quota", "insufficient_quota")
    assert answer.header("x-should-retry") == "false"
    assert len(upstream.requests) == 1


def test_context_length_and_content_filter_are_the_clients_to_fix(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    for code in ("context_length_exceeded", "content_filter"):
        upstream.on(
            up.json_reply({"error": {"message": "too much", "type": INVALID, "code": code, "param": "messages"}}, 400)
        )
        answer = chat(gateway, "relay")
        assert answer.status == 400 and answer.error["code"] == code and answer.error["type"] == INVALID


def test_provider_credentials_are_our_trouble(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    for status in (401, 403):
        upstream.on(
            up.json_reply(
                {"error": {"message": f"Incorrect API key provided: {WIRE.auth[1][7:]}", "code": "invalid_api_key"}},
                status,
            )
        )
        answer = chat(gateway, "relay")
        assert answer.status == 502 and answer.error["code"] == "upstream_auth"
        assert WIRE.auth[1][7:] not in answer.body.decode()


def _refused_by_the_head(gateway: Gateway, announced: int) -> None:
    """The answer comes before a byte of the body, also instead of `100 Continue`."""
    head = (
        f"POST /v1/chat/completions HTTP/1.1\r\nHost: localhost\r\nContent-Type: application/json\r\n"
        f"Content-Length: {announced}\r\n"
    )
    for more in ("", "Expect: 100-continue\r\n"):
        with connect(gateway) as client:
            client.send(f"{head}{more}\r\n".encode())
            answer = client.read_answer()
            told(answer, 503, "service_unavailable_error", "server_is_overloaded")
            assert answer.header("retry-after") and not answer.interim
            if announced <= 64 * 1024 and not more:  # which is read and dropped: the connection goes on
                client.send(b" " * announced + b"GET /livez HTTP/1.1\r\nHost: localhost\r\n\r\n")
                assert client.read_answer().status == 200
            else:
                assert answer.header("connection") == "close"


def test_too_many_at_once(start_gateway, upstream: up.FakeUpstream) -> None:
    """MAX_CONCURRENT_REQUESTS is for the whole gateway, however the kernel spreads connections over its loops."""
    release = threading.Event()

    def script(exchange: up.Exchange) -> None:
        release.wait(10)
        up.pieces(WIRE.events)(exchange)

    upstream.on(script)
    gateway = start_gateway(
        config(agent("relay", "p"), demo_agent(), p=WIRE.provider(upstream.url)),
        env={"MAX_CONCURRENT_REQUESTS": "8"},
        args=("--threads", "4"),
    )
    running = [Stream(gateway, chat_body("relay", "x", stream=True)) for _ in range(8)]
    try:
        upstream.wait_request(8, timeout=2)
        answer = chat(gateway, "demo")
        assert answer.status in (429, 503)
        assert answer.header("retry-after") and answer.header("retry-after-ms")
        assert answer.error["message"]
        assert call(gateway, "GET", "/v1/models").status == 200, "only runs count"
        for large in (64 * 1024, 20_000_000):
            _refused_by_the_head(gateway, large)
        release.set()
        for stream in running:
            stream.read().check_complete()
    finally:
        release.set()
        for stream in running:
            stream.connection.close()
    assert chat(gateway, "demo").status == 200
