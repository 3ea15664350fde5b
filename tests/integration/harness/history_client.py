"""The clients of the history checker: each says one thing after the other and repeats it until it is answered."""

from __future__ import annotations

import http.client
import json
import random
import threading
import time
from collections.abc import Callable

from .history_rules import PATIENCE_S, Attempt, Said, parsed_stream

KEYS = tuple(f"key-{i}-0123456789abcdef" for i in range(4))
SESSIONS = 2  # of each key in a scenario, with the same names: 8 conversations
ANSWER_S = 10.0  # for one attempt
# 429, 502 and 504 speak of the model, which fails and may be slow; 500 would be a bug.
STATUSES = (200, 409, 429, 502, 503, 504)


class Clients:
    """Of one scenario. `port`: of the gateway, which may change."""

    def __init__(self, seed: int, port: Callable[[], int]) -> None:
        self.seed, self._port = seed, port
        self.said: list[Said] = []
        self.broken: list[str] = []
        self._stop = threading.Event()
        self._threads: list[threading.Thread] = []

    def start(self, writers: int) -> None:
        self._threads = [threading.Thread(target=self._guarded, args=(i,)) for i in range(writers)]
        for thread in self._threads:
            thread.start()

    def stop(self) -> None:
        """Waits for what has been begun."""
        self._stop.set()
        for thread in self._threads:
            thread.join()

    def _guarded(self, number: int) -> None:
        try:
            self._write(number)
        except AssertionError as error:
            self.broken.append(f"writer {number}: {error}")

    def _write(self, number: int) -> None:
        choose = random.Random(f"writer {self.seed} {number}")
        count = 0
        while not self._stop.is_set():
            count += 1
            self.say(choose, str(number), count)
            self._stop.wait(choose.random() * 0.05)

    def say(self, choose: random.Random, writer: str, count: int) -> Said:
        key, session = choose.randrange(len(KEYS)), f"s{self.seed}-{choose.randrange(SESSIONS)}"
        said = Said(key, session, f"t{self.seed}-{writer}-{count}", time.monotonic())
        self.said.append(said)
        how = {"streaming": choose.random() < 0.3, "events": choose.random() < 0.5}
        twice, leaves_after = choose.random() < 0.1, choose.random() * 0.2 if choose.random() < 0.05 else ANSWER_S
        other = threading.Thread(target=self._deliver, args=(said, "twin"), kwargs=how)
        if twice:  # a network that delivers twice
            other.start()
        self._deliver(said, "", leaves_after, **how)
        if twice:
            other.join()
        said.ended = time.monotonic()
        return said

    def _deliver(self, said: Said, twin: str, first_s: float = ANSWER_S, **how: bool) -> None:
        end = time.monotonic() + PATIENCE_S
        number = 0
        while time.monotonic() < end:
            attempt = Attempt(f"{said.token}-{twin}{number}")
            said.attempts.append(attempt)
            self._ask(said, attempt, number, first_s if number == 0 else ANSWER_S, **how)
            if not attempt.trouble:
                said.answers.add(attempt.answer)
                return
            number += 1
            time.sleep(0.05)

    def _ask(self, said: Said, attempt: Attempt, number: int, limit: float, streaming: bool, events: bool) -> None:
        connection = http.client.HTTPConnection("127.0.0.1", self._port(), timeout=limit)
        body = {"model": "chat", "stream": streaming, "session_id": said.session,
                "messages": [{"role": "user", "content": said.token}]}  # fmt: skip
        headers = {"Authorization": f"Bearer {KEYS[said.key]}", "Content-Type": "application/json",
                   "X-Request-Id": attempt.run, "Idempotency-Key": said.token, "X-Stainless-Retry-Count": str(number),
                   "X-Parley-Tool-Progress": "events" if events else "quiet"}  # fmt: skip
        try:
            connection.request("POST", "/v1/chat/completions", json.dumps(body), headers)
            response = connection.getresponse()
            data = response.read()
        except (OSError, http.client.HTTPException) as error:
            attempt.trouble = type(error).__name__
            return
        finally:
            connection.close()
        assert response.status in STATUSES, (response.status, data)
        assert response.getheader("x-request-id") == attempt.run, response.getheaders()
        if response.status != 200:
            retry = {"true": True, "false": False}.get(response.getheader("x-should-retry", ""))
            attempt.trouble, attempt.error = str(response.status), {**json.loads(data)["error"], "should_retry": retry}
        elif streaming:
            attempt.answer, attempt.told, attempt.error = parsed_stream(data)
            if not data.rstrip().endswith(b"[DONE]"):  # it says itself that it is not whole
                attempt.trouble = "cut"
        else:
            answer = json.loads(data)
            attempt.answer = answer["choices"][0]["message"]["content"]
            calls = answer.get("agent", {}).get("tool_calls", [])
            attempt.told = [(call["call_id"], call["arguments"], call["result"]) for call in calls]


def read_path(port: int, key: int, session: str) -> list[dict]:
    """The messages that are stored of a conversation. Each loop of the gateway may have to connect to the store anew."""
    end = time.monotonic() + ANSWER_S
    while (page := _read_path(port, key, session)) is None:
        assert time.monotonic() < end, f"the store is not available after {ANSWER_S} s"
        time.sleep(0.1)
    return page


def _read_path(port: int, key: int, session: str) -> list[dict] | None:
    connection = http.client.HTTPConnection("127.0.0.1", port, timeout=ANSWER_S)
    connection.request("GET", f"/conversations/{session}", headers={"Authorization": f"Bearer {KEYS[key]}"})
    response = connection.getresponse()
    page = json.loads(response.read())
    connection.close()
    if response.status == 404:
        return []
    if response.status == 503:
        return None
    assert response.status == 200, page
    return page["messages"]
