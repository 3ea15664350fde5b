"""A short run of the history checker (harness/history.py); tests/chaos/run is the long one."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from harness.gateway import SLOW
from harness.history import World

SCENARIOS = 4 if SLOW else 6


def violations(folder: Path, store: str, seeds: range, twice: bool = False) -> list[str]:
    world = World(folder, store, twice)
    found: list[str] = []
    try:
        for seed in seeds:
            report = world.scenario(seed)
            print(f"{store} {report}")
            found += report.violations
        found += world.check()
        print(world.told())
        if found and not twice:
            print(world.gateway.output[-200_000:])
    finally:
        world.close()
    return found


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_nothing_acknowledged_is_lost_doubled_or_reordered_and_no_tool_runs_twice(tmp_path: Path, store: str) -> None:
    seed = int(os.environ.get("PARLEY_SEED", 0)) or random.SystemRandom().randrange(1, 1_000_000_000)
    seeds = range(seed, seed + SCENARIOS)
    found = violations(tmp_path / "one", store, seeds)
    # Time alone may be the machine's fault, once.
    if found and all(one.startswith("I7") for one in found):
        print("\n".join(found))
        found = violations(tmp_path / "two", store, seeds)
    assert not found, f"PARLEY_SEED={seed}: {len(found)} violations\n" + "\n".join(found[:20])


def test_a_tool_that_does_everything_twice_is_found_out(tmp_path: Path) -> None:
    found = violations(tmp_path, "sqlite", range(2, 3), twice=True)
    assert found and all(one.startswith("T2") for one in found), found[:20]
