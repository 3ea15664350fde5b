"""A name server that fails on demand, and a binary that asks only it: in a mount namespace with its own resolv.conf."""

from __future__ import annotations

import os
import shlex
import socket
import struct
import subprocess
import threading
from pathlib import Path

from .gateway import binary

_A, _IN = 1, 1
_CODES = {"servfail": 2, "nxdomain": 3}


class NameServer:
    """`names` tells what is said to each: an IPv4 address, nxdomain, servfail or hang. Needs port 53, hence root."""

    ADDRESS = "127.0.53.53"

    def __init__(self) -> None:
        self.names: dict[str, str] = {}
        self.asked: list[str] = []
        self._socket = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self._socket.bind((self.ADDRESS, 53))
        self._thread = threading.Thread(target=self._serve, daemon=True)
        self._thread.start()

    def stop(self) -> None:
        self._socket.sendto(b"", (self.ADDRESS, 53))  # wakes the thread, which ends
        self._thread.join()
        self._socket.close()

    def _serve(self) -> None:
        while True:
            query, client = self._socket.recvfrom(4096)
            if not query:
                return
            labels, at = [], 12
            while size := query[at]:
                labels.append(query[at + 1 : at + 1 + size].decode())
                at += 1 + size
            kind = struct.unpack_from(">H", query, at + 1)[0]
            name = ".".join(labels)
            self.asked.append(name)
            said = self.names.get(name, "nxdomain")
            if said == "hang":
                continue
            record = b""
            if kind == _A and said not in _CODES:
                record = struct.pack(">HHHIH", 0xC00C, _A, _IN, 0, 4) + socket.inet_aton(said)
            head = query[:2] + struct.pack(">HHHHH", 0x8180 | _CODES.get(said, 0), 1, len(record) > 0, 0, 0)
            self._socket.sendto(head + query[12 : at + 5] + record, client)


def binary_asking(server: NameServer, folder: Path, options: str) -> Path:
    """The gateway's binary behind a script, for PARLEY_BIN. `options` as in resolv.conf."""
    resolv = folder / "resolv.conf"
    resolv.write_text(f"nameserver {server.ADDRESS}\noptions {options}\n")
    inside = f"mount --bind {shlex.quote(str(resolv))} /etc/resolv.conf && exec {shlex.quote(str(binary()))} \"$@\""
    script = folder / "parley"
    script.write_text(f"#!/bin/sh\nexec {shlex.join([*_unshare(), 'sh', '-c', inside])} parley \"$@\"\n")
    script.chmod(0o755)
    return script


def _unshare() -> list[str]:
    return ["unshare", "--mount"] if os.geteuid() == 0 else ["unshare", "--map-root-user", "--mount"]


def is_possible() -> bool:
    """Port 53 and mounts: root on a machine, not in every container."""
    try:
        with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
            probe.bind((NameServer.ADDRESS, 53))
    except OSError:
        return False
    tried = [*_unshare(), "mount", "--bind", "/etc/hosts", "/etc/resolv.conf"]
    return subprocess.run(tried, capture_output=True, check=False).returncode == 0
