"""A short run of the history checker (harness/history.py); tests/chaos/run is the long one."""

from __future__ import annotations

import os
import random
from pathlib import Path

import pytest

from harness.gateway import SLOW
from harness.history import World

FAULTS = 8 if SLOW else 15


@pytest.mark.parametrize("store", ["sqlite", "postgres"])
def test_nothing_acknowledged_is_lost_doubled_or_reordered(tmp_path: Path, store: str) -> None:
    seed = int(os.environ.get("PARLEY_SEED", 0)) or random.SystemRandom().randrange(1, 1_000_000)
    world = World(tmp_path, seed, store)
    try:
        world.run(FAULTS)
        found = world.check()
        print(world.told())
        if found:
            print(world.gateway.output[-200_000:])
    finally:
        world.close()
    assert not found, f"PARLEY_SEED={seed}: {len(found)} violations\n" + "\n".join(found[:20])
