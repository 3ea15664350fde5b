"""Being operated: health, readiness, metrics, logs, drain; /openapi.json and /docs."""

from __future__ import annotations

import json
import os
import re
import signal
import socket
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime
from pathlib import Path

import pytest

from harness import upstream as up
from harness.api import Stream, call, chat, chat_body, connect, request_bytes, stream
from harness.certs import Authority
from harness.configs import agent, config, demo_agent
from harness.gateway import SLACK, Gateway, wait_until
from harness.rawhttp import Closed, Connection
from harness.wires import BY_NAME, COMPLETION_TOKENS, PROMPT_TOKENS, UPSTREAM_KEY

WIRE = BY_NAME["openai"]
KEY = "sk-ops-0123456789abcdef"
GOLDEN = Path(__file__).parents[1] / "golden" / "metrics.txt"


@pytest.fixture(scope="module")
def gateway(start_module_gateway, module_upstream: up.FakeUpstream) -> Gateway:
    agents = (demo_agent(), agent("relay", "p"), agent("locked", "q"))
    return start_module_gateway(
        config(
            *agents,
            p=WIRE.provider(module_upstream.url),
            q=WIRE.provider("http://127.0.0.1:1", api_key="${OPS_MISSING_KEY}"),
        ),
        keys=(KEY,),
    )


# ---- health


@pytest.mark.parametrize("target", ["/livez", "/readyz", "/health"])
def test_probes_need_no_key(gateway: Gateway, target: str) -> None:
    answer = call(gateway, "GET", target, key=None)
    assert answer.status == 200 and answer.json()["status"]
    assert call(gateway, "HEAD", target, key=None).status == 200


def test_health(gateway: Gateway) -> None:
    body = call(gateway, "GET", "/health").json()
    assert {"status", "timestamp", "service", "version"} <= set(body)
    when = datetime.fromisoformat(body["timestamp"].replace("Z", "+00:00"))
    assert abs(when.timestamp() - time.time()) < 30
    assert "providers" not in body and "agents" not in body


def test_health_detailed(gateway: Gateway) -> None:
    body = call(gateway, "GET", "/health?detailed=true").json()
    text = json.dumps(body)
    assert {"status", "timestamp", "service", "version", "agents", "providers"} <= set(body)
    for agent_id in ("demo", "relay", "locked"):
        assert agent_id in json.dumps(body["agents"])
    assert "OPS_MISSING_KEY" in text, "what an agent lacks is named"
    assert re.search(r"[0-9a-f]{64}", text), "the hashes of the files"
    assert UPSTREAM_KEY not in text and KEY not in text


def test_detailed_health_is_for_those_who_have_a_key(gateway: Gateway) -> None:
    answer = call(gateway, "GET", "/health?detailed=true", key=None)
    assert answer.status in (200, 401)
    assert answer.status == 401 or "OPS_MISSING_KEY" not in answer.body.decode()


def test_unavailable_agent(gateway: Gateway) -> None:
    answer = chat(gateway, "locked")
    assert answer.status == 503 and "OPS_MISSING_KEY" in answer.error["message"]
    assert answer.header("x-should-retry") == "false"
    assert call(gateway, "GET", "/readyz").status == 200, "one dead agent is no reason to take the gateway away"


# ---- metrics

SAMPLE = re.compile(
    r"([a-zA-Z_:][a-zA-Z0-9_:]*)(\{LABEL(?:,LABEL)*\})? (-?[0-9.e+-]+|[+-]Inf|NaN)".replace(
        "LABEL", r'[a-zA-Z_][a-zA-Z0-9_]*="(?:[^"\\\n]|\\.)*"'
    )
)


def samples(gateway: Gateway) -> dict[str, float]:
    answer = call(gateway, "GET", "/metrics")
    assert answer.status == 200 and answer.header("content-type").startswith("text/plain")
    found = {}
    for line in answer.body.decode().splitlines():
        if line and not line.startswith("#"):
            match = SAMPLE.fullmatch(line)
            assert match, line
            found[match[1] + (match[2] or "")] = float(match[3])
    return found


def total(found: dict[str, float], name: str, *labels: str) -> float:
    return sum(
        value for key, value in found.items() if key.split("{")[0] == name and all(label in key for label in labels)
    )


def families(gateway: Gateway) -> list[str]:
    body = call(gateway, "GET", "/metrics").body.decode()
    return sorted(" ".join(line.split(" ")[2:4]) for line in body.splitlines() if line.startswith("# TYPE "))


def test_metric_names_are_a_promise(start_gateway, upstream: up.FakeUpstream) -> None:
    """Dashboards hang on the names: tests/golden/metrics.txt is the list. PARLEY_GOLDEN=write renews it."""
    wire = WIRE.provider(upstream.url, max_retries=1)
    gateway = start_gateway(config(demo_agent(), agent("relay", "p"), agent("twice", "p", fallbacks=["demo"]), p=wire))
    upstream.on(up.json_reply({"error": {"message": "x"}}, 500))
    for model in ("demo", "none", "relay", "twice"):
        chat(gateway, model)
    upstream.on(up.pieces(WIRE.events))
    stream(gateway, "relay").check_complete()
    upstream.on(up.pieces(WIRE.events[:2], then="hang"))
    with Stream(gateway, chat_body("relay", "x", stream=True)) as running:
        running.head()
    models = families(gateway)  # those that the next configuration has none of
    gateway.write_config(config(demo_agent()))
    wait_until(lambda: gateway.wait_log(lambda log: log.get("event") == "config_reloaded"), what="the reload")
    wait_until(lambda: "parley_http_abandoned_total" in " ".join(families(gateway)), what="an abandoned request")
    names = sorted({*models, *families(gateway)})
    if os.environ.get("PARLEY_GOLDEN") == "write":
        GOLDEN.parent.mkdir(parents=True, exist_ok=True)
        GOLDEN.write_text("\n".join(names) + "\n")
    assert names == GOLDEN.read_text().splitlines()
    assert all(name.startswith(("parley_", "process_")) for name in names)


def test_metrics_count(gateway: Gateway) -> None:
    def requests() -> float:
        found = samples(gateway)
        return total(found, "parley_http_requests_total", 'route="/v1/chat/completions"', 'status="200"')

    before = requests()
    for _ in range(5):
        chat(gateway, "demo")
    wait_until(lambda: requests() == before + 5, what="five more requests counted")


def test_metric_labels_cannot_be_made_by_strangers(gateway: Gateway) -> None:
    """Cardinality: unknown models and paths make no new series."""
    chat(gateway, "warm-up")
    call(gateway, "GET", "/warm/up")
    before = len(samples(gateway))
    for number in range(20):
        chat(gateway, f"stranger-{number}")
        call(gateway, "GET", f"/stranger/{number}")
    found = samples(gateway)
    assert len(found) <= before and not any("stranger" in key for key in found)


def test_no_secret_in_metrics(gateway: Gateway) -> None:
    body = call(gateway, "GET", "/metrics").body.decode()
    assert UPSTREAM_KEY not in body and KEY not in body


# ---- logs


def request_log(gateway: Gateway, request_id: str) -> dict:
    log = gateway.wait_log(lambda entry: entry.get("request_id") == request_id and "duration_ms" in entry)
    assert log, f"no line for {request_id}\n{gateway.tail}"
    return log


@pytest.mark.parametrize("streaming", [False, True])
def test_one_log_line_for_each_request(gateway: Gateway, upstream: up.FakeUpstream, streaming: bool) -> None:
    upstream.on(up.pieces(WIRE.events) if streaming else up.json_reply(WIRE.answer))
    request_id = f"log-line-{streaming}-1"
    fields = {"stream_options": {"include_usage": True}} if streaming else {}
    chat(gateway, "relay", headers={"x-request-id": request_id}, stream=streaming, **fields)
    log = request_log(gateway, request_id)
    assert (log["agent"], log["status"]) == ("relay", 200)
    assert log["duration_ms"] >= 0
    if streaming:
        assert log["duration_ms"] >= log["ttft_ms"] >= 0
    assert (log["prompt_tokens"], log["completion_tokens"]) == (PROMPT_TOKENS, COMPLETION_TOKENS)
    time.sleep(0.1)
    assert (
        len([entry for entry in gateway.logs if entry.get("request_id") == request_id and "duration_ms" in entry]) == 1
    )


def test_errors_are_logged_with_their_reason(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    upstream.on(up.json_reply({"error": {"message": "the provider's own words"}}, 401))
    chat(gateway, "relay", headers={"x-request-id": "log-error-1"})
    log = request_log(gateway, "log-error-1")
    assert log["status"] == 502 and "upstream_auth" in json.dumps(log)


def test_every_line_is_json_with_time_and_level(start_gateway) -> None:
    """Also when several loops write at once: a line is never cut by another."""
    gateway = start_gateway(config(demo_agent()), args=("--threads", "4"))
    with ThreadPoolExecutor(16) as pool:
        list(pool.map(lambda number: chat(gateway, "demo" if number % 2 else "none"), range(800)))
    wait_until(lambda: len(gateway.output.split("\n")) > 800, what="a line for each request")
    for line in gateway.output.split("\n"):
        assert line.startswith("{"), f"not JSON: {line!r}"
        entry = json.loads(line)
        assert any(name in entry for name in ("time", "ts", "timestamp")) and "level" in entry, entry


def test_texts_and_secrets_are_never_logged(gateway: Gateway, upstream: up.FakeUpstream) -> None:
    canaries = [
        "canary-question-7f3a",
        "canary-answer-91bc",
        "canary-error-55de",
        "canary-tool-08aa",
        UPSTREAM_KEY,
        KEY,
    ]
    messages = [{"role": "user", "content": canaries[0]}]
    answer = json.loads(json.dumps(WIRE.answer))
    answer["choices"][0]["message"]["content"] = canaries[1]
    upstream.on(up.json_reply(answer))
    chat(
        gateway, "relay", messages, tools=[{"type": "function", "function": {"name": "t", "description": canaries[3]}}]
    )
    chat(gateway, "demo", messages)
    chat(gateway, "relay", messages, temperature="hot")
    chat(gateway, "relay", [{"role": "wizard", "content": canaries[0]}])
    upstream.on(up.pieces([WIRE.events[0], WIRE.events[1], b"data: " + canaries[2].encode() + b"\n\n"]))
    stream(gateway, "relay", messages)
    upstream.on(up.reply(canaries[2].encode(), 200, [up.JSON]))
    chat(gateway, "relay", messages)
    call(gateway, "GET", "/v1/models", headers={"Authorization": "Bearer sk-canary-wrong-key"}, key=None)
    time.sleep(0.2)
    text = gateway.output
    for canary in [*canaries, "sk-canary-wrong-key"]:
        assert canary not in text, canary


PERSONAL = {"mail": "ada@example.com", "card": "4111 1111 1111 1111", "phone": "+49 30 901820", "iban": "DE89370400440532013000"}


@pytest.mark.parametrize("kept", [False, True])
def test_personal_data_is_masked(start_gateway, upstream: up.FakeUpstream, kept: bool) -> None:
    """What a front end calls its user, a path with that, and what a provider quotes when it fails."""
    env = {"LOG_LEVEL": "debug", "PARLEY_LOG_TEXTS": "true", **({"PARLEY_LOG_PERSONAL_DATA": "keep"} if kept else {})}
    gateway = start_gateway(config(agent("relay", "p"), p=WIRE.provider(upstream.url)), env=env)
    upstream.on(up.json_reply({"error": {"message": "no: " + ", ".join(PERSONAL.values())}}, 400))
    mail = PERSONAL["mail"]
    chat(gateway, "relay", headers={"x-request-id": "personal-1", "X-User-Id": mail, "X-Session-Id": mail})
    call(gateway, "GET", f"/conversations/{mail.replace('@', '%40')}", headers={"x-request-id": "personal-2"})
    first, second = request_log(gateway, "personal-1"), request_log(gateway, "personal-2")
    found = {name for name, text in PERSONAL.items() if text in gateway.output}
    assert found == (set(PERSONAL) if kept else set()), found
    if not kept:
        assert re.fullmatch(r"\[email [0-9a-f]{6}\]", first["user"]) and first["user"] in second["path"]


def test_log_injection(gateway: Gateway) -> None:
    """What a client names itself cannot forge a line or a field."""
    chat(gateway, 'x"}\n{"event":"forged"}', headers={"User-Agent": 'a","event":"forged'})
    call(gateway, "GET", '/v1/x","event":"forged')
    assert not [entry for entry in gateway.logs if entry.get("event") == "forged"]


# ---- drain


def slow_stream(gateway: Gateway, upstream: up.FakeUpstream) -> tuple[Stream, threading.Event]:
    release = threading.Event()

    def script(exchange: up.Exchange) -> None:
        exchange.head(200, [up.SSE])
        exchange.write(b"".join(WIRE.events[:2]))
        exchange.reached()
        end = time.monotonic() + 30
        while not release.is_set() and time.monotonic() < end:
            exchange.sleep(0.02)
        exchange.write(b"".join(WIRE.events[2:]))
        exchange.end()

    upstream.on(script)
    running = Stream(gateway, chat_body("relay", "x", stream=True))
    upstream.wait_request().wait_reached()
    running.head()
    return running, release


def drained(start_gateway, upstream: up.FakeUpstream, seconds: int) -> Gateway:
    return start_gateway(
        config(agent("relay", "p"), demo_agent(), p=WIRE.provider(upstream.url)),
        env={"PARLEY_DRAIN_SECONDS": str(seconds)},
    )


def refuses(gateway: Gateway) -> bool:
    try:
        return chat(gateway, "demo", timeout=2).status == 503
    except (ConnectionError, Closed, TimeoutError):
        return True


def test_sigterm_lets_streams_finish(start_gateway, upstream: up.FakeUpstream) -> None:
    gateway = drained(start_gateway, upstream, 20)
    running, release = slow_stream(gateway, upstream)
    idle = connect(gateway)
    idle.send(request_bytes(gateway, "GET", "/livez"))
    assert idle.read_answer("GET").status == 200
    gateway.signal(signal.SIGTERM)
    wait_until(lambda: refuses(gateway), timeout=3, what="new requests being refused")
    assert idle.closed_within(1 * SLACK), "idle connections are closed at once"
    idle.close()
    gateway.check_alive()
    release.set()
    with running:
        running.read().check_complete()
    assert gateway.wait_exit(5 * SLACK) == 0


def test_readyz_says_draining_on_an_open_connection(start_gateway, upstream: up.FakeUpstream) -> None:
    """Either the port is closed already, or /readyz answers 503: a balancer must not send more."""
    gateway = drained(start_gateway, upstream, 20)
    running, release = slow_stream(gateway, upstream)
    gateway.signal(signal.SIGTERM)

    def not_ready() -> bool:
        try:
            return call(gateway, "GET", "/readyz", timeout=2).status == 503
        except (ConnectionError, Closed, TimeoutError):
            return True

    wait_until(not_ready, timeout=3, what="/readyz")
    release.set()
    running.read().check_complete()
    running.connection.close()
    assert gateway.wait_exit(5 * SLACK) == 0


def test_the_drain_limit_ends_streams_with_an_error(start_gateway, upstream: up.FakeUpstream) -> None:
    gateway = drained(start_gateway, upstream, 1)
    running, _ = slow_stream(gateway, upstream)
    began = time.monotonic()
    gateway.signal(signal.SIGTERM)
    with running:
        error = running.read().check_failed()
    assert error["message"] and not running.seen.truncated
    assert gateway.wait_exit(5 * SLACK) == 1, "1: it had to cut streams"
    assert 0.8 < time.monotonic() - began < 4 * SLACK
    assert upstream.last.peer_closed_at is not None


def test_a_second_sigterm_does_not_wait(start_gateway, upstream: up.FakeUpstream) -> None:
    gateway = drained(start_gateway, upstream, 60)
    running, _ = slow_stream(gateway, upstream)
    gateway.signal(signal.SIGTERM)
    wait_until(lambda: refuses(gateway), timeout=3, what="the drain to begin")
    gateway.signal(signal.SIGTERM)
    with running:
        seen = running.read()
    assert seen.error is not None or seen.truncated
    assert gateway.wait_exit(3 * SLACK) == 1, "1: it had to cut streams"


def test_sigint_is_sigterm(start_gateway, upstream: up.FakeUpstream) -> None:
    gateway = drained(start_gateway, upstream, 5)
    gateway.signal(signal.SIGINT)
    assert gateway.wait_exit(3 * SLACK) == 0


def test_stop_without_work_is_quick(start_gateway, upstream: up.FakeUpstream) -> None:
    gateway = drained(start_gateway, upstream, 60)
    keep = socket.create_connection(gateway.address)
    chat(gateway, "demo")
    began = time.monotonic()
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit(3 * SLACK) == 0
    assert time.monotonic() - began < 2.5 * SLACK, "a client that does not close is waited for 2 s, not the drain limit"
    keep.close()


def in_kernel(gateway: Gateway, connection: Connection) -> int:
    """Bytes of answers that the gateway has sent and the client has not read."""
    here, there = connection.sock.getsockname()[1], gateway.address[1]
    waiting = 0
    for line in Path("/proc/net/tcp").read_text().splitlines()[1:]:
        fields = line.split()
        ends = tuple(int(fields[at].rpartition(":")[2], 16) for at in (1, 2))
        unsent, unread = (int(queue, 16) for queue in fields[4].split(":"))
        waiting += unsent * (ends == (there, here)) + unread * (ends == (here, there))
    return waiting


def settled(read) -> int:
    last = -1
    while (now := read()) != last:
        last = now
        time.sleep(0.1 * SLACK)
    return now


def test_sigterm_lets_an_answer_be_taken_to_its_end(start_gateway, upstream: up.FakeUpstream) -> None:
    """The request is done, but its last bytes are still in the process: the client reads slowly, and keeps alive."""
    gateway = drained(start_gateway, upstream, 20)
    answer = json.loads(json.dumps(WIRE.answer))
    size = 8 * 1024 * 1024
    for _ in range(10):
        answer["choices"][0]["message"]["content"] = "y" * size
        upstream.on(up.json_reply(answer))
        connection = connect(gateway, receive_buffer=8192, timeout=15 * SLACK)
        connection.send(request_bytes(gateway, "POST", "/v1/chat/completions", chat_body("relay", "x")))
        head = connection.read_head()
        taken = settled(lambda: in_kernel(gateway, connection)) + len(connection._buffer)
        left = int(head.header("content-length")) - taken
        if 32 * 1024 < left < 224 * 1024:
            break
        connection.close()
        size -= left - 128 * 1024
    else:
        pytest.skip("the kernel takes another amount each time")
    with connection:
        gateway.signal(signal.SIGTERM)
        assert gateway.wait_log(lambda log: log.get("event") == "draining")
        time.sleep(0.2 * SLACK)
        head.body = b"".join(connection.body_pieces())
    assert head.json()["choices"][0]["message"]["content"] == "y" * size
    assert gateway.wait_exit(5 * SLACK) == 0


def test_an_upload_does_not_outlast_the_drain_limit(start_gateway, upstream: up.FakeUpstream) -> None:
    """It is cut, as the exit code says, and the process ends by itself, with everything closed."""
    gateway = drained(start_gateway, upstream, 1)
    with connect(gateway) as connection:
        raw = request_bytes(gateway, "POST", "/v1/chat/completions", b"{", {"Content-Length": "100000"})
        connection.send(raw)
        time.sleep(0.2 * SLACK)
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        assert gateway.wait_exit(10 * SLACK) == 1
        assert time.monotonic() - began < 3 * SLACK
    assert "open_connections" not in gateway.wait_log(lambda log: log.get("event") == "stopped")


def test_a_handshake_that_ends_in_the_drain_does_not_hold_it(start_gateway, authority: Authority) -> None:
    """Who then says nothing has the time of one who connected just before, not that of an idle client."""
    limit_s = int(10 * SLACK)
    tls = {"PARLEY_TLS_CERT": str(authority.valid.cert), "PARLEY_TLS_KEY": str(authority.valid.key)}
    gateway = start_gateway(config(demo_agent()), env={"PARLEY_DRAIN_SECONDS": str(limit_s), **tls})
    with socket.create_connection(gateway.address, timeout=10 * SLACK) as plain:
        time.sleep(0.2 * SLACK)
        began = time.monotonic()
        gateway.signal(signal.SIGTERM)
        assert gateway.wait_log(lambda log: log.get("event") == "draining")
        time.sleep(0.2 * SLACK)
        with authority.client_context().wrap_socket(plain, server_hostname="localhost"):
            assert gateway.wait_exit(2 * limit_s) == 0
            assert time.monotonic() - began < limit_s / 2


# ---- description


def test_openapi(gateway: Gateway) -> None:
    answer = call(gateway, "GET", "/openapi.json", key=None)
    assert answer.status == 200 and answer.header("content-type").startswith("application/json")
    body = answer.json()
    assert body["openapi"].startswith("3.")
    for path, method in (
        ("/v1/chat/completions", "post"),
        ("/v1/models", "get"),
        ("/v1/embeddings", "post"),
        ("/health", "get"),
        ("/livez", "get"),
        ("/readyz", "get"),
        ("/metrics", "get"),
    ):
        assert method in body["paths"][path], path
    assert any(path.startswith("/v1/models/{") for path in body["paths"])
    for reference in set(re.findall(r'"\$ref": ?"(#[^"]+)"', json.dumps(body))):
        target = body
        for step in reference[2:].split("/"):
            target = target[step.replace("~1", "/").replace("~0", "~")]


def test_docs_page_needs_no_internet(gateway: Gateway) -> None:
    answer = call(gateway, "GET", "/docs", key=None)
    assert answer.status == 200 and answer.header("content-type").startswith("text/html")
    page = answer.body.decode()
    assert "viewport" in page and "prefers-color-scheme" in page
    assert not re.search(r"""(?:src|href)\s*=\s*["']?(?:https?:)?//""", page), "something is fetched from elsewhere"
    assert not re.search(r"@import|url\(\s*['\"]?(?:https?:)?//", page)
    assert "default-src" in (answer.header("content-security-policy") or ""), (
        "a page that holds a key must say what may run in it"
    )


def test_docs_page_is_not_sniffed(gateway: Gateway) -> None:
    assert call(gateway, "GET", "/docs").header("x-content-type-options") == "nosniff"


def test_server_header_tells_no_version(gateway: Gateway) -> None:
    assert not re.search(r"\d", call(gateway, "GET", "/livez", key=None).header("server") or "")
