"""What Parley does before it tells a client that a model failed: other endpoints, fallbacks, retries; and what it stops
doing while a model is down. (reliability.md 1.5, U17, U18; the decision: docs/decisions/0012)"""

from __future__ import annotations

import json
import time
from concurrent.futures import ThreadPoolExecutor

import pytest

from harness import upstream as up
from harness.api import call, chat, chat_body, connect, request_bytes, stream
from harness.configs import agent, config, timeouts
from harness.gateway import SLACK, Gateway, wait_until
from harness.wires import BY_NAME, TEXT, chunk, sse

WIRE = BY_NAME["openai"]
BROKEN = up.json_reply({"error": {"message": "x"}}, 500)
ANSWER = up.json_reply(WIRE.answer)
STREAM = up.pieces(WIRE.events, WIRE.content_type)


@pytest.fixture
def second():
    fake = up.FakeUpstream()
    yield fake
    fake.stop()


def start(start_gateway, upstream: up.FakeUpstream, **provider) -> Gateway:
    return start_gateway(config(agent("a", "p"), p=WIRE.provider(upstream.url, **provider)))


def models(gateway: Gateway) -> list[dict]:
    providers = call(gateway, "GET", "/health?detailed=true").json()["providers"]
    return next(one for one in providers if one["name"] == "p")["models"]


def series(gateway: Gateway, name: str) -> list[str]:
    return [line for line in call(gateway, "GET", "/metrics").body.decode().splitlines() if line.startswith(name + "{")]


# ---- one endpoint


@pytest.mark.parametrize("streaming", [False, True])
@pytest.mark.parametrize("failure", [BROKEN, up.reset_before_head, up.close_before_head], ids=["500", "reset", "close"])
def test_a_failure_that_passes_is_not_seen(start_gateway, upstream, failure, streaming: bool) -> None:
    gateway = start(start_gateway, upstream, max_retries=2)
    upstream.queue(failure, failure)
    upstream.on(STREAM if streaming else ANSWER)
    if streaming:
        seen = stream(gateway, "a").check_complete()
        assert seen.text == TEXT and seen.answer.header("x-parley-attempts") == "3"
    else:
        answer = chat(gateway, "a")
        assert answer.status == 200 and answer.header("x-parley-attempts") == "3"
    wait_until(lambda: series(gateway, "parley_retries_total"), what="the counter")
    assert any('kind="retry"' in line and line.endswith(" 2") for line in series(gateway, "parley_retries_total"))
    assert gateway.wait_log(lambda line: line.get("event") == "retry" and line["agent"] == "a")


def test_what_a_provider_says_is_in_no_line_of_an_attempt(start_gateway, upstream, second) -> None:
    """It may repeat what was said to it."""
    said = up.json_reply({"error": {"message": "words-of-the-user", "type": "server_error"}}, 500)
    endpoints = [{"base_url": WIRE.provider(one.url)["base_url"]} for one in (upstream, second)]
    entry = {**WIRE.provider(upstream.url, max_retries=1), "endpoints": endpoints}
    entry.pop("base_url")
    gateway = start_gateway(config(agent("a", "p", fallbacks=["b"]), agent("b", "p"), p=entry))
    upstream.on(said)
    second.on(said)
    assert chat(gateway, "a").status == 502
    for event in ("endpoint", "fallback", "retry"):
        line = gateway.wait_log(lambda log: log.get("event") == event)  # noqa: B023
        assert line and line["error"] == "upstream_error" and line["upstream_status"] == 500, (event, line)
    assert gateway.wait_log(lambda log: log.get("event") == "request")
    assert "words-of-the-user" not in json.dumps(gateway.logs)


def test_the_first_answer_says_so(start_gateway, upstream) -> None:
    gateway = start(start_gateway, upstream, max_retries=2)
    upstream.on(ANSWER)
    assert chat(gateway, "a").header("x-parley-attempts") == "1"


def test_two_by_default(start_gateway, upstream) -> None:
    entry = WIRE.provider(upstream.url)
    gateway = start_gateway({"version": "1", "providers": {"p": entry}, "agents": [agent("a", "p")]})
    upstream.on(BROKEN)
    answer = chat(gateway, "a")
    assert answer.status == 502 and answer.header("x-parley-attempts") == "3"
    assert len(upstream.requests) == 3


def test_nothing_is_said_twice(start_gateway, upstream) -> None:
    """Once a client has seen a word, a second attempt would say it again."""
    gateway = start(start_gateway, upstream, max_retries=5)
    upstream.on(up.pieces([sse(chunk({"role": "assistant", "content": "one "}))], then="reset"))
    seen = stream(gateway, "a")
    seen.check_failed()
    assert seen.text == "one " and len(upstream.requests) == 1


@pytest.mark.parametrize("status", [400, 401, 403, 404, 422])
def test_not_what_stays_wrong(start_gateway, upstream, status: int) -> None:
    gateway = start(start_gateway, upstream, max_retries=5)
    upstream.on(up.json_reply({"error": {"message": "no"}}, status))
    assert chat(gateway, "a").status >= 400
    assert len(upstream.requests) == 1


LONG_WAITS = ["20", "1000000000", "Fri, 01 Jan 2100 00:00:00 GMT", "Fri, 31 Dec 9999 23:59:59 GMT"]


@pytest.mark.parametrize("wait", LONG_WAITS)
def test_a_long_wait_is_the_client_s(start_gateway, upstream, wait: str) -> None:
    gateway = start(start_gateway, upstream, max_retries=5)
    upstream.on(up.json_reply({"error": {"message": "slow down"}}, 429, [("Retry-After", wait)]))
    began = time.monotonic()
    answer = chat(gateway, "a")
    assert answer.status == 429 and 1 <= int(answer.header("retry-after")) <= 60
    assert len(upstream.requests) == 1 and time.monotonic() - began < 1 * SLACK


def test_a_short_wait_is_ours(start_gateway, upstream) -> None:
    gateway = start(start_gateway, upstream, max_retries=1)
    upstream.queue(up.json_reply({"error": {"message": "slow down"}}, 429, [("Retry-After-Ms", "300")]))
    upstream.on(ANSWER)
    began = time.monotonic()
    assert chat(gateway, "a").status == 200
    assert time.monotonic() - began >= 0.3


def test_a_client_that_leaves_ends_the_pause(start_gateway, upstream) -> None:
    gateway = start(start_gateway, upstream, max_retries=1)
    upstream.on(up.json_reply({"error": {"message": "slow down"}}, 429, [("Retry-After", "2")]))
    with pytest.raises(TimeoutError):
        chat(gateway, "a", timeout=0.5)
    assert gateway.wait_log(lambda line: line.get("event") == "request" and line.get("client") == "gone", timeout=1.4 * SLACK)
    assert len(upstream.requests) == 1


# ---- a model that is down


def test_the_only_model_is_asked_however_long_it_was_down(start_gateway, upstream) -> None:
    """Peers take a single target out for 30 to 75 s after one 429 or cut connection: here it serves at once."""
    gateway = start(start_gateway, upstream, max_retries=2)
    upstream.on(BROKEN)
    for _ in range(8):
        assert chat(gateway, "a").status == 502
    assert models(gateway)[0]["endpoints"][0]["circuit"] == "open"
    upstream.on(ANSWER)
    assert chat(gateway, "a").status == 200
    assert models(gateway)[0]["endpoints"][0] == {"circuit": "closed", "failures_in_a_row": 0, "in_flight": 0}


def test_a_model_that_is_down_is_not_buried_under_retries(start_gateway, upstream) -> None:
    gateway = start(start_gateway, upstream, max_retries=5)
    upstream.on(BROKEN)
    with ThreadPoolExecutor(16) as pool:
        answers = list(pool.map(lambda _: chat(gateway, "a", timeout=30).status, range(200)))
    assert set(answers) == {502}
    assert 200 <= len(upstream.requests) <= 200 + 10, "the budget of retries holds ten"


def test_a_fallback_takes_over_at_once_and_gives_back_within_a_second(start_gateway, upstream, second) -> None:
    """A model that does not even refuse costs its time only until its circuit is open, and one probe at a time."""
    hole = up.SilentPort()
    first = WIRE.provider(f"http://127.0.0.1:{hole.port}", timeouts=timeouts(SLACK, first_byte_ms=300))
    spare = WIRE.provider(second.url)
    gateway = start_gateway(config(agent("a", "p", fallbacks=["b"]), agent("b", "q"), p=first, q=spare))
    second.on(ANSWER)
    with ThreadPoolExecutor(5) as pool:
        assert set(pool.map(lambda _: chat(gateway, "a").status, range(5))) == {200}
    assert models(gateway)[0]["endpoints"][0]["circuit"] == "open"
    quick = 0
    for _ in range(20):
        answer = chat(gateway, "a")
        assert answer.status == 200
        quick += answer.header("x-parley-attempts") == "1"
    assert quick >= 15
    hole.stop()


def test_it_serves_again_within_a_second(start_gateway, upstream, second) -> None:
    gateway = start_gateway(
        config(
            agent("a", "p", fallbacks=["b"], model="first"),
            agent("b", "q", model="spare"),
            p=WIRE.provider(upstream.url),
            q=WIRE.provider(second.url),
        )
    )
    upstream.on(BROKEN)
    second.on(ANSWER)
    for _ in range(30):
        assert chat(gateway, "a").status == 200
    assert len(upstream.requests) < 15
    asked = len(second.requests)
    upstream.on(ANSWER)
    began = time.monotonic()

    def is_back() -> bool:
        before = len(second.requests)
        assert chat(gateway, "a").status == 200
        return len(second.requests) == before

    wait_until(is_back, timeout=5 * SLACK, what="the first model to answer again")
    assert time.monotonic() - began < 1 * SLACK + 0.2
    assert asked == 30


# ---- several endpoints


def two(start_gateway, upstream, second, **more) -> Gateway:
    entry = WIRE.provider(upstream.url, **more)
    path = entry["base_url"].removeprefix(upstream.url)
    entry["endpoints"] = [{"api_key": "key-one"}, {"base_url": second.url + path, "api_key": "key-two"}]
    del entry["api_key"]
    return start_gateway(config(agent("a", "p"), p=entry))


@pytest.mark.parametrize("failure", [BROKEN, up.reset_before_head, up.json_reply({"error": {"message": "no"}}, 401)])
def test_the_other_endpoint_answers(start_gateway, upstream, second, failure) -> None:
    gateway = two(start_gateway, upstream, second)
    for fake in (upstream, second):
        fake.on(failure)
    asked = []
    for broken, sound in ((upstream, second), (second, upstream)):
        broken.on(failure)
        sound.on(ANSWER)
        for _ in range(4):
            answer = chat(gateway, "a")
            assert answer.status == 200
            asked.append(answer.header("x-parley-attempts"))
    assert "2" in asked and set(asked) <= {"1", "2"}
    assert upstream.last.request.header("authorization") == "Bearer key-one"
    assert second.last.request.header("authorization") == "Bearer key-two"


def test_an_endpoint_that_asks_for_a_pause_gets_it(start_gateway, upstream, second) -> None:
    gateway = two(start_gateway, upstream, second)
    upstream.on(up.json_reply({"error": {"message": "slow down"}}, 429, [("Retry-After", "30")]))
    second.on(ANSWER)
    for _ in range(10):
        assert chat(gateway, "a").status == 200
    assert len(upstream.requests) <= 2
    seen = models(gateway)[0]["endpoints"]
    assert [one["circuit"] for one in seen] == ["resting", "closed"]
    assert 25_000 < seen[0]["retry_after_ms"] <= 30_000
    assert any(line.endswith(" 1") for line in series(gateway, "parley_upstream_endpoints_shut"))


def test_the_load_follows_the_weights(start_gateway, upstream, second) -> None:
    entry = WIRE.provider(upstream.url)
    path = entry["base_url"].removeprefix(upstream.url)
    entry["endpoints"] = [{"weight": 3}, {"base_url": second.url + path, "api_key": "k"}]
    gateway = start_gateway(config(agent("a", "p"), p=entry))
    for fake in (upstream, second):
        fake.on(up.hang_before_head)
    connections = [stream_in_background(gateway) for _ in range(16)]
    wait_until(lambda: len(upstream.requests) + len(second.requests) == 16, timeout=5 * SLACK)
    assert (len(upstream.requests), len(second.requests)) == (12, 4)
    for connection in connections:
        connection.close()
    wait_until(lambda: all(one["in_flight"] == 0 for one in models(gateway)[0]["endpoints"]), timeout=5 * SLACK)


def stream_in_background(gateway: Gateway):
    connection = connect(gateway)
    connection.send(request_bytes(gateway, "POST", "/v1/chat/completions", chat_body("a", "hi", stream=True)))
    return connection


def test_an_endpoint_without_its_key_is_left_out(start_gateway, upstream) -> None:
    entry = WIRE.provider(upstream.url)
    entry["endpoints"] = [{"api_key": "${NO_SUCH_KEY}"}, {"api_key": "good"}]
    gateway = start_gateway(config(agent("a", "p"), p=entry))
    upstream.on(ANSWER)
    assert chat(gateway, "a").status == 200
    assert upstream.last.request.header("authorization") == "Bearer good"
    assert len(models(gateway)[0]["endpoints"]) == 1
    assert "NO_SUCH_KEY" in gateway.output
