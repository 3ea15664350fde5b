"""What may be wrong with the JSON of a chat request: rows J1-J22 of facts/reliability.md §1.5.

Each known field is given each wrong JSON type, by table: the answer is 400, and `param` says where.
"""

from __future__ import annotations

import copy
import json
import socket
import struct
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import upstream as up
from harness.api import call, chat, request_bytes, stream
from harness.configs import agent, config, demo_agent
from harness.gateway import SLACK, SLOW, Gateway, wait_until
from harness.rawhttp import Answer
from harness.wires import BY_NAME, sse

WIRE = BY_NAME["openai"]


@pytest.fixture(scope="module")
def gateway(start_module_gateway, module_upstream: up.FakeUpstream) -> Gateway:
    return start_module_gateway(config(demo_agent(), agent("relay", "p"), p=WIRE.provider(module_upstream.url)))


def post(gateway: Gateway, raw: bytes, **options) -> Answer:
    return call(gateway, "POST", "/v1/chat/completions", raw, **options)


def refused(answer: Answer, *, param: object = ..., code: str | None = None) -> dict:
    assert answer.status == 400, (answer.status, answer.body[:300])
    error = answer.error
    assert error["type"] == "invalid_request_error"
    if param is not ...:
        assert error["param"] == param, error
    if code:
        assert error["code"] == code, error
    return error


GOOD = b'{"model":"demo","messages":[{"role":"user","content":"hi"}]}'
DEEP = 100_000

NOT_JSON = {
    # J1
    "empty": b"",
    "white-space": b" \r\n\t ",
    "null": b"null",
    "array": b"[]",
    "string": b'"x"',
    "number": b"1",
    "true": b"true",
    # J2
    "truncated": GOOD[:-1],
    "truncated-string": GOOD[:-8],
    "trailing-comma": GOOD[:-1] + b",}",
    "array-comma": GOOD.replace(b"}]", b"},]"),
    "single-quotes": GOOD.replace(b'"', b"'"),
    "comment": b"/* x */" + GOOD,
    "line-comment": GOOD + b"// x",
    "nan": GOOD[:-1] + b',"temperature":NaN}',
    "infinity": GOOD[:-1] + b',"temperature":Infinity}',
    "minus-infinity": GOOD[:-1] + b',"seed":-Infinity}',
    "bom": b"\xef\xbb\xbf" + GOOD,
    "utf-16": GOOD.decode().encode("utf-16"),
    "utf-32": GOOD.decode().encode("utf-32"),
    "bare-key": GOOD.replace(b'"model"', b"model"),
    "leading-zero": GOOD[:-1] + b',"seed":01}',
    "plus": GOOD[:-1] + b',"seed":+1}',
    "dot": GOOD[:-1] + b',"seed":1.}',
    "hex": GOOD[:-1] + b',"seed":0x1}',
    "colon": GOOD.replace(b":", b"=", 1),
    "no-value": GOOD[:-1] + b',"seed":}',
    "bad-literal": GOOD[:-1] + b',"stream":tru}',
    "control": GOOD.replace(b"hi", b"h\x01i"),
    "raw-newline": GOOD.replace(b"hi", b"h\ni"),
    "raw-nul": GOOD.replace(b"hi", b"h\x00i"),
    "bad-escape": GOOD.replace(b"hi", b"\\x41"),
    "short-u": GOOD.replace(b"hi", b"\\u12"),
    "vtab-space": b"\x0b" + GOOD,
    "nbsp": b"\xc2\xa0" + GOOD,
    # J3
    "two-values": GOOD + GOOD,
    "garbage-behind": GOOD + b"x",
    "brace-behind": GOOD + b"}",
    "nul-behind": GOOD + b"\x00",
    # J5
    "deep-arrays": b"[" * DEEP,
    "deep-objects": b'[{"":' * (DEEP // 2),
    "deep-closed": GOOD[:-1] + b',"x":' + b"[" * DEEP + b"]" * DEEP + b"}",
    "deep-100": GOOD[:-1] + b',"x":' + b"[" * 100 + b"]" * 100 + b"}",
    # J6
    "1e400": GOOD[:-1] + b',"temperature":1e400}',
    "-1e999": GOOD[:-1] + b',"temperature":-1e999}',
    "1E400-unknown-field": GOOD[:-1] + b',"x":1E400}',
    "5000-digits": GOOD[:-1] + b',"seed":' + b"9" * 5000 + b"}",
    "exponent-overflow": GOOD[:-1] + b',"x":1e99999999999999999999}',
    "exponent-underflow": GOOD[:-1] + b',"x":1e-99999999999}',
    "exponent-underflow-in-message": GOOD.replace(b'"hi"', b'"hi","x":[-0.5E-99999999999]'),
    "exponent-of-zero": GOOD[:-1] + b',"x":0e99999999999}',
    # J9, J10
    "invalid-utf8": GOOD.replace(b"hi", b"\xff\xfe"),
    "overlong": GOOD.replace(b"hi", b"\xc0\xaf"),
    "cut-utf8": GOOD.replace(b"hi", b"\xf0\x9f\x98"),
    "utf8-surrogate": GOOD.replace(b"hi", b"\xed\xa0\x80"),
    "above-10ffff": GOOD.replace(b"hi", b"\xf4\x90\x80\x80"),
    "lone-high": GOOD.replace(b"hi", b"\\ud800"),
    "lone-low": GOOD.replace(b"hi", b"\\udc00"),
    "reversed-pair": GOOD.replace(b"hi", b"\\udc00\\ud800"),
    "cut-emoji": GOOD.replace(b"hi", b"ok \\ud83d"),
    "high-then-text": GOOD.replace(b"hi", b"\\ud83dabc"),
    "lone-in-key": GOOD[:-1] + b',"\\ud800":1}',
    "lone-in-unknown": GOOD[:-1] + b',"x":{"y":["\\ud800"]}}',
    "invalid-utf8-in-unknown": GOOD[:-1] + b',"x":"\xff"}',
    "invalid-utf8-in-key": GOOD[:-1] + b',"\xff":1}',
}


@pytest.mark.parametrize("name", NOT_JSON)
def test_not_one_sound_json_object(gateway: Gateway, name: str) -> None:
    began = time.monotonic()
    refused(post(gateway, NOT_JSON[name]))
    assert time.monotonic() - began < 1.0 * SLACK


def test_j6_exponents_that_other_readers_take_for_an_overflow(gateway: Gateway) -> None:
    """Very small numbers are 0 and sound; where the exponent itself is too long, readers differ."""
    error = refused(post(gateway, GOOD[:-1] + b',"x":1e-99999999999}'), code="invalid_json")
    assert "invalid or too large number at byte" in error["message"]
    for number in (b"1e-400", b"1e-99999999", b"0.00000000001e0"):
        assert post(gateway, GOOD[:-1] + b',"x":' + number + b"}").status == 200, number


def test_j5_depth_that_real_requests_have_is_fine(gateway: Gateway) -> None:
    """Tool schemas are nested; the limit of 32 counts from the top of the body."""
    assert post(gateway, GOOD[:-1] + b',"x":' + b"[" * 20 + b"]" * 20 + b"}").status == 200
    refused(post(gateway, GOOD[:-1] + b',"x":' + b"[" * 33 + b"]" * 33 + b"}"))


@pytest.mark.parametrize("key", ["model", "messages", "stream", "role", "content", "temperature", "metadata"])
def test_j4_duplicate_keys_are_named(gateway: Gateway, key: str) -> None:
    top = {
        "model": '"demo"',
        "messages": '[{"role":"user","content":"hi"}]',
        "stream": "false",
        "temperature": "1",
        "metadata": "{}",
    }
    if key in ("role", "content"):
        value = '"user"' if key == "role" else '"hi"'
        raw = f'{{"model":"demo","messages":[{{"role":"user","content":"hi","{key}":{value}}}]}}'
    else:
        raw = "{" + ",".join(f'"{name}":{value}' for name, value in top.items()) + f',"{key}":{top[key]}}}'
    error = refused(post(gateway, raw.encode()))
    assert key in error["message"] or key in (error["param"] or ""), error


def test_j4_escaped_duplicate(gateway: Gateway) -> None:
    """Two spellings of one key are one key."""
    refused(post(gateway, GOOD[:-1] + b',"m\\u006fdel":"other"}'))


# ---- J12: each field x each wrong type

RICH = {
    "model": "demo",
    "messages": [
        {"role": "system", "content": "be brief"},
        {
            "role": "user",
            "name": "ann",
            "content": [
                {"type": "text", "text": "look"},
                {"type": "image_url", "image_url": {"url": "data:image/png;base64,AAAA", "detail": "low"}},
            ],
        },
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_1", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
        },
        {"role": "tool", "tool_call_id": "call_1", "content": "4"},
        {"role": "user", "content": "go on"},
    ],
    "tools": [
        {
            "type": "function",
            "function": {"name": "f", "description": "d", "parameters": {"type": "object"}, "strict": False},
        }
    ],
    "tool_choice": "auto",
    "stream": False,
    "stream_options": {"include_usage": True},
    "temperature": 1,
    "top_p": 1,
    "n": 1,
    "stop": ["x"],
    "logit_bias": {"1": 0},
    "response_format": {"type": "text"},
    "user": "u",
    "metadata": {"k": "v"},
    "seed": 1,
    "max_completion_tokens": 100,
    "max_tokens": 100,
    "parallel_tool_calls": True,
    "reasoning_effort": "low",
    "frequency_penalty": 0,
    "presence_penalty": 0,
    "logprobs": True,
    "top_logprobs": 1,
    "store": False,
    "service_tier": "auto",
    "verbosity": "low",
    "modalities": ["text"],
}
# path -> JSON kinds that are right. Kinds: string, integer, number, boolean, array, object, null.
FIELDS = {
    "model": "string",
    "messages": "array",
    "messages[1]": "object",
    "messages[1].role": "string",
    "messages[0].content": "string array",
    "messages[1].content": "string array",
    "messages[3].content": "string array",
    "messages[2].content": "string array null",
    "messages[1].name": "string null",
    "messages[1].content[0]": "object",
    "messages[1].content[0].type": "string",
    "messages[1].content[0].text": "string",
    "messages[1].content[1].image_url": "object",
    "messages[1].content[1].image_url.url": "string",
    "messages[1].content[1].image_url.detail": "string null",
    "messages[2].tool_calls": "array null",
    "messages[2].tool_calls[0]": "object",
    "messages[2].tool_calls[0].id": "string",
    "messages[2].tool_calls[0].type": "string",
    "messages[2].tool_calls[0].function": "object",
    "messages[2].tool_calls[0].function.name": "string",
    "messages[2].tool_calls[0].function.arguments": "string",
    "messages[3].tool_call_id": "string",
    "tools": "array null",
    "tools[0]": "object",
    "tools[0].type": "string",
    "tools[0].function": "object",
    "tools[0].function.name": "string",
    "tools[0].function.description": "string null",
    "tools[0].function.parameters": "object null",
    "tools[0].function.strict": "boolean null",
    "tool_choice": "string object null",
    "stream": "boolean null",
    "stream_options": "object null",
    "stream_options.include_usage": "boolean null",
    "temperature": "integer number null",
    "top_p": "integer number null",
    "n": "integer null",
    "stop": "string array null",
    "stop[0]": "string",
    "logit_bias": "object null",
    "response_format": "object null",
    "response_format.type": "string",
    "user": "string object null",
    "metadata": "object null",
    "metadata.k": "string",
    "seed": "integer null",
    "max_completion_tokens": "integer null",
    "max_tokens": "integer null",
    "parallel_tool_calls": "boolean null",
    "reasoning_effort": "string null",
    "frequency_penalty": "integer number null",
    "presence_penalty": "integer number null",
    "logprobs": "boolean null",
    "top_logprobs": "integer null",
    "store": "boolean null",
    "service_tier": "string null",
    "verbosity": "string null",
    "modalities": "array null",
}
KINDS = {"string": "a string", "integer": 1, "number": 0.5, "boolean": True, "array": [], "object": {}, "null": None}
WRONG = [(path, kind) for path, right in FIELDS.items() for kind in KINDS if kind not in right.split()]


def replaced(path: str, value: object) -> dict:
    body = copy.deepcopy(RICH)
    steps: list[str | int] = []
    for part in path.replace("]", "").replace("[", ".#").split("."):
        steps.append(int(part[1:]) if part.startswith("#") else part)
    holder = body
    for step in steps[:-1]:
        holder = holder[step]
    holder[steps[-1]] = value
    return body


def test_j12_the_rich_request_itself_is_right(gateway: Gateway) -> None:
    answer = call(gateway, "POST", "/v1/chat/completions", RICH)
    assert answer.status == 200, answer.body


@pytest.mark.parametrize(("path", "kind"), WRONG, ids=[f"{path}-{kind}" for path, kind in WRONG])
def test_j12_wrong_type(gateway: Gateway, path: str, kind: str) -> None:
    error = refused(call(gateway, "POST", "/v1/chat/completions", replaced(path, KINDS[kind])), param=path)
    assert error["code"] in ("invalid_type", "invalid_value", "missing_required_parameter"), error


NULLS = [path for path, right in FIELDS.items() if "null" in right.split()]


@pytest.mark.parametrize("path", NULLS)
def test_null_is_absent(gateway: Gateway, path: str) -> None:
    answer = call(gateway, "POST", "/v1/chat/completions", replaced(path, None))
    if path == "messages[2].tool_calls":  # content is null too: nothing is left of the message
        assert answer.status == 400
    else:
        assert answer.status == 200, answer.body


# ---- J7, J8, J13, J17, J18: values

USER = {"role": "user", "content": "x"}
CALL = {
    "role": "assistant",
    "content": None,
    "tool_calls": [{"id": "a", "type": "function", "function": {"name": "f", "arguments": "{}"}}],
}
RESULT = {"role": "tool", "tool_call_id": "a", "content": "1"}


def tools(name: str) -> dict:
    return {"tools": [{"type": "function", "function": {"name": name, "parameters": {}}}]}


VALUES: dict[str, tuple[dict, str | None]] = {
    # J13
    "no-model": ({"messages": [USER]}, "model"),
    "no-messages": ({"model": "demo"}, "messages"),
    "empty-messages": ({"model": "demo", "messages": []}, "messages"),
    "empty-model": ({"model": "", "messages": [USER]}, "model"),
    "unknown-role": ({"messages": [{"role": "wizard", "content": "x"}]}, "messages[0].role"),
    "no-role": ({"messages": [{"content": "x"}]}, "messages[0].role"),
    "no-content": ({"messages": [{"role": "user"}]}, "messages[0].content"),
    "null-content": ({"messages": [{"role": "user", "content": None}]}, "messages[0].content"),
    "empty-parts": ({"messages": [{"role": "user", "content": []}]}, "messages[0].content"),
    "empty-assistant": ({"messages": [USER, {"role": "assistant", "content": None}]}, "messages[1].content"),
    "unknown-part": (
        {"messages": [{"role": "user", "content": [{"type": "hologram"}]}]},
        "messages[0].content[0].type",
    ),
    "part-without-text": (
        {"messages": [{"role": "user", "content": [{"type": "text"}]}]},
        "messages[0].content[0].text",
    ),
    "tool-without-id": ({"messages": [USER, CALL, {"role": "tool", "content": "1"}]}, "messages[2].tool_call_id"),
    "tool-without-call": ({"messages": [USER, RESULT]}, "messages[1].tool_call_id"),
    "tool-of-other-call": ({"messages": [USER, CALL, {**RESULT, "tool_call_id": "b"}]}, "messages[2].tool_call_id"),
    "duplicate-call-id": (
        {"messages": [USER, {**CALL, "tool_calls": CALL["tool_calls"] * 2}, RESULT]},
        "messages[1].tool_calls[1].id",
    ),
    # J7, J8
    **{
        f"max_tokens-{value}": ({"max_tokens": value}, "max_tokens")
        for value in (0, -1, 1.5, 2**53, 2**63, 2**64, 2**31)
    },
    "max_completion_tokens-0": ({"max_completion_tokens": 0}, "max_completion_tokens"),
    **{f"seed-{value}": ({"seed": value}, "seed") for value in (2**63, 2**64, -(2**63) - 1, 1.5)},
    **{f"n-{value}": ({"n": value}, "n") for value in (0, -1, 129, 2**64, 1.5)},
    # ranges
    **{f"temperature-{value}": ({"temperature": value}, "temperature") for value in (-0.1, 2.1, 1e300)},
    **{f"top_p-{value}": ({"top_p": value}, "top_p") for value in (-0.1, 1.1)},
    **{f"frequency_penalty-{value}": ({"frequency_penalty": value}, "frequency_penalty") for value in (-2.1, 2.1)},
    **{f"presence_penalty-{value}": ({"presence_penalty": value}, "presence_penalty") for value in (-2.1, 2.1)},
    **{f"top_logprobs-{value}": ({"logprobs": True, "top_logprobs": value}, "top_logprobs") for value in (-1, 21)},
    # J18
    "stop-5": ({"stop": ["a", "b", "c", "d", "e"]}, "stop"),
    "stop-empty": ({"stop": ""}, "stop"),
    "stop-empty-item": ({"stop": ["a", ""]}, "stop[1]"),
    "stop-10K": ({"stop": "s" * 10240}, "stop"),
    # metadata, tools, response_format
    "metadata-17": ({"metadata": {f"k{n}": "v" for n in range(17)}}, "metadata"),
    "metadata-key-65": ({"metadata": {"k" * 65: "v"}}, "metadata"),
    "metadata-value-513": ({"metadata": {"k": "v" * 513}}, "metadata.k"),
    "tool-name-65": (tools("f" * 65), "tools[0].function.name"),
    "tool-name-space": (tools("a b"), "tools[0].function.name"),
    "tool-name-empty": (tools(""), "tools[0].function.name"),
    "tool-name-8bit": (tools("é"), "tools[0].function.name"),
    "tool-choice-word": ({"tool_choice": "maybe", **tools("f")}, "tool_choice"),
    "response-format-type": ({"response_format": {"type": "yaml"}}, "response_format.type"),
    "json-schema-missing": ({"response_format": {"type": "json_schema"}}, "response_format.json_schema"),
}


@pytest.mark.parametrize("name", VALUES)
def test_refused_values(gateway: Gateway, name: str) -> None:
    fields, param = VALUES[name]
    body = fields if name in ("no-model", "no-messages") else {"model": "demo", "messages": [USER], **fields}
    error = refused(call(gateway, "POST", "/v1/chat/completions", body), param=param)
    if name in (
        "no-model",
        "no-messages",
        "no-role",
        "no-content",
        "part-without-text",
        "tool-without-id",
        "json-schema-missing",
    ):
        assert error["code"] == "missing_required_parameter", error
    elif name in ("max_tokens-0", "n-129", "temperature-2.1", "unknown-role", "stop-5"):
        assert error["code"] == "invalid_value", error


ACCEPTED: dict[str, dict] = {
    "developer-role": {"messages": [{"role": "developer", "content": "x"}, USER]},
    "function-role": {
        "messages": [
            USER,
            {"role": "assistant", "content": None, "function_call": {"name": "f", "arguments": "{}"}},
            {"role": "function", "name": "f", "content": "1"},
        ]
    },
    "tool-round": {"messages": [USER, CALL, RESULT]},
    "assistant-last": {"messages": [USER, {"role": "assistant", "content": "and"}]},
    "empty-text": {"messages": [{"role": "user", "content": ""}]},
    "seed-int64": {"seed": 2**63 - 1},
    "seed-negative": {"seed": -(2**63)},
    "stop-string": {"stop": "x"},
    "stop-4": {"stop": ["a", "b", "c", "d"]},
    "temperature-2": {"temperature": 2},
    "temperature-0": {"temperature": 0},
    "both-max-tokens": {"max_tokens": 5, "max_completion_tokens": 5},
    "stream-options-without-stream": {"stream_options": {"include_usage": True}},
    "tool-choice-function": {"tool_choice": {"type": "function", "function": {"name": "f"}}, **tools("f")},
    "tool-name-64": tools("f" * 64),
    "empty-tools": {"tools": []},
    "metadata-16": {"metadata": {f"k{n}": "v" for n in range(16)}},
    # J15 and clients' extras
    "unknown": {"top_k": 5, "min_p": 0.1, "num_ctx": 4096, "x": {"deep": [1, None]}, "session_id": "s", "": 0},
    "prototype": {"__proto__": {"admin": True}, "constructor": {"prototype": {}}, "toString": 1},
    "pipelines-user": {"user": {"name": "n", "id": "i", "email": "e", "role": "r"}},
    "noncharacter": {"messages": [{"role": "user", "content": "\uffff \ufffe"}]},
}


@pytest.mark.parametrize("name", ACCEPTED)
def test_accepted_values(gateway: Gateway, name: str) -> None:
    answer = call(gateway, "POST", "/v1/chat/completions", {"model": "demo", "messages": [USER], **ACCEPTED[name]})
    assert answer.status == 200, answer.body


def test_j8_integral_floats_are_treated_alike(gateway: Gateway) -> None:
    statuses = {
        post(gateway, GOOD[:-1] + b',"max_tokens":' + value + b"}").status
        for value in (b"1.0", b"1e2", b"100.0", b"1E+2")
    }
    assert statuses in ({200}, {400}), statuses


def test_j9_nul_escape_in_content(gateway: Gateway) -> None:
    assert post(gateway, GOOD.replace(b"hi", b"a\\u0000b")).status in (200, 400)


def test_j11_large_but_legal(gateway: Gateway) -> None:
    """Time is linear in size: what is 1000 times larger may take seconds, not hours."""
    bodies = {
        "20 MB string": b'{"model":"demo","messages":[{"role":"user","content":"' + b"x" * (20 * 10**6) + b'"}]}',
        "a million messages": b'{"model":"demo","messages":['
        + b",".join([b'{"role":"user","content":""}'] * 10**6)
        + b"]}",
        "a million keys": GOOD[:-1] + b"".join(b',"k%d":0' % n for n in range(10**6)) + b"}",
        "a million metadata keys": GOOD[:-1]
        + b',"metadata":{'
        + b",".join(b'"k%d":""' % n for n in range(10**6))
        + b"}}",
    }
    for name, raw in bodies.items():
        began = time.monotonic()
        answer = post(gateway, raw, timeout=30 * SLACK)
        assert answer.status in (200, 400, 413), (name, answer.status)
        assert time.monotonic() - began < 4 * SLACK, name


# ---- J14, J16, J19, J22


@pytest.mark.parametrize(
    "model",
    [
        "none",
        "Demo",
        "demo ",
        "demo/x",
        "x" * 5000,
        "\u0000",
        "dem\u043e",
        "../demo",
        "a\r\nX-Evil: 1",
        "'; DROP TABLE",
    ],
)
def test_j14_j22_unknown_model(gateway: Gateway, model: str) -> None:
    answer = chat(gateway, model)
    assert answer.status in (400, 404)
    if answer.status == 404:
        error = answer.error
        assert (error["type"], error["code"], error["param"]) == ("invalid_request_error", "model_not_found", "model")
    assert not any(name == "x-evil" for name, _ in answer.headers)


def test_j16_a_request_cannot_change_where_it_goes(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    """CVE-2024-6587: nothing in a body chooses the destination or the credential."""
    evil = up.FakeUpstream()
    evil.on(up.json_reply(WIRE.answer))
    upstream.on(up.json_reply(WIRE.answer))
    extras = {
        "api_base": evil.url,
        "base_url": evil.url,
        "api_key": "sk-evil",
        "headers": {"Authorization": "Bearer evil"},
        "extra_headers": {"Host": "evil"},
        "extra_body": {"model": "evil"},
        "azure_endpoint": evil.url,
        "provider": "evil",
        "organization": "evil",
        "api_version": "evil",
        "custom_llm_provider": "evil",
        "url": evil.url,
        "endpoint": evil.url,
    }
    for name, value in extras.items():
        answer = chat(gateway, "relay", **{name: value})
        assert answer.status in (200, 400), (name, answer.body)
    assert not evil.requests
    evil.stop()
    for request in upstream.requests:
        assert request.header("authorization") == WIRE.auth[1]
        assert (request.target, request.header("host")) == (WIRE.target, upstream.url.split("//")[1])
        assert request.json()["model"] == "gpt-x"


@pytest.mark.parametrize(
    "url",
    [
        "file:///etc/passwd",
        "http://169.254.169.254/latest/meta-data",
        "http://127.0.0.1:1/x",
        "gopher://x",
        "javascript:x",
    ],
)
def test_j19_urls_that_no_provider_should_fetch(gateway: Gateway, upstream: up.FakeUpstream, url: str) -> None:
    upstream.on(up.json_reply(WIRE.answer))
    answer = chat(gateway, "relay", [{"role": "user", "content": [{"type": "image_url", "image_url": {"url": url}}]}])
    assert answer.status in (400, 403), answer.status
    assert answer.error["param"] in ("messages[0].content[0].image_url.url", None)
    assert not upstream.requests


def test_j19_a_20_mb_image_travels_whole(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    upstream.on(up.json_reply(WIRE.answer))
    content = [
        {"type": "text", "text": "look"},
        {"type": "image_url", "image_url": {"url": "data:image/png;base64," + "A" * (20 * 10**6)}},
    ]
    answer = chat(gateway, "relay", [{"role": "user", "content": content}], timeout=30 * SLACK)
    assert answer.status == 200, answer.body[:300]
    assert upstream.last.request.json()["messages"][-1]["content"] == content


# ---- J21: bytes that look like framing

FRAMING = [
    "data: [DONE]\n\n",
    "\r\n\r\nHTTP/1.1 200 OK\r\n",
    "event: x\ndata: y\n\n",
    ": comment\n\n",
    "\u2028\u2029\u0085",
    '"}]}\n\ndata: {"error":{}}',
    "\\n\\u0000\\",
    "</script><!--",
    "\x7f\x1b[31m",
    "𝔘𝔫𝔦😀",
]


@pytest.mark.parametrize("text", FRAMING)
def test_j21_text_is_only_text(gateway: Gateway, upstream: up.FakeUpstream, text: str) -> None:
    """Both ways, JSON and stream: what the user says and what the model says arrive unchanged."""
    piece = {
        "id": "c",
        "object": "chat.completion.chunk",
        "created": 1,
        "model": "m",
        "choices": [{"index": 0, "delta": {"role": "assistant", "content": text}, "finish_reason": None}],
    }
    end = {**piece, "choices": [{"index": 0, "delta": {}, "finish_reason": "stop"}]}
    answer = copy.deepcopy(WIRE.answer)
    answer["choices"][0]["message"]["content"] = text
    for ascii_only in (True, False):
        upstream.on(
            up.pieces(
                [
                    b"data: " + json.dumps(piece, ensure_ascii=ascii_only).encode() + b"\n\n",
                    sse(end),
                    b"data: [DONE]\n\n",
                ]
            )
        )
        assert stream(gateway, "relay", text).check_complete().text == text
        upstream.on(up.reply(json.dumps(answer, ensure_ascii=ascii_only).encode(), 200, [up.JSON]))
        assert chat(gateway, "relay", text).json()["choices"][0]["message"]["content"] == text
    assert all(request.json()["messages"][-1] == {"role": "user", "content": text} for request in upstream.requests)


def test_message_bytes_reach_the_provider_unchanged(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    """Slices, not trees: number spelling, unknown members and order stay as the client wrote them."""
    message = b'{ "role":"user","content":"\\u00e9\\/","x-own":[1.0,1e2,12345678901234567890] , "name":"n"}'
    upstream.on(up.json_reply(WIRE.answer))
    assert (
        post(
            gateway, b'{"messages":[' + message + b'],"model":"relay","seed":9223372036854775807,"temperature":1.0}'
        ).status
        == 200
    )
    sent = upstream.last.request.body
    for part in (b"12345678901234567890", b"1e2", b"9223372036854775807"):
        assert part in sent, sent


# ---- what is large is read beside the loop


def large(text: bytes = b"hi", after: bytes = b"") -> bytes:
    before = b'{"role":"user","content":"' + b"x" * 10**6 + b'"},'
    return GOOD.replace(b'{"role"', before + b'{"role"').replace(b"hi", text)[:-1] + after + b"}"


def test_large_and_small_ones_are_judged_alike(gateway: Gateway) -> None:
    assert post(gateway, large()).status == 200
    refused(post(gateway, large(after=b",")), code="invalid_json")
    refused(post(gateway, large(b"\xff")), code="invalid_json")
    refused(post(gateway, large(after=b',"temperature":"hot"')), param="temperature", code="invalid_type")


def test_large_ones_at_once_keep_apart(gateway: Gateway) -> None:
    """Each gets the answer to what it said, and small ones in between theirs."""

    def ask(number: int) -> tuple[int, str]:
        raw = large(b"number %d" % number) if number % 3 else GOOD.replace(b"hi", b"number %d" % number)
        return number, post(gateway, raw, timeout=30 * SLACK).json()["choices"][0]["message"]["content"]

    with ThreadPoolExecutor(12) as pool:
        for number, said in pool.map(ask, range(36)):
            assert f"number {number}" in said, said


def test_clients_that_leave_while_their_large_body_is_read(gateway: Gateway) -> None:
    fds = gateway.open_fds()
    raw = request_bytes(gateway, "POST", "/v1/chat/completions", large())
    for number in range(30):
        with socket.create_connection(gateway.address) as client:
            client.sendall(raw)
            if number % 2:
                client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))  # a reset
    wait_until(lambda: gateway.open_fds() <= fds, what="their sockets closed")
    assert post(gateway, large()).status == 200


def test_a_large_body_costs_little(gateway: Gateway) -> None:
    raw = b'{"model":"demo","messages":[{"role":"user","content":"' + b"x" * (20 * 10**6) + b'"}]}'
    before = gateway.cpu_s()
    assert post(gateway, raw, timeout=30).status == 200
    assert SLOW or gateway.cpu_s() - before < 0.5
