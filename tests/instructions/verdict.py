"""The budget, and whether counts keep it. What a budget was counted with decides how much may be judged:

* another compiler, another header-only library or another valgrind: nothing; the program is another one;
* other shared libraries: only the instructions in the program's own code;
* the same: everything that is executed for a request.

So a package that Debian mends cannot fail a change that has nothing to do with it.
"""

from __future__ import annotations

import json
import platform
import re
import subprocess
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

BUDGET = Path(__file__).resolve().parent / "budget.json"
TOLERANCE_PERCENT = 3
_BUILT_WITH = re.compile(r"clang-19|valgrind|libstdc\+\+-\d+-dev|libboost[\d.]+-dev|libsimdjson-dev|libfmt-dev")
# The shared libraries that have a part in a request; what only stands beside (SQLite, Kerberos …) may change at will.
_LOADED = re.compile(r"libc6|libstdc\+\+6|libmimalloc[\d.]+|libsimdjson\d+|libssl3(t64)?|libfmt\d+|libboost-json[\d.]+")
_LOOK = "callgrind_annotate {} | head -60"


def release() -> str:
    """`debian-12`, as budgets are named."""
    try:
        system = platform.freedesktop_os_release()
    except OSError:
        return platform.system().lower()
    return f"{system.get('ID', 'linux')}-{system.get('VERSION_ID', '')}".rstrip("-")


def _installed(names: re.Pattern) -> dict[str, str]:
    command = ["dpkg-query", "-W", "-f", "${db:Status-Status} ${Package} ${Version}\n"]
    try:
        shown = subprocess.run(command, capture_output=True, text=True, check=False).stdout
    except OSError:
        return {}  # no dpkg: a system without a budget
    packages = (line.split(" ", 2) for line in shown.splitlines())
    return {name: version for status, name, version in packages if status == "installed" and names.fullmatch(name)}


def built_with() -> dict[str, str]:
    """Versions of what decides which instructions the program has, and of what counts them."""
    return _installed(_BUILT_WITH)


def libraries() -> dict[str, str]:
    return _installed(_LOADED)


@dataclass
class Verdict:
    name: str
    text: str
    failed: bool = False


def difference(then: Mapping[str, str], now: Mapping[str, str]) -> str:
    """`clang-19 1.2 -> 1.3, …`; empty when they are the same."""
    names = sorted(set(then) | set(now))
    return ", ".join(f"{name} {then.get(name, '-')} -> {now.get(name, '-')}" for name in names if then.get(name) != now.get(name))


def comparable(budget: Mapping, built: Mapping[str, str], loaded: Mapping[str, str]) -> tuple[str | None, str]:
    """Which figure may be judged (`total`, `own` or none), and a note on what is different."""
    if other := difference(budget["built_with"], built):
        return None, f"Not judged: the budget was counted with other tools ({other})."
    if other := difference(budget["libraries"], loaded):
        return "own", f"Only the program's own code is judged: the libraries are others than those of the budget ({other})."
    return "total", ""


def judge(budget: Mapping, counts: Mapping[str, Mapping[str, int]], figure: str, dumps: str = "") -> list[Verdict]:
    """One verdict a path. A path without a budget, or a budget without a path, fails: a gate must not lose a row."""
    verdicts = []
    for name, count in counts.items():
        if name not in budget["paths"]:
            verdicts.append(Verdict(name, f"{count[figure]:,}: it has no budget", failed=True))
            continue
        allowed = budget["paths"][name][figure]
        percent = 100 * (count[figure] / allowed - 1)
        text = f"{count[figure]:>9,} {percent:+5.1f} % of {allowed:,}"
        failed = 100 * count[figure] > (100 + TOLERANCE_PERCENT) * allowed
        if failed:
            dump = f"{dumps}/{dump_of(name)}"
            text += f"\n          more than {TOLERANCE_PERCENT} % above its budget; where they go: {_LOOK.format(dump)}"
        elif percent < -TOLERANCE_PERCENT:
            text += "; the budget may be lowered"
        verdicts.append(Verdict(name, text, failed))
    verdicts += [Verdict(name, "has a budget but was not counted", failed=True) for name in budget["paths"] if name not in counts]
    return verdicts


def dump_of(name: str) -> str:
    return {"SSE event": "long_stream"}.get(name, name.replace(" ", "_")) + ".out"


def read() -> dict:
    return json.loads(BUDGET.read_text()) if BUDGET.exists() else {}


def write(budgets: Mapping) -> None:
    BUDGET.write_text(json.dumps(budgets, indent=2, sort_keys=True) + "\n")
