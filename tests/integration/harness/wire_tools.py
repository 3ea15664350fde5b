"""How each provider type asks for tools and wants to hear their results, beside wires.py (facts: openai_api.md §4)."""

from __future__ import annotations

import json
from dataclasses import dataclass

from . import upstream as up
from .upstream import Exchange, Script
from .wires import (
    _OLLAMA_END,
    _RESPONSE,
    DONE,
    USAGE,
    Wire,
    _ollama,
    _openrouter,
    _response_event,
    chunk,
    line,
    sse,
)

# What OpenRouter wants back as it sent it, and only it.
REASONING_DETAILS = [{"type": "reasoning.encrypted", "data": "b3BhcXVl", "format": "x", "index": 0}]


@dataclass(frozen=True)
class Asked:
    """One tool call of the model. Ollama sends no ids, so there `id` is only ours."""

    id: str
    name: str
    arguments: dict | str

    @property
    def text(self) -> str:
        return self.arguments if isinstance(self.arguments, str) else json.dumps(self.arguments)


def asks_for(wire: Wire, *calls: Asked, say: str = "") -> Script:
    """An answer that says `say` and asks for these tools, as a stream or in one piece, as the request wants it."""

    def script(exchange: Exchange) -> None:
        sent = exchange.request.json()
        if sent.get("stream", wire.ndjson):
            up.pieces(_events(wire, calls, say), wire.content_type)(exchange)
        else:
            up.json_reply(_answer(wire, calls, say))(exchange)

    return script


def says(wire: Wire) -> Script:
    """The wire's ordinary answer, streamed if that is wanted."""

    def script(exchange: Exchange) -> None:
        if exchange.request.json().get("stream", wire.ndjson):
            up.pieces(wire.events, wire.content_type)(exchange)
        else:
            up.json_reply(wire.answer)(exchange)

    return script


def offered(wire: Wire, sent: dict) -> dict[str, dict]:
    """The tools of a request by name: description and parameters."""
    tools = [tool.get("function", tool) for tool in sent.get("tools") or []]
    assert all(tool["type"] == "function" for tool in sent.get("tools") or [])
    return {tool["name"]: tool for tool in tools}


def heard(wire: Wire, sent: dict) -> list[tuple[str, str, str]]:
    """What a request says about calls that were made: (name, arguments as text, result), in the order of the results."""
    if wire.type == "azure_openai":
        asked = {item["call_id"]: item for item in sent["input"] if item.get("type") == "function_call"}
        results = [item for item in sent["input"] if item.get("type") == "function_call_output"]
        return [
            (asked[r["call_id"]]["name"], asked[r["call_id"]]["arguments"], _flat(r["output"])) for r in results
        ]
    found, open_calls = [], []
    for message in sent["messages"]:
        if message.get("tool_calls"):
            open_calls = list(message["tool_calls"])
        if message["role"] != "tool":
            continue
        if wire.ndjson:
            call = next(c for c in open_calls if c["function"]["name"] == message["tool_name"])
            arguments = call["function"]["arguments"]
            assert isinstance(arguments, dict), "Ollama wants an object"
            text = json.dumps(arguments)
        else:
            call = next(c for c in open_calls if c["id"] == message["tool_call_id"])
            text = call["function"]["arguments"]
            assert isinstance(text, str) and call["type"] == "function"
        open_calls.remove(call)
        found.append((call["function"]["name"], text, _flat(message["content"])))
    return found


def _flat(content: str | list) -> str:
    return content if isinstance(content, str) else "".join(part["text"] for part in content)


def _halves(text: str) -> tuple[str, str]:
    return text[: len(text) // 2], text[len(text) // 2 :]


def _events(wire: Wire, calls: tuple[Asked, ...], say: str) -> list[bytes]:
    if wire.type == "azure_openai":
        return _responses_events(calls, say)
    if wire.ndjson:
        spoken = [line(_ollama(say))] if say else []
        asked = [line(_ollama("", message=_ollama_message(call))) for call in calls]
        return [*spoken, *asked, line(_ollama("", **_OLLAMA_END))]
    deltas: list[dict] = [{"role": "assistant", "content": say or None}]
    if wire.type == "openrouter":
        deltas.append({"content": "", "reasoning_details": REASONING_DETAILS})
    for index, call in enumerate(calls):
        first, second = _halves(call.text)
        function = {"name": call.name, "arguments": ""}
        deltas += [
            {"tool_calls": [{"index": index, "id": call.id, "type": "function", "function": function}]},
            {"tool_calls": [{"index": index, "function": {"arguments": first}}]},
            {"tool_calls": [{"index": index, "function": {"arguments": second}}]},
        ]
    if wire.type == "openrouter":
        events = [*(_openrouter(delta) for delta in deltas), _openrouter({"content": ""}, "tool_calls")]
    else:
        events = [*(sse(chunk(delta)) for delta in deltas), sse(chunk({}, "tool_calls"))]
    return [*events, sse({**chunk(), "choices": [], "usage": USAGE}), DONE]


def _ollama_message(call: Asked) -> dict:
    assert isinstance(call.arguments, dict)
    return {
        "role": "assistant",
        "content": "",
        "tool_calls": [{"function": {"name": call.name, "arguments": call.arguments}}],
    }


def _items(calls: tuple[Asked, ...], say: str) -> list[dict]:
    message = {
        "id": "msg_1",
        "type": "message",
        "status": "completed",
        "role": "assistant",
        "content": [{"type": "output_text", "text": say, "annotations": []}],
    }
    return ([message] if say else []) + [
        {
            "id": f"fc_{call.id}",
            "type": "function_call",
            "status": "completed",
            "call_id": call.id,
            "name": call.name,
            "arguments": call.text,
        }
        for call in calls
    ]


def _responses_events(calls: tuple[Asked, ...], say: str) -> list[bytes]:
    items = _items(calls, say)
    events: list[tuple[str, dict]] = [
        ("response.created", {"response": {**_RESPONSE, "status": "in_progress", "output": [], "usage": None}})
    ]
    for index, item in enumerate(items):
        place = {"item_id": item["id"], "output_index": index}
        empty = {"content": []} if item["type"] == "message" else {"arguments": ""}
        events.append(("response.output_item.added", {"output_index": index, "item": {**item, **empty}}))
        if item["type"] == "message":
            events.append(("response.output_text.delta", {**place, "content_index": 0, "delta": say}))
        else:
            for half in _halves(item["arguments"]):
                events.append(("response.function_call_arguments.delta", {**place, "delta": half}))
            done = {**place, "arguments": item["arguments"], "name": item["name"]}
            events.append(("response.function_call_arguments.done", done))
        events.append(("response.output_item.done", {"output_index": index, "item": item}))
    events.append(("response.completed", {"response": {**_RESPONSE, "output": items}}))
    return [_response_event(kind, number, **more) for number, (kind, more) in enumerate(events)]


def _answer(wire: Wire, calls: tuple[Asked, ...], say: str) -> dict:
    if wire.type == "azure_openai":
        return {**_RESPONSE, "output": _items(calls, say)}
    if wire.ndjson:
        asked = [call for one in calls for call in _ollama_message(one)["tool_calls"]]
        message = {"role": "assistant", "content": say, "tool_calls": asked}
        return _ollama("", message=message, **_OLLAMA_END)
    tool_calls = [
        {"id": call.id, "type": "function", "function": {"name": call.name, "arguments": call.text}} for call in calls
    ]
    message = {"role": "assistant", "content": say or None, "tool_calls": tool_calls}
    if wire.type == "openrouter":
        message["reasoning_details"] = REASONING_DETAILS
    choice = {"index": 0, "message": message, "finish_reason": "tool_calls"}
    return {**wire.answer, "choices": [choice]}
