"""Keys in the store: who may do what, how much of it, and what is kept of that; `parley keys` and `parley audit`."""

from __future__ import annotations

import json
import re
import shutil
import signal
import sqlite3
import subprocess
import threading
import time
from collections import Counter
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path

import pytest

from harness import upstream as up
from harness.api import Stream, call, chat_body, connect, request_bytes
from harness.configs import agent, config, demo_agent
from harness.gateway import Gateway, StartFailed, run_cli, wait_until
from harness.postgres import Postgres
from harness.rawhttp import Answer
from harness.talk import Talk
from harness.wire_tools import Asked, asks_for
from harness.wires import BY_NAME, COMPLETION_TOKENS, PROMPT_TOKENS

WIRE = BY_NAME["openai"]
ENV_KEY = "sk-environment-0123456789"
KEY = re.compile(r"sk-parley-([0-9a-f]{12})-([A-Za-z0-9_-]{43})")
USED = PROMPT_TOKENS + COMPLETION_TOKENS
PRICES = {"gpt-x": {"input": 2.0, "cached_input": 0.5, "output": 8.0}}
DEAR = {"gpt-x": {"input": 1000.0, "output": 1000.0}}
ADDS = Asked("c1", "add_two_numbers", {"a": 1, "b": 2})
SEEN_S = 2.0  # how soon a running gateway knows of a change
EMBEDDING = {
    "object": "list",
    "data": [{"object": "embedding", "index": 0, "embedding": [0.5]}],
    "model": "up",
    "usage": {"prompt_tokens": 3, "total_tokens": 3},
}


@dataclass
class Store:
    """The commands on one store. By name it knows the keys that it made."""

    folder: Path
    data: Path | None = None
    env: dict[str, str] = field(default_factory=dict)
    key: dict[str, str] = field(default_factory=dict)
    id: dict[str, str] = field(default_factory=dict)

    def run(self, *arguments: str, code: int = 0) -> subprocess.CompletedProcess[str]:
        self.folder.mkdir(exist_ok=True)
        where = ("--data", str(self.data)) if self.data else ()
        done = run_cli(*arguments, *where, cwd=self.folder, env=self.env)
        assert done.returncode == code, (arguments, done.returncode, done.stdout, done.stderr)
        return done

    def create(self, name: str, *arguments: str) -> str:
        made = json.loads(self.run("keys", "create", "--name", name, *arguments, "--json").stdout)
        self.key[name], self.id[name] = made["key"], made["id"]
        return made["key"]

    def rotate(self, name: str, overlap: str) -> str:
        self.key[name] = self.run("keys", "rotate", self.id[name], "--overlap", overlap).stdout.strip()
        return self.key[name]

    def rows(self) -> dict[str, dict]:
        lines = self.run("keys", "list", "--json").stdout.splitlines()
        return {row["name"]: row for row in map(json.loads, lines)}

    def audit(self) -> list[dict]:
        return [json.loads(line) for line in self.run("audit", "list", "--json").stdout.splitlines()]

    def wait_spent(self, name: str, tokens: int, cost: int | None = None) -> None:
        """What has been used is written when the answer is out. The cost is in millionths of a dollar."""
        seen = None

        def spent() -> bool:
            nonlocal seen
            row = self.rows()[name]
            seen = (row["spent_tokens"], round(row["spent_usd"] * 1e6) if cost is not None else None)
            return seen == (tokens, cost)

        try:
            wait_until(spent, timeout=3)
        except AssertionError:
            raise AssertionError(f"{name} has used {seen}, not {(tokens, cost)}") from None


# ---- a gateway that most tests share; its keys are there before it is

LIMITED = ("--tokens-per-minute", "2000")
MADE: dict[str, tuple[str, ...]] = {
    "admin": ("--role", "admin"),
    "user": (),
    "viewer": ("--role", "viewer"),
    "chat only": ("--route", "chat"),
    "two routes": ("--route", "models", "--route", "conversations"),
    "too much": ("--role", "viewer", "--route", "chat", "--route", "models"),
    "narrow admin": ("--role", "admin", "--route", "operate"),
    "patterns": ("--agent", "al*", "--agent", "b?ta"),
    "patterns, admin": ("--role", "admin", "--agent", "al*", "--agent", "b?ta"),
    "requests": ("--requests-per-minute", "3"),
    "tokens": LIMITED,
    "tokens, less": LIMITED,
    "tokens, failed": LIMITED,
    "tokens, long": LIMITED,
    "tokens, streams": LIMITED,
    "tokens and requests": ("--tokens-per-minute", "500000", "--requests-per-minute", "1000"),
    "budget": ("--budget-tokens", "150"),
    "budget, dollars": ("--budget-usd", "0.001"),
    "budget, day": ("--budget-tokens", "150", "--budget-period", "day"),
    "budget, month": ("--budget-usd", "0.001", "--budget-period", "month"),
    "usage, json": ("--budget-usd", "1"),
    "usage, stream": ("--budget-usd", "1"),
    "usage, cached": ("--budget-usd", "1"),
    "usage, embeddings": ("--budget-usd", "1"),
    "usage, embeddings, odd": ("--budget-tokens", "100000"),
    "usage, 500": ("--budget-usd", "1"),
    "usage, reset": ("--budget-usd", "1"),
    "usage, mid-stream": ("--budget-usd", "1"),
    "usage, two candidates": ("--budget-usd", "1000"),
    "untold, json": ("--budget-tokens", "5000"),
    "untold, stream": ("--budget-tokens", "5000"),
    "untold, client left": ("--budget-tokens", "5000"),
    "untold, later round": ("--budget-tokens", "5000"),
    "untold, later round, client left": ("--budget-tokens", "5000"),
    "unpriced": ("--budget-usd", "1"),
    "rotated": (),
}


def agents() -> tuple[dict, ...]:
    return (agent("alpha", "p"), agent("albert", "p"), agent("beta", "p"), agent("nyx", "p", model="gpt-free"),
            agent("sums", "p", allowed_regular_tools=["add_two_numbers"]),
            agent("dear", "dear", fallbacks=["beta"], allowed_regular_tools=["add_two_numbers"]),
            demo_agent(resources=[]))  # fmt: skip


@pytest.fixture(scope="module")
def store(tmp_path_factory: pytest.TempPathFactory) -> Store:
    folder = tmp_path_factory.mktemp("keys")
    made = Store(folder, folder / "data")
    for name, arguments in MADE.items():
        made.create(name, *arguments)
    return made


@pytest.fixture(scope="module")
def gateway(start_module_gateway, module_upstream: up.FakeUpstream, store: Store) -> Gateway:
    providers = {name: WIRE.provider(module_upstream.url, prices=prices)
                 for name, prices in (("p", PRICES), ("dear", DEAR))}  # fmt: skip
    one_loop = ("--threads", "1")  # each has its own moment of seeing a change
    return start_module_gateway(config(*agents(), **providers), keys=(ENV_KEY,), data=store.data, args=one_loop)


@pytest.fixture(autouse=True)
def answers(upstream: up.FakeUpstream) -> None:
    def script(exchange: up.Exchange) -> None:
        if "embeddings" in exchange.request.target:
            up.json_reply(EMBEDDING)(exchange)
        elif exchange.request.json().get("stream"):
            up.pieces(WIRE.events)(exchange)
        else:
            up.json_reply(WIRE.answer)(exchange)

    upstream.on(script)


def ask(gateway: Gateway, key: str | None, model: str = "alpha", text: str = "hello", **fields) -> Answer:
    return call(gateway, "POST", "/v1/chat/completions", chat_body(model, text, **fields), key=key)


def secret_of(key: str) -> str:
    """What is behind the id, which everybody may know."""
    return KEY.fullmatch(key)[2]


def status(gateway: Gateway, key: str | None) -> int:
    return call(gateway, "GET", "/v1/models", key=key).status


def check_code(answer: Answer, number: int, code: str) -> None:
    assert (answer.status, answer.error["code"]) == (number, code), answer.body


def in_one_minute(attempt: Callable[[], None]) -> None:
    """Limits of a minute begin anew with it: what it came between is done again."""
    for _ in range(3):
        minute = time.time() // 60
        try:
            return attempt()
        except AssertionError:
            if time.time() // 60 == minute:
                raise
    raise AssertionError("the minutes are too short")


# ---- the commands


def test_a_key_is_told_once(tmp_path: Path) -> None:
    store = Store(tmp_path, tmp_path / "data")
    made = json.loads(store.run("keys", "create", "--name", "ann", "--json").stdout)
    assert made["id"] == "k_" + KEY.fullmatch(made["key"])[1]
    assert (made["name"], made["role"], made["principal"]) == ("ann", "user", "key:" + made["id"])
    done = store.run("keys", "create", "--name", "bob")
    key = done.stdout.strip()
    assert KEY.fullmatch(key) and key not in done.stderr
    told = "".join(store.run(*command).stdout for command in (("keys", "list"), ("keys", "list", "--json"),
                                                              ("audit", "list"), ("audit", "list", "--json")))  # fmt: skip
    for one in (key, made["key"]):
        assert secret_of(one) not in told
    assert "ann" in told and "bob" in told


def test_list_tells_everything_else(tmp_path: Path) -> None:
    store = Store(tmp_path, tmp_path / "data")
    store.create("plain")
    store.create("full", "--role", "viewer", "--agent", "a*", "--agent", "b", "--route", "models", "--route", "operate",
                 "--requests-per-minute", "5", "--tokens-per-minute", "600", "--budget-tokens", "7000", "--budget-usd", "1.25",
                 "--budget-period", "month", "--expires", "30d")  # fmt: skip
    store.create("short", "--expires", "1s")
    store.create("gone")
    store.run("keys", "revoke", store.id["gone"])
    wait_until(lambda: store.rows()["short"]["state"] == "expired", what="the end of a second")
    rows = store.rows()
    assert {name: row["state"] for name, row in rows.items()} == {"plain": "active", "full": "active", "short": "expired",
                                                                  "gone": "revoked"}  # fmt: skip
    expected = {"id": store.id["full"], "role": "viewer", "agents": ["a*", "b"], "routes": ["models", "operate"],
                "requests_per_minute": 5, "tokens_per_minute": 600, "budget_tokens": 7000, "budget_usd": 1.25,
                "budget_period": "month", "spent_tokens": 0, "spent_usd": 0}  # fmt: skip
    assert {name: rows["full"][name] for name in expected} == expected
    month = 30 * 86400
    began, ends = (time.mktime(time.strptime(rows["full"][at], "%Y-%m-%dT%H:%M:%SZ")) for at in ("created_at", "expires_at"))
    assert month - 2 <= ends - began <= month + 2
    plain = rows["plain"]
    assert (plain["role"], plain["agents"], plain["routes"], plain["budget_period"]) == ("user", [], [], "total")
    assert plain["expires_at"] is None and plain["budget_tokens"] == 0


WRONG = {
    "no name": (2, ("keys", "create")),
    "role": (2, ("keys", "create", "--name", "x", "--role", "root")),
    "route": (2, ("keys", "create", "--name", "x", "--route", "everything")),
    "expires": (2, ("keys", "create", "--name", "x", "--expires", "soon")),
    "expired": (2, ("keys", "create", "--name", "x", "--expires", "0d")),
    "a period of no budget": (2, ("keys", "create", "--name", "x", "--budget-period", "day")),
    "a key that may do nothing": (2, ("keys", "create", "--name", "x", "--role", "viewer", "--route", "chat")),
    "period": (2, ("keys", "create", "--name", "x", "--budget-period", "year")),
    "limit": (2, ("keys", "create", "--name", "x", "--requests-per-minute", "-1")),
    "budget": (2, ("keys", "create", "--name", "x", "--budget-usd", "-0.5")),
    "an agent of no name": (2, ("keys", "create", "--name", "x", "--agent", "")),  # which is not: all of them
    "an agent of two lines": (2, ("keys", "create", "--name", "x", "--agent", "a\n*")),
    "a name of two lines": (2, ("keys", "create", "--name", "x\nk_0123456789ab  active")),
    "overlap": (2, ("keys", "rotate", "k_0123456789ab", "--overlap", "soon")),
    "rotate nobody": (1, ("keys", "rotate", "k_0123456789ab")),
    "revoke nobody": (1, ("keys", "revoke", "k_0123456789ab")),
}


@pytest.mark.parametrize("case", WRONG)
def test_wrong_commands_do_nothing(tmp_path: Path, case: str) -> None:
    code, command = WRONG[case]
    store = Store(tmp_path, tmp_path / "data")
    store.run("migrate")
    done = store.run(*command, code=code)
    assert done.stdout == "" and done.stderr
    assert store.rows() == {} and store.audit() == []


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (("--expires", "0d"), "would have expired already"),
        (("--expires", "99999999d"), "up to 1000000"),
        (("--budget-period", "day"), "--budget-period day is of a budget, and there is none"),
        (("--role", "viewer", "--route", "chat"), "this key could do nothing"),
    ],
    ids=lambda value: value if isinstance(value, str) else " ".join(value),
)
def test_keys_that_make_no_sense_are_refused_with_the_reason(tmp_path: Path, arguments: tuple, said: str) -> None:
    done = Store(tmp_path, tmp_path / "data").run("keys", "create", "--name", "x", *arguments, code=2)
    assert said in done.stderr and not (tmp_path / "data").exists()


def test_an_expired_key_is_not_rotated(tmp_path: Path) -> None:
    store = Store(tmp_path, tmp_path / "data")
    store.create("short", "--expires", "1s")
    wait_until(lambda: store.rows()["short"]["state"] == "expired", what="the end of a second")
    done = store.run("keys", "rotate", store.id["short"], code=1)
    assert "has expired" in done.stderr and not done.stdout
    assert [entry["action"] for entry in store.audit()] == ["key.create"]
    store.run("keys", "revoke", store.id["short"])


LOOKING = {
    "keys list": ("keys", "list"),
    "keys rotate": ("keys", "rotate", "k_0123456789ab"),
    "keys revoke": ("keys", "revoke", "k_0123456789ab"),
    "audit list": ("audit", "list"),
    "audit verify": ("audit", "verify"),
    "conversations list": ("conversations", "list"),
    "conversations show": ("conversations", "show", "s"),
    "conversations export": ("conversations", "export"),
    "conversations erase": ("conversations", "erase", "s"),
}


@pytest.mark.parametrize("case", LOOKING)
def test_what_only_looks_makes_no_store(tmp_path: Path, case: str) -> None:
    done = Store(tmp_path, tmp_path / "typo").run(*LOOKING[case], code=1)
    assert f"there is no store in {tmp_path / 'typo'}" in done.stderr and not done.stdout
    assert not (tmp_path / "typo").exists()


def test_a_revoked_key_does_not_come_back(tmp_path: Path) -> None:
    store = Store(tmp_path, tmp_path / "data")
    store.create("gone")
    store.run("keys", "revoke", store.id["gone"])
    store.run("keys", "rotate", store.id["gone"], code=1)
    assert store.rows()["gone"]["state"] == "revoked"
    assert [entry["action"] for entry in store.audit()] == ["key.create", "key.revoke"]


UNUSABLE_LISTS = {
    "a comma": (",", "is set, but names no key"),
    "separators": (" , ,\t", "is set, but names no key"),
    "a control character": ("sk-good-0123456789,sk-\x01bad", "key 2 of 2 has control characters"),
    "too long": ("sk-good-0123456789 " + "k" * 513, "key 2 of 2 has more than 512 characters"),
}


@pytest.mark.parametrize("variable", ["PARLEY_API_KEYS", "PARLEY_FORWARDER_KEYS"])
@pytest.mark.parametrize("case", UNUSABLE_LISTS)
def test_keys_that_are_set_but_can_let_nobody_in(start_gateway, variable: str, case: str) -> None:
    """Compose makes "," of ${KEY1},${KEY2} when neither is set: whoever sets keys wants the door shut."""
    value, said = UNUSABLE_LISTS[case]
    gateway = start_gateway(config(demo_agent()), env={variable: value}, start=False,
                            bind=("--host", "0.0.0.0", "--port", "0"))  # fmt: skip
    with pytest.raises(StartFailed, match="exit code 1\n") as failure:
        gateway.start()
    assert f"{variable}: {said}" in str(failure.value)
    assert not any(key in str(failure.value) for key in ("sk-", "kkk"))


def test_lists_of_keys_may_have_gaps(start_gateway) -> None:
    gateway = start_gateway(config(demo_agent(resources=[])), env={"PARLEY_API_KEYS": f" ,{ENV_KEY},,\tsk-other-0123456789, "})
    assert [status(gateway, key) for key in (ENV_KEY, "sk-other-0123456789", None, "")] == [200, 200, 401, 401]


def test_the_gateway_of_a_chat_is_given_one_of_its_keys(tmp_path: Path) -> None:
    (tmp_path / "agent_config.json").write_text(json.dumps(config(demo_agent())))
    done = run_cli("chat", "demo", "-m", "hello", cwd=tmp_path, env={"PARLEY_API_KEYS": f",{ENV_KEY}"})
    assert done.returncode == 0, done


# ---- a gateway that runs


def test_a_running_gateway_knows_within_two_seconds(start_gateway) -> None:
    gateway = start_gateway(config(demo_agent(resources=[])), args=("--threads", "4"))
    store = Store(gateway.folder, gateway.folder / "data")

    def everywhere(key: str | None, number: int, timeout: float = SEEN_S) -> None:
        """In every loop: new connections are spread over them."""
        wait_until(lambda: {status(gateway, key) for _ in range(16)} == {number}, timeout, f"{number} for {key}")

    assert status(gateway, None) == status(gateway, "whatever") == 200, "nobody has a key"
    first = store.create("first")
    everywhere(None, 401)
    everywhere("whatever", 401)
    everywhere(first, 200)
    for target in ("/livez", "/readyz", "/health", "/openapi.json", "/docs", "/"):
        assert call(gateway, "GET", target, key=None).status == 200, "these are open"
    short = store.create("short", "--expires", "3s")
    everywhere(short, 200)
    everywhere(short, 401, 3.5)
    assert store.rows()["short"]["state"] == "expired"
    store.run("keys", "revoke", store.id["first"])
    everywhere(first, 401)
    everywhere(None, 401)  # there were keys: nobody is let in because they are over


def test_keys_of_the_environment_are_admins(gateway: Gateway, store: Store) -> None:
    for target in ("/v1/models", "/agents", "/conversations", "/metrics", "/health?detailed=true"):
        assert call(gateway, "GET", target, key=ENV_KEY).status == 200, target
    for model in ("alpha", "nyx", "demo"):
        assert ask(gateway, ENV_KEY, model).status == 200
    for key in (None, "", "sk-nobody", store.key["user"][:-1], store.key["user"] + "x", store.id["user"]):
        check_code(ask(gateway, key or None), 401, "invalid_api_key")


def test_an_open_address_needs_a_key_that_is_stored(start_gateway, tmp_path: Path) -> None:
    everywhere = ("--host", "0.0.0.0", "--port", "0")
    gateway = start_gateway(config(demo_agent(resources=[])), bind=everywhere, start=False)
    store = Store(gateway.folder, gateway.folder / "data")
    with pytest.raises(StartFailed, match="Refusing to listen on 0.0.0.0 without API keys") as refused:
        gateway.start()
    assert "parley keys create" in str(refused.value)
    key = store.create("one")
    gateway.start()
    assert (status(gateway, key), status(gateway, None)) == (200, 401)


# ---- roles and routes

ROUTES = {
    "chat": (("POST", "/v1/chat/completions", chat_body("alpha", "hello")),),
    "embeddings": (("POST", "/v1/embeddings", {"model": "alpha", "input": "x"}),),
    "models": (("GET", "/v1/models", None), ("GET", "/v1/models/alpha", None), ("HEAD", "/v1/models", None)),
    "agents": (("GET", "/agents", None), ("GET", "/agents/alpha", None), ("GET", "/agents/alpha/health", None)),
    "conversations": (("GET", "/conversations", None), ("DELETE", "/conversations", None),
                      ("GET", "/conversations/none", None), ("DELETE", "/conversations/none", None),
                      ("POST", "/conversations/none/fork", {}), ("GET", "/agents/alpha/conversation/none", None),
                      ("DELETE", "/agents/alpha/conversation/none", None)),
    "operate": (("GET", "/metrics", None), ("GET", "/health?detailed=true", None)),
}  # fmt: skip
ALL = set(ROUTES)
MAY = {
    "admin": ALL,
    "user": ALL - {"operate"},
    "viewer": {"models", "agents", "operate"},
    "chat only": {"chat"},
    "two routes": {"models", "conversations"},
    "too much": {"models"},  # what a route adds to a role is nothing
    "narrow admin": {"operate"},
}


@pytest.mark.parametrize("name", MAY)
def test_roles_and_routes(gateway: Gateway, store: Store, upstream: up.FakeUpstream, name: str) -> None:
    for scope, requests in ROUTES.items():
        for method, target, body in requests:
            asked = len(upstream.requests)
            answer = call(gateway, method, target, body, key=store.key[name])
            if scope in MAY[name]:
                assert answer.status in (200, 400, 404), (scope, method, target, answer.body)
                continue
            assert answer.status == 403, (scope, method, target, answer.body)
            if method != "HEAD":
                check_code(answer, 403, "insufficient_permissions")
                assert scope in answer.error["message"]
            assert len(upstream.requests) == asked


def test_agents_that_a_key_does_not_have_are_not_there(gateway: Gateway, store: Store, upstream: up.FakeUpstream) -> None:
    for name in ("patterns", "patterns, admin"):
        key = store.key[name]
        listed = [{one.get("id") or one["agent_id"] for one in call(gateway, "GET", target, key=key).json()["data"]}
                  for target in ("/v1/models", "/agents")]  # fmt: skip
        assert listed == [{"alpha", "albert", "beta"}] * 2
        for model in ("alpha", "albert", "beta"):
            assert ask(gateway, key, model).status == 200
        asked = len(upstream.requests)
        for method, target, body in (
            ("POST", "/v1/chat/completions", chat_body("WHICH", "hello")),
            ("POST", "/v1/chat/completions", chat_body("WHICH", "hello", stream=True, session_id="s")),
            ("POST", "/v1/embeddings", {"model": "WHICH", "input": "x"}),
            ("GET", "/v1/models/WHICH", None),
            ("GET", "/agents/WHICH", None),
            ("GET", "/agents/WHICH/health", None),
            ("GET", "/agents/WHICH/conversation/s", None),
            ("DELETE", "/agents/WHICH/conversation/s", None),
        ):
            answers = []
            for model in ("demo", "nyx", "none"):
                sent = None if body is None else json.loads(json.dumps(body).replace("WHICH", model))
                answer = call(gateway, method, target.replace("WHICH", model), sent, key=key)
                check_code(answer, 404, "model_not_found")
                answers.append(answer.body.decode().replace(model, "WHICH"))
            assert len(set(answers)) == 1, answers
        assert len(upstream.requests) == asked


# ---- limits of a minute


def check_headers(answer: Answer, what: str, limit: int, remaining: range) -> None:
    assert answer.header(f"x-ratelimit-limit-{what}") == str(limit), answer.headers
    assert int(answer.header(f"x-ratelimit-remaining-{what}")) in remaining, answer.headers
    assert re.fullmatch(r"(1m0|\d{1,2})s", answer.header(f"x-ratelimit-reset-{what}")), answer.headers


def has_headers(answer: Answer, what: str) -> bool:
    return any(name.startswith("x-ratelimit-") and name.endswith(what) for name, _ in answer.headers)


def check_rate_limited(answer: Answer) -> None:
    check_code(answer, 429, "rate_limit_exceeded")
    assert 1 <= int(answer.header("retry-after")) <= 60
    assert answer.header("x-should-retry") != "false", "it passes"


@pytest.mark.parametrize("streaming", [False, True])
def test_requests_of_a_minute(gateway: Gateway, store: Store, upstream: up.FakeUpstream, streaming: bool) -> None:
    key = store.key["requests"] if not streaming else store.create("requests, streams", *MADE["requests"])
    wait_until(lambda: status(gateway, key) == 200, SEEN_S)

    def attempt() -> None:
        upstream.exchanges.clear()
        for left in (2, 1, 0):
            answer = ask(gateway, key, stream=streaming)
            assert answer.status == 200
            check_headers(answer, "requests", 3, range(left, left + 1))
            assert not has_headers(answer, "tokens")
        for _ in range(2):
            answer = ask(gateway, key, stream=streaming)
            check_rate_limited(answer)
            check_headers(answer, "requests", 3, range(1))
        assert len(upstream.requests) == 3

    in_one_minute(attempt)


# What is set aside: a quarter of the bytes of the messages, and what may be answered. The bytes of a message are those
# of its text and some 30 around it.
ASIDE = {
    "tokens": ({}, 1024, 1024 + 20),
    "tokens, less": ({"max_completion_tokens": 1500}, 1500, 1500 + 20),
    "tokens, long": ({"text": "x" * 3600, "max_completion_tokens": 200}, 900 + 200, 900 + 200 + 20),
    "tokens, streams": ({"stream": True}, 1024, 1024 + 20),
}


@pytest.mark.parametrize("name", ASIDE)
def test_tokens_are_set_aside_and_what_is_used_takes_their_place(
    gateway: Gateway, store: Store, upstream: up.FakeUpstream, name: str
) -> None:
    fields, least, most = ASIDE[name]
    key = store.key[name]
    begins = store.rows()[name]["spent_tokens"]

    def attempt() -> None:
        nonlocal begins
        upstream.exchanges.clear()
        release = threading.Event()

        def hold(exchange: up.Exchange) -> None:
            while not release.is_set():
                exchange.sleep(0.02)
            (up.pieces(WIRE.events) if exchange.request.json().get("stream") else up.json_reply(WIRE.answer))(exchange)

        upstream.queue(hold)
        with ThreadPoolExecutor(1) as pool:
            first = pool.submit(ask, gateway, key, **fields)
            try:
                upstream.wait_request()
                check_rate_limited(ask(gateway, key, **fields))
            finally:
                release.set()
            answer = first.result(20)
        assert answer.status == 200 and len(upstream.requests) == 1
        check_headers(answer, "tokens", 2000, range(2000 - most, 2000 - least + 1))
        assert not has_headers(answer, "requests")
        begins += USED
        store.wait_spent(name, begins)
        answer = ask(gateway, key, **fields)
        begins += USED
        check_headers(answer, "tokens", 2000, range(2000 - USED - most, 2000 - USED - least + 1))

    in_one_minute(attempt)


def test_both_limits_have_their_headers(gateway: Gateway, store: Store) -> None:
    answer = ask(gateway, store.key["tokens and requests"], stream=True)
    check_headers(answer, "tokens", 500000, range(490000, 500000))
    check_headers(answer, "requests", 1000, range(990, 1000))
    for key in (store.key["user"], ENV_KEY):
        plain = ask(gateway, key)
        assert plain.status == 200 and not has_headers(plain, "requests") and not has_headers(plain, "tokens")


# ---- budgets

PASS = 3  # of `budget`: 150 tokens hold two answers and what a third one sets aside; of 0.001 dollars the same
LITTLE = {"max_completion_tokens": 100}
COST = 2 * PROMPT_TOKENS + 8 * COMPLETION_TOKENS  # millionths of a dollar


@pytest.mark.parametrize("name", ["budget", "budget, dollars", "budget, day", "budget, month"])
def test_a_budget_ends(gateway: Gateway, store: Store, upstream: up.FakeUpstream, name: str) -> None:
    def use_up() -> None:
        upstream.exchanges.clear()
        for number in range(1, PASS + 1):
            assert ask(gateway, store.key[name], **LITTLE).status == 200
            store.wait_spent(name, number * USED, number * COST)
        for _ in range(2):
            answer = ask(gateway, store.key[name], **LITTLE)
            check_code(answer, 429, "insufficient_quota")
            assert answer.error["type"] == "insufficient_quota" and answer.header("x-should-retry") == "false"
        assert len(upstream.requests) == PASS

    use_up()
    if "," in name and "dollars" not in name:  # a period later it is there again
        with sqlite3.connect(store.data / "parley.db", timeout=10) as database:
            database.execute("UPDATE key_usage SET period = period - 1 WHERE key_id = ?", (store.id[name],))
        assert store.rows()[name]["spent_tokens"] == 0
        use_up()


def cached(exchange: up.Exchange) -> None:
    usage = {**WIRE.answer["usage"], "prompt_tokens_details": {"cached_tokens": 6}}
    up.json_reply({**WIRE.answer, "usage": usage})(exchange)


USAGE: dict[str, tuple[up.Script | None, dict, int, int]] = {  # script, fields, tokens, millionths of a dollar
    "usage, json": (None, {}, USED, COST),
    "usage, stream": (None, {"stream": True}, USED, COST),
    "usage, cached": (cached, {}, USED, 2 * (PROMPT_TOKENS - 6) + 3 + 8 * COMPLETION_TOKENS),
    "usage, 500": (up.json_reply({"error": {"message": "x"}}, 500), {}, 0, 0),
    "usage, reset": (up.reset_before_head, {"stream": True}, 0, 0),
    # Something was said, and nobody told what it cost: it stays as it was set aside (1024 tokens of answer, and the prompt).
    "usage, mid-stream": (up.pieces(WIRE.events[:2], then="reset"), {"stream": True}, 1034, 8212),
}


@pytest.mark.parametrize("name", USAGE)
def test_the_usage_is_the_provider_s(gateway: Gateway, store: Store, upstream: up.FakeUpstream, name: str) -> None:
    """And a call that fails before the first word gives back all that was set aside."""
    script, fields, tokens, cost = USAGE[name]
    if script:
        upstream.on(script)
    answer = ask(gateway, store.key[name], **fields)
    assert (answer.status == 200) == (tokens > 0 or "mid" in name), answer.body
    store.wait_spent(name, tokens, cost)


def test_each_round_costs_what_its_own_model_costs(gateway: Gateway, store: Store, upstream: up.FakeUpstream) -> None:
    """Whoever answered last says nothing of the price of the rounds before."""
    usage = {"prompt_tokens": 100_000, "completion_tokens": 1000, "total_tokens": 101_000}
    asks = asks_for(replace(WIRE, answer={**WIRE.answer, "usage": usage}), ADDS)
    upstream.queue(asks, up.json_reply({"error": {"message": "x"}}, 500))
    assert ask(gateway, store.key["usage, two candidates"], "dear").status == 200
    assert len(upstream.requests) == 3
    store.wait_spent("usage, two candidates", 101_000 + USED, 101_000_000 + COST)


UNTOLD: dict[str, up.Script] = {
    "untold, json": up.json_reply({name: value for name, value in WIRE.answer.items() if name != "usage"}),
    "untold, stream": up.pieces([event for event in WIRE.events if b'"usage"' not in event]),
    "untold, client left": up.pieces(WIRE.events[:3], then="hang"),
}


@pytest.mark.parametrize("name", UNTOLD)
def test_a_usage_that_nobody_told_is_not_nothing(
    gateway: Gateway, store: Store, upstream: up.FakeUpstream, name: str
) -> None:
    """Some providers tell none, and a client that leaves before the end must not have it for free."""
    upstream.on(UNTOLD[name])
    if name.endswith("left"):
        body = chat_body("alpha", "hello", stream=True)
        with Stream(gateway, body, key=store.key[name]) as running:
            for _ in running:
                if running.seen.text:
                    break
        upstream.last.wait_closed()
    else:
        assert ask(gateway, store.key[name], stream="stream" in name).status == 200
    settled = time.monotonic() + 0.5
    wait_until(lambda: time.monotonic() > settled or store.rows()[name]["spent_tokens"] == 0)
    assert store.rows()[name]["spent_tokens"] > 0


@pytest.mark.parametrize("name", ["untold, later round", "untold, later round, client left"])
def test_a_round_that_told_its_usage_does_not_pay_for_one_that_did_not(
    gateway: Gateway, store: Store, upstream: up.FakeUpstream, name: str
) -> None:
    """What was set aside is kept for the round of which nobody knows, beside what the rounds before it used."""
    untold = UNTOLD["untold, client left" if name.endswith("left") else "untold, stream"]
    upstream.queue(asks_for(WIRE, ADDS), untold)
    body = chat_body("sums", "hello", stream=True, max_completion_tokens=1000)
    with Stream(gateway, body, key=store.key[name]) as running:
        for _ in running:
            if running.seen.text and name.endswith("left"):
                break
    assert len(upstream.requests) == 2 and running.seen.text
    if name.endswith("left"):
        upstream.last.wait_closed()
    wait_until(lambda: store.rows()[name]["spent_tokens"] >= USED + 1000, what="what both rounds used")
    assert store.rows()[name]["spent_tokens"] <= USED + 1000 + 20


def test_the_usage_of_embeddings(gateway: Gateway, store: Store) -> None:
    answer = call(gateway, "POST", "/v1/embeddings", {"model": "alpha", "input": "x"}, key=store.key["usage, embeddings"])
    assert answer.status == 200
    store.wait_spent("usage, embeddings", 3, 6)


def test_embeddings_without_a_usage_are_settled(gateway: Gateway, store: Store, upstream: up.FakeUpstream) -> None:
    """What was set aside for the request, since nobody knows better; nested details hide nothing."""
    data = [{"object": "embedding", "index": 0, "embedding": [0.5]}]
    body = {"model": "alpha", "input": "x"}
    key = store.key["usage, embeddings, odd"]
    upstream.on(up.json_reply({"object": "list", "data": data, "model": "m", "usage": None}))
    assert call(gateway, "POST", "/v1/embeddings", body, key=key).status == 200
    wait_until(lambda: store.rows()["usage, embeddings, odd"]["spent_tokens"] > 0, what="the estimate")
    before = store.rows()["usage, embeddings, odd"]["spent_tokens"]
    usage = {"prompt_tokens_details": {"cached_tokens": 0}, "prompt_tokens": 500, "total_tokens": 500}
    upstream.on(up.json_reply({"object": "list", "data": data, "model": "m", "usage": usage}))
    assert call(gateway, "POST", "/v1/embeddings", body, key=key).status == 200
    store.wait_spent("usage, embeddings, odd", before + 500)


def test_dollars_need_a_price(gateway: Gateway, store: Store, upstream: up.FakeUpstream) -> None:
    key = store.key["unpriced"]
    for answer in (ask(gateway, key, "nyx"), ask(gateway, key, "nyx", stream=True),
                   call(gateway, "POST", "/v1/embeddings", {"model": "nyx", "input": "x"}, key=key)):  # fmt: skip
        check_code(answer, 403, "insufficient_permissions")
        assert "'gpt-free' has no price" in answer.error["message"] and "'prices'" in answer.error["message"]
    assert len(upstream.requests) == 0
    assert ask(gateway, key, "demo").status == 200, "it costs nothing"
    wait_until(lambda: store.rows()["unpriced"]["spent_tokens"] > 0, timeout=3)
    assert store.rows()["unpriced"]["spent_usd"] == 0


# ---- on Postgres


@pytest.fixture
def shared(tmp_path: Path, postgres: Postgres):
    """(the environment, the commands) of an empty database"""
    postgres.sql("DROP SCHEMA public CASCADE; CREATE SCHEMA public")
    env = {"DATABASE_URL": postgres.dsn}
    return env, Store(tmp_path / "commands", env=env)


def test_a_budget_holds_for_many_at_once_in_two_processes(start_gateway, upstream: up.FakeUpstream, shared) -> None:
    env, store = shared
    key = store.create("shared", "--budget-tokens", "1200")  # each sets aside 110 to 120
    provider = WIRE.provider(upstream.url, prices=PRICES)
    pair = [start_gateway(config(agent("forgets", "p", resources=[]), p=provider), env=env) for _ in range(2)]
    release = threading.Event()

    def hold(exchange: up.Exchange) -> None:
        while not release.is_set():
            exchange.sleep(0.02)
        up.json_reply(WIRE.answer)(exchange)

    upstream.on(hold)
    told: list[Answer] = []

    def one(number: int) -> None:
        told.append(ask(pair[number % 2], key, "forgets", text="x" * 20, **LITTLE))

    with ThreadPoolExecutor(64) as pool:
        running = [pool.submit(one, number) for number in range(64)]
        try:
            wait_until(lambda: len(told) + len(upstream.requests) >= 64, timeout=15, what="all to be decided")
        finally:
            release.set()
        for each in running:
            each.result(20)
    assert Counter(answer.status for answer in told) == {200: 10, 429: 54}
    assert {answer.error["code"] for answer in told if answer.status == 429} == {"insufficient_quota"}
    assert len(upstream.requests) == 10
    store.wait_spent("shared", 10 * USED)
    assert ask(pair[0], key, "forgets", **LITTLE).status == 200, "what was set aside and not used is there again"


def sessions(postgres: Postgres, which: str) -> int:
    return int(postgres.sql(f"SELECT count(*) FROM pg_stat_activity WHERE pid <> pg_backend_pid() AND {which}"))


def test_what_is_set_aside_too_late_is_given_back(
    start_gateway, upstream: up.FakeUpstream, shared, postgres: Postgres
) -> None:
    """The row of a key is held until the gateway gives its connection up. The server carries out what it was sent on it
    all the same, once the row is free, and no answer of a model will ever settle that."""
    env, store = shared
    key = store.create("late", "--budget-tokens", "5000")
    provider = WIRE.provider(upstream.url)
    gateway = start_gateway(config(agent("forgets", "p", resources=[]), p=provider), env=env, args=("--threads", "1"))
    assert ask(gateway, key, "forgets").status == 200
    store.wait_spent("late", USED)
    holder = postgres.hog("BEGIN", "SELECT 1 FROM key_usage FOR UPDATE")
    try:
        wait_until(lambda: sessions(postgres, "wait_event = 'PgSleep'") == 1, what="the lock")
        check_code(ask(gateway, key, "forgets"), 503, "store_unavailable")
        time.sleep(1)  # in which it may begin to be given back
    finally:
        holder.kill()
        holder.wait()
    wait_until(lambda: sessions(postgres, "state <> 'idle'") == 0, what="all to be carried out")
    assert len(upstream.requests) == 1
    found = None

    def is_given_back() -> bool:
        nonlocal found
        left = postgres.sql("SELECT count(*) FROM reservations WHERE granted = 1")
        found = (store.rows()["late"]["spent_tokens"], left)
        return found == (USED, "0")

    try:
        wait_until(is_given_back, timeout=8)
    except AssertionError:
        raise AssertionError(f"(spent, reservations) are {found}, not {(USED, '0')}") from None
    assert ask(gateway, key, "forgets").status == 200
    store.wait_spent("late", 2 * USED)


def test_two_gateways_lock_keys_in_one_order(start_gateway, shared, postgres: Postgres) -> None:
    """Each writes many requests in one transaction: were it in the order they came, the two would wait for each other,
    and Postgres would have to end one of them, a second later."""
    env, store = shared
    keys = [store.create(f"k{number}", "--budget-tokens", "100000") for number in range(4)]
    forgets = demo_agent(resources=[], model_settings={"demo_delay_ms": 0})
    postgres.sql("ALTER ROLE parley SET deadlock_timeout = '10ms'")  # it need not take a second here
    try:
        pair = [start_gateway(config(forgets), env=env, args=("--threads", "1")) for _ in range(2)]
        for key in keys:
            assert [ask(gateway, key, "demo").status for gateway in pair] == [200, 200]
    finally:
        postgres.sql("ALTER ROLE parley RESET deadlock_timeout")
    written = (postgres.folder / "log").stat().st_size
    # One asks with the first key and would then ask for the last, the other the other way round, and both wait between.
    asked = [(pair[which], keys[number], connect(pair[which])) for which, number in
             ((0, 0), (0, 1), (0, 3), (1, 3), (1, 2), (1, 0))]  # fmt: skip
    between = ", ".join(f"'{store.id[name]}'" for name in ("k1", "k2"))
    holder = postgres.hog("BEGIN", f"SELECT 1 FROM key_usage WHERE key_id IN ({between}) FOR UPDATE")
    try:
        wait_until(lambda: sessions(postgres, "wait_event = 'PgSleep'") == 1, what="the lock")
        for gateway in pair:
            gateway.signal(signal.SIGSTOP)  # so that it finds all requests at once
        for gateway, key, connection in asked:
            body = chat_body("demo", "hello")
            connection.send(request_bytes(gateway, "POST", "/v1/chat/completions", body, key=key))
        for gateway in pair:
            gateway.signal(signal.SIGCONT)
        wait_until(lambda: sessions(postgres, "wait_event_type = 'Lock'") == 2, what="both at the lock")
    finally:
        holder.kill()
        holder.wait()
    for _, _, connection in asked:
        with connection:
            assert connection.read_answer().status == 200
    with (postgres.folder / "log").open("rb") as file:
        file.seek(written)
        assert file.read().count(b"deadlock detected") == 0


def test_a_store_that_is_away(start_gateway, upstream: up.FakeUpstream, shared, postgres: Postgres) -> None:
    env, store = shared
    known, unknown = store.create("known"), "sk-parley-0123456789ab-" + "x" * 43
    provider = WIRE.provider(upstream.url)
    gateway = start_gateway(config(agent("keeps", "p"), agent("forgets", "p", resources=[]), p=provider), env=env,
                            args=("--threads", "1"))  # fmt: skip
    assert (status(gateway, known), status(gateway, unknown)) == (200, 401)
    later = store.create("later")
    wait_until(lambda: status(gateway, later) == 200, SEEN_S, what="a key made while it runs")
    postgres.stop()
    try:
        wait_until(lambda: status(gateway, unknown) == 503, SEEN_S, what="what it cannot know")
        for _ in range(3):
            for key in (known, later):
                assert ask(gateway, key, "forgets").status == 200
            answer = ask(gateway, unknown, "forgets")
            check_code(answer, 503, "store_unavailable")
            assert int(answer.header("retry-after")) >= 1
            check_code(ask(gateway, known, "keeps", session_id="s"), 503, "store_unavailable")
    finally:
        postgres.start()
    wait_until(lambda: status(gateway, unknown) == 401, SEEN_S, what="what it knows again")
    assert ask(gateway, known, "forgets").status == 200


def test_a_store_that_is_away_at_the_start_opens_no_door(start_gateway, shared, postgres: Postgres) -> None:
    env, store = shared
    key = store.create("known")
    postgres.stop()
    try:
        gateway = start_gateway(config(demo_agent(resources=[])), env=env, start=False,
                                bind=("--host", "0.0.0.0", "--port", "0"))  # fmt: skip
        with pytest.raises(StartFailed, match="is not known"):
            gateway.start()
        gateway = start_gateway(config(demo_agent(resources=[])), env=env, keys=(ENV_KEY,))
        assert status(gateway, ENV_KEY) == 200
        check_code(ask(gateway, key, "demo"), 503, "store_unavailable")
        local = start_gateway(config(demo_agent(resources=[])), env=env)
        for told in (None, key):  # on this machine, but a proxy may stand before it
            check_code(ask(local, told, "demo"), 503, "store_unavailable")
            assert status(local, told) == 503
        assert call(local, "GET", "/health?detailed=true").status == 503
        assert call(local, "GET", "/livez").status == 200
    finally:
        postgres.start()
    wait_until(lambda: status(gateway, key) == 200, SEEN_S, what="the keys of the store")
    wait_until(lambda: status(local, key) == 200, SEEN_S, what="the keys of the store")
    wait_until(lambda: status(local, None) == 401, SEEN_S, what="every loop's knowing that there are keys")


# ---- rotation


def test_a_rotated_key_is_still_the_same_principal(gateway: Gateway, store: Store) -> None:
    old = store.key["rotated"]
    Talk(gateway, "mine", "alpha", key=old).say("hello")
    new = store.rotate("rotated", "1h")
    assert KEY.fullmatch(new)[1] == KEY.fullmatch(old)[1] and new != old
    wait_until(lambda: status(gateway, new) == 200, SEEN_S)
    for key in (new, old):
        talk = Talk(gateway, "mine", "alpha", key=key)
        assert talk.path()[0] == "user: hello"
        answer = talk.ask("again")
        assert answer.status == 200
        line = gateway.wait_log(lambda log: log.get("request_id") == answer.header("x-request-id"))
        assert line["principal"] == "key:" + store.id["rotated"]
    assert call(gateway, "GET", "/conversations/mine", key=store.key["user"]).status == 404
    newest = store.rotate("rotated", "3s")
    wait_until(lambda: status(gateway, newest) == 200 and status(gateway, old) == 401, SEEN_S, "the one before the last")
    assert status(gateway, new) == 200, "the overlap"
    wait_until(lambda: status(gateway, new) == 401, timeout=5, what="the end of the overlap")
    assert len(Talk(gateway, "mine", "alpha", key=newest).path()) == 6
    assert store.rows()["rotated"]["id"] == store.id["rotated"]


# ---- the audit log


def test_what_was_done_is_written_down(tmp_path: Path) -> None:
    store = Store(tmp_path, tmp_path / "data")
    store.create("ann", "--role", "viewer")
    store.rotate("ann", "24h")
    store.run("keys", "revoke", store.id["ann"])
    entries = store.audit()
    assert [(one["seq"], one["action"], one["subject"]) for one in entries] == [
        (number, action, store.id["ann"]) for number, action in enumerate(("key.create", "key.rotate", "key.revoke"), 1)
    ]
    assert all(one["actor"].startswith("cli:") and one["at"].endswith("Z") for one in entries)
    assert "name=ann" in entries[0]["detail"] and "role=viewer" in entries[0]["detail"]
    verdict = json.loads(store.run("audit", "verify", "--json").stdout)
    assert verdict["entries"] == 3 and not verdict["problem"] and re.fullmatch("[0-9a-f]{64}", verdict["head"])


def test_what_was_done_is_written_down_without_a_doubt(tmp_path: Path) -> None:
    store = Store(tmp_path, tmp_path / "data")
    store.create("x role=admin", "--agent", "a,b", "--agent", "c*")
    store.create("month", "--budget-tokens", "5", "--budget-period", "month")
    store.create("total", "--budget-tokens", "5")
    store.create('say "x"')
    details = [entry["detail"] for entry in store.audit()]
    assert details == [
        'name="x role=admin" role=user agents="a,b",c*',
        "name=month role=user budget_tokens=5 budget_period=month",
        "name=total role=user budget_tokens=5 budget_period=total",
        'name="say \\"x\\"" role=user',
    ]
    assert json.loads(store.run("audit", "verify", "--json").stdout)["entries"] == 4


@pytest.fixture(params=["sqlite", "postgres"])
def at_once(request, tmp_path: Path):
    """(the commands, at_once(command, ...) -> the exit codes): each has seen the store before any of them writes to it;
    with SQLite, where nothing can hold them there, as good as that."""
    if request.param == "postgres":
        _, store = request.getfixturevalue("shared")
        server: Postgres | None = request.getfixturevalue("postgres")
    else:
        store, server = Store(tmp_path / "commands", tmp_path / "data"), None

    def run(*commands: tuple[str, ...]) -> list[int]:
        where = ("--data", str(store.data)) if store.data else ()
        holder = server and server.hog("BEGIN", "LOCK TABLE audit IN EXCLUSIVE MODE")
        with ThreadPoolExecutor(len(commands)) as pool:
            try:
                if server:
                    wait_until(lambda: sessions(server, "wait_event = 'PgSleep'") == 1, what="the lock")
                begun = [pool.submit(run_cli, *one, *where, cwd=store.folder, env=store.env) for one in commands]
                if server:
                    wait_until(lambda: sessions(server, "wait_event_type = 'Lock'") == len(commands), what="all at it")
            finally:
                if holder:
                    holder.kill()
                    holder.wait()
            return [one.result().returncode for one in begun]

    return store, run


def actions(store: Store) -> Counter[str]:
    return Counter(entry["action"] for entry in store.audit())


def test_rotations_at_once_are_written_down_if_they_were_done(at_once) -> None:
    """Whoever comes too late is told that nothing was done, and the log says no other thing."""
    store, run = at_once
    done = 0
    for number in range(1 if store.env else 6):
        store.create(f"k{number}")
        codes = run(*[("keys", "rotate", store.id[f"k{number}"])] * (2 if store.env else 4))
        assert 0 in codes and set(codes) <= {0, 1}
        done += codes.count(0)
        assert actions(store)["key.rotate"] == done, codes
    assert not json.loads(store.run("audit", "verify", "--json").stdout)["problem"]


def test_revocations_at_once_are_written_down_once(at_once) -> None:
    store, run = at_once
    for number in range(1 if store.env else 6):
        store.create(f"k{number}")
        codes = run(*[("keys", "revoke", store.id[f"k{number}"])] * (2 if store.env else 4))
        assert 0 in codes and set(codes) <= {0, 1}
        assert actions(store)["key.revoke"] == number + 1, codes
        assert store.rows()[f"k{number}"]["state"] == "revoked"
    assert not json.loads(store.run("audit", "verify", "--json").stdout)["problem"]


TAMPERED = {  # what was done, and how many entries still hold
    "a detail": ("UPDATE audit SET detail = 'nothing' WHERE seq = 2", 1),
    "a time": ("UPDATE audit SET at_ms = at_ms + 1 WHERE seq = 1", 0),
    "an actor": ("UPDATE audit SET actor = 'cli:mallory' WHERE seq = 4", 3),
    "a gap": ("DELETE FROM audit WHERE seq = 2", 1),
    "a gap that was closed": ("DELETE FROM audit WHERE seq = 2; UPDATE audit SET seq = seq - 1 WHERE seq > 2", 1),
    "the first": ("DELETE FROM audit WHERE seq = 1", 0),
    "another order": ("UPDATE audit SET seq = 9 WHERE seq = 2; UPDATE audit SET seq = 2 WHERE seq = 3; "
                      "UPDATE audit SET seq = 3 WHERE seq = 9", 1),
    "one more": ("INSERT INTO audit SELECT tenant, 5, at_ms, actor, action, subject, detail, previous, digest FROM audit "
                 "WHERE seq = 4", 4),
}  # fmt: skip


@pytest.fixture(scope="module")
def audited(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("audited")
    store = Store(folder, folder / "data")
    for name in ("one", "two", "three", "four"):
        store.create(name)
    return folder / "data"


@pytest.mark.parametrize("case", TAMPERED)
def test_what_was_changed_shows(tmp_path: Path, audited: Path, case: str) -> None:
    statements, holding = TAMPERED[case]
    store = Store(tmp_path, tmp_path / "data")
    shutil.copytree(audited, store.data)
    before = json.loads(store.run("audit", "verify", "--json").stdout)
    with sqlite3.connect(store.data / "parley.db") as database:
        database.executescript(statements)
    database.close()
    done = store.run("audit", "verify", "--json", code=1)
    verdict = json.loads(done.stdout)
    assert verdict["problem"] and verdict["entries"] == holding
    assert verdict["head"] != before["head"] or holding == before["entries"]
    assert store.run("audit", "verify", code=1).stdout.rstrip().endswith(verdict["problem"])


# ---- secrets


@pytest.mark.parametrize("kind", ["sqlite", "postgres"])
def test_raw_keys_are_nowhere(request, start_gateway, upstream: up.FakeUpstream, tmp_path: Path, kind: str) -> None:
    if kind == "postgres":
        env, store = request.getfixturevalue("shared")
    else:
        env, store = {}, Store(tmp_path / "commands", tmp_path / "kept")
    secrets = [store.create("ann", "--requests-per-minute", "2"), store.create("bob", "--role", "admin")]
    provider = WIRE.provider(upstream.url)
    gateway = start_gateway(config(agent("a", "p"), p=provider), env={**env, "LOG_LEVEL": "debug"},
                            args=("--threads", "1"), data=tmp_path / "kept")  # fmt: skip
    secrets += [store.rotate("ann", "1h"), store.rotate("bob", "1h")]
    wait_until(lambda: status(gateway, secrets[3]) == 200, SEEN_S)
    for key in secrets:
        ask(gateway, key, "a", session_id="s")
        ask(gateway, key, "none")
        ask(gateway, key[:-1], "a")
        call(gateway, "GET", f"/v1/models?api_key={key}", key=None)
        call(gateway, "GET", "/v1/models", headers={"X-Api-Key": key, "Api-Key": key}, key=key)
    store.run("keys", "revoke", store.id["ann"])
    wait_until(lambda: status(gateway, secrets[2]) == 401, SEEN_S)
    told = {
        "metrics": call(gateway, "GET", "/metrics", key=secrets[3]).body.decode(),
        "health": call(gateway, "GET", "/health?detailed=true", key=secrets[3]).body.decode(),
        "list": store.run("keys", "list", "--json").stdout,
        "audit": store.run("audit", "list", "--json").stdout,
    }
    gateway.signal(signal.SIGTERM)
    assert gateway.wait_exit(5) == 0
    told["log"] = gateway.output
    if kind == "postgres":
        told["store"] = request.getfixturevalue("postgres").sql(
            "SELECT table_to_xml(oid, true, false, '') FROM pg_class "
            "WHERE relkind = 'r' AND relnamespace = 'public'::regnamespace"
        )
    else:
        told["store"] = "".join(one.read_bytes().decode("latin-1") for one in (tmp_path / "kept").rglob("*") if one.is_file())
    assert "name=ann" in told["store"], "it was looked where they would be"
    assert store.id["ann"] in told["log"]
    for place, text in told.items():
        for key in secrets:
            assert secret_of(key)[:-1] not in text, place


@pytest.mark.parametrize("target", ["/v1/models/KEY", "/KEY/v1/models"])
def test_a_key_in_a_path_is_not_logged(gateway: Gateway, store: Store, target: str) -> None:
    """Some clients take a base URL only, and people put there what they have."""
    key = store.key["user"]
    answer = call(gateway, "GET", target.replace("KEY", key), key=key)
    assert answer.status == 404
    line = gateway.wait_log(lambda log: log.get("request_id") == answer.header("x-request-id"))
    assert line and secret_of(key) not in json.dumps(line)
