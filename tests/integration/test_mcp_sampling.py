"""Servers that ask for an answer of a model: declined, or given by the agent that mcp.json names."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import reference_servers as reference
from harness import upstream as up
from harness.api import chat
from harness.configs import agent, config
from harness.gateway import Gateway
from harness.mcp import result, stdio, tool_agent
from harness.upstream import FakeUpstream
from harness.wire_tools import says
from harness.wires import BY_NAME, COMPLETION_TOKENS, PROMPT_TOKENS, TEXT, WIRES, Wire

ASK_MODEL = {"name": "ask_model", "inputSchema": {"type": "object", "properties": {"request": {"type": "object"}}}}
MODERN = {"era": "modern", "extra": [ASK_MODEL]}


@pytest.fixture(scope="module")
def gateway(start_module_gateway, module_upstream: FakeUpstream, tmp_path_factory: pytest.TempPathFactory) -> Gateway:
    folder = tmp_path_factory.mktemp("asks")
    started = {way: reference.Everything(way) for way in ("streamableHttp", "sse")}
    asking = {"sampling": "openai"}
    mcp = {
        "program": reference.entry("everything", "stdio", **asking),
        "web": {"type": "streamable-http", "url": started["streamableHttp"].url, **asking},
        "old": {"type": "sse", "url": started["sse"].url, **asking},
        "silent": reference.entry("everything", "stdio"),
        "lost": reference.entry("everything", "stdio", sampling="opennai"),
        **{wire.name.replace("_", "-"): stdio(folder / wire.name, MODERN, sampling=wire.name) for wire in WIRES},
    }
    agents = [agent(w.name, w.name, system_prompt="Be brief.", allowed_mcp_servers={}) for w in WIRES]
    providers = {w.name: w.provider(module_upstream.url) for w in WIRES}
    yield start_module_gateway(config(tool_agent(), *agents, **providers), mcp=mcp)
    for server in started.values():
        server.kill()


def ask_model(gateway: Gateway, wire: str, **request: object) -> object:
    """What the modern server got for its question: [its state, the answer]; or what the model was told instead."""
    told = result(gateway, f"{wire.replace('_', '-')}__ask_model", {"request": request})
    return json.loads(told) if told.startswith("[") else told


def user(content: object) -> dict:
    return {"role": "user", "content": content}


HELLO = {"messages": [user({"type": "text", "text": "Hello?"})], "maxTokens": 50}


@pytest.mark.parametrize("label", ["program", "web", "old"])
def test_the_reference_server_gets_its_answer(gateway: Gateway, upstream: FakeUpstream, label: str) -> None:
    upstream.queue(says(BY_NAME["openai"]))
    told = result(gateway, f"{label}__trigger-sampling-request", {"prompt": "and so?", "maxTokens": 33})
    got = json.loads(told[told.index("{") :])
    assert got["content"] == {"type": "text", "text": TEXT} and got["role"] == "assistant"
    assert got["stopReason"] == "endTurn" and got["model"]
    (sent,) = [exchange.request.json() for exchange in upstream.exchanges]
    assert [message["role"] for message in sent["messages"]] == ["system", "system", "user"]
    assert sent["messages"][0]["content"] == "Be brief." and "and so?" in sent["messages"][2]["content"]
    assert sent["temperature"] == 0.7 and 33 in (sent.get("max_tokens"), sent.get("max_completion_tokens"))
    assert "tools" not in sent, "a server asks a model, not an agent with tools"


@pytest.mark.parametrize("wire", WIRES, ids=[wire.name for wire in WIRES])
def test_modern_servers_too_in_each_dialect(gateway: Gateway, upstream: FakeUpstream, wire: Wire) -> None:
    upstream.queue(says(wire))
    state, answer = ask_model(gateway, wire.name, **HELLO)
    assert state == "half way" and answer["content"]["text"] == TEXT and answer["role"] == "assistant"
    assert "Hello?" in json.dumps(upstream.exchanges[0].request.json())


def test_pictures_and_stops_reach_the_model(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.queue(says(BY_NAME["openai"]))
    picture = {"type": "image", "data": "aGk=", "mimeType": "image/png"}
    blocks = [{"type": "text", "text": "What is this?"}, picture]
    ask_model(gateway, "openai", messages=[user(blocks)], maxTokens=5, stopSequences=["END"])
    sent = upstream.exchanges[0].request.json()
    assert sent["messages"][-1]["content"][1]["image_url"]["url"] == "data:image/png;base64,aGk="
    assert sent["stop"] == ["END"]


@pytest.mark.parametrize(
    ("request_", "expected"),
    [
        ({"messages": [], "maxTokens": 5}, "messages"),
        ({"messages": HELLO["messages"]}, "maxTokens"),
        ({**HELLO, "maxTokens": -1}, "maxTokens"),
        ({**HELLO, "tools": []}, "tools"),
        ({"messages": [{"role": "system", "content": {"type": "text", "text": "x"}}], "maxTokens": 5}, "role"),
        ({"messages": [user({"type": "audio", "data": "x"})], "maxTokens": 5}, "content"),
        ({"messages": [user(None)], "maxTokens": 5}, "content"),
        ({"messages": [7], "maxTokens": 5}, "role"),
    ],
)
def test_what_is_not_understood_is_said(
    gateway: Gateway, upstream: FakeUpstream, request_: dict, expected: str
) -> None:
    assert expected in ask_model(gateway, "openai", **request_)
    assert upstream.exchanges == []


def test_a_failing_model_is_not_shown_to_the_server(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.queue(up.json_reply({"error": {"message": "secret account 4711 is empty"}}, 402))
    told = result(gateway, "program__trigger-sampling-request", {"prompt": "x"})
    assert "4711" not in told and "could not be asked" in told
    upstream.queue(says(BY_NAME["openai"]))
    assert "endTurn" in result(gateway, "program__trigger-sampling-request", {"prompt": "x"}), "the next one works"


def test_it_is_declined_unless_configured(gateway: Gateway) -> None:
    listed = chat(gateway, "demo", "/tools").body.decode()
    assert "program__trigger-sampling-request" in listed
    for label in ("silent", "lost"):
        assert f"{label}__echo" in listed and f"{label}__trigger-sampling-request" not in listed


def test_an_agent_that_is_not_there_is_named(gateway: Gateway) -> None:
    told = [log["warning"] for log in gateway.logs if log.get("event") == "config"]
    assert len(told) == 1 and '"opennai"' in told[0] and 'did you mean "openai"?' in told[0], told


def test_tokens_are_in_the_log(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.queue(says(BY_NAME["openai"]))
    ask_model(gateway, "openai", **HELLO)
    line = gateway.wait_log(lambda log: log.get("event") == "mcp_sampling")
    assert (line["prompt_tokens"], line["completion_tokens"]) == (PROMPT_TOKENS, COMPLETION_TOKENS)
    assert line["server"] in ("openai", "program", "web", "old") and line["agent"] == "openai"
