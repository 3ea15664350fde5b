"""Each provider type over real sockets, plain and TLS: the good case, and each way to cut it up or to be loose
about it.

Rows U10, U12-U14 and U23 of facts/reliability.md §1.5. How providers fail is in test_upstream_faults.py.
"""

from __future__ import annotations

import json
from collections.abc import Callable

import pytest

from harness import upstream as up
from harness.api import Streamed, chat, stream
from harness.gateway import SLOW, Gateway
from harness.relay import MIB, both_schemes, both_shapes, each, every_wire, fake, flat, gateway  # noqa: F401
from harness.upstream import JSON, SSE, Exchange, FakeUpstream
from harness.wires import BY_NAME, COMPLETION_TOKENS, DONE, PROMPT_TOKENS, TEXT, Wire, chunk, line, sse

OPENAI, OLLAMA = BY_NAME["openai"], BY_NAME["ollama"]
BODY = json.dumps(OPENAI.answer).encode()
USAGE = (PROMPT_TOKENS, COMPLETION_TOKENS, PROMPT_TOKENS + COMPLETION_TOKENS)


def usage_of(usage: dict) -> tuple[int, int, int]:
    return usage["prompt_tokens"], usage["completion_tokens"], usage["total_tokens"]


# ---- the good case


def messages_of(wire: Wire, sent: dict) -> list[tuple[str, str]]:
    if wire.type == "azure_openai":
        items = [(item["role"], item["content"]) for item in sent["input"]]
        flat = [
            (role, content if isinstance(content, str) else "".join(part["text"] for part in content))
            for role, content in items
        ]
        return [("system", sent["instructions"]), *flat] if sent.get("instructions") else flat
    return [(message["role"], message["content"]) for message in sent["messages"]]


@every_wire
@both_schemes
@both_shapes
def test_answer(gateway: Gateway, fake, wire: Wire, scheme: str, streaming: bool) -> None:
    model = f"{wire.name}-{scheme}"
    fake[scheme].on(up.pieces(wire.events, wire.content_type) if streaming else up.json_reply(wire.answer))
    if streaming:
        seen = stream(gateway, model, "hello", stream_options={"include_usage": True}).check_complete(usage=True)
        assert (seen.text, seen.finish, usage_of(seen.usage)) == (TEXT, "stop", USAGE)
        assert seen.chunks[0]["model"] == model
        first = seen.chunks[0]
        assert first["id"].startswith("chatcmpl-") and first["created"] > 1_600_000_000, (
            "not those of the provider's empty first chunk"
        )
    else:
        body = chat(gateway, model, "hello").json()
        (choice,) = body["choices"]
        assert (choice["message"]["content"], choice["finish_reason"], usage_of(body["usage"])) == (TEXT, "stop", USAGE)
        assert body["model"] == model
    request = fake[scheme].last.request
    assert (request.method, request.target) == ("POST", wire.target)
    assert request.header("content-type") == "application/json"
    assert request.header("host") == fake[scheme].url.split("//")[1]
    if wire is not OLLAMA:
        assert request.header(wire.auth[0]) == wire.auth[1]
        other = "api-key" if wire.auth[0] == "authorization" else "authorization"
        assert request.header(other) is None
    sent = request.json()
    assert bool(sent.get("stream", wire is OLLAMA)) == streaming
    assert messages_of(wire, sent) == [("system", "Be brief."), ("user", "hello")]
    if "deployments" not in wire.target:
        assert sent["model"] == "gpt-x"
    if streaming and wire.type in ("openai", "azure_openai_cc"):
        assert sent["stream_options"]["include_usage"] is True


@both_schemes
def test_connections_are_kept_and_used_again(gateway: Gateway, fake, scheme: str) -> None:
    fake[scheme].on(up.json_reply(OPENAI.answer))
    for _ in range(30):
        assert chat(gateway, f"openai-{scheme}").status == 200
    used = {request.connection for request in fake[scheme].requests}
    assert len(used) <= 8, "at most one connection per loop for requests one after the other"


def test_a_kept_connection_that_has_died_costs_no_request(gateway: Gateway, upstream: FakeUpstream) -> None:
    """The provider closes idle connections whenever it likes."""

    def once(exchange: Exchange) -> None:
        up.json_reply(OPENAI.answer)(exchange)
        exchange.fin()

    upstream.on(once)
    for _ in range(20):
        assert chat(gateway, "openai-plain").status == 200


# ---- cut up in each way


@every_wire
def test_every_split_point(gateway: Gateway, upstream: FakeUpstream, wire: Wire) -> None:
    data = wire.stream_bytes
    step = 5 if SLOW else 1
    scripts = [
        flat(data, "close" if at % 2 else "chunked", (at,), wire.content_type, 0.002)
        for at in range(1, len(data), step)
    ]

    def check(index: int, seen: Streamed) -> None:
        assert seen.check_complete().text == TEXT, f"split at {1 + index * step}"

    each(gateway, f"{wire.name}-plain", upstream, scripts, check)


@every_wire
@both_schemes
def test_one_byte_at_a_time(gateway: Gateway, fake, wire: Wire, scheme: str) -> None:
    fake[scheme].on(flat(wire.stream_bytes, "chunked", tuple(range(1, len(wire.stream_bytes))), wire.content_type, 0.0))
    assert stream(gateway, f"{wire.name}-{scheme}").check_complete().text == TEXT


SSE_STYLES: dict[str, Callable[[bytes], bytes]] = {
    "crlf": lambda data: data.replace(b"\n", b"\r\n"),
    "cr": lambda data: data.replace(b"\n", b"\r"),
    "mixed": lambda data: data.replace(b"\n\n", b"\r\n\n", 2).replace(b"}\n\n", b"}\r\r", 1),
    "no-space": lambda data: data.replace(b"data: ", b"data:"),
    "bom": lambda data: b"\xef\xbb\xbf" + data,
    "comments": lambda data: data.replace(b"data: ", b": ping\n\n:\ndata: "),
    "id-retry": lambda data: data.replace(b"data: ", b"id: 1\nretry: 10\nevent\nunknown: x\ndata: "),
    "multi-line": lambda data: data.replace(b'data: {"id":"c1",', b'data: {"id":"c1",\ndata: '),
    "empty-data": lambda data: data.replace(b"data: [", b"data:\n\ndata: ["),
    "blank-lines": lambda data: b"\n\n\n" + data.replace(b"\n\n", b"\n\n\n\n"),
    "after-done": lambda data: data + b'data: {"error":{"message":"late"}}\n\ndata: nonsense\n\n',
    "one-packet": lambda data: data,
}


@pytest.mark.parametrize("style", SSE_STYLES)
def test_u12_styles_of_sse(gateway: Gateway, upstream: FakeUpstream, style: str) -> None:
    data = SSE_STYLES[style](OPENAI.stream_bytes)
    points = range(1, len(data), 29)
    scripts = [flat(data, "chunked", (at,), SSE, 0.001) for at in points] + [flat(data, "chunked", (), SSE, 0)]
    each(gateway, "openai-plain", upstream, scripts, lambda index, seen: _same(seen))


def _same(seen: Streamed) -> None:
    assert seen.check_complete().text == TEXT


def test_ndjson_styles(gateway: Gateway, upstream: FakeUpstream) -> None:
    data = OLLAMA.stream_bytes
    for variant in (
        data.replace(b"\n", b"\r\n"),
        data.replace(b"\n", b"\n\n"),
        data[:-1],
        data.replace(b"{", b" {", 1),
    ):
        upstream.on(up.pieces([variant], OLLAMA.content_type))
        _same(stream(gateway, "ollama-plain"))


def test_u10_the_shape_that_was_not_asked_for(gateway: Gateway, upstream: FakeUpstream) -> None:
    """JSON for a stream, SSE for a plain request: taken when they can be read."""
    for wire in (OPENAI, BY_NAME["openrouter"], OLLAMA, BY_NAME["azure-responses"]):
        upstream.on(up.json_reply(wire.answer))
        assert stream(gateway, f"{wire.name}-plain").check_complete().text == TEXT
        upstream.on(up.pieces(wire.events, wire.content_type))
        assert chat(gateway, f"{wire.name}-plain").json()["choices"][0]["message"]["content"] == TEXT


# ---- sizes


@pytest.mark.parametrize("size", [60_000, 64 * 1024, 128 * 1024, MIB])
def test_u13_long_events(gateway: Gateway, upstream: FakeUpstream, size: int) -> None:
    """Our own lines stay under 64 KiB (checked for every stream): a long delta leaves as several."""
    text = ('é😀\\"\n' * (size // 12))[:size]
    upstream.on(up.pieces([sse(chunk({"role": "assistant", "content": text})), sse(chunk({}, "stop")), DONE]))
    assert stream(gateway, "openai-plain").check_complete().text == text
    escaped = json.dumps(chunk({"content": text}))  # everything as \\uXXXX, surrogate pairs included
    upstream.on(
        up.pieces(
            [
                sse(chunk({"role": "assistant", "content": ""})),
                b"data: " + escaped.encode() + b"\n\n",
                sse(chunk({}, "stop")),
                DONE,
            ]
        )
    )
    assert stream(gateway, "openai-plain").check_complete().text == text


def test_u14_broken_text_is_repaired(gateway: Gateway, upstream: FakeUpstream) -> None:
    raw = sse(chunk({"role": "assistant", "content": "a@b"}))
    cases = {
        b"\xff": "\ufffd",
        b"\xc3": "\ufffd",
        b"\xed\xa0\x80": None,
        b"\xf0\x9f\x98": None,
        b"\\ud800": "\ufffd",
        b"\\udc00": "\ufffd",
        b"\\ud83d\\ude00": "😀",
        b"\\u0000": "\x00",
    }
    for broken, repaired in cases.items():
        data = raw.replace(b"@", broken)
        upstream.on(up.pieces([data, sse(chunk({}, "stop")), DONE]))
        text = stream(gateway, "openai-plain").check_complete().text
        assert text[0] == "a" and text[-1] == "b"
        assert text[1:-1] == repaired if repaired else set(text[1:-1]) == {"\ufffd"}, (broken, text)
        upstream.on(up.reply(BODY.replace(b"end", b"end" + broken), 200, [JSON]))
        answer = chat(gateway, "openai-plain")
        assert answer.status == 200, (broken, answer.body)
        answer.body.decode("utf-8")
        answer.json()["choices"][0]["message"]["content"].encode("utf-8")


def test_u14_multibyte_and_surrogates_split_over_deltas(gateway: Gateway, upstream: FakeUpstream) -> None:
    """Half a surrogate pair in one delta, half in the next: joined, or each repaired, but always valid UTF-8."""
    one, two = (
        sse(chunk({"role": "assistant", "content": "a@"})).replace(b"@", b"\\ud83d"),
        sse(chunk({"content": "@b"})).replace(b"@", b"\\ude00"),
    )
    upstream.on(up.pieces([one, two, sse(chunk({}, "stop")), DONE]))
    text = stream(gateway, "openai-plain").check_complete().text
    assert text in ("a😀b", "a\ufffd\ufffdb")


# ---- U23 loose streams


def _call(index: int, **more) -> dict:
    return {"tool_calls": [{"index": index, **more}]}


LOOSE: dict[str, tuple[list[bytes], str]] = {
    "no-role": ([sse(chunk({"content": "x"})), sse(chunk({}, "stop")), DONE], "x"),
    "null-delta": (
        [
            sse(chunk({"content": "x"})),
            sse({**chunk(), "choices": [{"index": 0, "delta": None, "finish_reason": None}]}),
            sse(chunk({}, "stop")),
            DONE,
        ],
        "x",
    ),
    "no-delta": (
        [
            sse(chunk({"content": "x"})),
            sse({**chunk(), "choices": [{"index": 0, "finish_reason": None}]}),
            sse(chunk({}, "stop")),
            DONE,
        ],
        "x",
    ),
    "null-content": (
        [
            sse(chunk({"role": "assistant", "content": None})),
            sse(chunk({"content": "x"})),
            sse(chunk({"content": None}, "stop")),
            DONE,
        ],
        "x",
    ),
    "role-everywhere": (
        [sse(chunk({"role": "assistant", "content": c}, f)) for c, f in (("x", None), ("y", None), ("", "stop"))]
        + [DONE],
        "xy",
    ),
    "empty-choices": (
        [
            sse({**chunk(), "choices": []}),
            sse(chunk({"content": "x"})),
            sse({**chunk(), "choices": []}),
            sse(chunk({}, "stop")),
            DONE,
        ],
        "x",
    ),
    "usage-everywhere": (
        [
            sse({**chunk({"content": c}), "usage": {"prompt_tokens": 1, "completion_tokens": n, "total_tokens": 1 + n}})
            for n, c in enumerate("xy")
        ]
        + [sse(chunk({}, "stop")), DONE],
        "xy",
    ),
    "finish-with-content": ([sse(chunk({"role": "assistant", "content": "x"}, "stop")), DONE], "x"),
    "two-finishes": ([sse(chunk({"content": "x"})), sse(chunk({}, "stop")), sse(chunk({}, "stop")), DONE], "x"),
    "no-done": ([sse(chunk({"content": "x"})), sse(chunk({}, "stop"))], "x"),
    "changing-id": (
        [
            sse({**chunk({"content": c}), "id": i, "created": n, "model": i})
            for n, (c, i) in enumerate((("x", "a"), ("y", "b")))
        ]
        + [sse(chunk({}, "stop")), DONE],
        "xy",
    ),
    "no-index": (
        [
            sse({**chunk(), "choices": [{"delta": {"content": "x"}}]}),
            sse({**chunk(), "choices": [{"delta": {}, "finish_reason": "stop"}]}),
            DONE,
        ],
        "x",
    ),
    "finish-unknown": ([sse(chunk({"content": "x"})), sse(chunk({}, "eos_token")), DONE], "x"),
    "extra-members": (
        [sse({**chunk({"content": "x", "x_extra": {"deep": [1]}}), "x_top": 1}), sse(chunk({}, "stop")), DONE],
        "x",
    ),
    "event-member": (
        [
            sse({**chunk({"content": "x"}), "event": {"type": "execute", "data": {"code": "alert(1)"}}}),
            sse(chunk({}, "stop")),
            DONE,
        ],
        "x",
    ),
    "late-usage": (
        [
            *OPENAI.events[:4],
            sse({"id": "", "choices": [], "usage": {"prompt_tokens": 1, "completion_tokens": 1, "total_tokens": 2}}),
            DONE,
        ],
        TEXT,
    ),
}


@pytest.mark.parametrize("name", LOOSE)
def test_u23_loose_streams_come_out_strict(gateway: Gateway, upstream: FakeUpstream, name: str) -> None:
    events, text = LOOSE[name]
    upstream.on(up.pieces(events))
    seen = stream(gateway, "openai-plain").check_complete()
    assert seen.text == text and seen.finish == "stop"
    assert "execute" not in json.dumps(seen.chunks), "a provider's `event` would run in Open WebUI's page"


@pytest.mark.parametrize(
    "name", ["first-index-1", "no-type", "no-index", "args-split-mid-utf8", "whole-at-once", "id-on-every-piece"]
)
def test_u23_loose_tool_calls(gateway: Gateway, upstream: FakeUpstream, name: str) -> None:
    whole = {"id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"x":"é"}'}}
    head = {"id": "call_a", "type": "function", "function": {"name": "f", "arguments": ""}}
    deltas = {
        "first-index-1": [_call(1, **whole)],
        "no-type": [_call(0, id="call_a", function=whole["function"])],
        "no-index": [{"tool_calls": [whole]}],
        "args-split-mid-utf8": [
            _call(0, **head),
            *[_call(0, function={"arguments": piece}) for piece in ('{"x":"', "\\u00", 'e9"}')],
        ],
        "whole-at-once": [_call(0, **whole)],
        "id-on-every-piece": [
            _call(0, **head),
            _call(0, id="call_a", type="function", function={"name": None, "arguments": '{"x":'}),
            _call(0, id="call_a", function={"arguments": '"é"}'}),
        ],
    }[name]
    upstream.on(
        up.pieces(
            [
                sse(chunk({"role": "assistant", "content": None})),
                *[sse(chunk(delta)) for delta in deltas],
                sse(chunk({}, "tool_calls")),
                DONE,
            ]
        )
    )
    seen = stream(gateway, "openai-plain", tools=[{"type": "function", "function": {"name": "f"}}]).check_complete()
    (asked,) = seen.tool_calls
    assert (asked["id"], asked["name"], json.loads(asked["arguments"])) == (
        "call_a",
        "f",
        {"x": "é"},
    ) and seen.finish == "tool_calls"


def test_ollama_tool_calls(gateway: Gateway, upstream: FakeUpstream) -> None:
    """Objects for arguments, no id, `stop` for a reason: the client sees OpenAI's."""
    asked = {
        "model": "up",
        "message": {
            "role": "assistant",
            "content": "",
            "thinking": "hm",
            "tool_calls": [{"function": {"index": 0, "name": "f", "arguments": {"x": ["é", 1]}}}],
        },
        "done": False,
    }
    upstream.on(up.pieces([line(asked), OLLAMA.events[-1]], OLLAMA.content_type))
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object"}}}]
    seen = stream(gateway, "ollama-plain", tools=tools).check_complete()
    (made,) = seen.tool_calls
    assert made["name"] == "f" and json.loads(made["arguments"]) == {"x": ["é", 1]} and made["id"]
    assert seen.finish == "tool_calls" and seen.reasoning == "hm"
    history = [
        {"role": "user", "content": "x"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [
                {"id": made["id"], "type": "function", "function": {"name": "f", "arguments": made["arguments"]}}
            ],
        },
        {"role": "tool", "tool_call_id": made["id"], "content": "42"},
    ]
    upstream.on(up.json_reply(OLLAMA.answer))
    assert chat(gateway, "ollama-plain", history, max_completion_tokens=9, stop="x", temperature=0.5).status == 200
    sent = upstream.last.request.json()
    assert sent["messages"][-2]["tool_calls"][0]["function"]["arguments"] == {"x": ["é", 1]}
    assert sent["messages"][-1]["role"] == "tool" and sent["messages"][-1]["content"] == "42"
    assert sent["messages"][-1].get("tool_name", "f") == "f"
    assert (
        sent["options"]["num_predict"] == 9
        and sent["options"]["stop"] == ["x"]
        and sent["options"]["temperature"] == 0.5
    )


def test_responses_tool_calls(gateway: Gateway, upstream: FakeUpstream) -> None:
    wire = BY_NAME["azure-responses"]
    item = {
        "id": "fc_1",
        "type": "function_call",
        "call_id": "call_a",
        "name": "f",
        "arguments": '{"x":1}',
        "status": "completed",
    }
    response = {**wire.answer, "output": [item]}
    upstream.on(
        up.pieces(
            [
                wire.events[0],
                sse(
                    {
                        "type": "response.output_item.added",
                        "sequence_number": 1,
                        "output_index": 0,
                        "item": {**item, "arguments": "", "status": "in_progress"},
                    }
                ),
                sse(
                    {
                        "type": "response.function_call_arguments.delta",
                        "sequence_number": 2,
                        "item_id": "fc_1",
                        "output_index": 0,
                        "delta": '{"x"',
                    }
                ),
                sse(
                    {
                        "type": "response.function_call_arguments.delta",
                        "sequence_number": 3,
                        "item_id": "fc_1",
                        "output_index": 0,
                        "delta": ":1}",
                    }
                ),
                sse(
                    {
                        "type": "response.function_call_arguments.done",
                        "sequence_number": 4,
                        "item_id": "fc_1",
                        "output_index": 0,
                        "arguments": '{"x":1}',
                    }
                ),
                sse({"type": "response.output_item.done", "sequence_number": 5, "output_index": 0, "item": item}),
                sse({"type": "response.completed", "sequence_number": 6, "response": response}),
            ]
        )
    )
    tools = [{"type": "function", "function": {"name": "f", "parameters": {"type": "object", "properties": {}}}}]
    seen = stream(gateway, "azure-responses-plain", tools=tools).check_complete()
    assert seen.tool_calls == [{"id": "call_a", "name": "f", "arguments": '{"x":1}'}] and seen.finish == "tool_calls"
    sent = upstream.last.request.json()
    assert sent["tools"][0]["type"] == "function" and sent["tools"][0]["name"] == "f"
    history = [
        {"role": "user", "content": "x"},
        {
            "role": "assistant",
            "content": None,
            "tool_calls": [{"id": "call_a", "type": "function", "function": {"name": "f", "arguments": '{"x":1}'}}],
        },
        {"role": "tool", "tool_call_id": "call_a", "content": "42"},
    ]
    upstream.on(up.json_reply(response))
    answer = chat(gateway, "azure-responses-plain", history, tools=tools, max_completion_tokens=99)
    assert answer.json()["choices"][0]["message"]["tool_calls"][0]["function"] == {"name": "f", "arguments": '{"x":1}'}
    sent = upstream.last.request.json()
    kinds = [item.get("type", "message") for item in sent["input"]]
    assert (
        kinds[-2:] == ["function_call", "function_call_output"]
        and sent["input"][-1]["output"] == "42"
        and sent["max_output_tokens"] == 99
    )
