"""The gateway under callgrind: started with counting off, counted between two moments, the dump read by object file."""

from __future__ import annotations

import json
import os
import re
import shutil
import signal
import socket
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

START_LIMIT_S = 60.0


class CountError(Exception):
    """What the person at the terminal can put right; the text says how."""


@dataclass
class Counts:
    """Instructions of one dump, in user mode, of all threads."""

    by_object: dict[str, int]  # path of the program or library -> instructions of its own
    by_function: dict[str, int]
    calls: dict[str, int]  # function -> how often it was called

    @property
    def all(self) -> int:
        return sum(self.by_object.values())


def read_dump(path: Path) -> Counts:
    """A callgrind.out file; names are written once and then referred to by number."""
    objects: dict[str, str] = {}
    functions: dict[str, str] = {}
    by_object: dict[str, int] = {}
    by_function: dict[str, int] = {}
    calls: dict[str, int] = {}
    place, function, called_function, of_call = "", "", "", False
    name = re.compile(r"(c?)(ob|fn)=\((\d+)\)(?: (.*))?")
    with path.open(encoding="utf-8", errors="replace") as lines:
        for line in lines:
            if found := name.match(line):
                called, kind, number, text = found.groups()
                if text:
                    (objects if kind == "ob" else functions)[number] = text.strip()
                if not called and kind == "ob":
                    place = number
                elif kind == "fn" and called:
                    called_function = number
                elif kind == "fn":
                    function = number
            elif line.startswith("calls="):
                calls[called_function] = calls.get(called_function, 0) + int(line[6:].split()[0])
                of_call = True  # the next line is what the callee used, which is counted there
            elif line[:1] in "0123456789+-*":
                if not of_call:
                    cost = int(line.split()[1])
                    by_object[place] = by_object.get(place, 0) + cost
                    by_function[function] = by_function.get(function, 0) + cost
                of_call = False
    return Counts(
        {objects[key]: value for key, value in by_object.items()},
        {functions[key]: value for key, value in by_function.items()},
        {functions[key]: value for key, value in calls.items()},
    )


class CountedGateway:
    """One gateway, one thread for requests, in `folder`. Owns the process; close() ends it by its pid."""

    def __init__(self, binary: Path, folder: Path, config: object, keys: tuple[str, ...]):
        self._folder, self._dumps = folder, 0
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port: int = probe.getsockname()[1]
        (folder / "agent_config.json").write_text(json.dumps(config))
        (folder / "mcp.json").write_text('{"mcpServers": {}}')
        command = [self._tool("valgrind"), "--tool=callgrind", "--instr-atstart=no", "--combine-dumps=no"]
        command += [f"--callgrind-out-file={folder}/dump", f"--vgdb-prefix={folder}/vgdb"]
        command += [binary, "serve", "--host", "127.0.0.1", "--port", self.port, "--threads", 1, "--log", "json"]
        command += ["--config", "agent_config.json", "--mcp", "mcp.json", "--data", "data"]
        # Nothing of the caller's environment: no setting of Parley, the C library or the allocator may take part.
        env = {"PATH": "/usr/bin:/bin", "HOME": str(folder), "LANG": "C.UTF-8", "PARLEY_API_KEYS": ",".join(keys)}
        with (folder / "log").open("wb") as log:
            self._child = subprocess.Popen(
                [str(part) for part in command], stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=env
            )
        self.pid = self._child.pid
        self._wait_ready()

    @staticmethod
    def _tool(name: str) -> str:
        if not shutil.which(name):
            raise CountError(f"{name} is not installed: apt-get install valgrind.")
        return name

    def _ended(self, what: str) -> CountError:
        tail = (self._folder / "log").read_text(errors="replace").splitlines()[-15:]
        return CountError("\n".join([what, *tail]))

    def _wait_ready(self) -> None:
        until = time.monotonic() + START_LIMIT_S
        while time.monotonic() < until:
            if self._child.poll() is not None:
                raise self._ended(f"the gateway ended at once, with exit code {self._child.returncode}:")
            if '"listening"' in (self._folder / "log").read_text(errors="replace"):
                return
            time.sleep(0.05)
        self.close()
        raise self._ended(f"the gateway did not listen within {START_LIMIT_S:.0f} s:")

    def _monitor(self, *words: str) -> None:
        """A command to callgrind. vgdb wakes a process that sleeps by ptrace, which needs no right of its own here:
        valgrind allows it."""
        command = ["vgdb", f"--vgdb-prefix={self._folder}/vgdb", f"--pid={self.pid}", *words]
        try:
            done = subprocess.run(command, capture_output=True, text=True, timeout=60, check=False)
        except subprocess.TimeoutExpired:
            raise self._ended(f"callgrind did not answer to '{' '.join(words)}' within 60 s:") from None
        if done.returncode:
            raise self._ended(f"callgrind did not take '{' '.join(words)}': {done.stderr.strip()}")

    def start_counting(self) -> None:
        self._monitor("instrumentation", "on")

    def zero(self) -> None:
        self._monitor("zero")

    def dump(self, keep: Path) -> Counts:
        """What was executed since zero(); the file is kept at `keep` for callgrind_annotate."""
        self._monitor("dump")
        self._dumps += 1
        written = self._folder / f"dump.{self._dumps}"
        if not written.exists():
            raise self._ended(f"callgrind wrote no {written.name}:")
        shutil.move(written, keep)
        return read_dump(keep)

    def close(self) -> None:
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(20)
            except subprocess.TimeoutExpired:
                self._child.kill()
        self._child.wait()


def cpu_fits() -> bool:
    """Whether this machine can run what a release build contains. valgrind shows the program one and the same CPU (a
    Haswell of 2014) on every machine with AVX2, so libraries choose the same code everywhere."""
    return os.uname().machine == "x86_64" and re.search(r"\bavx2\b", Path("/proc/cpuinfo").read_text()) is not None
