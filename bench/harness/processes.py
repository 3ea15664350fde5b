"""Starting, pinning, measuring and stopping the processes of a benchmark.

A Process owns exactly one process that it started, and ends that one by its pid. Linux only (/proc, process CPU clocks).
"""

import http.client
import os
import pathlib
import signal
import socket
import subprocess
import time


class BenchError(Exception):
    """Something that the person at the terminal can put right; the text says how."""


def free_port():
    """A TCP port on 127.0.0.1 that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def pinned(core, command):
    return ["taskset", "-c", str(core), *map(str, command)]


def cpu_ns_of(pid):
    """CPU time of a process by its clock, that of clock_getcpuclockid(3)."""
    return time.clock_gettime_ns(((~pid) << 3) | 2)


class Process:
    """A pinned server. Its output goes to a file in `folder`, shown when it fails.

    `core` may be a list such as "0,1". With `workers` its child processes are measured as part of it.
    """

    def __init__(self, name, core, command, folder, env=None, workers=False):
        self.name = name
        self._has_workers = workers
        self.log_path = pathlib.Path(folder) / f"{name}.log"
        with open(self.log_path, "wb") as log:
            self._child = subprocess.Popen(
                pinned(core, command), stdin=subprocess.DEVNULL, stdout=log, stderr=log, cwd=folder, env=env
            )
        self.pid = self._child.pid

    def wait_ready(self, port, path="/v1/models", headers=None, limit_s=20):
        """Seconds until GET `path` first answers 200."""
        begin = time.monotonic()
        reason = "no answer"
        while time.monotonic() - begin < limit_s:
            if self._child.poll() is not None:
                raise self.ended()
            try:
                connection = http.client.HTTPConnection("127.0.0.1", port, timeout=2)
                connection.request("GET", path, headers=headers or {})
                answer = connection.getresponse()
                reason = f"HTTP {answer.status}: {answer.read(300)!r}"
                connection.close()
                if answer.status == 200:
                    return time.monotonic() - begin
            except (OSError, http.client.HTTPException) as error:
                reason = str(error)
            time.sleep(0.002)
        raise BenchError(f"{self.name} was not ready within {limit_s} s; GET {path}: {reason}\n{self.last_output()}")

    def last_output(self, lines=15):
        return "\n".join(self.log_path.read_text(errors="replace").splitlines()[-lines:])

    def ended(self):
        """The error to raise for a server that is gone: how it ended, and its last words."""
        code = self._child.wait(1)
        how = f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
        return BenchError(f"{self.name} {how}:\n{self.last_output()}")

    def alive(self):
        return self._child.poll() is None

    def _pids(self):
        if not self._has_workers:
            return [self.pid]
        return [self.pid, *map(int, pathlib.Path(f"/proc/{self.pid}/task/{self.pid}/children").read_text().split())]

    def cpu_ns(self):
        """CPU time of all threads so far, ended ones too, in ns."""
        return sum(cpu_ns_of(pid) for pid in self._pids())

    def rss_mb(self):
        """Resident memory in MB (10^6 bytes)."""
        return self._status_kb("VmRSS") * 1024 / 1e6

    def heap_mb(self):
        """Of that, what is no file's: heap and stacks."""
        return self._status_kb("RssAnon") * 1024 / 1e6

    def _status_kb(self, field):
        found = []
        for pid in self._pids():
            for line in pathlib.Path(f"/proc/{pid}/status").read_text().splitlines():
                if line.startswith(field + ":"):
                    found.append(int(line.split()[1]))
        if not found:
            raise self.ended()  # a process that has ended but was not waited for has no memory
        return sum(found)

    def stop(self, limit_s=5):
        if self._child.poll() is None:
            self._child.send_signal(signal.SIGTERM)
            try:
                self._child.wait(limit_s)
            except subprocess.TimeoutExpired:
                self._child.kill()
        self._child.wait()


class CoreMeter:
    """Busy time of one core by /proc/stat: what it did beyond the process under test is noise."""

    def __init__(self, core):
        self._name = f"cpu{core}"
        self._ns_per_tick = 1e9 / os.sysconf("SC_CLK_TCK")

    def busy_ns(self):
        user, nice, system, _idle, _iowait, irq, softirq, steal = self._ticks()
        return (user + nice + system + irq + softirq + steal) * self._ns_per_tick

    def idle_ns(self):
        return sum(self._ticks()[3:5]) * self._ns_per_tick

    def _ticks(self):
        for line in pathlib.Path("/proc/stat").read_text().splitlines():
            fields = line.split()
            if fields[0] == self._name:
                return list(map(int, fields[1:9]))
        raise BenchError(f"/proc/stat has no {self._name}")
