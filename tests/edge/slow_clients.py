"""slowhttptest's four attacks, one after the other, while healthy clients are served."""

from __future__ import annotations

import csv
import subprocess
import time
from dataclasses import dataclass
from pathlib import Path

from harness.api import call
from harness.configs import config, demo_agent
from harness.gateway import Gateway
from healthy import CLIENTS, Healthy
from report import Report, kb, mb
from watch import Watch, check_quiet, kernel_queues, stop

LIMIT_S = 5  # in the place of 10 s for a head, 60 s for a body, 75 s between requests
STALL_S = 12  # in the place of 60 s for a client that takes nothing; its connections come more slowly
LATE_S = 2  # how much later than that, on a busy machine
LIMITS_S = {
    "PARLEY_HEADER_TIMEOUT_MS": LIMIT_S,
    "PARLEY_BODY_TIMEOUT_MS": LIMIT_S,
    "PARLEY_IDLE_TIMEOUT_MS": LIMIT_S,
    "PARLEY_STALL_TIMEOUT_MS": STALL_S,
}
BASE_S = 5  # how long healthy clients are measured alone
BASE_RSS = 8_000_000  # what the healthy ones may add
PAGE_BYTES = 250_000  # of /v1/models; ten of them are more than the kernel takes for one connection


@dataclass(frozen=True)
class Attack:
    title: str
    path: str
    options: tuple[str, ...]
    connections: int
    per_second: int
    seconds: int  # at most; it ends when no connection is left
    bytes_max: int  # what one connection may cost the gateway
    limit_s: int | None = LIMIT_S  # which ends it; None = nothing has to
    seen: bool = True  # slowhttptest notices that end (a slow reader does not: it is busy reading)


ATTACKS = (
    # A head may have 16 KB.
    Attack("slow headers (-H)", "/v1/models", ("-H", "-i", "1"), 400, 200, 20, 32_000),
    # Of a body what is claimed is reserved, up to 256 KB, but not touched.
    Attack(
        "slow body (-B)",
        "/v1/chat/completions",
        ("-B", "-i", "1", "-s", "65536", "-f", "application/json"),
        400,
        200,
        20,
        64_000,
    ),
    # 256 KB unsent and one whole answer, in a buffer that doubles as it grows. Ten such answers are work: hence only
    # 30 connections a second.
    Attack(
        "slow read (-X)",
        "/v1/models",
        ("-X", "-k", "10", "-n", "1", "-w", "256", "-y", "1024", "-z", "32"),
        240,
        30,
        22,
        2 * (256 * 1024 + PAGE_BYTES),
        STALL_S,
        seen=False,
    ),
    Attack("ranges (-R)", "/docs", ("-R", "-a", "5", "-b", "2000"), 1500, 300, 15, 32_000, None),
)


def run(report: Report, folder: Path) -> None:
    report.title(f"Slow clients: slowhttptest; limits of {LIMIT_S} s, and {STALL_S} s for who takes nothing")
    gateway = Gateway(
        folder / "gateway",
        config(demo_agent(description="d" * PAGE_BYTES)),
        env={name: str(seconds * 1000) for name, seconds in LIMITS_S.items()},
        args=("--threads", "2"),
    ).start()
    fds = gateway.open_fds()
    try:
        with Healthy(gateway) as alone:
            time.sleep(BASE_S)
        alone.judge(report, "before")
        one_page(report, gateway)
        for attack in ATTACKS:
            run_attack(report, folder, gateway, attack)
        check_quiet(report, gateway, fds)
    finally:
        stop(report, gateway)


def one_page(report: Report, gateway: Gateway) -> None:
    """What the range attack is after: many parts, for each of which a server makes a copy."""
    ranges = "bytes=0-," + ",".join(f"5-{end}" for end in range(5, 1300))
    plain, asked = call(gateway, "GET", "/docs"), call(gateway, "GET", "/docs", headers={"Range": ranges})
    good = asked.status in (200, 416, 431) and len(asked.body) <= len(plain.body)
    report.check("1,300 ranges of a page get one page", good, f"status {asked.status}, {len(asked.body):,} bytes")


def run_attack(report: Report, folder: Path, gateway: Gateway, attack: Attack) -> None:
    title, host, port = attack.title, *gateway.address
    prefix = folder / attack.options[0].strip("-")
    command = ["slowhttptest", *attack.options, "-u", f"http://{host}:{port}{attack.path}", "-p", "3"]
    command += ["-c", str(attack.connections), "-r", str(attack.per_second), "-l", str(attack.seconds)]
    command += ["-g", "-o", str(prefix)]
    room = 2 * CLIENTS + 2  # descriptors of the healthy ones
    queued = 0
    with Watch(gateway) as watch, Healthy(gateway) as healthy, open(f"{prefix}.log", "w") as log:
        attacker = subprocess.Popen(command, cwd=folder, stdin=subprocess.DEVNULL, stdout=log, stderr=log)
        try:
            end = time.monotonic() + attack.seconds + 15
            while attacker.poll() is None and time.monotonic() < end:
                queued = max(queued, kernel_queues(port)[0])
                time.sleep(0.25)
        finally:
            if attacker.poll() is None:
                attacker.kill()
            attacker.wait()
        time.sleep(0.5)
    healthy.judge(report, title)
    told = states(Path(f"{prefix}.csv"))
    report.check(
        f"{title}: memory bounded, at most {kb(attack.bytes_max)} a connection",
        watch.rss_grown <= attack.connections * attack.bytes_max + BASE_RSS,
        f"RSS {mb(watch.rss_before)} before, {mb(watch.rss_before + watch.rss_grown)} peak, "
        f"{kb(watch.rss_grown / attack.connections)} a connection; in the kernel {mb(queued)}",
    )
    if attack.limit_s is not None:
        full, gone = watch.full_at(room), watch.gone_at(room)
        after = None if gone is None else gone - full
        report.check(
            f"{title}: all held, then closed by the gateway at its limit of {attack.limit_s} s",
            watch.held >= 0.9 * attack.connections and after is not None and after <= attack.limit_s + LATE_S,
            f"{watch.held} at once, the last closed " + ("never" if after is None else f"{after:.1f} s after it came"),
        )
    if attack.seen:
        last = told[-1] if told else {}
        done = "No open connections left" in Path(f"{prefix}.log").read_text(errors="replace")
        opened = max((sum(int(row[key]) for key in ("Closed", "Connected")) for row in told), default=0)
        report.check(f"{title}: slowhttptest has no connection left", done, f"{opened} opened, {last.get('Seconds')} s")
    away = [row["Seconds"] for row in told if row["Service Available"] in ("0", "")]
    report.check(f"{title}: available to slowhttptest's own probe", bool(told) and not away, ", ".join(away))


def states(file: Path) -> list[dict[str, str]]:
    """slowhttptest's own count, second by second."""
    if not file.exists():
        return []
    with open(file, newline="") as lines:
        return list(csv.DictReader(lines, skipinitialspace=True))
