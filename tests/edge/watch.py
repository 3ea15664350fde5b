"""What the gateway holds while something happens to it, and whether it is quiet afterwards."""

from __future__ import annotations

import ssl
import threading
import time
from pathlib import Path

from harness.api import call
from harness.gateway import Gateway
from report import Report

FIN_WAIT1 = "04"
QUIET_CPU_SHARE = 0.05
SETTLE_S = 5.0


class Watch:
    """Samples memory and descriptors of the gateway in a thread of its own."""

    def __init__(self, gateway: Gateway, every_s: float = 0.1) -> None:
        self.gateway, self._every_s = gateway, every_s
        self.rss_before, self.fds_before = gateway.rss_bytes(), gateway.open_fds()
        self.samples: list[tuple[float, int, int]] = []  # seconds since the start, RSS, connections
        self._began = time.monotonic()
        self._end = threading.Event()
        self._thread = threading.Thread(target=self._run, daemon=True)

    def __enter__(self) -> Watch:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        self._thread.join()

    def _run(self) -> None:
        while not self._end.wait(self._every_s):
            try:
                held = self.gateway.open_fds() - self.fds_before
                self.samples.append((time.monotonic() - self._began, self.gateway.rss_bytes(), held))
            except (OSError, RuntimeError):
                return  # the process is gone, which others tell

    @property
    def rss_grown(self) -> int:
        return max((rss for _, rss, _ in self.samples), default=self.rss_before) - self.rss_before

    @property
    def held(self) -> int:
        return max((held for _, _, held in self.samples), default=0)

    def full_at(self, room: int) -> float:
        """When all connections were there, give or take `room`."""
        return next((at for at, _, held in self.samples if held >= self.held - room), 0.0)

    def gone_at(self, room: int) -> float | None:
        """When they were gone for good; None = they still are there."""
        there = [at for at, _, held in self.samples if held > room]
        if not self.samples or (there and there[-1] == self.samples[-1][0]):
            return None
        return there[-1] if there else 0.0


def kernel_queues(port: int) -> tuple[int, int, int]:
    """Bytes that wait in the kernel to be sent from this port; how much of it for sockets that the process has closed
    without a reset, and how many those are."""
    waiting = orphaned = orphans = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        if int(fields[1].rpartition(":")[2], 16) != port:
            continue
        queued = int(fields[4].partition(":")[0], 16)
        waiting += queued
        if fields[3] == FIN_WAIT1 and queued > 1:  # the end itself counts as one
            orphaned, orphans = orphaned + queued, orphans + 1
    return waiting, orphaned, orphans


def check_quiet(report: Report, gateway: Gateway, fds: int, tls: ssl.SSLContext | None = None) -> None:
    """Alive, nothing left open, no work, nothing to say; and of what it said, no complaint but of refused requests."""
    end = time.monotonic() + SETTLE_S
    while gateway.open_fds() > fds + 2 and time.monotonic() < end:
        time.sleep(0.1)
    time.sleep(0.3)  # the last lines of its log
    left = gateway.open_fds() - fds
    cpu, said, began = gateway.cpu_s(), len(gateway.logs), time.monotonic()
    time.sleep(2)
    share = (gateway.cpu_s() - cpu) / (time.monotonic() - began)
    told = [log for log in gateway.logs if log.get("level") in ("warn", "error")]
    refused = [log for log in told if log.get("event") == "request" and 400 <= log.get("status", 0) < 500]
    told = [log for log in told if log not in refused] + gateway.logs[said:]
    status = call(gateway, "GET", "/livez", tls=tls).status
    try:
        gateway.check_alive()
        alive = status == 200
    except AssertionError as error:
        report.note(str(error))
        alive = False
    report.check(
        "alive and quiet afterwards",
        alive and left <= 2 and share <= QUIET_CPU_SHARE and not told,
        f"/livez {status}, {max(left, 0)} descriptors more than before, {share:.1%} CPU, "
        f"{len(told)} complaints in its log, {len(refused)} requests refused",
    )
    for log in told[:3]:
        report.note(str(log))


def stop(report: Report, gateway: Gateway) -> None:
    try:
        gateway.stop()
        report.check("stops with exit code 0", True)
    except AssertionError as error:
        report.check("stops with exit code 0", False, str(error).splitlines()[0])
