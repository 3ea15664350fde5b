"""The life of tool servers: they start when needed, die alone, come back, and never outlive the gateway."""

from __future__ import annotations

import contextlib
import json
import os
import re
import signal
import socket
import threading
import time
from pathlib import Path

import pytest

from harness import reference_servers as reference
from harness import upstream as up
from harness.api import Stream, call, chat, chat_body
from harness.configs import agent, config
from harness.gateway import SLACK, SLOW, Gateway, run_cli, wait_until
from harness.mcp import (
    ask,
    calls,
    children,
    descendants,
    http,
    is_gone,
    records,
    result,
    results,
    stdio,
    tool_agent,
    wait_for,
    wait_record,
    with_tools,
    write_script,
)
from harness.mcp_http import HttpServer
from harness.wire_tools import Asked, asks_for
from harness.wires import BY_NAME

WIRE = BY_NAME["openai"]
SECRET = "sk-never-for-children-0123456789"


def pid_of(folder: Path) -> int:
    """Of the server started last."""
    return records(folder, "start")[-1]["pid"]


def servers_of(gateway: Gateway) -> dict[str, dict]:
    return {server["label"]: server for server in call(gateway, "GET", "/health?detailed=true").json()["mcp_servers"]}


class Answering(threading.Thread):
    """One streamed answer in the background, and when it was there."""

    def __init__(self, gateway: Gateway, tool: str, arguments: dict | None = None) -> None:
        super().__init__(daemon=True)
        self._ask = (gateway, (tool, arguments or {}))
        self.told = ""
        self.at = 0.0
        self.start()

    def run(self) -> None:
        self.told = results(ask(*self._ask, timeout=30 * SLACK))[0]
        self.at = time.monotonic()

    def wait(self, timeout: float = 10.0) -> str:
        self.join(timeout * SLACK)
        assert not self.is_alive() and self.told, "no answer"
        return self.told


# ---- start


def test_lazy_and_eager(start_gateway, tmp_path: Path) -> None:
    mcp = {"lazy": stdio(tmp_path / "lazy"), "eager": stdio(tmp_path / "eager", eager=True)}
    gateway = start_gateway(with_tools(tool_agent(), tool_agent({}, "none")), mcp=mcp)
    wait_record(tmp_path / "eager", "message", method="tools/list")
    assert chat(gateway, "none", "hello").status == 200
    assert records(tmp_path / "lazy") == [], "an agent without tools starts nothing"
    assert result(gateway, "lazy__echo", {"text": "x"}) == "x"
    assert len(records(tmp_path / "eager", "start")) == 1


def test_the_list_is_asked_for_once(start_gateway, tmp_path: Path) -> None:
    gateway = start_gateway(with_tools(), mcp={"one": stdio(tmp_path / "one")})
    for number in range(5):
        assert result(gateway, "one__echo", {"text": str(number)}) == str(number)
    assert len(records(tmp_path / "one", "start")) == 1
    assert len(records(tmp_path / "one", "message", method="tools/list")) == 1


def test_tool_cache_ttl(start_gateway, tmp_path: Path) -> None:
    mcp = {"one": stdio(tmp_path / "one")}
    gateway = start_gateway(with_tools(), mcp=mcp, env={"MCP_TOOL_CACHE_TTL": "1"})
    result(gateway, "one__echo", {"text": "x"})
    first = wait_record(tmp_path / "one", "message", method="tools/list")["at"]
    wait_for(lambda: time.monotonic() > first + 1.1, 3, "the list's age")
    result(gateway, "one__echo", {"text": "y"})
    wait_record(tmp_path / "one", "message", method="tools/list", count=2)


# ---- death


def test_kill_9_in_the_middle_of_a_call(start_gateway, tmp_path: Path) -> None:
    gateway = start_gateway(with_tools(), mcp={"one": stdio(tmp_path / "one")})
    assert result(gateway, "one__echo", {"text": "x"}) == "x"
    answer = Answering(gateway, "one__hang")
    wait_record(tmp_path / "one", "hanging")
    killed_at = time.monotonic()
    os.kill(pid_of(tmp_path / "one"), signal.SIGKILL)
    told = answer.wait()
    assert answer.at - killed_at < 1.0 * SLACK, f"the model heard of it after {answer.at - killed_at:.2f} s"
    assert "one" in told and ("signal 9" in told or "SIGKILL" in told or "killed" in told), told
    assert result(gateway, "one__echo", {"text": "again"}) == "again"
    assert len(records(tmp_path / "one", "start")) == 2


def test_death_between_calls_is_not_noticed(start_gateway, tmp_path: Path) -> None:
    gateway = start_gateway(with_tools(), mcp={"one": stdio(tmp_path / "one")})
    for number in range(12):
        assert result(gateway, "one__echo", {"text": str(number)}) == str(number)
        pid = pid_of(tmp_path / "one")
        os.kill(pid, signal.SIGKILL)
        wait_for(lambda pid=pid: is_gone(pid), 2, "the end of the child")
    wait_for(lambda: children(gateway.pid) == [], 2, "no zombie")


def stop(pid: int) -> None:
    """SIGSTOP, and until it stands: a thread that the signal has not reached may still read."""
    os.kill(pid, signal.SIGSTOP)
    states = [task / "stat" for task in Path(f"/proc/{pid}/task").iterdir()]
    wait_for(lambda: all(one.read_text().rpartition(")")[2].split()[0] == "T" for one in states), 10, "it to stand")


def test_a_call_that_nobody_has_read_is_made_again(start_gateway, tmp_path: Path) -> None:
    """It is in the pipe of a program that is stopped, and then killed: nothing was done, so nothing is lost."""
    gateway = start_gateway(with_tools(), mcp={"one": stdio(tmp_path / "one")})
    assert result(gateway, "one__echo", {"text": "first"}) == "first"
    pid = pid_of(tmp_path / "one")
    stop(pid)
    answer = Answering(gateway, "one__echo", {"text": "second"})
    time.sleep(0.3 * SLACK)  # by then it is in the pipe; were it not, the outcome would be the same
    os.kill(pid, signal.SIGKILL)
    assert answer.wait() == "second"
    assert len(records(tmp_path / "one", "start")) == 2


def test_a_call_under_way_is_not_taken_for_one_that_nobody_has_read(
    start_gateway, tmp_path: Path, upstream: up.FakeUpstream
) -> None:
    """One call was being done when the program was killed, another lay in its pipe. That one is made again; of the
    first, nobody knows, so its run asks not to be repeated."""
    gateway = start_gateway(
        config(agent("relay", "p"), tool_agent(), p=WIRE.provider(upstream.url)), mcp={"one": stdio(tmp_path / "one")}
    )
    assert result(gateway, "one__echo", {"text": "first"}) == "first"
    upstream.queue(asks_for(WIRE, Asked("c", "one__hang", {}), say="So far. "))
    upstream.on(up.json_reply({"error": {"message": "no"}}, 500))
    with Stream(gateway, chat_body("relay", "go", stream=True)) as running:
        wait_record(tmp_path / "one", "hanging")
        pid = pid_of(tmp_path / "one")
        stop(pid)
        answer = Answering(gateway, "one__echo", {"text": "second"})
        time.sleep(0.3 * SLACK)  # by then it is in the pipe
        os.kill(pid, signal.SIGKILL)
        error = running.read().check_failed()
    assert answer.wait() == "second"
    told = upstream.exchanges[-1].request.json()["messages"][-1]["content"]
    assert told.startswith("The tool server 'one' gave no result, and may have done this all the same."), told
    assert error["should_retry"] is False


def test_a_server_that_dies_in_every_call(start_gateway, tmp_path: Path) -> None:
    """Restarts are slowed down (1 s and more between them), but the model always gets its answer."""
    gateway = start_gateway(with_tools(), mcp={"one": stdio(tmp_path / "one"), "two": stdio(tmp_path / "two")})
    for _ in range(3):
        told = results(ask(gateway, ("one__die", {}), ("two__echo", {"text": "fine"})))
        assert told[1] == "fine" and told[0] != ""
    assert len(records(tmp_path / "one", "start")) <= 4
    assert len(records(tmp_path / "two", "start")) == 1


def test_one_dead_server_of_five(start_gateway, tmp_path: Path) -> None:
    mcp = {f"good{n}": stdio(tmp_path / f"good{n}") for n in range(3)}
    mcp["missing"] = {"command": "parley-no-such-program"}
    mcp["broken"] = stdio(tmp_path / "broken", {"exit_at": "initialize"})
    gateway = start_gateway(with_tools(), mcp=mcp)
    began = time.monotonic()
    told = results(ask(gateway, *((f"good{n}__echo", {"text": str(n)}) for n in range(3))))
    assert told == ["0", "1", "2"]
    assert time.monotonic() - began < 5 * SLACK, "nobody waits for the dead"
    for label in ("missing", "broken"):
        wait_for(lambda label=label: "last_error" in servers_of(gateway)[label], 3, "the reason in /health")
    shown = servers_of(gateway)
    assert "parley-no-such-program" in json.dumps(shown["missing"])
    assert "3" in shown["broken"]["last_error"], "the exit code"
    assert "last_error" not in shown["good0"] and "echo" in json.dumps(shown["good0"]["tools"])
    assert call(gateway, "GET", "/readyz").status == 200


def test_stderr_of_a_dead_server_is_kept(start_gateway, tmp_path: Path) -> None:
    complaint = "configuration of the moon is missing"
    mcp = {"one": {"command": "/bin/sh", "args": ["-c", f"echo '{complaint}' >&2; exit 7"]}}
    gateway = start_gateway(with_tools(), mcp=mcp)
    assert chat(gateway, "demo", "hello").status == 200
    wait_for(lambda: complaint in json.dumps(servers_of(gateway)["one"]), 3, "its last words in /health")
    assert "7" in servers_of(gateway)["one"]["last_error"], servers_of(gateway)["one"]


def test_unset_variable_disables_that_server_only(start_gateway, tmp_path: Path) -> None:
    mcp = {
        "good": stdio(tmp_path / "good"),
        "bad": stdio(tmp_path / "bad", env={"TOKEN": "${PARLEY_TEST_UNSET_TOKEN}"}),
        "far": {"type": "http", "url": "http://127.0.0.1:9/mcp", "headers": {"x-key": "${PARLEY_TEST_UNSET_KEY}"}},
    }
    gateway = start_gateway(with_tools(), mcp=mcp)
    assert result(gateway, "good__echo", {"text": "x"}) == "x"
    assert records(tmp_path / "bad") == []
    shown = servers_of(gateway)
    assert "PARLEY_TEST_UNSET_TOKEN" in json.dumps(shown["bad"])
    assert "PARLEY_TEST_UNSET_KEY" in json.dumps(shown["far"])


def test_a_slow_start_holds_up_nobody_for_ever(start_gateway, tmp_path: Path) -> None:
    slow = stdio(tmp_path / "slow", {"delay": {"initialize": 60, "server/discover": 60}}, start_timeout_ms=600)
    gateway = start_gateway(with_tools(), mcp={"slow": slow, "good": stdio(tmp_path / "good")})
    began = time.monotonic()
    assert result(gateway, "good__echo", {"text": "x"}) == "x"
    assert time.monotonic() - began < 5 * SLACK
    wait_for(lambda: "last_error" in servers_of(gateway)["slow"], 3, "the reason in /health")


def test_a_server_that_hangs_at_start_is_waited_for_once(start_gateway, tmp_path: Path) -> None:
    """The first request waits as long as a start may take; after that nobody waits longer than a moment, whoever asks
    and however often. When it comes up after all, its tools are there at once."""
    slow = stdio(tmp_path / "slow", {"delay": {"initialize": 60, "server/discover": 60}}, start_timeout_ms=2500)
    mcp = {"slow": slow, "good": stdio(tmp_path / "good")}
    keys = ("sk-first-0123456789abcdef", "sk-second-0123456789abcdef")
    gateway = start_gateway(with_tools(), mcp=mcp, keys=keys)

    def ask_tools(key: str) -> tuple[float, str]:
        began = time.monotonic()
        answer = call(gateway, "POST", "/v1/chat/completions", chat_body("demo", "/tools"), key=key)
        assert answer.status == 200 and "good__echo" in answer.body.decode()
        return time.monotonic() - began, answer.body.decode()

    assert 2.4 < ask_tools(keys[0])[0] < 2.5 + 1.5 * SLACK, "somebody has to wait"
    end = time.monotonic() + 4 * SLACK
    while time.monotonic() < end:
        for key in keys:
            took, _ = ask_tools(key)
            assert took < 1.4 + SLACK, f"{took:.1f} s"
        time.sleep(0.2)
    assert len(records(tmp_path / "slow", "start")) >= 3, "it is tried again"
    write_script(tmp_path / "slow", {"delay": {"initialize": 1.5}})
    wait_for(lambda: "slow__echo" in ask_tools(keys[0])[1], 10, "the server that came up")
    assert result(gateway, "slow__echo", {"text": "here"}) == "here"


def test_one_users_refusal_is_no_doubt_about_anothers_start(start_gateway, request, tmp_path: Path) -> None:
    """Each has a session of their own, which takes its time to begin."""
    web = HttpServer(tmp_path / "web")
    request.addfinalizer(web.stop)
    keys = ("sk-first-0123456789abcdef", "sk-second-0123456789abcdef")
    gateway = start_gateway(with_tools(), mcp={"web": http(web)}, keys=keys)
    write_script(tmp_path / "web", {"refuse_http": 403})
    tools = [call(gateway, "POST", "/v1/chat/completions", chat_body("demo", "/tools"), key=keys[0]).body.decode()]
    write_script(tmp_path / "web", {"delay": {"initialize": 1.5}})
    tools += [call(gateway, "POST", "/v1/chat/completions", chat_body("demo", "/tools"), key=keys[1]).body.decode()]
    assert ["web__echo" in shown for shown in tools] == [False, True], tools


def test_a_list_that_does_not_come_is_waited_for_once(start_gateway, tmp_path: Path) -> None:
    slow = stdio(tmp_path / "slow", {"delay": {"tools/list": 60}}, start_timeout_ms=2500)
    gateway = start_gateway(with_tools(), mcp={"slow": slow, "good": stdio(tmp_path / "good")})
    assert result(gateway, "good__echo", {"text": "x"}) == "x"
    end = time.monotonic() + 4 * SLACK
    while time.monotonic() < end:
        began = time.monotonic()
        assert result(gateway, "good__echo", {"text": "x"}) == "x"
        assert time.monotonic() - began < 1.4 + SLACK
        time.sleep(0.2)
    assert len(records(tmp_path / "slow", "message", method="tools/list")) >= 2, "it is asked again"
    assert len(records(tmp_path / "slow", "start")) == 1
    write_script(tmp_path / "slow", {})
    wait_for(lambda: "slow__echo" in chat(gateway, "demo", "/tools").body.decode(), 10, "the list")


def test_why_a_program_cannot_be_used(start_gateway, tmp_path: Path) -> None:
    """What is told names what is wrong: the folder and not the program, and what it writes in place of the protocol."""
    chatter = "echo '[INFO] Starting server...'; echo second; exec sleep 600"
    mcp = {
        "nowhere": {"command": "cat", "cwd": str(tmp_path / "no-such-folder")},
        "chatty": {"command": "/bin/sh", "args": ["-c", chatter], "start_timeout_ms": 1000},
        "logs": {"command": "/bin/sh", "args": ["-c", """echo '{"level":"info"}'; exit 3"""]},
    }
    gateway = start_gateway(with_tools(), mcp=mcp)
    assert chat(gateway, "demo", "hello").status == 200
    wait_for(lambda: all("last_error" in one for one in servers_of(gateway).values()), 5, "the reasons in /health")
    why = {label: one["last_error"] for label, one in servers_of(gateway).items()}
    folder = tmp_path / "no-such-folder"
    assert why["nowhere"] == (
        f"The program 'cat' cannot be started, because its folder (cwd) '{folder}' cannot be entered: "
        "No such file or directory."
    )
    said = "it writes to stdout what is not the protocol: "
    assert why["chatty"] == f'It was not ready within 1 s; {said}"[INFO] Starting server...".'
    assert why["logs"].endswith(f'; {said}"{{"level":"info"}}".') and "exit code 3" in why["logs"], why["logs"]


# ---- what children are given


def test_children_get_no_secret_and_no_descriptor(start_gateway, tmp_path: Path) -> None:
    gateway = start_gateway(
        with_tools(),
        mcp={"one": stdio(tmp_path / "one", env={"OWN": "for me"})},
        env={"OPENAI_API_KEY": SECRET, "DATABASE_PASSWORD": SECRET, "SOME_VARIABLE": "x"},
        keys=(SECRET,),
    )
    # Through a provider that shows the whole result: the demo model cuts it.
    given = json.loads(told_in_full(gateway, "one", "process"))
    assert SECRET not in json.dumps(given)
    names = set(given["environment"])
    assert "SOME_VARIABLE" not in names and "PARLEY_API_KEYS" not in names, names
    assert given["environment"]["OWN"] == "for me" and {"PATH", "HOME"} <= names
    own = str(tmp_path / "one" / "record.jsonl")
    inherited = {number: what for number, what in given["descriptors"].items() if what != own}
    assert set(inherited) <= {"0", "1", "2"}, inherited
    assert given["parent"] == gateway.pid
    assert given["group"] == given["pid"], "a process group of its own"
    assert int(given["blocked"], 16) == 0, "no signal is blocked"
    assert int(given["ignored"], 16) & (1 << (signal.SIGTERM - 1)) == 0


def told_in_full(gateway: Gateway, label: str, tool: str) -> str:
    """By the events of the request, which carry results up to 4 KiB."""
    answer = ask(gateway, (f"{label}__{tool}", {}), headers={"x-parley-tool-progress": "events"})
    (done,) = [chunk["agent"] for chunk in answer.chunks if chunk.get("agent", {}).get("type") == "tool_call.completed"]
    return done["result"]


# ---- end


def start_with_children(start_gateway, tmp_path: Path) -> tuple[Gateway, list[int]]:
    """A gateway with a meek child, one that ignores SIGTERM, and a grandchild."""
    mcp = {
        "meek": stdio(tmp_path / "meek"),
        "stubborn": stdio(tmp_path / "stubborn", {"stubborn": True}),
        "real": reference.entry("everything", "stdio"),
    }
    gateway = start_gateway(with_tools(), mcp=mcp)
    ask(gateway, ("meek__spawn", {}), ("stubborn__echo", {"text": "x"}), ("real__echo", {"message": "x"}))
    grandchild = wait_record(tmp_path / "meek", "spawned")["child"]
    family = descendants(gateway.pid)
    assert grandchild in family and len(family) >= 4, family
    return gateway, family


def test_sigterm_leaves_no_process(start_gateway, tmp_path: Path) -> None:
    gateway, family = start_with_children(start_gateway, tmp_path)
    began = time.monotonic()
    gateway.stop()
    assert time.monotonic() - began < 10 * SLACK
    wait_for(lambda: all(is_gone(pid) for pid in family), 1, "the end of all children and theirs")


def test_sigterm_in_the_middle_of_a_call(start_gateway, tmp_path: Path) -> None:
    gateway = start_gateway(with_tools(), mcp={"one": stdio(tmp_path / "one")}, env={"PARLEY_DRAIN_SECONDS": "0"})
    with Stream(gateway, chat_body("demo", calls(("one__hang", {})), stream=True)) as running:
        wait_record(tmp_path / "one", "hanging")
        family = descendants(gateway.pid)
        gateway.signal(signal.SIGTERM)
        assert gateway.wait_exit(10 * SLACK) == 1, "1: it had to cut a stream"
        assert running.head().answer.status in (200, 503)
    wait_for(lambda: all(is_gone(pid) for pid in family), 1, "the end of the child")


def test_kill_9_of_the_gateway_leaves_no_process(start_gateway, tmp_path: Path) -> None:
    gateway, family = start_with_children(start_gateway, tmp_path)
    gateway.kill()
    wait_for(lambda: all(is_gone(pid) for pid in family), 3, f"the end of {family}")


CYCLES = 30 if SLOW else 100


def test_many_starts_and_stops_leave_nothing(start_gateway, tmp_path: Path) -> None:
    """A reload takes the server away and brings it back."""
    entry = {"one": stdio(tmp_path / "one")}
    gateway = start_gateway(with_tools(), mcp=entry)
    result(gateway, "one__echo", {"text": "x"})
    began = gateway.open_fds()
    for number in range(CYCLES):
        gateway.write_mcp({})
        gateway.signal(signal.SIGHUP)
        pid = pid_of(tmp_path / "one")
        wait_for(lambda pid=pid: is_gone(pid), 10, f"the end of child {number}")
        gateway.write_mcp(entry)
        gateway.signal(signal.SIGHUP)
        wait_for(lambda: "one__echo" in chat(gateway, "demo", "/tools").body.decode(), 10, "the server")
        assert result(gateway, "one__echo", {"text": str(number)}) == str(number)
    assert len(records(tmp_path / "one", "start")) == CYCLES + 1
    wait_until(lambda: len(children(gateway.pid)) == 1, what="one child")
    assert gateway.open_fds() <= began + 2, "descriptors grow"


def test_a_guard_that_is_slow_to_go_leaves_no_zombie(start_gateway, tmp_path: Path) -> None:
    gateway = start_gateway(with_tools(), mcp={"one": stdio(tmp_path / "one")})
    result(gateway, "one__echo", {"text": "x"})
    (guard,) = set(descendants(gateway.pid)) - set(children(gateway.pid))
    os.kill(guard, signal.SIGSTOP)
    gateway.write_mcp({})
    gateway.signal(signal.SIGHUP)
    wait_for(lambda: is_gone(pid_of(tmp_path / "one")), 10, "the end of the child")
    os.kill(guard, signal.SIGCONT)
    wait_for(lambda: descendants(gateway.pid) == [], 5, "nothing, not even a zombie")


def test_idle_stop_and_start_again(start_gateway, tmp_path: Path) -> None:
    gateway = start_gateway(with_tools(), mcp={"one": stdio(tmp_path / "one", idle_stop_ms=300)})
    for number in range(3):
        assert result(gateway, "one__echo", {"text": str(number)}) == str(number)
        wait_for(lambda: children(gateway.pid) == [], 5, "the end of the idle child")
    assert len(records(tmp_path / "one", "start")) == 3


def test_a_reload_that_changes_nothing_keeps_the_child(start_gateway, tmp_path: Path) -> None:
    one_loop = ("--threads", "1")  # with two, one may know the new agent a moment before the other does
    gateway = start_gateway(with_tools(), mcp={"one": stdio(tmp_path / "one")}, args=one_loop)
    result(gateway, "one__echo", {"text": "x"})
    gateway.write_config(with_tools(tool_agent(), tool_agent(None, "second")))
    gateway.signal(signal.SIGHUP)
    wait_for(lambda: chat(gateway, "second", "hello").status == 200, 8, "the new agent")
    assert result(gateway, "one__echo", {"text": "y"}, model="second") == "y"
    assert len(records(tmp_path / "one", "start")) == 1


def test_a_call_under_way_survives_the_reload_that_removes_its_server(start_gateway, tmp_path: Path) -> None:
    gateway = start_gateway(with_tools(), mcp={"one": stdio(tmp_path / "one")})
    answer = Answering(gateway, "one__slow", {"seconds": 1.5})
    wait_record(tmp_path / "one", "message", method="tools/call")
    gateway.write_mcp({})
    gateway.signal(signal.SIGHUP)
    assert "took 1.5 s" in answer.wait()
    wait_for(lambda: children(gateway.pid) == [], 10, "the end of the child that nobody needs")


# ---- HTTP servers


@pytest.mark.parametrize("status", [404, 400])
def test_http_server_restarted_under_us(start_gateway, tmp_path: Path, status: int) -> None:
    """The specification has it say 404; servers built with older SDKs say 400."""
    write_script(tmp_path / "second", {"forgotten": status})
    server = HttpServer(tmp_path / "first")
    gateway = start_gateway(with_tools(), mcp={"web": http(server)})
    assert result(gateway, "web__echo", {"text": "x"}) == "x"
    server.stop()
    server = HttpServer(tmp_path / "second", server.port)
    try:
        assert result(gateway, "web__echo", {"text": "after"}) == "after"
        assert len(records(tmp_path / "second", "message", method="initialize")) == 1
        assert len(records(tmp_path / "second", "message", method="tools/call")) == 1, "not called twice"
    finally:
        server.stop()


@pytest.mark.parametrize("way", ["streamableHttp", "sse"])
def test_reference_server_restarted_under_us(start_gateway, way: str) -> None:
    server = reference.Everything(way)
    kind = "sse" if way == "sse" else "http"
    gateway = start_gateway(with_tools(), mcp={"web": {"type": kind, "url": server.url}})
    assert "Echo: x" in result(gateway, "web__echo", {"message": "x"})
    server.kill()
    server = reference.Everything(way, server.port)
    try:
        assert "Echo: after" in result(gateway, "web__echo", {"message": "after"})
    finally:
        server.kill()


def test_http_server_that_is_away(start_gateway, tmp_path: Path) -> None:
    """In the middle of a run: told to the model. When it is back: used again."""
    server = HttpServer(tmp_path / "first")
    gateway = start_gateway(with_tools(), mcp={"web": http(server)})
    answer = Answering(gateway, "web__hang")
    wait_record(tmp_path / "first", "hanging")
    stopped_at = time.monotonic()
    server.stop()
    told = answer.wait()
    assert answer.at - stopped_at < 1.0 * SLACK and "web" in told, (told, answer.at - stopped_at)
    server = HttpServer(tmp_path / "second", server.port)
    try:
        wait_for(lambda: "web__echo" in chat(gateway, "demo", "/tools").body.decode(), 10, "the server's return")
        assert result(gateway, "web__echo", {"text": "back"}) == "back"
    finally:
        server.stop()


def test_a_server_that_asks_for_no_pause_and_goes_away(start_gateway, tmp_path: Path) -> None:
    """Its stream ends as soon as it has begun, and is asked for again, but not in a loop that does nothing else. Nor is
    a server that does not answer at all, after that."""
    write_script(tmp_path / "web", {"retry": 0})
    server = HttpServer(tmp_path / "web")
    gateway = start_gateway(with_tools(), mcp={"web": http(server)})
    assert result(gateway, "web__echo", {"text": "x"}) == "x"
    wait_record(tmp_path / "web", "stopped listening")
    began = time.monotonic()
    time.sleep(0.5)
    streams = len(records(tmp_path / "web", "stopped listening")) / (time.monotonic() - began)
    server.stop()
    tries, used, began = 0, gateway.cpu_s(), time.monotonic()
    with socket.create_server(("127.0.0.1", server.port)) as door:
        while (left := began + 1 - time.monotonic()) > 0:
            door.settimeout(left)
            with contextlib.suppress(TimeoutError):
                door.accept()[0].close()
                tries += 1
    took = (gateway.cpu_s() - used) / (time.monotonic() - began)
    assert streams < 30 and tries < 30, f"{streams:.0f} streams and {tries} tries in a second"
    assert took < 0.3, f"{took:.2f} s of a processor in a second"


def test_sessions_are_closed(start_gateway, tmp_path: Path) -> None:
    server = HttpServer(tmp_path / "web")
    gateway = start_gateway(with_tools(), mcp={"web": http(server)})
    result(gateway, "web__echo", {"text": "x"})
    assert len(server.sessions) == 1
    gateway.stop()
    wait_record(tmp_path / "web", "session closed")
    server.stop()


def test_each_principal_has_a_session_of_its_own(start_gateway, tmp_path: Path) -> None:
    mcp = {"own": stdio(tmp_path / "own"), "shared": stdio(tmp_path / "shared", shared=True)}
    gateway = start_gateway(with_tools(), mcp=mcp, keys=("sk-first-0123456789abcdef", "sk-second-0123456789abcdef"))
    for key in (*gateway.keys, *gateway.keys):
        for label in mcp:
            asked = chat_body("demo", calls((f"{label}__echo", {"text": "x"})))
            assert call(gateway, "POST", "/v1/chat/completions", asked, key=key).status == 200
    assert len(records(tmp_path / "own", "start")) == 2
    assert len(records(tmp_path / "shared", "start")) == 1


def test_doctor(tmp_path: Path) -> None:
    mcp = {
        "good": stdio(tmp_path / "good"),
        "missing": {"command": "parley-no-such-program"},
        "unset": stdio(tmp_path / "unset", env={"X": "${PARLEY_TEST_UNSET_TOKEN}"}),
    }
    (tmp_path / "mcp.json").write_text(json.dumps(mcp))
    (tmp_path / "agent_config.json").write_text(json.dumps(with_tools()))
    for flags in ((), ("--json",)):
        done = run_cli(
            "mcp", "doctor", *flags, "--config", "agent_config.json", "--mcp", "mcp.json", cwd=tmp_path, timeout=40
        )
        assert done.returncode == 1, "something is wrong"
        assert "parley-no-such-program" in done.stdout and "PARLEY_TEST_UNSET_TOKEN" in done.stdout, done.stdout
        assert "good" in done.stdout
        assert not flags or isinstance(json.loads(done.stdout), (list, dict))
    (tmp_path / "mcp.json").write_text(json.dumps({"good": mcp["good"]}))
    done = run_cli("mcp", "doctor", "--config", "agent_config.json", "--mcp", "mcp.json", cwd=tmp_path, timeout=40)
    assert done.returncode == 0, done.stdout + done.stderr
    assert not [pid for pid in (r["pid"] for r in records(tmp_path / "good", "start")) if not is_gone(pid)]


def doctor(folder: Path, mcp: dict) -> tuple[int, str, dict[str, dict]]:
    """(exit code, what people see, what programs see by the server's label)"""
    (folder / "mcp.json").write_text(json.dumps(mcp))
    (folder / "agent_config.json").write_text(json.dumps(with_tools()))
    files = ("--config", "agent_config.json", "--mcp", "mcp.json")
    done = run_cli("mcp", "doctor", *files, cwd=folder, timeout=40)
    seen = json.loads(run_cli("mcp", "doctor", "--json", *files, cwd=folder, timeout=40).stdout)
    return done.returncode, done.stdout, {one["server"]: one for one in seen}


def test_doctor_knows_a_quick_server_beside_a_slow_one(tmp_path: Path) -> None:
    slow = stdio(tmp_path / "slow", {"delay": {"initialize": 2.5}})
    code, text, seen = doctor(tmp_path, {"quick": stdio(tmp_path / "quick"), "slow": slow})
    assert code == 0, text
    for label in ("quick", "slow"):
        assert seen[label]["protocol_version"] and seen[label]["name"], seen[label]
        assert re.search(rf"^ok +{label} +\d+ tools, protocol \d{{4}}-\d\d-\d\d, \S", text, re.MULTILINE), text
    assert len(records(tmp_path / "quick", "start")) == 2, "once for each doctor"


def test_doctor_minds_what_is_meant_so(tmp_path: Path) -> None:
    off = stdio(tmp_path / "off", disabled=True)
    asks = stdio(tmp_path / "asks", require_approval="always")
    code, text, seen = doctor(tmp_path, {"good": stdio(tmp_path / "good"), "off": off, "asks": asks})
    assert code == 0 and "PROBLEM" not in text, text
    assert re.search(r"^disabled +off ", text, re.MULTILINE) and "asks for approval" in text
    assert {label: one["status"] for label, one in seen.items()} == {"good": "ok", "off": "disabled", "asks": "approval"}
    assert all(one["ok"] and "problem" not in one for one in seen.values())
    code, text, seen = doctor(tmp_path, {"off": off, "gone": {"command": "parley-no-such-program"}})
    assert code == 1 and (seen["gone"]["status"], seen["gone"]["ok"]) == ("problem", False)
