"""The protocol's own reference servers (mcp_servers/package-lock.json), as children of the gateway or on a port."""

from __future__ import annotations

import os
import platform
import shutil
import subprocess
import tempfile
import time
from pathlib import Path

from .gateway import SLACK

ROOT = Path(__file__).resolve().parents[1] / "mcp_servers"


def node() -> str:
    if not (ROOT / "node_modules/@modelcontextprotocol").exists():
        subprocess.run(
            ["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=ROOT, check=True, timeout=300
        )
    # Debian 12 has Node.js 18, with which server-everything answers every request over HTTP with a parse error.
    arch = {"x86_64": "x64", "aarch64": "arm64"}.get(platform.machine(), "none")
    bundled = ROOT / "node_modules" / f"node-linux-{arch}" / "bin/node"
    found = str(bundled) if bundled.exists() else shutil.which("node")
    assert found, "no Node.js"
    return found


def script(name: str) -> str:
    return str(ROOT / "node_modules/@modelcontextprotocol" / f"server-{name}" / "dist/index.js")


def entry(name: str, *args: str, env: dict[str, str] | None = None, **more: object) -> dict:
    """An entry of mcp.json for one of them over stdio."""
    return {"command": node(), "args": [script(name), *args], "env": env or {}, **more}


class Everything:
    """server-everything over HTTP. way: streamableHttp (its URL ends in /mcp) or sse (/sse)."""

    def __init__(self, way: str, port: int = 0) -> None:
        self._log = tempfile.TemporaryFile()
        self._process = subprocess.Popen(
            [node(), script("everything"), way],
            env={"PATH": os.environ["PATH"], "PORT": str(port)},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
        )
        end = time.monotonic() + 15 * SLACK
        while not (found := _listening_port(self._process.pid)):
            assert self._process.poll() is None and time.monotonic() < end, f"no port: {self.log}"
            time.sleep(0.01)
        self.port = found
        self.url = f"http://127.0.0.1:{found}/{'sse' if way == 'sse' else 'mcp'}"

    @property
    def log(self) -> str:
        self._log.seek(0)
        return self._log.read().decode(errors="replace")

    def kill(self) -> None:
        self._process.kill()
        self._process.wait()


def _listening_port(pid: int) -> int:
    """Of the process's listening TCP socket, 0 = none yet."""
    sockets = set()
    try:
        for name in os.listdir(f"/proc/{pid}/fd"):
            try:
                sockets.add(os.readlink(f"/proc/{pid}/fd/{name}"))
            except FileNotFoundError:
                pass
    except FileNotFoundError:
        return 0
    for family in ("tcp", "tcp6"):
        for line in Path(f"/proc/{pid}/net/{family}").read_text().splitlines()[1:]:
            fields = line.split()
            if fields[3] == "0A" and f"socket:[{fields[9]}]" in sockets:
                return int(fields[1].rsplit(":", 1)[1], 16)
    return 0


THOUGHT = {"thought": "one step", "nextThoughtNeeded": False, "thoughtNumber": 1, "totalThoughts": 1}


def entity(name: str) -> dict:
    return {"entities": [{"name": name, "entityType": "test", "observations": ["seen"]}]}


