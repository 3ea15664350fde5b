"""MCP servers for a gateway under test: entries of mcp.json, what the scripted server recorded, and whose child is whose."""

from __future__ import annotations

import json
import os
import sys
import time
from collections.abc import Callable
from pathlib import Path

from .api import Streamed, stream
from .configs import config, demo_agent
from .gateway import SLACK, Gateway
from .mcp_http import HttpServer

_SERVER = Path(__file__).with_name("mcp_server.py")


def stdio(folder: Path, script: dict | None = None, **more: object) -> dict:
    """An entry of mcp.json: the scripted server as a child. `folder` keeps its script and its record."""
    folder.mkdir(parents=True, exist_ok=True)
    if script is not None:
        write_script(folder, script)
    return {"command": sys.executable, "args": ["-I", "-S", str(_SERVER), str(folder)], **more}


def http(server: HttpServer, **more: object) -> dict:
    return {"type": "http", "url": server.url, **more}


def write_script(folder: Path, script: dict) -> None:
    folder.mkdir(parents=True, exist_ok=True)
    beside = folder / "script.tmp"
    beside.write_text(json.dumps(script))
    beside.rename(folder / "script.json")


# ---- what the scripted server recorded


def records(folder: Path, kind: str | None = None, **wanted: object) -> list[dict]:
    path = folder / "record.jsonl"
    lines = path.read_text().splitlines() if path.exists() else []
    found = [json.loads(line) for line in lines if line.endswith("}")]
    return [
        record
        for record in found
        if (kind is None or record["kind"] == kind)
        and all(record.get(name) == value for name, value in wanted.items())
    ]


def wait_record(folder: Path, kind: str, timeout: float = 5.0, count: int = 1, **wanted: object) -> dict:
    """The `count`th record of that kind, waiting for it."""
    end = time.monotonic() + timeout * SLACK
    while True:
        found = records(folder, kind, **wanted)
        if len(found) >= count:
            return found[count - 1]
        assert time.monotonic() < end, (
            f"no {kind} {wanted} within {timeout} s; recorded: {[(r['kind'], r.get('method')) for r in records(folder)]}"
        )
        time.sleep(0.002)


# ---- processes


def _status(pid: int) -> tuple[str, int, int] | None:
    """State, parent and group of a process; None when it is gone."""
    try:
        fields = Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()
    except (FileNotFoundError, ProcessLookupError):
        return None
    return fields[0], int(fields[1]), int(fields[2])


def descendants(pid: int) -> list[int]:
    """All processes below `pid`, zombies too."""
    parents = {int(name): found[1] for name in os.listdir("/proc") if name.isdigit() and (found := _status(int(name)))}
    family = {pid}
    while grown := {child for child, parent in parents.items() if parent in family} - family:
        family |= grown
    return sorted(family - {pid})


def children(gateway_pid: int) -> list[int]:
    """The descendants that are tool servers or theirs: without the guard, which stays as long as the gateway does."""
    return [pid for pid in descendants(gateway_pid) if "__child-guard" not in _command_line(pid)]


def _command_line(pid: int) -> str:
    try:
        return Path(f"/proc/{pid}/cmdline").read_bytes().decode(errors="replace")
    except (FileNotFoundError, ProcessLookupError):
        return ""


def is_gone(pid: int) -> bool:
    """Ended; a zombie whose parent is not the gateway (an orphan that init has yet to collect) counts as ended."""
    found = _status(pid)
    return found is None or found[0] == "Z"


# ---- asking for tools


def calls(*wanted: tuple[str, dict | str]) -> str:
    """What makes the demo model ask for these tools in one round."""
    return "\n".join(
        f"/call {name} {arguments if isinstance(arguments, str) else json.dumps(arguments)}"
        for name, arguments in wanted
    )


def tool_agent(mcp_servers: object = None, agent_id: str = "demo", **more: object) -> dict:
    """A demo agent with all tools and without pauses between its words; `mcp_servers` as in allowed_mcp_servers."""
    allowed = {"allowed_mcp_servers": mcp_servers, "allowed_regular_tools": None}
    return demo_agent(agent_id, model_settings={"demo_delay_ms": 0}, **{**allowed, **more})


def with_tools(*agents: dict) -> dict:
    return config(*(agents or (tool_agent(),)))


def ask(gateway: Gateway, *wanted: tuple[str, dict | str], model: str = "demo", **options) -> Streamed:
    """One streamed answer in which the demo model calls these tools and then tells what they said."""
    return stream(gateway, model, calls(*wanted), **options).check_complete(usage="stream_options" in options)


def result(gateway: Gateway, tool: str, arguments: dict | None = None, **options) -> str:
    """What the model was told by one call (as far as the demo model repeats it: 2000 bytes)."""
    return results(ask(gateway, (tool, arguments or {}), **options))[0]


def results(answer: Streamed) -> list[str]:
    found = [part.split("\n```")[0] for part in answer.text.split("answered:\n\n```\n")[1:]]
    assert found, f"no tool answered: {answer.text!r}"
    return found


def wait_for(condition: Callable[[], object], timeout: float, what: str) -> None:
    end = time.monotonic() + timeout * SLACK
    while not condition():
        assert time.monotonic() < end, f"{what} within {timeout} s"
        time.sleep(0.002)
