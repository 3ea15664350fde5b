"""CORS: an allow-list, no wildcard, nothing for strangers."""

from __future__ import annotations

import pytest

from harness.api import call, chat, stream
from harness.configs import config, demo_agent
from harness.gateway import Gateway

ALLOWED, OTHER = "https://chat.example", "https://evil.example"
ASK = {
    "Access-Control-Request-Method": "POST",
    "Access-Control-Request-Headers": "authorization,content-type,x-stainless-os",
}


@pytest.fixture(scope="module")
def gateway(start_module_gateway) -> Gateway:
    return start_module_gateway(
        config(demo_agent()),
        env={"PARLEY_CORS_ORIGINS": f"{ALLOWED},http://localhost:3000,HTTPS://Shout.Example:443/"},
        keys=("sk-cors-0123456789",),
    )


@pytest.fixture(scope="module")
def closed(start_module_gateway) -> Gateway:
    return start_module_gateway(config(demo_agent()))


def cors(answer) -> dict[str, str]:
    return {name: value for name, value in answer.headers if name.startswith("access-control-")}


@pytest.mark.parametrize("origin", [ALLOWED, "http://localhost:3000", "https://shout.example"])
def test_preflight(gateway: Gateway, origin: str) -> None:
    """A browser sends no key with a preflight."""
    answer = call(gateway, "OPTIONS", "/v1/chat/completions", headers={"Origin": origin, **ASK}, key=None)
    assert answer.status == 204 and answer.body == b""
    fields = cors(answer)
    assert fields["access-control-allow-origin"] == origin
    assert "POST" in fields["access-control-allow-methods"]
    allowed = {name.strip().lower() for name in fields["access-control-allow-headers"].split(",")}
    assert {"authorization", "content-type", "x-stainless-os"} <= allowed
    assert fields.get("access-control-allow-credentials") != "true"
    assert int(fields["access-control-max-age"]) > 0
    assert "origin" in answer.header("vary").lower()


@pytest.mark.parametrize(
    "origin",
    [
        OTHER,
        "null",
        ALLOWED + ".evil.example",
        ALLOWED.upper(),
        "http://chat.example",
        ALLOWED + ":444",
        ALLOWED + "/",
        "*",
        "",
    ],
)
def test_strangers_get_nothing(gateway: Gateway, origin: str) -> None:
    answer = call(gateway, "OPTIONS", "/v1/chat/completions", headers={"Origin": origin, **ASK}, key=None)
    assert answer.status < 500 and not cors(answer)
    assert not cors(call(gateway, "GET", "/v1/models", headers={"Origin": origin}))


def test_answers_can_be_read_by_the_page(gateway: Gateway) -> None:
    answers = [
        call(gateway, "GET", "/v1/models", headers={"Origin": ALLOWED}),
        call(gateway, "GET", "/nothing", headers={"Origin": ALLOWED}),
        call(gateway, "GET", "/v1/models", headers={"Origin": ALLOWED}, key=None),
        stream(gateway, "demo", headers={"Origin": ALLOWED}).answer,
    ]
    assert [answer.status for answer in answers] == [200, 404, 401, 200]
    for answer in answers:
        assert cors(answer)["access-control-allow-origin"] == ALLOWED
        assert "x-request-id" in cors(answer)["access-control-expose-headers"].lower()
        assert "origin" in answer.header("vary").lower()


def test_off_by_default(closed: Gateway) -> None:
    answer = call(closed, "OPTIONS", "/v1/chat/completions", headers={"Origin": ALLOWED, **ASK})
    assert answer.status < 500 and not cors(answer)
    assert not cors(call(closed, "GET", "/v1/models", headers={"Origin": ALLOWED}))


@pytest.mark.parametrize("host", [None, "rebound.example", "rebound.example:80"])
def test_without_keys_a_strangers_page_is_kept_out(closed: Gateway, host: str | None) -> None:
    """H38: a page in the user's browser reaches loopback, by its own name or one rebound to 127.0.0.1."""
    headers = {"Origin": f"http://{host}" if host else OTHER, **({"Host": host} if host else {})}
    answer = call(
        closed,
        "POST",
        "/v1/chat/completions",
        {"model": "demo", "messages": [{"role": "user", "content": "x"}]},
        headers,
    )
    assert answer.status == 403 and answer.error["type"] == "invalid_request_error"
    assert not cors(answer)


def test_without_keys_the_gateways_own_page_may_ask(closed: Gateway) -> None:
    """/docs has a form that streams."""
    own = f"http://{closed.address[0]}:{closed.address[1]}"
    assert chat(closed, "demo", headers={"Origin": own}).status == 200


def test_options_without_origin(gateway: Gateway) -> None:
    answer = call(gateway, "OPTIONS", "/v1/chat/completions", key=None)
    assert answer.status in (204, 405) and "POST" in answer.header("allow")


@pytest.mark.parametrize("host", ["evil.example", "127.evil.example:8000", "169.254.169.254"])
def test_a_rebound_name_is_refused_without_keys(closed: Gateway, gateway: Gateway, host: str) -> None:
    """A page under a name that was rebound to this machine sends that name as Host, and on GET no Origin."""
    for method, path in (("GET", "/v1/models"), ("GET", "/health"), ("POST", "/v1/chat/completions")):
        answer = call(closed, method, path, headers={"Host": host}, key=None)
        assert answer.status == 403 and "PARLEY_API_KEYS" in answer.error["message"]
    assert call(gateway, "GET", "/v1/models", headers={"Host": host}).status == 200, "with keys, names are free"


@pytest.mark.parametrize("host", ["localhost", "localhost:8000", "127.0.0.1:1", "[::1]:8000", "parley.localhost", "LocalHost:8000"])
def test_names_of_this_machine_are_answered_without_keys(closed: Gateway, host: str) -> None:
    assert call(closed, "GET", "/v1/models", headers={"Host": host}, key=None).status == 200
