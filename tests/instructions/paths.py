"""The hot paths that have a budget, and how each is counted: exchanges in lockstep between two moments, less what the
gateway's clocks did meanwhile."""

from __future__ import annotations

import statistics
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[2] / "bench"))
from harness.bodies import chat_body  # noqa: E402

from counted import CountedGateway, Counts, CountError  # noqa: E402
from lockstep import Client, Model, Sleeper  # noqa: E402

KEY = "sk-counted-0123456789abcdef0123456789abcdef"
IDLE_S = 1.5
# What a gateway does by the wall clock, on each loop every 50 ms: a busy machine sees more of it per request. Its price
# is taken from an idle gateway, per call of this function, and subtracted. That is right within a third: a tick that
# finds the loop awake is cheaper. So a sample in which the clock had more than this share says nothing.
CLOCK = "parley::net::Loop::sweep()"
CLOCK_SHARE_MAX = 0.05
SAMPLES_MAX = 4  # times as many as asked for, to find calm ones …
TIME_MAX_S = 40.0  # … but after so long one of each path must do
SHORT_EVENTS, LONG_EVENTS = 2, 102  # an event's price is the difference of two streams


@dataclass
class Count:
    """What one exchange costs: everything, and the part that is executed in the program's own code."""

    total: float
    own: float
    clock_share: float = 0.0  # of all that was executed, before it was subtracted

    @property
    def calm(self) -> bool:
        return self.clock_share <= CLOCK_SHARE_MAX


@dataclass
class HotPath:
    """One row of the budget. `per` says what `exchange` is divided by."""

    name: str
    what: str
    exchange: Callable[[Client], None]
    warm_up: int
    times: int


def _unary(size: int) -> Callable[[Client], None]:
    body = chat_body(size, model="counted")
    return lambda client: client.unary(KEY, body)


def _stream(events: int) -> Callable[[Client], None]:
    body = chat_body(1024, stream=True, directive=f"events={events}", model="counted")
    return lambda client: client.stream(KEY, body, events)


MEASURED = (
    HotPath("unary 0.3 KB", "a request with a body of 300 bytes", _unary(300), 40, 60),
    HotPath("unary 10 KB", "… of 10,240 bytes", _unary(10_240), 20, 40),
    HotPath("unary 100 KB", "… of 102,400 bytes", _unary(102_400), 10, 15),
    HotPath("stream", f"a stream of {SHORT_EVENTS} events", _stream(SHORT_EVENTS), 10, 20),
    HotPath("long stream", f"a stream of {LONG_EVENTS} events", _stream(LONG_EVENTS), 1, 2),
)


def _config(port: int) -> dict[str, object]:
    provider = {"type": "openai", "base_url": f"http://127.0.0.1:{port}/v1", "api_key": "counted"}
    prompt = "You are a helpful assistant. Answer in short sentences and say what you do not know."
    agent = {"agent_id": "counted", "provider": "model", "model": "counted-model", "system_prompt": prompt}
    agent |= {"allowed_regular_tools": [], "allowed_mcp_servers": {}}
    return {"version": "1", "providers": {"model": provider}, "agents": [agent]}


class Counter:
    """One gateway, its model and its client; counts a path whenever asked."""

    def __init__(self, binary: Path, folder: Path, dumps: Path):
        self._binary, self._dumps, self._until = binary, dumps, 0.0
        model = Model()
        self.gateway = CountedGateway(binary, folder, _config(model.port), (KEY,))
        sleeper = Sleeper(self.gateway.pid)
        model.sleeper = sleeper
        self._client = Client(self.gateway.port, model, sleeper)

    def _between(self, name: str, act: Callable[[], None]) -> Counts:
        self.gateway.zero()
        act()
        return self.gateway.dump(self._dumps / f"{name.replace(' ', '_')}.out")

    def _count(self, counts: Counts) -> Count:
        own = sum(count for place, count in counts.by_object.items() if Path(place).name == self._binary.name)
        return Count(counts.all, own)

    def _price_of_clock(self) -> Count:
        counts = self._between("idle", lambda: time.sleep(IDLE_S))
        ticks = counts.calls.get(CLOCK, 0)
        if ticks < 10:
            raise CountError(f"An idle gateway called {CLOCK} {ticks} times in {IDLE_S} s; see CLOCK in {__file__}.")
        idle = self._count(counts)
        return Count(idle.total / ticks, idle.own / ticks)

    def run(self, samples: int) -> dict[str, list[Count]]:
        """Every path `samples` times; the samples of a path follow each other."""
        for path in MEASURED:  # before counting: caches, pools and the store are warm, and it runs five times as fast
            self._repeat(path, path.warm_up)
        self.gateway.start_counting()
        self._repeat(MEASURED[0], 3)
        clock = self._price_of_clock()
        self._until = time.monotonic() + TIME_MAX_S
        found = {path.name: self._samples(path, clock, samples) for path in MEASURED}
        return _with_event(found)

    def _samples(self, path: HotPath, clock: Count, wanted: int) -> list[Count]:
        """`wanted` calm ones, or all there were."""
        found: list[Count] = []
        while sum(one.calm for one in found) < wanted and len(found) < wanted * SAMPLES_MAX:
            if found and time.monotonic() > self._until:
                break
            counts = self._between(path.name, lambda: self._repeat(path, path.times))
            ticks, all_ = counts.calls.get(CLOCK, 0), self._count(counts)
            total, own = all_.total - ticks * clock.total, all_.own - ticks * clock.own
            found.append(Count(total / path.times, own / path.times, 1 - total / all_.total))
        return [one for one in found if one.calm] or found

    def _repeat(self, path: HotPath, times: int) -> None:
        for _ in range(times):
            path.exchange(self._client)


def _with_event(found: dict[str, list[Count]]) -> dict[str, list[Count]]:
    """The long stream becomes the price of one event more."""
    more = LONG_EVENTS - SHORT_EVENTS
    short = median(found["stream"])
    long = found.pop("long stream")
    found["SSE event"] = [
        Count((one.total - short.total) / more, (one.own - short.own) / more, one.clock_share) for one in long
    ]
    return found


def median(counts: list[Count]) -> Count:
    return Count(statistics.median(one.total for one in counts), statistics.median(one.own for one in counts))


def spread_percent(counts: list[Count]) -> float:
    totals = [one.total for one in counts]
    return 100 * (max(totals) - min(totals)) / statistics.median(totals)
