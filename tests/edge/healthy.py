"""Clients that ask for a streamed answer again and again, and want all of it, soon."""

from __future__ import annotations

import threading
import time

from harness.api import Stream, chat, chat_body
from harness.gateway import Gateway
from report import Report, quantile

CLIENTS = 8
PAUSE_S = 0.02
FIRST_EVENT_S = 0.25  # sane on a machine that does other things too; alone it is a tenth of it
QUESTION = "/echo The whole answer, and soon."


class Healthy:
    """Every request has a connection of its own: being accepted counts too."""

    def __init__(self, gateway: Gateway, clients: int = CLIENTS) -> None:
        self.gateway = gateway
        self.first_s: list[float] = []  # from connecting to the first event of the stream
        self.problems: list[str] = []
        self._expected = chat(gateway, "demo", QUESTION).json()["choices"][0]["message"]["content"]
        self._end = threading.Event()
        self._threads = [threading.Thread(target=self._run, daemon=True) for _ in range(clients)]

    def __enter__(self) -> Healthy:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._end.set()
        for thread in self._threads:
            thread.join()

    def _run(self) -> None:
        while not self._end.is_set():
            began = time.monotonic()
            try:
                with Stream(self.gateway, chat_body("demo", QUESTION, stream=True), timeout=10.0) as running:
                    seen = running.read()
                    seen.check_complete()
                    assert seen.text == self._expected, seen.text
                    self.first_s.append(running.sent_at - began + seen.arrivals_s[0])
            except Exception as error:  # noqa: BLE001 - whatever it is, a request was not answered
                self.problems.append(f"{type(error).__name__}: {str(error)[:200]}")
            self._end.wait(PAUSE_S)

    def figures(self) -> str:
        if not self.first_s:
            return "none"
        middle, late = quantile(self.first_s, 0.5), quantile(self.first_s, 0.99)
        return (
            f"{len(self.first_s)} streams, first event p50 {middle * 1000:.1f} ms, p99 {late * 1000:.1f} ms, "
            f"longest {max(self.first_s) * 1000:.1f} ms"
        )

    def judge(self, report: Report, label: str) -> None:
        asked = len(self.first_s) + len(self.problems)
        answered = asked > 0 and not self.problems
        report.check(f"{label}: every healthy request answered", answered, f"{len(self.first_s)} of {asked}")
        for problem in self.problems[:3]:
            report.note(problem)
        soon = bool(self.first_s) and quantile(self.first_s, 0.99) <= FIRST_EVENT_S
        report.check(f"{label}: p99 to the first event at most {FIRST_EVENT_S * 1000:.0f} ms", soon, self.figures())
