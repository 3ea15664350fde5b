"""A short run of the history checker (harness/history.py); tests/chaos/run is the long one."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from harness.gateway import SLOW
from harness.history import World

FAULTS = 8 if SLOW else 15


def violations(folder: Path, seed: int, store: str) -> list[str]:
    world = World(folder, seed, store)
    try:
        world.run(FAULTS)
        found = world.check()
        print(world.told())
        if found:
            print(world.gateway.output[-200_000:])
    finally:
        world.close()
    return found


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_nothing_acknowledged_is_lost_doubled_or_reordered(tmp_path: Path, store: str) -> None:
    seed = int(os.environ.get("PARLEY_SEED", 0)) or random.SystemRandom().randrange(1, 1_000_000)
    found = violations(tmp_path / "one", seed, store)
    # Time alone may be the machine's fault, once.
    if found and all(one.startswith("I7") for one in found):
        print("\n".join(found))
        found = violations(tmp_path / "two", seed, store)
    assert not found, f"PARLEY_SEED={seed}: {len(found)} violations\n" + "\n".join(found[:20])
