"""A history checker for conversations: clients, a model and tool servers that remember, faults by seed, and the rules.

A World is one gateway with one store, three tool servers and a model. It goes through scenarios. The seed of a
scenario decides which faults come, in which order and for how long, what is said, which tools the model wants and what
they do, and which answers of the model fail; when exactly all this meets is the machine's. Each has conversations of its
own, which are held against the rules (history_rules.py) when its faults have healed; at the end all are read once more.
"""

from __future__ import annotations

import random
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from .configs import agent, config
from .gateway import Gateway
from .history_client import KEYS, Clients, read_path
from .history_faults import Fault, Ground
from .history_model import PROBE, SERVERS, WIRE, Message, Model, working_servers
from .history_rules import Said, Seen, conversation, ledger, violations
from .history_tools import Entry, Tools
from .postgres import free_port

WRITERS = 8
HEALED_S = 20.0  # until all tools work again


@dataclass
class Step:
    """A fault, how long it lasts, and how long nothing happens after it."""

    name: str
    fault: Fault
    hold: float
    pause: float

    def run(self) -> None:
        self.fault(self.hold)
        time.sleep(self.pause)


@dataclass
class Report:
    """Of one scenario."""

    seed: int
    faults: list[str]
    messages: int = 0
    calls: int = 0  # of tools, that the model made
    seconds: float = 0.0
    violations: list[str] = field(default_factory=list)

    def __str__(self) -> str:
        return (f"seed {self.seed}: {', '.join(self.faults)}; {self.messages} messages, {self.calls} tool calls, "
                f"{len(self.violations)} violations, {self.seconds:.1f} s")  # fmt: skip


class World:
    """`twice`: the tools do everything twice, which the rules must see."""

    def __init__(self, folder: Path, store: str, twice: bool = False) -> None:
        self.store = store
        self.model = Model()
        self.tools = Tools(folder, twice)
        self.ground = Ground(store)
        self.gateway = self.ground.gateway = Gateway(
            folder / "gateway",
            config(agent("chat", "p", history="server", allowed_mcp_servers=None),
                   p=WIRE.provider(self.model.upstream.url, max_retries=2)),
            mcp=self.tools.mcp,
            keys=KEYS,
            env={"DATABASE_URL": self.ground.proxy.dsn} if self.ground.proxy else {},
            data=self.ground.disk.path,
            bind=("--host", "127.0.0.1", "--port", str(free_port())),
        )  # fmt: skip
        self.gateway.start()
        self.faults: Counter[str] = Counter()
        self.troubles: Counter[str] = Counter()  # of the clients' requests that were not answered
        self.said: list[Said] = []
        self.ledger: list[Entry] = []
        self._begun = time.monotonic()

    # ---- a scenario

    def draw(self, seed: int) -> tuple[list[Step], list[Step]]:
        """What happens to the gateway and its store, and what to the tools and the model meanwhile."""
        choose = random.Random(f"scenario {seed}")
        self.model.failing = choose.choice([0.05, 0.1, 0.1, 0.3])
        below, beside = choose.choice([(1, 1), (1, 1), (2, 1), (1, 2), (2, 2), (0, 2), (1, 0)])

        def steps(draw, count: int) -> list[Step]:
            drawn = [draw(choose) for _ in range(count)]
            return [Step(*one, choose.uniform(0.02, 0.5), choose.uniform(0.02, 0.2)) for one in drawn]

        return steps(self.ground.draw, below), steps(self._draw_beside, beside)

    def _draw_beside(self, choose: random.Random) -> tuple[str, Fault]:
        return self.model.draw(choose) if choose.random() < 0.2 else self.tools.draw(choose)

    def scenario(self, seed: int) -> Report:
        begun, calls = time.monotonic(), self._calls()
        below, beside = self.draw(seed)
        names = [step.name for step in below + beside]
        self.faults.update(names)
        clients = Clients(seed, lambda: self.gateway.address[1])
        clients.start(WRITERS)
        try:
            time.sleep(0.1)
            with ThreadPoolExecutor(1) as pool:
                other = pool.submit(lambda: [step.run() for step in beside])
                for step in below:
                    step.run()
                other.result()  # raises what the faults have raised
            time.sleep(0.1)
        finally:
            clients.stop()
        found = clients.broken + self._healed(clients)
        found += violations(self._seen(clients))
        self.model.forget()
        for said in clients.said:
            self.troubles.update(attempt.trouble for attempt in said.attempts if attempt.trouble)
            said.attempts.clear()
        self.said += clients.said
        return Report(seed, names, len(clients.said), self._calls() - calls, time.monotonic() - begun, found)

    def _healed(self, clients: Clients) -> list[str]:
        """I7 of the tools: questions that want every one of them, until all have worked for one."""
        choose = random.Random(f"probe {clients.seed}")
        end = time.monotonic() + HEALED_S
        for count in range(10_000):
            said = clients.say(choose, PROBE, count)
            worked = working_servers(self.model.answers, min(said.answers)) if said.answers else set()
            if worked == set(SERVERS):
                return []
            if time.monotonic() > end:
                return [f"I7: after {HEALED_S} s only the tools of {worked} work, seen by {said.token}"]
            time.sleep(0.1)
        raise AssertionError("not to be reached")

    def _seen(self, clients: Clients) -> Seen:
        places = sorted({(said.key, said.session) for said in clients.said})
        stored = {place: [Message.of(m) for m in read_path(self.gateway.address[1], *place)] for place in places}
        news = self.tools.news()  # after all else: a result that was told is there
        self.ledger += news
        return Seen(clients.said, self.model.answers, news, stored)

    # ---- the end

    def check(self) -> list[str]:
        """Reads all conversations once more, and looks for calls that ran after their scenario."""
        self.ledger += self.tools.news()
        whole = Seen(self.said, self.model.answers, self.ledger, {})
        found = ledger(whole)
        by_place: dict[tuple[int, str], list[Said]] = {}
        for said in self.said:
            by_place.setdefault((said.key, said.session), []).append(said)
        for place, said in by_place.items():
            path = [Message.of(message) for message in read_path(self.gateway.address[1], *place)]
            found += conversation(Seen(said, self.model.answers, [], {place: path}), *place)
        return found

    def _calls(self) -> int:
        return sum(len(answer.calls) for answer in self.model.answers if not answer.failed)

    def told(self) -> str:
        answered = sum(1 for said in self.said if said.answers)
        count = Counter(entry.event for entry in self.ledger)
        return (
            f"{self.store}: {len(self.said)} messages, {answered} acknowledged, "
            f"{self.troubles.total()} requests failed ({_list(self.troubles)}); {len(self.model.answers)} model calls, "
            f"{self.model.failures.total()} failed ({_list(self.model.failures)}); {self._calls()} tool calls, "
            f"{count['got']} reached a tool, {count['did']} effects; {self.faults.total()} faults: {_list(self.faults)}; "
            f"{time.monotonic() - self._begun:.0f} s"
        )

    def close(self) -> None:
        try:
            self.gateway.stop()
        finally:
            self.tools.close()
            self.ground.close()
            self.model.upstream.stop()


def _list(counts: Counter[str]) -> str:
    return ", ".join(f"{name} {count}" for name, count in sorted(counts.items()) if count)
