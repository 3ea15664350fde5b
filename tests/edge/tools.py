"""The tools and the Debian packages that hold them: installed as root or with sudo, else named."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys

PACKAGES = {
    "sslscan": "sslscan",
    "testssl": "testssl.sh",
    "checksec": "checksec",
    "slowhttptest": "slowhttptest",
    "openssl": "openssl",
    "readelf": "binutils",
}
APT = ["apt-get", "-q", "-o", "Acquire::Retries=3", "-o", "DPkg::Lock::Timeout=300", "-o", "Dpkg::Use-Pty=0"]


def missing() -> list[str]:
    return sorted({package for command, package in PACKAGES.items() if not shutil.which(command)})


def may_install() -> list[str] | None:
    """What to put before apt-get; None = we may not."""
    if os.environ.get("INSTALL") == "true" or not shutil.which("apt-get"):
        return None
    if os.geteuid() == 0:
        return []
    asked = ["sudo", "-n", "true"]  # may we without a password?
    if shutil.which("sudo") and subprocess.run(asked, capture_output=True, check=False).returncode == 0:
        return ["sudo"]
    return None


def install() -> None:
    wanted = missing()
    if not wanted:
        return
    before = may_install()
    if before is None:
        sys.exit(
            f"{len(wanted)} packages are missing. Type this as root, then try again:\n"
            f"    apt-get update && apt-get install --no-install-recommends -y {' '.join(wanted)}"
        )
    print(f"Installing {len(wanted)} packages: {' '.join(wanted)}", file=sys.stderr, flush=True)
    environment = os.environ | {"DEBIAN_FRONTEND": "noninteractive", "LC_ALL": "C"}
    for command in (["update"], ["install", "-y", "--no-install-recommends", *wanted]):
        done = subprocess.run(
            [*before, *APT, *command],
            env=environment,
            text=True,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
        )
        if done.returncode:
            sys.exit("\n".join([*done.stdout.splitlines()[-15:], "apt-get failed"]))
    if missing():
        sys.exit(f"still missing: {' '.join(missing())}")
