"""`fallbacks`: other agents' models stand in, in order, and only while nothing has reached the client."""

from __future__ import annotations

import pytest

from harness import upstream as up
from harness.api import chat, stream
from harness.configs import agent, config, timeouts
from harness.gateway import SLACK, Gateway
from harness.wires import BY_NAME, TEXT, chunk, sse

WIRE, OTHER = BY_NAME["openai"], BY_NAME["ollama"]


@pytest.fixture
def second():
    fake = up.FakeUpstream()
    yield fake
    fake.stop()


@pytest.fixture
def gateway(start_gateway, upstream: up.FakeUpstream, second: up.FakeUpstream) -> Gateway:
    refused = up.RefusedPort()
    agents = (
        agent("main", "first", fallbacks=["spare"], system_prompt="main's prompt"),
        agent("spare", "second", model="spare-model", system_prompt="spare's prompt"),
        agent("down", "refused", fallbacks=["main", "spare"]),
        agent("keyless", "nokey", fallbacks=["spare"]),
        agent("dead", "refused"),
    )
    gateway = start_gateway(
        config(
            *agents,
            first=WIRE.provider(upstream.url, timeouts=timeouts(SLACK)),
            second=OTHER.provider(second.url, timeouts=timeouts(SLACK)),
            refused=WIRE.provider(refused.url),
            nokey=WIRE.provider(upstream.url, api_key="${NO_SUCH_KEY}"),
        )
    )
    yield gateway
    refused.stop()


FAILURES = {
    "500": up.json_reply({"error": {"message": "x"}}, 500),
    "503": up.json_reply({"error": {"message": "x"}}, 503),
    "529": up.json_reply({"error": {"message": "x"}}, 529),
    "429": up.json_reply({"error": {"message": "x"}}, 429),
    "401": up.json_reply({"error": {"message": "x"}}, 401),
    "hang": up.hang_before_head,
    "reset": up.reset_before_head,
    "close": up.close_before_head,
    "garbage": up.reply(b"<html>", 200, [("Content-Type", "text/html")]),
    "redirect": up.reply(b"", 302, [("Location", "http://127.0.0.1:1/")]),
    "error-in-200": up.json_reply({"error": {"message": "x"}}),
}


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("name", FAILURES)
def test_the_second_answers_when_the_first_fails(
    gateway: Gateway, upstream: up.FakeUpstream, second: up.FakeUpstream, name: str, streaming: bool
) -> None:
    upstream.on(FAILURES[name])
    second.on(up.pieces(OTHER.events, OTHER.content_type) if streaming else up.json_reply(OTHER.answer))
    if streaming:
        seen = stream(gateway, "main").check_complete()
        assert seen.text == TEXT and seen.chunks[0]["model"] == "main"
    else:
        body = chat(gateway, "main").json()
        assert body["choices"][0]["message"]["content"] == TEXT and body["model"] == "main"
    sent = second.last.request.json()
    assert sent["model"] == "spare-model"
    assert sent["messages"][0]["content"] == "main's prompt", "only provider and model stand in, not the other's prompt"


def test_in_order(gateway: Gateway, upstream: up.FakeUpstream, second: up.FakeUpstream) -> None:
    upstream.on(up.json_reply(WIRE.answer))
    second.on(up.json_reply(OTHER.answer))
    assert chat(gateway, "down").status == 200
    assert len(upstream.requests) == 1 and not second.requests


def test_missing_credentials_of_the_first(gateway: Gateway, second: up.FakeUpstream) -> None:
    second.on(up.json_reply(OTHER.answer))
    assert chat(gateway, "keyless").json()["choices"][0]["message"]["content"] == TEXT


@pytest.mark.parametrize("ending", ["reset", "fin", "hang", "error"])
def test_not_after_the_first_token(
    gateway: Gateway, upstream: up.FakeUpstream, second: up.FakeUpstream, ending: str
) -> None:
    events = [sse(chunk({"role": "assistant", "content": "one "}))]
    upstream.on(up.pieces(events + [WIRE.error_event]) if ending == "error" else up.pieces(events, then=ending))
    seen = stream(gateway, "main")
    seen.check_failed()
    assert seen.text == "one " and not second.requests


def test_before_the_first_token_of_a_stream_that_has_begun(
    gateway: Gateway, upstream: up.FakeUpstream, second: up.FakeUpstream
) -> None:
    """The head of the upstream's answer, and a role, are nothing that a client has seen."""
    upstream.on(up.pieces([sse(chunk({"role": "assistant", "content": ""}))], then="fin"))
    second.on(up.pieces(OTHER.events, OTHER.content_type))
    assert stream(gateway, "main").check_complete().text == TEXT


@pytest.mark.parametrize("status", [400, 422])
def test_not_for_the_clients_own_mistakes(
    gateway: Gateway, upstream: up.FakeUpstream, second: up.FakeUpstream, status: int
) -> None:
    upstream.on(
        up.json_reply(
            {
                "error": {
                    "message": "bad request",
                    "type": "invalid_request_error",
                    "code": "invalid_value",
                    "param": "top_k",
                }
            },
            status,
        )
    )
    assert chat(gateway, "main").status in (400, 422)
    assert len(upstream.requests) == 1 and not second.requests


def test_all_down(gateway: Gateway, upstream: up.FakeUpstream, second: up.FakeUpstream) -> None:
    upstream.on(up.json_reply({"error": {"message": "x"}}, 500))
    second.on(up.json_reply({"error": "x"}, 500))
    answer = chat(gateway, "down", timeout=30)
    assert answer.status in (502, 503) and answer.error["message"]
    assert chat(gateway, "dead").status == 502
