"""POST /v1/chat/completions: JSON and SSE, as OpenAI's SDKs read them (facts/openai_api.md §1.3-1.6)."""

from __future__ import annotations

import json
import threading
import time

import pytest

from harness import upstream as up
from harness.api import Stream, call, chat, chat_body, stream
from harness.configs import agent, config, demo_agent
from harness.gateway import SLACK, Gateway
from harness.wires import BY_NAME, COMPLETION_TOKENS, DONE, PROMPT_TOKENS, TEXT, chunk, sse

WIRE = BY_NAME["openai"]
PROMPT = "You are terse.\nAlways."


@pytest.fixture(scope="module")
def gateway(start_module_gateway, module_upstream: up.FakeUpstream) -> Gateway:
    agents = (
        demo_agent(),
        agent("relay", "p"),
        agent("set", "p", system_prompt=PROMPT, model_settings={"temperature": 0.25, "top_k": 7, "max_tokens": 50}),
        agent("filed", "p", system_prompt_file="helper.md"),
    )
    return start_module_gateway(
        config(*agents, p=WIRE.provider(module_upstream.url)),
        files={"prompts/helper.md": "From a file.\n"},
        env={"PARLEY_HEARTBEAT_MS": str(int(150 * SLACK)), "PROMPTS_DIR_PATH": "prompts"},
    )


def relayed(upstream: up.FakeUpstream, *events: bytes) -> None:
    upstream.on(up.pieces([sse(chunk({"role": "assistant", "content": ""})), *events, DONE]))


# ---- the shape of answers


@pytest.mark.parametrize("model", ["demo", "relay"])
def test_json(gateway: Gateway, upstream: up.FakeUpstream, model: str) -> None:
    upstream.on(up.json_reply(WIRE.answer))
    answer = chat(gateway, model, "hello")
    assert answer.status == 200
    assert answer.header("content-type") == "application/json"
    assert int(answer.header("openai-processing-ms")) >= 0
    body = answer.json()
    assert body["object"] == "chat.completion" and body["model"] == model
    assert body["id"].startswith("chatcmpl-") and abs(body["created"] - time.time()) < 30
    (choice,) = body["choices"]
    assert choice["index"] == 0 and choice["finish_reason"] == "stop"
    assert choice["logprobs"] is None, "required by the specification"
    message = choice["message"]
    assert message["role"] == "assistant" and message["content"]
    assert message["refusal"] is None, "required by the specification"
    assert "tool_calls" not in message
    usage = body["usage"]
    assert usage["prompt_tokens"] + usage["completion_tokens"] == usage["total_tokens"] > 0
    if model == "relay":
        assert message["content"] == TEXT
        assert (usage["prompt_tokens"], usage["completion_tokens"]) == (PROMPT_TOKENS, COMPLETION_TOKENS)


@pytest.mark.parametrize("model", ["demo", "relay"])
@pytest.mark.parametrize("include", [None, False, True], ids=["absent", "false", "true"])
def test_stream(gateway: Gateway, upstream: up.FakeUpstream, model: str, include: bool | None) -> None:
    upstream.on(up.pieces(WIRE.events))
    fields = {} if include is None else {"stream_options": {"include_usage": include}}
    seen = stream(gateway, model, "hello", **fields).check_complete(usage=bool(include))
    assert seen.answer.status == 200
    assert seen.answer.header("content-type").split(";")[0] == "text/event-stream"
    assert seen.answer.header("cache-control") == "no-cache"
    assert int(seen.answer.header("openai-processing-ms")) >= 0
    assert seen.finish == "stop" and seen.text
    assert seen.chunks[0]["model"] == model and seen.chunks[0]["id"].startswith("chatcmpl-")
    if include:
        assert seen.chunks[-1]["choices"] == []
        assert all("usage" in part and part["usage"] is None for part in seen.chunks[:-1])
    else:
        assert all(part.get("usage") is None for part in seen.chunks)
        assert all(part["choices"] for part in seen.chunks)
    if model == "relay":
        assert seen.text == TEXT
        if include:
            assert seen.usage["prompt_tokens"] == PROMPT_TOKENS and seen.usage["completion_tokens"] == COMPLETION_TOKENS


def test_stream_and_json_of_demo_say_the_same(gateway: Gateway) -> None:
    text = chat(gateway, "demo", "say this").json()["choices"][0]["message"]["content"]
    assert stream(gateway, "demo", "say this").text == text
    assert "say this" in text


def test_deltas_come_as_they_arrive(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    """No delta waits for the next: each is held back until the client has the one before."""
    turn = threading.Semaphore(0)

    def script(exchange: up.Exchange) -> None:
        exchange.head(200, [up.SSE])
        for number in range(5):
            exchange.write(
                sse(chunk({"role": "assistant", "content": f"{number} "} if number == 0 else {"content": f"{number} "}))
            )
            assert turn.acquire(timeout=10)
        exchange.write(sse(chunk({}, "stop")) + DONE)
        exchange.end()

    upstream.on(script)
    with Stream(gateway, chat_body("relay", "x", stream=True)) as running:
        expected = 0
        for event in running:
            text = event["choices"][0]["delta"].get("content") if isinstance(event, dict) else None
            if text:
                assert text == f"{expected} "
                expected += 1
                turn.release()
    running.seen.check_complete()
    assert expected == 5


def test_role_is_sent_before_the_first_token_or_with_it(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    relayed(
        upstream,
        sse(chunk({"role": "assistant", "content": "a"})),
        sse(chunk({"role": "assistant", "content": "b"}, "stop")),
    )
    assert stream(gateway, "relay").check_complete().text == "ab"


def test_heartbeats_while_the_model_thinks(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    def script(exchange: up.Exchange) -> None:
        exchange.head(200, [up.SSE])
        exchange.write(sse(chunk({"role": "assistant", "content": "a"})))
        exchange.sleep(0.7 * SLACK)
        exchange.write(sse(chunk({"content": "b"}, "stop")) + DONE)
        exchange.end()

    upstream.on(script)
    seen = stream(gateway, "relay").check_complete()
    assert seen.text == "ab"
    assert 2 <= len(seen.comments) <= 8


# ---- what is relayed


def test_tool_calls(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    first = {"index": 0, "id": "call_a", "type": "function", "function": {"name": "f", "arguments": ""}}
    events = [
        sse(chunk({"tool_calls": [first]})),
        sse(chunk({"tool_calls": [{"index": 0, "function": {"arguments": '{"x":'}}]})),
        sse(chunk({"tool_calls": [{"index": 0, "function": {"arguments": ' "é\\n"}'}}]})),
        sse(
            chunk({"tool_calls": [{**first, "index": 1, "id": "call_b", "function": {"name": "g", "arguments": "{}"}}]})
        ),
        sse(chunk({}, "tool_calls")),
    ]
    relayed(upstream, *events)
    tools = [{"type": "function", "function": {"name": name, "parameters": {"type": "object"}}} for name in ("f", "g")]
    seen = stream(gateway, "relay", tools=tools).check_complete()
    assert seen.finish == "tool_calls"
    assert seen.tool_calls == [
        {"id": "call_a", "name": "f", "arguments": '{"x": "é\\n"}'},
        {"id": "call_b", "name": "g", "arguments": "{}"},
    ]
    assert upstream.last.request.json()["tools"] == tools
    answer = json.loads(json.dumps(WIRE.answer))
    answer["choices"][0] = {
        "index": 0,
        "finish_reason": "tool_calls",
        "message": {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"x": "é\\n"}'}}
            ],
        },
    }
    upstream.on(up.json_reply(answer))
    (choice,) = chat(gateway, "relay", tools=tools, tool_choice="required").json()["choices"]
    assert choice["finish_reason"] == "tool_calls" and choice["message"]["content"] is None
    assert choice["message"]["tool_calls"] == answer["choices"][0]["message"]["tool_calls"]
    assert upstream.last.request.json()["tool_choice"] == "required"


@pytest.mark.parametrize("field", ["reasoning_content", "reasoning"])
def test_reasoning_under_either_name(gateway: Gateway, upstream: up.FakeUpstream, field: str) -> None:
    relayed(
        upstream,
        sse(chunk({field: "hm "})),
        sse(chunk({field: "so"})),
        sse(chunk({"content": "yes"})),
        sse(chunk({}, "stop")),
    )
    seen = stream(gateway, "relay").check_complete()
    assert (seen.reasoning, seen.text) == ("hm so", "yes")


@pytest.mark.parametrize("reason", ["stop", "length", "content_filter"])
def test_finish_reasons(gateway: Gateway, upstream: up.FakeUpstream, reason: str) -> None:
    relayed(upstream, sse(chunk({"content": "x"})), sse(chunk({}, reason)))
    assert stream(gateway, "relay").check_complete().finish == reason


def test_refusal(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    relayed(upstream, sse(chunk({"refusal": "I can"})), sse(chunk({"refusal": "not"})), sse(chunk({}, "stop")))
    seen = stream(gateway, "relay").check_complete()
    assert "".join(part["choices"][0]["delta"].get("refusal") or "" for part in seen.chunks) == "I cannot"


def test_several_choices(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    def piece(index: int, delta: dict, finish: str | None = None) -> bytes:
        return sse({**chunk(), "choices": [{"index": index, "delta": delta, "finish_reason": finish}]})

    upstream.on(
        up.pieces(
            [
                piece(0, {"role": "assistant", "content": "a"}),
                piece(1, {"role": "assistant", "content": "b"}),
                piece(1, {}, "length"),
                piece(0, {}, "stop"),
                DONE,
            ]
        )
    )
    with Stream(gateway, chat_body("relay", "x", stream=True, n=2)) as running:
        seen = running.read()
    texts, ends, roles = {0: "", 1: ""}, {}, []
    for choice in (choice for part in seen.chunks for choice in part["choices"]):
        texts[choice["index"]] += choice["delta"].get("content") or ""
        roles += [choice["index"]] if "role" in choice["delta"] else []
        if choice["finish_reason"]:
            ends[choice["index"]] = choice["finish_reason"]
    assert (texts, ends, sorted(roles), seen.done) == ({0: "a", 1: "b"}, {0: "stop", 1: "length"}, [0, 1], True)
    assert upstream.last.request.json()["n"] == 2


def test_logprobs(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    logprobs = {"content": [{"token": "x", "logprob": -0.5, "bytes": [120], "top_logprobs": []}], "refusal": None}
    event = chunk({"content": "x"})
    event["choices"][0]["logprobs"] = logprobs
    relayed(upstream, sse(event), sse(chunk({}, "stop")))
    seen = stream(gateway, "relay", logprobs=True).check_complete()
    assert [c["logprobs"] for part in seen.chunks for c in part["choices"] if c.get("logprobs")] == [logprobs]


def test_usage_details(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    usage = {
        "prompt_tokens": 20,
        "completion_tokens": 9,
        "total_tokens": 29,
        "prompt_tokens_details": {"cached_tokens": 16},
        "completion_tokens_details": {"reasoning_tokens": 4},
    }
    upstream.on(up.json_reply({**WIRE.answer, "usage": usage}))
    got = chat(gateway, "relay").json()["usage"]
    assert {name: got[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")} == {
        name: usage[name] for name in ("prompt_tokens", "completion_tokens", "total_tokens")
    }
    assert got["prompt_tokens_details"]["cached_tokens"] == 16
    assert got["completion_tokens_details"]["reasoning_tokens"] == 4


# ---- what goes up


def test_agent_prompt_and_settings(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    upstream.on(up.json_reply(WIRE.answer))
    history = [
        {"role": "system", "content": "client's"},
        {"role": "user", "content": "one"},
        {"role": "assistant", "content": "two"},
        {"role": "user", "content": "three"},
    ]
    assert chat(gateway, "set", history, temperature=1.5, x_unknown={"kept": [1]}, user="u").status == 200
    sent = upstream.last.request.json()
    assert sent["messages"][0] == {"role": "system", "content": PROMPT}
    assert sent["messages"][1:] == history
    assert (sent["model"], sent["temperature"], sent["top_k"], sent["max_tokens"]) == ("gpt-x", 1.5, 7, 50)
    assert sent["x_unknown"] == {"kept": [1]} and sent["user"] == "u"
    assert not sent.get("stream")
    assert upstream.last.request.body.count(b'"temperature"') == 1
    chat(gateway, "filed")
    assert upstream.last.request.json()["messages"][0]["content"].rstrip("\n") == "From a file."


@pytest.mark.parametrize("name", ["max_tokens", "max_completion_tokens"])
def test_a_request_overrides_either_spelling_of_a_limit(gateway: Gateway, upstream: up.FakeUpstream, name: str) -> None:
    upstream.on(up.json_reply(WIRE.answer))
    chat(gateway, "set", **{name: 9})
    sent = upstream.last.request.json()
    assert {sent.get("max_tokens"), sent.get("max_completion_tokens")} == {9, None}, sent


def test_the_clients_key_and_headers_stay_here(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    upstream.on(up.json_reply(WIRE.answer))
    chat(
        gateway,
        "relay",
        "x",
        {
            "Authorization": "Bearer sk-client-secret",
            "Cookie": "a=b",
            "OpenAI-Organization": "org",
            "X-Forwarded-For": "1.2.3.4",
        },
    )
    head = str(upstream.last.request.headers)
    assert "sk-client-secret" not in head and "a=b" not in head and "1.2.3.4" not in head
    assert upstream.last.request.header("authorization") == WIRE.auth[1]


# ---- errors and the moment of the first byte


@pytest.mark.parametrize("streaming", [False, True])
def test_errors_before_the_first_token_are_plain(gateway: Gateway, upstream: up.FakeUpstream, streaming: bool) -> None:
    """J20: also when the stream has begun upstream but said nothing yet."""
    for script in (
        up.json_reply({"error": {"message": "no", "type": "invalid_request_error", "code": "x", "param": None}}, 400),
        up.pieces([WIRE.error_event]) if streaming else up.json_reply({"error": {"message": "no"}}),
    ):
        upstream.on(script)
        answer = chat(gateway, "relay", stream=streaming)
        assert answer.status >= 400 and answer.error["message"]


def test_errors_after_the_first_token_are_one_event(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    relayed(upstream, sse(chunk({"content": "some"})), WIRE.error_event)
    seen = stream(gateway, "relay")
    error = seen.check_failed()
    assert seen.text == "some" and not seen.truncated
    assert error["type"] == "server_error" and "the model fell over" in error["message"]


def test_a_request_that_asks_for_sse_with_bad_fields_gets_json(gateway: Gateway) -> None:
    answer = chat(gateway, "demo", stream=True, temperature="hot")
    assert answer.status == 400 and answer.error["param"] == "temperature"


# ---- headers


def test_request_id_is_returned_or_made(gateway: Gateway) -> None:
    assert chat(gateway, "demo", headers={"x-request-id": "my-id-12345678"}).header("x-request-id") == "my-id-12345678"
    made = {chat(gateway, "demo").header("x-request-id") for _ in range(3)} | {
        call(gateway, "GET", "/v1/models").header("x-request-id")
    }
    assert len(made) == 4
    for bad in ("", "a b", "x" * 5000, "caf\xe9\xff", '"quoted"{}'):
        given = chat(gateway, "demo", headers={"x-request-id": bad}).header("x-request-id")
        assert given and given != bad
    assert (
        stream(gateway, "demo", headers={"x-request-id": "stream-id-1234"}).answer.header("x-request-id")
        == "stream-id-1234"
    )
    assert (
        call(gateway, "GET", "/nothing", headers={"x-request-id": "error-id-1234"}).header("x-request-id")
        == "error-id-1234"
    )


def test_sdk_and_open_webui_headers_do_no_harm(gateway: Gateway) -> None:
    headers = {
        "Accept": "application/json",
        "X-Stainless-Lang": "js",
        "X-Stainless-Retry-Count": "1",
        "X-Stainless-Timeout": "600",
        "OpenAI-Beta": "x",
        "OpenAI-Project": "p",
        "X-OpenWebUI-User-Name": "Ann%20B",
        "X-OpenWebUI-Chat-Id": "c",
        "Idempotency-Key": "k",
    }
    assert chat(gateway, "demo", headers=headers).status == 200
    assert stream(gateway, "demo", headers=headers).check_complete()


def test_the_time_that_an_sdk_waits_bounds_an_answer_in_one_piece(gateway: Gateway) -> None:
    """It waits so long for the head of an answer, and that of a stream is out at once."""
    headers = {"X-Stainless-Timeout": "1"}
    asked = "/slow 300 one two three four five"
    assert stream(gateway, "demo", asked, headers).check_complete().text == "one two three four five"
    started = time.monotonic()
    answer = chat(gateway, "demo", asked, headers)
    assert answer.error["code"] == "deadline_exceeded" and time.monotonic() - started >= 0.9


# ---- demo


def test_demo_asks_for_a_tool_when_told(gateway: Gateway) -> None:
    tools = [{"type": "function", "function": {"name": "add", "parameters": {"type": "object"}}}]
    arguments = '{"a": 1, "b": [2, "x"]}'
    (choice,) = chat(gateway, "demo", f"/call add {arguments}", tools=tools).json()["choices"]
    assert choice["finish_reason"] == "tool_calls"
    (asked,) = choice["message"]["tool_calls"]
    assert asked["function"]["name"] == "add" and json.loads(asked["function"]["arguments"]) == json.loads(arguments)
    seen = stream(gateway, "demo", f"/call add {arguments}", tools=tools).check_complete()
    assert [(c["name"], json.loads(c["arguments"])) for c in seen.tool_calls] == [("add", json.loads(arguments))]
    messages = [
        {"role": "user", "content": f"/call add {arguments}"},
        choice["message"],
        {"role": "tool", "tool_call_id": asked["id"], "content": "canary-42"},
    ]
    (choice,) = chat(gateway, "demo", messages, tools=tools).json()["choices"]
    assert choice["finish_reason"] == "stop" and "canary-42" in choice["message"]["content"]


def test_demo_is_slow_with_and_without_streaming(gateway: Gateway) -> None:
    started = time.monotonic()
    assert chat(gateway, "demo", "/slow 100 one two three").json()["choices"][0]["message"]["content"] == "one two three"
    assert time.monotonic() - started >= 0.3


def test_demo_is_deterministic(gateway: Gateway) -> None:
    texts = {chat(gateway, "demo", "same").json()["choices"][0]["message"]["content"] for _ in range(3)}
    assert len(texts) == 1
