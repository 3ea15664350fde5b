"""The reference servers of the protocol, which we did not write: each is listed and called, over every transport it has,
and an agent uses two of them in one streamed answer.
"""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from harness import reference_servers as reference
from harness.api import call, chat, stream
from harness.configs import agent, config
from harness.gateway import Gateway, run_cli
from harness.mcp import ask, calls, result, results, tool_agent, wait_for, with_tools
from harness.upstream import FakeUpstream
from harness.wire_tools import Asked, asks_for, heard, offered, says
from harness.wires import TEXT, WIRES, Wire

# Each server's tool, arguments, and what the result must hold.
CALLS = {
    "everything": ("get-sum", {"a": 2, "b": 40}, "The sum of 2 and 40 is 42."),
    "filesystem": ("read_text_file", {"path": "note.txt"}, "written by the test"),
    "memory": ("search_nodes", {"query": "Ada"}, "Ada"),
    "thinking": ("sequentialthinking", reference.THOUGHT, "thoughtNumber"),
    "web": ("echo", {"message": "over HTTP"}, "Echo: over HTTP"),
    "old": ("echo", {"message": "over SSE"}, "Echo: over SSE"),
    "guess": ("echo", {"message": "found out"}, "Echo: found out"),
}
# server-everything lists 13; one of them runs only as a task, which is not offered.
TOOLS = {"everything": 12, "filesystem": 14, "memory": 9, "thinking": 1, "web": 12, "old": 12, "guess": 12}


@pytest.fixture(scope="module")
def servers(tmp_path_factory: pytest.TempPathFactory):
    """mcp.json with all of them; `guess` has no type, so the gateway has to find out that it is legacy SSE."""
    folder = tmp_path_factory.mktemp("served").resolve()
    (folder / "note.txt").write_text("written by the test\n")
    known = {"type": "entity", "name": "Ada", "entityType": "person", "observations": []}
    (folder / "memory.jsonl").write_text(json.dumps(known) + "\n")
    started = {way: reference.Everything(way) for way in ("streamableHttp", "sse")}
    yield {
        "mcpServers": {
            "everything": reference.entry("everything", "stdio"),
            "filesystem": reference.entry("filesystem", str(folder), cwd=str(folder)),
            "memory": reference.entry("memory", env={"MEMORY_FILE_PATH": str(folder / "memory.jsonl")}),
            "thinking": reference.entry("sequential-thinking", env={"DISABLE_THOUGHT_LOGGING": "true"}),
            "web": {"type": "streamable-http", "url": started["streamableHttp"].url},
            "old": {"type": "sse", "url": started["sse"].url},
            "guess": {"url": started["sse"].url},
        }
    }
    for server in started.values():
        server.kill()


@pytest.fixture(scope="module")
def gateway(start_module_gateway, servers: dict) -> Gateway:
    allowed = {"old": {"allowed_mcp_tools": ["echo", "get-s*"]}, "memory": {"allowed_mcp_tools": []}}
    few = tool_agent(allowed, "few")
    return start_module_gateway(with_tools(tool_agent(), few, tool_agent({}, "none")), mcp=servers)


@pytest.mark.parametrize("label", CALLS)
def test_call(gateway: Gateway, label: str) -> None:
    tool, arguments, expected = CALLS[label]
    assert expected in result(gateway, f"{label}__{tool}", arguments)


def test_all_tools_are_offered(gateway: Gateway) -> None:
    answer = chat(gateway, "demo", "/tools").json()["choices"][0]["message"]["content"]
    names = {line.split("`")[1] for line in answer.splitlines() if line.startswith("- `")}
    by_label = {label: sum(name.startswith(f"{label}__") for name in names) for label in TOOLS}
    assert by_label == TOOLS
    assert {"get_current_datetime", "add_two_numbers"} <= names


def test_an_agent_has_only_what_it_is_allowed(gateway: Gateway) -> None:
    answer = chat(gateway, "few", "/tools").json()["choices"][0]["message"]["content"]
    names = {line.split("`")[1] for line in answer.splitlines() if line.startswith("- `") and "__" in line}
    assert names == {"old__echo", "old__get-structured-content", "old__get-sum"}
    assert "__" not in chat(gateway, "none", "/tools").json()["choices"][0]["message"]["content"]
    assert "no tool" in chat(gateway, "few", "/call web__echo {}").json()["choices"][0]["message"]["content"]


def test_two_servers_in_one_streamed_answer(gateway: Gateway) -> None:
    answer = ask(
        gateway,
        ("everything__get-sum", {"a": 1, "b": 2}),
        ("filesystem__read_text_file", {"path": "note.txt"}),
        ("web__echo", {"message": "third"}),
        stream_options={"include_usage": True},
    )
    first, second, third = results(answer)
    assert "The sum of 1 and 2 is 3." in first and "written by the test" in second and "Echo: third" in third
    assert answer.finish == "stop" and answer.tool_calls == []
    used = answer.usage["agent"]
    assert (used["llm_calls"], used["tool_rounds"], used["tool_calls_requested"]) == (2, 1, 3)
    assert (used["tool_calls_executed"], used["tool_calls_failed"], used["stop_reason"]) == (3, 0, "completed")


def test_two_servers_in_one_answer_that_is_not_streamed(gateway: Gateway) -> None:
    asked = calls(("memory__create_entities", reference.entity("Grace")), ("old__echo", {"message": "x"}))
    body = chat(gateway, "demo", asked).json()
    assert "Grace" in body["choices"][0]["message"]["content"]
    assert "Echo: x" in body["choices"][0]["message"]["content"]
    assert body["choices"][0]["finish_reason"] == "stop" and "tool_calls" not in body["choices"][0]["message"]
    assert body["usage"]["agent"]["tool_calls_executed"] == 2


def test_structured_and_other_content(gateway: Gateway) -> None:
    assert json.loads(result(gateway, "web__get-structured-content", {"location": "Chicago"}))["temperature"] == 36
    assert "image" in result(gateway, "everything__get-tiny-image")
    assert "resource" in result(gateway, "everything__get-resource-links", {"count": 2})


def test_a_failing_tool_is_told_to_the_model(gateway: Gateway) -> None:
    told = result(gateway, "filesystem__read_text_file", {"path": "/etc/passwd"})
    assert "root:" not in told and "denied" in told


def test_progress_of_a_long_call_is_shown(gateway: Gateway) -> None:
    answer = ask(
        gateway,
        ("web__trigger-long-running-operation", {"duration": 1, "steps": 4}),
        headers={"x-parley-tool-progress": "events"},
    )
    shown = [chunk["agent"]["type"] for chunk in answer.chunks if "agent" in chunk]
    assert shown[0] == "tool_call.started" and shown[-1] == "tool_call.completed"
    assert "tool_call.progress" in shown, "at most one a second"


def test_health_shows_each(gateway: Gateway) -> None:
    result(gateway, "everything__echo", {"message": "x"})

    def shown() -> dict[str, dict]:
        servers = call(gateway, "GET", "/health?detailed=true").json()["mcp_servers"]
        return {server["label"]: server for server in servers}

    assert set(shown()) == set(TOOLS)
    wait_for(lambda: len(shown()["everything"]["tools"] or ()) == 12, 3, "the tools in /health")


def test_what_a_server_asks_of_us(start_gateway) -> None:
    """Nobody is there to be asked: a form is filled with its defaults where the configuration says so."""
    mcp = {
        "asks": reference.entry("everything", "stdio", elicitation="defaults", roots=["file:///srv/data"]),
        "declined": reference.entry("everything", "stdio", roots=["file:///srv/data"]),
    }
    gateway = start_gateway(with_tools(), mcp=mcp)
    listed = chat(gateway, "demo", "/tools").body.decode()
    assert "asks__trigger-elicitation-request" in listed and "asks__get-roots-list" in listed
    assert "declined__trigger-elicitation-request" not in listed
    assert "file:///srv/data" in result(gateway, "asks__get-roots-list")
    told = result(gateway, "asks__trigger-elicitation-request")
    assert "accept" in told.lower() or "provided" in told.lower(), told


# ---- each provider's dialect


@pytest.fixture(scope="module")
def relay(start_module_gateway, module_upstream: FakeUpstream, servers: dict) -> Gateway:
    """The same servers for an agent of each provider type."""
    providers = {wire.name: wire.provider(module_upstream.url) for wire in WIRES}
    return start_module_gateway(config(*(agent(w.name, w.name) for w in WIRES), **providers), mcp=servers)


@pytest.mark.parametrize("wire", WIRES, ids=[wire.name for wire in WIRES])
def test_two_servers_in_each_dialect(relay: Gateway, upstream: FakeUpstream, wire: Wire) -> None:
    first = Asked("call_1", "everything__get-sum", {"a": 2, "b": 40})
    second = Asked("call_2", "memory__search_nodes", {"query": "Ada"})
    upstream.queue(asks_for(wire, first, second), says(wire))
    assert stream(relay, wire.name, "go").check_complete().text == TEXT
    tools = offered(wire, upstream.exchanges[0].request.json())
    assert tools["everything__get-sum"]["parameters"]["required"] == ["a", "b"]
    assert "$schema" not in tools["everything__get-sum"]["parameters"], "draft-07 marks are not for models"
    (name, _, sum_), (other, _, found) = heard(wire, upstream.exchanges[1].request.json())
    assert (name, other) == (first.name, second.name)
    assert "The sum of 2 and 40 is 42." in sum_ and "Ada" in found


# ---- the command line


def cli(folder: Path, servers: dict, *arguments: str, env: dict[str, str] | None = None):
    (folder / "mcp.json").write_text(json.dumps(servers))
    (folder / "agent_config.json").write_text(json.dumps(with_tools()))
    flags = ("--config", "agent_config.json", "--mcp", "mcp.json")
    return run_cli("mcp", *arguments, *flags, cwd=folder, env=env, timeout=40)


def test_cli_list(tmp_path: Path, servers: dict) -> None:
    done = cli(tmp_path, servers, "list")
    assert done.returncode == 0, done.stderr
    for name in ("everything__get-sum", "filesystem__read_text_file", "old__echo", "thinking__sequentialthinking"):
        assert name in done.stdout.replace(" ", "__") or name.split("__")[1] in done.stdout, done.stdout
    done = cli(tmp_path, servers, "list", "--json", "memory")
    assert done.returncode == 0, done.stderr
    listed = json.loads(done.stdout)
    assert "create_entities" in json.dumps(listed) and "read_text_file" not in json.dumps(listed)


@pytest.mark.parametrize("label", CALLS)
def test_cli_call(tmp_path: Path, servers: dict, label: str) -> None:
    tool, arguments, expected = CALLS[label]
    done = cli(tmp_path, servers, "call", label, tool, json.dumps(arguments))
    assert done.returncode == 0, done.stderr
    assert expected in done.stdout


def test_cli_call_says_what_is_wrong(tmp_path: Path, servers: dict) -> None:
    for arguments, expected in (
        (("nobody", "echo", "{}"), "nobody"),
        (("everything", "nothing", "{}"), "nothing"),
        (("everything", "echo", "{broken"), "JSON"),
    ):
        done = cli(tmp_path, servers, "call", *arguments)
        assert done.returncode != 0 and expected in done.stderr + done.stdout, (arguments, done)
