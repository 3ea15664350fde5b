"""The loop as a client sees it: rounds, limits with a last round, what a model gets wrong, client tools beside agent
tools, how tools are shown, retries.
"""

from __future__ import annotations

import json
import re
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from harness import upstream as up
from harness.api import Stream, call, chat, chat_body, stream
from harness.configs import agent, config
from harness.gateway import SLACK, Gateway
from harness.mcp import ask, calls, records, result, results, stdio, tool_agent, wait_record
from harness.rawhttp import Answer
from harness.upstream import FakeUpstream
from harness.wire_tools import Asked, asks_for, heard, offered, says
from harness.wires import BY_NAME, COMPLETION_TOKENS, PROMPT_TOKENS, TEXT

WIRE = BY_NAME["openai"]
ROUND_TOKENS = PROMPT_TOKENS + COMPLETION_TOKENS
OPEN_WEBUI = {"x-openwebui-chat-id": "c1", "x-openwebui-user-id": "u1"}
CLIENT_TOOL = {
    "type": "function",
    "function": {"name": "ask_user", "parameters": {"type": "object", "properties": {"q": {"type": "string"}}}},
}


def echo(text: str, call_id: str = "c1") -> Asked:
    return Asked(call_id, "one__echo", {"text": text})


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("one")


@pytest.fixture(scope="module")
def gateway(start_module_gateway, module_upstream: FakeUpstream, folder: Path) -> Gateway:
    agents = (
        tool_agent(),
        tool_agent(agent_id="quiet", tool_progress="quiet"),
        agent("relay", "p"),
        agent("two-rounds", "p", limits={"max_tool_rounds": 2}),
        agent("three-calls", "p", limits={"max_tool_calls": 3}),
        agent("few-tokens", "p", limits={"max_total_tokens": 2 * ROUND_TOKENS}),
        agent("hurried", "p", limits={"timeout_s": 2}),
        agent("one-by-one", "p", limits={"parallel_tool_calls_max": 1}),
        agent("ignores", "p", client_tools="ignore"),
        agent("rejects", "p", client_tools="reject"),
        agent("adds", "p", allowed_mcp_servers={}, allowed_regular_tools=["add_two_numbers"]),
        agent("bare", "p", allowed_mcp_servers={}, allowed_regular_tools=[]),
        agent("falls", "broken", fallbacks=["relay"]),
    )
    providers = {"p": WIRE.provider(module_upstream.url), "broken": WIRE.provider("http://127.0.0.1:9")}
    return start_module_gateway(config(*agents, **providers), mcp={"one": stdio(folder)})


def run(upstream: FakeUpstream, gateway: Gateway, model: str, *rounds: up.Script, **fields):
    """A streamed answer through these rounds of the provider, then its ordinary answer; and the requests it got."""
    upstream.queue(*rounds)
    upstream.on(says(WIRE))
    answer = stream(gateway, model, "go", stream_options={"include_usage": True}, **fields)
    return answer.check_complete(usage=True), [exchange.request.json() for exchange in upstream.exchanges]


def told(sent: dict) -> list[str]:
    return [said for _, _, said in heard(WIRE, sent)]


# ---- built-in tools


def test_get_current_datetime(gateway: Gateway) -> None:
    now = datetime.now().astimezone()
    text = result(gateway, "get_current_datetime")
    found = re.search(r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d:\d\d", text)
    assert found and str(now.year) in text, text
    assert "Asia/Tokyo" in (tokyo := result(gateway, "get_current_datetime", {"timezone": "Asia/Tokyo"})) or (
        "+09:00" in tokyo
    ), tokyo
    assert "Mars/Phobos" in result(gateway, "get_current_datetime", {"timezone": "Mars/Phobos"})


@pytest.mark.parametrize(("a", "b", "sum_"), [(2, 40, "42"), (0.1, 0.2, "0.3"), (-1, 1e3, "999")])
def test_add_two_numbers(gateway: Gateway, a: float, b: float, sum_: str) -> None:
    text = result(gateway, "add_two_numbers", {"a": a, "b": b})
    assert abs(float(re.findall(r"-?\d+(?:\.\d+)?", text)[-1]) - float(sum_)) < 1e-9, text


def test_regular_tools_are_allowed_one_by_one(gateway: Gateway, upstream: FakeUpstream) -> None:
    _, (sent,) = run(upstream, gateway, "adds")
    assert set(offered(WIRE, sent)) == {"add_two_numbers"}
    upstream.clear()
    _, (sent,) = run(upstream, gateway, "bare")
    assert "tools" not in sent and "tool_choice" not in sent


# ---- what the model gets wrong


@pytest.mark.parametrize(
    ("asked", "expected"),
    [
        (Asked("c1", "one__nothing", {}), "one__nothing"),
        (Asked("c1", "nobody__echo", {}), "nobody__echo"),
        (Asked("c1", "one__echo", '{"text": "cut off'), "JSON"),
        (Asked("c1", "one__echo", '["text"]'), "object"),
        (Asked("c1", "one__add", {"a": "two", "b": 1}), "a"),
        (Asked("c1", "one__add", {"a": 2}), "b"),
    ],
    ids=["unknown tool", "unknown server", "malformed", "no object", "wrong type", "missing"],
)
def test_told_to_the_model(gateway: Gateway, upstream: FakeUpstream, folder: Path, asked: Asked, expected: str) -> None:
    before = len(records(folder, "message", method="tools/call"))
    answer, sent = run(upstream, gateway, "relay", asks_for(WIRE, asked))
    assert len(sent) == 2 and answer.text == TEXT
    (said,) = told(sent[1])
    assert expected in said, said
    assert len(records(folder, "message", method="tools/call")) == before, "the server is not bothered"
    used = answer.usage["agent"]
    assert used["tool_calls_requested"] == 1


def test_empty_arguments_are_an_empty_object(gateway: Gateway, upstream: FakeUpstream) -> None:
    _, sent = run(upstream, gateway, "relay", asks_for(WIRE, Asked("c1", "one__structured", "")))
    assert "sum" in told(sent[1])[0]


def test_one_bad_call_does_not_spoil_the_others(gateway: Gateway, upstream: FakeUpstream) -> None:
    asked = (echo("first", "c1"), Asked("c2", "one__nothing", {}), echo("third", "c3"))
    _, sent = run(upstream, gateway, "relay", asks_for(WIRE, *asked))
    first, second, third = told(sent[1])
    assert (first, third) == ("first", "third") and "one__nothing" in second


# ---- limits


def test_max_tool_rounds_then_a_last_round_without_tools(gateway: Gateway, upstream: FakeUpstream) -> None:
    rounds = [asks_for(WIRE, echo(str(n))) for n in range(2)]
    answer, sent = run(upstream, gateway, "two-rounds", *rounds)
    assert len(sent) == 3 and (answer.text, answer.finish) == (TEXT, "stop")
    assert all(request.get("tool_choice") != "none" for request in sent[:2])
    assert sent[2].get("tool_choice") == "none" or "tools" not in sent[2]
    assert told(sent[2]) == ["0", "1"]
    assert answer.usage["agent"]["stop_reason"] == "max_tool_rounds"
    assert answer.usage["agent"]["tool_rounds"] == 2


def test_a_model_that_asks_in_the_last_round_too(gateway: Gateway, upstream: FakeUpstream) -> None:
    """It was told not to. The answer ends all the same, and no call leaks."""
    upstream.on(asks_for(WIRE, echo("again"), say="and so on "))
    answer = stream(gateway, "two-rounds", "go").check_complete()
    assert answer.finish == "stop" and answer.tool_calls == []
    assert len(upstream.exchanges) == 3


def test_max_tool_calls(gateway: Gateway, upstream: FakeUpstream, folder: Path) -> None:
    before = len(records(folder, "message", method="tools/call"))
    rounds = [asks_for(WIRE, *(echo(f"{n}{m}", f"c{m}") for m in range(2))) for n in range(2)]
    answer, sent = run(upstream, gateway, "three-calls", *rounds)
    assert answer.usage["agent"]["stop_reason"] == "max_tool_calls" and answer.text == TEXT
    assert len(records(folder, "message", method="tools/call")) - before in (3, 4)
    assert len(told(sent[-1])) == 4, "every call that was asked for has an answer"


def test_max_total_tokens(gateway: Gateway, upstream: FakeUpstream) -> None:
    rounds = [asks_for(WIRE, echo(str(n))) for n in range(5)]
    answer, sent = run(upstream, gateway, "few-tokens", *rounds)
    upstream.clear()
    assert len(sent) == 3 and answer.usage["agent"]["stop_reason"] == "max_total_tokens"


def test_timeout_leaves_time_for_a_last_answer(gateway: Gateway, upstream: FakeUpstream) -> None:
    asked = Asked("c1", "one__slow", {"seconds": 60})
    answer, sent = run(upstream, gateway, "hurried", asks_for(WIRE, asked))
    assert answer.text == TEXT and answer.usage["agent"]["stop_reason"] == "timeout"
    assert len(told(sent[-1])) == 1 and "took" not in told(sent[-1])[0]


def test_one_after_the_other_when_told(gateway: Gateway, upstream: FakeUpstream, folder: Path) -> None:
    def starts() -> list[float]:
        return [record["at"] for record in records(folder, "message", method="tools/call")[-3:]]

    slow = [Asked(f"c{n}", "one__slow", {"seconds": 0.2}) for n in range(3)]
    run(upstream, gateway, "relay", asks_for(WIRE, *slow))
    assert starts()[2] - starts()[0] < 0.2 * SLACK
    for model, fields in (("relay", {"parallel_tool_calls": False}), ("one-by-one", {})):
        upstream.clear()
        _, sent = run(upstream, gateway, model, asks_for(WIRE, *slow), **fields)
        assert starts()[2] - starts()[0] >= 0.4
        assert told(sent[1]) == ["took 0.2 s"] * 3


def test_n_with_agent_tools(gateway: Gateway) -> None:
    error = chat(gateway, "relay", "go", n=2).error
    assert (error["param"], error["code"]) == ("n", "unsupported_value")


def test_tool_choice_of_the_client_holds_for_the_first_round(gateway: Gateway, upstream: FakeUpstream) -> None:
    chosen = {"type": "function", "function": {"name": "ask_user"}}
    upstream.queue(asks_for(WIRE, echo("x")))
    upstream.on(says(WIRE))
    stream(gateway, "relay", "go", tools=[CLIENT_TOOL], tool_choice=chosen).check_complete()
    first, second = (exchange.request.json() for exchange in upstream.exchanges)
    assert first["tool_choice"] == chosen and second.get("tool_choice", "auto") == "auto"


def test_fallback_in_a_later_round(gateway: Gateway, upstream: FakeUpstream) -> None:
    """The first candidate cannot be reached in any round; the second sees all that was said."""
    answer, sent = run(upstream, gateway, "falls", asks_for(WIRE, echo("x")))
    assert answer.text == TEXT and told(sent[1]) == ["x"]


def test_provider_fails_in_the_second_round(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.queue(asks_for(WIRE, echo("x"), say="So far. "))
    upstream.on(up.json_reply({"error": {"message": "no"}}, 500))
    with Stream(gateway, chat_body("relay", "go", stream=True)) as running:
        seen = running.read()
    assert seen.text == "So far. "
    assert seen.check_failed()["should_retry"] is False, "a tool has run"


# ---- client tools beside agent tools


def test_only_client_tools(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.queue(asks_for(WIRE, Asked("c9", "ask_user", {"q": "?"})))
    answer = stream(gateway, "relay", "go", tools=[CLIENT_TOOL]).check_complete()
    assert answer.finish == "tool_calls"
    assert [(c["name"], c["arguments"]) for c in answer.tool_calls] == [("ask_user", '{"q": "?"}')]
    assert {"ask_user", "one__echo"} <= set(offered(WIRE, upstream.last.request.json()))


@pytest.mark.parametrize("streaming", [True, False], ids=["stream", "json"])
def test_mixed_round_is_parked_and_spliced(
    gateway: Gateway, upstream: FakeUpstream, folder: Path, streaming: bool
) -> None:
    asked = (echo("agent's", "c1"), Asked("c2", "ask_user", {"q": "?"}), echo("agent's too", "c3"))
    upstream.queue(asks_for(WIRE, *asked, say="Wait. "))
    if streaming:
        answer = stream(gateway, "relay", "go", tools=[CLIENT_TOOL]).check_complete()
        (client_call,), finish = answer.tool_calls, answer.finish
        name, call_id = client_call["name"], client_call["id"]
        message = {"role": "assistant", "content": answer.text, "tool_calls": []}
    else:
        (choice,) = chat(gateway, "relay", "go", tools=[CLIENT_TOOL]).json()["choices"]
        (client_call,), finish = choice["message"]["tool_calls"], choice["finish_reason"]
        name, call_id = client_call["function"]["name"], client_call["id"]
        message = {"role": "assistant", "content": choice["message"]["content"], "tool_calls": []}
    assert (name, finish) == ("ask_user", "tool_calls"), "only the client's call is shown"
    ran = len(records(folder, "message", method="tools/call"))

    function = {"name": "ask_user", "arguments": '{"q": "?"}'}
    message["tool_calls"].append({"id": call_id, "type": "function", "function": function})
    history = [
        {"role": "user", "content": "go"},
        message,
        {"role": "tool", "tool_call_id": call_id, "content": "the client's"},
    ]
    upstream.on(says(WIRE))
    again = stream(gateway, "relay", history, tools=[CLIENT_TOOL]).check_complete()
    assert (again.text, again.finish) == (TEXT, "stop")
    spliced = {name: [] for name in ("one__echo", "ask_user")}
    for name, _, said in heard(WIRE, upstream.last.request.json()):
        spliced[name].append(said)
    assert spliced == {"one__echo": ["agent's", "agent's too"], "ask_user": ["the client's"]}
    assert len(records(folder, "message", method="tools/call")) == ran, "nothing ran twice"


def test_parked_results_are_for_their_principal_only(start_gateway, upstream: FakeUpstream, tmp_path: Path) -> None:
    keys = ("sk-first-0123456789abcdef", "sk-second-0123456789abcdef")
    gateway = start_gateway(
        config(agent("relay", "p"), p=WIRE.provider(upstream.url)), mcp={"one": stdio(tmp_path / "one")}, keys=keys
    )
    upstream.queue(asks_for(WIRE, echo("secret of the first", "c1"), Asked("c2", "ask_user", {"q": "?"})))
    upstream.on(says(WIRE))
    body = chat_body("relay", "go", tools=[CLIENT_TOOL])
    message = call(gateway, "POST", "/v1/chat/completions", body, key=keys[0]).json()["choices"][0]["message"]
    history = [
        {"role": "user", "content": "go"},
        {"role": "assistant", "content": None, "tool_calls": message["tool_calls"]},
        {"role": "tool", "tool_call_id": message["tool_calls"][0]["id"], "content": "x"},
    ]
    body = chat_body("relay", history, tools=[CLIENT_TOOL])
    assert call(gateway, "POST", "/v1/chat/completions", body, key=keys[1]).status == 200
    assert "secret of the first" not in upstream.last.request.body.decode()
    assert call(gateway, "POST", "/v1/chat/completions", body, key=keys[0]).status == 200
    assert "secret of the first" in upstream.last.request.body.decode()


@pytest.mark.parametrize("apart", ["users", "chats"])
def test_parked_results_of_two_that_ask_the_same(gateway: Gateway, upstream: FakeUpstream, apart: str) -> None:
    """Providers that number the calls of each answer anew give two users, and two chats of one, the same ids."""
    users = {"users": ("alice", "bob"), "chats": ("alice", "alice")}[apart]
    before = {"users": ("Hello.", "Hello."), "chats": ("I am in Oslo.", "I am in Rome.")}[apart]
    parked = []
    for user, said, number in zip(users, before, (100, 200), strict=True):
        history = [
            {"role": "user", "content": said},
            {"role": "assistant", "content": "Good."},
            {"role": "user", "content": "what is new?"},
        ]
        added = Asked("functions.add_two_numbers:0", "add_two_numbers", {"a": number, "b": number // 100})
        upstream.queue(asks_for(WIRE, added, Asked("functions.ask_user:1", "ask_user", {})))
        (choice,) = chat(gateway, "adds", history, {"X-User-Id": user}, tools=[CLIENT_TOOL]).json()["choices"]
        (client_call,) = choice["message"]["tool_calls"]
        result = {"role": "tool", "tool_call_id": client_call["id"], "content": "the client's"}
        parked.append((user, [*history, choice["message"], result]))
    upstream.on(says(WIRE))
    for (user, history), sum_ in zip(parked, ("101", "202"), strict=True):
        assert chat(gateway, "adds", history, {"X-User-Id": user}, tools=[CLIENT_TOOL]).status == 200
        said = {name: said for name, _, said in heard(WIRE, upstream.last.request.json())}
        assert said == {"add_two_numbers": sum_, "ask_user": "the client's"}


def test_name_of_a_client_tool_that_the_agent_has(gateway: Gateway) -> None:
    tool = {"type": "function", "function": {"name": "one__echo", "parameters": {"type": "object", "properties": {}}}}
    error = chat(gateway, "relay", "go", tools=[tool]).error
    assert error["code"] == "tool_name_conflict" and "one__echo" in error["message"]


def test_client_tools_policy(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.on(says(WIRE))
    assert chat(gateway, "ignores", "go", tools=[CLIENT_TOOL]).status == 200
    assert "ask_user" not in offered(WIRE, upstream.last.request.json())
    assert chat(gateway, "rejects", "go", tools=[CLIENT_TOOL]).status == 400


# ---- how tools are shown


def shown(gateway: Gateway, mode: str, model: str = "demo"):
    asked = (("one__slow", {"seconds": 0.3, "every": 0.1}), ("one__fail", {"text": "out of luck"}))
    return ask(gateway, *asked, model=model, headers={"x-parley-tool-progress": mode})


def test_quiet_is_the_default(gateway: Gateway) -> None:
    for answer in (shown(gateway, "quiet"), ask(gateway, ("one__echo", {"text": "x"}))):
        assert answer.reasoning == "" and answer.tool_calls == []
        known = {"id", "object", "created", "model", "choices", "usage", "system_fingerprint", "service_tier"}
        assert all(set(chunk) <= known for chunk in answer.chunks)


def test_reasoning(gateway: Gateway) -> None:
    answer = shown(gateway, "reasoning")
    assert "one__slow" in answer.reasoning and "one__fail" in answer.reasoning and "out of luck" in answer.reasoning
    assert results(answer)[0] == "took 0.3 s" and "Using" not in answer.text


def test_events(gateway: Gateway) -> None:
    answer = shown(gateway, "events")
    events = [chunk["agent"] for chunk in answer.chunks if "agent" in chunk]
    by_call: dict[str, list[dict]] = {}
    for event in events:
        by_call.setdefault(event["call_id"], []).append(event)
    assert len(by_call) == 2
    for of_call in by_call.values():
        assert of_call[0]["type"] == "tool_call.started" and of_call[-1]["type"] == "tool_call.completed"
        assert all(event["type"] == "tool_call.progress" for event in of_call[1:-1])
    ends = {events[-1]["name"]: events[-1] for events in by_call.values()}
    assert ends["one__slow"]["is_error"] is False and ends["one__slow"]["duration_ms"] >= 300
    assert ends["one__fail"]["is_error"] is True and ends["one__fail"]["result"] == "out of luck"


def test_events_without_a_stream(gateway: Gateway) -> None:
    asked = calls(("one__echo", {"text": "x"}))
    body = chat(gateway, "demo", asked, {"x-parley-tool-progress": "events"}).json()
    (done,) = body["agent"]["tool_calls"]
    assert (done["name"], done["result"]) == ("one__echo", "x")
    assert "agent" not in chat(gateway, "demo", asked).json()


def native(gateway: Gateway, asked: str, model: str = "demo") -> list[dict]:
    """Open WebUI's items of a stream; the rest must be ordinary chunks."""
    items = []
    with Stream(gateway, chat_body(model, asked, stream=True), OPEN_WEBUI) as running:
        for event in running:
            if isinstance(event, dict) and "choices" not in event and "error" not in event:
                assert event["type"] == "response.output_item.added" and event["output_index"] >= 1000
                items.append(event["item"])
    return items


def test_open_webui(gateway: Gateway) -> None:
    items = native(gateway, calls(("one__echo", {"text": "x"}), ("one__fail", {})))
    asked = {item["call_id"] for item in items if item["type"] == "function_call"}
    outputs = {item["call_id"]: item for item in items if item["type"] == "function_call_output"}
    assert len(asked) == 2 and set(outputs) == asked, "always in pairs"
    assert [item["status"] for item in items if item["type"] == "function_call"][0] == "in_progress"
    texts = {json.dumps(output["output"]) for output in outputs.values()}
    assert any('"x"' in text for text in texts)
    assert native(gateway, calls(("one__echo", {"text": "x"})), "quiet") == []


def test_open_webui_gets_an_output_before_an_error_too(gateway: Gateway, upstream: FakeUpstream) -> None:
    upstream.queue(asks_for(WIRE, echo("x")))
    upstream.on(up.json_reply({"error": {"message": "no"}}, 500))
    items = native(gateway, "go", "relay")
    assert {i["call_id"] for i in items if i["type"] == "function_call"} == {
        i["call_id"] for i in items if i["type"] == "function_call_output"
    }
    assert items


def test_an_unknown_mode_is_refused(gateway: Gateway) -> None:
    assert chat(gateway, "demo", "x", {"x-parley-tool-progress": "loud"}).status == 400


# ---- retries


def idempotent(gateway: Gateway, key: str, asked: str, **fields) -> Answer:
    return chat(gateway, "demo", asked, {"Idempotency-Key": key}, **fields)


def test_idempotency_key_runs_a_tool_once(gateway: Gateway, folder: Path) -> None:
    asked = calls(("one__echo", {"text": "only once"}))
    before = len(records(folder, "message", method="tools/call"))
    first, second = (idempotent(gateway, "key-0001", asked) for _ in range(2))
    assert first.json() == second.json() and second.header("idempotent-replayed") == "true"
    assert first.header("idempotent-replayed") is None
    assert len(records(folder, "message", method="tools/call")) == before + 1
    other = idempotent(gateway, "key-0001", asked + " ")
    assert other.status == 400 and "idempotency" in other.error["message"].lower()


def test_idempotency_key_streamed(gateway: Gateway, folder: Path) -> None:
    asked = calls(("one__echo", {"text": "only once"}))
    before = len(records(folder, "message", method="tools/call"))
    first, second = (
        stream(gateway, "demo", asked, {"Idempotency-Key": "key-0002"}).check_complete() for _ in range(2)
    )
    assert (first.text, first.finish) == (second.text, second.finish)
    assert second.answer.header("idempotent-replayed") == "true"
    assert len(records(folder, "message", method="tools/call")) == before + 1


def test_idempotency_key_while_the_first_is_under_way(gateway: Gateway, folder: Path) -> None:
    asked = calls(("one__slow", {"seconds": 1}))
    before = len(records(folder, "message", method="tools/call"))
    with ThreadPoolExecutor(1) as pool:
        first = pool.submit(idempotent, gateway, "key-0003", asked)
        wait_record(folder, "message", method="tools/call", count=before + 1)
        second = idempotent(gateway, "key-0003", asked)
        assert second.status == 409 and second.header("x-should-retry") == "true" and second.header("retry-after")
        assert first.result().status == 200
    assert idempotent(gateway, "key-0003", asked).json() == first.result().json()
    assert len(records(folder, "message", method="tools/call")) == before + 1


def test_idempotency_key_of_a_failed_answer_is_free_again(gateway: Gateway, upstream: FakeUpstream) -> None:
    headers = {"Idempotency-Key": "key-0004"}
    upstream.on(up.json_reply({"error": {"message": "no"}}, 400))
    assert chat(gateway, "relay", "go", headers).status == 400
    upstream.on(says(WIRE))
    assert chat(gateway, "relay", "go", headers).status == 200


@pytest.mark.parametrize("bad", ["x" * 256, "tab\there"])
def test_malformed_idempotency_key(gateway: Gateway, bad: str) -> None:
    assert idempotent(gateway, bad, "hello").status == 400


def test_many_runs_at_once(gateway: Gateway) -> None:
    def one(number: int) -> None:
        told = results(ask(gateway, *(("one__echo", {"text": f"{number}/{n}"}) for n in range(3)), timeout=30))
        assert told == [f"{number}/{n}" for n in range(3)]

    with ThreadPoolExecutor(16) as pool:
        list(pool.map(one, range(48)))
