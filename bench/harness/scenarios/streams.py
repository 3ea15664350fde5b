"""Many streams at once: what an event costs, how late it comes, what a stream holds in memory."""

import contextlib
import time

from ..bodies import chat_body
from ..contenders import Bare
from .base import Row, Scenario


class Sse(Scenario):
    """200 paced streams: what one relayed event costs, and how much later it arrives than without a gateway."""

    name = "sse"
    rows = (
        Row("cpu_us", "CPU per SSE event, 200 streams", "us"),
        Row("added_p50_ms", "added delay per event, p50", "ms", 3, ratio=False),
        Row("added_p99_ms", "added delay per event, p99", "ms", 3, ratio=False),
    )
    streams, events, interval_ms = 200, 50, 10

    def run(self, lab, contender, direct):
        directive = f"events={self.events} interval_ms={self.interval_ms}"
        body = lab.body_file(self.name, chat_body(1024, stream=True, directive=directive))
        options = {"stream": True, "events": self.events, "connections": self.streams, "ramp_s": 0.5}
        if not contender.process:
            return {}
        base = lab.measure(direct, "SSE", body, duration_s=lab.seconds(2.0), **options)
        load = lab.measure(contender, "SSE", body, duration_s=lab.seconds(3.0), **options)
        figures = {"cpu_us": load["cpu_us"] / load["events"], "events_per_s": load["events"] / load["elapsed_s"]}
        for quantile in ("p50", "p99"):
            direct_ms, through_ms = (run["event_delay_us"][quantile] / 1000 for run in (base, load))
            figures[f"direct_{quantile}_ms"] = direct_ms
            figures[f"added_{quantile}_ms"] = through_ms - direct_ms
        return figures


class HeldStreams(Scenario):
    """Many streams live at once, in processes of the gateway that have all started for this.

    CPU, memory and delays are those of a window in which every stream is live: after the last has begun, before the
    first ends. Each gateway process has a mock upstream and a load generator of its own, so that none of them needs
    more descriptors than a process may have; all gateways share one core, all else the other.
    """

    window_s = 6.0
    starts_per_s = 2500
    sources = 8

    def __init__(self, streams, processes, interval_ms):
        self.name = f"streams_{streams}"
        self.ramp_s = streams / self.starts_per_s
        self.rounds_max = 2 if processes == 1 else 1
        self._streams, self._processes, self._interval_ms = streams, processes, interval_ms
        what = f"{streams:,} streams" + (f" in {processes} processes" if processes > 1 else "")
        self.rows = (
            Row("added_p50_ms", f"{what}: added delay per event, p50", "ms", 3, ratio=False),
            Row("added_p99_ms", "  p99", "ms", 3, ratio=False),
            Row("added_p999_ms", "  p99.9", "ms", 3, ratio=False),
            Row("core_percent", f"  CPU of a core, {1000 // interval_ms} event/s each", "%"),
            Row("cpu_us", "  CPU per event", "us"),
            Row("rss_kb", "  resident memory per stream", "KB"),
            Row("heap_kb", "  of it heap", "KB"),
            Row("lost", "  events lost", "", 0, ratio=False),
        )
        self._base = (None, None)  # round, delays without a gateway

    def run(self, lab, contender, direct):
        if not contender.process:
            return {}
        with contextlib.ExitStack() as stack:
            mocks, ports = stack.enter_context(lab.mocks([lab.load_core] * self._processes))
            each = self._streams // self._processes
            gateways = [stack.enter_context(lab.fresh(contender, port, streams_max=each)) for port in ports]
            if None in gateways:
                return {}
            if self._base[0] != lab.round:
                bare = [Bare(port) for port in ports]
                self._base = lab.round, self._hold(lab, bare, mocks)
            figures = self._hold(lab, gateways, mocks)
        for quantile in ("p50", "p99", "p999"):
            through_ms, direct_ms = figures.pop(quantile), self._base[1][quantile]
            figures[f"direct_{quantile}_ms"] = direct_ms
            figures[f"added_{quantile}_ms"] = through_ms - direct_ms
        return figures

    def _hold(self, lab, servers, mocks):
        """Figures of all streams through `servers`, by as many each."""
        each = self._streams // len(servers)
        window_s = lab.seconds(self.window_s)
        live_s = self.ramp_s + 0.5 + window_s + 1.0  # of the first stream; its last event comes as it ends
        events = int(live_s * 1000 / self._interval_ms) + 1
        directive = f"events={events} interval_ms={self._interval_ms}"
        body = lab.body_file(self.name, chat_body(1024, stream=True, directive=directive))
        measured = [server for server in servers if server.process]
        if measured:
            lab.settle()
        before = [(server.process.rss_mb(), server.process.heap_mb()) for server in measured]
        loads = []
        for server in servers:  # one after the other: the ramp of the last begins last
            load = lab.start_load(
                server, body, stream=True, events=events, connections=each, requests=each, sources=self.sources,
                ramp_s=self.ramp_s, duration_s=self.ramp_s + 1, drain_s=live_s + 10, progress_s=1000,
                window_from_s=self.ramp_s + 0.5, window_to_s=self.ramp_s + 0.5 + window_s,
            )  # fmt: skip
            lab.wait_begun(load)
            loads.append(load)
        time.sleep(self.ramp_s + 0.5)
        used = lab.watch(servers, loads, window_s, mocks)
        after = [(server.process.rss_mb(), server.process.heap_mb()) for server in measured]
        results = [lab.finish_load(load, server, self.name) for load, server in zip(loads, servers)]
        figures = {name: max(result["event_delay_us"][name] for result in results) / 1000 for name in ("p50", "p99", "p999")}
        figures["lost"] = sum(result["events_lost"] for result in results)
        if measured:
            events_in_window = self._streams * used["wall_s"] * 1000 / self._interval_ms
            grown = [sum(now) - sum(then) for now, then in zip(zip(*after), zip(*before))]
            figures.update(core_percent=100 * used["core_share"], cpu_us=used["cpu_us"] / events_in_window)
            figures.update(rss_kb=1000 * grown[0] / self._streams, heap_kb=1000 * grown[1] / self._streams)
        return figures
