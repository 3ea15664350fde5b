"""What checksec and readelf say of the release binary."""

from __future__ import annotations

import json
import re
import subprocess
from pathlib import Path

from harness.gateway import binary
from report import Report, listed

START_FILES = ("Scrt1.o", "crti.o", "crtn.o")
LANDING_PAD = b"\xf3\x0f\x1e\xfa"  # endbr64


def output(*command: object) -> str:
    done = subprocess.run([str(part) for part in command], text=True, capture_output=True, check=False)
    return done.stdout


def cet_notes(file: Path) -> set[str]:
    found = re.search(r"x86 feature: (.*)", output("readelf", "--notes", "--wide", file))
    return set(re.findall(r"IBT|SHSTK", found[1])) if found else set()


def start_files() -> list[Path]:
    folder = next(iter(sorted(Path("/usr/lib").glob("*/Scrt1.o"))), None)
    return [folder.with_name(name) for name in START_FILES if folder.with_name(name).exists()] if folder else []


def run(report: Report, folder: Path) -> None:
    report.title(f"Hardening of {binary().name}: checksec, readelf")
    told = output("checksec", "--format=json", "--extended", f"--file={binary()}")
    (folder / "checksec.json").write_text(told)
    found = next(iter(json.loads(told).values()))
    missing: list[str] = []

    def want(name: str, key: str, value: str) -> None:
        if not report.check(name, found.get(key) == value, f"{key} {found.get(key)}"):
            missing.append(name)

    want("full RELRO", "relro", "full")
    want("stack canaries", "canary", "yes")
    want("NX", "nx", "yes")
    want("PIE", "pie", "yes")
    want("FORTIFY_SOURCE", "fortify_source", "yes")
    fortified, able = found.get("fortified"), found.get("fortify-able")
    report.note(f"fortified functions: {fortified} of {able}; others were proven when compiled, or have no known size")
    want("no RPATH", "rpath", "no")
    want("no RUNPATH", "runpath", "no")

    segments = [line.split() for line in output("readelf", "--segments", "--wide", binary()).splitlines()]
    segments = [words for words in segments if len(words) > 7 and words[1].startswith("0x")]
    # the flags stand between sizes and alignment, in one to three words
    flags = {f"{words[0]} {words[2]}": "".join(words[6:-1]) for words in segments}
    stack = [flag for name, flag in flags.items() if name.startswith("GNU_STACK")]
    report.check("no executable stack (-z noexecstack)", stack == ["RW"], f"GNU_STACK {listed(stack) or 'absent'}")
    both = [name for name, flag in flags.items() if "W" in flag and "E" in flag]
    report.check("no segment both writable and executable", bool(flags) and not both, listed(both))
    dynamic = output("readelf", "--dynamic", "--wide", binary())
    report.check("bound at start (-z now), no text relocations", "BIND_NOW" in dynamic and "TEXTREL" not in dynamic)
    branch_protection(report, missing)
    for key, name in (("clangcfi", "Clang's CFI"), ("safestack", "SafeStack")):
        if found.get(key) != "yes":
            missing.append(name)
    if found.get("symbols") == "yes":
        missing.append("a stripped symbol table")
    report.note(f"not there: {', '.join(missing) or 'nothing'}")


def branch_protection(report: Report, missing: list[str]) -> None:
    """IBT and SHSTK. The linker keeps the note only when every object file has it, the C library's start files too."""
    if "X86-64" not in output("readelf", "--file-header", binary()):
        report.note("IBT and SHSTK are x86-64's")
        return
    pads = binary().read_bytes().count(LANDING_PAD)
    report.check("compiled with -fcf-protection", pads > 1000, f"{pads:,} landing pads")
    notes, without = cet_notes(binary()), [file.name for file in start_files() if not cet_notes(file)]
    if notes >= {"IBT", "SHSTK"} or not without:
        report.check("IBT and SHSTK notes", notes >= {"IBT", "SHSTK"}, ", ".join(sorted(notes)) or "none")
        return
    missing.append("IBT and SHSTK notes")
    told = f"none, because {', '.join(without)} have none"
    report.check("IBT and SHSTK notes, as far as the C library allows", True, told)
