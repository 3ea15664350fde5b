"""Idempotency-Key: a request that is sent again gets the answer that was made for it, from any loop, in either form."""

from __future__ import annotations

import threading
import uuid

import pytest

from harness import upstream as up
from harness.api import Stream, call, chat, chat_body, connect, request_bytes, stream
from harness.configs import agent, config
from harness.gateway import Gateway, wait_until
from harness.rawhttp import Answer
from harness.wires import BY_NAME, TEXT

KEYS = ("sk-first-0123456789", "sk-second-0123456789")
WIRE = BY_NAME["openai"]


@pytest.fixture(scope="module")
def gateway(start_module_gateway, module_upstream: up.FakeUpstream) -> Gateway:
    configuration = config(
        agent("relay", "p"), agent("other", "p"), agent("shy", "p", tool_progress="quiet"), p=WIRE.provider(module_upstream.url)
    )
    return start_module_gateway(configuration, keys=KEYS, args=("--threads", "4"))


@pytest.fixture
def key() -> dict[str, str]:
    return {"Idempotency-Key": str(uuid.uuid4())}


def answer_both(exchange: up.Exchange) -> None:
    (up.pieces(WIRE.events) if exchange.request.json().get("stream") else up.json_reply(WIRE.answer))(exchange)


def replayed(answer: Answer) -> bool:
    value = answer.header("idempotent-replayed")
    assert value in (None, "true"), value
    return value == "true"


def test_json_is_replayed_byte_for_byte_by_every_loop(gateway: Gateway, upstream: up.FakeUpstream, key: dict) -> None:
    upstream.on(answer_both)
    first = chat(gateway, "relay", headers=key)
    assert first.status == 200 and not replayed(first)
    for _ in range(20):  # new connections: the kernel spreads them over the loops
        again = chat(gateway, "relay", headers=key)
        assert again.status == 200 and replayed(again)
        assert again.body == first.body
        assert again.header("x-request-id") != first.header("x-request-id")
    assert len(upstream.requests) == 1


@pytest.mark.parametrize("first_streams", [False, True])
def test_the_other_form_is_made_of_the_same_answer(
    gateway: Gateway, upstream: up.FakeUpstream, key: dict, first_streams: bool
) -> None:
    upstream.on(answer_both)
    usage = {"stream_options": {"include_usage": True}}

    def streamed():
        return stream(gateway, "relay", headers=key, **usage).check_complete(usage=True)

    if first_streams:
        live = streamed()
        whole = chat(gateway, "relay", headers=key)
        assert not replayed(live.answer) and replayed(whole)
        again = streamed()
    else:
        whole = chat(gateway, "relay", headers=key)
        live = again = streamed()
        assert not replayed(whole)
    assert replayed(again.answer)
    body = whole.json()
    assert again.text == live.text == body["choices"][0]["message"]["content"] == TEXT
    assert again.finish == body["choices"][0]["finish_reason"]
    assert again.usage == live.usage == body["usage"]
    assert {chunk["id"] for chunk in again.chunks} == {chunk["id"] for chunk in live.chunks} == {body["id"]}
    assert {chunk["created"] for chunk in again.chunks} == {body["created"]}
    assert len(upstream.requests) == 1


def test_without_the_header_every_request_runs(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    upstream.on(answer_both)
    assert chat(gateway, "relay").json()["id"] != chat(gateway, "relay").json()["id"]
    assert len(upstream.requests) == 2


def test_another_request_with_the_same_key_is_refused(gateway: Gateway, upstream: up.FakeUpstream, key: dict) -> None:
    upstream.on(answer_both)
    assert chat(gateway, "relay", headers=key).status == 200
    others = (
        chat(gateway, "relay", "something else", headers=key),
        chat(gateway, "other", headers=key),
        chat(gateway, "relay", headers=key, temperature=0.5),
        chat(gateway, "relay", headers={**key, "X-Session-Id": "another"}),
    )
    for other in others:
        assert other.status == 400
        error = other.error
        assert (error["type"], error["code"], error["param"]) == (
            "idempotency_error",
            "idempotency_key_reused",
            "idempotency-key",
        )
        assert other.header("x-should-retry") == "false"
    assert len(upstream.requests) == 1


def test_a_key_belongs_to_its_principal(gateway: Gateway, upstream: up.FakeUpstream, key: dict) -> None:
    upstream.on(answer_both)
    first = chat(gateway, "relay", headers=key)
    body = chat_body("relay", "hello")
    second = call(gateway, "POST", "/v1/chat/completions", body, key, key=KEYS[1])
    assert second.status == 200 and not replayed(second)
    assert second.json()["id"] != first.json()["id"]
    assert len(upstream.requests) == 2


def test_409_while_it_is_being_answered(gateway: Gateway, upstream: up.FakeUpstream, key: dict) -> None:
    go_on = threading.Event()

    def slowly(exchange: up.Exchange) -> None:
        go_on.wait(20)
        answer_both(exchange)

    upstream.on(slowly)
    with connect(gateway, timeout=20) as first:
        first.send(request_bytes(gateway, "POST", "/v1/chat/completions", chat_body("relay", "hello"), key))
        upstream.wait_request()
        for _ in range(8):
            busy = chat(gateway, "relay", headers=key)
            assert busy.status == 409
            assert busy.error["code"] == "request_in_progress" and busy.error["param"] == "idempotency-key"
            assert busy.header("x-should-retry") == "true" and int(busy.header("retry-after")) >= 1
        assert chat(gateway, "relay", "something else", headers=key).status == 400
        go_on.set()
        answer = first.read_answer("POST")
    assert answer.status == 200
    again = chat(gateway, "relay", headers=key)
    assert replayed(again) and again.body == answer.body
    assert len(upstream.requests) == 1


def test_errors_are_not_kept(gateway: Gateway, upstream: up.FakeUpstream, key: dict) -> None:
    upstream.queue(up.json_reply({"error": {"message": "x"}}, 500))
    upstream.on(answer_both)
    assert chat(gateway, "relay", headers=key).status == 502
    good = chat(gateway, "relay", headers=key)
    assert good.status == 200 and not replayed(good)
    assert replayed(chat(gateway, "relay", headers=key))


def test_an_error_in_mid_stream_is_not_kept(gateway: Gateway, upstream: up.FakeUpstream, key: dict) -> None:
    upstream.queue(up.pieces([*WIRE.events[:2], WIRE.error_event]))
    upstream.on(answer_both)
    stream(gateway, "relay", headers=key).check_failed()
    good = stream(gateway, "relay", headers=key).check_complete()
    assert not replayed(good.answer)


def test_a_client_that_leaves_frees_its_key(gateway: Gateway, upstream: up.FakeUpstream, key: dict) -> None:
    upstream.queue(up.pieces(WIRE.events[:2], then="hang"))
    upstream.on(answer_both)
    with Stream(gateway, chat_body("relay", "hello", stream=True), key) as running:
        running.head()
        assert chat(gateway, "relay", headers=key).status == 409
    wait_until(lambda: chat(gateway, "relay", headers=key).status == 200, what="the key to be free again")


@pytest.mark.parametrize("value", ["", "a b", "x" * 256, "caf\u00e9"])
def test_invalid_keys(gateway: Gateway, upstream: up.FakeUpstream, value: str) -> None:
    upstream.on(answer_both)
    answer = chat(gateway, "relay", headers={"Idempotency-Key": value})
    assert answer.status == 400
    assert answer.error["param"] == "idempotency-key" and "Idempotency-Key" in answer.error["message"]
    assert len(upstream.requests) == 0


def test_log_and_metrics(gateway: Gateway, upstream: up.FakeUpstream, key: dict) -> None:
    def count(outcome: str) -> float:
        page = call(gateway, "GET", "/metrics").body.decode()
        rows = [line for line in page.splitlines() if line.startswith("parley_idempotent_requests_total")]
        return float(next(line for line in rows if f'outcome="{outcome}"' in line).split(" ")[-1])

    upstream.on(answer_both)
    before = {outcome: count(outcome) for outcome in ("new", "replayed", "refused")}
    chat(gateway, "relay", headers=key)
    again = chat(gateway, "relay", headers=key)
    chat(gateway, "other", headers=key)
    assert {outcome: count(outcome) - before[outcome] for outcome in before} == {"new": 1, "replayed": 1, "refused": 1}
    line = gateway.wait_log(lambda log: log.get("request_id") == again.header("x-request-id"))
    assert line["replayed"] == "yes" and "prompt_tokens" not in line


# ---- x-parley-tool-progress


@pytest.mark.parametrize("value", ["quiet", "reasoning", "events"])
@pytest.mark.parametrize("model", ["relay", "shy"])
def test_tool_progress_can_be_asked_for(gateway: Gateway, upstream: up.FakeUpstream, model: str, value: str) -> None:
    upstream.on(answer_both)
    headers = {"X-Parley-Tool-Progress": value}
    assert stream(gateway, model, headers=headers).check_complete().text == TEXT
    assert "agent" not in chat(gateway, model, headers=headers).json(), "no tools have run"


@pytest.mark.parametrize("value", ["openwebui", "loud", "Quiet"])
def test_tool_progress_of_another_kind_is_refused(gateway: Gateway, value: str) -> None:
    answer = chat(gateway, "relay", headers={"X-Parley-Tool-Progress": value})
    assert answer.status == 400
    assert answer.error["param"] == "x-parley-tool-progress" and "reasoning" in answer.error["message"]
