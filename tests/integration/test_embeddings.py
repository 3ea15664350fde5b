"""POST /v1/embeddings: passed through to the provider that serves the agent's model."""

from __future__ import annotations

import pytest

from harness import upstream as up
from harness.api import call
from harness.configs import agent, config, demo_agent
from harness.gateway import Gateway
from harness.wires import BY_NAME, WIRES

TARGETS = {
    "openai": "/v1/embeddings",
    "azure-cc": "/openai/deployments/gpt-x/embeddings?api-version=2024-10-21",
    "azure-cc-v1": "/openai/v1/embeddings",
    "azure-responses": "/openai/v1/embeddings",
    "azure-responses-classic": "/openai/deployments/gpt-x/embeddings?api-version=2025-04-01-preview",
    "openrouter": "/api/v1/embeddings",
}
ANSWER = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5, -1.25e-7]}],
    "model": "up",
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}


@pytest.fixture(scope="module")
def gateway(start_module_gateway, module_upstream: up.FakeUpstream) -> Gateway:
    providers = {wire.name: wire.provider(module_upstream.url) for wire in WIRES}
    return start_module_gateway(config(demo_agent(), *[agent(wire.name, wire.name) for wire in WIRES], **providers))


@pytest.mark.parametrize("name", TARGETS)
def test_passed_through(gateway: Gateway, upstream: up.FakeUpstream, name: str) -> None:
    upstream.on(up.json_reply(ANSWER))
    body = {"model": name, "input": ["a", "é"], "encoding_format": "base64", "dimensions": 2, "x_unknown": 1}
    answer = call(gateway, "POST", "/v1/embeddings", body)
    assert answer.status == 200, answer.body
    got = answer.json()
    assert (got["object"], got["data"], got["usage"]) == ("list", ANSWER["data"], ANSWER["usage"])
    request = upstream.last.request
    assert request.target == TARGETS[name] and request.header(BY_NAME[name].auth[0]) == BY_NAME[name].auth[1]
    sent = request.json()
    assert sent.pop("model", "gpt-x") == "gpt-x"
    assert sent == {key: value for key, value in body.items() if key != "model"}


def test_numbers_travel_as_they_were_sent(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    """Read into doubles they would become others, and some of them no JSON at all."""
    upstream.on(up.json_reply(ANSWER))
    for number in (b"12345678901234567890123", b"0e400", b"1.10", b"-0.0"):
        raw = b'{"model":"openai","\\u0069nput":"a","x_number":' + number + b"}"
        assert call(gateway, "POST", "/v1/embeddings", raw).status == 200
        assert b'"x_number":' + number in upstream.last.request.body
        assert b'"input":"a"' in upstream.last.request.body


@pytest.mark.parametrize("usage", [None, "none", 7, [], {}, {"prompt_tokens": None}, {"prompt_tokens": "3"}])
def test_usage_of_any_kind_is_passed_on(gateway: Gateway, upstream: up.FakeUpstream, usage: object) -> None:
    """Last in the answer, so that nothing stands behind it."""
    answer = {key: value for key, value in ANSWER.items() if key != "usage"} | {"usage": usage}
    upstream.on(up.json_reply(answer))
    got = call(gateway, "POST", "/v1/embeddings", {"model": "openai", "input": "a"})
    assert (got.status, got.json()) == (200, answer)


def test_a_large_one_is_judged_like_a_small_one(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    """It is read beside the loop."""
    upstream.on(up.json_reply(ANSWER))
    texts = ["x" * 1000] * 2000
    assert call(gateway, "POST", "/v1/embeddings", {"model": "openai", "input": texts}).status == 200
    assert upstream.last.request.json()["input"] == texts
    refused = call(gateway, "POST", "/v1/embeddings", {"model": "openai", "input": texts, "dimensions": 0})
    assert (refused.status, refused.error["param"]) == (400, "dimensions")


def test_ollama(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    """Either of Ollama's endpoints; the client sees OpenAI's shape."""

    def script(exchange: up.Exchange) -> None:
        native = exchange.request.target == "/api/embed"
        assert native or exchange.request.target == "/v1/embeddings", exchange.request.target
        up.json_reply({"model": "up", "embeddings": [[0.5, -1.25e-7]], "prompt_eval_count": 3} if native else ANSWER)(
            exchange
        )

    upstream.on(script)
    answer = call(gateway, "POST", "/v1/embeddings", {"model": "ollama", "input": "a"})
    assert answer.status == 200, answer.body
    assert answer.json()["data"][0]["embedding"] == [0.5, -1.25e-7] and answer.json()["object"] == "list"


REFUSED = {
    "no-model": ({"input": "a"}, 400, "model"),
    "no-input": ({"model": "openai"}, 400, "input"),
    "unknown": ({"model": "none", "input": "a"}, 404, "model"),
    "input-type": ({"model": "openai", "input": 5}, 400, "input"),
    "empty-input": ({"model": "openai", "input": []}, 400, "input"),
    "format": ({"model": "openai", "input": "a", "encoding_format": 1}, 400, "encoding_format"),
    "dimensions": ({"model": "openai", "input": "a", "dimensions": 0}, 400, "dimensions"),
}


@pytest.mark.parametrize("name", REFUSED)
def test_refused(gateway: Gateway, upstream: up.FakeUpstream, name: str) -> None:
    body, status, param = REFUSED[name]
    answer = call(gateway, "POST", "/v1/embeddings", body)
    assert answer.status == status and answer.error["param"] == param
    assert not upstream.requests


def test_errors_of_the_provider_are_mapped(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    for script, status, code in (
        (up.json_reply({"error": {"message": "bad key"}}, 401), 502, "upstream_auth"),
        (up.json_reply({"error": {"message": "slow", "code": "rate_limit_exceeded"}}, 429), 429, "rate_limit_exceeded"),
        (up.reply(b"<html>", 200, [("Content-Type", "text/html")]), 502, None),
        (up.close_before_head, 502, None),
    ):
        upstream.on(script)
        answer = call(gateway, "POST", "/v1/embeddings", {"model": "openai", "input": "a"})
        assert answer.status == status, answer.body
        assert code is None or answer.error["code"] == code


def test_demo_has_an_answer_of_its_own(gateway: Gateway) -> None:
    """Deterministic vectors, or a clear refusal: never a 500."""
    answer = call(gateway, "POST", "/v1/embeddings", {"model": "demo", "input": "a"})
    assert answer.status in (200, 400)
    if answer.status == 200:
        assert answer.json()["data"][0]["embedding"]
