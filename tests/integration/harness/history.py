"""A history checker for conversations: writers, a model that remembers what it was shown, faults by seed, and the rules.

Every message carries a token of its own, every answer too. After the faults have healed, the store is read and held
against what the clients were told:

  I1  what was acknowledged is there, once            I4  a model was shown all that had been acknowledged before
  I2  in the order in which it was acknowledged       I5  nothing of one key is seen under another
  I3  nothing is there that nobody said, or twice     I7  after the faults everything works again

The seed decides what the writers say and which faults come in which order; when exactly they meet is the machine's.
"""

from __future__ import annotations

import http.client
import json
import os
import random
import re
import signal
import subprocess
import tempfile
import threading
import time
from collections import Counter
from collections.abc import Callable
from dataclasses import dataclass, field
from pathlib import Path

from . import upstream as up
from .configs import agent, config
from .fault_proxy import FaultProxy
from .gateway import Gateway
from .postgres import Postgres, free_port
from .upstream import FakeUpstream
from .wires import BY_NAME, DONE, chunk, sse

WIRE = BY_NAME["openai"]
KEYS = tuple(f"key-{i}-0123456789abcdef" for i in range(4))
SESSIONS = 16  # of each key, with the same names: 64 conversations
WRITERS = 16
PATIENCE_S = 30.0  # for one message, with all its repetitions
ANSWER_S = 10.0  # for one attempt
FAULTY = 0.1  # of the model's answers


@dataclass
class Said:
    """One message of a client and what it was told."""

    key: int
    session: int
    token: str
    begun: float
    ended: float = 0.0
    answers: set[str] = field(default_factory=set)  # acknowledged; none: it is not known what became of it
    troubles: list[str] = field(default_factory=list)  # of each attempt that failed


class Model:
    """Answers with a fresh token and remembers what it was shown. Runs in this process."""

    def __init__(self) -> None:
        self.upstream = FakeUpstream()
        self.upstream.on(self._script)
        self.shown: dict[str, list[str]] = {}
        self.failures: Counter[str] = Counter()
        self._lock = threading.Lock()

    def _script(self, exchange: up.Exchange) -> None:
        request = exchange.request.json()
        exchange.upstream.exchanges.clear()  # a long run must not keep them
        shown = [message["content"] for message in request["messages"] if isinstance(message["content"], str)]
        with self._lock:
            token = f"r{len(self.shown)}"
            self.shown[token] = shown
        time.sleep(random.random() * 0.02)
        if random.random() < FAULTY:
            return self._fail(exchange, token, bool(request.get("stream")))
        if request.get("stream"):
            up.pieces([sse(chunk({"role": "assistant", "content": token[:1]})), sse(chunk({"content": token[1:]})),
                       sse(chunk({}, "stop")), DONE])(exchange)  # fmt: skip
            return
        choice = {"index": 0, "message": {"role": "assistant", "content": token}, "finish_reason": "stop"}
        up.json_reply({"id": "c", "object": "chat.completion", "created": 1, "model": "up", "choices": [choice]})(exchange)


    def _fail(self, exchange: up.Exchange, token: str, streaming: bool) -> None:
        """One of the ways in which providers fail; the gateway may ask again, and must keep nothing of this."""
        kind = random.choice(["500", "503", "429", "reset", "close", "garbage", "cut"])
        self.failures[kind] += 1
        if kind == "cut" and streaming:
            begun = sse(chunk({"role": "assistant", "content": token[:1]}))
            up.pieces([begun], then=random.choice(["reset", "fin"]))(exchange)
        elif kind in ("500", "503", "429"):
            wait = [("Retry-After-Ms", "20")] if random.random() < 0.5 else []
            up.json_reply({"error": {"message": "chaos"}}, int(kind), wait)(exchange)
        elif kind == "garbage":
            up.reply(b"<html>chaos</html>", 200, [("Content-Type", "text/html")])(exchange)
        else:
            (up.reset_before_head if kind == "reset" else up.close_before_head)(exchange)


class Tmpfs:
    """A small file system of its own, to be filled; without the right to mount there is none."""

    def __init__(self, megabytes: int) -> None:
        self.path = Path(tempfile.mkdtemp(prefix="parley-disk-"))
        self.path.chmod(0o777)
        done = subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={megabytes}m", "tmpfs", self.path],
                              capture_output=True, check=False)  # fmt: skip
        self.is_mounted = done.returncode == 0

    def fill(self) -> None:
        filler = os.open(self.path / "filler", os.O_WRONLY | os.O_CREAT, 0o600)
        try:
            while True:
                os.write(filler, b"x" * 65536)
        except OSError:
            os.close(filler)

    def free(self) -> None:
        (self.path / "filler").unlink(missing_ok=True)

    def close(self) -> None:
        if self.is_mounted:
            subprocess.run(["umount", "-l", self.path], check=False)
        self.path.rmdir()


class World:
    def __init__(self, folder: Path, seed: int, store: str) -> None:
        self.seed, self.store = seed, store
        self.random = random.Random(seed)
        self.model = Model()
        self.said: list[Said] = []
        self.faults: Counter[str] = Counter()
        self.timeline: list[tuple[str, float, float]] = []
        self.disk = Tmpfs(64 if store == "sqlite" else 192)
        self.postgres = Postgres("max_connections=14", folder=self.disk.path) if store == "postgres" else None
        self.proxy = FaultProxy(self.postgres.port) if self.postgres else None
        self.gateway = Gateway(
            folder / "gateway",
            config(agent("chat", "p", history="server"), p=WIRE.provider(self.model.upstream.url, max_retries=2)),
            keys=KEYS,
            env={"DATABASE_URL": self.proxy.dsn} if self.proxy else {},
            data=self.disk.path,
            bind=("--host", "127.0.0.1", "--port", str(free_port())),
        )
        self.gateway.start()
        self._stop = threading.Event()

    # ---- what the clients do

    def write(self, number: int) -> None:
        choose = random.Random(self.seed * 1000 + number)
        count = 0
        while not self._stop.is_set():
            count += 1
            said = Said(choose.randrange(len(KEYS)), choose.randrange(SESSIONS), f"t{number}-{count}", time.monotonic())
            self.said.append(said)
            streaming, twice = choose.random() < 0.3, choose.random() < 0.1
            other = threading.Thread(target=self._deliver, args=(said, streaming))
            if twice:  # a network that delivers twice
                other.start()
            self._deliver(said, streaming)
            if twice:
                other.join()
            said.ended = time.monotonic()
            time.sleep(choose.random() * 0.05)

    def _deliver(self, said: Said, streaming: bool) -> None:
        end = time.monotonic() + PATIENCE_S
        attempt = 0
        while time.monotonic() < end:
            answer = self._ask(said, streaming, attempt)
            if answer is not None:
                said.answers.add(answer)
                return
            attempt += 1
            time.sleep(0.05)

    def _ask(self, said: Said, streaming: bool, attempt: int) -> str | None:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.address[1], timeout=ANSWER_S)
        body = {"model": "chat", "stream": streaming, "session_id": f"s{said.session}",
                "messages": [{"role": "user", "content": said.token}]}  # fmt: skip
        headers = {"Authorization": f"Bearer {KEYS[said.key]}", "Content-Type": "application/json",
                   "Idempotency-Key": said.token, "X-Stainless-Retry-Count": str(attempt)}  # fmt: skip
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            said.troubles.append(type(error).__name__)
            return None
        finally:
            connection.close()
        # 429, 502 and 504 speak of the model, which fails and may be slow; 500 would be a bug.
        assert response.status in (200, 409, 429, 502, 503, 504), (response.status, data)
        if response.status != 200:
            said.troubles.append(str(response.status))
            return None
        if not streaming:
            return json.loads(data)["choices"][0]["message"]["content"]
        if not data.rstrip().endswith(b"[DONE]"):  # it says itself that it is not whole
            said.troubles.append("cut")
            return None
        events = [json.loads(line[6:]) for line in data.split(b"\n\n") if line.startswith(b"data: {")]
        return "".join(choice["delta"].get("content") or "" for event in events for choice in event["choices"])

    # ---- what happens to them

    def kinds(self) -> dict[str, Callable[[], None]]:
        kinds = {"kill gateway": self.kill_gateway, "stop gateway": self.stop_gateway}
        if self.disk.is_mounted:
            kinds["disk full"] = self.fill_disk
        if self.postgres:
            kinds |= {
                "kill postgres": self.kill_postgres,
                "kill one backend": self.kill_backend,
                "lost acknowledgement": lambda: self.through_proxy("mute"),
                "partition": lambda: self.through_proxy("silent"),
                "reset": lambda: self.proxy.reset(),
                "connections exhausted": self.exhaust,
            }
        return kinds

    def pause(self, least: float = 0.02, most: float = 0.5) -> None:
        time.sleep(self.random.uniform(least, most))

    def kill_gateway(self) -> None:
        self.gateway.restart()

    def stop_gateway(self) -> None:
        self.gateway.signal(signal.SIGSTOP)
        self.pause()
        self.gateway.signal(signal.SIGCONT)

    def fill_disk(self) -> None:
        self.disk.fill()
        self.pause()
        self.disk.free()
        if self.postgres:
            self.postgres.revive()

    def kill_postgres(self) -> None:
        self.postgres.kill()
        self.pause()
        self.postgres.start()

    def kill_backend(self) -> None:
        """kill -9 of one: Postgres then drops all sessions and recovers."""
        pids = self.postgres.sql("SELECT pid FROM pg_stat_activity WHERE backend_type = 'client backend' AND "
                                 "pid <> pg_backend_pid()", check=False).split()  # fmt: skip
        if pids:
            try:
                os.kill(int(self.random.choice(pids)), signal.SIGKILL)
            except ProcessLookupError:
                pass
            self.postgres.revive()

    def through_proxy(self, mode: str) -> None:
        self.proxy.set(mode)
        self.pause()
        self.proxy.set("pass")

    def exhaust(self) -> None:
        """Others take all connections, and ours are cut."""
        hogs = [self.postgres.hog() for _ in range(14)]
        self.proxy.reset()
        self.pause()
        for hog in hogs:
            hog.kill()
            hog.wait()

    # ---- the run

    def run(self, faults: int) -> None:
        writers = [threading.Thread(target=self._guarded, args=(i,)) for i in range(WRITERS)]
        self.broken: list[str] = []
        for writer in writers:
            writer.start()
        kinds = self.kinds()
        for _ in range(faults):
            name = self.random.choice(sorted(kinds))
            self.faults[name] += 1
            begun = time.monotonic()
            kinds[name]()
            self.timeline.append((name, begun, time.monotonic()))
            self.pause(0.05, 0.3)
        time.sleep(1)
        self._stop.set()
        for writer in writers:
            writer.join()

    def _guarded(self, number: int) -> None:
        try:
            self.write(number)
        except AssertionError as error:
            self.broken.append(f"writer {number}: {error}")

    def check(self) -> list[str]:
        found = list(self.broken)
        last = max(said.ended for said in self.said)
        for said in self.said:
            if not said.answers and last - said.begun > PATIENCE_S + 5:
                during = [f"{name} {end - begun:.1f} s" for name, begun, end in self.timeline
                          if end > said.begun and begun < said.begun + PATIENCE_S]  # fmt: skip
                found.append(f"I7: {said.token} was not answered within {PATIENCE_S} s, during: {', '.join(during)}; "
                             f"told: {dict(Counter(said.troubles))}")  # fmt: skip
        for key in range(len(KEYS)):
            for session in range(SESSIONS):
                found += self._check_one(key, session)
        return found

    def _read(self, key: int, session: int) -> list[tuple[str, str]]:
        connection = http.client.HTTPConnection("127.0.0.1", self.gateway.address[1], timeout=ANSWER_S)
        connection.request("GET", f"/conversations/s{session}", headers={"Authorization": f"Bearer {KEYS[key]}"})
        response = connection.getresponse()
        page = json.loads(response.read())
        connection.close()
        if response.status == 404:
            return []
        assert response.status == 200, page
        return [(message["role"], message["content"]) for message in page["messages"]]

    def _check_one(self, key: int, session: int) -> list[str]:
        where = f"key {key} session {session}"
        mine = {said.token: said for said in self.said if (said.key, said.session) == (key, session)}
        path = self._read(key, session)
        place: dict[str, int] = {}
        found = []
        for at, (role, text) in enumerate(path):
            if role == "user" and text in place:
                found.append(f"I3: {where}: {text} is there twice")
            if role == "user" and text not in mine:
                found.append(f"I5: {where}: {text} is not from here")
            place.setdefault(text, at)
        acknowledged = sorted((said for said in mine.values() if said.answers), key=lambda said: said.ended)
        for said in acknowledged:
            if said.token not in place:
                found.append(f"I1: {where}: {said.token} was acknowledged and is gone")
            elif (follows := path[place[said.token] + 1 : place[said.token] + 2]) != [("assistant", min(said.answers))]:
                found.append(f"I1: {where}: {said.token} was answered {said.answers}, and is followed by {follows}")
            if len(said.answers) > 1:
                found.append(f"I3: {where}: {said.token} was answered twice: {said.answers}")
        for earlier in acknowledged:
            for later in acknowledged:
                if earlier.ended < later.begun and place.get(earlier.token, 0) > place.get(later.token, 0):
                    found.append(f"I2: {where}: {earlier.token} was acknowledged before {later.token} was said")
        for said in acknowledged:
            found += self._check_shown(where, said, acknowledged, mine)
        return found

    def _check_shown(self, where: str, said: Said, acknowledged: list[Said], mine: dict[str, Said]) -> list[str]:
        found = []
        shown = self.model.shown[min(said.answers)]
        tokens = [text for text in shown if re.match(r"t\d", text)]
        if len(set(tokens)) != len(tokens):
            found.append(f"I4: {where}: the model was shown something twice for {said.token}: {tokens}")
        for text in tokens:
            if text not in mine:
                found.append(f"I5: {where}: the model was shown {text} for {said.token}")
        for earlier in acknowledged:
            if earlier.ended >= said.begun:
                break
            if earlier.token not in tokens or min(earlier.answers) not in shown:
                found.append(f"I4: {where}: the model was not shown {earlier.token}, {earlier.answers} for {said.token}")
        return found

    def told(self) -> str:
        answered = sum(1 for said in self.said if said.answers)
        faults = ", ".join(f"{name} {count}" for name, count in sorted(self.faults.items()))
        return (f"{self.store}, seed {self.seed}: {len(self.said)} messages, {answered} acknowledged, "
                f"{len(self.model.shown)} model calls, {sum(self.model.failures.values())} of them failed; {sum(self.faults.values())} faults: {faults}")  # fmt: skip

    def close(self) -> None:
        try:
            self.gateway.stop()
        finally:
            if self.proxy:
                self.proxy.close()
            if self.postgres:
                self.postgres.close()
            self.model.upstream.stop()
            self.disk.close()

