"""Two gateways on one Postgres: one of them goes, in order or not, and nobody who talks to both is hurt by it."""

from __future__ import annotations

import signal
import threading
import time
import uuid
from collections import defaultdict
from collections.abc import Iterator

import pytest

from harness import upstream as up
from harness.api import Stream, call, chat_body, connect, request_bytes
from harness.configs import agent, config, demo_agent
from harness.gateway import SLACK, Gateway, StartFailed, wait_until
from harness.postgres import Postgres
from harness.rawhttp import Closed, Connection
from harness.talk import Model, Talk, user
from harness.wires import BY_NAME, DONE, chunk, sse

WIRE = BY_NAME["openai"]
SHUTTING_DOWN = "Parley is shutting down and had to cut this answer off. Please ask again."
BEGUN = sse(chunk({"role": "assistant", "content": "re "}))


@pytest.fixture
def pair(start_gateway, upstream: up.FakeUpstream, postgres: Postgres):
    """pair(drain limit) -> the two gateways"""

    def make(drain_seconds: int = 30) -> tuple[Gateway, Gateway]:
        agents = (agent("keeps", "p", history="server"), agent("forgets", "p", resources=[]))
        configuration = config(*agents, p=WIRE.provider(upstream.url))
        env = {"DATABASE_URL": postgres.dsn, "PARLEY_DRAIN_SECONDS": str(drain_seconds)}
        return start_gateway(configuration, env=env), start_gateway(configuration, env=env)

    return make


class Echo:
    """A model that says "re" and the question. Holds its answers to "hold…" back, and knows what it was shown."""

    def __init__(self, upstream: up.FakeUpstream) -> None:
        self.shown: dict[str, list[str]] = {}
        self.released: dict[str, threading.Event] = defaultdict(threading.Event)
        upstream.on(self.script)

    def script(self, exchange: up.Exchange) -> None:
        request = exchange.request.json()
        texts = [message["content"] for message in request["messages"]]
        question = texts[-1]
        self.shown[question] = texts
        if not request.get("stream"):
            exchange.sleep(0.01)
            choice = {"index": 0, "message": {"role": "assistant", "content": f"re {question}"}, "finish_reason": "stop"}
            return up.json_reply({**WIRE.answer, "choices": [choice]})(exchange)
        exchange.head(200, [up.SSE])
        exchange.write(BEGUN)
        while question.startswith("hold") and not self.released[question].is_set():
            exchange.sleep(0.02)
        exchange.write(sse(chunk({"content": question})) + sse(chunk({}, "stop")) + DONE)
        exchange.end()


class Client:
    """Goes to the gateways in turn, and on to the next one only where a connection is refused. With `keeps_open` it
    uses a connection again, and says once more what it sent on one that was closed before it got a word (RFC 9112 9.3.1).
    """

    def __init__(self, gateways: tuple[Gateway, ...], number: int, *, keeps_open: bool = False) -> None:
        self.gateways = gateways
        self.turn = number
        self.keeps_open = keeps_open
        self.kept: tuple[Gateway, Connection] | None = None
        self.served: list[tuple[Gateway, float]] = []  # by whom, and when

    def ask(self, body: dict) -> str:
        """The answer. Whatever goes wrong is an error."""
        headers = {"Idempotency-Key": str(uuid.uuid4())}
        if self.kept:
            gateway, connection = self.kept
            self.kept = None
            try:
                return self._on(gateway, connection, body, headers)
            except (Closed, ConnectionError):
                connection.close()
                headers["X-Stainless-Retry-Count"] = "1"
        return self._on(*self._connect(), body, headers)

    def _connect(self) -> tuple[Gateway, Connection]:
        for _ in self.gateways:
            self.turn += 1
            gateway = self.gateways[self.turn % len(self.gateways)]
            try:
                return gateway, connect(gateway)
            except ConnectionRefusedError:
                pass
        raise AssertionError("nobody accepts connections")

    def _on(self, gateway: Gateway, connection: Connection, body: dict, headers: dict) -> str:
        if body.get("stream"):
            with Stream(gateway, body, headers, connection=connection) as running:
                text = running.read().check_complete().text
        else:
            connection.send(request_bytes(gateway, "POST", "/v1/chat/completions", body, headers))
            answer = connection.read_answer()
            assert answer.status == 200, (answer.status, answer.body)
            text = answer.json()["choices"][0]["message"]["content"]
            if self.keeps_open and (answer.header("connection") or "").lower() != "close":
                self.kept = (gateway, connection)
            else:
                connection.close()
        self.served.append((gateway, time.monotonic()))
        return text


class Load:
    """Clients that talk until they are told to stop: in conversations of their own, and with an agent that forgets."""

    TALKS, PLAIN = 8, 3

    def __init__(self, gateways: tuple[Gateway, ...]) -> None:
        self.clients = [Client(gateways, i, keeps_open=i < 3) for i in range(self.TALKS + self.PLAIN)]
        self.told: dict[str, list[str]] = {f"{uuid.uuid4()}": [] for _ in range(self.TALKS)}  # what was acknowledged
        self.broken: list[BaseException] = []
        self._stop = threading.Event()
        sessions: list[str | None] = [*self.told, *[None] * self.PLAIN]
        self._threads = [threading.Thread(target=self._run, args=pair) for pair in zip(self.clients, sessions, strict=True)]
        for thread in self._threads:
            thread.start()

    def _run(self, client: Client, session: str | None) -> None:
        count = 0
        try:
            while not self._stop.is_set():
                count += 1
                question = f"q{count} of {session}"
                keeps = {"session_id": session} if session else {}
                body = chat_body("keeps" if session else "forgets", question, stream=not session or count % 2 == 0, **keeps)
                answer = client.ask(body)
                assert answer == f"re {question}", answer
                if session:
                    self.told[session] += [question, answer]
        except BaseException as error:
            self.broken.append(error)

    def wait_answers(self, number: int, by: Gateway) -> None:
        """Until each client has so many more answers by this gateway."""
        since = time.monotonic()

        def enough(client: Client) -> bool:
            return sum(at > since and gateway is by for gateway, at in list(client.served)) >= number

        wait_until(lambda: self.broken or all(map(enough, self.clients)), timeout=15, what="the answers")
        assert not self.broken, self.broken

    def stop(self) -> None:
        self._stop.set()
        for thread in self._threads:
            thread.join(20)
        assert not self.broken, self.broken


def texts_of(talk: Talk) -> list[str]:
    return [message["content"] for message in talk.read()["messages"]]


def test_one_goes_under_load_and_the_other_goes_on(pair, upstream: up.FakeUpstream) -> None:
    one, other = pair()
    model = Echo(upstream)
    load = Load((one, other))
    sessions = {f"hold {i}": str(uuid.uuid4()) for i in range(6)}
    held = {question: Stream(one, chat_body("keeps", question, stream=True, session_id=session))
            for question, session in sessions.items()}  # fmt: skip
    try:
        for gateway in (one, other):
            load.wait_answers(2, gateway)
        wait_until(lambda: set(held) <= set(model.shown), what="the streams")
        with connect(one) as early:  # like the check of a balancer that has connected and not asked yet
            one.signal(signal.SIGTERM)
            assert one.wait_log(lambda log: log.get("event") == "draining")
            early.send(request_bytes(one, "GET", "/readyz"))
            ready = early.read_answer("GET")
        assert (ready.status, ready.error["code"]) == (503, "server_draining")
        assert int(ready.header("retry-after")) >= 1 and ready.header("connection") == "close"
        wait_until(lambda: refuses(one), timeout=1, what="the closed door")
        assert call(other, "GET", "/readyz").status == 200
        load.wait_answers(6, other)
        for question, running in held.items():
            one.check_alive()
            model.released[question].set()
            assert running.read().check_complete().text == f"re {question}"
            running.connection.close()
        began = time.monotonic()
        assert one.wait_exit(5 * SLACK) == 0
        assert time.monotonic() - began < 2.5 * SLACK, "nobody is left to wait for"
        load.wait_answers(3, other)
    finally:
        for question in held:
            model.released[question].set()
        load.stop()
    for session, told in load.told.items():
        assert texts_of(Talk(other, session)) == told, "nothing lost, doubled or out of order"
        for at in range(0, len(told), 2):
            assert model.shown[told[at]] == told[: at + 1], "and the model has seen it all"
    for question, session in sessions.items():
        assert texts_of(Talk(other, session)) == [question, f"re {question}"]


def test_who_connected_before_the_door_was_closed_is_answered(start_gateway) -> None:
    """Also where the connection was accepted and nobody had looked at it yet: to a balancer it is an open one."""
    for _ in range(3):
        gateway = start_gateway(config(demo_agent()), args=("--threads", "8"))
        early = [connect(gateway) for _ in range(64)]
        gateway.signal(signal.SIGTERM)
        for connection in early:
            connection.send(request_bytes(gateway, "GET", "/readyz"))
        lost = []
        for number, connection in enumerate(early):
            with connection:
                try:
                    assert connection.read_answer("GET").status in (200, 503)
                except Closed as error:
                    lost.append(f"connection {number}: {error}")
        assert gateway.wait_exit(5 * SLACK) == 0
        assert not lost


def refuses(gateway: Gateway) -> bool:
    try:
        connect(gateway).close()
    except ConnectionRefusedError:
        return True
    return False


@pytest.mark.parametrize("end", ["term", "kill"])
def test_a_conversation_goes_on_at_the_other(pair, upstream: up.FakeUpstream, end: str) -> None:
    one, other = pair()
    model = Model(upstream)
    talk = Talk(one, str(uuid.uuid4()), "keeps")
    for question in ("first", "second"):
        talk.say(question)
    Stream(one, chat_body("keeps", "third", stream=True, session_id=talk.session)).read().check_complete()
    if end == "kill":
        one.kill()
    else:
        one.stop()
    talk.gateway = other
    assert talk.say("fourth") == "a4"
    whole = [f"{role}: {text}" for question, answer in (("first", "a1"), ("second", "a2"), ("third", "a3"))
             for role, text in (("user", question), ("assistant", answer))]  # fmt: skip
    assert model.shown() == [*whole, "user: fourth"]
    assert talk.path() == [*whole, "user: fourth", "assistant: a4"]


def test_the_drain_limit_cuts_and_the_other_answers_the_repeat(pair, upstream: up.FakeUpstream) -> None:
    one, other = pair(drain_seconds=1)
    hold = up.pieces([BEGUN], then="hang")
    model = Model(upstream, answers=[hold, hold, up.hang_before_head])
    sessions = [str(uuid.uuid4()) for _ in range(2)]
    streams = [Stream(one, chat_body("keeps", "hello", stream=True, session_id=session)) for session in sessions]
    begun = [until(running, "re ") for running in streams]
    with connect(one) as plain:
        plain.send(request_bytes(one, "POST", "/v1/chat/completions", chat_body("forgets", "hello")))
        upstream.wait_request(3).wait_reached()
        began = time.monotonic()
        one.signal(signal.SIGTERM)
        for running, rest in zip(streams, begun, strict=True):
            with running:
                assert len(list(rest)) == 1, "one event, and the end"
                assert 0.9 < time.monotonic() - began < 2 * SLACK
                error = running.seen.check_failed()
                assert (running.seen.text, running.seen.truncated) == ("re ", False)
                assert (error["message"], error["code"]) == (SHUTTING_DOWN, "server_draining")
                assert error.get("should_retry") is not False, "nothing speaks against another attempt"
        answer = plain.read_answer()
    assert (answer.status, answer.error["code"], answer.error["message"]) == (503, "server_draining", SHUTTING_DOWN)
    assert int(answer.header("retry-after")) >= 1
    assert one.wait_exit(5 * SLACK) == 1, "1: it had to cut streams"
    for exchange in upstream.exchanges:
        exchange.wait_closed()
    for number, session in enumerate(sessions, 4):
        talk = Talk(other, session, "keeps")
        assert talk.path() == ["user: hello"]
        assert talk.say("hello", {"X-Stainless-Retry-Count": "1"}) == f"a{number}"
        assert talk.tree() == f"user: hello\n  assistant: a{number}*"
    assert model.shown() == ["user: hello"]


REPEATS = {
    "key": ({"Idempotency-Key": "again-and-again"}, {"Idempotency-Key": "again-and-again"}),
    "count": ({"X-Stainless-Retry-Count": "0"}, {"X-Stainless-Retry-Count": "1"}),
}


@pytest.mark.parametrize("repeat", REPEATS)
@pytest.mark.parametrize("moment", ["in mid-stream", "when the answer is stored"])
def test_kill_and_the_other_answers_the_repeat_once(pair, upstream: up.FakeUpstream, repeat: str, moment: str) -> None:
    one, other = pair()
    cut = moment == "in mid-stream"
    model = Model(upstream, answers=[up.pieces([BEGUN], then="hang")] if cut else [])
    first, again = REPEATS[repeat]
    talk = Talk(other, str(uuid.uuid4()), "keeps")
    body = chat_body("keeps", "hello", stream=True, session_id=talk.session)
    with Stream(one, body, first) as running:
        if cut:
            until(running, "re ")
        else:  # and the client has not read a byte of it
            wait_until(lambda: has_answer(talk), what="the answer in the store")
        one.kill()
    said = "a2" if cut else "a1"
    for _ in range(3):
        assert talk.say([user("hello")], again) == said
        with Stream(other, body, again) as running:
            seen = running.read()
            assert seen.answer.status == 200, seen.answer.body
            assert seen.check_complete().text == said
    assert talk.tree() == f"user: hello\n  assistant: {said}*"
    assert model.asked == (2 if cut else 1)
    assert talk.say("go on") == f"a{model.said}"
    assert model.shown() == ["user: hello", f"assistant: {said}", "user: go on"]


def test_who_runs_already_goes_on_with_the_schema_of_a_newer_version(
    pair, start_gateway, upstream: up.FakeUpstream, postgres: Postgres
) -> None:
    """A newer version has migrated, and the older ones are still to be replaced: also over new connections. One that
    starts now does not know what it would do."""
    one, _ = pair()
    Model(upstream)
    talk = Talk(one, str(uuid.uuid4()), "keeps")
    assert talk.say("first") == "a1"
    newer = int(postgres.sql("SELECT max(version) FROM parley_schema")) + 1
    postgres.sql(f"INSERT INTO parley_schema VALUES ({newer})")
    try:
        postgres.sql("SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
                     "WHERE pid <> pg_backend_pid() AND backend_type = 'client backend'")  # fmt: skip
        for number in range(8):  # each loop has connections of its own
            wait_until(lambda: talk.ask("on").status == 200, timeout=3, what=f"answer {number}")
        wait_until(lambda: call(one, "GET", "/readyz").status == 200, timeout=3, what="being ready")
        assert talk.path()[:2] == ["user: first", "assistant: a1"]
        with pytest.raises(StartFailed, match=f"its schema has version {newer}, and this program knows"):
            start_gateway(config(demo_agent()), env={"DATABASE_URL": postgres.dsn})
    finally:
        postgres.sql(f"DELETE FROM parley_schema WHERE version = {newer}")


def until(running: Stream, text: str) -> Iterator[dict | str]:
    """Reads up to there; what is to come is left."""
    events = iter(running)
    while running.seen is None or running.seen.text != text:
        next(events)
    return events


def has_answer(talk: Talk) -> bool:
    answer = call(talk.gateway, "GET", f"/conversations/{talk.session}")
    return answer.status == 200 and len(answer.json()["messages"]) == 2
