"""What happens to the gateway and to its store, for the history checker."""

from __future__ import annotations

import os
import random
import signal
import subprocess
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

from .fault_proxy import FaultProxy
from .gateway import Gateway
from .postgres import Postgres

Fault = Callable[[float], None]  # lasts as many seconds as it is told to


class Tmpfs:
    """A small file system of its own, to be filled; without the right to mount there is none."""

    def __init__(self, megabytes: int) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="parley-disk-"))
        self.path.chmod(0o777)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", self.path],
                              capture_output=True, check=False)  # fmt: skip
        self.is_mounted = done.returncode == 0

    def fill(self) -> None:
        filler = os.open(self.path / "filler", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            while True:
                os.write(filler, b"x" * 65536)
        except OSError:
            os.close(filler)

    def free(self) -> None:
        (self.path / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "-l", self.path], check=False)
        self.path.rmdir()


class Ground:
    """The gateway, its disk and, if it has one, its database behind a proxy."""

    def __init__(self, store: str) -> None:
        self.disk = Tmpfs(192 if store == "sqlite" else 320)
        self.postgres = Postgres("max_connections=14", folder=self.disk.path) if store == "postgres" else None
        self.proxy = FaultProxy(self.postgres.port) if self.postgres else None
        self.gateway: Gateway | None = None

    def close(self) -> None:
        if self.proxy:
            self.proxy.close()
        if self.postgres:
            self.postgres.close()
        self.disk.close()

    def draw(self, choose: random.Random) -> tuple[str, Fault]:
        """A fault with its name."""
        kinds: dict[str, Fault] = {"kill gateway": self._kill_gateway, "stop gateway": self._stop_gateway}
        if self.disk.is_mounted:
            kinds["disk full"] = self._fill_disk
        if self.postgres:
            number = choose.random()
            kinds |= {
                "kill postgres": self._kill_postgres,
                "kill one backend": lambda hold: self._kill_backend(number, hold),
                "lost acknowledgement": lambda hold: self._through_proxy("mute", hold),
                "partition": lambda hold: self._through_proxy("silent", hold),
                "reset": self._reset,
                "connections exhausted": self._exhaust,
            }
        name = choose.choice(sorted(kinds))
        return name, kinds[name]

    def _kill_gateway(self, hold: float) -> None:
        self.gateway.restart()

    def _stop_gateway(self, hold: float) -> None:
        self.gateway.signal(signal.SIGSTOP)
        time.sleep(hold)
        self.gateway.signal(signal.SIGCONT)

    def _fill_disk(self, hold: float) -> None:
        self.disk.fill()
        time.sleep(hold)
        self.disk.free()
        if self.postgres:
            self.postgres.revive()

    def _kill_postgres(self, hold: float) -> None:
        self.postgres.kill()
        time.sleep(hold)
        self.postgres.start()

    def _kill_backend(self, number: float, hold: float) -> None:
        """kill -9 of one: Postgres then drops all sessions and recovers."""
        pids = self.postgres.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND "
                                 "pid <> pg_backend_pid()", check=False).split()  # fmt: skip
        if pids:
            try:
                os.kill(int(pids[int(number * len(pids))]), signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.postgres.revive()

    def _through_proxy(self, mode: str, hold: float) -> None:
        with self.proxy.failing(mode):
            time.sleep(hold)

    def _reset(self, hold: float) -> None:
        self.proxy.reset()

    def _exhaust(self, hold: float) -> None:
        """Others take all connections, and ours are cut."""
        hogs = [self.postgres.hog() for _ in range(14)]
        self.proxy.reset()
        time.sleep(hold)
        for hog in hogs:
            hog.kill()
            hog.wait()
