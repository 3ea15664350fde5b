"""The tool loop in each provider's own dialect: two servers' tools in one streamed answer, and the results in the next
request as that provider wants them.
"""

from __future__ import annotations

import json

import pytest

from harness import upstream as up
from harness.api import chat, stream
from harness.configs import agent, config
from harness.gateway import Gateway
from harness.mcp import http, stdio
from harness.mcp_http import HttpServer
from harness.upstream import FakeUpstream
from harness.wire_tools import REASONING_DETAILS, Asked, asks_for, heard, offered, says
from harness.wires import BY_NAME, COMPLETION_TOKENS, PROMPT_TOKENS, TEXT, WIRES, Wire

every_wire = pytest.mark.parametrize("wire", WIRES, ids=[wire.name for wire in WIRES])
ECHO, ADD = Asked("call_e1", "left__echo", {"text": 'Hé "😀"'}), Asked("call_a1", "right__add", {"a": 2, "b": 40})


@pytest.fixture(scope="module")
def right(tmp_path_factory: pytest.TempPathFactory):
    server = HttpServer(tmp_path_factory.mktemp("right"))
    yield server
    server.stop()


@pytest.fixture(scope="module")
def gateway(start_module_gateway, module_upstream: FakeUpstream, right: HttpServer, tmp_path_factory) -> Gateway:
    providers = {wire.name: wire.provider(module_upstream.url) for wire in WIRES}
    agents = [agent(wire.name, wire.name, system_prompt="Be brief.") for wire in WIRES]
    mcp = {"mcpServers": {"left": stdio(tmp_path_factory.mktemp("left")), "right": http(right)}}
    return start_module_gateway(config(*agents, **providers), mcp=mcp)


def told(wire: Wire, exchange: up.Exchange) -> list[tuple[str, dict, str]]:
    return [(name, json.loads(arguments), said) for name, arguments, said in heard(wire, exchange.request.json())]


@every_wire
def test_two_servers_in_one_streamed_answer(gateway: Gateway, upstream: FakeUpstream, wire: Wire) -> None:
    upstream.queue(asks_for(wire, ECHO, ADD, say="Let me see. "), says(wire))
    answer = stream(gateway, wire.name, "go", stream_options={"include_usage": True}).check_complete(usage=True)
    assert answer.text == "Let me see. " + TEXT, "text of both rounds, in order"
    assert (answer.finish, answer.tool_calls) == ("stop", [])
    first, second = upstream.exchanges
    tools = offered(wire, first.request.json())
    assert {"left__echo", "right__add"} <= set(tools)
    assert tools["right__add"]["parameters"]["required"] == ["a", "b"]
    assert told(wire, second) == [
        ("left__echo", {"text": 'Hé "😀"'}, 'Hé "😀"'),
        ("right__add", {"a": 2, "b": 40}, "42"),
    ]
    used = (answer.usage["prompt_tokens"], answer.usage["completion_tokens"])
    assert used == (2 * PROMPT_TOKENS, 2 * COMPLETION_TOKENS), "the sum over both rounds"
    used = answer.usage["agent"]
    assert (used["llm_calls"], used["tool_rounds"], used["tool_calls_executed"]) == (2, 1, 2)


@every_wire
def test_the_same_without_a_stream(gateway: Gateway, upstream: FakeUpstream, wire: Wire) -> None:
    upstream.queue(asks_for(wire, ADD), says(wire))
    body = chat(gateway, wire.name, "go").json()
    (choice,) = body["choices"]
    assert (choice["message"]["content"], choice["finish_reason"]) == (TEXT, "stop")
    assert not choice["message"].get("tool_calls")
    assert told(wire, upstream.exchanges[1]) == [("right__add", {"a": 2, "b": 40}, "42")]
    assert body["usage"]["total_tokens"] == 2 * (PROMPT_TOKENS + COMPLETION_TOKENS)


@every_wire
def test_three_rounds_keep_all_that_was_said(gateway: Gateway, upstream: FakeUpstream, wire: Wire) -> None:
    again = Asked("call_a2", "right__add", {"a": 42, "b": 1})
    upstream.queue(asks_for(wire, ADD), asks_for(wire, again), says(wire))
    assert stream(gateway, wire.name, "go").check_complete().text == TEXT
    assert told(wire, upstream.exchanges[2]) == [
        ("right__add", {"a": 2, "b": 40}, "42"),
        ("right__add", {"a": 42, "b": 1}, "43"),
    ]


@every_wire
def test_one_tool_twice_in_a_round(gateway: Gateway, upstream: FakeUpstream, wire: Wire) -> None:
    """Ollama sends no ids: the results must still go to the right calls."""
    twice = [Asked(f"call_{n}", "right__add", {"a": n, "b": 100}) for n in (1, 2)]
    upstream.queue(asks_for(wire, *twice), says(wire))
    stream(gateway, wire.name, "go").check_complete()
    assert [said for _, _, said in told(wire, upstream.exchanges[1])] == ["101", "102"]


@every_wire
def test_an_id_that_comes_again_in_the_next_round(gateway: Gateway, upstream: FakeUpstream, wire: Wire) -> None:
    """Some servers count their calls from 0 in every answer."""
    upstream.queue(*(asks_for(wire, Asked("call_0", "right__add", {"a": n, "b": 0})) for n in (1, 2)), says(wire))
    stream(gateway, wire.name, "go").check_complete()
    assert [said for _, _, said in told(wire, upstream.exchanges[2])] == ["1", "2"]


def test_openrouter_gets_its_reasoning_back_unmodified(gateway: Gateway, upstream: FakeUpstream) -> None:
    wire = BY_NAME["openrouter"]
    upstream.queue(asks_for(wire, ADD), says(wire))
    stream(gateway, wire.name, "go").check_complete()
    sent = upstream.exchanges[1].request.json()["messages"]
    (asked,) = [message for message in sent if message.get("tool_calls")]
    assert asked["reasoning_details"] == REASONING_DETAILS


@every_wire
def test_an_error_after_a_tool_has_run_is_final(gateway: Gateway, upstream: FakeUpstream, wire: Wire) -> None:
    """A client that tried again by itself would run the tool a second time."""
    upstream.queue(asks_for(wire, ADD))
    upstream.on(up.json_reply({"error": {"message": "no"}}, 500))
    answer = chat(gateway, wire.name, "go")
    assert answer.status >= 500 and answer.header("x-should-retry") == "false"
