"""What a good client notices of the others: too many of them, some without a key, some with huge or unread bodies."""

import contextlib
import time

from ..bodies import SHORT_ANSWER, chat_body
from .base import Row, Scenario


class Overload(Scenario):
    """Three times as many requests as the gateway can answer, before a model that takes 20 ms.

    Bodies are large, so that the load generator, on one core with the mock, can send so many: it only writes them,
    the gateway reads, checks and writes them. How far it came is a row of its own. Goodput are the answers with 200
    that came while the load lasted. Times count from when a request was due, not from when a connection was free.

    With `requests_max`, a server of its own takes no more than that many at once, and what it can answer is what as many
    connections get. Without, what it can answer is what its core gives.
    """

    rounds_max = 2
    body_bytes = 60_000
    connections = 2000
    factor = 3

    def __init__(self, requests_max=0):
        self._requests_max = requests_max
        self.name = "overload_limited" if requests_max else "overload"
        what = f"{requests_max} at once" if requests_max else "no limit"
        of = f"  {self.factor}x of that, {what}:"
        self.rows = (
            Row("capacity", f"requests per second at most, 60 KB body, model takes 20 ms, {what}", "1/s", 0),
            Row("offered", f"{of} offered", "x", 2, ratio=False),
            Row("goodput_percent", f"{of} answered with 200, of the most", "%", 0, ratio=False),
            Row("accepted_p99_ms", f"{of} those took, p99", "ms", 0, ratio=False),
            Row("refused_percent", f"{of} refused (429, 503), of those sent", "%", 0, ratio=False),
            Row("refusal_p50_ms", f"{of} a refusal took, from when due, p50", "ms", 2, ratio=False),
            Row("refusal_p99_ms", f"{of} p99", "ms", 2, ratio=False),
            Row("refusal_sent_p99_ms", f"{of} p99 from when sent", "ms", 2, ratio=False),
            Row("late_p99_ms", f"{of} the load generator was late, p99", "ms", 2, ratio=False),
            Row("core_percent", f"{of} of its core in use", "%", 0, ratio=False),
        )

    def run(self, lab, contender, direct):
        if not contender.process:
            return {}
        if not self._requests_max:
            # The most it can do is not at the same number of connections for everyone.
            return self._overload(lab, contender, (256, 512))
        with lab.fresh(contender, requests_max=self._requests_max) as server:
            return self._overload(lab, server, (self._requests_max,)) if server else {}

    def _overload(self, lab, contender, at_connections):
        body = lab.body_file(self.name, chat_body(self.body_bytes, directive=f"{SHORT_ANSWER} delay_ms=20"))
        refusals = {"refusals": "429,503"}
        capacity = max(
            lab.measure(
                contender, "capacity", body, connections=connections, duration_s=lab.seconds(1.5), **refusals
            )["in_time"]
            / lab.seconds(1.5)
            for connections in at_connections
        )
        duration_s = lab.seconds(4.0)
        load = lab.measure(
            contender,
            self.name,
            body,
            rate=f"{self.factor * capacity:.1f}",
            connections=self.connections,
            settle_s=0.3,
            duration_s=duration_s,
            drain_s=20,
            drop_backlog=True,
            **refusals,
        )
        answered = load["requests"] + load["refused"]
        figures = {
            "capacity": capacity,
            "offered": (answered + load["errors"] + load["unsent"]) / duration_s / capacity,
            "goodput_percent": 100 * load["in_time"] / duration_s / capacity,
            "accepted_p99_ms": load["latency_us"]["p99"] / 1000,
            "refused_percent": 100 * load["refused"] / answered,
            "unsent": load["unsent"],
            "statuses": load["statuses"],
            "without_retry_after": load["refused_without_time"],
            "core_percent": 100 * load["core_share"],
            "late_p99_ms": load["send_lag_us"]["p99"] / 1000,
        }
        if load["refused"]:
            figures["refusal_p50_ms"] = load["refusal_us"]["p50"] / 1000
            figures["refusal_p99_ms"] = load["refusal_us"]["p99"] / 1000
            figures["refusal_sent_p99_ms"] = load["refusal_sent_us"]["p99"] / 1000
        return figures


class _BesideGoodClient(Scenario):
    """A client with small requests at a constant rate, timed alone and then beside something else."""

    rate = 300
    connections = 64

    def _good(self, lab, contender, seconds, others=()):
        body = lab.body_file(f"{self.name}_good", chat_body(300, directive=SHORT_ANSWER))
        load = lab.start_load(
            contender, body, rate=self.rate, connections=self.connections, duration_s=seconds, progress_s=1000
        )
        lab.wait_begun(load)
        used = lab.watch([contender], [load, *others], seconds)
        return lab.finish_load(load, contender, self.name), used


class KeyFlood(_BesideGoodClient):
    """Thousands of requests a second, each with another wrong key."""

    name = "key_flood"
    rounds_max = 2
    flood_rate = 5000
    rows = (
        Row("alone_p99_ms", "a good client's request, alone, p99", "ms", 2),
        Row("beside_p99_ms", "  beside 5,000 wrong keys a second, p99", "ms", 2),
        Row("cpu_us", "  CPU per refusal, as fast as they come", "us"),
        Row("refusal_p99_ms", "  a refusal took, p99", "ms", 2),
    )

    def run(self, lab, contender, direct):
        if not contender.process or not contender.headers:
            return {}  # without keys there are no wrong ones
        seconds = lab.seconds(2.5)
        alone, used_alone = self._good(lab, contender, seconds)
        body = lab.body_file(f"{self.name}_bad", chat_body(300, directive=SHORT_ANSWER))
        wrong = {"with_key": False, "numbered_header": "Authorization: Bearer sk-flood-", "refusals": "401,429"}
        most = lab.measure(contender, "wrong keys", body, connections=32, duration_s=lab.seconds(1.0), **wrong)
        options = {"rate": self.flood_rate, "connections": 64, "duration_s": seconds + 1, "progress_s": 1000}
        flood = lab.start_load(contender, body, **wrong, **options)
        lab.wait_begun(flood)
        beside, used_beside = self._good(lab, contender, seconds, [flood])
        refused = lab.finish_load(flood, contender, "wrong keys")
        return {
            "alone_p99_ms": alone["latency_us"]["p99"] / 1000,
            "beside_p99_ms": beside["latency_us"]["p99"] / 1000,
            "cpu_us": most["cpu_us"] / most["refused"],
            "beside_cpu_us": (used_beside["cpu_us"] - used_alone["cpu_us"]) / (self.flood_rate * used_beside["wall_s"]),
            "refusal_p99_ms": refused["refusal_us"]["p99"] / 1000,
            "statuses": refused["statuses"],
        }


class HeadOfLine(_BesideGoodClient):
    """Small requests beside ten bodies of 10 MB a second, and beside clients that read nothing of a large answer."""

    name = "head_of_line"
    rounds_max = 2
    stalled = 50
    huge_rate = 10
    rows = (
        Row("alone_p50_ms", "a small request, alone, p50", "ms", 2),
        Row("alone_p99_ms", "  p99", "ms", 2),
        Row("stalled_p99_ms", "  beside 50 readers that stall, p99", "ms", 2),
        Row("stalled_mb", "  memory that those take", "MB", 1),
        Row("beside_p50_ms", "  beside ten bodies of 10 MB a second, p50", "ms", 2),
        Row("beside_p99_ms", "  p99", "ms", 2),
    )

    def run(self, lab, contender, direct):
        if not contender.process:
            return {}
        seconds = lab.seconds(2.5)
        figures = {}
        self._keep(figures, "alone", self._good(lab, contender, seconds)[0])
        huge_answer = chat_body(300, stream=True, directive="events=4000 event_bytes=2000 interval_ms=0")
        before_mb = contender.process.rss_mb()
        options = {"stall": True, "stream": True, "connections": self.stalled, "duration_s": seconds + 2}
        with self._others(lab, contender, huge_answer, "stalled readers", options) as others:
            self._keep(figures, "stalled", self._good(lab, contender, seconds, others)[0])
            figures["stalled_mb"] = contender.process.rss_mb() - before_mb
        options = {"rate": self.huge_rate, "connections": 4, "duration_s": seconds + 1}
        with self._others(lab, contender, chat_body(10_000_000, directive=SHORT_ANSWER), "10 MB bodies", options) as others:
            self._keep(figures, "beside", self._good(lab, contender, seconds, others)[0])
        return figures

    @staticmethod
    def _keep(figures, when, load):
        for quantile in ("p50", "p99"):
            figures[f"{when}_{quantile}_ms"] = load["latency_us"][quantile] / 1000

    @staticmethod
    @contextlib.contextmanager
    def _others(lab, contender, content, what, options):
        body = lab.body_file(what.replace(" ", "_"), content)
        load = lab.start_load(contender, body, progress_s=1000, **options)
        lab.wait_begun(load)
        time.sleep(0.5)  # until stalled readers have what the sockets hold
        yield [load]
        lab.finish_load(load, contender, what)
