"""A PostgreSQL of its own for a test run, and a PgBouncer before it: in a folder that goes away, on free ports.

From Debian's packages. initdb refuses root, so as root they run as the user `postgres`, which the package makes.
"""

from __future__ import annotations

import contextlib
import glob
import os
import pwd
import random
import shutil
import signal
import socket
import subprocess
import tempfile
import time
from pathlib import Path

# mmap: a chroot may have no /dev/shm
_SETTINGS = ("shared_buffers=32MB", "dynamic_shared_memory_type=mmap")
SLACK = 5 if os.environ.get("PARLEY_SLOW") else 1


def free_port() -> int:
    """For a server that is started again on it: below the ports that the kernel gives to connections of other tests."""
    with open("/proc/sys/net/ipv4/ip_local_port_range", encoding="ascii") as ports:
        first = int(ports.read().split()[0])
    while True:
        port = random.randrange(10_000, max(first, 32_768))
        with socket.socket() as probe:
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port


def _program(name: str) -> str:
    found = sorted(glob.glob(f"/usr/lib/postgresql/*/bin/{name}")) or [shutil.which(name)]
    assert found[-1], f"no {name}: apt-get install postgresql"
    return found[-1]


def _user() -> str | None:
    return "postgres" if os.geteuid() == 0 else None


def _children(pid: int) -> list[int]:
    found = []
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            fields = Path(stat).read_text().rsplit(")", 1)[1].split()
        except OSError:
            continue
        if int(fields[1]) == pid:
            found.append(int(stat.split("/")[2]))
    return found


def _is_there(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rsplit(")", 1)[1].split()[0] != "Z"
    except OSError:
        return False


def wait_for_port(port: int, process: subprocess.Popen, log: Path) -> None:
    end = time.monotonic() + 20 * SLACK
    while time.monotonic() < end:
        assert process.poll() is None, log.read_text()
        try:
            socket.create_connection(("127.0.0.1", port), 0.2).close()
            return
        except OSError:
            time.sleep(0.02)
    raise AssertionError(f"no answer on port {port}: {log.read_text()}")


class _Folder:
    """Belongs to the user who runs the server."""

    def __init__(self, name: str, within: Path | None = None) -> None:
        self.path = Path(tempfile.mkdtemp(prefix=f"parley-{name}-", dir=within))
        self.path.chmod(0o755)
        if _user():
            entry = pwd.getpwnam(_user())
            os.chown(self.path, entry.pw_uid, entry.pw_gid)

    def remove(self) -> None:
        shutil.rmtree(self.path, ignore_errors=True)


class Postgres:
    """max_connections etc. as `name=value` settings. Durable: fsync stays on, as in the real thing."""

    def __init__(
        self, *settings: str, folder: Path | None = None, tls: tuple[Path, Path] | None = None
    ) -> None:
        self._folder = _Folder("postgres", folder)
        self.folder = self._folder.path
        self.port = free_port()
        self._settings = settings
        self._process: subprocess.Popen | None = None
        data = self.folder / "data"
        subprocess.run(
            [_program("initdb"), "-D", data, "-U", "parley", "-A", "trust", "-E", "UTF8", "--no-sync", "--locale=C"],
            check=True, stdout=subprocess.DEVNULL, user=_user(), cwd="/",
        )  # fmt: skip
        for source, name in zip(tls or (), ("server.crt", "server.key")):
            (data / name).write_bytes(source.read_bytes())
            (data / name).chmod(0o600)
            if _user():
                shutil.chown(data / name, _user())
        self.start()

    @property
    def dsn(self) -> str:
        return f"postgresql://parley@127.0.0.1:{self.port}/postgres"

    def only_tls(self) -> None:
        (self.folder / "data" / "pg_hba.conf").write_text("hostssl all all 127.0.0.1/32 trust\nhostssl all all ::1/128 trust\n")
        self.sql("SELECT pg_reload_conf()")

    def start(self) -> None:
        log = self.folder / "log"
        arguments = [f"-c{setting}" for setting in (*_SETTINGS, *self._settings)]
        with log.open("ab") as to:
            self._process = subprocess.Popen(
                [_program("postgres"), "-D", self.folder / "data", "-p", str(self.port), "-k", self.folder,
                 "-clisten_addresses=127.0.0.1", *arguments],
                stdin=subprocess.DEVNULL, stdout=to, stderr=to, user=_user(), cwd="/",
            )  # fmt: skip
        end = time.monotonic() + 20 * SLACK
        while self.sql("SELECT 1", check=False) != "1":
            assert self._process.poll() is None and time.monotonic() < end, log.read_text()
            time.sleep(0.02)

    def sql(self, text: str, check: bool = True) -> str:
        done = subprocess.run(
            [_program("psql"), "-X", "-A", "-t", "-q", "-d", self.dsn, "-c", text],
            capture_output=True, text=True, cwd="/",
        )  # fmt: skip
        assert done.returncode == 0 or not check, done.stderr
        return done.stdout.strip()

    def hog(self, *first: str) -> subprocess.Popen:
        """A connection that does nothing for long, after these statements; kill it."""
        statements = ("SET client_connection_check_interval = '50ms'", *first, "SELECT pg_sleep(60)")
        return subprocess.Popen(
            [_program("psql"), "-X", "-q", "-d", self.dsn, *(part for one in statements for part in ("-c", one))],
            stdin=subprocess.DEVNULL, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, cwd="/",
        )  # fmt: skip

    def revive(self) -> None:
        """Starts it if it has ended by itself, which is what it does when it cannot write its log."""
        end = time.monotonic() + 20 * SLACK
        while time.monotonic() < end:
            if self._process is None or self._process.poll() is not None:
                self.kill()
                return self.start()
            if self.sql("SELECT 1", check=False) == "1":
                return
            time.sleep(0.05)

    def kill(self) -> None:
        """kill -9 of the postmaster and its children: what a crash of the machine leaves."""
        if not self._process:
            return
        self._process.send_signal(signal.SIGSTOP)  # so that it starts no child that is not seen
        children = _children(self._process.pid)
        self._process.kill()
        self._process.wait()
        for child in children:
            with contextlib.suppress(ProcessLookupError):
                os.kill(child, signal.SIGKILL)
        end = time.monotonic() + 20 * SLACK
        while any(map(_is_there, children)):  # as long as one is there, a new server does not start
            assert time.monotonic() < end, f"of {children} some do not end"
            time.sleep(0.005)
        (self.folder / "data" / "postmaster.pid").unlink(missing_ok=True)
        self._process = None

    def stop(self) -> None:
        if self._process:
            self._process.send_signal(signal.SIGINT)  # "fast": sessions are cut, all is written
            self._process.wait(20 * SLACK)
            self._process = None

    def close(self) -> None:
        try:
            self.kill()
        finally:
            self._folder.remove()


class PgBouncer:
    """In transaction mode, before a Postgres."""

    def __init__(self, postgres: Postgres) -> None:
        self._folder = _Folder("pgbouncer")
        self.port = free_port()
        folder = self._folder.path
        (folder / "users").write_text('"parley" ""\n')
        (folder / "ini").write_text(
            f"[databases]\n* = host=127.0.0.1 port={postgres.port} user=parley\n"
            f"[pgbouncer]\nlisten_addr = 127.0.0.1\nlisten_port = {self.port}\nauth_type = trust\n"
            f"auth_file = {folder}/users\npool_mode = transaction\nunix_socket_dir =\ndefault_pool_size = 4\n"
        )
        log = folder / "log"
        with log.open("wb") as to:
            program = shutil.which("pgbouncer") or "/usr/sbin/pgbouncer"
            self._process = subprocess.Popen(
                [program, folder / "ini"], stdin=subprocess.DEVNULL, stdout=to, stderr=to, user=_user(), cwd="/"
            )
        wait_for_port(self.port, self._process, log)

    @property
    def dsn(self) -> str:
        return f"postgresql://parley@127.0.0.1:{self.port}/postgres"

    def close(self) -> None:
        self._process.kill()
        self._process.wait()
        self._folder.remove()
