"""Backup and restore by the commands that docs/operations.md gives."""

from __future__ import annotations

import os
import subprocess
import uuid
from pathlib import Path

import pytest

from harness.api import call
from harness.configs import agent, config
from harness.gateway import Gateway
from harness.postgres import Postgres
from harness.talk import Model, Talk
from harness.wires import BY_NAME

WIRE = BY_NAME["openai"]
PAGE = Path(__file__).resolve().parents[2] / "docs" / "operations.md"


def commands() -> list[str]:
    """Those of the section, in its order: SQLite's backup, its restore in two, Postgres' backup and restore."""
    section = PAGE.read_text().split("### Backup and restore\n")[1].split("\n## ")[0]
    return [line[4:] for line in section.splitlines() if line.startswith("    ")]


def run(command: str, gateway: Gateway, **variables: str) -> None:
    done = subprocess.run(["sh", "-euc", command], cwd=gateway.folder, env={**os.environ, **variables},
                          capture_output=True, text=True, check=False)  # fmt: skip
    assert done.returncode == 0, (command, done.stderr)


@pytest.fixture(params=["sqlite", "postgres"])
def place(request):
    """(backup, restore, variables)"""
    found = commands()
    assert len(found) == 5, found
    if request.param == "sqlite":
        yield found[:1], found[1:3], {}
        return
    postgres = Postgres()
    yield found[3:4], found[4:], {"DATABASE_URL": postgres.dsn}
    postgres.close()


def test_what_was_backed_up_comes_back(start_gateway, upstream, place) -> None:
    backup, restore, variables = place
    model = Model(upstream)
    gateway = start_gateway(config(agent("keeps", "p"), p=WIRE.provider(upstream.url)), env=variables)
    chat = Talk(gateway, str(uuid.uuid4()), "keeps")
    chat.say("one")
    for command in backup:  # while it runs
        run(command, gateway, **variables)
    chat.say("two")
    assert call(gateway, "DELETE", f"/conversations/{chat.session}").status == 200
    gateway.stop()
    for command in restore:
        run(command, gateway, **variables)
    gateway.start()
    assert chat.path() == ["user: one", "assistant: a1"]
    chat.say("three")
    assert model.shown() == ["user: one", "assistant: a1", "user: three"]
