"""What the checks of scripts/lint share: the tree's files, its rooms and includes, the compile commands, a cache.

Imported by the scripts beside it, which run as plain programs in a person's checkout or in CI.
"""
import functools
import hashlib
import json
import os
import re
import subprocess
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

ROOT = Path(os.environ.get("PARLEY_LINT_ROOT") or Path(__file__).resolve().parents[2])
BUILD = ROOT / "build" / "release"
CACHE = ROOT / "build" / "lint"
JOBS = int(os.environ.get("JOBS") or os.cpu_count())
ROOMS = ("core", "chat", "net", "storage", "providers", "mcp", "memory", "policy", "agents", "server")
INCLUDE = re.compile(r'^[ \t]*#[ \t]*include[ \t]*([<"])([^>"]+)[>"]', re.M)


@functools.cache
def tracked():
    """Everything in the tree that git would take: tracked, or new and not ignored."""
    names = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "-z"], cwd=ROOT, capture_output=True, check=True)
    return sorted(name for name in names.stdout.decode().split("\0") if name and (ROOT / name).is_file())


def sources(*suffixes, rooms=ROOMS):
    """Files of these folders with these suffixes, relative to the root."""
    return [name for name in tracked() if name.endswith(suffixes) and name.split("/")[0] in rooms]


@functools.cache
def text(name):
    return (ROOT / name).read_text(encoding="utf-8", errors="replace")


@functools.cache
def includes(name):
    """[(line, "<" or '"', path)] of one file."""
    body = text(name)
    return [(body.count("\n", 0, match.start(2)) + 1, match[1], match[2]) for match in INCLUDE.finditer(body)]


@functools.cache
def closure(name):
    """The project headers that a file includes, directly or through others."""
    seen, todo = set(), [name]
    while todo:
        for _, _, path in includes(todo.pop()):
            if path not in seen and (ROOT / path).is_file():
                seen.add(path)
                todo.append(path)
    return frozenset(seen)


@functools.cache
def compile_commands():
    """{file relative to the root: its entry}, of the release build with tests, also written to CACHE for clang's tools.

    Without the precompiled header: it would hide an include that is missing, and clang-tidy gains nothing from it.
    """
    path = BUILD / "compile_commands.json"
    if not path.exists():
        sys.exit(f"{path.relative_to(ROOT)} is missing: run `make lint`, which configures the build first")
    commands = re.sub(r"-Xclang -include-pch -Xclang \S+ -Xclang -include -Xclang \S+ ", "", path.read_text())
    CACHE.mkdir(parents=True, exist_ok=True)
    (CACHE / path.name).write_text(commands)
    entries = {}
    for entry in json.loads(commands):
        file = Path(entry["directory"], entry["file"]).resolve()
        if file.is_relative_to(ROOT) and not file.is_relative_to(ROOT / "build"):
            entries[str(file.relative_to(ROOT))] = entry
    return entries


def unchanged(check, names, examine):
    """Runs examine(name) -> [findings] for each file, JOBS at a time, and returns all findings.

    A file without findings is not examined again until it, a project header it includes, its compile command or a
    script in this folder changes.
    """
    scripts = b"".join(path.read_bytes() for path in sorted(Path(__file__).parent.iterdir()) if path.is_file())
    settings = (ROOT / ".clang-tidy").read_bytes() if (ROOT / ".clang-tidy").exists() else b""
    common_key = hashlib.sha256(scripts + settings).hexdigest()

    def one(name):
        command = compile_commands().get(name, {}).get("command", "")
        digest = hashlib.sha256("\0".join([check, name, common_key, command]).encode())
        for part in [name, *sorted(closure(name))]:
            digest.update(part.encode() + b"\0" + (ROOT / part).read_bytes())
        stamp = CACHE / check / digest.hexdigest()
        if stamp.exists():
            return []
        findings = examine(name)
        if not findings:
            stamp.parent.mkdir(parents=True, exist_ok=True)
            stamp.touch()
        return findings

    with ThreadPoolExecutor(JOBS) as pool:
        return [finding for found in pool.map(one, names) for finding in found]


def finish(findings, what):
    """Prints the findings, one a line, and ends the program: 1 when there are any."""
    for finding in dict.fromkeys(findings):
        print(finding)
    if findings:
        sys.exit(1)
    print(what)
    sys.exit(0)
