"""Who a request is for, where a front end such as Open WebUI asks on behalf of its users."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import time
import uuid

import pytest
from harness.api import call
from harness.configs import agent, config
from harness.gateway import Gateway
from harness.talk import Model, Talk
from harness.wires import BY_NAME

SECRET = "the-secret-of-both-0123456789"
KEY, FRONT_END = "sk-plain-0123456789abcdef", "sk-front-end-0123456789abcdef"
WIRE = BY_NAME["openai"]


def token(user: str, *, secret: str = SECRET, expires_in: float = 300, algorithm: str = "HS256", **claims) -> str:
    """As Open WebUI 0.12.4 signs it."""

    def part(value: bytes) -> str:
        return base64.urlsafe_b64encode(value).rstrip(b"=").decode()

    now = int(time.time())
    body = {"sub": user, "email": f"{user}@example.org", "name": user, "role": "user", "iss": "open-webui",
            "iat": now, "exp": now + expires_in, **claims}  # fmt: skip
    head = {"alg": algorithm, "typ": "JWT"}
    text = ".".join(part(json.dumps(one, separators=(",", ":")).encode()) for one in (head, body))
    return f"{text}.{part(hmac.new(secret.encode(), text.encode(), hashlib.sha256).digest())}"


@pytest.fixture
def model(upstream) -> Model:
    return Model(upstream)


def gateway_with(start_gateway, upstream, **options) -> Gateway:
    return start_gateway(config(agent("a", "p"), p=WIRE.provider(upstream.url)), **options)


def talk(gateway: Gateway, session: str, headers: dict[str, str], key: str | None = "") -> Talk:
    return Talk(gateway, session, "a", headers=headers, key=key)


def test_a_token_names_the_user_whichever_key_it_comes_through(start_gateway, upstream, model: Model) -> None:
    gateway = gateway_with(start_gateway, upstream, keys=(KEY, FRONT_END), env={"PARLEY_OPENWEBUI_JWT_SECRET": SECRET})
    session = str(uuid.uuid4())
    ada = talk(gateway, session, {"X-OpenWebUI-User-Jwt": token("ada")}, KEY)
    bob = talk(gateway, session, {"X-OpenWebUI-User-Jwt": token("bob")}, KEY)
    own = talk(gateway, session, {"X-OpenWebUI-User-Jwt": ""}, KEY)
    ada.say("my secret")
    bob.say("hello")
    assert ada.path() == ["user: my secret", "assistant: a1"]
    assert bob.path() == ["user: hello", "assistant: a2"]
    assert call(gateway, "GET", f"/conversations/{session}", key=own.key).status == 404, "the key's own are others"
    other = talk(gateway, session, {"X-OpenWebUI-User-Jwt": token("ada")}, FRONT_END)
    assert other.path() == ada.path()
    forged = {"X-OpenWebUI-User-Id": "ada", "X-User-Id": "ada"}
    assert call(gateway, "GET", f"/conversations/{session}", headers=forged, key=KEY).status == 404
    line = gateway.wait_log(lambda line: line.get("event") == "request" and line.get("user") == "ada")
    assert line and line["principal"].startswith("key:")


@pytest.mark.parametrize(
    ("bad", "says"),
    [
        (lambda: token("ada", secret="another-secret-0123456789"), "Its signature does not fit the shared secret."),
        (lambda: token("ada", expires_in=-90), "it has expired; if it is new, the clocks of the two machines differ."),
        (lambda: token("ada", algorithm="none"), "its algorithm is not HS256."),
        (lambda: "nonsense", "It is not a signed token (header.claims.signature)."),
        (lambda: token(""), "it names no user (sub)."),
    ],
    ids=["forged", "expired", "algorithm", "nonsense", "nobody"],
)
def test_a_token_that_does_not_hold_is_refused_on_every_route(start_gateway, upstream, model, bad, says) -> None:
    gateway = gateway_with(start_gateway, upstream, keys=(KEY,), env={"PARLEY_OPENWEBUI_JWT_SECRET": SECRET})
    headers = {"X-OpenWebUI-User-Jwt": bad()}  # made now: tokens expire while a long run goes on
    body = {"model": "a", "messages": [{"role": "user", "content": "hi"}]}
    for method, target, content in (("POST", "/v1/chat/completions", body), ("GET", "/v1/models", None),
                                    ("GET", "/conversations", None)):  # fmt: skip
        answer = call(gateway, method, target, content, headers)
        assert answer.status == 401
        assert answer.error["message"] == f"The user token in x-openwebui-user-jwt is not accepted: {says}"
    assert model.asked == 0
    assert call(gateway, "GET", "/livez", headers=headers).status == 200, "a probe names nobody"


def test_plain_headers_count_from_a_front_ends_key_only(start_gateway, upstream, model: Model) -> None:
    gateway = gateway_with(start_gateway, upstream, keys=(KEY,), env={"PARLEY_FORWARDER_KEYS": FRONT_END})
    session = str(uuid.uuid4())
    ada = talk(gateway, session, {"X-OpenWebUI-User-Id": "ada"}, FRONT_END)
    bob = talk(gateway, session, {"X-OpenWebUI-User-Id": "bob"}, FRONT_END)
    ada.say("my secret")
    bob.say("hello")
    assert (ada.path(), bob.path()) == (["user: my secret", "assistant: a1"], ["user: hello", "assistant: a2"])
    liar = talk(gateway, session, {"X-OpenWebUI-User-Id": "ada"}, KEY)
    liar.say("let me in")
    assert liar.path() == ["user: let me in", "assistant: a3"], "a key that is no front end's speaks for itself"
    assert talk(gateway, session, {}, KEY).path() == liar.path()
    assert call(gateway, "GET", "/v1/models", key="sk-unknown").status == 401


def test_the_names_of_the_headers_are_settings(start_gateway, upstream, model: Model) -> None:
    env = {"PARLEY_USER_HEADERS": "X-Remote-User", "PARLEY_SESSION_HEADERS": "X-Thread"}
    gateway = gateway_with(start_gateway, upstream, env=env)
    body = {"model": "a", "messages": [{"role": "user", "content": "hi"}]}
    headers = {"X-Remote-User": "ada", "X-Thread": "t1", "X-OpenWebUI-User-Id": "bob"}
    assert call(gateway, "POST", "/v1/chat/completions", body, headers).status == 200
    assert call(gateway, "GET", "/conversations/t1", headers={"X-Remote-User": "ada"}).status == 200
    assert call(gateway, "GET", "/conversations/t1", headers={"X-OpenWebUI-User-Id": "bob"}).status == 404


def test_a_secret_that_can_be_guessed_is_refused(start_gateway, upstream) -> None:
    gateway = start_gateway(config(agent("a", "p"), p=WIRE.provider(upstream.url)), start=False,
                            env={"PARLEY_OPENWEBUI_JWT_SECRET": "short"})  # fmt: skip
    with pytest.raises(Exception, match="PARLEY_OPENWEBUI_JWT_SECRET: must have 16 characters at least"):
        gateway.start()
