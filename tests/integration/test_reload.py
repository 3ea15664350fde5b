"""Hot reload: a file change or SIGHUP swaps the whole configuration, a bad one is refused, what runs is not
disturbed.
"""

from __future__ import annotations

import hashlib
import json
import signal
import threading
import time
from pathlib import Path

import pytest

from harness import upstream as up
from harness.api import Stream, call, chat, chat_body, stream
from harness.configs import agent, config, demo_agent
from harness.gateway import Gateway, wait_until
from harness.wires import BY_NAME, TEXT

WIRE = BY_NAME["openai"]


def models(gateway: Gateway) -> set[str]:
    return {entry["id"] for entry in call(gateway, "GET", "/v1/models").json()["data"]}


def sha256(path: Path) -> str:
    return hashlib.sha256(path.read_bytes()).hexdigest()


def detailed(gateway: Gateway) -> str:
    return json.dumps(call(gateway, "GET", "/health?detailed=true").json())


def swapped(gateway: Gateway, agents: set[str]) -> None:
    """In every loop: each swaps by itself, and which one a connection comes to is up to the kernel."""
    wait_until(lambda: all(models(gateway) == agents for _ in range(10)), timeout=8, what=f"the models being {agents}")


def test_file_change(start_gateway) -> None:
    gateway = start_gateway(config(demo_agent("one")))
    first = sha256(gateway.config_file)
    assert first in detailed(gateway)
    gateway.write_config(config(demo_agent("one"), demo_agent("two")))
    swapped(gateway, {"one", "two"})
    assert chat(gateway, "two").status == 200
    second = sha256(gateway.config_file)
    assert second in detailed(gateway) and first not in detailed(gateway)
    assert gateway.wait_log(lambda log: second[:12] in json.dumps(log)), "the log line of the swap has the hash"


def test_file_written_in_place_bit_by_bit(start_gateway) -> None:
    """An editor that truncates and writes: the half-written file is refused, the whole one taken."""
    gateway = start_gateway(config(demo_agent("one")))
    text = json.dumps(config(demo_agent("one"), demo_agent("two")))
    with gateway.config_file.open("w") as file:
        for at in range(0, len(text), 20):
            file.write(text[at : at + 20])
            file.flush()
            time.sleep(0.02)
    swapped(gateway, {"one", "two"})


def test_a_setting_that_needs_a_restart_is_named(start_gateway) -> None:
    gateway = start_gateway(config(demo_agent("one")), files={".env": "PORT=1\nSOME_KEY=a\n"})
    (gateway.folder / ".env").write_text("PORT=1\nSOME_KEY=b\nPARLEY_API_KEYS=sk-canary-0123456789\nLOG_LEVEL=loud\n")
    told = gateway.wait_log(lambda log: log.get("event") == "restart_needed")
    assert told and sorted(told["settings"].split()) == ["LOG_LEVEL", "PARLEY_API_KEYS"], told
    assert "LOG_LEVEL=loud" in told["faults"] and "sk-canary" not in json.dumps(told)
    assert gateway.wait_log(lambda log: log.get("event") == "config_reloaded"), "the rest is taken"


def test_sighup(start_gateway) -> None:
    gateway = start_gateway(
        config(demo_agent("one")), files={"prompts/p.md": "old"}, env={"PROMPTS_DIR_PATH": "prompts"}
    )
    gateway.write_config(config(demo_agent("two")))
    gateway.signal(signal.SIGHUP)
    swapped(gateway, {"two"})


@pytest.mark.parametrize("by", ["file", "sighup"])
def test_prompt_file_change(start_gateway, upstream: up.FakeUpstream, by: str) -> None:
    upstream.on(up.json_reply(WIRE.answer))
    gateway = start_gateway(
        config(agent("a", "p", system_prompt_file="p.md"), p=WIRE.provider(upstream.url)),
        files={"prompts/p.md": "old prompt"},
        env={"PROMPTS_DIR_PATH": "prompts"},
    )

    def prompt() -> str:
        chat(gateway, "a")
        return upstream.last.request.json()["messages"][0]["content"]

    assert prompt() == "old prompt"
    (gateway.folder / "prompts/p.md").write_text("new prompt")
    if by == "sighup":
        gateway.signal(signal.SIGHUP)
    wait_until(lambda: prompt() == "new prompt", timeout=8, what="the new prompt")
    assert sha256(gateway.folder / "prompts/p.md") in detailed(gateway)


BAD = {
    "not-json": '{"agents": [',
    "unknown-key": json.dumps(
        {"version": "1", "agents": [{"agent_id": "two", "provider": "demo", "model": "demo", "sytem_prompt": "x"}]}
    ),
    "no-agents": json.dumps({"version": "1", "agents": "none"}),
    "empty": "",
    "missing-prompt": json.dumps(config(demo_agent("two", system_prompt_file="none.md"))),
    "duplicate": json.dumps(config(demo_agent("two"), demo_agent("two"))),
    "deleted": None,
}


@pytest.mark.parametrize("name", BAD)
def test_a_bad_file_is_refused_and_the_old_one_stays(start_gateway, name: str) -> None:
    gateway = start_gateway(config(demo_agent("one")))
    first, count = sha256(gateway.config_file), len(gateway.logs)
    text = BAD[name]
    if text is None:
        gateway.config_file.unlink()
    else:
        gateway.write_config(text)
    gateway.signal(signal.SIGHUP)
    told = lambda: [
        log
        for log in gateway.logs[count:]
        if "agent_config.json" in json.dumps(log) and log.get("level") in ("error", "warn", "warning")
    ]
    wait_until(lambda: bool(told()), timeout=8, what="a report in the log")
    if name == "unknown-key":
        assert "sytem_prompt" in json.dumps(told()) and "system_prompt" in json.dumps(told()).replace(
            "sytem_prompt", ""
        )
        assert "/agents/0" in json.dumps(told())
    assert models(gateway) == {"one"} and first in detailed(gateway)
    gateway.write_config(config(demo_agent("three")))
    swapped(gateway, {"three"})


def test_requests_finish_on_the_configuration_they_started_on(start_gateway, upstream: up.FakeUpstream) -> None:
    release = threading.Event()

    def script(exchange: up.Exchange) -> None:
        exchange.head(200, [up.SSE])
        exchange.write(b"".join(WIRE.events[:2]))
        exchange.reached()
        assert release.wait(10)
        exchange.write(b"".join(WIRE.events[2:]))
        exchange.end()

    upstream.on(script)
    gateway = start_gateway(config(agent("old", "p"), p=WIRE.provider(upstream.url)))
    with Stream(gateway, chat_body("old", "x", stream=True)) as running:
        events = iter(running)
        next(events)
        gateway.write_config(config(demo_agent("new")))
        swapped(gateway, {"new"})
        assert chat(gateway, "old").status == 404
        release.set()
        for _ in events:
            pass
        assert running.seen.check_complete().text == TEXT
        assert running.seen.chunks[-1]["model"] == "old"


def test_a_reload_storm_disturbs_nobody(start_gateway) -> None:
    """C17: many changes, half of them bad, under load."""
    gateway = start_gateway(config(demo_agent("one")))
    stop = threading.Event()
    failures: list[str] = []

    def load() -> None:
        while not stop.is_set():
            try:
                stream(gateway, "one").check_complete()
            except Exception as error:  # noqa: BLE001 - whatever it is, the test reports it
                failures.append(repr(error))
                return

    clients = [threading.Thread(target=load) for _ in range(4)]
    for client in clients:
        client.start()
    for number in range(60):
        gateway.write_config(config(demo_agent("one"), demo_agent(f"n{number}")) if number % 2 else "{")
        if number % 3 == 0:
            gateway.signal(signal.SIGHUP)
        time.sleep(0.01)
    gateway.write_config(config(demo_agent("one"), demo_agent("last")))
    swapped(gateway, {"one", "last"})
    stop.set()
    for client in clients:
        client.join()
    assert not failures
