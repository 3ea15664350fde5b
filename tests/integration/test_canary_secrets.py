"""A secret stays where it was put: canaries in every place that can hold one, everything made to talk, then a search of
every byte that came out (facts/reliability.md §4.2; LiteLLM #31620 and #13705 told theirs in logs).

Searched are the gateway's output at the level `debug`, all HTTP answers with their heads, /metrics, the output of each
command, and the files of the data folder; for the canary itself, its two ends, base64 at each alignment, URL and JSON
escapes, and hex. The one thing that is no leak of ours: a tool that returns its own environment as its result.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shutil
import signal
import time
import uuid
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from urllib.parse import quote, quote_plus

import pytest
from test_users import token

from harness import upstream as up
from harness.api import call, chat_body, connect
from harness.certs import Authority
from harness.configs import agent, config, demo_agent
from harness.gateway import Gateway, StartFailed, run_cli, wait_until
from harness.mcp import children, stdio, wait_record
from harness.postgres import Postgres
from harness.rawhttp import Answer
from harness.wires import BY_NAME, DONE, chunk, sse

OPENAI, AZURE = BY_NAME["openai"], BY_NAME["azure-cc-v1"]


# ---- canaries


def made_up(name: str, form: str = "words") -> str:
    """The same in every run, and like nothing else in it."""
    digest = hashlib.sha256(f"canary {name}".encode()).hexdigest()
    return {
        "sk": f"sk-proj-{digest[:40]}",
        "hex": digest[:32],
        "uuid": str(uuid.UUID(digest[:32])),
        "short": digest[:14],
        "words": f"kestrel-{digest[:8]}-marmot-{digest[8:16]}",
        "marks": f"{digest[:9]}~/+{digest[9:18]}=&%{digest[18:24]}",
        "entra": f"{digest[:3]}8Q~{digest[3:20]}.{digest[20:30]}",
    }[form]


KEYS = {form: made_up(f"key {form}", form) for form in ("sk", "hex", "uuid", "words", "short", "marks", "entra")}
SECRETS = {
    "client key": made_up("client", "sk"),
    "other client key": made_up("other client"),
    "wrong client key": made_up("wrong client", "sk"),
    "forwarder key": made_up("forwarder", "uuid"),
    "jwt secret": made_up("jwt", "marks"),
    "provider header": made_up("provider header"),
    "entra secret": made_up("entra secret", "entra"),
    "entra token": made_up("entra token"),
    "database password": made_up("database", "marks"),
    "plain database password": made_up("plain database"),
    "mcp env": made_up("mcp env"),
    "mcp env file": made_up("mcp env file", "uuid"),
    "mcp argument": made_up("mcp argument"),
    "mcp header": made_up("mcp header"),
    "mcp url": made_up("mcp url", "short"),
    "oauth secret": made_up("oauth secret"),
    "oauth token": made_up("oauth token"),
    "oauth refresh token": made_up("oauth refresh", "uuid"),
    "dotenv": made_up("dotenv"),
    "configured": made_up("configured"),
    **{f"provider key ({form})": key for form, key in KEYS.items()},
}
TEXTS = {  # what people and models say, which is nobody's business but theirs
    "user's message": "the-swallow-flies-at-" + made_up("message", "short"),
    "model's answer": "the-heron-waits-until-" + made_up("answer", "short"),
}
QUESTION, SAID = TEXTS["user's message"], TEXTS["model's answer"]


def forms_of(secret: str) -> dict[str, bytes]:
    raw = secret.encode()
    forms = {
        "as it is": raw,
        "its beginning": raw[:12],
        "its end": raw[-12:],
        "hex": raw.hex().encode(),
        "HEX": raw.hex().upper().encode(),
        "URL": quote(secret, safe="").encode(),
        "form": quote_plus(secret).encode(),
        "JSON": json.dumps(secret)[1:-1].replace("/", "\\/").encode(),
    }
    for shift in range(3):  # where it stands in what was encoded; the characters at its edges hold neighbours' bits
        coded = base64.b64encode(b"\0" * shift + raw)
        sure = coded[(0, 2, 3)[shift] : (len(raw) + shift) // 3 * 4]
        forms[f"base64, {shift}"] = sure
        forms[f"base64url, {shift}"] = sure.replace(b"+", b"-").replace(b"/", b"_")
    assert all(len(form) >= 12 for form in forms.values()), forms
    return forms


FORMS = {name: forms_of(secret) for name, secret in (SECRETS | TEXTS).items()}
LOG, METRICS, HEALTH, MODEL = "the log", "/metrics", "/health?detailed=true", "what the model was told"


@dataclass
class Heard:
    """All that came out, by where it did."""

    said: list[tuple[str, bytes]] = field(default_factory=list)

    def add(self, where: str, *what: object) -> None:
        for one in what:
            if isinstance(one, Answer):
                head = "\n".join(f"{name}: {value}" for name, value in one.headers)
                one = f"{one.reason}\n{head}\n\n".encode() + one.body
            self.said.append((where, one if isinstance(one, bytes) else str(one).encode()))

    def leaks(self) -> list[str]:
        """`what: where, how: ...around it...`, each once. Texts may be in answers: they belong to who asked."""
        found: dict[tuple[str, str], str] = {}
        for where, said in self.said:
            for name, forms in FORMS.items():
                if (name, where) in found or (name in TEXTS and where not in (LOG, METRICS, HEALTH)):
                    continue
                how, at = next(((how, at) for how, form in forms.items() if (at := said.find(form)) >= 0), ("", -1))
                if how:
                    around = said[max(at - 80, 0) : at + 60].decode(errors="replace").replace("\n", " ")
                    found[name, where] = f"{name}: {where}, {how}: ...{around}..."
        return list(found.values())

    def check(self) -> None:
        leaks = self.leaks()
        assert not leaks, "told:\n" + "\n".join(leaks)


def test_the_search_finds() -> None:
    """The net has no holes: each form in which a secret could be written is found, wherever it stands."""
    for name, secret in SECRETS.items():
        for before in ("", "a", "ab", "abc"):
            text = f"{before}{secret} after"
            for written in (text, json.dumps(text), text.encode().hex(), quote(text, safe=""), secret[:20],
                            "x" + secret[-14:], base64.b64encode(text.encode()).decode(),
                            base64.urlsafe_b64encode(text.encode()).decode()):  # fmt: skip
                heard = Heard()
                heard.add(LOG, written)
                assert any(one.startswith(f"{name}:") for one in heard.leaks()), (name, written)


# ---- a server that says back what it was sent


class Echo:
    """Providers, token servers and MCP servers on one port, which answer as told."""

    def __init__(self) -> None:
        self.upstream = up.FakeUpstream()
        self.url = self.upstream.url
        self.script: up.Script | None = None
        self.upstream.on(self._answer)

    def _answer(self, exchange: up.Exchange) -> None:
        if self.script:
            return self.script(exchange)
        if exchange.request.target.startswith("/entra/"):
            return up.json_reply({"access_token": SECRETS["entra token"], "expires_in": 3600})(exchange)
        says()(exchange)


def key_of(request: up.Request) -> str:
    key = next((value for name, value in request.headers if name in ("authorization", "api-key")), "")
    return key.removeprefix("Bearer ")


def head_of(request: up.Request) -> str:
    """All that could be a secret, as servers repeat it."""
    fields = [f"{name}: {value}" for name, value in request.headers if name not in ("host", "content-length", "accept")]
    return f"{request.target} {' '.join(fields)}"


def says() -> up.Script:
    """An ordinary answer."""

    def script(exchange: up.Exchange) -> None:
        events = [sse(chunk({"role": "assistant", "content": SAID})), sse(chunk({}, "stop")), DONE]
        (up.pieces(events) if exchange.request.json().get("stream") else up.json_reply(answer()))(exchange)

    return script


def answer(**message: object) -> dict:
    made = json.loads(json.dumps(OPENAI.answer))
    made["choices"][0]["message"] = {"role": "assistant", "content": SAID, **message}
    return made


def asks_for_tool(name: str) -> up.Script:
    """First the tool, then an answer."""

    def script(exchange: up.Exchange) -> None:
        if any(message["role"] == "tool" for message in exchange.request.json()["messages"]):
            return says()(exchange)
        function = {"name": name, "arguments": json.dumps({"text": QUESTION})}
        made = answer(content=None, tool_calls=[{"id": "c1", "type": "function", "function": function}])
        made["choices"][0]["finish_reason"] = "tool_calls"
        up.json_reply(made)(exchange)

    return script


@pytest.fixture(scope="module")
def module_echo() -> Iterator[Echo]:
    made = Echo()
    yield made
    made.upstream.stop()


@pytest.fixture
def echo(module_echo: Echo) -> Iterator[Echo]:
    module_echo.script = None
    yield module_echo
    module_echo.script = None


# ---- the house: one gateway with all of them


def providers(url: str, tls_url: str, ca_file: Path) -> dict:
    own = {"X-Tenant-Key": SECRETS["provider header"]}
    entra = {"tenant_id": "t", "client_id": "c", "client_secret": "${HOUSE_ENTRA}", "token_url": f"{url}/entra/token"}
    azure = AZURE.provider(url, headers=own)
    del azure["api_key"]
    return {
        **{form: OPENAI.provider(url, api_key=key, headers=own) for form, key in KEYS.items()},
        "entra-id": {**azure, "entra": entra},
        "api-key": AZURE.provider(url, api_key=KEYS["hex"], headers=own),
        "ollama": BY_NAME["ollama"].provider(url, api_key=KEYS["words"], headers=own),
        "responses": BY_NAME["azure-responses"].provider(url, api_key=KEYS["hex"], headers=own),
        "trusted": OPENAI.provider(tls_url, api_key=KEYS["sk"], headers=own, ca_file=str(ca_file)),
        "untrusted": OPENAI.provider(tls_url, api_key=KEYS["sk"], headers=own),
        "away": OPENAI.provider("http://127.0.0.1:1", api_key=KEYS["sk"], headers=own),
    }


@dataclass
class House:
    gateway: Gateway
    tls: object
    folder: Path
    configuration: dict
    mcp: dict
    heard: Heard = field(default_factory=Heard)
    read: int = 0  # of its output

    def ask(self, method: str, target: str, body: object = None, headers: dict | None = None, **options) -> Answer:
        got = self.call(method, target, body, headers, **options)
        self.heard.add(f"the answer to {method} {target.split('?key')[0]}", got)
        return got

    def call(self, method: str, target: str, body: object = None, headers: dict | None = None, **options) -> Answer:
        options = {"key": SECRETS["client key"], **options}
        return call(self.gateway, method, target, body, headers, tls=self.tls, **options)

    def chat(self, model: str, headers: dict | None = None, **fields) -> Answer:
        return self.ask("POST", "/v1/chat/completions", chat_body(model, QUESTION, **fields), headers)

    def check(self) -> None:
        """What it has said since it was last looked at, and what its pages say now: nothing of it may be a secret."""
        for target in (HEALTH, METRICS, "/readyz"):
            self.heard.add(target, self.call("GET", target))
        output = settled(self.gateway, self.tls)
        self.heard.add(LOG, output[self.read :])
        self.read = len(output)
        heard, self.heard = self.heard, Heard()
        heard.check()

    def reload(self, configuration: object, mcp: object = None) -> str:
        """What came of it: config_reloaded or config_refused."""

        def outcomes() -> list[str]:  # of the signal: what the watch of the files says may be about one of them alone
            return [log["event"] for log in self.gateway.logs if log.get("why") == "SIGHUP"]

        before = len(outcomes())
        self.gateway.write_mcp(self.mcp if mcp is None else mcp)
        self.gateway.write_config(configuration)
        self.gateway.signal(signal.SIGHUP)
        wait_until(lambda: len(outcomes()) > before, timeout=10, what="the reload")
        return outcomes()[-1]


def settled(gateway: Gateway, tls: object = None) -> str:
    """Its output up to now: a loop writes its lines at the end of a turn, and this one comes after them."""
    time.sleep(0.03)  # for other loops than the one that gets this
    last = f"last-{uuid.uuid4()}"
    call(gateway, "GET", "/nothing", headers={"X-Request-Id": last}, tls=tls, timeout=10)
    assert gateway.wait_log(lambda log: log.get("request_id") == last)
    return gateway.output


@pytest.fixture(scope="module")
def house(start_module_gateway, tmp_path_factory, authority: Authority, module_tls_upstream, module_echo, postgres):
    folder = tmp_path_factory.mktemp("house")
    key = folder / "live.key"
    shutil.copy(authority.valid.key, key)
    for number, line in enumerate(key.read_text().splitlines()[1:-1], 1):
        decoded = base64.b64decode(line + "=" * (-len(line) % 4))
        FORMS[f"TLS key, line {number}"] = {"as it is": line.encode(), "DER": decoded, "hex": decoded.hex().encode()}
    made = providers(module_echo.url, module_tls_upstream.url, authority.ca_file)
    agents = [agent(name, name, allowed_mcp_servers={}) for name in made]
    configuration = config(*agents, agent("tooled", "sk", allowed_mcp_servers=None), **made)
    unused = {"type": "http", "url": f"http://127.0.0.1:1/mcp?key={SECRETS['mcp url']}", "idle_stop_ms": 0,
              "headers": {"Authorization": f"Bearer {SECRETS['mcp header']}"},
              "oauth": {"client_id": "us", "client_secret": SECRETS["oauth secret"]}}  # fmt: skip
    good = stdio(folder / "good", {"tools": ["echo", "fail", "process"]},
                 env={"TOOL_SECRET": SECRETS["mcp env"], "TOOL_OTHER": "${HOUSE_OTHER}"})  # fmt: skip
    good["args"] += [f"--token={SECRETS['mcp argument']}"]
    env = {
        "PARLEY_FORWARDER_KEYS": SECRETS["forwarder key"],
        "PARLEY_OPENWEBUI_JWT_SECRET": SECRETS["jwt secret"],
        "DATABASE_URL": postgres.dsn.replace("@", f":{quote(SECRETS['database password'], safe='')}@"),
        "HOUSE_ENTRA": SECRETS["entra secret"],
        "PARLEY_TLS_CERT": str(authority.valid.cert),
        "PARLEY_TLS_KEY": str(key),
        "LOG_LEVEL": "debug",
    }
    mcp = {"good": good, "unused": unused}
    gateway = start_module_gateway(
        configuration, mcp=mcp, env=env, keys=(SECRETS["client key"], SECRETS["other client key"]),
        args=("--threads", "1"), files={".env": f"HOUSE_OTHER={SECRETS['dotenv']}\n"},
    )  # fmt: skip
    yield House(gateway, authority.client_context(), folder, configuration, mcp)


# ---- requests


def test_what_goes_well(house: House, echo: Echo, tls_upstream: up.FakeUpstream) -> None:
    tls_upstream.on(says())
    for model in (*KEYS, "entra-id", "api-key", "trusted"):
        for streaming in (False, True):
            got = house.chat(model, stream=streaming, session_id=f"s-{model}")
            assert got.status == 200 and SAID.encode() in got.body, got.body
    assert tls_upstream.last.request.header("authorization") == f"Bearer {KEYS['sk']}"
    once = {"X-OpenWebUI-User-Jwt": token("ada", secret=SECRETS["jwt secret"]), "Idempotency-Key": str(uuid.uuid4())}
    assert [house.chat("sk", once, session_id="ada's").status for _ in range(2)] == [200, 200]
    for target in ("/", "/docs", "/openapi.json", "/livez", "/health", "/agents", "/agents/sk", "/agents/sk/health",
                   "/conversations", "/conversations/s-sk", "/conversations/s-sk?branches=true", "/v1/models",
                   "/v1/models/sk", "/v1/agents"):  # fmt: skip
        assert house.ask("GET", target).status == (404 if target == "/v1/agents" else 200), target
    house.check()


def test_who_is_refused(house: House) -> None:
    """Nor is a wrong key told, which may be a good one with a slip of the pen, nor the words of a request at fault."""
    good, wrong = SECRETS["client key"], SECRETS["wrong client key"]
    basic = base64.b64encode(f"user:{good}".encode()).decode()
    for headers in ({"Authorization": f"Bearer {wrong}"}, {"Authorization": wrong}, {"Authorization": f"Basic {basic}"},
                    {"Authorization": f"Bearer {good}x"}, {"x-api-key": good}, {"api-key": wrong},
                    {"Authorization": f"Bearer {good}", "x-api-key": wrong}, {"Cookie": f"token={good}"}):  # fmt: skip
        for target in ("/v1/models", "/v1/chat/completions", HEALTH):
            method, body = ("POST", chat_body("sk", QUESTION)) if "chat" in target else ("GET", None)
            assert house.ask(method, target, body, headers, key=None).status in (400, 401)
    forged = token("ada", secret=wrong)
    assert house.ask("GET", "/v1/models", headers={"X-OpenWebUI-User-Jwt": forged}).status == 401
    plain = chat_body("sk", QUESTION)
    wrong_fields = ({"temperature": QUESTION}, {"stop": {"a": QUESTION}}, {"tools": [{"type": QUESTION}]},
                    {"tool_choice": QUESTION}, {"model": QUESTION}, {"response_format": {"type": QUESTION}},
                    {"messages": [{"role": QUESTION, "content": QUESTION}]}, {"messages": QUESTION},
                    {"messages": [{"role": "user", "content": {"x": QUESTION}}]})  # fmt: skip
    for body in (*({**plain, **fields} for fields in wrong_fields), {"messages": QUESTION}, [QUESTION],
                 json.dumps(plain)[:-3].encode(), QUESTION.encode()):  # fmt: skip
        assert house.ask("POST", "/v1/chat/completions", body).status in (400, 404), body
    for method, target in (("GET", "/nothing"), ("POST", "/v1/models"), ("GET", "/v1/models/no"),
                           ("GET", f"/v1/models?key={good}"), ("GET", f"/conversations?limit={QUESTION}")):  # fmt: skip
        house.ask(method, target, {} if method == "POST" else None)
    assert forged not in settled(house.gateway, house.tls)
    house.check()


# ---- providers that say back what they were sent


def says_back(what: Callable[[up.Request], str], where: str, status: int) -> up.Script:
    def script(exchange: up.Exchange) -> None:
        told = what(exchange.request)
        words = f"This is wrong: {told}. Try another."
        raw = json.dumps({"error": words})
        bodies = {
            "message": {"error": {"message": words, "type": "invalid_request_error", "param": None, "code": "bad"}},
            "code": {"error": {"message": "no", "type": told, "param": told, "code": told}},
            "detail": {"detail": [{"loc": ["header"], "msg": words}]},
            "raw": {"error": {"message": "no", "code": status, "metadata": {"raw": raw, "provider_name": told}}},
            "html": f"<html><body><pre>{words}</pre></body></html>",
            "text": words,
        }
        if where == "head":
            names = ("X-Echo", "Retry-After", "Location", "Set-Cookie", "X-Request-Id", "OpenAI-Organization")
            fields = [up.JSON, ("WWW-Authenticate", f'Bearer realm="{told}"'), *((name, told) for name in names)]
            return up.reply(b'{"error":{"message":"no"}}', status, fields, reason=f"No {told[:30]}")(exchange)
        body = bodies[where] if isinstance(bodies[where], str) else json.dumps(bodies[where])
        kind = "text/html" if where == "html" else "text/plain" if where == "text" else "application/json"
        up.reply(body.encode(), status, [("Content-Type", kind)])(exchange)

    return script


WHERE = {"message": (400, 401, 403, 404, 422, 429, 500, 503), "code": (400, 500), "detail": (422, 500),
         "raw": (400, 502), "html": (401, 500), "text": (400, 500), "head": (302, 400, 401, 429, 503)}  # fmt: skip


def provoke(house: House, echo: Echo, model: str, what: Callable[[up.Request], str]) -> None:
    for where, statuses in WHERE.items():
        for status in statuses:
            echo.script = says_back(what, where, status)
            assert house.chat(model).status >= 400, (where, status)
    house.check()


@pytest.mark.parametrize("form", KEYS)
def test_a_provider_says_our_key_back(house: House, echo: Echo, form: str) -> None:
    """In an error of any shape: JSON, a page, a sentence, a head. Not every key looks like one: some are words."""
    provoke(house, echo, form, key_of)


@pytest.mark.parametrize("model", ["api-key", "ollama", "responses", "entra-id"])
def test_other_dialects_say_our_key_back(house: House, echo: Echo, model: str) -> None:
    """`entra-id`: the token that we were given."""
    if model == "entra-id":
        assert house.chat(model).status == 200
    provoke(house, echo, model, key_of)


def test_a_provider_says_our_headers_back(house: House, echo: Echo) -> None:
    """What is in `headers` may be a key as well."""
    provoke(house, echo, "sk", lambda request: dict(request.headers)["x-tenant-key"])


@pytest.mark.parametrize("form", ["sk", "uuid"])
def test_a_provider_says_our_key_back_in_the_middle(house: House, echo: Echo, form: str) -> None:
    """With status 200: an error event, bytes that are no event, an answer that is none."""
    kinds = ("event", "noise", "half", "page", "list", "text", "error")

    def broken(kind: str) -> up.Script:
        def script(exchange: up.Exchange) -> None:
            key = key_of(exchange.request)
            first = sse(chunk({"role": "assistant", "content": "It"}))
            error = {"error": {"message": f"The key {key} is wrong.", "type": "x", "param": key, "code": key}}
            raw = key.encode()
            events = {"event": sse(error), "noise": b"data: " + raw + b"\n\n", "half": b'data: {"id": "' + raw}
            if kind in events:
                return up.pieces([first, events[kind]], then="fin" if kind == "half" else "end")(exchange)
            bodies = {"page": f"<html>{key}</html>", "list": json.dumps([key]), "text": key, "error": json.dumps(error)}
            up.reply(bodies[kind].encode(), 200, [up.JSON])(exchange)

        return script

    for kind in kinds:
        echo.script = broken(kind)
        house.chat(form)
        house.chat(form, stream=True)
        house.ask("POST", "/v1/embeddings", {"model": form, "input": QUESTION})
    house.check()


@pytest.mark.parametrize("level", ["info", "debug"])
def test_what_is_said_is_not_logged(start_gateway, echo: Echo, level: str) -> None:
    """"Never message text, never a key" (docs/operations.md), whatever a provider makes of it, at every level."""
    provider = OPENAI.provider(echo.url, api_key=KEYS["sk"])
    gateway = start_gateway(config(agent("a", "p"), p=provider), env={"LOG_LEVEL": level})
    heard = Heard()
    scripts = [says_back(lambda request: request.body.decode(), where, status) for where in WHERE if where != "head"
               for status in (400, 401, 429, 500)]  # fmt: skip
    cut = sse(chunk({"role": "assistant", "content": SAID}))
    noise = lambda exchange: up.reply(exchange.request.body[:-1], 200, [up.JSON])(exchange)  # noqa: E731
    for script in (None, *scripts, noise, up.pieces([cut, b"data: " + SAID.encode() + b"\n\n"]), up.pieces([cut])):
        echo.script = script
        for fields in ({}, {"stream": True}, {"session_id": str(uuid.uuid4())}):
            call(gateway, "POST", "/v1/chat/completions", chat_body("a", QUESTION, **fields))
    heard.add(METRICS, call(gateway, "GET", "/metrics"))
    heard.add(LOG, settled(gateway))
    heard.check()


def test_a_provider_that_cannot_be_reached(house: House, tls_upstream: up.FakeUpstream) -> None:
    """No trust, nobody there, a client that speaks no TLS to us."""
    for model in ("untrusted", "away"):
        assert house.chat(model).status == 502
    assert tls_upstream.handshake_failures and not tls_upstream.requests
    with connect(house.gateway) as connection:
        connection.send(b"GET /livez HTTP/1.1\r\nHost: a\r\n\r\n")
        house.heard.add("the answer to no TLS", connection.read_all())
    house.check()


@pytest.mark.parametrize("where", ["error", "description", "page"])
def test_a_token_server_says_our_secret_back(start_gateway, echo: Echo, where: str) -> None:
    """Entra: the secret is in the body that we sent."""
    secret = SECRETS["entra secret"]
    entra = {"tenant_id": "t", "client_id": "c", "client_secret": secret, "token_url": f"{echo.url}/entra/t"}
    azure = AZURE.provider(echo.url, entra=entra)
    del azure["api_key"]
    gateway = start_gateway(config(agent("a", "p"), p=azure), env={"LOG_LEVEL": "debug"})

    def script(exchange: up.Exchange) -> None:
        sent = f"{secret} {exchange.request.body.decode()}"
        if where == "page":
            return up.reply(f"<html>{sent}</html>".encode(), 400, [("Content-Type", "text/html")])(exchange)
        error = sent if where == "error" else "invalid_client"
        up.json_reply({"error": error, "error_description": f"AADSTS7000215: {sent}", "error_uri": sent}, 401)(exchange)

    echo.script = script
    heard = Heard()
    got = call(gateway, "POST", "/v1/chat/completions", chat_body("a", QUESTION))
    assert got.status == 502, got.body
    heard.add("the answer", got)
    heard.add(HEALTH, call(gateway, "GET", HEALTH))
    heard.add(LOG, settled(gateway))
    heard.check()


# ---- MCP servers that tell what they were given


def test_a_result_goes_to_who_asked_and_nowhere_else(house: House, echo: Echo) -> None:
    """A tool that returns its own environment as its ordinary result does as it was asked: that answer is the client's,
    is not searched here, and is no leak of ours. But the log, /health and /metrics have none of it, and no texts."""
    echo.script = asks_for_tool("good__process")
    house.call("POST", "/v1/chat/completions", chat_body("tooled", QUESTION))
    told = echo.upstream.last.request.body
    assert SECRETS["mcp env"].encode() in told and SECRETS["dotenv"].encode() in told, "it was asked, and has told"
    for name in set(FORMS) - {"mcp env", "dotenv", "mcp argument", *TEXTS}:
        assert not [form for form in FORMS[name].values() if form in told], f"{name} was given to a program"
    for name in ("echo", "fail"):
        echo.script = asks_for_tool(f"good__{name}")
        assert house.chat("tooled", session_id=f"tools-{name}").status == 200
    wait_record(house.folder / "good", "message", method="tools/call", count=3)
    house.check()


FILES = ("--config", "agent_config.json", "--mcp", "mcp.json")
# Tells its arguments and its variables: on standard error, in its errors, in its last words.
TELLTALE = """
import json, os, sys
how, told = sys.argv[1], " ".join([*sys.argv[2:], *(f"{k}={v}" for k, v in os.environ.items() if "TOOL" in k)])
print(told, file=sys.stderr, flush=True)
if how == "dies": sys.exit(told)
for line in sys.stdin:
    asked = json.loads(line)
    method, id = asked.get("method"), asked.get("id")
    said = {"error": {"code": -32603, "message": told}}
    if method == "initialize":
        said = {"result": {"protocolVersion": "2025-11-25", "capabilities": {"tools": {}},
                           "serverInfo": {"name": "telltale", "version": "1"}}}
    elif method == "tools/list" and how != "lists not":
        said = {"result": {"tools": [{"name": "go", "inputSchema": {"type": "object", "properties": {}}}]}}
    elif method == "tools/call" and how == "ends":
        sys.exit(told)
    if id is not None: print(json.dumps({"jsonrpc": "2.0", "id": id, **said}), flush=True)
"""


def wait_for_health(gateway: Gateway) -> None:
    """Until /health tells of the server; what it knows is up to half a second old, and a program may be idle again."""
    end = time.monotonic() + 0.7
    while time.monotonic() < end:
        (server,) = call(gateway, "GET", HEALTH).json()["mcp_servers"]
        if server["state"] != "idle":
            return
        time.sleep(0.02)


def provoke_server(start_gateway, echo: Echo, entry: dict, script: up.Script | None, files: dict | None = None) -> None:
    """A gateway that has this server and asks for its tool, and then the doctor, who looks at the same one."""
    provider = OPENAI.provider(echo.url, api_key=KEYS["sk"])
    gateway = start_gateway(config(agent("a", "p", allowed_mcp_servers=None), p=provider), mcp={"ill": entry},
                            env={"LOG_LEVEL": "debug"}, files=files)  # fmt: skip
    ask_tool = asks_for_tool("ill__go")

    def all_of_it(exchange: up.Exchange) -> None:
        (ask_tool if "/chat/" in exchange.request.target else script or ask_tool)(exchange)

    echo.script = all_of_it
    heard = Heard()
    headers = {"x-parley-tool-progress": "events"}
    got = call(gateway, "POST", "/v1/chat/completions", chat_body("a", QUESTION, stream=True), headers)
    assert got.status == 200, got.body
    heard.add("the answer", got)
    heard.add(MODEL, [one for one in echo.upstream.requests if "/chat/" in one.target][-1].body)
    wait_for_health(gateway)
    for target in (HEALTH, METRICS):
        heard.add(target, call(gateway, "GET", target))
    heard.add(LOG, settled(gateway))
    done = run_cli("mcp", "doctor", "--json", "--debug", *FILES, cwd=gateway.folder)
    assert done.returncode in (0, 1) and "ill" in done.stdout, done
    heard.add("parley mcp doctor", done.stdout, done.stderr)
    for file in (gateway.folder / "data").iterdir():
        heard.add(f"data/{file.name}", file.read_bytes())
    heard.check()


@pytest.mark.parametrize("how", ["dies", "lists not", "refuses", "ends"])
def test_a_program_tells_its_secrets_as_it_fails(start_gateway, echo: Echo, how: str) -> None:
    """What the operator gave to a tool server is not for the log, /health, the doctor, the model or its client."""
    entry = {"command": "python3", "args": ["-I", "-S", "-c", TELLTALE, how, f"--token={SECRETS['mcp argument']}"],
             "env": {"TOOL_KEY": SECRETS["mcp env"]}, "env_file": "tool.env"}  # fmt: skip
    provoke_server(start_gateway, echo, entry, None, {"tool.env": f"TOOL_FROM_FILE={SECRETS['mcp env file']}\n"})


def rpc(request: up.Request, told: str) -> dict:
    asked = request.json() if request.body else {}
    return {"jsonrpc": "2.0", "id": asked.get("id"), "error": {"code": -32000, "message": told}}


def server_says(told: str, how: str) -> up.Script:
    def script(exchange: up.Exchange) -> None:
        scope = [("WWW-Authenticate", f'Bearer error="insufficient_scope", scope="{told}"')]
        {
            "status": up.reply(told.encode(), 500, [("X-Echo", told)], reason="No"),
            "error": up.json_reply(rpc(exchange.request, told), 400),
            "error with 200": up.json_reply(rpc(exchange.request, told)),
            "page": up.reply(f"<html>{told}</html>".encode(), 200, [("Content-Type", "text/html")]),
            "challenge": up.reply(told.encode(), 403, scope),
        }[how](exchange)

    return script


SERVER_SAYS = ("status", "error", "error with 200", "page", "challenge")


@pytest.mark.parametrize("how", SERVER_SAYS)
def test_a_server_says_our_headers_back(start_gateway, echo: Echo, how: str) -> None:
    """Over HTTP: what is in `headers`, and the key in the URL."""
    headers = {"X-Key": SECRETS["mcp header"], "Authorization": f"Bearer {SECRETS['mcp header']}"}
    entry = {"type": "http", "url": f"{echo.url}/mcp?key={SECRETS['mcp url']}", "headers": headers}
    script = lambda exchange: server_says(head_of(exchange.request), how)(exchange)  # noqa: E731
    provoke_server(start_gateway, echo, entry, script)


def test_a_server_that_cannot_be_reached(start_gateway, echo: Echo, module_tls_upstream) -> None:
    """The URL with its key is in no message about it."""
    for url in ("http://127.0.0.1:1", module_tls_upstream.url, "http://parley.invalid"):
        entry = {"type": "http", "url": f"{url}/mcp?key={SECRETS['mcp url']}", "connect_timeout_ms": 2000}
        provoke_server(start_gateway, echo, entry, None)


def authorizing(echo: Echo, at_the_token: up.Script, at_the_server: up.Script) -> up.Script:
    """An MCP server that wants a token, and its authorization server."""

    def script(exchange: up.Exchange) -> None:
        request, base = exchange.request, echo.url
        if request.target.startswith("/.well-known/"):
            return up.json_reply({"issuer": f"{base}/as", "token_endpoint": f"{base}/as/token"})(exchange)
        if request.target == "/resource":
            return up.json_reply({"resource": f"{base}/mcp", "authorization_servers": [f"{base}/as"]})(exchange)
        if request.target == "/as/token":
            return at_the_token(exchange)
        if not request.header("authorization"):
            named = [("WWW-Authenticate", f'Bearer resource_metadata="{base}/resource"')]
            return up.reply(b"", 401, named)(exchange)
        at_the_server(exchange)

    return script


OAUTH = {"client_id": "us", "client_secret": SECRETS["oauth secret"], "grant": "client_credentials"}


@pytest.mark.parametrize("how", ["status", "error", "challenge"])
def test_a_server_says_our_token_back(start_gateway, echo: Echo, how: str) -> None:
    """OAuth: the token that we were given for it."""
    given = up.json_reply({"access_token": SECRETS["oauth token"], "token_type": "bearer", "expires_in": 3600,
                           "refresh_token": SECRETS["oauth refresh token"]})  # fmt: skip
    refuse = lambda exchange: server_says(head_of(exchange.request), how)(exchange)  # noqa: E731
    entry = {"type": "http", "url": f"{echo.url}/mcp", "oauth": OAUTH}
    provoke_server(start_gateway, echo, entry, authorizing(echo, given, refuse))


@pytest.mark.parametrize("how", ["error", "description", "its form in a description", "page", "token"])
def test_an_authorization_server_says_our_secret_back(start_gateway, echo: Echo, how: str) -> None:
    """It has it from our head, as Basic; refusals repeat it."""

    def refuse(exchange: up.Exchange) -> None:
        told = SECRETS["oauth secret"]
        {
            "error": up.json_reply({"error": told}, 400),
            "description": up.json_reply({"error": "invalid_client", "error_description": f"{told} is wrong"}, 401),
            "its form in a description": up.json_reply(
                {"error": "invalid_client", "error_description": head_of(exchange.request)}, 401
            ),
            "page": up.reply(f"<html>{told} {head_of(exchange.request)}</html>".encode(), 500, [("X-Echo", told)]),
            "token": up.json_reply({"access_token": f"{told} {told}", "token_type": told}),
        }[how](exchange)

    entry = {"type": "http", "url": f"{echo.url}/mcp", "oauth": OAUTH}
    provoke_server(start_gateway, echo, entry, authorizing(echo, refuse, server_says("", "status")))


# ---- the store


def test_a_store_that_goes_away(house: House, echo: Echo, postgres: Postgres) -> None:
    """What libpq says goes into the log and /health."""
    assert house.chat("sk", session_id="before").status == 200
    postgres.kill()
    try:
        wait_until(lambda: house.chat("sk", session_id="away").status == 503, what="the store being missed")
        house.check()
    finally:
        postgres.start()
    wait_until(lambda: house.chat("sk", session_id="back").status == 200, timeout=10, what="the store being back")
    house.check()


# A password as people write it: rightly, not escaped, or beside something that is at fault.
DSNS = {
    "escaped": "postgresql://parley:{escaped}@127.0.0.1:1/db",
    "parameter": "postgresql://parley@127.0.0.1:1/db?password={0}",
    "at-sign": "postgresql://parley:p@{0}@127.0.0.1:1/db",
    "slash": "postgresql://parley:p/{0}@127.0.0.1:1/db",
    "hash": "postgresql://parley:p#{0}@127.0.0.1:1/db",
    "question-mark": "postgresql://parley:p?{0}@127.0.0.1:1/db",
    "colon": "postgresql://parley:p:{0}@127.0.0.1:1/db",
    "percent": "postgresql://parley:{0}%zz@127.0.0.1:1/db",
    "bracket": "postgresql://parley:{0}@[::1/db",
    "unknown-parameter": "postgresql://parley:{0}@127.0.0.1:1/db?nonsense=1",
    "pairs": "host=127.0.0.1 port=1 user=parley password={0}",
    "pairs-and-space": "host=127.0.0.1 port=1 user=parley password=p {0}",
    "pairs-and-quote": "host=127.0.0.1 port=1 user=parley password='p {0}",
    "other-driver": "mysql://parley:{0}@127.0.0.1/db",
    "variables": "",
}


@pytest.mark.parametrize("name", DSNS)
def test_a_database_url_at_fault(start_gateway, name: str) -> None:
    """Some are refused at the start, others are a database that is not there: either way the password is not told."""
    escaped = quote(SECRETS["database password"], safe="")
    dsn = DSNS[name].format(SECRETS["plain database password"], escaped=escaped)
    parts = {"HOST": "127.0.0.1", "PORT": "1", "USER": "parley", "PASSWORD": SECRETS["database password"], "DB": "db"}
    env = {"DATABASE_URL": dsn} if dsn else {f"POSTGRES_{part}": value for part, value in parts.items()}
    env["LOG_LEVEL"] = "debug"
    heard = Heard()
    gateway = start_gateway(config(demo_agent()), start=False, env=env)
    try:
        gateway.start()
        got = call(gateway, "POST", "/v1/chat/completions", chat_body("demo", "hi", session_id="s"))
        assert got.status == 503, got.body
        heard.add("the answer", got)
        for target in (HEALTH, "/readyz", METRICS, "/conversations"):
            heard.add(target, call(gateway, "GET", target))
        heard.add(LOG, settled(gateway))
    except StartFailed as failure:
        heard.add(LOG, failure)
    for arguments in (("migrate",), ("conversations", "list")):
        done = run_cli(*arguments, cwd=gateway.folder, env=env)
        assert done.returncode == 1, done
        heard.add(f"parley {' '.join(arguments)}", done.stdout, done.stderr)
    heard.check()


# ---- a configuration at fault

_SECRET = SECRETS["configured"]


def _provider(**members: object) -> tuple[object, object]:
    return config(agent("a", "p"), p={"type": "openai", "base_url": "http://h/v1", "api_key": _SECRET, **members}), {}


def _server(**members: object) -> tuple[object, object]:
    return config(demo_agent()), {"one": members}


def _text(change: Callable[[str], str]) -> tuple[object, object]:
    return change(json.dumps(_provider()[0])), {}


# (agent_config.json, mcp.json), each with a secret written out, in what is at fault or beside it
SPOILT = {
    "key in an array": _provider(api_key=[_SECRET]),
    "key in an object": _provider(api_key={"value": _SECRET}),
    "key by another name": _provider(api_keyy=_SECRET, apikey=_SECRET),
    "header with a line end": _provider(headers={"X-Key": _SECRET + "\r\nX: y"}),
    "header in an array": _provider(headers={"X-Key": [_SECRET]}),
    "headers as text": _provider(headers=f"X-Key: {_SECRET}"),
    "base_url with a query": _provider(base_url=f"https://h/v1?key={_SECRET}"),
    "base_url with a fragment": _provider(base_url=f"https://h/v1#{_SECRET}"),
    "base_url with a password": _provider(base_url=f"https://u:{_SECRET}@h/v1"),
    "base_url of another scheme": _provider(base_url=f"htps://h/v1?key={_SECRET}"),
    "base_url of a variable": _provider(base_url="${HOUSE_NONE:-https://h/v1?key=" + _SECRET + "}"),
    "variable that is broken": _provider(api_key=_SECRET + "${"),
    "entra beside a key": _provider(type="azure_openai", entra={"client_secret": _SECRET, "tenant": _SECRET}),
    "entra as text": _provider(type="azure_openai", entra=_SECRET),
    "JSON that is cut off": _text(lambda text: text[: text.index(_SECRET) + len(_SECRET)]),
    "JSON with a comma too many": _text(lambda text: text.replace(_SECRET + '"', _SECRET + '",,')),
    "JSON without quotes": _text(lambda text: text.replace(f'"{_SECRET}"', _SECRET)),
    "JSON with a name twice": _text(lambda text: text.replace('"api_key"', f'"api_key": "{_SECRET}", "api_key"')),
    "env as text": _server(command="true", env=f"A={_SECRET}"),
    "env in an array": _server(command="true", env=[f"A={_SECRET}"]),
    "env with an object": _server(command="true", env={"A": {"x": _SECRET}}),
    "argument in an object": _server(command="true", args=[{"token": _SECRET}]),
    "argument with a broken variable": _server(command="true", args=["--token=" + _SECRET + "${"]),
    "url with a password": _server(url=f"https://u:{_SECRET}@h/mcp"),
    "url of another scheme": _server(url=f"ftp://h/mcp?key={_SECRET}"),
    "headers in an array": _server(url="https://h/mcp", headers=[_SECRET]),
    "oauth as text": _server(url="https://h/mcp", oauth=_SECRET),
    "oauth secret in an array": _server(url="https://h/mcp", oauth={"client_secret": [_SECRET]}),
    "oauth key that is none": _server(url="https://h/mcp", oauth={"client_id": "x", "private_key_pem": _SECRET}),
    "auth of no known type": _server(url="https://h/mcp", auth_type="bearr_token", auth_value=_SECRET),
}  # fmt: skip


@pytest.mark.parametrize("name", SPOILT)
def test_a_configuration_at_fault(start_gateway, name: str) -> None:
    """`validate` and a start that is refused say what is wrong and where, and quote nothing that may be a secret."""
    configuration, mcp = SPOILT[name]
    gateway = start_gateway(config(), start=False, env={"LOG_LEVEL": "debug"})
    gateway.write_config(configuration)
    gateway.write_mcp(mcp)
    heard = Heard()
    done = run_cli("validate", "--json", *FILES, cwd=gateway.folder)
    heard.add("parley validate --json", done.stdout, done.stderr)
    try:
        gateway.start()
        heard.add(HEALTH, call(gateway, "GET", HEALTH))
        heard.add(LOG, settled(gateway))
    except StartFailed as failure:
        heard.add(LOG, failure)
        assert done.returncode == 1, "the start is refused, and the check was not"
    heard.check()


def test_reloads_at_fault(start_gateway) -> None:
    """The report goes into the log, and /health keeps the last one."""
    gateway = start_gateway(config(demo_agent()), env={"LOG_LEVEL": "debug"})
    refused = lambda: [log for log in gateway.logs if log.get("event") == "config_refused"]  # noqa: E731
    heard = Heard()
    for name in ("key in an array", "header with a line end", "base_url with a password", "base_url with a query",
                 "JSON without quotes", "url with a password", "env as text"):  # fmt: skip
        before = len(refused())
        configuration, mcp = SPOILT[name]
        gateway.write_config(configuration)
        gateway.write_mcp(mcp)
        gateway.signal(signal.SIGHUP)
        wait_until(lambda before=before: len(refused()) > before, timeout=10, what="the refusal")
        heard.add(HEALTH, call(gateway, "GET", HEALTH))
    heard.add(LOG, settled(gateway))
    heard.check()


def test_a_dotenv_at_fault(house: House) -> None:
    dotenv = house.gateway.folder / ".env"
    kept, secret = dotenv.read_text(), SECRETS["dotenv"]
    for line in (f"HOUSE OTHER={secret}", f"HOUSE_OTHER='{secret}", f"={secret}", secret, f'A="{secret}" {secret}'):
        dotenv.write_text(f"{kept}{line}\n")
        assert house.reload(house.configuration) == "config_refused", line
        house.ask("GET", HEALTH)
    dotenv.write_text(kept)
    assert house.reload(house.configuration) == "config_reloaded"
    house.check()


def test_a_tls_key_at_fault(house: House, authority: Authority) -> None:
    """Another one's, half of one, one with a mark that is none."""
    key = house.folder / "live.key"
    good = authority.valid.key.read_text()

    def refused() -> int:
        return len([log for log in house.gateway.logs if log.get("event") == "certificate_refused"])

    other = authority.expired.key.read_text()
    for text in (other, good[: len(good) // 2], good.replace("BEGIN", "BEGN"), "", good[40:]):
        before = refused()
        key.write_text(text)
        house.reload(house.configuration)
        assert refused() > before
    key.write_text(good)
    house.reload(house.configuration)
    house.check()


@pytest.mark.parametrize("variable", ["PARLEY_TLS_KEY", "PARLEY_TLS_CERT"])
def test_a_tls_key_in_place_of_its_path(house: House, start_gateway, authority: Authority, variable: str) -> None:
    """Other programs take it so. The refusal names the variable, not what is in it."""
    paths = {"PARLEY_TLS_CERT": str(authority.valid.cert), "PARLEY_TLS_KEY": str(authority.valid.key)}
    with pytest.raises(StartFailed) as failure:
        start_gateway(config(demo_agent()), env={**paths, variable: authority.valid.key.read_text()})
    heard = Heard()
    heard.add(LOG, failure.value)
    heard.check()


def test_settings_at_fault(start_gateway) -> None:
    """A number that is none, while secrets stand beside it; a secret that is too short, which is one all the same."""
    short = "bittern-77"
    env = {"PARLEY_OPENWEBUI_JWT_SECRET": short, "PARLEY_FORWARDER_KEYS": SECRETS["forwarder key"], "LOG_LEVEL": "loud",
           "PARLEY_API_KEYS": SECRETS["client key"], "PARLEY_BODY_BYTES_MAX": "many"}  # fmt: skip
    with pytest.raises(StartFailed) as failure:
        start_gateway(config(demo_agent()), env=env)
    said = str(failure.value)
    assert all(name in said for name in ("PARLEY_OPENWEBUI_JWT_SECRET", "LOG_LEVEL", "PARLEY_BODY_BYTES_MAX"))
    assert short not in said
    heard = Heard()
    heard.add(LOG, said)
    heard.check()


# ---- commands

COMMANDS = [
    ("validate", *FILES), ("validate", "--json", *FILES), ("agents", *FILES), ("agents", "--json", *FILES),
    ("mcp", "list", *FILES), ("mcp", "list", "good", "--json", *FILES), ("mcp", "doctor", *FILES), ("migrate",),
    ("mcp", "doctor", "--json", "--debug", *FILES), ("mcp", "call", "good", "echo", '{"text":"x"}', *FILES),
    ("mcp", "call", "good", "none", *FILES), ("chat", "sk", "-m", QUESTION, *FILES), ("conversations", "list"),
    ("conversations", "show", "x", "--user", "ada"), ("version",), ("version", "--json"), ("serve", "--nonsense"),
    *((*words, "--help") for words in ((), ("serve",), ("validate",), ("agents",), ("chat",), ("mcp",), ("migrate",),
                                       ("mcp", "doctor"), ("mcp", "call"), ("conversations",), ("mcp-conformance",))),
]  # fmt: skip


def test_commands(house: House, echo: Echo) -> None:
    """Each in the house's own folder, with all of its secrets in the environment, and a store that is not there."""
    echo.script = says_back(key_of, "message", 400)
    env = {"PARLEY_API_KEYS": SECRETS["client key"], "HOUSE_ENTRA": SECRETS["entra secret"], "PARLEY_TLS_KEY": "a.key",
           "PARLEY_OPENWEBUI_JWT_SECRET": SECRETS["jwt secret"], "PARLEY_FORWARDER_KEYS": SECRETS["forwarder key"],
           "DATABASE_URL": f"postgresql://parley:{quote(SECRETS['database password'], safe='')}@127.0.0.1:1/db",
           "OPENAI_API_KEY": KEYS["sk"], "OPENROUTER_API_KEY": KEYS["uuid"]}  # fmt: skip
    for arguments in COMMANDS:
        done = run_cli(*arguments, cwd=house.gateway.folder, env=env)
        assert done.returncode in (0, 1, 2, 109) and done.stdout + done.stderr, (arguments, done)
        house.heard.add(f"parley {' '.join(arguments[:3])}", done.stdout, done.stderr)
    house.check()


# ---- the end


def test_tool_servers_leave_no_dump(house: House, echo: Echo) -> None:
    """What they were given would be in it."""
    echo.script = asks_for_tool("good__echo")
    house.chat("tooled")
    started = children(house.gateway.pid)
    assert started
    for pid in started:
        lines = Path(f"/proc/{pid}/limits").read_text().splitlines()
        core = next(line for line in lines if line.startswith("Max core file size"))
        assert core.split()[4:6] == ["0", "0"]


def test_what_is_left_when_it_has_ended(house: House, echo: Echo, postgres: Postgres) -> None:
    """The last lines, every byte of the data folder, and the database: there are texts in it, and no secret."""
    echo.script = asks_for_tool("good__echo")
    assert house.chat("tooled", session_id="the last").status == 200
    house.gateway.stop()
    house.heard.add(LOG, house.gateway.output[house.read :])
    data = house.gateway.folder / "data"
    files = [file for file in data.rglob("*") if file.is_file()]
    assert data / "mcp_pins.json" in files
    for file in files:
        house.heard.add(f"data/{file.name}", file.name, file.read_bytes())
    tables = postgres.sql("SELECT table_name FROM information_schema.tables WHERE table_schema = 'public'").split()
    stored = {table: postgres.sql(f"SELECT t::text FROM {table} t") for table in tables}
    held = "".join(stored.values())
    assert QUESTION in held or QUESTION.encode().hex() in held, "it is searched where the texts are"
    for table, rows in stored.items():
        house.heard.add(f"table {table}", rows)
    heard, house.heard = house.heard, Heard()
    house.read = 0
    house.gateway.start()  # for the fixture, which ends it once more
    heard.check()


def test_what_a_file_of_sqlite_holds(start_gateway, echo: Echo) -> None:
    """Texts; but no key, no user's token, nothing of the configuration: also not beside it, in the -wal."""
    provider = OPENAI.provider(echo.url, api_key=KEYS["uuid"], headers={"X-Key": SECRETS["provider header"]})
    env = {"PARLEY_OPENWEBUI_JWT_SECRET": SECRETS["jwt secret"]}
    gateway = start_gateway(config(agent("a", "p"), p=provider), keys=(SECRETS["client key"],), env=env)
    signed = token("ada", secret=SECRETS["jwt secret"])
    ada = {"X-OpenWebUI-User-Jwt": signed, "Idempotency-Key": "once"}
    for script in (None, says_back(key_of, "message", 400), None):
        echo.script = script
        call(gateway, "POST", "/v1/chat/completions", chat_body("a", QUESTION, session_id="s"), ada)
    files = {file.name: file.read_bytes() for file in (gateway.folder / "data").iterdir()}
    contents = b"".join(files.values())
    assert {"parley.db", "parley.db-wal"} <= set(files) and QUESTION.encode() in contents
    assert signed.encode() not in contents
    heard = Heard()
    for name, held in files.items():
        heard.add(f"data/{name}", held)
    heard.check()
