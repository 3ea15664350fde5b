"""Backup and restore by the commands that docs/operations.md gives."""

from __future__ import annotations

import os
import shutil
import signal
import sqlite3
import subprocess
import uuid
from pathlib import Path

import pytest

from harness.api import call
from harness.configs import agent, config
from harness.gateway import SLACK, Gateway, run_cli
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


def copied_alone(gateway: Gateway, folder: Path) -> sqlite3.Connection:
    """parley.db without what may stand beside it."""
    shutil.copy(gateway.folder / "data" / "parley.db", folder / "alone.db")
    return sqlite3.connect(folder / "alone.db")


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_what_has_ended_in_order_is_one_whole_file(start_gateway, upstream, tmp_path: Path, number: int) -> None:
    Model(upstream)
    gateway = start_gateway(config(agent("keeps", "p"), p=WIRE.provider(upstream.url)), args=("--threads", "2"))
    for name in ("a", "b", "c", "d"):
        Talk(gateway, name, "keeps").say("one")
    gateway.signal(number)
    assert gateway.wait_exit(10 * SLACK) == 0
    assert sorted(one.name for one in (gateway.folder / "data").glob("parley.db*")) == ["parley.db"]
    with copied_alone(gateway, tmp_path) as alone:
        assert alone.execute("SELECT count(*) FROM turns").fetchone() == (8,)
    alone.close()


def test_commands_leave_one_whole_file(tmp_path: Path) -> None:
    def parley(*words: str) -> subprocess.CompletedProcess[str]:
        done = run_cli(*words, cwd=tmp_path)
        assert done.returncode == 0, done
        assert [one.name for one in (tmp_path / "data").glob("parley.db*")] == ["parley.db"], words
        return done

    made = parley("keys", "create", "--name", "x", "--json").stdout
    identity = made.split('"id":"')[1].split('"')[0]
    for words in (("keys", "list"), ("keys", "rotate", identity), ("keys", "revoke", identity), ("audit", "verify"),
                  ("conversations", "list"), ("migrate",)):  # fmt: skip
        parley(*words)
    shutil.copy(tmp_path / "data" / "parley.db", tmp_path / "alone.db")
    with sqlite3.connect(tmp_path / "alone.db") as alone:
        assert alone.execute("SELECT count(*) FROM audit").fetchone() == (3,)
    alone.close()


def test_a_command_beside_a_gateway_takes_nothing_from_it(start_gateway, upstream) -> None:
    Model(upstream)
    gateway = start_gateway(config(agent("keeps", "p"), p=WIRE.provider(upstream.url)))
    chat = Talk(gateway, "a", "keeps")
    chat.say("one")
    assert run_cli("conversations", "list", "--data", "data", cwd=gateway.folder).returncode == 0
    chat.say("two")
    assert len(chat.path()) == 4
    gateway.restart()
    assert len(chat.path()) == 4
