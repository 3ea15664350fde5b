"""The gateway as a process: real binary, real sockets, a clean environment, its own folder.

Start is over when the binary has written its `listening` event; the end is checked: exit 0 on SIGTERM, no report of a
sanitizer, no assertion.
"""

from __future__ import annotations

import json
import os
import re
import signal
import subprocess
import threading
import time
from pathlib import Path

SLOW = float(os.environ.get("PARLEY_SLOW", "0") or "0") > 0
SLACK = 4.0 if SLOW else 1.0  # how much longer things may take under a sanitizer
START_TIMEOUT_S = 10.0  # wait_log stretches it by SLACK

_REPORTS = re.compile(
    r"(Address|Leak|Memory|Thread)Sanitizer|UndefinedBehaviorSanitizer|runtime error:|terminate called"
    r"|Assertion .* failed|__glibcxx_assert|free\(\): invalid|double free|stack smashing"
)


def binary() -> Path:
    root = Path(__file__).resolve().parents[3]
    return Path(os.environ.get("PARLEY_BIN", root / "build" / "parley")).resolve()


def clean_environment(home: Path, extra: dict[str, str] | None = None) -> dict[str, str]:
    kept = {
        name: value for name, value in os.environ.items() if name.endswith("SAN_OPTIONS") or name == "LLVM_PROFILE_FILE"
    }
    return {
        "PATH": os.environ.get("PATH", "/usr/bin:/bin"),
        "HOME": str(home),
        "LANG": "C.UTF-8",
        **kept,
        **(extra or {}),
    }


def run_cli(
    *arguments: str, cwd: Path, env: dict[str, str] | None = None, timeout: float = 20.0, stdin: str = ""
) -> subprocess.CompletedProcess[str]:
    """Runs `parley ARGUMENTS` to its end."""
    return subprocess.run(
        [str(binary()), *arguments],
        cwd=cwd,
        env=clean_environment(cwd, env),
        input=stdin,
        capture_output=True,
        text=True,
        timeout=timeout * SLACK,
        check=False,
    )


class StartFailed(Exception):
    pass


class Gateway:
    """`config` and `mcp` become files in `folder`; `files` are further ones by relative name."""

    def __init__(
        self,
        folder: Path,
        config: object,
        *,
        mcp: object = None,
        env: dict[str, str] | None = None,
        args: tuple[str, ...] = (),
        files: dict[str, str] | None = None,
        keys: tuple[str, ...] = (),
        nofile: int | None = None,
        data: Path | None = None,
        bind: tuple[str, ...] = ("--host", "127.0.0.1", "--port", "0"),
    ) -> None:
        self.folder = folder
        folder.mkdir(parents=True, exist_ok=True)
        self.config_file = folder / "agent_config.json"
        self.mcp_file = folder / "mcp.json"
        self.write_config(config)
        self.mcp_file.write_text(json.dumps([] if mcp is None else mcp))
        for name, text in (files or {}).items():
            (folder / name).parent.mkdir(parents=True, exist_ok=True)
            (folder / name).write_text(text)
        self.keys = keys
        self._env = clean_environment(folder, env)
        if keys:
            self._env["PARLEY_API_KEYS"] = ",".join(keys)
        self._command = [
            str(binary()),
            "serve",
            *bind,
            "--config",
            str(self.config_file),
            "--mcp",
            str(self.mcp_file),
            "--data",
            str(data or folder / "data"),
            "--log",
            "json",
            *args,
        ]
        if nofile is not None:
            self._command = ["prlimit", f"--nofile={nofile}:{nofile}", *self._command]
        self._lines: list[str] = []
        self._reports: list[str] = []  # lines that no good run writes
        self._grown = threading.Condition()
        self._process: subprocess.Popen[str] | None = None
        self.address: tuple[str, int] = ("", 0)

    # ---- life

    def start(self) -> Gateway:
        self._lines.clear()  # of an earlier life, whose address is not this one's
        self._process = subprocess.Popen(
            self._command,
            cwd=self.folder,
            env=self._env,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            errors="replace",
        )
        self._readers = [
            threading.Thread(target=self._read, args=(pipe,), daemon=True)
            for pipe in (self._process.stdout, self._process.stderr)
        ]
        for reader in self._readers:
            reader.start()
        event = self.wait_log(lambda log: log.get("event") == "listening", START_TIMEOUT_S, or_exit=True)
        if event is None:
            code = self._process.poll()
            self._process.kill()
            self._process.wait()
            self._process = None
            raise StartFailed(f"no `listening` event; exit code {code}\n{self.output}")
        host, _, port = str(event["address"]).rpartition(":")
        self.address = (host.strip("[]"), int(port))
        return self

    def stop(self, timeout: float = 15.0) -> None:
        """SIGTERM, then the checks that every test relies on."""
        if self._process is None:
            return
        if self._process.poll() is None:
            self._process.send_signal(signal.SIGTERM)
        try:
            code = self._process.wait(timeout * SLACK)
        except subprocess.TimeoutExpired:
            self._process.send_signal(signal.SIGABRT)
            self._process.wait()
            raise AssertionError(f"the gateway did not stop within {timeout} s of SIGTERM\n{self.tail}") from None
        self._join()
        self._process = None
        self.check_reports()
        assert code == 0, f"exit code {code} after SIGTERM\n{self.tail}"

    def kill(self) -> None:
        if self._process and self._process.poll() is None:
            self._process.kill()
            self._process.wait()
            self._join()
        self._process = None

    def restart(self) -> None:
        """kill -9, and anew."""
        self.kill()
        self.start()

    def signal(self, number: int) -> None:
        assert self._process
        self._process.send_signal(number)

    def wait_exit(self, timeout: float) -> int:
        """For tests that end the process themselves."""
        assert self._process
        code = self._process.wait(timeout)
        self._join()
        self._process = None
        self.check_reports()
        return code

    @property
    def pid(self) -> int:
        assert self._process
        return self._process.pid

    def check_alive(self) -> None:
        if self._process is None:
            return
        code = self._process.poll()
        assert code is None, f"the gateway ended by itself with {code}\n{self.tail}"
        self.check_reports()

    def revive(self) -> None:
        """Starts it again after it died, so that one crash costs one test and not all that follow in the file."""
        if self._process is not None and self._process.poll() is not None:
            self._join()
            self._reports.clear()
            self.start()

    def check_reports(self) -> None:
        assert not self._reports, f"{self._reports[0]}\n{self.tail}"

    # ---- what it says

    def _read(self, pipe) -> None:
        for line in pipe:
            with self._grown:
                self._lines.append(line.rstrip("\n"))
                if not line.startswith("{") and _REPORTS.search(line):
                    self._reports.append(line)
                self._grown.notify_all()
        pipe.close()

    def _join(self) -> None:
        for reader in self._readers:
            reader.join(5)

    @property
    def output(self) -> str:
        with self._grown:
            return "\n".join(self._lines)

    @property
    def tail(self) -> str:
        with self._grown:
            return "\n".join(self._lines[-80:])

    @property
    def logs(self) -> list[dict]:
        with self._grown:
            lines = list(self._lines)
        return [log for line in lines if (log := _as_log(line)) is not None]

    def wait_log(self, wanted, timeout: float = 5.0, *, or_exit: bool = False) -> dict | None:
        """The first log object for which `wanted` is true, waiting for it; None when it does not come."""
        end = time.monotonic() + timeout * SLACK
        seen = 0
        while True:
            with self._grown:
                fresh, seen = self._lines[seen:], len(self._lines)
            for line in fresh:
                log = _as_log(line)
                if log is not None and wanted(log):
                    return log
            gone = or_exit and self._process is not None and self._process.poll() is not None
            if time.monotonic() > end or (gone and not any(reader.is_alive() for reader in self._readers)):
                return None
            with self._grown:
                if len(self._lines) == seen:
                    self._grown.wait(0.05)

    # ---- what it uses

    def rss_bytes(self) -> int:
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024
        raise RuntimeError("no VmRSS")

    def cpu_s(self) -> float:
        fields = Path(f"/proc/{self.pid}/stat").read_text().rsplit(")", 1)[1].split()
        return (int(fields[11]) + int(fields[12])) / os.sysconf("SC_CLK_TCK")

    def open_fds(self) -> int:
        return len(os.listdir(f"/proc/{self.pid}/fd"))

    # ---- configuration

    def write_config(self, config: object) -> None:
        _replace(self.config_file, config)

    def write_mcp(self, mcp: object) -> None:
        _replace(self.mcp_file, mcp)


def _replace(file: Path, content: object) -> None:
    """Replaces the file as editors do: written beside, then renamed."""
    beside = file.with_suffix(".new")
    beside.write_text(content if isinstance(content, str) else json.dumps(content))
    beside.rename(file)


def _as_log(line: str) -> dict | None:
    if not line.startswith("{"):
        return None
    try:
        value = json.loads(line)
    except ValueError:
        return None
    return value if isinstance(value, dict) else None


def wait_until(condition, timeout: float = 5.0, what: str = "the condition") -> None:
    end = time.monotonic() + timeout * SLACK
    while not condition():
        assert time.monotonic() < end, f"{what} did not come true within {timeout} s"
        time.sleep(0.01)
