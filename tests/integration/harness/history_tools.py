"""The tool servers of the history checker, and what happens to them: `pipe` over stdio, `web` (legacy era, sessions)
and `net` (modern era) over Streamable HTTP, each behind a fault proxy. All write what was done to one ledger.
"""

from __future__ import annotations

import json
import os
import random
import signal
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

from .fault_proxy import FaultProxy
from .mcp import _command_line, stdio, write_script
from .mcp_http import HttpServer

_NOTE = {
    "name": "note",
    "description": "Notes TOKEN.",
    "inputSchema": {
        "type": "object",
        "properties": {"token": {"type": "string"}, "how": {"type": "string"}},
        "required": ["token"],
    },
}
_LOOK = {**_NOTE, "name": "look", "description": "Looks at TOKEN.", "annotations": {"readOnlyHint": True}}
LIMITS = {"idle_timeout_ms": 400, "timeout_ms": 1500, "connect_timeout_ms": 1000, "start_timeout_ms": 3000}
PROXY_MODES = ("refuse", "reset", "truncate", "mute", "silent", "trickle", "slice", "corrupt")


@dataclass(frozen=True)
class Entry:
    """A line of the ledger. event: got (a call began) or did (its effect)."""

    token: str
    event: str
    tool: str
    server: str
    run: str | None  # the x-request-id of the request to the gateway, where the server is told


class Tools:
    def __init__(self, folder: Path, twice: bool = False) -> None:
        self._folder = folder
        self._script = {"tools": [], "extra": [_NOTE, _LOOK], "twice": twice}
        self._servers: dict[str, HttpServer] = {}
        self.proxies: dict[str, FaultProxy] = {}
        self._read = 0
        for label in ("pipe", "web", "net"):
            write_script(folder / label, self._whole(label))
        for label in ("web", "net"):
            self._servers[label] = HttpServer(folder / label)
            self.proxies[label] = FaultProxy(self._servers[label].port)

    def _whole(self, label: str) -> dict:
        return {**self._script, "era": "modern" if label == "net" else "legacy"}

    @property
    def mcp(self) -> dict:
        """For mcp.json."""
        web = {
            label: {"type": "http", "url": f"{proxy.url}/mcp", "headers": {"x-run": "{{request_id}}"}, **LIMITS}
            for label, proxy in self.proxies.items()
        }
        return {"pipe": stdio(self._folder / "pipe", **LIMITS), **web}

    def news(self) -> list[Entry]:
        """Of the ledger, since the last time."""
        ledger = self._folder / "ledger.jsonl"
        if not ledger.exists():
            return []
        with ledger.open("rb") as file:
            file.seek(self._read)
            data = file.read()
        whole = data[: data.rfind(b"\n") + 1]
        self._read += len(whole)
        return [Entry(**json.loads(line)) for line in whole.splitlines()]

    def close(self) -> None:
        for label, server in self._servers.items():
            self.proxies[label].close()
            server.stop()

    # ---- what happens to them

    def draw(self, choose: random.Random) -> tuple[str, Callable[[float], None]]:
        """A fault with its name; it lasts as many seconds as it is told to."""
        kind = choose.choice(["proxy", "proxy", "proxy", "killed", "stopped", "changed", "restarted"])
        label = choose.choice(["web", "net"])
        if kind == "proxy":
            mode, after = choose.choice(PROXY_MODES), choose.choice([0, 0, choose.randrange(400)])
            return f"{label} {mode}", lambda hold: self._fail(label, mode, after, hold)
        if kind == "restarted":
            return f"{label} restarted", lambda hold: self._restart(label, hold)
        if kind == "changed":
            label = choose.choice(["pipe", "web", "net"])
            return f"{label} tools changed", lambda hold: self._change(label, hold)
        number = choose.random()
        run = self._kill if kind == "killed" else self._stop
        return f"pipe {kind}", lambda hold: run(number, hold)

    def _fail(self, label: str, mode: str, after: int, hold: float) -> None:
        with self.proxies[label].failing(mode, after=after, seconds=0.01):
            time.sleep(hold)

    def _restart(self, label: str, hold: float) -> None:
        """Without its sessions and what it was doing."""
        port = self._servers[label].port
        self._servers[label].stop()
        time.sleep(hold)
        self._servers[label] = HttpServer(self._folder / label, port)

    def _change(self, label: str, hold: float) -> None:
        """For a while it has only one of its tools."""
        for script in ({**self._whole(label), "extra": [_LOOK]}, self._whole(label)):
            write_script(self._folder / label, script)
            if label == "pipe":
                for pid in self._pipes():
                    _signal(pid, signal.SIGUSR1)
            else:
                self._servers[label].scripted.tell("notifications/tools/list_changed")
            time.sleep(hold)

    def _pipes(self) -> list[int]:
        """The children of the gateway that are up; one for each key that has used it."""
        name = str(self._folder / "pipe")
        return sorted(int(pid) for pid in os.listdir("/proc") if pid.isdigit() and name in _command_line(int(pid)))

    def _kill(self, number: float, hold: float) -> None:
        """One of them, then all, in the middle of what they do."""
        pids = self._pipes()
        if pids:
            _signal(pids[int(number * len(pids))], signal.SIGKILL)
        time.sleep(hold)
        for pid in self._pipes():
            _signal(pid, signal.SIGKILL)

    def _stop(self, number: float, hold: float) -> None:
        pids = self._pipes()
        stopped = pids[int(number * len(pids)) :]
        for pid in stopped:
            _signal(pid, signal.SIGSTOP)
        time.sleep(hold)
        for pid in stopped:
            _signal(pid, signal.SIGCONT)


def _signal(pid: int, number: int) -> None:
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # it has just ended
