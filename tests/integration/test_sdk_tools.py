"""The OpenAI SDK for Node reads answers of agents that run tools, however these are shown (tests in sdk/tools.test.mjs)."""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path

import pytest

from harness.configs import config, demo_agent
from harness.gateway import SLACK
from harness.mcp import stdio, wait_record
from test_sdk_node import KEY, SDK, node, parse_tap

MODES = ("quiet", "reasoning", "events")
NAMES = re.findall(r"^test\('([^']+)'", (SDK / "tools.test.mjs").read_text(), re.M)
NAMES += [
    f"{kind}, {mode}"
    for mode in MODES
    for kind in ("create", "stream", ".stream() helper", "client tool beside agent tools")
]


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("one")


@pytest.fixture(scope="module")
def results(start_module_gateway, folder: Path) -> dict[str, str]:
    agents = [demo_agent(mode, tool_progress=mode, model_settings={"demo_delay_ms": 0}) for mode in MODES]
    gateway = start_module_gateway(config(*agents), mcp={"one": stdio(folder)}, keys=(KEY,))
    env = {k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith("OPENAI_")}
    env |= {"PARLEY_URL": f"http://127.0.0.1:{gateway.address[1]}/v1", "PARLEY_KEY": KEY}
    done = subprocess.run(
        [node(), "--test", "--test-reporter=tap", "tools.test.mjs"],
        cwd=SDK,
        env=env,
        capture_output=True,
        text=True,
        timeout=120 * SLACK,
        check=False,
    )
    return parse_tap(done.stdout, done.stderr)


@pytest.mark.parametrize("name", NAMES)
def test_sdk(results: dict[str, str], name: str) -> None:
    assert name in results, list(results)
    assert results[name] == "", results[name]


def test_none_is_left_out(results: dict[str, str]) -> None:
    assert sorted(results) == sorted(NAMES)


def test_an_abort_reaches_the_server(results: dict[str, str], folder: Path) -> None:
    assert results["abort while a tool runs"] == ""
    wait_record(folder, "cancelled")
