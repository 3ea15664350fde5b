"""One request after the other: memory, unary requests, first tokens, tool rounds."""

import time

from ..bodies import SHORT_ANSWER, chat_body
from .base import Row, Scenario


class Memory(Scenario):
    """Of a fresh process: before its first request, and while 1,000 clients read a stream. Runs first for that."""

    name = "memory"
    rows = (
        Row("start_ms", "start to ready", "ms"),
        Row("idle_mb", "resident, idle", "MB"),
        Row("streams_mb", "resident, 1,000 live streams", "MB"),
    )
    streams, events, interval_ms, ramp_s = 1000, 30, 100, 1.0

    def run(self, lab, contender, direct):
        if not contender.process:
            return {}
        lab.settle()
        idle_mb = contender.process.rss_mb()
        directive = f"events={self.events} interval_ms={self.interval_ms}"
        body = lab.body_file("memory", chat_body(300, stream=True, directive=directive))
        load = lab.start_load(
            contender,
            body,
            stream=True,
            events=self.events,
            connections=self.streams,
            requests=self.streams,
            ramp_s=self.ramp_s,
            duration_s=self.ramp_s + 1,
        )
        # All streams live from the end of the ramp until the first of them ends, events * interval after its start.
        time.sleep(self.ramp_s + 0.6)
        samples = []
        for _ in range(5):
            samples.append(contender.process.rss_mb())
            time.sleep(0.15)
        lab.finish_load(load, contender, "1,000 live streams")
        return {"start_ms": contender.ready_s * 1000, "idle_mb": idle_mb, "streams_mb": max(samples)}


class Unary(Scenario):
    """Answers in one piece, as fast as 32 connections can ask."""

    connections = 32

    def __init__(self, label, size_bytes):
        self.name = f"unary_{label.replace(' ', '').lower()}"
        self._what = f"{label} body"
        self._size_bytes = size_bytes
        self.rows = (
            Row("cpu_us", f"CPU per request, {label} body", "us"),
            Row("rps", f"requests per second, {label} body", "1/s", 0),
            Row("mock_cpu_us", f"CPU of the mock per request, {label} body", "us", ratio=False),
        )

    def run(self, lab, contender, direct):
        body = lab.body_file(self.name, chat_body(self._size_bytes, directive=SHORT_ANSWER))
        lab.measure(contender, self._what, body, connections=self.connections, duration_s=lab.seconds(0.4))
        load = lab.measure(contender, self._what, body, connections=self.connections, duration_s=lab.seconds(2.0))
        figures = {
            "rps": load["rps"],
            "mock_cpu_us": load["mock_cpu_us"] / load["requests"],
            "latency_p50_us": load["latency_us"]["p50"],
            "latency_p99_us": load["latency_us"]["p99"],
        }
        if contender.process:
            figures["cpu_us"] = load["cpu_us"] / load["requests"]
        return figures


class FirstToken(Scenario):
    """Streams at a constant rate, half of what the gateway's core can carry, timed from when each was due."""

    name = "first_token"
    rows = (
        Row("added_p50_ms", "added first-token time, p50", "ms", 3, ratio=False),
        Row("added_p99_ms", "added first-token time, p99", "ms", 3, ratio=False),
        Row("rate", "  at this rate of streams (half of saturation)", "1/s", 0),
        Row("core_percent", "  which takes of its core", "%", 0, ratio=False),
    )
    events, interval_ms = 10, 20
    probe_streams = 400

    def run(self, lab, contender, direct):
        if not contender.process:
            return {}
        directive = f"events={self.events} interval_ms={self.interval_ms}"
        body = lab.body_file(self.name, chat_body(1024, stream=True, directive=directive))
        options = {"stream": True, "events": self.events}
        probe = lab.measure(
            contender,
            "saturation",
            body,
            connections=self.probe_streams,
            ramp_s=0.2,
            duration_s=lab.seconds(1.5),
            **options,
        )
        rate = 0.5e6 / (probe["cpu_us"] / probe["requests"])
        # Room for twice the streams that are under way on average: a stall queues at the gateway, not here.
        connections = max(64, round(2 * rate * self.events * self.interval_ms / 1000))
        options.update(rate=f"{rate:.1f}", connections=connections)
        base = lab.measure(direct, "first token", body, duration_s=lab.seconds(2.0), **options)
        load = lab.measure(contender, "first token", body, duration_s=lab.seconds(3.0), **options)
        figures = {
            "rate": rate,
            "core_percent": 100 * load["core_share"],
            "generator_late_p99_ms": load["send_lag_us"]["p99"] / 1000,
            "backlog_max": load["backlog_max"],
        }
        for quantile in ("p50", "p99"):
            direct_ms, through_ms = (run["first_event_us"][quantile] / 1000 for run in (base, load))
            figures[f"direct_{quantile}_ms"] = direct_ms
            figures[f"added_{quantile}_ms"] = through_ms - direct_ms
        return figures


class ToolRound(Scenario):
    """One client whose agent calls a tool eight times before it answers, against the same answer without tools.

    What a round adds = one more call of the model, one call of the tool, and the gateway's own part. The first two are
    measured without a gateway just before; what is left is the overhead.
    """

    rounds = 8

    def __init__(self, transport):
        self.name = f"tool_{transport}"
        self._transport = transport
        self.rows = (
            Row("direct_us", f"tool call over {transport}, direct client, p50", "us"),
            Row("round_us", f"tool round over {transport}: model call and tool call, p50", "us"),
            Row("overhead_us", "  added by the gateway", "us", ratio=False),
            Row("cpu_us", "  CPU of the gateway", "us"),
        )

    def run(self, lab, contender, direct):
        if not contender.runs_tools:
            return {}
        model = f"bench-{self._transport}"
        with_tools = f"{SHORT_ANSWER} tool={self._transport}__echo tool_rounds={self.rounds}"
        bodies = {
            "plain": lab.body_file(f"{self.name}_plain", chat_body(300, model=model, directive=SHORT_ANSWER)),
            "rounds": lab.body_file(self.name, chat_body(300, model=model, directive=with_tools)),
        }
        what = f"tool rounds over {self._transport}"
        lab.measure(contender, what, bodies["rounds"], connections=1, requests=20, duration_s=5)
        tool_us = lab.time_tool_calls(self._transport)
        model_us = self._latency(lab.measure(direct, what, bodies["plain"], connections=1, duration_s=lab.seconds(0.5)))
        loads = {
            name: lab.measure(contender, what, body, connections=1, duration_s=lab.seconds(2.0))
            for name, body in bodies.items()
        }
        latency, cpu = (
            {name: measure(load) for name, load in loads.items()}
            for measure in (self._latency, lambda load: load["cpu_us"] / load["requests"])
        )
        round_us = (latency["rounds"] - latency["plain"]) / self.rounds
        return {
            "direct_us": tool_us,
            "model_us": model_us,
            "round_us": round_us,
            "overhead_us": round_us - tool_us - model_us,
            "cpu_us": (cpu["rounds"] - cpu["plain"]) / self.rounds,
        }

    @staticmethod
    def _latency(load):
        return load["latency_us"]["p50"]
