"""The database is away: who has no need of it serves on, who has says so at once, and all is well when it is back."""

from __future__ import annotations

import threading
import time
import uuid

import pytest

from harness import upstream as up
from harness.api import call, chat, chat_body, connect, request_bytes
from harness.configs import agent, config, demo_agent
from harness.gateway import SLACK, Gateway, StartFailed, run_cli, wait_until
from harness.postgres import Postgres
from harness.postgres_relay import ForgetfulRelay
from harness.talk import Model, Talk
from harness.wires import BY_NAME, TEXT

WIRE = BY_NAME["openai"]


@pytest.fixture
def postgres():
    server = Postgres()
    yield server
    server.close()


@pytest.fixture
def gateway(start_gateway, upstream, postgres) -> Gateway:
    agents = (agent("keeps", "p"), agent("forgets", "p", resources=[]))
    return start_gateway(config(*agents, p=WIRE.provider(upstream.url)), env={"DATABASE_URL": postgres.dsn})


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_an_outage(gateway: Gateway, postgres: Postgres, upstream, end: str) -> None:
    model = Model(upstream)
    talk = Talk(gateway, str(uuid.uuid4()), "keeps")
    talk.say("one")
    getattr(postgres, end)()
    chat(gateway, "keeps", "notices it", session_id="x")
    for _ in range(5):
        begun = time.monotonic()
        answer = talk.ask("two")
        took = time.monotonic() - begun
        assert (answer.status, answer.error["code"]) == (503, "store_unavailable"), answer.body
        assert int(answer.header("retry-after")) >= 1
        assert took < 0.05 * SLACK, f"{took:.3f} s"
    asked = model.asked
    assert chat(gateway, "forgets", session_id="x").status == 200
    assert chat(gateway, "keeps").status == 200, "a request that names no conversation needs no store"
    assert model.asked == asked + 2
    assert call(gateway, "GET", f"/conversations/{talk.session}").status == 503
    ready = call(gateway, "GET", "/readyz")
    assert (ready.status, ready.error["message"]) == (503, "The conversation store is not reachable.")
    assert call(gateway, "GET", "/livez").status == 200
    health = call(gateway, "GET", "/health?detailed=true").json()["store"]
    assert health["status"] == "unavailable" and health["reason"], health
    postgres.start()
    begun = time.monotonic()
    for _ in range(8):  # each loop has connections of its own
        wait_until(lambda: talk.ask("three").status == 200, timeout=2.0)
    assert time.monotonic() - begun < 2.0 * SLACK
    pages = [call(gateway, "GET", f"/conversations/{talk.session}") for _ in range(8)]
    page = next(one for one in pages if one.status == 200).json()  # a loop that nobody asked may still be connecting
    assert [message["content"] for message in page["messages"][:2]] == ["one", "a1"], "nothing is lost"
    wait_until(lambda: call(gateway, "GET", "/readyz").status == 200, timeout=2.0)


def test_a_store_that_is_away_at_the_start(start_gateway, postgres: Postgres) -> None:
    """Whether it holds keys is not known then, so anybody is let in only where that was asked for."""
    postgres.stop()
    gateway = start_gateway(config(demo_agent()), env={"DATABASE_URL": postgres.dsn}, args=("--allow-anonymous",))
    assert chat(gateway, "demo").status == 200
    assert chat(gateway, "demo", session_id="s").status == 503
    postgres.start()
    wait_until(lambda: chat(gateway, "demo", session_id="s").status == 200, timeout=2.0)


def test_an_answer_is_waited_for_that_is_being_written_when_its_client_leaves(
    gateway: Gateway, postgres: Postgres, upstream
) -> None:
    """Who asks again with its key gets this answer, and not a second one, of which the conversation can keep but one."""
    model = Model(upstream)
    talk = Talk(gateway, "s", "keeps")
    talk.say("one")

    def waits(kind: str) -> str:
        return f"SELECT count(*) FROM pg_stat_activity WHERE {kind}"

    may_answer = threading.Event()
    model.answers = [lambda exchange: may_answer.wait(20) and up.json_reply({**WIRE.answer})(exchange)]
    key = {"Idempotency-Key": "k"}
    client = connect(gateway)
    body = chat_body("keeps", "two", session_id="s")
    client.send(request_bytes(gateway, "POST", "/v1/chat/completions", body, key))
    wait_until(lambda: postgres.sql("SELECT count(*) FROM turns") == "3", what="the question in the store")
    lock = postgres.hog("BEGIN", "SELECT 1 FROM conversations FOR UPDATE")
    try:
        wait_until(lambda: postgres.sql(waits("wait_event = 'PgSleep'")) == "1", what="the lock")
        may_answer.set()
        wait_until(lambda: postgres.sql(waits("wait_event_type = 'Lock'")) == "1", what="the answer at the lock")
        client.reset()
        for _ in range(10):
            assert talk.ask("two", key).status == 409, "it is being answered"
            time.sleep(0.05)  # in which a gateway that has seen its client leave would give its key free
    finally:
        lock.kill()
        lock.wait()
    wait_until(lambda: talk.ask("two", key).status == 200, what="the answer")
    assert talk.say("two", key) == TEXT
    assert model.asked == 2
    assert talk.path() == ["user: one", "assistant: a1", "user: two", f"assistant: {TEXT}"]


@pytest.mark.parametrize("exchanges", [1, 2, 7])
def test_a_transaction_that_ends_without_its_answers(
    start_gateway, upstream, postgres: Postgres, exchanges: int
) -> None:
    relay = ForgetfulRelay(postgres.port)
    keeps = config(agent("keeps", "p"), p=WIRE.provider(upstream.url))
    gateway = start_gateway(keeps, env={"DATABASE_URL": relay.dsn})
    Model(upstream)
    talk = Talk(gateway, str(uuid.uuid4()), "keeps")
    talk.say("one")
    relay.forget(exchanges)
    wait_until(lambda: talk.ask("two").status == 200 and relay.forgotten == exchanges, timeout=10.0)
    talk.say("three")
    page = call(gateway, "GET", f"/conversations/{talk.session}").json()
    said = [message["content"] for message in page["messages"]]
    assert said[:2] == ["one", "a1"] and said[-2] == "three", said
    relay.close()


@pytest.mark.parametrize(
    ("variables", "said"),
    [
        ({"DATABASE_URL": "mysql://x"}, "DATABASE_URL: must be a postgresql:// URL"),
        ({"DATABASE_URL": "postgresql://u:hunter2%zz@h/x"}, "DATABASE_URL: it is not a connection string"),
        ({"MEMORY_CLEANUP_INTERVAL_HOURS": "0"}, "MEMORY_CLEANUP_INTERVAL_HOURS=0: must be"),
    ],
)
def test_a_store_that_is_none(start_gateway, variables, said: str) -> None:
    with pytest.raises(StartFailed) as failure:
        start_gateway(config(demo_agent()), env=variables)
    assert said in str(failure.value)
    assert "hunter2" not in str(failure.value)


def test_a_folder_that_cannot_be_written(start_gateway, tmp_path) -> None:
    (tmp_path / "gateway0").mkdir()
    (tmp_path / "gateway0" / "data").write_text("a file")
    with pytest.raises(StartFailed, match="Name a folder that can be written with --data"):
        start_gateway(config(demo_agent()))


def test_a_file_that_is_no_database(start_gateway, tmp_path) -> None:
    (tmp_path / "gateway0" / "data").mkdir(parents=True)
    (tmp_path / "gateway0" / "data" / "parley.db").write_text("a letter " * 1000)
    with pytest.raises(StartFailed, match="file is not a database. Put a backup in its place, or move it away") as failure:
        start_gateway(config(demo_agent()))
    assert "can be written" not in str(failure.value)
    assert (tmp_path / "gateway0" / "data" / "parley.db").read_text() == "a letter " * 1000


def test_a_user_that_may_make_no_tables(postgres: Postgres, tmp_path) -> None:
    postgres.sql("CREATE ROLE guest LOGIN PASSWORD 'guest'; REVOKE CREATE ON SCHEMA public FROM PUBLIC")
    dsn = f"postgresql://guest:guest@127.0.0.1:{postgres.port}/postgres"
    done = run_cli("migrate", cwd=tmp_path, env={"DATABASE_URL": dsn})
    assert done.returncode == 1 and "not reachable" not in done.stderr, done
    assert "cannot be used: " in done.stderr and "permission denied" in done.stderr and "needs CREATE" in done.stderr


def test_a_schema_that_is_newer(start_gateway, postgres: Postgres) -> None:
    postgres.sql("CREATE TABLE parley_schema (version BIGINT PRIMARY KEY); INSERT INTO parley_schema VALUES (99)")
    with pytest.raises(StartFailed, match="its schema has version 99, and this program knows"):
        start_gateway(config(demo_agent()), env={"DATABASE_URL": postgres.dsn})


@pytest.mark.parametrize("mode", ["verify-full", "require", "disable"])
def test_tls_as_the_dsn_says(start_gateway, authority, tmp_path, mode: str) -> None:
    """A server that takes TLS only, but for `disable`, which it refuses."""
    tls = authority.valid
    postgres = Postgres("ssl=on", tls=(tls.cert, tls.key))
    try:
        postgres.only_tls()
        dsn = f"{postgres.dsn.replace('127.0.0.1', 'localhost')}?sslmode={mode}&sslrootcert={authority.ca_file}"
        gateway = start_gateway(config(demo_agent()), env={"DATABASE_URL": dsn})
        answer = chat(gateway, "demo", session_id="s")
        assert answer.status == (503 if mode == "disable" else 200)
        if mode == "verify-full":  # and a certificate of somebody else is not believed
            wrong = dsn.replace("localhost", "127.0.0.1").replace(str(authority.ca_file), str(tls.key))
            other = start_gateway(config(demo_agent()), env={"DATABASE_URL": wrong})
            assert chat(other, "demo", session_id="s").status == 503
    finally:
        postgres.close()


def test_the_variables_of_the_original(start_gateway, postgres: Postgres) -> None:
    variables = {"POSTGRES_HOST": "127.0.0.1", "POSTGRES_PORT": str(postgres.port), "POSTGRES_USER": "parley",
                 "POSTGRES_PASSWORD": "it's \\ quoted", "POSTGRES_DB": "postgres"}  # fmt: skip
    gateway = start_gateway(config(demo_agent()), env=variables)
    assert chat(gateway, "demo", session_id="s").status == 200
    assert "it's" not in gateway.output
    assert call(gateway, "GET", "/health?detailed=true").json()["store"]["name"].startswith("Postgres ")
    assert postgres.sql("SELECT count(*) FROM turns") == "2"
