"""How each provider type talks, as bytes: one short answer per dialect with its quirks (facts: openai_api.md §4).

Every answer says TEXT, in at least two pieces, with a raw and an escaped non-ASCII character, and counts 11 + 7 tokens.
"""

from __future__ import annotations

import json
from dataclasses import dataclass

from .upstream import JSON, NDJSON, SSE

TEXT = 'Hé "😀"\nend'
PROMPT_TOKENS, COMPLETION_TOKENS = 11, 7
UPSTREAM_KEY = "sk-upstream-0123456789"
BOOM = "the model fell over"


def sse(value: object, event: str | None = None) -> bytes:
    name = f"event: {event}\n".encode() if event else b""
    return name + b"data: " + json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n\n"


def line(value: object) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode() + b"\n"


def chunk(delta: dict | None = None, finish: str | None = None, **more) -> dict:
    choice: dict = {"index": 0, "delta": delta or {}, "finish_reason": finish}
    return {"id": "c1", "object": "chat.completion.chunk", "created": 1, "model": "up", "choices": [choice], **more}


USAGE = {
    "prompt_tokens": PROMPT_TOKENS,
    "completion_tokens": COMPLETION_TOKENS,
    "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
}
DONE = b"data: [DONE]\n\n"
# json.dumps leaves the second piece raw; the first is escaped by hand, as many servers do.
_FIRST = sse(chunk({"content": "H@ "})).replace(b"H@", b"H\\u00e9")


@dataclass(frozen=True)
class Wire:
    name: str
    type: str
    base_path: str
    target: str
    auth: tuple[str, str]
    content_type: tuple[str, str]
    events: tuple[bytes, ...]
    answer: dict
    error_event: bytes
    extra: tuple[tuple[str, str], ...] = ()
    model: str = "gpt-x"
    # how many of `events` must have arrived for the answer to be whole even if the stream ends there
    whole_after: int = 0

    def provider(self, url: str, **more) -> dict:
        return {
            "type": self.type,
            "base_url": url + self.base_path,
            "api_key": UPSTREAM_KEY,
            **dict(self.extra),
            **more,
        }

    @property
    def stream_bytes(self) -> bytes:
        return b"".join(self.events)

    @property
    def ndjson(self) -> bool:
        return self.content_type == NDJSON


def _chat_answer(**more) -> dict:
    return {
        "id": "c1",
        "object": "chat.completion",
        "created": 1,
        "model": "up",
        "choices": [{"index": 0, "message": {"role": "assistant", "content": TEXT}, "finish_reason": "stop", **more}],
        "usage": USAGE,
    }


_CHAT_ERROR = sse({"error": {"message": BOOM, "type": "server_error", "param": None, "code": "server_error"}})
_SAFE = {"hate": {"filtered": False, "severity": "safe"}}
_AZURE_EVENTS = (
    sse(
        {
            "id": "",
            "object": "",
            "created": 0,
            "model": "",
            "choices": [],
            "prompt_filter_results": [{"prompt_index": 0, "content_filter_results": _SAFE}],
        }
    ),
    sse(chunk({"role": "assistant", "content": ""})),
    _FIRST,
    sse(chunk({"content": '"😀"\nend'})),
    sse(
        {
            "id": "",
            "object": "",
            "created": 0,
            "model": "",
            "choices": [
                {
                    "index": 0,
                    "finish_reason": None,
                    "content_filter_results": _SAFE,
                    "content_filter_offsets": {"check_offset": 1, "start_offset": 1, "end_offset": 2},
                }
            ],
        }
    ),
    sse(chunk({}, "stop")),
    sse(
        {
            "id": "",
            "object": "",
            "created": 0,
            "model": "",
            "choices": [{"index": 0, "finish_reason": None, "content_filter_results": _SAFE}],
        }
    ),
    sse({**chunk(), "choices": [], "usage": USAGE}),
    DONE,
)
_ITEM = {
    "id": "msg_1",
    "type": "message",
    "status": "completed",
    "role": "assistant",
    "content": [{"type": "output_text", "text": TEXT, "annotations": []}],
}
_RESPONSE = {
    "id": "resp_1",
    "object": "response",
    "created_at": 1,
    "status": "completed",
    "model": "up",
    "output": [_ITEM],
    "error": None,
    "incomplete_details": None,
    "usage": {
        "input_tokens": PROMPT_TOKENS,
        "input_tokens_details": {"cached_tokens": 0},
        "output_tokens": COMPLETION_TOKENS,
        "output_tokens_details": {"reasoning_tokens": 0},
        "total_tokens": PROMPT_TOKENS + COMPLETION_TOKENS,
    },
}


def _response_event(kind: str, number: int, **more) -> bytes:
    return sse({"type": kind, "sequence_number": number, **more}, kind)


def _text_event(number: int, delta: str) -> bytes:
    return _response_event(
        "response.output_text.delta", number, item_id="msg_1", output_index=0, content_index=0, delta=delta
    )


_RESPONSES_EVENTS = (
    _response_event(
        "response.created", 0, response={**_RESPONSE, "status": "in_progress", "output": [], "usage": None}
    ),
    _response_event(
        "response.output_item.added", 1, output_index=0, item={**_ITEM, "status": "in_progress", "content": []}
    ),
    _text_event(2, "H@ ").replace(b"H@", b"H\\u00e9"),
    _text_event(3, '"😀"\nend'),
    _response_event("response.output_text.done", 4, item_id="msg_1", output_index=0, content_index=0, text=TEXT),
    _response_event("response.output_item.done", 5, output_index=0, item=_ITEM),
    _response_event("response.completed", 6, response=_RESPONSE),
)


def _openrouter(delta: dict, finish: str | None = None) -> bytes:
    value = chunk({"role": "assistant", **delta}, finish, provider="P")
    value["id"] = "gen-1"
    value["choices"][0]["native_finish_reason"] = finish
    return sse(value)


_OPENROUTER_EVENTS = (
    b": OPENROUTER PROCESSING\n\n",
    _openrouter({"content": ""}),
    _openrouter({"content": "H@ "}).replace(b"H@", b"H\\u00e9"),
    b": OPENROUTER PROCESSING\n\n",
    _openrouter({"content": '"😀"\nend'}),
    _openrouter({"content": ""}, "stop"),
    sse(
        {
            **chunk(),
            "choices": [{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": None}],
            "usage": {**USAGE, "cost": 0.001, "is_byok": False},
        }
    ),
    DONE,
)


def _ollama(content: str, **more) -> dict:
    return {
        "model": "up",
        "created_at": "2026-01-01T00:00:00Z",
        "message": {"role": "assistant", "content": content},
        "done": False,
        **more,
    }


_OLLAMA_END = {
    "done": True,
    "done_reason": "stop",
    "total_duration": 9,
    "load_duration": 1,
    "prompt_eval_count": PROMPT_TOKENS,
    "prompt_eval_duration": 1,
    "eval_count": COMPLETION_TOKENS,
    "eval_duration": 1,
}

BEARER = ("authorization", f"Bearer {UPSTREAM_KEY}")
API_KEY = ("api-key", UPSTREAM_KEY)
_CLASSIC = (("api_version", "2024-10-21"),)

WIRES: tuple[Wire, ...] = (
    Wire(
        "openai",
        "openai",
        "/v1",
        "/v1/chat/completions",
        BEARER,
        SSE,
        (
            sse(chunk({"role": "assistant", "content": ""})),
            _FIRST,
            sse(chunk({"content": '"😀"\nend'})),
            sse(chunk({}, "stop")),
            sse({**chunk(), "choices": [], "usage": USAGE}),
            DONE,
        ),
        _chat_answer(),
        _CHAT_ERROR,
        whole_after=4,
    ),
    Wire(
        "azure-cc",
        "azure_openai_cc",
        "",
        "/openai/deployments/gpt-x/chat/completions?api-version=2024-10-21",
        API_KEY,
        SSE,
        _AZURE_EVENTS,
        _chat_answer(content_filter_results=_SAFE),
        _CHAT_ERROR,
        _CLASSIC,
        whole_after=6,
    ),
    Wire(
        "azure-cc-v1",
        "azure_openai_cc",
        "/openai/v1",
        "/openai/v1/chat/completions",
        API_KEY,
        SSE,
        _AZURE_EVENTS,
        _chat_answer(content_filter_results=_SAFE),
        _CHAT_ERROR,
        whole_after=6,
    ),
    Wire(
        "azure-responses",
        "azure_openai",
        "/openai/v1",
        "/openai/v1/responses",
        API_KEY,
        SSE,
        _RESPONSES_EVENTS,
        _RESPONSE,
        _response_event("error", 3, code="server_error", message=BOOM, param=None),
        whole_after=7,
    ),
    Wire(
        "azure-responses-classic",
        "azure_openai",
        "",
        "/openai/responses?api-version=2025-04-01-preview",
        API_KEY,
        SSE,
        _RESPONSES_EVENTS,
        _RESPONSE,
        _response_event(
            "response.failed",
            3,
            response={
                **_RESPONSE,
                "status": "failed",
                "output": [],
                "usage": None,
                "error": {"code": "server_error", "message": BOOM},
            },
        ),
        (("api_version", "2025-04-01-preview"),),
        whole_after=7,
    ),
    Wire(
        "openrouter",
        "openrouter",
        "/api/v1",
        "/api/v1/chat/completions",
        BEARER,
        SSE,
        _OPENROUTER_EVENTS,
        {**_chat_answer(native_finish_reason="stop"), "id": "gen-1", "provider": "P"},
        sse(
            {
                **chunk({"content": ""}, "error"),
                "provider": "P",
                "error": {"code": 502, "message": BOOM, "metadata": {"error_type": "provider_unavailable"}},
            }
        ),
        whole_after=6,
    ),
    Wire(
        "ollama",
        "ollama",
        "",
        "/api/chat",
        BEARER,
        NDJSON,
        (
            line(_ollama("H@ ")).replace(b"H@", b"H\\u00e9"),
            line(_ollama('"😀"\nend')),
            line(_ollama("", **_OLLAMA_END)),
        ),
        _ollama(TEXT, **_OLLAMA_END),
        line({"error": BOOM}),
        whole_after=3,
    ),
)
BY_NAME = {wire.name: wire for wire in WIRES}

assert JSON and all(wire.whole_after for wire in WIRES)
